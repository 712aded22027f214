"""Does the plan end where the request wants to go: outputs that nobody uses, a question that no last task answers?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from kapelle.graph import Task, escape_braces
from kapelle.language import is_yes_no_question
from kapelle.models import ToolDefinition
from kapelle.planning import TaskText

from .edit import Edit
from .issue import Issue

_QUESTION = re.compile(
    r"^\W*(?:(?:in|of|at|on|by|for|to|from|during|with)\s+)?(?:what|which|who|whom|whose|when|where|how|why)\b", re.I
)
_INVERTED = re.compile(
    r"(?:^|[,;:.]|\b(?:and|then|but)(?=\s))\W{0,9}(?:is|are|was|were|am|do|does|did|has|have|had|can|could|would|will|should|shall|may|might|"
    r"must|s)(?:n['’]?t)?\s",
    re.IGNORECASE,
)
_WHETHER = re.compile(r"\b(?:whether|yes or no|true or false|or not)\b", re.IGNORECASE)


def find_goal_faults(texts: Sequence[TaskText], request: str, tools: Mapping[str, ToolDefinition]) -> Iterator[Issue]:
    """Yield why the tasks, all done, would not give what was asked for."""
    if not texts or not request:
        return
    if not tools and is_yes_no_question(request):
        yield from _undecided(texts, request)


def _undecided(texts: Sequence[TaskText], request: str) -> Iterator[Issue]:
    """Yield that a request asks whether something is so, and nothing at the end of the plan says so."""
    used = {other for text in texts for other in text.task.dependencies}
    ends = [text for text in texts if text.task.task_id not in used]
    if len(ends) > 1:
        some = ", ".join(repr(text.task.task_id) for text in ends[:5])
        message = f"The request is one question, and nothing brings together the outputs of {some}."
    elif ends and _asks_for_something(ends[0]):
        message = f"The request asks whether, and the last task, {ends[0].task.task_id!r}, asks for something else."
    else:
        return
    yield Issue(
        kind="goal",
        severity="error",
        message=message,
        way_out="Add a last task that decides, from these outputs.",
        edit=_conclude(texts, [text.task for text in ends], request),
    )


def _asks_for_something(text: TaskText) -> bool:
    """Whether a task asks what, who, when: surely no question that yes or no answers."""
    said = text.text.strip(" ;")
    return bool(_QUESTION.match(said)) and not _INVERTED.search(said) and not _WHETHER.search(said)


def _conclude(texts: Sequence[TaskText], ends: Sequence[Task], request: str) -> Edit:
    taken = {text.task.task_id for text in texts}
    kinds = [task.task_type for task in ends]
    given = "; ".join(f"{{{task.task_id}}}" for task in ends)
    task = Task(
        task_id=free_id("conclusion", taken),
        task_type=max(sorted(set(kinds)), key=kinds.count),
        description=request.strip(),
        inputs={"query": f"{escape_braces(request.strip())} Given: {given}"},
    )
    return Edit.of("Add a task that answers the request from the outputs that nobody uses.", add=[task])


def free_id(wish: str, taken: set[str]) -> str:
    """Return the wish, or the wish with a number, so that it is no id there is."""
    if wish not in taken:
        return wish
    return next(f"{wish}-{number}" for number in range(2, len(taken) + 3) if f"{wish}-{number}" not in taken)
