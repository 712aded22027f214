"""Keeps the state of a loop and its log in step, and knows what an attempt has cost so far."""

from __future__ import annotations

from typing import Any

from kapelle.agents.paid_failure import add_paid
from kapelle.agents.step_log import StepEvent, StepKind, StepLog
from kapelle.errors import KapelleError
from kapelle.ledger import Usage

from .state import LoopState, going_on


class LoopRecord:
    """What has happened in a loop. Events are taken in at once, and written with the next before which they must be."""

    def __init__(self, log: StepLog) -> None:
        self._log = log
        self.state: LoopState = going_on(log.recorded)
        self.is_new = not self.state.step
        self.is_unpriced = False
        """Whether a call of this attempt has failed that may be billed, and nobody knows how much."""
        self._paid_usd, self._used = self.state.cost_usd, self.state.usage
        """What an earlier attempt has told of, and is charged already."""
        self._unwritten: list[StepEvent] = []

    def note(self, kind: StepKind, *, step: int | None = None, **data: Any) -> None:
        """Take an event in."""
        event = StepEvent(kind=kind, step=self.state.step if step is None else step, data=data)
        self.state.take(event)
        self._unwritten.append(event)

    async def write(self, kind: StepKind, **data: Any) -> None:
        """Take an event in, and write all that is not written."""
        self.note(kind, **data)
        await self.flush()

    async def flush(self) -> None:
        """Write all that is not written, as one."""
        if self._unwritten:
            events, self._unwritten = self._unwritten, []
            await self._log.write(*events)

    def settle_cut_off(self) -> None:
        """Take a call of the model that was cut off as paid, by whoever resumed the run, with what was set aside."""
        self._paid_usd += self.state.awaited_usd
        self.note("unanswered", reason="It was cut off.", cost_usd=self.state.awaited_usd, assumed=True)

    @property
    def cost_usd(self) -> float:
        """What this attempt has cost so far."""
        return max(0.0, self.state.cost_usd - self._paid_usd)

    @property
    def usage(self) -> Usage:
        """What this attempt has used so far."""
        total, before = self.state.usage, self._used
        return Usage(
            input_tokens=total.input_tokens - before.input_tokens,
            cached_tokens=total.cached_tokens - before.cached_tokens,
            output_tokens=total.output_tokens - before.output_tokens,
            calls=total.calls - before.calls,
        )

    def paid(self, error: KapelleError) -> KapelleError:
        """Return an error that tells what this attempt has cost, the call that raised it among it.

        Where that call may be billed and nobody knows how much, nothing is told of it, and whoever charges decides; all
        that was set aside counts if earlier calls have cost something.
        """
        told = add_paid(error, 0.0, Usage())
        if not self.is_unpriced:
            told.cost_usd, told.usage, told.sent = self.cost_usd, self.usage, None
        elif error.sent or self.cost_usd:
            told.cost_usd, told.usage, told.sent = None, self.usage, True
        else:
            told.cost_usd, told.usage, told.sent = None, error.usage, error.sent
        return told
