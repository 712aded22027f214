"""Reads what an error of an agent's tells: its words, what the work behind it used, and what it asks a person.

An error may be of any class, and its own text may fail in any way: telling it in words never raises, but `read_text`.
What it used and cannot be read is charged as what was set aside (`UnknownCost`): it may well have cost that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kapelle.agents import AgentResult
from kapelle.errors import AskPerson, CannotAnswer, InvalidInput, KapelleError, ModelRefused, ModelUnavailable
from kapelle.graph import MAX_READ_CHARS, read_json_value
from kapelle.ledger import NOTHING, RefusedFigure, read_usage, read_usd
from kapelle.redaction import format_traceback, hide_secrets, join_surrogates

MAX_REASON_CHARS = 2_000
"""What the ledger keeps of an error's text: some libraries put whole replies into theirs."""
MAX_TOLD_CHARS = 20_000
"""What is looked at of it for keys, before it is cut."""
MAX_TRACEBACK_CHARS = 8_000
"""What the ledger keeps of an error's traceback: its end, where the error is."""
MAX_READINGS = 20
"""What the ledger keeps of what a question could have meant: a person chooses one."""
_MAX_FRAMES = 50
"""Of one error in it, the innermost."""
_MAX_SHOWN = 5
"""Of the errors in a group, how many a message tells."""


def describe_error(error: BaseException) -> str:
    """Return an error as a sentence of bounded length. Never raises: an error's own text may fail in any way."""
    return _tell(error, with_class=not isinstance(error, KapelleError))


def error_text(error: BaseException) -> str:
    """Return what an error says, or else its class, as safely as `describe_error`."""
    return _tell(error, with_class=False)


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
        told = format_traceback(error, frames=_MAX_FRAMES)
        text = hide_secrets(join_surrogates(told[-5 * MAX_TOLD_CHARS :])).strip("\n")  # before anybody cuts a key
        return text if len(text) <= MAX_TRACEBACK_CHARS else f"...{text[-MAX_TRACEBACK_CHARS:]}"
    except BaseException:  # also KeyboardInterrupt: it was raised by the error's text, not by a person
        return None


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
    while left and len(shown) < _MAX_SHOWN:
        error = left.pop()
        if isinstance(error, BaseExceptionGroup):
            left.extend(reversed(error.exceptions[:_MAX_SHOWN]))
        else:
            shown.append(describe_error(error)[: MAX_REASON_CHARS // _MAX_SHOWN])
    return shown


def read_text(text: object) -> str:
    """Return a text of bounded length; of what is none, what it says of itself."""
    if not isinstance(text, str):
        raise InvalidInput(f"a text was to be given, not a {type(text).__name__}.")
    return join_surrogates(str.__str__(text)[:MAX_READ_CHARS])


MAX_OPTIONS_CHARS = 100_000
"""The answers that one question offers, together: a person reads them."""
MAX_ASKED_CHARS = 1_000_000
"""The words of one question, or its arguments. Nothing of it is cut: a person judges the whole."""
_MAX_CAUSES = 10
"""Of the errors behind an error, how many are asked what was used."""
_MAX_ERRORS = 1_000
"""Of the errors in a group, and in groups within it, how many are asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownCost(AgentResult):
    """What an attempt gave of whose cost nothing is known but that there may be one: what was set aside is charged."""


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
        return _question(asked), read_reported(asked)
    except BaseException:  # a class of the agent's own
        return None


def read_failure(error: BaseException) -> tuple[AgentResult | None, str]:
    """Return what a failed attempt used, where it says so, and why it failed."""
    reason = describe_error(error)
    try:
        if isinstance(error, RefusedFigure):
            return unknown_of(error), reason
        if isinstance(error, AskPerson):
            _question(error)  # why it cannot be asked
        return read_reported(error), reason
    except BaseException as problem:  # also AttributeError and worse: its class is the agent's own
        spent = unknown_of(problem) if isinstance(problem, RefusedFigure) else UnknownCost(output=None)
        what = describe_error(problem)
        asked = isinstance(error, AskPerson)
        told = f"It asked a person, but {what}" if asked else f"{reason[: MAX_REASON_CHARS // 2]} (And {what})"
        return spent, told[:MAX_REASON_CHARS]


def read_spent(error: BaseException) -> AgentResult | None:
    """Return what an error says that the work behind it used, with no cost where that is unknown; None if nothing."""
    return read_failure(error)[0]


def read_reported(error: BaseException) -> AgentResult | None:
    """Return what an error says that an attempt used; None where it says nothing.

    An error that user code made of one of ours says nothing itself: then the one behind it is asked. What calls that
    were made together used is added up.

    Raises:
        RefusedFigure: one of its figures is none.
    """
    return _told_in(error, set())


def _told_in(error: BaseException | None, seen: set[int]) -> AgentResult | None:
    for _ in range(_MAX_CAUSES):
        if error is None or id(error) in seen or len(seen) > _MAX_ERRORS:
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
    return spent_of(usage, sum(costs) if costs else None)


def _told_by(error: KapelleError) -> AgentResult | None:
    # Nothing is imported where something has failed: it may be that no file can be opened any more.
    client = sys.modules.get("kapelle.models.client")
    if client is not None and isinstance(error, (client.PaidRefusal, client.PaidReplyInvalid)):
        return spent_of(error.reply.usage, error.reply.cost_usd)
    # A class that does not call the constructor above it has the attributes of its class only: None.
    usage, cost_usd, sent = error.usage, error.cost_usd, error.sent
    if cost_usd is None and sent is True:  # somebody may bill it: all that was set aside
        return UnknownCost(output=None, usage=NOTHING if usage is None else read_usage(usage))
    if usage is None and cost_usd is None:
        # Where the provider did not take the call, nobody has billed it.
        is_free = sent is False or (sent is None and isinstance(error, (ModelRefused, ModelUnavailable)))
        return AgentResult(output=None, cost_usd=0.0) if is_free else None
    return spent_of(NOTHING if usage is None else usage, cost_usd)


def spent_of(usage: Any, cost_usd: Any) -> AgentResult:
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


def unknown_of(problem: RefusedFigure) -> AgentResult:
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
    kind: Any = read_text(asked.kind)
    return AskPerson(read_text(words), options=options, kind=kind, arguments=arguments)
