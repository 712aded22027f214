"""Splits a request by rules, with no model. It understands a few shapes well, and says plainly when it does not.

The shapes: enumerations ("the capitals of France and Germany"), chains ("the population of the capital of Peru"),
comparisons, "for each of ...", sequences ("then", "finally"), references back ("test it", "their areas"), questions to
tables ("average population per continent"), arithmetic, named files, verbs that agents know as task types
("implement ..., test it, deploy it"), and reports over what came before.

What a request has in quotes, and the items that a task is repeated for, are data: see stand_ins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from kapelle import language
from kapelle.agents import AgentCapability
from kapelle.errors import CannotPlan
from kapelle.graph import Task, TaskDAG, escape_braces, find_references
from kapelle.language import STOP_WORDS, find_referent, plain, quote_text, split_words, stem, word_set
from kapelle.planning.planner import Plan

from . import request_shapes as shapes
from .stand_ins import StandIns, cut_before_stand_in

MAX_REQUEST_CHARS = 20_000
"""A request is what a person types. Longer material belongs into a file that an agent reads."""
MAX_RULE_TASKS = 200

# For each kind of work, the task types that agents use for it, best first.
_LOOKUP = ("lookup", "search", "research", "answer", "support")
_TABLE = ("sql", "query", "aggregate")
_COMPUTE = ("compute", "calculate", "python")
_LEADS_ON = re.compile(r"(?:[\s,;.:]|\b(?:and|then|finally|next|please|after that))\Z", re.IGNORECASE)
_COMPARE = ("compare", "report", "summarize", "write")
_REPORT = ("report", "write", "summarize", "content")
_SUMMARY = ("summarize", "report", "write")
_COMBINE = ("combine", "answer", "report", "summarize", "write", "compare")

FOR_EACH_TYPE = "for_each"
"""A task that becomes one per item of its input `items`, each doing `body`: see for_each."""
ONE_EACH = "one_each"
"""An input of a task of FOR_EACH_TYPE, true where what it takes its items from was asked for one thing of each."""
_PLANNING = (FOR_EACH_TYPE, "expand")
"""Task types of agents that plan: no verbs that a request may use."""

# Words that say nothing of what is meant, and words that the tasks themselves stand for.
_EMPTY = STOP_WORDS | word_set("each every then also else again same other why second third first largest smallest")
_DONE = frozenset(split_words(" ".join((*shapes.FIND_VERBS, *shapes.OTHER_VERBS)))) | word_set(
    """finally next lastly last afterwards please after before together put result results finding findings answer
    answers summary overview memo article document essay brief note comparison table short concise detailed final one
    page written markdown full difference differences differ divided multiplied times plus minus make versus vs larger
    bigger smaller longer shorter higher taller lower deeper older more populous heavier faster cheaper"""
)


class RulePlanner:
    """Splits requests by rules.

    `answers_from_tables(question)` tells whether the tables at hand can answer a question; without it, words such as
    "average" and "how many" decide. `files` are the names of the files at hand, so that names with spaces are known.
    """

    def __init__(self, *, answers_from_tables: Callable[[str], bool] | None = None, files: Sequence[str] = ()) -> None:
        self._answers_from_tables = answers_from_tables
        self._files = tuple(files)

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        with self._drafting(request, agents, StandIns(request)) as draft:
            for step in draft.steps():
                draft.add(step)
            draft.close_each()
            graph = draft.finish()
        depth = len(graph.levels())
        note = f"Split by rules, without a model, into {len(graph)} task{'s' if len(graph) != 1 else ''}"
        note += f" on {depth} levels." if depth > 1 else "."
        return Plan(request=request, graph=graph, planner="rules", notes=(note,))

    async def plan_part(self, request: str, material: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Return tasks for the words of a part alone: rules would take what is known already for work. See `plan`."""
        return await self.plan(request, agents)

    def plan_each(
        self,
        items: Sequence[str],
        body: str,
        agents: Mapping[str, AgentCapability],
        *,
        stand_ins: StandIns | None = None,
    ) -> TaskDAG:
        """Return tasks that do the body for each item: "find its capital" for Peru and Chile.

        The body decides what the tasks are, whatever the items hold: each gets the same ones, with its text filled into
        their inputs as it is, and by itself into their metadata (`item`). Texts in the body that are data have
        `stand_ins`.

        Raises:
            CannotPlan: the body is not understood.
        """
        with self._drafting(body, agents, stand_ins or StandIns(body)) as draft:
            names = draft.take_items(items)
            for step in draft.steps():
                draft.repeat(names, step)
            return TaskDAG(draft.filled())

    @contextmanager
    def _drafting(self, request: str, agents: Mapping[str, AgentCapability], stand_ins: StandIns) -> Iterator[_Draft]:
        """Give the draft of a request; errors of its planning name what the request says, not the stand-ins."""
        _check_length(request)
        types = tuple(dict.fromkeys(kind for agent in agents.values() for kind in agent.task_types))
        words = stand_ins.hide_quoted(request, shapes.file_ending)
        try:
            yield _Draft(words, types, self._answers_from_tables, stand_ins, self._files)
        except CannotPlan as error:
            raise CannotPlan(stand_ins.fill_message(str(error))) from None


def _check_length(request: str) -> None:
    text = request.strip()
    if not text:
        raise CannotPlan(
            "The request is empty. Say what you want, such as 'Compare the capitals of France and Germany'."
        )
    if len(text) > MAX_REQUEST_CHARS:
        raise CannotPlan(
            f"The request has {len(text):,} characters; at most {MAX_REQUEST_CHARS:,} are read. "
            "Put long material into a file, and name it in the request."
        )


@dataclass
class _Draft:
    """The tasks so far. Each step of the request adds some; `last` are the ends that a next step may build on."""

    request: str
    task_types: tuple[str, ...]
    answers_from_tables: Callable[[str], bool] | None
    stand_ins: StandIns
    """The texts of the request that are data, and the items: what is planned names them by their stand-ins."""
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

    def steps(self) -> list[language.Step]:
        """Return what the request asks for, part by part."""
        kinds = (kind.replace("_", " ") for kind in self.task_types if kind not in ("*", *_PLANNING))
        verbs = {*shapes.FIND_VERBS, *shapes.OTHER_VERBS, *kinds}
        return language.split_steps(shapes.EACH_WITHIN.sub("; for each of them: ", self.request.strip()), verbs)

    def add(self, step: language.Step) -> None:
        """Add the tasks of one step."""
        if (whole := shapes.EACH_WITH_BODY.fullmatch(step.text)) is not None:
            body = whole["question"] or whole["verb"]
            self.add(language.Step(text=whole["each"], follows=step.follows))
            self.add(language.Step(text=body or f"find {shapes.without_verb(whole['listed'])}"))
            return
        if (each := shapes.EACH_OF_LAST.fullmatch(step.text) or shapes.EACH.fullmatch(step.text)) is not None:
            self.close_each()
            self.opened = (each.groupdict().get("items", ""), step)
            return
        if self.opened is None and (of_each := shapes.OF_EACH.fullmatch(shapes.without_verb(step.text))) is not None:
            self.opened = (of_each["items"], step)
            step = language.Step(text=f"find its {of_each['attributes']}")
        elif self.opened is None and (after := shapes.EACH_AFTER.fullmatch(step.text)) is not None:
            self.opened = (after["items"], step)
            step = language.Step(text=after["body"])
        if self.opened is not None:
            self._ask_of_each(*self.opened, step)
            return
        if step.refers_back and not step.follows and not self._joins(step):
            if self.each:
                self.repeat(self.each, step)
                return
            if self.each_of is not None:
                self.last = (*(() if self.last == (self.each_of,) else self.last), self._repeat(self.each_of, step))
                return
        self.each, self.each_of = (), None
        if self._is_about_each(step):
            self.last = (self._each_of_last(step),)
            return
        step = self._with_subject(step)
        self.asked, self.owners = "", ()
        self.last = self._keep(self._tasks_of(step))

    def _keep(self, ends: tuple[str, ...]) -> tuple[str, ...]:
        used = {before for task in self.tasks if task.task_id in ends for before in task.dependencies}
        if used & set(ends):
            self.kept.update(ends)
        return ends

    def _is_about_each(self, step: language.Step) -> bool:
        """Whether a step asks something of each thing that a question for several found: "and their capitals"."""
        listed = len(self.last) == 1 and (
            shapes.LISTS.match(self.asked) or re.match(r"list\b", self.asked, re.IGNORECASE)
        )
        if not listed or FOR_EACH_TYPE not in self.task_types or shapes.THEIRS.search(step.text) is None:
            return False
        return find_referent(step.text, self.asked) == "found" and not any(
            pattern.match(step.text) for pattern in (shapes.WRITING, shapes.SUMMING)
        )

    def _each_of_last(self, step: language.Step) -> str:
        compared = re.match(r"compare\s+(?P<what>their\s+.+)", step.text, re.IGNORECASE)
        if compared is None:
            return self._repeat(self.last[0], step)
        each = self._repeat(self.last[0], language.Step(text=f"find {compared['what']}"))
        return self._task(_COMPARE, shapes.as_title(step.text), {}, depends_on=(each,))

    def _with_subject(self, step: language.Step) -> language.Step:
        """The step with its pronoun replaced where that means what the question before was about, not what it found."""
        if not (self.asked and step.refers_back) or (self._joins(step) and not shapes.THEIRS.search(step.text)):
            return step
        if find_referent(step.text, self.asked) != "subject":
            return step
        if self.owners:
            self.last = self.owners
            return step
        subject = language.subject_of(self.asked)
        if not subject:
            raise _refusal(step.text, "it is not clear what this refers to. Put the name in its place.")
        text = language.replace_pronoun(language.replace_there(step.text, subject), subject)
        return language.Step(text=text, follows=step.follows)

    def finish(self) -> TaskDAG:
        """Return the graph; several loose ends are joined into one answer where an agent can do that."""
        if not self.tasks:
            raise CannotPlan("Nothing in the request says what to do. " + _KNOWN)
        self._check_words()
        graph = TaskDAG(self.tasks)
        for task in graph:  # a task that becomes many has no fields to refer to
            for reference in find_references(task.inputs):
                if self._body(reference.task_id) and reference.path:
                    raise _refusal(task.description, "rules do not ask this of what is found for each.")
        kind = self._first_type(_COMBINE)
        grows = graph[graph.sinks[0]].task_type == FOR_EACH_TYPE  # its place will be taken by many
        ends = self._ends()
        if (len(ends) > 1 or grows) and kind is not None:
            inputs = {"title": escape_braces(shapes.as_title(self.request))}
            self._task(kind, "Put the answers together", inputs, depends_on=ends, needs_some=True)
        return TaskDAG(self.filled())

    def _check_words(self) -> None:
        """Refuse a request of which a word is in no task, or a lookup whose words ask for more than to look it up."""
        carried: set[str] = set()
        single = len(self.tasks) == 1 and shapes.QUESTION.match(self.request) is not None
        for task in self.tasks:
            asked = str(task.inputs.get("query", task.inputs.get("body", "")))
            if task.task_type in (*_COMPARE, *_COMBINE):
                odd = shapes.UNFULFILLED.search(task.description)
            else:
                carried |= {stem(word) for word in split_words(" ".join(map(str, task.inputs.values())))}
                odd = (shapes.UNFULFILLED if single or shapes.QUESTION.match(asked) else shapes.UNPLANNED).search(asked)
                if asked and not set(split_words(asked.rpartition(" of ")[2])) - _EMPTY:
                    raise CannotPlan(f"{quote_text(asked)}: what to look up is not said. {_KNOWN}")
            if odd is not None and "file" not in task.inputs:
                raise CannotPlan(
                    f"Rules do not do what {quote_text(odd[0].strip())} asks for. Leave it out, ask for it apart, or "
                    "configure a model (KAPELLE_MODEL)."
                )
        said = {plain(word): word for word in re.findall(r"[^\W_]+", self.request)}
        lost = [word for key, word in said.items() if stem(key) not in carried and key not in _EMPTY | _DONE]
        if lost:
            raise CannotPlan(f"No task takes up {', '.join(map(quote_text, lost[:5]))}. {_KNOWN}")

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

    def close_each(self) -> None:
        """Refuse a "for each ..." of which nothing is asked, or which holds another one."""
        if self.opened is not None:
            raise _refusal(
                self.opened[1].text,
                "what is asked of each is not clear, or it is another 'for each', which rules do not plan inside the "
                "first. Say it as in 'for each of A and B, find its capital'.",
            )

    def _ask_of_each(self, items_text: str, opening: language.Step, body: language.Step) -> None:
        """Plan "for each ..." with the first thing that is asked of each."""
        self.opened = None
        if re.search(r"\b(?:for|of)\s+(?:each|every)\b", f"{items_text} {body.text}", re.IGNORECASE):
            raise _refusal(opening.text, "a 'for each' inside another is not planned by rules.")
        all_of = re.match(r"for\s+all\s+(?!of\b)", opening.text, re.IGNORECASE)
        if all_of and shapes.to_plural(items_text) != items_text:
            raise _refusal(opening.text, "which items these are is not clear. Say 'for each ...'.")
        asked = shapes.without_verb(body.text)
        asks_unsaid = asked != body.text and shapes.UNSAID_OF.fullmatch(asked) is not None
        if self._joins(body) or not (body.refers_back or asks_unsaid):
            raise _refusal(
                body.text,
                "how this is meant of each is not clear. Say what to find of it, as in "
                "'for each of A and B, find its capital'.",
            )
        if not body.refers_back:
            body = language.Step(text=f"find its {language.without_article(asked)}")
        self._open_each(items_text, opening)
        if self.each:
            self.repeat(self.each, body)
        elif self.each_of is not None:
            self.last = (self._repeat(self.each_of, body),)
        else:  # tasks that are there already: the capitals of France and Germany
            self.last = tuple(self._follow_up(shapes.without_verb(body.text), previous) for previous in self.last)
        self.asked, self.owners = "", ()

    def _open_each(self, items_text: str, step: language.Step) -> None:
        self.each, self.each_of = (), None
        if self._means_last(items_text):
            self._open_last(step)
            return
        items = language.split_items(items_text)
        facts = language.parse_facts(f"the {items_text}") if len(items) > 1 else []
        if any(fact.attribute for fact in facts):
            self.last = tuple(self._fact(fact, ()) for fact in facts)
        elif len(items) > 1 and re.match(r"[a-z]+\s+(?:[a-z]+\s+)?(?:of|in|on|along|from|with|near|over)\s", items[0]):
            raise _refusal(step.text, "which items these are is not clear. Name them one by one.")
        elif len(items) > 1:
            self.each, self.last = tuple(items), ()
        elif FOR_EACH_TYPE in self.task_types:
            listing = f"list the {shapes.to_plural(items_text)}"
            if self._tables_answer(listing) and not self._tables_answer(shapes.without_verb(listing)):
                inputs = {"question": escape_braces(listing)}
                self.last = (self._task(_TABLE, shapes.as_title(listing), inputs),)
            else:
                self.last = self._tasks_of(language.Step(text=listing))
            self.each_of, *others = self.last
            if others:
                raise _refusal(step.text, "which items these are is not clear. Name them one by one.")
        else:
            raise _refusal(
                step.text,
                "which items these are is known only while it runs. Name them (for each of A, B and C), or configure a "
                "model (KAPELLE_MODEL).",
            )

    def _means_last(self, items_text: str) -> bool:
        """Whether "for each capital" means the capitals that the step before finds."""
        if not items_text:
            return True
        if not self.last or not re.fullmatch(r"[a-z]+", items_text):
            return False
        asked = f"{self.asked} {' '.join(self._body(task) for task in self.last)}".lower()
        return (
            re.search(rf"\b(?:{re.escape(items_text)}|{re.escape(shapes.to_plural(items_text))})\b", asked) is not None
        )

    def _open_last(self, step: language.Step) -> None:
        """Take what the step before finds as the items."""
        grows = [task for task in self.last if self._body(task)]
        listed = shapes.LISTS.match(self.asked) or re.match(r"list\b", self.asked, re.IGNORECASE)
        if len(self.last) == 1 and (grows or listed) and FOR_EACH_TYPE in self.task_types:
            self.each_of = self.last[0]
        elif len(self.last) < 2 or grows or find_referent("its", self.asked) == "subject":
            raise _refusal(step.text, "which items are meant is not clear. Name them (for each of A, B and C).")

    def _tables_answer(self, question: str) -> bool:
        return self._first_type(_TABLE) is not None and self._known_to_tables(question)

    def _known_to_tables(self, question: str) -> bool:
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

    def _body(self, task_id: str) -> str:
        """What a for_each task does for each item; empty for other tasks."""
        for task in self.tasks:
            if task.task_id == task_id and task.task_type == FOR_EACH_TYPE:
                return str(task.inputs["body"])
        return ""

    def _repeat(self, source: str, step: language.Step) -> str:
        """A task that becomes one task per item when the items are known."""
        choice = re.search(r"\b(?:which|who|what)\s+one\b|\bof\s+(?:them|these|those)\b", step.text, re.IGNORECASE)
        if choice or (
            shapes.QUESTION.match(step.text)
            and shapes.SUPERLATIVE.search(step.text)
            and not shapes.THEIRS.search(step.text)
        ):
            raise _refusal(step.text, "rules do not choose among what is found for each. Ask for a comparison.")
        self._trial(step.text)  # what will not be understood then is refused now
        if body := self._body(source):  # its output is a list: what was found for each, if that is one thing
            if len(self._trial(body)) > 1:
                raise _refusal(step.text, "which of the things found for each is meant is not clear. Name it.")
            if find_referent(step.text, shapes.without_verb(language.replace_pronoun(body, "Peru"))) == "subject":
                source = next(task.dependencies[0] for task in self.tasks if task.task_id == source)
        inputs: dict[str, Any] = {"items": f"{{{source}}}", "body": escape_braces(step.text)}
        if self._asks_for_one(self._body(source)):
            inputs[ONE_EACH] = True
        return self._task(FOR_EACH_TYPE, shapes.as_title(f"for each of these: {step.text}"), inputs)

    def _asks_for_one(self, body: str) -> bool:
        """Whether a body asks for one thing of each item: "find its capital", not "find its neighbours"."""
        asked = shapes.with_owner(shapes.without_verb(body), self.stand_ins.take("Peru"))
        facts = language.parse_facts(asked) if body and not shapes.QUESTION.match(asked) else []
        return len(facts) == 1 and facts[0].attribute != "" and language.is_singular(facts[0].attribute)

    def _trial(self, body: str) -> tuple[str, ...]:
        """Plan a body for an item, and return the ends."""
        trial = _Draft(body, self.task_types, self.answers_from_tables, self.stand_ins, self.files)
        trial.repeat(trial.take_items(["Peru"]), language.Step(text=body))
        return trial.last

    def repeat(self, items: Iterable[str], step: language.Step) -> None:
        """Add the tasks of one step for each of these items."""
        if re.search(r",\s*(?:who|whom|whose|what|which|when|where|why|how)\b", step.text, re.IGNORECASE):
            raise _refusal(step.text, "a question inside a list is not split by rules. Ask it apart.")
        ends: list[str] = []
        before = self.last
        for item in items:
            about = shapes.with_owner(step.text, item)
            if about == step.text:  # "find the capital, for each of ..." leaves its "of it" unsaid
                if not shapes.UNSAID_OF.fullmatch(shapes.without_verb(about)) or shapes.without_verb(about) == about:
                    raise CannotPlan(f"No rule fits {quote_text(step.text)} for each item. {_KNOWN}")
                about = f"{about} of {item}"
            ends += self._keep(self._tasks_of(language.Step(text=about), apart=True))
        self.last = (*before, *ends)

    def _joins(self, step: language.Step) -> bool:
        joins = any(
            pattern.match(step.text) for pattern in (shapes.WRITING, shapes.SUMMING, shapes.COMPARING, shapes.ADDING)
        )
        return joins and not self._files_in(step.text)

    def _files_in(self, text: str) -> list[str]:
        """The files that a text names, those at hand by their paths."""
        found = []
        for file in shapes.find_files(text, self.files):
            name = self.stand_ins.fill(file).casefold()  # it may have stood in quotes
            paths = (path for path in self.files if name in (path.casefold(), path.casefold().rpartition("/")[2]))
            found.append(next(paths, file))
        return found

    def _tasks_of(self, step: language.Step, *, apart: bool = False) -> tuple[str, ...]:
        """Return the ends of the tasks that this step adds. `apart`: it stands for one item, and joins nothing."""
        text = step.text
        after = self.last if step.follows else ()
        if shapes.SQL.match(text):
            return (self._task(_TABLE, "Run the query", {"sql": escape_braces(text)}, depends_on=after),)
        if (asked := shapes.read_expression(text)) is not None:
            return (self._task(_COMPUTE, f"Calculate {asked}", {"expression": asked}, depends_on=after),)
        if shapes.ADDING.fullmatch(text) and any(self._body(task) for task in self.last):
            raise _refusal(text, "how many numbers these are is known only while it runs.")
        if shapes.ADDING.fullmatch(text) and len(self.last) > 1:
            total = " + ".join(f"{{{task}.answer}}" for task in self.last)
            return (self._task(_COMPUTE, shapes.as_title(text), {"expression": total}, depends_on=self.last),)
        if (summing := shapes.SUMMING.fullmatch(text)) is not None:
            return self._write(_SUMMARY, text, summing["topic"], after)
        writing = shapes.WRITING.fullmatch(text)
        if writing is not None and (writing["form"] or text.lower().startswith(("write", "draft", "compose"))):
            return self._write(_REPORT, text, writing["topic"] or "", after)
        if (facts := shapes.read_comparison(text)) is not None:
            return self._compare(text, facts, step, after)
        if self._is_for_tables(text, step):
            self.asked = self.asked or text
            return (self._question(text, after),)
        if (kind := self._verb(text)) is not None:
            return (self._work(kind, step, apart),)
        return self._look_up(step, after, apart)

    def _write(self, kinds: tuple[str, ...], text: str, topic: str, after: tuple[str, ...]) -> tuple[str, ...]:
        """A report or summary: over what came before, or over what its topic asks for.

        `topic` may list what to cover: "the Danube: its length, the countries it runs through".
        """
        head, _, aspects = topic.partition(": ")
        sources = self._ends()
        named = self._files_in(topic)
        if named:
            sources = tuple(self._read(name, after) for name in named)
        elif aspects:
            subject = language.parse_facts(head)[0].text
            covered = (shapes.aspect_of(subject, aspect) for aspect in language.split_items(aspects))
            sources = tuple(end for aspect in covered for end in self._tasks_of(language.Step(text=aspect), apart=True))
        elif topic and not sources:
            sources = tuple(
                self._fact(fact, after) for fact in language.parse_facts(shapes.WHAT_IS_KNOWN.sub("", topic))
            )
        if not sources:
            raise _refusal(text, "about what? Say the topic, such as 'a report on the rivers of Europe'.")
        # "Then write a report" is about what was asked before it.
        about = head if head and not language.Step(text=head).refers_back else self._asked_before(text)
        inputs = {"title": escape_braces(shapes.as_title(about))}
        return (self._task(kinds, shapes.as_title(text), inputs, depends_on=sources, needs_some=True),)

    def _asked_before(self, text: str) -> str:
        """The request up to this step, without the words that lead to it."""
        before = self.request[: max(0, self.request.find(text))]
        end = len(before)
        while (lead := _LEADS_ON.search(before, max(0, end - 20), end)) is not None:
            end = lead.start()
        before = before[:end]
        return before if 0 < len(before) <= 100 else cut_before_stand_in(before.partition(". ")[0], 100) or text

    def _compare(
        self, text: str, facts: list[language.Fact], step: language.Step, after: tuple[str, ...]
    ) -> tuple[str, ...]:
        # "Compare them": what is to be compared is already being found out.
        refers = len(facts) < 2 and step.refers_back
        if refers and (owned := re.search(r"\btheir\s+.+", text, re.IGNORECASE)) is not None and self.last:
            sources = tuple(self._follow_up(owned[0].rstrip("?"), previous) for previous in self.last)
        else:
            sources = self._ends() if refers else tuple(self._fact(fact, after) for fact in facts)
            self.asked = "" if refers else " and ".join(fact.text for fact in facts)
        if len(sources) < 2 and not refers:
            raise _refusal(text, "a comparison needs two things. Name both, such as 'compare A and B'.")
        return (self._task(_COMPARE, shapes.as_title(text), {"question": escape_braces(text)}, depends_on=sources),)

    def _question(self, text: str, after: tuple[str, ...]) -> str:
        inputs: dict[str, Any] = {"question": escape_braces(shapes.without_verb(text))}
        if files := self._files_in(text):
            inputs["file"] = escape_braces(files[0])
        return self._task(_TABLE, shapes.as_title(text), inputs, depends_on=after)

    def _work(self, kind: str, step: language.Step, apart: bool) -> str:
        """A verb that some agent knows as a task type: `implement the login page`."""
        before = () if apart else self.last if (step.follows or step.refers_back) else ()
        return self._task(kind, shapes.as_title(step.text), {"request": escape_braces(step.text)}, depends_on=before)

    def _look_up(self, step: language.Step, after: tuple[str, ...], apart: bool) -> tuple[str, ...]:
        text = shapes.without_verb(step.text)
        files = self._files_in(text)
        if not apart and text == step.text and not shapes.QUESTION.match(text) and not files and " of " not in text:
            if self._known_to_tables(text):
                return (self._question(text, after),)
            raise CannotPlan(f"No rule fits {quote_text(step.text)}. {_KNOWN}")
        if files:
            return (self._read(files[0], after, question=text),)
        self.asked = self.asked or text
        if step.refers_back and self.last and not apart:
            self.owners = self.last
            return tuple(
                self._follow_up(part, previous) for previous in self.last for part in language.split_owned(text)
            )
        phrase = shapes.WHAT_IS.sub("", text, count=1) if shapes.WHAT_IS.match(text) else None
        if phrase is None and shapes.QUESTION.match(text):
            return (self._query(text.rstrip("?"), text, after),)
        return tuple(self._fact(fact, after) for fact in language.parse_facts(phrase or text))

    def _follow_up(self, text: str, previous: str) -> str:
        """A question about what another task finds: "its population"."""
        if self._body(previous):
            return self._repeat(previous, language.Step(text=text if shapes.QUESTION.match(text) else f"find {text}"))
        marker = "\u2045found\u2046"
        query = escape_braces(language.replace_pronoun(text, marker)).rstrip("?")
        found = f"{{{previous}.answer}}"
        query = query.replace(marker, found) if marker in query else f"{query} ({found})"
        return self._task(_LOOKUP, shapes.as_title(text), {"query": query}, depends_on=(previous,))

    def _fact(self, fact: language.Fact, after: tuple[str, ...]) -> str:
        if fact.depth > language.MAX_FACT_DEPTH:
            raise CannotPlan(
                f"Something of something is asked for, more than {language.MAX_FACT_DEPTH} times over. Ask in steps."
            )
        if isinstance(fact.of, str):
            return self._query(fact.text, fact.text, after)
        found = self._fact(fact.of, after)
        self.owners = (*self.owners, found)
        query = f"{escape_braces(fact.attribute)} of {{{found}.answer}}"
        title = shapes.as_title(f"look up the {fact.text}")
        return self._task(_LOOKUP, title, {"query": query}, depends_on=(found,))

    def _query(self, query: str, text: str, after: tuple[str, ...]) -> str:
        inputs = {"query": escape_braces(query)}
        for task in self.tasks:  # the same fact asked for twice is found out once
            if task.inputs == inputs and task.depends_on == after:
                return task.task_id
        description = shapes.as_title(text) if shapes.QUESTION.match(text) else f"Look up: {text}"
        return self._task(_LOOKUP, description, inputs, depends_on=after)

    def _read(self, file: str, after: tuple[str, ...], *, question: str = "") -> str:
        if shapes.TABLE_FILE.search(file):
            return self._question(question or f"list everything in {file}", after)
        inputs = {"query": escape_braces(question or file), "file": escape_braces(file)}
        return self._task(_LOOKUP, f"Read {file}", inputs, depends_on=after)

    def _is_for_tables(self, text: str, step: language.Step) -> bool:
        inside = self.answers_from_tables is not None and shapes.THEIRS_WITHIN.search(text) is not None
        if self._first_type(_TABLE) is None or (step.refers_back and not inside):
            return False
        if self.answers_from_tables is not None:
            patterns = (shapes.TABLE_WORDS, shapes.SUPERLATIVE)
            asks = any(pattern.search(text) for pattern in patterns) or shapes.LISTS.match(text) is not None
            asks = asks or re.match(r"list\b|.*\ball\b", text, re.IGNORECASE) is not None
            return asks and self._known_to_tables(shapes.without_verb(text))
        return bool(shapes.TABLE_WORDS.search(text))

    def _verb(self, text: str) -> str | None:
        """The task type whose name the text begins with, unless it is a word for looking things up."""
        words = text.lower()
        looks_up = {*shapes.FIND_VERBS, "answer", "support"}
        for kind in sorted({*self.task_types} - {*_PLANNING}, key=len, reverse=True):
            verb = kind.replace("_", " ").lower()
            if verb not in looks_up and re.match(rf"{re.escape(verb)}\b(?!\s+of\b)", words):
                return kind
        return None

    def _ends(self) -> tuple[str, ...]:
        """Tasks that no other builds on yet."""
        used = {
            before for task in self.tasks for before in task.dependencies if not {before, task.task_id} <= self.kept
        }
        return tuple(task.task_id for task in self.tasks if task.task_id not in used)

    def _first_type(self, kinds: Iterable[str]) -> str | None:
        return next((kind for kind in kinds if kind in self.task_types or "*" in self.task_types), None)

    def _task(
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
        kind = kinds if isinstance(kinds, str) else self._first_type(kinds) or kinds[0]
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


def _refusal(text: str, why: str) -> CannotPlan:
    """Return why rules do not plan what these words of the request say."""
    return CannotPlan(f"{quote_text(text)}: {why}")


_KNOWN = (
    "Without a model, kapelle understands questions, lookups ('find the capital of France'), comparisons, sums over "
    "tables, arithmetic, 'for each of A, B and C: ...', 'then ...', reports on these, and verbs that agents know as "
    "task types. Put it in such words, give a plan file, or configure a model (KAPELLE_MODEL)."
)
