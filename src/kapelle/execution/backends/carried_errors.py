"""Takes an agent's error from its worker to whoever waits for it: its class, what it holds, its traceback as a text.

An error is more than its words: by its class it is decided whether the task is tried again, by its attributes what it
is charged. Pickle alone loses errors whose `__init__` takes other arguments than it hands on, and garbles those that
make a sentence of theirs; so where pickle does not give the same error back, it is rebuilt from its parts. Of what
cannot be pickled at all as much is kept as can be: an argument as its words, a class as the nearest one above it.
"""

from __future__ import annotations

from typing import Any

from kapelle.errors import AgentFailed, rebuild_error
from kapelle.redaction import format_traceback

MAX_TRACEBACK_CHARS = 20_000


class WorkerTraceback(Exception):
    """The cause of an error that came from a worker: where it was raised there, as a text."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


def pack_error(error: BaseException) -> bytes:
    """Return an error as bytes that `unpack_error` reads."""
    from ray import cloudpickle

    told = format_traceback(error)[-MAX_TRACEBACK_CHARS:]
    for parts in (_whole, _pieces):
        try:
            packed: bytes = cloudpickle.dumps((parts(error), told))  # type: ignore[no-untyped-call]  # Ray's
            if _is_same(unpack_error(packed), error) or parts is _pieces:
                return packed
        except Exception:  # noqa: S112 - pickling runs code of the error's own classes; the next way is tried
            continue
    # Its words, and of its class only that an agent failed.
    what = f"The agent raised {type(error).__name__}: {_words(error)}, which cannot be sent back from its worker."
    return cloudpickle.dumps(((AgentFailed, (what,), {}), told))  # type: ignore[no-untyped-call, no-any-return]  # Ray's


def unpack_error(packed: bytes) -> BaseException:
    """Return the error, with the traceback that it had as its cause."""
    from ray import cloudpickle

    parts, told = cloudpickle.loads(packed)
    error = parts if isinstance(parts, BaseException) else rebuild_error(*parts)
    error.__cause__ = WorkerTraceback(told)
    return error


def _whole(error: BaseException) -> Any:
    return error


def _pieces(error: BaseException) -> Any:
    """Return the class, arguments and attributes of an error, as far as each can be sent."""
    kind = next(kind for kind in type(error).__mro__ if _can_be_sent(kind))
    assert issubclass(kind, BaseException)
    arguments = tuple(one if _can_be_sent(one) else _words(one) for one in error.args)
    if kind is not type(error):
        arguments = (f"{type(error).__name__}: {_words(error)}",)
    return kind, arguments, {name: value for name, value in vars(error).items() if _can_be_sent(value)}


def _can_be_sent(value: object) -> bool:
    from ray import cloudpickle

    try:
        cloudpickle.loads(cloudpickle.dumps(value))  # type: ignore[no-untyped-call]  # Ray's
    except Exception:  # whatever its own code raises
        return False
    return True


def _is_same(found: BaseException, error: BaseException) -> bool:
    named = (type(found).__qualname__, _words(found), vars(found).keys())
    return named == (type(error).__qualname__, _words(error), vars(error).keys())


def _words(value: object) -> str:
    try:
        return str(value)
    except BaseException:  # an error may fail even to say what it is, in any way
        return f"{type(value).__name__}, which cannot be shown"
