"""Writes down where an error was raised; not the members of groups that unfold without end."""

from __future__ import annotations

import traceback
from itertools import chain

MAX_MEMBERS = 100
"""Errors in a group, and behind those, that are written down; Python's own formatting follows each of them, twice if it
is in two groups, and so takes for ever where groups are nested in this way."""


def format_traceback(error: BaseException, *, frames: int | None = None) -> str:
    """Return an error's traceback, those of its causes before it.

    Args:
        frames: The innermost ones of each are enough.

    Raises:
        Exception: the error's own text does. Whatever that is: it is somebody's own.
    """
    limit = None if frames is None else -frames
    if _is_too_large(error):
        place = traceback.format_tb(error.__traceback__, limit)
        words = traceback.TracebackException(type(error), _without_members(error), None).format_exception_only()
        return "".join(["Traceback (most recent call last):\n", *place, *words, "(Its many members are left out.)\n"])
    return "".join(traceback.TracebackException.from_exception(error, limit=limit, compact=True).format())


def _is_too_large(error: BaseException) -> bool:
    """Whether more errors would be written down than anybody reads."""
    left, count = [error], 0
    while left:
        one = left.pop()
        count += 1
        if count > MAX_MEMBERS:
            return True
        if isinstance(one, BaseExceptionGroup):
            for member in one.exceptions:
                causes = chain((member,), (cause for cause in (member.__cause__, member.__context__) if cause))
                left.extend(causes)
        elif one is error:
            left.extend(cause for cause in (one.__cause__, one.__context__) if cause is not None)
    return False


def _without_members(error: BaseException) -> BaseException:
    return RuntimeError(f"{type(error).__name__}: {error}")
