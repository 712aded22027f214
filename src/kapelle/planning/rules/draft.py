"""The tasks that a request is split into, while they are being found, and what is refused once all of them are there.

Adds tasks, and knows what they are called and build on; what the words ask for is read in `steps` and `each`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kapelle import language
from kapelle.errors import CannotPlan
from kapelle.graph import Task, TaskDAG, escape_braces, find_references
from kapelle.language import STOP_WORDS, plain, quote_text, split_words, stem, word_set

from . import request_shapes as shapes
from .for_each_card import FOR_EACH_TYPE
from .stand_ins import StandIns

MAX_RULE_TASKS = 200

# For each kind of work, the task types that agents use for it, best first.
LOOKUP = ("lookup", "search", "research", "answer", "support")
TABLE = ("sql", "query", "aggregate")
COMPUTE = ("compute", "calculate", "python")
COMPARE = ("compare", "report", "summarize", "write")
REPORT = ("report", "write", "summarize", "content")
SUMMARY = ("summarize", "report", "write")
_COMBINE = ("combine", "answer", "report", "summarize", "write", "compare")

PLANNING = (FOR_EACH_TYPE, "expand")
"""Task types of agents that plan: no verbs that a request may use."""

# Words that say nothing of what is meant, and words that the tasks themselves stand for.
_EMPTY = STOP_WORDS | word_set("each every then also else again same other why second third first largest smallest")
_DONE = frozenset(split_words(" ".join((*shapes.FIND_VERBS, *shapes.OTHER_VERBS)))) | word_set(
    """finally next lastly last afterwards please after before together put result results finding findings answer
    answers summary overview memo article document essay brief note comparison table short concise detailed final one
    page written markdown full difference differences differ divided multiplied times plus minus make versus vs larger
    bigger smaller longer shorter higher taller lower deeper older more populous heavier faster cheaper"""
)

KNOWN = (
    "Without a model, kapelle understands questions, lookups ('find the capital of France'), comparisons, sums over "
    "tables, arithmetic, 'for each of A, B and C: ...', 'then ...', reports on these, and verbs that agents know as "
    "task types. Put it in such words, give a plan file, or configure a model (KAPELLE_MODEL)."
)


@dataclass
class Draft:
    """The tasks so far. Each step of the request adds some; `last` are the ends that a next step may build on."""

    request: str
    task_types: tuple[str, ...]
    answers_from_tables: Callable[[str], bool] | None
    stand_ins: StandIns
    """The texts of the request that are data, and the items: what is planned names them by their stand-ins."""
    step_tasks: Callable[[Draft, language.Step, bool], tuple[str, ...]]
    """Adds the tasks of a step and returns their ends; of a step that stands `apart`, for one item."""
    files: tuple[str, ...] = ()
    items: dict[str, str] = field(default_factory=dict)
    """The items that tasks are repeated for, by their stand-ins."""
    tasks: list[Task] = field(default_factory=list)
    last: tuple[str, ...] = ()
    each: tuple[str, ...] = ()
    """The items of a "for each of ..." that is still open."""
    each_of: str | None = None
    """The task that finds the items of a "for each ..." that is still open, where they are not named."""

    opened: tuple[str, language.Step] | None = None
    """The items of a "for each ..." in words, as long as nothing has been asked of them."""

    asked: str = ""
    """The question or lookup that `last` answers; empty after other work."""
    kept: set[str] = field(default_factory=set)
    """Tasks of steps that ask for a thing and something of it, as in "the capital and its area": both are answers."""
    owners: tuple[str, ...] = ()
    """The tasks that found what `asked` asks something of: the capital, for the population of the capital."""
    _known: dict[str, bool] = field(default_factory=dict)

    def fact(self, fact: language.Fact, after: tuple[str, ...]) -> str:
        if fact.depth > language.MAX_FACT_DEPTH:
            raise CannotPlan(
                f"Something of something is asked for, more than {language.MAX_FACT_DEPTH} times over. Ask in steps."
            )
        if isinstance(fact.of, str):
            return self.query(fact.text, fact.text, after)
        found = self.fact(fact.of, after)
        self.owners = (*self.owners, found)
        query = f"{escape_braces(fact.attribute)} of {{{found}.answer}}"
        title = shapes.as_title(f"look up the {fact.text}")
        return self.task(LOOKUP, title, {"query": query}, depends_on=(found,))

    def query(self, query: str, text: str, after: tuple[str, ...]) -> str:
        inputs = {"query": escape_braces(query)}
        for task in self.tasks:  # the same fact asked for twice is found out once
            if task.inputs == inputs and task.depends_on == after:
                return task.task_id
        description = shapes.as_title(text) if shapes.QUESTION.match(text) else f"Look up: {text}"
        return self.task(LOOKUP, description, inputs, depends_on=after)

    def task(
        self,
        kinds: str | tuple[str, ...],
        description: str,
        inputs: Mapping[str, Any],
        *,
        depends_on: Iterable[str] = (),
        needs_some: bool = False,
    ) -> str:
        """Add a task of the best of these kinds, and return its id.

        `needs_some`: it does with what there is, and tells what is missing.
        """
        if len(self.tasks) >= MAX_RULE_TASKS:
            raise CannotPlan(f"The request splits into more than {MAX_RULE_TASKS} tasks. Ask for less at a time.")
        # If no agent takes any of them the plan still names the first, and routing says what is missing.
        kind = kinds if isinstance(kinds, str) else self.first_type(kinds) or kinds[0]
        task_id = f"s{len(self.tasks) + 1}"
        about = next((name for name in self.items if any(name in str(value) for value in inputs.values())), None)
        task = Task(
            task_id=task_id,
            task_type=kind,
            description=description,
            inputs=inputs,
            depends_on=tuple(depends_on),
            needs="some" if needs_some else "all",
            metadata={} if about is None else {"item": about},
        )
        self.tasks.append(task)
        return task_id

    def ends(self) -> tuple[str, ...]:
        """Tasks that no other builds on yet."""
        used = {
            before for task in self.tasks for before in task.dependencies if not {before, task.task_id} <= self.kept
        }
        return tuple(task.task_id for task in self.tasks if task.task_id not in used)

    def keep(self, ends: tuple[str, ...]) -> tuple[str, ...]:
        used = {before for task in self.tasks if task.task_id in ends for before in task.dependencies}
        if used & set(ends):
            self.kept.update(ends)
        return ends

    def first_type(self, kinds: Iterable[str]) -> str | None:
        return next((kind for kind in kinds if kind in self.task_types or "*" in self.task_types), None)

    def body(self, task_id: str) -> str:
        """What a for_each task does for each item; empty for other tasks."""
        for task in self.tasks:
            if task.task_id == task_id and task.task_type == FOR_EACH_TYPE:
                return str(task.inputs["body"])
        return ""

    def files_in(self, text: str) -> list[str]:
        """The files that a text names, those at hand by their paths."""
        found = []
        for file in shapes.find_files(text, self.files):
            name = self.stand_ins.fill(file).casefold()  # it may have stood in quotes
            paths = (path for path in self.files if name in (path.casefold(), path.casefold().rpartition("/")[2]))
            found.append(next(paths, file))
        return found

    def tables_answer(self, question: str) -> bool:
        return self.first_type(TABLE) is not None and self.known_to_tables(question)

    def known_to_tables(self, question: str) -> bool:
        """Whether the tables can answer a question; of an item, whether they can for all: each gets the same tasks."""
        known = self.answers_from_tables
        if known is None:
            return False
        about = next((name for name in self.items if name in question), None)
        if about is None:
            return known(self.stand_ins.fill(question))
        asked = question.replace(about, "\x00")  # one question, whichever of the items it is asked of
        if asked not in self._known:
            self._known[asked] = all(known(self.stand_ins.fill(asked.replace("\x00", name))) for name in self.items)
        return self._known[asked]

    def take_items(self, items: Iterable[str]) -> list[str]:
        """Return the names that stand for items while their tasks are planned."""
        names = []
        for item in items:
            names.append(self.stand_ins.take(item))
            self.items[names[-1]] = item
        return names

    def filled(self) -> list[Task]:
        """Return the tasks, with what was named by stand-ins filled in."""
        return [
            replace(
                task,
                description=self.stand_ins.fill_caption(task.description),
                inputs=self.stand_ins.fill_inputs(task.inputs),
                metadata={name: self.stand_ins.fill(value) for name, value in task.metadata.items()},
            )
            for task in self.tasks
        ]

    def finish(self) -> TaskDAG:
        """Return the graph; several loose ends are joined into one answer where an agent can do that."""
        if not self.tasks:
            raise CannotPlan("Nothing in the request says what to do. " + KNOWN)
        self._check_words()
        graph = TaskDAG(self.tasks)
        for task in graph:  # a task that becomes many has no fields to refer to
            for reference in find_references(task.inputs):
                if self.body(reference.task_id) and reference.path:
                    raise refusal(task.description, "rules do not ask this of what is found for each.")
        kind = self.first_type(_COMBINE)
        grows = graph[graph.sinks[0]].task_type == FOR_EACH_TYPE  # its place will be taken by many
        ends = self.ends()
        if (len(ends) > 1 or grows) and kind is not None:
            inputs = {"title": escape_braces(shapes.as_title(self.request))}
            self.task(kind, "Put the answers together", inputs, depends_on=ends, needs_some=True)
        return TaskDAG(self.filled())

    def _check_words(self) -> None:
        """Refuse a request of which a word is in no task, or a lookup whose words ask for more than to look it up."""
        carried: set[str] = set()
        single = len(self.tasks) == 1 and shapes.QUESTION.match(self.request) is not None
        for task in self.tasks:
            asked = str(task.inputs.get("query", task.inputs.get("body", "")))
            if task.task_type in (*COMPARE, *_COMBINE):
                odd = shapes.UNFULFILLED.search(task.description)
            else:
                carried |= {stem(word) for word in split_words(" ".join(map(str, task.inputs.values())))}
                odd = (shapes.UNFULFILLED if single or shapes.QUESTION.match(asked) else shapes.UNPLANNED).search(asked)
                if asked and not set(split_words(asked.rpartition(" of ")[2])) - _EMPTY:
                    raise CannotPlan(f"{quote_text(asked)}: what to look up is not said. {KNOWN}")
            if odd is not None and "file" not in task.inputs:
                raise CannotPlan(
                    f"Rules do not do what {quote_text(odd[0].strip())} asks for. Leave it out, ask for it apart, or "
                    "configure a model (KAPELLE_MODEL)."
                )
        said = {plain(word): word for word in re.findall(r"[^\W_]+", self.request)}
        lost = [word for key, word in said.items() if stem(key) not in carried and key not in _EMPTY | _DONE]
        if lost:
            raise CannotPlan(f"No task takes up {', '.join(map(quote_text, lost[:5]))}. {KNOWN}")


def refusal(text: str, why: str) -> CannotPlan:
    """Return why rules do not plan what these words of the request say."""
    return CannotPlan(f"{quote_text(text)}: {why}")
