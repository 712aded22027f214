"""What became of one task of a run, and of every attempt at it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .event import TaskState
from .usage import Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRun:
    """What became of one agent's attempt at a task whose strategy asks several."""

    agent: str
    step: str
    """Which step of the strategy it was: cheap, strong, vote."""
    state: Literal["running", "done", "failed"] = "running"
    output: Any = None
    reason: str | None = None
    """Why it failed, or what was found when its answer was checked."""
    traceback: str | None = None
    """Where it failed, if it raised an error."""
    passed: bool | None = None
    """Whether its answer passed the check; None where none was made."""
    usage: Usage = Usage()
    cost_usd: float = 0.0
    """The check included."""
    cost_assumed: bool = False
    """Whether the cost is what was expected, because the agent told none."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRun:
    """What became of one task of a run."""

    task_id: str
    state: TaskState = "waiting"
    agent: str | None = None
    output: Any = None
    reason: str | None = None
    """Why it failed, was cancelled or was skipped."""
    traceback: str | None = None
    """Where its only attempt failed, if that raised an error; of several attempts, each has its own."""
    readings: tuple[Mapping[str, str], ...] = ()
    """What it could have meant, where nothing said which: `understood`, a sentence for people, and `sql`."""
    usage: Usage = Usage()
    cost_usd: float = 0.0
    cost_assumed: bool = False
    """Whether a part of the cost is what was expected, because an agent told none."""
    unpriced_model: str | None = None
    """The model whose price nobody knows, if that is why."""
    quality: float | None = None
    from_memory: bool = False
    """Whether a model answered what a source should have: its output says of no place where it stands."""
    started_at: float | None = None
    """Seconds since the epoch."""
    seconds: float = 0.0
    attempts: tuple[AttemptRun, ...] = ()
    """Where a strategy asked several agents: each of them, as they began. Their costs are in the task's."""

    @property
    def understood(self) -> str:
        """How its agent understood what it was asked, in a sentence for people; empty where it does not say."""
        return self._said("understood")

    @property
    def sql(self) -> str:
        """The query behind its output; empty where there is none."""
        return self._said("sql")

    @property
    def sql_by(self) -> str:
        """Who wrote that query, where it was not rules or the user: `model NAME`."""
        return self._said("sql_by")

    def _said(self, name: str) -> str:
        said = self.output.get(name) if isinstance(self.output, Mapping) else None
        return said if isinstance(said, str) else ""


_LINES = re.compile(r":(?:row )?\d+(?:-\d+)?$")


def cited_files(task: TaskRun) -> tuple[str, ...]:
    """Return the files that a task's output is from, as its sources name them: `terms.md` of `terms.md:3-5`."""
    sources = task.output.get("sources") if isinstance(task.output, Mapping) else None
    cited = [one for one in sources if isinstance(one, str)] if isinstance(sources, (list, tuple)) else []
    return tuple(dict.fromkeys(_LINES.sub("", source) for source in cited))
