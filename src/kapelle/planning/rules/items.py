"""What a `for_each` task is repeated for, and what is done for each: read from the task's inputs.

An item is data: whatever it holds, it stays one item.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kapelle.agents import TaskContext
from kapelle.graph import Filled, Task, render_output, split_filled
from kapelle.language import split_listed

from .for_each_card import ONE_EACH
from .stand_ins import StandIns

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


def read_listed(task: Task, context: TaskContext) -> tuple[str, ...]:
    """The items in the input `items`. An output that it names among other words is one of them, whatever it holds."""
    listed, written = task.inputs.get("items"), task.written.get("items")
    one_each = task.inputs.get(ONE_EACH) is True
    parts = _parts_of(task, context, "items")
    if not isinstance(written, str) or not parts:
        return read_items(listed, one_each=one_each)
    if len(parts) > 1:
        stand_ins = StandIns(written)
        words = "".join(part if isinstance(part, str) else stand_ins.take(part.text) for part in parts)
        return _distinct(stand_ins.fill(item) for item in read_items(words))
    if isinstance(parts[0], Filled) and parts[0].reference.path == ("answer",):
        output = context.upstream[parts[0].reference.task_id]
        if isinstance(output, Mapping) and (_rows_of(output) is not None or isinstance(output.get("fact"), Mapping)):
            listed = output  # its rows tell where each item ends; its answer, which is for people, does not
    return read_items(listed, one_each=one_each)


def read_body(task: Task, context: TaskContext, stand_ins: StandIns) -> str:
    """What is done for each item, with stand-ins for the outputs that the plan has put into its words."""
    parts = _parts_of(task, context, "body")
    if not parts:
        return str(task.inputs.get("body", ""))
    return "".join(part if isinstance(part, str) else stand_ins.take(part.text) for part in parts)


def _parts_of(task: Task, context: TaskContext, name: str) -> tuple[str | Filled, ...]:
    """The parts of an input; none if nothing was filled into it, or whoever runs the agent gives no outputs."""
    written = task.written.get(name)
    if task.written is task.inputs or not isinstance(written, str):
        return ()
    try:
        return split_filled(written, context.upstream)
    except LookupError:
        return ()


def read_items(output: Any, *, one_each: bool = False) -> tuple[str, ...]:
    """Return the items that an output lists, each once: rows of a table by their first column, a list, or a text.

    A text must be a list and nothing else: no items are taken from prose. A cell of a table is one item, whatever it
    holds, and so is every text in a list. In a list of outputs, each is its answer; `one_each` says that each of them
    was asked for one thing (a capital, not neighbours), so that its answer is no list either.

    >>> read_items({"columns": ["country"], "rows": [["Peru"], ["Chile"], ["Peru"]]})
    ('Peru', 'Chile')
    >>> read_items("- Peru\\n- Chile"), read_items("Peru, Chile and Bolivia")
    (('Peru', 'Chile'), ('Peru', 'Chile', 'Bolivia'))
    >>> read_items({"columns": ["country"], "rows": [["Peru, Chile and Bolivia"]]})
    ('Peru, Chile and Bolivia',)
    >>> read_items("Germany is a country in Central Europe. (notes/germany.md:3)")
    ()
    """
    if one_each and not isinstance(output, (list, tuple)):
        return _answers([output], one_each=True)
    if isinstance(output, Mapping):
        if (rows := _rows_of(output)) is not None:
            return _distinct(rows)
        answer = output.get("answer", output.get("text"))
        if isinstance(output.get("fact"), Mapping):
            return _distinct([output["fact"].get("value", answer)])
        return read_items(answer) if isinstance(answer, (str, list, tuple)) else _distinct([answer or ""])
    if isinstance(output, (list, tuple)):
        if any(isinstance(one, Mapping) and "answer" in one for one in output):
            return _answers(output, one_each=one_each)
        return _distinct(output)
    text = _CITATION.sub("", str(output or "").strip())
    if re.fullmatch(r"[\d.,]*\d", text):
        return (text,)
    if _BULLET.search(text):
        return _names(_BULLET.sub("", line) for line in text.splitlines() if _BULLET.match(line))
    if "\n" in text:
        return _names(text.splitlines())
    lead, _, listed = text.rpartition(":")
    items = _names(split_listed(listed.strip().rstrip(".").replace(";", ",")))
    return items if not lead or len(items) > 1 else ()


def _rows_of(output: Mapping[str, Any]) -> Sequence[Any] | None:
    """What a structured output lists; None where it lists nothing."""
    listed = (output.get(key) for key in ("rows", "items", "results"))
    return next((rows for rows in listed if isinstance(rows, (list, tuple))), None)


def _answers(outputs: Any, *, one_each: bool) -> tuple[str, ...]:
    """The answers of several outputs; none if one of them is no name, since what it stands for is not known."""
    answers: list[str] = []
    for output in outputs:
        answer = output.get("answer", output.get("text")) if isinstance(output, Mapping) else output
        # "Washington, D.C." is one name; a list of two has an "and".
        whole = isinstance(answer, str) and (
            one_each or (" and " not in answer and re.fullmatch(r"[^,;:\n]+,[^,;:\n]+", answer) is not None)
        )
        table = isinstance(output, Mapping) and ("rows" in output or isinstance(output.get("fact"), Mapping))
        if table:
            items = read_items(output)
        elif not isinstance(output, Mapping):
            items = _distinct([output])
        else:
            items = _names([str(answer)]) if whole else read_items(answer)
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
    texts = (render_output(_first(item)) for item in items)
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def _first(item: Any) -> Any:
    """A row stands for its first cell."""
    if isinstance(item, Mapping):
        return next(iter(item.values()), "")
    if isinstance(item, (list, tuple)):
        return item[0] if item else ""
    return item
