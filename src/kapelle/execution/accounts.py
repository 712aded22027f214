"""What jobs may cost, and what they did: every job's money is set aside before it starts and settled when it ends.

Set aside is what 95 % of such jobs cost at most where that was learned, and what is expected where it was not (the
bounds of an unknown agent are too wide to be of use). If that much is not left, the job waits until others have ended
and freed what they did not use; when nothing else is under way, what is expected is enough. So tasks that run at the
same time do not exceed the cap together, and the last dollars of a budget can still be used.
"""

from __future__ import annotations

from kapelle.agents import AgentRegistry, AgentResult
from kapelle.cost import Budget, Estimate, Reservation
from kapelle.errors import BudgetExceeded
from kapelle.ledger import NOTHING, Usage

from .result import UnknownCost
from .work import Attempt, Job


class Accounts:
    """Settles jobs with a budget."""

    def __init__(self, budget: Budget, agents: AgentRegistry) -> None:
        self.budget = budget
        self._agents = agents

    def reserve(self, expected: Estimate | None, *, alone: bool) -> Reservation:
        """Set aside what a job may cost; nothing for a check that no agent makes.

        Args:
            alone: Nothing else is under way, so waiting frees nothing.

        Raises:
            BudgetExceeded: not enough is left.
        """
        if expected is None:
            return self.budget.reserve()
        if expected.source == "learned" and expected.cost_high_usd > expected.cost_usd:
            try:
                return self.budget.reserve(usd=expected.cost_high_usd, tokens=expected.tokens, seconds=expected.seconds)
            except BudgetExceeded:
                if not alone:
                    raise
        return self.budget.reserve(usd=expected.cost_usd, tokens=expected.tokens, seconds=expected.seconds)

    def charge(self, job: Job, result: AgentResult | None, expected: Estimate, seconds: float) -> Attempt:
        """Settle an attempt that has ended, and return it with what it used.

        A failed call may have been billed. So where nothing is reported the agent's declared price is charged; and what
        was expected, marked as assumed, where it declared none. Where what was reported could not be read, all that was
        set aside is charged, and marked as assumed.
        """
        assert job.reservation is not None
        attempt = job.work.attempts[job.attempt]
        attempt.seconds = seconds
        usage = attempt.usage if result is None else result.usage
        cost_usd, is_assumed = self.cost_of(job, result, expected)
        attempt.cost_assumed = attempt.cost_assumed or is_assumed
        if is_assumed and result is not None:
            attempt.unpriced_model = result.unpriced_model
        self.budget.commit(job.reservation, usd=cost_usd, tokens=usage.tokens, calls=usage.calls, seconds=seconds)
        attempt.cost_usd, attempt.usage = cost_usd, usage
        return attempt

    def cost_of(self, job: Job, result: AgentResult | None, expected: Estimate) -> tuple[float, bool]:
        """Return what an agent's call has cost, and whether that is only assumed: see `charge`."""
        assert job.agent is not None
        assert job.reservation is not None
        if isinstance(result, UnknownCost):
            return job.reservation.usd, job.reservation.usd > 0
        if result is not None and result.cost_usd is not None:
            return result.cost_usd, False
        price = self._agents[job.agent].cost_usd
        if price is not None:
            return price, False
        usage = NOTHING if result is None else result.usage
        price = self._agents.price_usage(job.agent, usage)
        if price is not None:
            return price, False
        return expected.cost_usd, expected.cost_usd > 0 or not no_usage(usage)

    def charge_unknown(self, job: Job, seconds: float) -> float:
        """Settle a job that was cut off: what it has cost is unknown, so all that was set aside is charged."""
        assert job.reservation is not None
        self.budget.commit(job.reservation, seconds=seconds)
        cost_usd = job.reservation.usd
        if job.check is None:
            attempt = job.work.attempts[job.attempt]
            attempt.cost_usd, attempt.cost_assumed, attempt.seconds = cost_usd, cost_usd > 0, seconds
        return cost_usd


def no_usage(usage: Usage) -> bool:
    """Whether nothing was used that is worth a line in the journal."""
    return not (usage.input_tokens or usage.output_tokens or usage.calls)
