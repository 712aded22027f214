"""Does the plan end where the request wants to go: outputs that nobody uses, a question that no last task answers?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from kapelle.graph import Task, escape_braces

from .coverage import TaskText, is_yes_no_question, stems_of
from .coverage.clauses import GENERIC
from .edit import Edit
from .issue import Issue
from .schemas import ToolSignature

_DECIDES = re.compile(
    r"(?:^|[\s,;:(])(?:is|are|was|were|am|do|does|did|has|have|had|can|could|would|will|should|shall|may|might|must|"
    r"whether|if|compare|decide|determine|judge|verify|check|confirm|same|than|versus|vs|among|"
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|would|will|should)n['’]?t)(?=$|[\s,;:)'’])",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"^\W*(?:(?:in|of|at|on|by|for|to|from|during|with)\s+)?(?:what|which|who|whom|whose|when|where|how|why)\b", re.I
)
_INVERTED = re.compile(
    r"(?:^|[,;:.]\s*|\b(?:and|then|but)\s+)\W*(?:is|are|was|were|am|do|does|did|has|have|had|can|could|would|will|should|shall|may|might|"
    r"must|s)(?:n['’]?t)?\s",
    re.IGNORECASE,
)
_CONCLUDING = frozenset(
    [
        "answer",
        "compare",
        "decide",
        "judge",
        "verify",
        "check",
        "validate",
        "write",
        "report",
        "summarize",
        "summarise",
        "analyze",
        "analyse",
        "think",
        "reason",
        "evaluate",
        "conclude",
        "review",
        "generic",
        "python",
        "calculate",
    ]
)


def find_goal_faults(
    texts: Sequence[TaskText], request: str, tools: Mapping[str, ToolSignature], concluding: str = "answer"
) -> Iterator[Issue]:
    """Yield why the tasks, all done, would not give what was asked for."""
    if not texts or not request:
        return
    if not tools and is_yes_no_question(request):
        yield from _undecided(texts, request)
    if tools:
        yield from _tools_left_out(texts, request, tools)


def _undecided(texts: Sequence[TaskText], request: str) -> Iterator[Issue]:
    used = {other for text in texts for other in text.task.dependencies}
    ends = [text for text in texts if text.task.task_id not in used]
    if not ends or any(
        text.task.task_type.casefold() in _CONCLUDING and not _QUESTION.match(_said(text)) for text in ends
    ):
        if len(ends) < 2:
            return
    if len(ends) == 1:
        said = _said(ends[0])
        if not said or _INVERTED.search(said) or not _QUESTION.match(said) or _DECIDES_LATE.search(said):
            return
        message = f"The request asks whether, and the last task, {ends[0].task.task_id!r}, asks for something else."
    elif all(_said(text) and (_QUESTION.match(_said(text)) or len(ends) > 1) for text in ends):
        some = ", ".join(repr(text.task.task_id) for text in ends[:5])
        message = f"The request is one question, and nothing brings together the outputs of {some}."
    else:
        return
    yield Issue(
        kind="goal",
        severity="error",
        message=message,
        way_out="Add a last task that decides, from these outputs.",
        edit=_conclude(texts, [text.task for text in ends], request),
    )


_DECIDES_LATE = re.compile(r"\b(?:whether|yes or no|true or false|or not)\b", re.IGNORECASE)


def _said(text: TaskText) -> str:
    return text.text.strip(" ;")


def _conclude(texts: Sequence[TaskText], ends: Sequence[Task], request: str) -> Edit:
    taken = {text.task.task_id for text in texts}
    kinds = [task.task_type for task in ends]
    question = f"{request.strip()} Given: " + "; ".join(f"{{{task.task_id}}}" for task in ends)
    question = escape_braces(request.strip()) + question[len(request.strip()) :]
    task = Task(
        task_id=free_id("conclusion", taken),
        task_type=max(sorted(set(kinds)), key=kinds.count),
        description=request.strip(),
        inputs={"query": question},
    )
    return Edit.of("Add a task that answers the request from the outputs that nobody uses.", add=[task])


def free_id(wish: str, taken: set[str]) -> str:
    """Return the wish, or the wish with a number, so that it is no id there is."""
    if wish not in taken:
        return wish
    return next(f"{wish}-{number}" for number in range(2, len(taken) + 3) if f"{wish}-{number}" not in taken)


def _tools_left_out(texts: Sequence[TaskText], request: str, tools: Mapping[str, ToolSignature]) -> Iterator[Issue]:
    """Yield words of the request that only tools speak of which no task calls."""
    called = {text.task.task_type for text in texts}
    known = frozenset[str]().union(*(text.stems for text in texts))
    asked = stems_of(request) - GENERIC - known
    for tool in sorted(tools.values(), key=lambda one: one.name):
        if tool.name in called:
            continue
        told = asked & stems_of(tool.words)
        if told:
            yield Issue(
                kind="goal",
                severity="warning",
                message=f"The request speaks of {', '.join(sorted(told))}, as {tool.name!r} does, and no task calls it.",
                way_out=f"Add a task that calls {tool.name!r}, if that is meant.",
            )
