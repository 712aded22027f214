"""Calls those who watch a run. A watcher only looks on: whatever it does, it harms neither task nor account.

What it raises, be it a KeyboardInterrupt or a cancellation, is logged once, and it is not called again. An async one is
called in vain, for nobody awaits it: the same is said of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from kapelle.redaction import get_logger

logger = get_logger(__name__)

_T = TypeVar("_T")


def contained(watcher: Callable[[_T], object], what: str) -> Callable[[_T], None]:
    """Return a function that calls a watcher, as long as it does no harm.

    Args:
        what: What it is, for the log: `on_text of run r1`.
    """
    is_wrong = False

    def watch(item: _T) -> None:
        nonlocal is_wrong
        if is_wrong:
            return
        try:
            found: Any = watcher(item)
            if inspect.isawaitable(found):
                _close(found)
                raise TypeError("it is async, and nobody awaits it")
        except BaseException:  # also what ends programs, and cancellations: neither is a watcher's to decide
            is_wrong = True
            logger.exception("%s failed; it is not called again.", what)

    return watch


def _close(found: Any) -> None:
    """End what nobody awaits, so that Python does not complain of it."""
    end = getattr(found, "close", None) or getattr(found, "cancel", None)
    if end is not None:
        end()
