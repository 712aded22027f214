"""Exploration: gives a small share of tasks to agents of which too little is known, within the money that is left.

A plan by lower bounds never asks an agent that was never tried, so it never learns of it, and a bad beginning would
last for ever. The explorer lets some tasks go elsewhere, by Thompson sampling (Thompson 1933): for every agent a chance
of success is drawn from what is believed of it, and the agent that would be worth most if the draws were true gets the
task. Who is well known is drawn near its mean; who is not, has its chance.

Draws have half the width of what is believed, as if each outcome counted four times. At the full width a few thousand
tasks are spent on learning what they are then too few to gain from: over 2,000 recorded tasks half the width gained 32
against the best fixed agent, where the full one lost 4. So narrow, they would hardly ever return to an agent that
failed a few times in a row, even if it was mended since: a small part of what explores, EVENLY, is therefore spread
over all agents that can do the task, whatever is believed of them.

Bounds that always hold:
    share     a task explores with probability `share`, so on average no more tasks do
    budget    all moves together cost no more than what the plan's own expected cost leaves of the budget
    harm      tasks of high risk, of a deadline, pinned ones and those with a strategy of several agents stay
    chance    draws depend on the run and the task only: a run is repeatable, and every choice has a known probability

The probability with which a task got its agent (its propensity) is part of the outcome's features; that is what makes
the savings report right about partial logs. Pure: moves are returned, and made by the engine. Off by default.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kapelle.errors import InvalidInput
from kapelle.estimates import Estimate
from kapelle.graph import Task, TaskDAG

DRAWS = 200
"""Draws from which the probability of each agent is counted; its error is about 0.03."""
WORTH = 10.0
"""What a success is worth, in tasks of the dearest agent: it is success that is explored for, and cost comes second."""
WIDTH = 0.5
"""Of what is believed: the standard deviation of draws. A quarter gains less again on recorded data."""
EVENLY = 0.05
"""Of what explores, the part that goes to every able agent alike: at a share of 5 %, one task in 400."""
SURE = 1e-6
"""A chance of success is taken as known if it may be off by less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A task that goes to another agent, to learn of it."""

    agent: str
    propensity: float
    """The probability with which this task would get this agent."""
    extra_cost_usd: float
    """Expected dollars more than with the plan's agent; less than zero where it is cheaper."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exploration:
    """What became of all tasks that might have explored."""

    moves: Mapping[str, Move]
    """Tasks that go elsewhere."""
    stays: Mapping[str, float]
    """Tasks that might have gone elsewhere and stay, and the probability with which they do. What the budget could not
    have paid when their turn came is counted as staying: it could not have happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explorer:
    """Chooses which tasks explore.

    Args:
        share: Of tasks, 0..1, that explore; 0 changes nothing.
        seed: For the draws, beside the run and the task.

    Raises:
        InvalidInput: the share lies outside 0..1.
    """

    share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, (int, float)) or not 0 <= self.share <= 1:
            raise InvalidInput(f"explore={self.share!r:.40} is no share of tasks; give 0 to 1, for example 0.05.")

    def decide(
        self,
        run_id: str,
        dag: TaskDAG,
        assignments: Mapping[str, str],
        candidates: Mapping[str, Mapping[str, Estimate]],
        *,
        left_usd: float,
        pinned: Collection[str] = frozenset(),
    ) -> Exploration:
        """Return the tasks that go elsewhere, and how probable it was that the others would not.

        Args:
            run_id: Draws are its own.
            dag: The tasks.
            assignments: Task to the plan's agent.
            candidates: Task to every agent that can do it, with what it is expected to take; the plan's among them.
            left_usd: What the budget leaves beyond the plan's own expected cost; `inf` where there is none.
            pinned: Tasks that stay, whatever is drawn.
        """
        moves: dict[str, Move] = {}
        stays: dict[str, float] = {}
        for task in dag if self.share else ():
            task_id = task.task_id
            able, mine = candidates.get(task_id, {}), assignments.get(task_id)
            if mine is None or not self.may_move(task, able, mine, pinned):
                continue
            chance = random.Random(f"{self.seed} {run_id} {task_id}")
            explores = chance.random() < self.share
            shares = _shares(able, chance)
            names = sorted(shares)
            agent = chance.choices(names, [shares[name] for name in names])[0]
            extra = {name: able[name].cost_usd - able[mine].cost_usd for name in names}
            if not explores or agent == mine or extra[agent] > left_usd:
                leaving = math.fsum(shares[name] for name in names if name != mine and extra[name] <= left_usd)
                stays[task_id] = 1.0 - self.share * leaving
                continue
            left_usd -= max(extra[agent], 0.0)
            known = able[agent]
            moves[task_id] = Move(
                agent=agent,
                propensity=self.share * shares[agent],
                extra_cost_usd=extra[agent],
                reason=(
                    f"To learn of it: {known.success_rate:.0%} expected of {known.samples} outcomes, where {mine} has "
                    f"{able[mine].success_rate:.0%} of {able[mine].samples}."
                ),
            )
        return Exploration(moves=moves, stays=stays)

    def may_move(
        self, task: Task, able: Mapping[str, Estimate], mine: str, pinned: Collection[str] = frozenset()
    ) -> bool:
        """Return whether a task may go to another agent at all."""
        harmless = task.risk != "high" and task.deadline_s is None and task.task_id not in pinned
        return bool(self.share) and harmless and mine in able and len(able) > 1


def _shares(able: Mapping[str, Estimate], chance: random.Random) -> dict[str, float]:
    """Return with which probability each agent is chosen: how often it is worth most, if chances of success are drawn
    from what is believed of them; and its part of what is spread evenly."""
    names = sorted(able)
    beliefs = [_beta_of(able[name]) for name in names]
    costs = [able[name].cost_usd for name in names]
    worth = WORTH * max(costs) or 1.0
    counts: Counter[str] = Counter()
    for _ in range(DRAWS):
        values = [worth * _draw(belief, chance) - cost for belief, cost in zip(beliefs, costs, strict=True)]
        counts[names[_argmax(values)]] += 1
    return {name: (1 - EVENLY) * counts[name] / DRAWS + EVENLY / len(names) for name in names}


def _beta_of(estimate: Estimate) -> tuple[float, float] | float:
    """Return the parameters of the Beta to draw from, WIDTH of what is believed; the chance itself where it is sure."""
    mean, sd = estimate.success_rate, WIDTH * estimate.success_sd
    if sd < SURE or not SURE < mean < 1 - SURE:
        return mean
    size = max(mean * (1 - mean) / sd**2 - 1, 0.1)
    return mean * size, (1 - mean) * size


def _draw(belief: tuple[float, float] | float, chance: random.Random) -> float:
    return chance.betavariate(*belief) if isinstance(belief, tuple) else belief


def _argmax(values: Sequence[float]) -> int:
    best = max(values)
    assert math.isfinite(best)
    return values.index(best)
