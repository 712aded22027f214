"""What is wrong with what tasks say, in drafts as in plans: their tools, what they cover of the request, its goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kapelle.agents import AgentCapability
from kapelle.graph import MAX_TASKS, Task
from kapelle.models import ToolDefinition
from kapelle.planning import read_task

from .completeness import find_uncovered
from .goal import find_goal_faults
from .issue import Issue
from .schemas import find_tool_faults, tool_words


def find_content_issues(
    tasks: Sequence[Task],
    request: str | None,
    tools: Mapping[str, ToolDefinition],
    agents: Mapping[str, AgentCapability],
) -> list[Issue]:
    """Return what is wrong with what the tasks say, whatever their edges: tools, completeness, goal."""
    texts = [read_task(task, tool_words(tools[task.task_type]) if task.task_type in tools else "") for task in tasks]
    types = frozenset(kind for agent in agents.values() for kind in agent.task_types)
    found = [*find_tool_faults(texts, tools, types)]
    if request and texts:
        found += find_uncovered(texts, request)
        found += find_goal_faults(texts, request, tools)
    return found


def too_many_tasks(count: int, *, is_exact: bool = True) -> Issue:
    """Return the one finding about a plan that is too large to look at."""
    return Issue(
        kind="size",
        severity="error",
        message=(
            f"The plan has {f'{count:,}' if is_exact else f'more than {MAX_TASKS:,}'} tasks, "
            f"and at most {MAX_TASKS:,} are checked."
        ),
        way_out="Split the request, or let tasks work on lists.",
    )
