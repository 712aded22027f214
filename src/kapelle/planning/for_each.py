"""An agent that plans: it repeats a task for each item of an earlier result, once that result is there.

"For each country in South America, find its capital" cannot be planned whole: which countries these are is known only
while it runs. So the plan holds one `for_each` task, and this agent answers it with one task per item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kapelle.agents import AgentCapability, AgentResult, TaskContext
from kapelle.errors import AgentFailed, CannotPlan
from kapelle.graph import Task, render_output
from kapelle.knowledge import quote_text

from .language import split_items
from .rule_planner import FOR_EACH_TYPE, RulePlanner

MAX_ITEMS = 100
"""More items than this want a query or a program, not one task each."""

FOR_EACH_CARD = AgentCapability(
    agent_id="for-each",
    task_types=(FOR_EACH_TYPE,),
    skills=frozenset({"planning"}),
    cost_tier="free",
    cost_usd=0.0,
    seconds=0.01,
    success_rate=0.9,
    description="Repeats a task for each item of an earlier result. Inputs: `items`, such as {s1}, and `body`, such as "
    "'find its capital'.",
)

MAX_ITEM_WORDS = 5
"""A name is short. What is longer is a sentence, and its parts are no items."""

_CITATION = re.compile(r"(?:(?<!\s)\s+)?[(\[][^()\[\]\s]+\.\w+(?::\d+)?[)\]]\s*+(?:\.\s*)?\Z")
_SENTENCE = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|does|do|did|can|could|will|would|may|might|must|it|its|they|their|he|"
    r"she|this|that|these|those|which|who|where|when|because|not|no|none|nothing|only|also|however|lies?|borders?|"
    r"flows?|runs?|includes?|contains?|consists?)\b",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[^\S\n]*(?:[-*•]|\d+[.)])\s+", re.MULTILINE)


class ForEachAgent:
    """Answers a `for_each` task with one task per item."""

    def __init__(self, planner: RulePlanner, agents: Callable[[], Mapping[str, AgentCapability]]) -> None:
        self._planner = planner
        self._agents = agents

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        items = read_items(task.inputs.get("items"))
        if not items:
            body = quote_text(str(task.inputs.get("body")))
            raise AgentFailed(f"Task {quote_text(task.task_id)} found no items to repeat {body} for.")
        if len(items) > MAX_ITEMS:
            raise AgentFailed(
                f"Task {quote_text(task.task_id)} would be repeated for {len(items)} items; at most {MAX_ITEMS} are. "
                "Narrow them, or ask the tables in one question."
            )
        try:
            graph = self._planner.plan_each(items, str(task.inputs.get("body", "")), self._agents())
        except CannotPlan as error:
            raise AgentFailed(str(error)) from error
        return AgentResult(output=None, expansion=graph, cost_usd=0.0)


def read_items(output: Any) -> tuple[str, ...]:
    """Return the items that an output lists, each once: rows of a table by their first column, a list, or a text.

    A text must be a list and nothing else: no items are taken from prose. In a list of outputs, each is its answer.

    >>> read_items({"columns": ["country"], "rows": [["Peru"], ["Chile"], ["Peru"]]})
    ('Peru', 'Chile')
    >>> read_items("- Peru\\n- Chile"), read_items("Peru, Chile and Bolivia")
    (('Peru', 'Chile'), ('Peru', 'Chile', 'Bolivia'))
    >>> read_items("Germany is a country in Central Europe. (notes/germany.md:3)")
    ()
    """
    if isinstance(output, Mapping):
        for key in ("rows", "items", "results"):
            if isinstance(output.get(key), (list, tuple)):
                return _distinct(output[key])
        answer = output.get("answer", output.get("text"))
        return read_items(answer) if isinstance(answer, (str, list, tuple)) else _distinct([answer or ""])
    if isinstance(output, (list, tuple)):
        if any(isinstance(one, Mapping) and "answer" in one for one in output):
            return _answers(output)
        return _distinct(output)
    text = _CITATION.sub("", str(output or "").strip())
    if re.fullmatch(r"[\d.,]*\d", text):
        return (text,)
    if _BULLET.search(text):
        return _names(_BULLET.sub("", line) for line in text.splitlines() if _BULLET.match(line))
    if "\n" in text:
        return _names(text.splitlines())
    lead, _, listed = text.rpartition(":")
    items = _names(split_items(listed.strip().rstrip(".").replace(";", ",")))
    return items if not lead or len(items) > 1 else ()


def _answers(outputs: Any) -> tuple[str, ...]:
    """The answers of several outputs; none if one of them is no name, since what it stands for is not known."""
    answers: list[str] = []
    for output in outputs:
        answer = output.get("answer") if isinstance(output, Mapping) else output
        # "Washington, D.C." is one name; a list of two has an "and".
        whole = isinstance(answer, str) and " and " not in answer and re.fullmatch(r"[^,;:\n]+,[^,;:\n]+", answer)
        table = isinstance(output, Mapping) and "rows" in output
        items = _names([str(answer)]) if whole and not table else read_items(output if table else answer)
        if not items:
            return ()
        answers += items
    return _distinct(answers)


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts, if each looks like a name; none otherwise."""
    names = [text for text in (_CITATION.sub("", text).strip() for text in texts) if text]
    sentences = any(
        len(name.split()) > MAX_ITEM_WORDS or _SENTENCE.search(name) or name.count("(") != name.count(")")
        for name in names
    )
    return () if sentences else _distinct(names)


def _distinct(items: Any) -> tuple[str, ...]:
    texts = (render_output(_first(item)).strip() for item in items)
    return tuple(dict.fromkeys(text for text in texts if text))


def _first(item: Any) -> Any:
    """A row stands for its first cell."""
    if isinstance(item, Mapping):
        return next(iter(item.values()), "")
    if isinstance(item, (list, tuple)):
        return item[0] if item else ""
    return item
