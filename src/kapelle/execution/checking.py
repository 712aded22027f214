"""Who examines answers in a run. What the checks are is decided elsewhere (see cost); a run only asks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from kapelle.agents import AgentResult
from kapelle.cost import Check
from kapelle.errors import InvalidInput
from kapelle.graph import Task
from kapelle.ledger import Usage

AskAgent = Callable[[str, Task], Awaitable[AgentResult]]
"""Asks an agent, by its id, within the run: a verifier, for instance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a check found."""

    passed: bool
    note: str = ""
    cost_usd: float = 0.0
    usage: Usage = Usage()


class Examiner(Protocol):
    """Examines answers."""

    def guards(self, task: Task) -> bool:
        """Whether the user has a validator for this type of task: then no answer is taken that does not pass."""
        ...

    async def examine(self, check: Check, task: Task, output: Any, *, ask: AskAgent) -> Verdict:
        """Return what a check finds of an output. May raise anything: then the output has not passed."""
        ...


class NoChecks:
    """Has no checks: what is to be examined does not pass."""

    def guards(self, task: Task) -> bool:
        return False

    async def examine(self, check: Check, task: Task, output: Any, *, ask: AskAgent) -> Verdict:
        raise InvalidInput(f"This run was given no checks, and is to make one: {check}.")
