"""One run's pen: every event goes to the ledger first, and then to whoever watches the run.

An event is durable when `write` returns; or, while events are `held`, when `commit` does, all of a turn in one step of
the ledger. Who holds events commits them before their effects begin, and before anybody else gets to run (`await`).
Once a turn could not be written, its pen writes no more: what came after it would make no sense without it.
"""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from kapelle.graph import TaskDAG, clone_json_value
from kapelle.redaction import get_logger

from .event import CLOCK_JUMP, Event, EventKind
from .lease import Lease
from .ledger import Ledger, NewEvent
from .outcome import Outcome
from .rebuild import RunBuilder
from .run import Run

logger = get_logger(__name__)

MIN_JUMP_S = 5.0
"""Clocks are slewed and writes take a moment: less than this is no jump."""

EventWatcher = Callable[[Event], None]


class Journal:
    """Writes the events of one run, under its lease if there is one; a renewed lease has the same fence.

    Events are dated by the ledger's clock, which may be set while a run goes on. By how much it jumped stands in the
    first event after that, so that a deadline is used up by work and by nothing else (see Run.active_seconds).

    What a watcher raises, or who learns from outcomes, is logged, and never ends the run: the ledger has it all.

    Args:
        ledger: None writes nothing and keeps nothing: for who wants no record, and can do without a Run.
        events: What an earlier part of the run has written.
        before: The same, where it was folded already: nothing of it is folded again.
        on_event: Called with every event, once it is durable.
        on_outcome: Called with every outcome, once it is durable.
        timer: Seconds that pass, wherever they begin.
    """

    def __init__(
        self,
        ledger: Ledger | None,
        run_id: str,
        *,
        lease: Lease | None = None,
        events: Sequence[Event] = (),
        before: Run | None = None,
        on_event: EventWatcher | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._timer = timer
        self._dated: tuple[float, float] | None = None
        """When the last event was written, by the ledger's clock and by the timer."""
        self.run_id = run_id
        self._ledger = ledger
        self._fence = None if lease is None else lease.fence
        self._on_event = on_event
        self._on_outcome = on_outcome
        self._holds = False
        self._held: list[NewEvent] = []
        """What was written since the last commit."""
        self._graphs: dict[int, TaskDAG] = {}
        """By their place among them, the graphs that they bring."""
        self._lost: BaseException | None = None
        """Why a turn could not be written, if one could not."""
        self._told = RunBuilder(before)
        self._untold: deque[Event] = deque(events)
        """Events that the builder has not taken in yet."""
        self._brought: dict[int, TaskDAG] = {}
        """By their place in the run, the graphs that these bring, where they are at hand."""

    @property
    def is_off(self) -> bool:
        """Whether events go nowhere, so that it is not worth making them."""
        return self._ledger is None

    @property
    def keeps_outcomes(self) -> bool:
        """Whether outcomes go anywhere, so that it is worth making them."""
        return self._ledger is not None or self._on_outcome is not None

    @property
    def is_lost(self) -> bool:
        """Whether a turn could not be written, so that nothing after it is."""
        return self._lost is not None

    def write(
        self,
        kind: EventKind,
        data: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        outcomes: Sequence[Outcome] = (),
        graph: TaskDAG | None = None,
    ) -> None:
        """Write one event, with the outcomes that belong to it. It is durable when this returns, unless it is held.

        Args:
            graph: The one that the data describe in their field `graph`, so that it need not be read from there.

        Raises:
            LeaseLost: the journal writes under a lease, and another has taken the run over. Nothing is written.
        """
        if self._ledger is None:
            self._tell_outcomes(outcomes)
            return
        if self._lost is not None:
            raise self._lost
        jump_s, at = self._look_at_clocks(self._ledger)
        if jump_s:
            data = {**(data or {}), CLOCK_JUMP: jump_s}
        self._held.append(NewEvent(at=at, kind=kind, task_id=task_id, data=data or {}, outcomes=outcomes))
        if graph is not None:
            self._graphs[len(self._held) - 1] = graph
        if not self._holds:
            self._write_held()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold events until the next `commit`, or the end of this block, however it ends. Blocks may be nested."""
        before, self._holds = self._holds, True
        try:
            yield
        finally:
            self._holds = before
            self.commit()

    def commit(self) -> None:
        """Write down all that is held, in one step. It is durable, and watchers have heard of it, when this returns.

        Raises:
            LeaseLost, LedgerBusy, InvalidInput: nothing of it is written, nor will be anything after it.
        """
        if not self._held:
            return
        try:
            self._write_held()
        except BaseException as error:
            self._lost = error
            raise

    def _write_held(self) -> None:
        assert self._ledger is not None
        new, self._held = self._held, []
        graphs, self._graphs = self._graphs, {}
        events = self._ledger.append_all(self.run_id, new, fence=self._fence)
        for place, graph in graphs.items():
            event = events[place]
            if event.data["graph"] is new[place].data["graph"]:  # else a secret in it is hidden from all
                self._brought[event.seq] = graph.copied()
        self._untold.extend(events)
        for one, event in zip(new, events, strict=True):
            if self._on_event is not None:
                self._tell(self._on_event, event)
            if one.outcomes:
                self._tell_outcomes(one.outcomes)

    def _tell_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        if self._on_outcome is None:
            return
        for outcome in outcomes:
            try:
                self._on_outcome(outcome)
            except Exception:  # the ledger has it, and who reads it there learns it; the rest of a turn is told
                logger.exception("Run %s: an outcome of %r could not be learned.", self.run_id, outcome.agent)

    def run(self) -> Run:
        """Return the run as its events tell it so far; what is held is written first.

        Raises:
            LedgerCorrupt: there are no events, as without a ledger.
        """
        self.commit()
        while self._untold:
            event = self._untold[0]
            self._told.add(event, self._brought.get(event.seq))
            self._brought.pop(self._untold.popleft().seq, None)
        return self._told.run()

    def _look_at_clocks(self, ledger: Ledger) -> tuple[float, float]:
        """Return by how much the ledger's clock was set since the last event, 0 for less than anybody would notice; and
        what time it is by it."""
        before, self._dated = self._dated, (ledger.now(), self._timer())
        at = self._dated[0]
        if before is None:
            return 0.0, at
        jump_s = (at - before[0]) - (self._dated[1] - before[1])
        return (jump_s if abs(jump_s) >= MIN_JUMP_S else 0.0), at

    def _tell(self, watcher: EventWatcher, event: Event) -> None:
        try:
            told: Callable[[Event], object] = watcher
            found = told(replace(event, data=clone_json_value(event.data)))  # what it does to it changes no run
            if inspect.iscoroutine(found):
                found.close()
                raise TypeError("it is async, and nobody awaits it")
        except BaseException:  # it cancels nothing of ours, and ends nothing but itself
            logger.exception("A watcher of run %s failed at %r; it is not called again.", self.run_id, event.kind)
            self._on_event = None
