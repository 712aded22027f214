"""What is wrong with what tasks say, in drafts as in plans: their tools, what they cover of the request, its goal.

What the words of a request name and no task has, and that no last task answers a question, are notes: words are too
weak a proof to refuse a plan, and only the user knows what was left out on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kapelle.agents import AgentCapability
from kapelle.graph import Task
from kapelle.language import is_yes_no_question
from kapelle.limits import MAX_TASKS
from kapelle.planning import TaskText, find_gaps, read_task

from .issue import Issue
from .schemas import find_tool_faults, tool_words

if TYPE_CHECKING:
    from kapelle.models import ToolDefinition

_NOUN = {"number": "the number ", "date": "the date ", "identifier": "", "name": "the name "}
_QUESTION = re.compile(
    r"^\W*(?:(?:in|of|at|on|by|for|to|from|during|with)\s+)?(?:what|which|who|whom|whose|when|where|how|why)\b", re.I
)
_INVERTED = re.compile(
    r"(?:^|[,;:.]|\b(?:and|then|but)(?=\s))\W{0,9}(?:is|are|was|were|am|do|does|did|has|have|had|can|could|would|will|should|shall|may|might|"
    r"must|s)(?:n['’]?t)?\s",
    re.IGNORECASE,
)
_WHETHER = re.compile(r"\b(?:whether|yes or no|true or false|or not)\b", re.IGNORECASE)


def find_content_issues(
    tasks: Sequence[Task],
    request: str | None,
    tools: Mapping[str, ToolDefinition],
    agents: Mapping[str, AgentCapability],
) -> list[Issue]:
    """Return what is wrong with what the tasks say, whatever their edges: tools, completeness, goal."""
    if not tools and not request:
        return []  # there is nothing to hold the words of the tasks against
    texts = [read_task(task, tool_words(tools[task.task_type]) if task.task_type in tools else "") for task in tasks]
    types = frozenset(kind for agent in agents.values() for kind in agent.task_types)
    found = [*find_tool_faults(texts, tools, types)]
    if request and texts:
        found += _uncovered(texts, request)
        if not tools and is_yes_no_question(request):
            found += _undecided(texts)
    return found


def _uncovered(texts: Sequence[TaskText], request: str) -> Iterator[Issue]:
    """Yield a note for each thing that no task has."""
    for gap in find_gaps(request, texts):
        yield Issue(
            kind="complete",
            severity="warning",
            task_id=gap.nearest,
            message=f"The request names {_NOUN[gap.subject]}{gap.text!r}, and no task does.",
            way_out=f"Say it in task {gap.nearest!r}." if gap.nearest is not None else "Say it in a task.",
        )


def _undecided(texts: Sequence[TaskText]) -> Iterator[Issue]:
    """Yield a note if a request asks whether something is so, and nothing at the end of the plan says so."""
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
        kind="goal", severity="warning", message=message, way_out="Add a last task that decides, from these outputs."
    )


def _asks_for_something(text: TaskText) -> bool:
    """Whether a task asks what, who, when: surely no question that yes or no answers."""
    said = text.text.strip(" ;")
    return bool(_QUESTION.match(said)) and not _INVERTED.search(said) and not _WHETHER.search(said)


def too_many_tasks(count: int, *, most: int = MAX_TASKS, is_exact: bool = True) -> Issue:
    """Return the one finding about a plan that is too large to look at."""
    return Issue(
        kind="size",
        severity="error",
        message=(
            f"The plan has {f'{count:,}' if is_exact else f'more than {most:,}'} tasks, "
            f"and at most {most:,} are checked."
        ),
        way_out="Split the request, let tasks work on lists, or allow more: --max-tasks, or max_tasks in Python.",
    )
