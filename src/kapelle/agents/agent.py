"""The agent protocol: one async method. Everything that does work for a task is an Agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from kapelle.errors import InvalidInput
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskContext:
    """What an agent may know about the run that its task belongs to."""

    run_id: str
    request: str
    """The user's words, whole."""
    upstream: Mapping[str, Any] = field(default_factory=dict)
    """Outputs of the tasks that this one depends on, by task id."""
    upstream_tasks: Mapping[str, Task] = field(default_factory=dict)
    """Those tasks themselves, so that an agent can title and cite what it was given."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Tasks it depends on that have no output, each with the reason; only where some of them are enough."""
    idempotency_key: str = ""
    """The same for every attempt at this task in this run, also after a crash: hand it to services that must not act
    twice. Where several agents are asked for an answer of their own, each has its own."""
    answers: tuple[Any, ...] = ()
    """What people have answered to this task's questions, in the order in which they were asked: see AskPerson."""
    tell: Callable[[str], None] | None = field(default=None, compare=False)
    """Shows a piece of text to whoever watches the run, as it is written; None where nobody does. It is not kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialText:
    """A piece of an answer that is still being written. Shown as it comes, and never kept."""

    run_id: str
    task_id: str
    agent: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentResult:
    """What an agent gives back: the output, and what it used."""

    output: Any
    """Plain JSON values. A mapping with a `text` key is shown to people by that text."""
    usage: Usage = Usage()
    cost_usd: float | None = None
    """What it really cost; None takes the price that the agent declared."""
    quality: float | None = None
    """The agent's own measure of the result in 0..1, where it has one."""
    expansion: TaskDAG | None = None
    """Instead of an output: tasks that are to take this one's place. What depends on it then waits for their ends."""

    def __post_init__(self) -> None:
        if not isinstance(self.usage, Usage):
            raise InvalidInput(f"An agent reported the usage {self.usage!r:.80}; give a kapelle Usage.")
        if self.expansion is not None and not isinstance(self.expansion, TaskDAG):
            raise InvalidInput(f"An agent expanded into {type(self.expansion).__name__}; give a TaskDAG.")
        if self.cost_usd is not None and not (_is_number(self.cost_usd) and self.cost_usd >= 0):
            raise InvalidInput(f"An agent reported the cost {self.cost_usd!r:.80}; it must be zero or more dollars.")
        if self.quality is not None and not (_is_number(self.quality) and 0 <= self.quality <= 1):
            raise InvalidInput(f"An agent reported the quality {self.quality!r:.80}; it must lie in 0..1.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12


@runtime_checkable
class Agent(Protocol):
    """Does the work of one task."""

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Do the task, whose `inputs` are resolved: references are replaced by outputs.

        Raises:
            AgentFailed: the task cannot be done; anything else that is raised counts as the same.
            TryAgain: the same call may succeed later.
        """
        ...
