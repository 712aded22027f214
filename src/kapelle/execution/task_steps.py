"""What agents that act in steps have done, task by task: kept in the journal, and handed to the attempt that goes on.

An attempt goes on where an earlier one of the same agent was cut off, or failed for a reason that can pass. One that
has given its answer is over: if the answer is refused, the next begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from kapelle.agents import StepEvent
from kapelle.errors import AgentFailed
from kapelle.ledger import Event

from .journal_writer import JournalWriter

Place = tuple[str, str]
"""A task and an agent."""


class TaskSteps:
    """The steps of one execution.

    Args:
        earlier: what an earlier part of the run has left.
    """

    def __init__(self, writer: JournalWriter, earlier: Mapping[Place, Sequence[StepEvent]]) -> None:
        self._writer = writer
        self._steps: dict[Place, list[StepEvent]] = {place: list(steps) for place, steps in earlier.items()}

    def log(self, task_id: str, agent: str, *, is_at_work: Callable[[], bool]) -> AttemptSteps:
        """Return where an attempt keeps its steps.

        Args:
            is_at_work: whether the attempt still counts: one whose time is over writes no more.
        """
        return AttemptSteps(self._writer, self._steps.setdefault((task_id, agent), []), (task_id, agent), is_at_work)

    def forget(self, task_id: str, agent: str) -> None:
        """An attempt has given its answer."""
        self._steps.pop((task_id, agent), None)


class AttemptSteps:
    """A `StepLog` in the journal of a run."""

    def __init__(
        self, writer: JournalWriter, steps: list[StepEvent], place: Place, is_at_work: Callable[[], bool]
    ) -> None:
        self._writer, self._steps, self._place, self._is_at_work = writer, steps, place, is_at_work

    @property
    def recorded(self) -> Sequence[StepEvent]:
        """What was kept before."""
        return tuple(self._steps)

    async def write(self, *events: StepEvent) -> None:
        """Keep events: they are in the journal when this returns.

        Raises:
            AgentFailed: the attempt is over; nothing of it is kept any more.
        """
        if not self._is_at_work():
            raise AgentFailed("The attempt is over, and does nothing more.")
        self._writer.task_steps(*self._place, events)
        self._steps.extend(events)


def find_steps(events: Iterable[Event]) -> dict[Place, tuple[StepEvent, ...]]:
    """Return the steps of attempts that have given no answer, by the events of their run."""
    found: dict[Place, list[StepEvent]] = {}
    asked: dict[tuple[str, object], str] = {}
    for event in events:
        task_id, data = event.task_id, event.data
        if task_id is None:
            continue
        match event.kind:
            case "task_step":
                step = StepEvent(kind=data["what"], step=int(data["number"]), data=data["data"])
                found.setdefault((task_id, str(data["agent"])), []).append(step)
            case "attempt_started":
                asked[task_id, data["attempt"]] = str(data["agent"])
            case "attempt_finished" if data.get("reason") is None:
                found.pop((task_id, asked.get((task_id, data["attempt"]), "")), None)
            case "task_finished" | "task_expanded":
                for place in [place for place in found if place[0] == task_id]:
                    del found[place]
    return {place: tuple(steps) for place, steps in found.items()}
