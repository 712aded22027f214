"""What happens in a loop, as events: what the ledger keeps of it, and what a loop that was killed goes on from.

    began ─> asked ─> replied ─> called ─> returned ─> asked ─> ... ─> ended
                 └──> unanswered (the call failed)        noted, entered, compacted: in between
    called ─> settled: it did not act (it asks a person), or a person said what became of it when it was cut off

An event is written before what it tells of happens (`asked`, `called`) or as soon as it has (`replied`, `returned`). So
a loop that was killed knows of every call of a model that may be billed, and of every tool that may have acted. A loop
that comes to nothing for good ends with `ended`, and another attempt begins anew; one that has its answer ends with the
task, which the engine tells of. Everything a loop decides by is read from these events alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from kapelle.errors import InvalidInput

StepKind = Literal[
    "began", "asked", "replied", "unanswered", "called", "settled", "returned", "noted", "entered", "compacted", "ended"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEvent:
    """One thing that happened in a loop."""

    kind: StepKind
    step: int
    """Counts the calls of the model in this loop, from 1; 0 before the first."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(StepKind):
            raise InvalidInput(f"A step of a loop has the kind {self.kind!r}; there are {get_args(StepKind)}.")


@runtime_checkable
class StepLog(Protocol):
    """Keeps what happens in the loop of one agent at one task."""

    @property
    def recorded(self) -> Sequence[StepEvent]:
        """What was kept before: by a loop that was cut off, or whose model failed, in this process or another."""
        ...

    async def write(self, *events: StepEvent) -> None:
        """Keep events, all or none. When it returns they are kept as safely as the ledger keeps anything."""
        ...


def acts_in_steps(agent: object) -> bool:
    """Whether an agent keeps what it does step by step, so that an attempt goes on where the last was cut off."""
    return bool(getattr(agent, "acts_in_steps", False))


class StepsInMemory:
    """A log that lasts as long as the process: where there is no ledger, and in tests."""

    def __init__(self, recorded: Sequence[StepEvent] = ()) -> None:
        self.recorded: list[StepEvent] = list(recorded)

    async def write(self, *events: StepEvent) -> None:
        """Keep events."""
        self.recorded.extend(events)
