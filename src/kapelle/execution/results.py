"""Reads what agents give back.

All of it is untrusted. An output may be anything, an error of any class, a figure no number; an object's own methods
may raise what they like, and an iterator may never end. What leaves here is plain: JSON values that nobody else holds,
numbers that every store keeps, texts of bounded length. What cannot be read is a reason why the attempt failed, by the
name of its field, and what is charged is then what was set aside for it (`UnknownCost`): it may well have cost that.

Reading an output runs its code, which may wait: a generator that asks a server for each of its items. So it is read
where its agent ran, within the attempt: on the agent's thread or worker, where it holds up nobody and the attempt's
time limit ends it; in the event loop only what came from there, and for `MAX_LOOP_S` at most. Not covered: one single
step of such code that never returns, in the event loop; texts of errors, which are asked for there.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kapelle.agents import AgentResult, call_in_thread
from kapelle.errors import InvalidInput
from kapelle.graph import MAX_READ_CHARS, TaskDAG, TooLarge, read_json_value, tell_json_value
from kapelle.ledger import MAX_REPORTED_USD, NOTHING, RefusedFigure, is_readable, read_share
from kapelle.redaction import hide_known_in, hide_secrets, join_surrogates, mentions_known

from .error_reports import MAX_REASON_CHARS, UnknownCost, describe_error, read_failure, spent_of, unknown_of

MAX_PLAIN_CHARS = 1_000_000
"""A text up to this length fits whatever JSON makes of its characters, so nobody need measure it."""
MAX_OUTPUT_CHARS = MAX_READ_CHARS
"""What the ledger keeps of one output. More belongs into a file: every reader of the run would have to hold it."""
MAX_LOOP_S = 2.0
"""How long the event loop reads one output. The largest that is kept takes it a third of a second."""
_FIELDS = ("output", "usage", "cost_usd", "quality", "unpriced_model", "expansion")
_LARGEST_INT = 2**63


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadResult(AgentResult):
    """What an agent gave, after it was read where the agent ran: see `read_given`, which takes it as it is."""

    found: AgentResult | None = None
    """The same result as plain values; None where it is not known what the attempt used."""
    reason: str | None = None
    """Why it is no answer, if it is none."""


class Patience:
    """Ends the reading of a value whose own code takes longer than whoever reads it can wait.

    Args:
        seconds: Of the clock, from now on.
    """

    def __init__(self, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._until = clock() + seconds
        self._is_over = False

    def end(self) -> None:
        """Wait no longer; from any thread."""
        self._is_over = True

    def __call__(self) -> None:
        """Go on.

        Raises:
            InvalidInput: the time is over.
        """
        if self._is_over:
            raise InvalidInput("nobody waits for it any more.")
        if self._clock() > self._until:
            raise InvalidInput(
                f"reading it takes longer than {self._seconds:.3g} s, in which nothing else goes on. Return what is "
                "complete, such as a list, or use the backend 'threads'."
            )


def is_read(result: AgentResult) -> bool:
    """Whether no code of somebody's own runs when what an agent gave is read. Most give a short text, or a number."""
    kind = type(result)
    return kind is ReadResult or (kind is AgentResult and _is_clean(result) and _is_plain(result.output))


def read_there(result: AgentResult, patience: Patience) -> AgentResult:
    """Read what an agent gave, where its code may run: `read_given` of what this returns runs none of it any more."""
    if is_read(result):
        return result
    found, reason = read_given(result, patience)
    return _as_read(found, reason)


def _as_read(found: AgentResult | None, reason: str | None) -> ReadResult:
    if found is None:
        return ReadResult(output=None, reason=reason)
    fields = {name: getattr(found, name) for name in _FIELDS}
    return ReadResult(**fields, found=found, reason=reason)


def hide_known_of(result: AgentResult) -> AgentResult:
    """Return what was read in another process without the secrets that only this one knows."""
    if not isinstance(result, ReadResult):
        return result  # its text is looked at here, as every other one's
    found = None if result.found is None else replace(result.found, output=hide_known_in(result.found.output))
    return _as_read(found, None if result.reason is None else hide_secrets(result.reason))


async def read_on_thread(result: AgentResult) -> AgentResult:
    """Read what an agent that blocks gave, as `read_there` does; cancelling this ends it at its next step."""
    patience = Patience()
    try:
        return await call_in_thread(read_there, result, patience)
    except asyncio.CancelledError:
        patience.end()
        raise


def read_result(work: asyncio.Task[AgentResult]) -> tuple[AgentResult | None, str | None]:
    """Return what an ended attempt gave and, if it failed, why; both where a failure was paid for."""
    if work.cancelled():
        return None, "The agent cancelled itself."
    error = work.exception()
    if error is not None:
        return read_failure(error)
    return read_given(work.result())


def read_given(result: AgentResult, patience: Patience | None = None) -> tuple[AgentResult | None, str | None]:
    """Return what an agent gave, with figures and an output as they may be; or why that cannot be."""
    kind = type(result)
    if kind is ReadResult:
        assert isinstance(result, ReadResult)
        return result.found, result.reason
    if kind is AgentResult and _is_clean(result):
        if _is_plain(result.output):
            return _without_keys(result), None
        return _read_output(result, patience)
    try:
        return _read(result, patience)
    except BaseException as problem:  # its classes are the agent's own, and run here
        return UnknownCost(output=None), f"The agent's result cannot be read: {describe_error(problem)}"


def _is_clean(result: AgentResult) -> bool:
    """Whether a result can be taken as it is, but for its output. Every attempt passes here, so types must do."""
    cost_usd, quality = result.cost_usd, result.quality
    return (
        (result.usage is NOTHING or is_readable(result.usage))
        and (cost_usd is None or (type(cost_usd) is float and 0.0 <= cost_usd <= MAX_REPORTED_USD))
        and (quality is None or (type(quality) is float and 0.0 <= quality <= 1.0))
        and (result.unpriced_model is None or type(result.unpriced_model) is str)
        and (result.expansion is None or isinstance(result.expansion, TaskDAG))
    )


def _is_plain(output: Any) -> bool:
    """Whether an output can be taken as it is: most are a short text, and need no copy."""
    kind = type(output)
    if kind is str:
        return len(output) <= MAX_PLAIN_CHARS and (output.isascii() or join_surrogates(output) is output)
    if kind is int:
        return bool(-_LARGEST_INT < output < _LARGEST_INT)
    return output is None or kind is bool or (kind is float and math.isfinite(output))


def _read(result: Any, patience: Patience | None) -> tuple[AgentResult | None, str | None]:
    """Return a result made of plain values, and why it is no answer if it is none."""
    if not issubclass(type(result), AgentResult):
        return None, f"The agent returned {type(result).__name__} instead of an AgentResult."
    try:
        spent = spent_of(result.usage, result.cost_usd)
    except RefusedFigure as problem:
        return unknown_of(problem), describe_error(problem)
    try:
        quality = None if result.quality is None else read_share(result.quality, "quality")
    except RefusedFigure as problem:
        return spent, describe_error(problem)
    if result.expansion is not None and not isinstance(result.expansion, TaskDAG):
        return spent, f"The agent expanded into {type(result.expansion).__name__}; give a TaskDAG."
    model = str.__str__(result.unpriced_model) if isinstance(result.unpriced_model, str) else None
    given = replace(spent, output=result.output, quality=quality, unpriced_model=model, expansion=result.expansion)
    return _read_output(given, patience)


def _read_output(result: AgentResult, patience: Patience | None) -> tuple[AgentResult, str | None]:
    """Return a result, whose figures are read, with a plain output; and why it is no answer if it is none."""
    reason, plain = None, None
    # Whoever reads a result that nobody has read where it came from is the event loop.
    patience = patience or Patience(MAX_LOOP_S)
    try:
        if result.expansion is None:
            plain = read_json_value(result.output, max_chars=MAX_OUTPUT_CHARS, before_code=patience)
    except TooLarge as problem:
        reason = f"The agent's output is too large: {problem} Write it to a file, and return the file's name."
    except InvalidInput as problem:
        reason = f"The agent's output cannot be written as JSON: {describe_error(problem)}"[: MAX_REASON_CHARS // 2]
        reason = (reason + _told_output(result.output, patience))[:MAX_REASON_CHARS]
    except BaseException as problem:  # reading it runs code of the output's own classes
        reason = f"The agent's output cannot be written as JSON: {describe_error(problem)}"[:MAX_REASON_CHARS]
    if reason is not None:
        return replace(result, output=None, quality=None, expansion=None), reason
    # Known keys are hidden here as well as in the ledger, so that later tasks get the same before and after a crash.
    return replace(result, output=hide_known_in(plain)), None


def _told_output(output: Any, patience: Patience) -> str:
    """Return what can be told of an output that is refused: it was paid for, and is kept nowhere else."""
    try:
        patience()
        return (
            f" It gave: {hide_secrets(tell_json_value(output, max_chars=MAX_REASON_CHARS // 2, before_code=patience))}"
        )
    except BaseException:  # its own code again, or nobody waits any more
        return ""


def _without_keys(result: AgentResult) -> AgentResult:
    if isinstance(result.output, str) and mentions_known(result.output):
        return replace(result, output=hide_known_in(result.output))
    return result
