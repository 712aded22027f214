"""Plans as numbered lines, the notation of LLMCompiler (arXiv:2312.04511):

    1. search("capital of France")
    2. search("population of $1")
    3. join()

`$1` means the output of line 1, and `join()` only says that the plan ends. A list of plain sentences is no plan.
"""

from __future__ import annotations

import re

from kapelle.errors import InvalidPlan

from .nodes import Node, Repairs

_LINE = re.compile(r"[ \t]*(?:\$|#|s)?(?P<number>[0-9]{1,5})[.):=][ \t]*(?P<call>[A-Za-z_][\w.-]*\(.*)")
_NUMBERED = re.compile(r"[ \t]*[0-9]{1,5}[.)][ \t]")
_JOIN = re.compile(r"(?:join|finish)\(\s*\)")
_END_MARK = re.compile(r"<END_OF_PLAN>.*")
_COMMENT = re.compile(r"\)[ \t]*(?:#|//)[^\"']*\Z")
_DOLLAR = re.compile(r"\$(?:\{(?P<braced>[0-9]{1,5})\}|(?P<plain>[0-9]{1,5}))(?![\w])")


def find_lines(text: str, repairs: Repairs) -> list[Node]:
    """Return the nodes of the numbered calls in a text; none if it has none.

    Raises:
        InvalidPlan: between the calls a numbered line is none; it would be lost.
    """
    nodes: list[Node] = []
    other: tuple[int, str] | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        found = _LINE.match(line)
        if found is None:
            if _NUMBERED.match(line) and other is None:
                other = number, line.strip()
            continue
        call = _END_MARK.sub("", found["call"]).rstrip(" \t\r;.`")
        comment = _COMMENT.search(call)
        if comment is not None:
            call = call[: comment.start() + 1]
        if _JOIN.fullmatch(call):
            repairs.note("join() ends the plan, and is no task of it")
            continue
        nodes.append(Node(line=number, attributes={"id": f"s{int(found['number'])}"}, text=call))
    if nodes and other is not None:
        raise InvalidPlan(
            f"{other[1][:40]!r} is no call, as the other numbered lines are. Write number. function(arguments).",
            place=f"line {other[0]}",
        )
    ids = {node.task_id for node in nodes}
    for node in nodes:
        node.text = _DOLLAR.sub(lambda match: _refer(match, ids), node.text)
    return nodes


def _refer(match: re.Match[str], ids: set[str]) -> str:
    name = f"s{int(match['braced'] or match['plain'])}"
    return "{" + name + "}" if name in ids else match[0]
