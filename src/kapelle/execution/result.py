"""Reads what user code gives back: agents' answers, their errors and questions, what checks and planners report.

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
import inspect
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, TypeVar

from kapelle.agents import AgentResult, call_in_thread
from kapelle.errors import (
    AgentFailed,
    AskPerson,
    CannotAnswer,
    InvalidInput,
    KapelleError,
    ModelRefused,
    ModelUnavailable,
)
from kapelle.graph import MAX_READ_CHARS, GraphPatch, Task, TaskDAG, TooLarge, read_json_value, tell_json_value
from kapelle.ledger import (
    MAX_REPORTED_USD,
    NOTHING,
    RefusedFigure,
    is_readable,
    read_share,
    read_usage,
    read_usd,
)
from kapelle.models import PaidRefusal, PaidReplyInvalid
from kapelle.redaction import format_traceback, hide_known_in, hide_secrets, join_surrogates, mentions_known
from kapelle.strategies import Verdict, read_passed

from .growth import Reflection

MAX_REASON_CHARS = 2_000
"""What the ledger keeps of an error's text: some libraries put whole replies into theirs."""
MAX_TOLD_CHARS = 20_000
"""What is looked at of it for keys, before it is cut."""
MAX_TRACEBACK_CHARS = 8_000
"""What the ledger keeps of an error's traceback: its end, where the error is."""
_MOST_FRAMES = 50
"""Of one error in it, the innermost."""
MAX_PLAIN_CHARS = 1_000_000
"""A text up to this length fits whatever JSON makes of its characters, so nobody need measure it."""
MAX_OUTPUT_CHARS = MAX_READ_CHARS
"""What the ledger keeps of one output. More belongs into a file: every reader of the run would have to hold it."""
MAX_OPTIONS_CHARS = 100_000
"""The answers that one question offers, together: a person reads them."""
MAX_ASKED_CHARS = 1_000_000
"""The words of one question, or its arguments. Nothing of it is cut: a person judges the whole."""
MAX_LOOP_S = 2.0
"""How long the event loop reads one output. The largest that is kept takes it a third of a second."""
MAX_READINGS = 20
"""What the ledger keeps of what a question could have meant: a person chooses one."""
_FIELDS = ("output", "usage", "cost_usd", "quality", "unpriced_model", "expansion")
_LARGEST_INT = 2**63
_MOST_CAUSES = 10
"""Of the errors behind an error, how many are asked what was used."""
_MOST_ERRORS = 1_000
"""Of the errors in a group, and in groups within it, how many are asked."""
_T = TypeVar("_T")
_MOST_SHOWN = 5
"""Of the errors in a group, how many a message tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownCost(AgentResult):
    """What an attempt gave of whose cost nothing is known but that there may be one: what was set aside is charged."""


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


def find_asked(error: BaseException) -> AskPerson | None:
    """Return what parts of an agent that work at once ask a person, where their errors arrive in a group and nothing
    else is in it: the first of them. The others are asked when the task runs anew."""
    left, asked = [error], None
    while left and isinstance(error, BaseExceptionGroup):
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left.extend(one.exceptions)
        elif isinstance(one, AskPerson):
            asked = one
        else:
            return None
    return asked


def read_question(asked: AskPerson) -> tuple[AskPerson, AgentResult | None] | None:
    """Return what an agent asks a person and what it used until then; None where either cannot be read.

    Then the attempt has failed: `read_result` says why.
    """
    try:
        return _question(asked), _reported(asked)
    except BaseException:  # a class of the agent's own
        return None


def read_verdict(work: asyncio.Task[Verdict]) -> tuple[Verdict | None, str | None]:
    """Return what an ended check has found; or, where it found nothing that can be read, why."""
    found, why = _finished(work)
    if why is not None:
        return None, why
    if not isinstance(found, Verdict):
        return None, f"It gave a {type(found).__name__} instead of a Verdict."
    try:
        cost_usd, usage = read_usd(found.cost_usd), read_usage(found.usage)
        note, passed = _plain_text(found.note), read_passed(found.passed)
        if passed is None:
            return None, f"It gave a Verdict whose `passed` is a {type(found.passed).__name__}, no True or False."
        faulty = found.faulty is True and not passed
        return Verdict(
            passed=passed,
            note=note,
            cost_usd=cost_usd,
            usage=usage,
            faulty=faulty,
            measured=found.measured is not False and not faulty,
        ), None
    except BaseException as problem:  # its note, or what it calls passed, is somebody's own
        return None, describe_error(problem)


def read_reflection(work: asyncio.Task[Reflection | None]) -> tuple[Reflection | None, str | None]:
    """Return what a reflector has found; or, where that cannot be read, why. None of both: nothing is to change."""
    found, why = _finished(work)
    if why is not None or found is None:
        return None, why
    if not isinstance(found, Reflection):
        return None, f"It gave a {type(found).__name__} instead of a Reflection."
    try:
        cost_usd, usage = read_usd(found.cost_usd, by="The reflector"), read_usage(found.usage, by="The reflector")
        if found.patch is not None and not _is_patch(found.patch):
            return None, "Its patch is no GraphPatch of tasks."
        return Reflection(patch=found.patch, reason=_plain_text(found.reason), usage=usage, cost_usd=cost_usd), None
    except BaseException as problem:  # as above
        return None, describe_error(problem)


def _is_patch(patch: object) -> TypeGuard[GraphPatch]:
    if type(patch) is not GraphPatch:
        return False
    tasks = (*patch.add, *patch.replace, *(task for parts in patch.expand.values() for task in parts))
    return all(type(task) is Task for task in tasks)


def _copied(patch: GraphPatch) -> GraphPatch:
    return GraphPatch(
        add=tuple(task.copied() for task in patch.add),
        remove=patch.remove,
        replace=tuple(task.copied() for task in patch.replace),
        expand={name: tuple(task.copied() for task in parts) for name, parts in patch.expand.items()},
    )


def read_new_plan(work: asyncio.Task[AgentResult | None]) -> tuple[AgentResult | None, str | None]:
    """Return what a replanner has found; or, where that cannot be read, why. None of both: there is no other way."""
    found, why = _finished(work)
    if why is not None or found is None:
        return None, why
    if not isinstance(found, AgentResult):
        return None, f"it gave a {type(found).__name__} instead of an AgentResult"
    try:
        cost_usd = None if found.cost_usd is None else read_usd(found.cost_usd, by="The replanner")
        usage = read_usage(found.usage, by="The replanner")
        return AgentResult(output=None, usage=usage, cost_usd=cost_usd, expansion=found.expansion), None
    except BaseException as problem:  # as above
        return None, describe_error(problem)


def with_own_tasks(found: _T) -> _T:
    """Return what user code gave, with copies of the tasks in it: it may keep them, and change them at any time."""
    given: Any = found
    if type(given) in (AgentResult, ReadResult) and issubclass(type(given.expansion), TaskDAG):
        given = replace(given, expansion=TaskDAG.copied(given.expansion))
    elif type(given) is Reflection and _is_patch(given.patch):
        given = replace(given, patch=_copied(given.patch))
    kept: _T = given
    return kept


async def call_contained(who: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what user code returns, or what it returns when awaited. It may end its own work, not the program.

    Raises:
        AgentFailed: it raised what ends programs (SystemExit, KeyboardInterrupt); anything else is raised as it is.
    """
    try:
        found = function(*arguments)
        return with_own_tasks(await found if inspect.isawaitable(found) else found)
    except (Exception, asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        raise AgentFailed(f"{who} raised {describe_error(error)}.") from error


def describe_error(error: BaseException) -> str:
    """Return an error as a sentence of bounded length. Never raises: an error's own text may fail in any way."""
    return _tell(error, with_class=not isinstance(error, KapelleError))


def read_readings(error: BaseException | None) -> tuple[dict[str, str], ...]:
    """Return what a question could have meant, as far as its error tells it in texts of bounded length.

    Nothing of a reading is cut, for half a query is another one: what is too long is left out.
    """
    if not isinstance(error, CannotAnswer):
        return ()
    found = []
    try:
        for reading in error.readings[:MAX_READINGS]:
            told = {name: join_surrogates(reading[name]) for name in ("understood", "sql")}
            if all(len(text) <= MAX_TOLD_CHARS for text in told.values()):
                found.append(told)
    except Exception:  # its class is somebody's own, and so is what it holds
        return ()
    return tuple(found)


def tell_traceback(error: BaseException) -> str | None:
    """Return an error's traceback, those of its causes before it, of bounded length; None where it cannot be told."""
    try:
        told = format_traceback(error, frames=_MOST_FRAMES)
        text = hide_secrets(join_surrogates(told[-5 * MAX_TOLD_CHARS :])).strip("\n")  # before anybody cuts a key
        return text if len(text) <= MAX_TRACEBACK_CHARS else f"...{text[-MAX_TRACEBACK_CHARS:]}"
    except BaseException:  # also KeyboardInterrupt: it was raised by the error's text, not by a person
        return None


def error_text(error: BaseException) -> str:
    """Return what an error says, or else its class, as safely as `describe_error`."""
    return _tell(error, with_class=False)


def _tell(error: BaseException, *, with_class: bool) -> str:
    try:
        text = hide_secrets(join_surrogates(str.__str__(str(error))[:MAX_TOLD_CHARS]))  # before anybody cuts a key
        if isinstance(error, BaseExceptionGroup):
            text = f"{text}: {'; '.join(_members(error))}"
        name = type(error).__name__
        if with_class or not text:
            text = f"{name}: {text}" if text else name
        return text[:MAX_REASON_CHARS]
    except BaseException:  # also KeyboardInterrupt: it was raised by the text, not by a person
        return f"{type.__dict__['__name__'].__get__(type(error))[:200]}, which cannot be shown"


def _members(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """Say what is in a group of errors, groups within it opened, as far as a sentence holds it."""
    shown: list[str] = []
    left: list[BaseException] = [group]
    while left and len(shown) < _MOST_SHOWN:
        error = left.pop()
        if isinstance(error, BaseExceptionGroup):
            left.extend(reversed(error.exceptions[:_MOST_SHOWN]))
        else:
            shown.append(describe_error(error)[: MAX_REASON_CHARS // _MOST_SHOWN])
    return shown


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
        spent = _spent(result.usage, result.cost_usd)
    except RefusedFigure as problem:
        return _unknown(problem), describe_error(problem)
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


def read_failure(error: BaseException) -> tuple[AgentResult | None, str]:
    """Return what a failed attempt used, where it says so, and why it failed."""
    reason = describe_error(error)
    try:
        if isinstance(error, RefusedFigure):
            return _unknown(error), reason
        if isinstance(error, AskPerson):
            _question(error)  # why it cannot be asked
        return _reported(error), reason
    except BaseException as problem:  # also AttributeError and worse: its class is the agent's own
        spent = _unknown(problem) if isinstance(problem, RefusedFigure) else UnknownCost(output=None)
        what = describe_error(problem)
        asked = isinstance(error, AskPerson)
        told = f"It asked a person, but {what}" if asked else f"{reason[: MAX_REASON_CHARS // 2]} (And {what})"
        return spent, told[:MAX_REASON_CHARS]


def read_spent(error: BaseException) -> AgentResult | None:
    """Return what an error says that the work behind it used, with no cost where that is unknown; None if nothing."""
    return read_failure(error)[0]


def _reported(error: BaseException) -> AgentResult | None:
    """Return what an error says that an attempt used; None where it says nothing.

    An error that user code made of one of ours says nothing itself: then the one behind it is asked. What calls that
    were made together used is added up.

    Raises:
        RefusedFigure: one of its figures is none.
    """
    return _told_in(error, set())


def _told_in(error: BaseException | None, seen: set[int]) -> AgentResult | None:
    for _ in range(_MOST_CAUSES):
        if error is None or id(error) in seen or len(seen) > _MOST_ERRORS:
            return None
        seen.add(id(error))
        found = None
        if isinstance(error, KapelleError):
            found = _told_by(error)
        elif isinstance(error, BaseExceptionGroup):
            found = _sum_of([one for one in (_told_in(each, seen) for each in error.exceptions) if one is not None])
        if found is not None:
            return found
        error = error.__cause__ or error.__context__
    return None


def _sum_of(spent: Sequence[AgentResult]) -> AgentResult | None:
    """Return what several calls used; of unknown cost where that of one is unknown."""
    if not spent:
        return None
    usage = sum((one.usage for one in spent), NOTHING)
    costs = [one.cost_usd for one in spent if one.cost_usd is not None]
    if any(isinstance(one, UnknownCost) for one in spent):
        return UnknownCost(output=None, usage=usage)
    return _spent(usage, sum(costs) if costs else None)


def _told_by(error: KapelleError) -> AgentResult | None:
    if isinstance(error, (PaidRefusal, PaidReplyInvalid)):
        return _spent(error.reply.usage, error.reply.cost_usd)
    # A class that does not call the constructor above it has the attributes of its class only: None.
    usage, cost_usd, sent = error.usage, error.cost_usd, error.sent
    if cost_usd is None and sent is True:  # somebody may bill it: all that was set aside
        return UnknownCost(output=None, usage=NOTHING if usage is None else read_usage(usage))
    if usage is None and cost_usd is None:
        # Where the provider did not take the call, nobody has billed it.
        is_free = sent is False or (sent is None and isinstance(error, (ModelRefused, ModelUnavailable)))
        return AgentResult(output=None, cost_usd=0.0) if is_free else None
    return _spent(NOTHING if usage is None else usage, cost_usd)


def _spent(usage: Any, cost_usd: Any) -> AgentResult:
    """Return what an attempt used, as a result without an output.

    Raises:
        RefusedFigure: a figure is none; the other one, if it is right, is with it.
    """
    try:
        cost = None if cost_usd is None else read_usd(cost_usd)
    except RefusedFigure as problem:
        problem.usage = usage
        raise
    try:
        return AgentResult(output=None, usage=read_usage(usage), cost_usd=cost)
    except RefusedFigure as problem:
        problem.cost_usd = cost
        raise


def _unknown(problem: RefusedFigure) -> AgentResult:
    """Return what is to be charged for an attempt that reported a figure which is none."""
    try:
        usage = read_usage(problem.usage)
    except BaseException:  # that was the figure
        usage = NOTHING
    try:
        return AgentResult(output=None, usage=usage, cost_usd=read_usd(problem.cost_usd))
    except BaseException:  # as above
        return UnknownCost(output=None, usage=usage)


def _question(asked: AskPerson) -> AskPerson:
    """Return a question as this package makes them.

    Raises:
        InvalidInput: it is none.
    """
    options = read_json_value(asked.options, max_chars=MAX_OPTIONS_CHARS)
    if type(options) is not list or not all(type(option) is str for option in options):
        raise InvalidInput("its options are no texts. Give a list of texts.")
    words: Any = asked.question
    if isinstance(words, str) and str.__len__(words) > MAX_ASKED_CHARS:
        raise InvalidInput(
            f"its question has {str.__len__(words):,} characters, and nobody reads more than {MAX_ASKED_CHARS:,}. "
            "Write it to a file, and ask about the file."
        )
    arguments = getattr(asked, "arguments", None)  # a class that does not call the constructor has none
    if arguments is not None:
        try:
            arguments = read_json_value(arguments, max_chars=MAX_ASKED_CHARS)
        except InvalidInput as error:
            raise InvalidInput(f"its arguments cannot be shown to anybody: {error}") from error
    kind: Any = _plain_text(asked.kind)
    return AskPerson(_plain_text(words), options=options, kind=kind, arguments=arguments)


def _plain_text(text: object) -> str:
    """Return a text of bounded length; of what is none, what it says of itself."""
    if not isinstance(text, str):
        raise InvalidInput(f"a text was to be given, not a {type(text).__name__}.")
    return join_surrogates(str.__str__(text)[:MAX_READ_CHARS])


def _finished(work: asyncio.Task[Any]) -> tuple[Any, str | None]:
    """Return what ended work has returned, or why it has returned nothing."""
    if work.cancelled():
        return None, "It cancelled itself."
    error = work.exception()
    return (None, describe_error(error)) if error is not None else (work.result(), None)
