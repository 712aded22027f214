"""Asks whoever plans for a plan of a request, within the budget: what it may cost is set aside before, and what it cost
is charged after, also where it came to nothing. Judges no plan: see preparation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kapelle.budget import Budget, Reservation
from kapelle.errors import BudgetExceeded
from kapelle.execution import error_text, read_spent
from kapelle.ledger import Journal
from kapelle.planning import CorrectingPlanner, Plan, Planner, take_plan

if TYPE_CHECKING:
    from kapelle.planning import GatedPlanner

    from .team import Team


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannerCall:
    """Who plans, for what price, and who pays."""

    planner: Planner
    gated: GatedPlanner | None
    """The planner behind the gate, for a request's first plan; None where no gate is."""
    team: Team
    budget: Budget
    journal: Journal | None = None
    """Where the call is told of, before and after; None tells nobody."""

    async def ask(self, words: str, *, gate_key: str | None = None, problems: Sequence[str] = ()) -> Plan:
        """Return a plan.

        Args:
            gate_key: Decides which requests the gate leaves alone; None passes it by.
            problems: What was wrong with a first plan for these words.

        Raises:
            BudgetExceeded: the budget does not hold what the call may cost.
            KapelleError: the planner failed.
        """
        before = self.budget.spent.usd
        if self.journal is not None and self.team.planning_cost_usd:
            self.journal.write("planning_started", {"reserved_usd": self.team.planning_cost_usd})
        if self.journal is not None:
            self.journal.commit()
        try:
            return await self._ask_and_pay(words, gate_key, problems)
        except BaseException as error:
            if self.journal is not None:  # planning that came to nothing has its price
                spent = {"planning_cost_usd": self.budget.spent.usd - before}
                self.journal.write("planning_spent", {"reason": error_text(error), **spent})
            raise

    async def _ask_and_pay(self, words: str, gate_key: str | None, problems: Sequence[str]) -> Plan:
        try:
            reservation = self.budget.reserve(usd=self.team.planning_cost_usd, tokens=self.team.planning_tokens)
        except BudgetExceeded as short:
            raise BudgetExceeded(short.resource, wanted=short.wanted, left=short.left, purpose="planning") from None
        try:
            found = await self._ask(words, gate_key, problems)
            plan = take_plan(found, set_aside_usd=reservation.usd)
        except BaseException as error:
            self._settle_failed(reservation, error)
            raise
        self.budget.commit(reservation, usd=plan.cost_usd, tokens=plan.usage.tokens)
        return replace(plan, notes=(*plan.notes, *self.team.notes))

    async def _ask(self, words: str, gate_key: str | None, problems: Sequence[str]) -> Plan:
        registry = self.team.registry
        if problems and isinstance(self.planner, CorrectingPlanner):
            return await self.planner.plan_again(words, problems, registry)
        if problems:  # it takes nothing but words
            wrong = "\n".join(f"- {problem}" for problem in problems)
            again = f"{words}\n\nA first plan for this was refused, because:\n{wrong}"
            return await self.planner.plan(again, registry)
        if self.gated is not None and gate_key is not None:
            return await self.gated.plan(words, registry, key=gate_key)
        return await self.planner.plan(words, registry)

    def _settle_failed(self, reservation: Reservation, error: BaseException) -> None:
        """Charge what a call that came to nothing has cost: what it says or, if that is unknown, all that was set aside
        for it. See `KapelleError.sent`."""
        reported = read_spent(error)
        if reported is None or reported.cost_usd is None:
            self.budget.commit(reservation)
        else:
            self.budget.commit(reservation, usd=reported.cost_usd, tokens=reported.usage.tokens)
