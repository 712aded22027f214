"""What a check found, as a value, and how what a guard says is read."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from kapelle.agents import AgentResult
from kapelle.graph import Task
from kapelle.ledger import Usage

AskAgent = Callable[[str, Task], Awaitable[AgentResult]]
"""Asks an agent, by its name, to do a task; the caller of a check brings it, and reserves what it may cost."""
Validator = Callable[[Any], Any]
"""Says whether an output is acceptable, plain or async: True, False, or a Verdict, whose note is kept as the reason.
What it raises is the reason why not. A plain function runs on a thread, so that it cannot block the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a check found, and what it took."""

    passed: bool
    note: str = ""
    """Why, in a sentence."""
    cost_usd: float = 0.0
    usage: Usage = Usage()
    seconds: float = 0.0
    """Known for logged verdicts only; in a run the executor measures."""
    faulty: bool = False
    """Whether it is the check that is at fault: then it says nothing of the answer, and no other one would pass."""
    measured: bool = True
    """Whether it tells how right the answer is: not where only its form was looked at, and not where it could not be
    checked."""


def read_passed(found: object) -> bool | None:
    """Return what a guard says; None where that is neither True nor False, whatever Python would take it for.

    >>> read_passed(True), read_passed((False, "too short")), read_passed(None), read_passed("no")
    (True, None, None, None)
    """
    if type(found) is bool:
        return found
    numpy = sys.modules.get("numpy")
    return bool(found) if numpy is not None and type(found) is numpy.bool_ else None
