"""All that an execution does with its budget: money is set aside before anything starts, and settled when it ends.

Set aside is the most that the agent says a call can cost, where it knows (a model with a price and a limit of tokens);
else what 95 % of such jobs cost at most where that was learned; else what is expected (the bounds of an unknown agent
are too wide to be of use); and never less than what the run has seen the agent take for such a task. If that much is
not left, the job waits until others have ended and freed what they did not use; when nothing else is under way, what is
expected is enough. So tasks that run at the same time do not exceed the cap together, and the last dollars of a budget
can still be used.

Of an agent whose price nobody knows nothing can be set aside. So where dollars are limited one such agent at a time is
tried, with one job, until it has answered. With each answer one more of its jobs may run beside the others, as TCP's
slow start has it (Jacobson, "Congestion avoidance and control", 1988): a figure seen once is not yet a price. And once
the dollars are spent nothing starts but what is known to cost nothing.

A declared price is a claim. Until something confirms it one job of its agent may run, and more only as far as all such
jobs, of whichever agents, fit at DOUBT times their prices. What the run has seen of the claims of some speaks of the
others': where agents took three times what they declare, those under way are expected to take that too, and what they
will is left for them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from kapelle.agents import AgentRegistry, AgentResult
from kapelle.allocation import VERIFY
from kapelle.budget import Budget, Reservation
from kapelle.errors import BudgetExceeded
from kapelle.estimates import Estimate
from kapelle.ledger import NOTHING, Usage
from kapelle.strategies import Verdict

from .error_reports import UnknownCost
from .growth import Reflection
from .work import Job

DOUBT = 10.0
"""A declared price that no attempt has confirmed may be wrong by this factor: so much must fit of all attempts at once,
whichever agents make them."""
LEAST_USD = 1e-9
"""Budgets count in these."""


@dataclass(slots=True)
class _Seen:
    """What one agent has taken in this run for tasks of one type."""

    told: int = 0
    """Attempts, failed ones too, that told what they had cost."""
    total_usd: float = 0.0
    most_usd: float = 0.0
    most_tokens: int = 0

    @property
    def mean_usd(self) -> float:
        """Dollars per attempt that told them."""
        return self.total_usd / self.told


class Spending:
    """Sets aside and settles what the jobs of a run, and changes to its graph, cost."""

    def __init__(self, budget: Budget, agents: AgentRegistry) -> None:
        self._budget = budget
        self._agents = agents
        self.is_capped = budget.cap_usd is not None
        """Whether dollars are limited."""
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._answered: dict[str, int] = {}
        """Per agent, attempts that ended with an answer."""
        self._told: set[str] = set()
        """Agents that have told in this run what they cost."""
        self._known: set[str] = set()
        """Agents that told in earlier runs what they cost."""
        self._doubted: Counter[str] = Counter()
        """Per agent, its jobs under way that began at a declared price which nothing had confirmed."""
        self._doubted_usd = 0.0
        """What these cost together by those prices."""
        self._told_usd = self._declared_usd = 0.0
        """What attempts have told that they cost in this run, and what they should by the declared prices."""
        self._planning_costs = False
        """Whether planning anew, or looking at outputs, has told of costs in this run."""

    @property
    def left_usd(self) -> float:
        """The dollars that nothing is set aside for."""
        return self._budget.left.usd

    def expect(self, estimates: Iterable[tuple[str, Estimate]]) -> None:
        """Take note of what is known of agents from earlier runs."""
        self._known.update(agent for agent, estimate in estimates if estimate.costs_told)

    def places_of(self, agent: str) -> int:
        """Return how many jobs an agent may do at the same time, as far as money decides."""
        places = self._agents[agent].max_concurrency
        if not self.is_capped or agent in self._known:
            return places
        if self._is_unpriced(agent):
            return min(places, 1 + self._answered.get(agent, 0))
        if not (price := self._unconfirmed_usd(agent)):
            return places
        at_once = self.left_usd / (DOUBT * price)
        return places if at_once >= places else max(1, int(at_once))

    def is_untried(self, agent: str | None) -> bool:
        """Whether nobody knows what an agent costs, and dollars are limited: one of these is tried at a time."""
        if agent is None or not self.is_capped or agent in self._known or self._answered.get(agent):
            return False
        return self._is_unpriced(agent)

    def reserve(self, job: Job, *, alone: bool, underway: Iterable[Job] = ()) -> Reservation:
        """Set aside what a job may cost; nothing for a check that no agent makes.

        Args:
            alone: Nothing else is under way, so waiting frees nothing.
            underway: What is: jobs that began before their price proved too low will cost what was seen since.

        Raises:
            BudgetExceeded: not enough is left.
        """
        expected = job.expected
        if expected is None:
            return self._budget.reserve()
        seen = self._seen.get(_key(job))
        cost_usd, tokens = expected.cost_usd, expected.tokens
        if seen is not None and seen.told:
            cost_usd, tokens = max(cost_usd, seen.mean_usd), max(tokens, seen.most_tokens)
        if self.is_capped:
            if self._budget.usd_is_spent and not self._is_free(job, seen):
                raise BudgetExceeded("usd", wanted=cost_usd, left=0.0)
            if not alone:
                self._leave_enough(job, expected, cost_usd, underway)
        most_usd = self._most_usd(job, expected, seen)
        if most_usd > cost_usd:
            try:
                return self._budget.reserve(usd=most_usd, tokens=tokens, seconds=expected.seconds)
            except BudgetExceeded:
                if not alone:
                    raise
            if job.most_usd is not None:  # it is told how much there is, and keeps to that
                cost_usd = max(cost_usd, min(most_usd, self.left_usd))
        return self._budget.reserve(usd=cost_usd, tokens=tokens, seconds=expected.seconds)

    def begin(self, job: Job) -> None:
        """A job begins with what was set aside for it."""
        if self.is_capped and job.agent is not None and (price := self._unconfirmed_usd(job.agent)):
            job.doubted_usd = price
            self._doubted_usd += price
            self._doubted[job.agent] += 1

    def release(self, reservation: Reservation) -> None:
        """What money was set aside for does not happen."""
        self._budget.release(reservation)

    def charge(self, job: Job, result: AgentResult | None, seconds: float, *, is_cut_off: bool = False) -> None:
        """Settle an attempt that has ended, and note what it used.

        Charged is what it reported, whether it succeeded or failed. Where nothing is reported it is the agent's
        declared price, for a failed call may have been billed; where it declared none, what was expected of a call that
        succeeded, and all that was set aside for one that failed, marked as assumed. What is known to have reached
        somebody who bills, what was reported but could not be read, and what was cut off is charged all that was set
        aside, marked as assumed.
        """
        assert job.reservation is not None
        self._end_doubt(job)
        attempt = job.work.attempts[job.attempt]
        attempt.seconds = seconds
        if is_cut_off:
            self._budget.commit(job.reservation, seconds=seconds)
            attempt.cost_usd = job.reservation.usd
            attempt.cost_assumed = attempt.cost_usd > 0
            return
        usage = attempt.usage if result is None else result.usage
        cost_usd, is_assumed = self.cost_of(job, result)
        attempt.cost_assumed = attempt.cost_assumed or is_assumed
        if is_assumed and result is not None:
            attempt.unpriced_model = result.unpriced_model
        self._budget.commit(job.reservation, usd=cost_usd, tokens=usage.tokens, calls=usage.calls, seconds=seconds)
        attempt.cost_usd, attempt.usage = cost_usd, usage

    def charge_check(self, job: Job, verdict: Verdict, seconds: float, *, answered: bool) -> None:
        """Settle a check that has ended, and learn from what its agent took."""
        assert job.reservation is not None
        self._end_doubt(job)
        usage = verdict.usage
        self._budget.commit(
            job.reservation, usd=verdict.cost_usd, tokens=usage.tokens, calls=usage.calls, seconds=seconds
        )
        if job.agent is not None:
            told = None if job.judge_cost is None or job.judge_cost[1] else job.judge_cost[0]
            self.learn(job, AgentResult(output=None, cost_usd=told, usage=usage), answered=answered)

    def reserve_planning(self, usd: float, tokens: int, *, is_priced: bool = True) -> Reservation | None:
        """Set aside what planning anew, or looking at an output, costs; None where the budget does not hold it.

        Once all that planning takes is spent, what has cost nothing so far goes on.
        """
        if self._planning_costs and (self._budget.usd_is_spent or self._budget.left.tokens <= 0):
            return None
        if not is_priced and self.left_usd <= 0:
            return None
        try:
            return self._budget.reserve(usd=usd, tokens=tokens)
        except BudgetExceeded:
            return None

    def charge_planning(
        self, reservation: Reservation, told: AgentResult | Reflection | None, *, failed: bool
    ) -> tuple[float, Usage]:
        """Settle planning that has ended, and return what it took; where it failed and tells none, all that was set
        aside."""
        spent = 0.0 if told is None else told.cost_usd
        if spent is None or (failed and told is None):
            spent = reservation.usd if failed else 0.0
        usage = Usage() if told is None else told.usage
        self._planning_costs = self._planning_costs or bool(spent or usage.tokens)
        self._budget.commit(reservation, usd=spent, tokens=usage.tokens)
        return spent, usage

    def charge_cut_off_planning(self, reservation: Reservation) -> float:
        """Settle planning that was cut off with all that was set aside for it, and return that."""
        self._budget.commit(reservation)
        return reservation.usd

    def cost_of(self, job: Job, result: AgentResult | None) -> tuple[float, bool]:
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
        if result is None:  # it failed, and may have been billed
            return job.reservation.usd, job.reservation.usd > 0
        assert job.expected is not None
        expected, seen = job.expected, self._seen.get(_key(job))
        cost_usd = expected.cost_usd if seen is None or not seen.told else max(expected.cost_usd, seen.mean_usd)
        return cost_usd, cost_usd > 0 or not no_usage(usage)

    def learn(self, job: Job, result: AgentResult | None, *, answered: bool) -> None:
        """Take note of what an ended job took: what is set aside for the next ones, and how many may run, follow it."""
        assert job.agent is not None
        seen = self._seen.setdefault(_key(job), _Seen())
        if answered:
            self._answered[job.agent] = self._answered.get(job.agent, 0) + 1
        if result is not None and result.cost_usd is not None and not isinstance(result, UnknownCost):
            seen.told += 1
            self._told.add(job.agent)
            if price := self._agents[job.agent].cost_usd:
                self._told_usd += result.cost_usd
                self._declared_usd += price
            seen.total_usd += result.cost_usd
            seen.most_usd = max(seen.most_usd, result.cost_usd)
        if result is not None:
            seen.most_tokens = max(seen.most_tokens, result.usage.tokens)

    def _unconfirmed_usd(self, agent: str) -> float:
        """Return the price that an agent declares and nothing has confirmed; 0 where there is none to doubt."""
        if agent in self._known or agent in self._told or self._answered.get(agent):
            return 0.0
        price = self._agents[agent].cost_usd
        return 0.0 if not price or self._is_bounded(agent) else price

    def _leave_enough(self, job: Job, expected: Estimate, cost_usd: float, underway: Iterable[Job]) -> None:
        """Raise BudgetExceeded where a job would take what those under way are likely to cost beyond what was set aside
        for them, by what the run has seen."""
        assert job.agent is not None
        times = self._told_usd / self._declared_usd if self._declared_usd else 1.0
        beyond = min(max(1.0, times), DOUBT) - 1.0
        short_usd = 0.0
        if (seen := self._seen.get(_key(job))) is not None and seen.told and cost_usd > expected.cost_usd:
            like = [other for other in underway if _is_like(other, job)]
            short_usd = math.fsum(_short_usd(other, cost_usd) - other.doubted_usd * beyond for other in like)
        elif price := self._unconfirmed_usd(job.agent):
            if self._doubted[job.agent]:  # its first job is what confirms the price; others wait for that
                beyond = DOUBT - 1.0
            cost_usd = max(cost_usd, price * (1.0 + beyond))
        short_usd += self._doubted_usd * beyond
        if short_usd <= LEAST_USD:
            return  # most jobs: nothing is owed to others
        left_usd = self.left_usd
        if left_usd < cost_usd + short_usd - LEAST_USD:
            raise BudgetExceeded("usd", wanted=cost_usd, left=max(0.0, left_usd - short_usd))

    def _end_doubt(self, job: Job) -> None:
        """A job has ended: it will cost no more than it has."""
        if job.doubted_usd and job.agent is not None:
            self._doubted[job.agent] -= 1
            self._doubted_usd = max(0.0, self._doubted_usd - job.doubted_usd)
            job.doubted_usd = 0.0

    def _is_unpriced(self, agent: str) -> bool:
        """Whether an agent neither declares what a task costs, nor names the model whose price would tell."""
        card = self._agents[agent]
        return card.cost_usd is None and card.model is None

    def _is_bounded(self, agent: str) -> bool:
        """Whether an agent's calls keep to what was set aside for them: they are told how much that is."""
        return agent in self._agents.runnable() and hasattr(self._agents.runner(agent), "most_usd")

    def _is_free(self, job: Job, seen: _Seen | None) -> bool:
        """Whether a job is known to cost nothing."""
        assert job.agent is not None
        assert job.expected is not None
        if seen is not None and seen.told:
            return seen.most_usd == 0.0
        if self._is_unpriced(job.agent):
            return job.agent in self._known and job.expected.cost_usd == 0.0
        return job.expected.cost_usd == 0.0 and not job.most_usd

    def _most_usd(self, job: Job, expected: Estimate, seen: _Seen | None) -> float:
        """Return the dollars to set aside where the budget holds them."""
        most_usd = expected.cost_high_usd if expected.source == "learned" else 0.0
        if job.most_usd is not None:
            most_usd = job.most_usd
        return most_usd if seen is None else max(most_usd, seen.most_usd)


def _key(job: Job) -> tuple[str, str]:
    assert job.agent is not None
    return job.agent, job.work.task.task_type if job.check is None else VERIFY


def _is_like(other: Job, job: Job) -> bool:
    return other.agent is not None and _key(other) == _key(job)


def _short_usd(job: Job, cost_usd: float) -> float:
    """Return by how much less was set aside for a job than it is expected to cost by now."""
    return 0.0 if job.reservation is None else max(0.0, cost_usd - job.reservation.usd)


def no_usage(usage: Usage) -> bool:
    """Whether nothing was used that is worth a line in the journal."""
    return not (usage.input_tokens or usage.output_tokens or usage.calls)
