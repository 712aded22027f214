"""Splits a request by rules, with no model. It understands a few shapes well, and says plainly when it does not.

The shapes: enumerations ("the capitals of France and Germany"), chains ("the population of the capital of Peru"),
comparisons, "for each of ...", sequences ("then", "finally"), references back ("test it", "their areas"), questions to
tables ("average population per continent"), arithmetic, named files, verbs that agents know as task types
("implement ..., test it, deploy it"), and reports over what came before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kapelle.agents import AgentCapability
from kapelle.errors import CannotPlan
from kapelle.graph import Task, TaskDAG, escape_braces

from .language import Fact, Step, parse_facts, replace_pronoun, split_items, split_steps
from .planner import Plan

MAX_REQUEST_CHARS = 20_000
"""A request is what a person types. Longer material belongs into a file that an agent reads."""
MAX_RULE_TASKS = 200

# For each kind of work, the task types that agents use for it, best first.
_LOOKUP = ("lookup", "search", "research", "answer", "support")
_TABLE = ("sql", "query", "aggregate")
_COMPUTE = ("compute", "calculate", "python")
_COMPARE = ("compare", "report", "summarize", "write")
_REPORT = ("report", "write", "summarize", "content")
_SUMMARY = ("summarize", "report", "write")
_COMBINE = ("combine", "answer", "report", "summarize", "write", "compare")

_FIND_VERBS = (
    "find out", "find", "look up", "lookup", "search for", "search", "get", "tell me about", "tell me", "show me",
    "show", "give me", "give", "name", "identify", "determine", "retrieve", "fetch", "list", "research", "describe",
    "explain",
)  # fmt: skip
_OTHER_VERBS = (
    "compare", "contrast", "calculate", "compute", "evaluate", "add up", "sum up", "summarize", "summarise", "recap",
    "write", "draft", "compose", "prepare", "produce", "create", "generate", "report", "run", "count", "rank",
)  # fmt: skip

_QUESTION = re.compile(r"(?:what|who|whom|whose|when|where|which|why|how|is|are|was|were|does|do|did)\b", re.IGNORECASE)
_WHAT_IS = re.compile(
    r"(?:what(?:'s|\s+is|\s+are|\s+was|\s+were)|who(?:'s|\s+is|\s+are|\s+was|\s+were)|how\s+much\s+is)\s+",
    re.IGNORECASE,
)
_TABLE_WORDS = re.compile(
    r"\b(?:(?:how many|number of|count|total|sum of|average|mean|median|maximum|minimum|top \d+)\b|"
    r"(?:which|what|the|list)\s+(?:the\s+)?\d+\s|per\s+[a-z]+|by\s+[a-z]+|(?:more|less|fewer|greater|larger|longer|higher)\s+than\s+\d|"
    r"(?:over|under|above|below)\s+\d)",
    re.IGNORECASE,
)
_SUPERLATIVE = re.compile(
    r"\b(?:largest|biggest|smallest|highest|lowest|longest|shortest|most|least|tallest)\b", re.IGNORECASE
)
_SQL = re.compile(r"(?:select|with)\s.+\sfrom\s", re.IGNORECASE | re.DOTALL)
_ARITHMETIC = re.compile(
    r"(?=.*\d)(?=.*(?:[-+*/^%×÷]|\bof\b|\btimes\b|\bplus\b|\bminus\b|\bdivided by\b))"
    r"[\d\s.,()+*/^%×÷-]*(?:(?:of|times|plus|minus|divided by)[\d\s.,()+*/^%×÷-]+)*"
)
_EACH = re.compile(r"for\s+(?:each|every|all)\s+(?:of\s+)?(?:the\s+)?(?P<items>.+?)[,:]?", re.IGNORECASE)
_EACH_AFTER = re.compile(r"(?P<body>.+?),?\s+for\s+(?:each|every|all)\s+of\s+(?:the\s+)?(?P<items>.+)", re.IGNORECASE)
_OF_EACH = re.compile(
    r"(?:the\s+)?(?P<attributes>[a-z ,]+?)\s+of\s+(?:each|every)\s+(?:of\s+)?(?:the\s+)?(?P<items>.+)", re.IGNORECASE
)
_HEAD = re.compile(r"(.*?)(?:(\s(?:in|of|with|on|along|from|that|over|above|under|below)\b)(.*)|$)", re.DOTALL)
_WRITING = re.compile(
    r"(?:write|draft|compose|prepare|produce|create|make|generate|give me|report)\b\s*(?:me\s+|up\s+)?(?:a|an|the)?\s*"
    r"(?:(?:short|brief|concise|detailed|final|one-page|written|markdown|full)\s+)*"
    r"(?P<form>report|summary|overview|memo|article|document|essay|brief|note|comparison|table|answer)?\b\s*"
    r"(?:(?P<link>on|about|of|comparing|for|covering|from|with|that|over|back)\b\s*(?P<topic>.*))?",
    re.IGNORECASE,
)
_SUMMING = re.compile(r"(?:summari[sz]e|sum up|recap|condense)\b\s*(?P<topic>.*)", re.IGNORECASE)
_COMPARING = re.compile(
    r"(?:compare|contrast|what\s+(?:is|are)\s+the\s+differences?\s+(?:in\s+(?P<inside>.+?)\s+)?between|"
    r"differences?\s+(?:in\s+(?P<within>.+?)\s+)?between)\s+(?P<things>.+?)"
    r"(?:\s+(?:by|in terms of|with respect to|regarding|on)\s+(?:their\s+|the\s+)?(?P<by>.+))?",
    re.IGNORECASE,
)
_VERSUS = re.compile(r"(?P<things>.+?\s+(?:vs\.?|versus)\s+.+)", re.IGNORECASE)
_WHICH_IS = re.compile(
    r"(?:which|who|what)\s+(?:one\s+)?(?:is|has|are|have)\s+(?:the\s+)?"
    r"(?P<adjective>[a-z ]+?)[,:]\s*(?P<things>.+\sor\s.+)",
    re.IGNORECASE,
)
_IS_MORE = re.compile(
    r"(?:is|are)\s+(?P<one>.+?)\s+(?P<adjective>[a-z]+er|more\s+[a-z]+)\s+than\s+(?P<other>.+)", re.IGNORECASE
)
_FILE = re.compile(r"[\w./-]*\w\.(?:md|txt|rst|html?|csv|tsv|sqlite3?|db)\b", re.IGNORECASE)
_TABLE_FILE = re.compile(r"\.(?:csv|tsv|sqlite3?|db)$", re.IGNORECASE)

# What an adjective measures, for "which is longer, the Rhine or the Danube?".
_MEASURES = {
    "larger": "area", "bigger": "area", "smaller": "area", "longer": "length", "shorter": "length",
    "higher": "height", "taller": "height", "lower": "height", "deeper": "depth", "older": "age",
    "more populous": "population", "more people": "population", "more inhabitants": "population",
    "larger population": "population", "heavier": "weight", "faster": "speed", "cheaper": "price",
}  # fmt: skip


FOR_EACH_TYPE = "for_each"
"""A task that becomes one per item of its input `items`, each doing `body`: see for_each."""


class RulePlanner:
    """Splits requests by rules.

    `answers_from_tables(question)` tells whether the tables at hand can answer a question; without it, words such as
    "average" and "how many" decide.
    """

    def __init__(self, *, answers_from_tables: Callable[[str], bool] | None = None) -> None:
        self._answers_from_tables = answers_from_tables

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        types = _task_types(agents)
        draft = self._draft(request, types)
        for step in _steps(request, types):
            draft.add(step)
        graph = draft.finish()
        depth = len(graph.levels())
        note = f"Split by rules, without a model, into {len(graph)} task{'s' if len(graph) != 1 else ''}"
        note += f" on {depth} levels." if depth > 1 else "."
        return Plan(request=request, graph=graph, planner="rules", notes=(note,))

    def plan_each(self, items: Sequence[str], body: str, agents: Mapping[str, AgentCapability]) -> TaskDAG:
        """Return tasks that do the body for each item: "find its capital" for Peru and Chile.

        Raises:
            CannotPlan: the body is not understood.
        """
        types = _task_types(agents)
        draft = self._draft(body, types)
        for step in _steps(body, types):
            draft.repeat(items, step)
        return TaskDAG(draft.tasks)

    def _draft(self, request: str, types: tuple[str, ...]) -> _Draft:
        return _Draft(request=request, task_types=types, answers_from_tables=self._answers_from_tables)


def _task_types(agents: Mapping[str, AgentCapability]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind for agent in agents.values() for kind in agent.task_types))


def _steps(request: str, task_types: Collection[str]) -> list[Step]:
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
    verbs = {*_FIND_VERBS, *_OTHER_VERBS, *(kind.replace("_", " ") for kind in task_types if kind != "*")}
    return split_steps(text, verbs)


@dataclass
class _Draft:
    """The tasks so far. Each step of the request adds some; `last` are the ends that a next step may build on."""

    request: str
    task_types: tuple[str, ...]
    answers_from_tables: Callable[[str], bool] | None
    tasks: list[Task] = field(default_factory=list)
    last: tuple[str, ...] = ()
    each: tuple[str, ...] = ()
    """The items of a "for each of ..." that is still open."""
    each_of: str | None = None
    """The task that finds the items of a "for each ..." that is still open, where they are not named."""

    def add(self, step: Step) -> None:
        """Add the tasks of one step."""
        if (each := _EACH.fullmatch(step.text)) is not None:
            self._open_each(each["items"], step)
            return
        if (of_each := _OF_EACH.fullmatch(_without_verb(step.text))) is not None:
            self._open_each(of_each["items"], step)
            step = Step(text=f"find its {of_each['attributes']}")
        if (after := _EACH_AFTER.fullmatch(step.text)) is not None and len(split_items(after["items"])) > 1:
            self.repeat(split_items(after["items"]), Step(text=after["body"]))
            return
        if step.refers_back and not step.follows and not self._joins(step):
            if self.each:
                self.repeat(self.each, step)
                return
            if self.each_of is not None:
                self.last = (*(() if self.last == (self.each_of,) else self.last), self._repeat(self.each_of, step))
                return
        self.each, self.each_of = (), None
        self.last = self._tasks_of(step)

    def finish(self) -> TaskDAG:
        """Return the graph; several loose ends are joined into one answer where an agent can do that."""
        if not self.tasks:
            raise CannotPlan("Nothing in the request says what to do. " + _KNOWN)
        graph = TaskDAG(self.tasks)
        kind = self._first_type(_COMBINE)
        grows = graph[graph.sinks[0]].task_type == FOR_EACH_TYPE  # its place will be taken by many
        if (len(graph.sinks) > 1 or grows) and kind is not None:
            inputs = {"title": escape_braces(_title(self.request))}
            self._task(kind, "Put the answers together", inputs, depends_on=graph.sinks)
            graph = TaskDAG(self.tasks)
        return graph

    def _open_each(self, items_text: str, step: Step) -> None:
        items = split_items(items_text)
        if len(items) > 1:
            self.each, self.each_of, self.last = tuple(items), None, ()
        elif FOR_EACH_TYPE in self.task_types:
            (self.each_of,) = self.last = self._tasks_of(Step(text=f"list the {_plural(items_text)}"))
        else:
            raise CannotPlan(
                f"{step.text!r}: which items these are is known only while it runs. "
                "Name them (for each of A, B and C), or configure a model (KAPELLE_MODEL)."
            )

    def _repeat(self, source: str, step: Step) -> str:
        """A task that becomes one task per item when the items are known."""
        inputs = {"items": f"{{{source}}}", "body": escape_braces(step.text)}
        return self._task(FOR_EACH_TYPE, _title(f"for each of these: {step.text}"), inputs)

    def repeat(self, items: Iterable[str], step: Step) -> None:
        """Add the tasks of one step for each of these items."""
        ends: list[str] = []
        before = self.last
        for item in items:
            about = replace_pronoun(step.text, item)
            if about == step.text:  # "find the capital, for each of ..." leaves its "of it" unsaid
                if _without_verb(about) == about:
                    raise CannotPlan(f"No rule fits {step.text!r} for each item. {_KNOWN}")
                about = f"{about} of {item}"
            ends += self._tasks_of(Step(text=about), apart=True)
        self.last = (*before, *ends)

    def _joins(self, step: Step) -> bool:
        return any(pattern.match(step.text) for pattern in (_WRITING, _SUMMING, _COMPARING)) and not _FILE.search(
            step.text
        )

    def _tasks_of(self, step: Step, *, apart: bool = False) -> tuple[str, ...]:
        """Return the ends of the tasks that this step adds. `apart`: it stands for one item, and joins nothing."""
        text = step.text
        after = self.last if step.follows else ()
        if _SQL.match(text):
            return (self._task(self._type(_TABLE), "Run the query", {"sql": escape_braces(text)}, depends_on=after),)
        if (asked := _expression(text)) is not None:
            return (self._task(self._type(_COMPUTE), f"Calculate {asked}", {"expression": asked}, depends_on=after),)
        if (summing := _SUMMING.fullmatch(text)) is not None:
            return self._write(_SUMMARY, text, summing["topic"], after)
        writing = _WRITING.fullmatch(text)
        if writing is not None and (writing["form"] or text.lower().startswith(("write", "draft", "compose"))):
            return self._write(_REPORT, text, writing["topic"] or "", after)
        if (facts := _comparison(text)) is not None:
            return self._compare(text, facts, step, after)
        if self._is_for_tables(text, step):
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
        named = _FILE.findall(topic)
        if named:
            sources = tuple(self._read(name, after) for name in named)
        elif aspects:
            subject = parse_facts(head)[0].text
            covered = (_aspect_of(subject, aspect) for aspect in split_items(aspects))
            sources = tuple(end for aspect in covered for end in self._tasks_of(Step(text=aspect), apart=True))
        elif topic and not sources:
            sources = tuple(self._fact(fact, after) for fact in parse_facts(topic))
        if not sources:
            raise CannotPlan(f"{text!r}: about what? Say the topic, such as 'a report on the rivers of Europe'.")
        # "Then write a report" is about what was asked before it.
        about = head if head and not Step(text=head).refers_back else self._asked_before(text)
        inputs = {"title": escape_braces(_title(about))}
        return (self._task(self._type(kinds), _title(text), inputs, depends_on=sources),)

    def _asked_before(self, text: str) -> str:
        """The request up to this step, without the words that lead to it."""
        before = self.request[: max(0, self.request.find(text))]
        before = re.sub(
            r"(?:[\s,;.:]|\b(?:and|then|finally|next|please|after that)\b)+$", "", before, flags=re.IGNORECASE
        )
        return before if 0 < len(before) <= 100 else before.partition(". ")[0][:100] or text

    def _compare(self, text: str, facts: list[Fact], step: Step, after: tuple[str, ...]) -> tuple[str, ...]:
        # "Compare them": what is to be compared is already being found out.
        refers = len(facts) < 2 and step.refers_back
        if refers and (owned := re.search(r"\btheir\s+.+", text, re.IGNORECASE)) is not None and self.last:
            sources = tuple(self._follow_up(owned[0].rstrip("?"), previous) for previous in self.last)
            return (
                self._task(self._type(_COMPARE), _title(text), {"question": escape_braces(text)}, depends_on=sources),
            )
        sources = self._ends() if refers else tuple(self._fact(fact, after) for fact in facts)
        if len(sources) < 2 and not refers:
            raise CannotPlan(f"{text!r}: a comparison needs two things. Name both, such as 'compare A and B'.")
        return (self._task(self._type(_COMPARE), _title(text), {"question": escape_braces(text)}, depends_on=sources),)

    def _question(self, text: str, after: tuple[str, ...]) -> str:
        inputs: dict[str, Any] = {"question": escape_braces(_without_verb(text))}
        if (file := _FILE.search(text)) is not None:
            inputs["file"] = file[0]
        return self._task(self._type(_TABLE), _title(text), inputs, depends_on=after)

    def _work(self, kind: str, step: Step, apart: bool) -> str:
        """A verb that some agent knows as a task type: `implement the login page`."""
        before = () if apart else self.last if (step.follows or step.refers_back) else ()
        return self._task(kind, _title(step.text), {"request": escape_braces(step.text)}, depends_on=before)

    def _look_up(self, step: Step, after: tuple[str, ...], apart: bool) -> tuple[str, ...]:
        text = _without_verb(step.text)
        if (
            not apart
            and text == step.text
            and not _QUESTION.match(text)
            and not _FILE.search(text)
            and " of " not in text
        ):
            raise CannotPlan(f"No rule fits {step.text!r}. {_KNOWN}")
        if (file := _FILE.search(text)) is not None:
            return (self._read(file[0], after, question=text),)
        if step.refers_back and self.last and not apart:
            return tuple(self._follow_up(text, previous) for previous in self.last)
        phrase = _WHAT_IS.sub("", text, count=1) if _WHAT_IS.match(text) else None
        if phrase is None and _QUESTION.match(text):
            return (self._query(text.rstrip("?"), text, after),)
        return tuple(self._fact(fact, after) for fact in parse_facts(phrase or text))

    def _follow_up(self, text: str, previous: str) -> str:
        """A question about what another task finds: "its population"."""
        marker = "\u2045found\u2046"
        query = escape_braces(replace_pronoun(text, marker)).rstrip("?")
        query = (
            query.replace(marker, f"{{{previous}.answer}}") if marker in query else f"{query} ({{{previous}.answer}})"
        )
        return self._task(self._type(_LOOKUP), _title(text), {"query": query}, depends_on=(previous,))

    def _fact(self, fact: Fact, after: tuple[str, ...]) -> str:
        if isinstance(fact.of, str):
            return self._query(fact.text, fact.text, after)
        found = self._fact(fact.of, after)
        query = f"{escape_braces(fact.attribute)} of {{{found}.answer}}"
        return self._task(
            self._type(_LOOKUP), _title(f"look up the {fact.text}"), {"query": query}, depends_on=(found,)
        )

    def _query(self, query: str, text: str, after: tuple[str, ...]) -> str:
        inputs = {"query": escape_braces(query)}
        for task in self.tasks:  # the same fact asked for twice is found out once
            if task.inputs == inputs and task.depends_on == after:
                return task.task_id
        description = _title(text) if _QUESTION.match(text) else f"Look up: {text}"
        return self._task(self._type(_LOOKUP), description, inputs, depends_on=after)

    def _read(self, file: str, after: tuple[str, ...], *, question: str = "") -> str:
        if _TABLE_FILE.search(file):
            return self._question(question or f"list everything in {file}", after)
        inputs = {"query": escape_braces(question or file), "file": file}
        return self._task(self._type(_LOOKUP), f"Read {file}", inputs, depends_on=after)

    def _is_for_tables(self, text: str, step: Step) -> bool:
        if self._first_type(_TABLE) is None or step.refers_back:
            return False
        if self.answers_from_tables is not None:
            asks = bool(_TABLE_WORDS.search(text) or _SUPERLATIVE.search(text) or text.lower().startswith("list"))
            return asks and self.answers_from_tables(_without_verb(text))
        return bool(_TABLE_WORDS.search(text))

    def _verb(self, text: str) -> str | None:
        """The task type whose name the text begins with, unless it is a word for looking things up."""
        words = text.lower()
        for kind in sorted(self.task_types, key=len, reverse=True):
            verb = kind.replace("_", " ").lower()
            if re.match(rf"{re.escape(verb)}\b", words) and verb not in (*_FIND_VERBS, "answer", "support"):
                return kind
        return None

    def _ends(self) -> tuple[str, ...]:
        """Tasks that no other builds on yet."""
        used = {before for task in self.tasks for before in task.dependencies}
        return tuple(task.task_id for task in self.tasks if task.task_id not in used)

    def _first_type(self, kinds: Iterable[str]) -> str | None:
        return next((kind for kind in kinds if kind in self.task_types or "*" in self.task_types), None)

    def _type(self, kinds: tuple[str, ...]) -> str:
        # If no agent takes any of them the plan still names the first, and routing says what is missing.
        return self._first_type(kinds) or kinds[0]

    def _task(self, kind: str, description: str, inputs: Mapping[str, Any], *, depends_on: Iterable[str] = ()) -> str:
        if len(self.tasks) >= MAX_RULE_TASKS:
            raise CannotPlan(f"The request splits into more than {MAX_RULE_TASKS} tasks. Ask for less at a time.")
        task_id = f"s{len(self.tasks) + 1}"
        task = Task(
            task_id=task_id, task_type=kind, description=description, inputs=inputs, depends_on=tuple(depends_on)
        )
        self.tasks.append(task)
        return task_id


_KNOWN = (
    "Without a model, kapelle understands questions, lookups ('find the capital of France'), comparisons, sums over "
    "tables, arithmetic, 'for each of A, B and C: ...', 'then ...', reports on these, and verbs that agents know as "
    "task types. Put it in such words, give a plan file, or configure a model (KAPELLE_MODEL)."
)


def _expression(text: str) -> str | None:
    """The arithmetic that is asked for, in operators, or None."""
    body = re.sub(r"^(?:calculate|compute|evaluate|what(?:'s| is)|how much is)\s+", "", text, flags=re.IGNORECASE)
    body = body.rstrip("?=. ")
    if not _ARITHMETIC.fullmatch(body):
        return None
    body = re.sub(r"([\d.]+)\s*%\s*of\s*", r"\1 / 100 * ", body)
    for words, operator in (("divided by", "/"), ("times", "*"), ("plus", "+"), ("minus", "-"), ("of", "*")):
        body = re.sub(rf"\b{words}\b", operator, body, flags=re.IGNORECASE)
    body = re.sub(r"(?<=\d),(?=\d{3}\b)", "", body).replace("×", "*").replace("÷", "/").replace("^", "**")
    return re.sub(r"([\d.]+)\s*%(?!\s*\d)", r"(\1 / 100)", body).strip()


def _comparison(text: str) -> list[Fact] | None:
    """The facts that a comparison is about, or None if the text is no comparison."""
    text = text.rstrip("?").strip()
    if (which := _WHICH_IS.fullmatch(text)) is not None:
        return _measured(which["adjective"], split_items(which["things"]))
    if (more := _IS_MORE.fullmatch(text)) is not None:
        return _measured(more["adjective"], [more["one"], more["other"]])
    if (found := _COMPARING.fullmatch(text)) is not None:
        attributes = found["by"] or found["inside"] or found["within"]
        if attributes is not None:
            return parse_facts(f"{attributes} of {found['things']}")
        return parse_facts(found["things"])
    if _VERSUS.fullmatch(text):
        return parse_facts(text)
    return None


def _measured(adjective: str, things: list[str]) -> list[Fact]:
    measure = _MEASURES.get(" ".join(adjective.lower().split()))
    things = [re.sub(r"^(?:the)\s+", "", thing, flags=re.IGNORECASE) for thing in things]
    return [Fact(attribute=measure or "", of=thing) for thing in things]


def _aspect_of(subject: str, aspect: str) -> str:
    """What to find out about a subject: "its length" and "length" alike are "the length of" it."""
    about = replace_pronoun(aspect, subject)
    if about == aspect and re.fullmatch(r"(?:the )?[a-z]+(?: [a-z]+)?", aspect):
        return f"{aspect} of {subject}"
    return about


def _without_verb(text: str) -> str:
    verbs = "|".join(re.escape(verb) for verb in _FIND_VERBS)
    return re.sub(rf"^(?:{verbs})\b[\s:,]*", "", text, count=1, flags=re.IGNORECASE) or text


def _plural(phrase: str) -> str:
    """The noun at the head of a phrase in the plural: "country in Europe" becomes "countries in Europe"."""
    head, joint, rest = _HEAD.match(phrase).groups()  # type: ignore[union-attr]  # it matches any text
    if re.search(r"[^aeiou]y$", head):
        head = head[:-1] + "ies"
    elif not head.endswith("s"):
        head += "es" if head.endswith(("x", "ch", "sh")) else "s"
    return f"{head}{joint or ''}{rest or ''}"


def _title(text: str) -> str:
    text = " ".join(text.split())
    return (text[:1].upper() + text[1:])[:200]
