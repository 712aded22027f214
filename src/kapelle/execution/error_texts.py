"""Tells an error in words: its sentence, its traceback, what a question could have meant. All of bounded length.

An error may be of any class, and its own text may fail in any way. Nothing here raises, but `read_text`.
"""

from __future__ import annotations

from kapelle.errors import CannotAnswer, InvalidInput, KapelleError
from kapelle.graph import MAX_READ_CHARS
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
