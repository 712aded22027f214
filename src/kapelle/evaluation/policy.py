"""RoutingPolicy: chooses for every task, by its words, the agent or the strategy that is worth its price.

    choose the one with the greatest    predicted quality - price * predicted cost

The price says how many units of quality a dollar must buy. Every price is a point on a curve of cost and quality, and
which price reaches a wanted quality is found on the tasks that were learned from, with predictions that had not seen
them (see predictor). Between two prices a point may mix both, task by task: what lies on the line between them is
often better than either.

A strategy is one more column: what it came to is replayed over the log (see replay) and predicted like an agent.
NumPy is imported; load this lazily. Spends nothing, and never looks at the outcome of a task that it chooses for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kapelle.errors import InvalidInput
from kapelle.estimates import Embed, LoggedOutcome, LoggedTask, OutcomePredictor
from kapelle.strategies import (
    Checks,
    LoggedTable,
    Single,
    Strategy,
    agents_of,
    find_strategies,
    strategy_to_dict,
)

from .curve import Curve, OperatingPoint, choose_columns
from .learned_policy import LearnedPolicy, draws_for

Doubles = NDArray[np.float64]

MIN_TASKS = 40
"""Tasks below which a policy learned from them would be an accident."""
MANY_AGENTS = 16
"""Agents and strategies from which on overestimates are guarded against: the largest of many guesses is too large."""
PULLS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How far predictions may be pulled towards what each agent reaches in the mean."""
GUARDED_PRICES = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Of quality, in what the best agent costs: where a pull is judged."""
MAX_STRATEGIES = 40
"""Strategies that compete with the agents: the ones that gain most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """What the log says of the choices made for its tasks."""

    quality: float
    cost_usd: float
    tasks: int


class RoutingPolicy:
    """Chooses strategies for tasks. See the module's docstring."""

    def __init__(
        self,
        *,
        predictor: OutcomePredictor,
        strategies: Sequence[Strategy],
        curve: Curve,
        best_quality: float,
        best_cost_usd: float,
    ) -> None:
        """Use `fit`."""
        self.strategies = tuple(strategies)
        """In the order of the predictor's columns."""
        self.best_quality = best_quality
        """Mean quality of the best single agent on the tasks that were learned from."""
        self.best_cost_usd = best_cost_usd
        """Its mean cost."""
        self.predictor = predictor
        """What predicts quality and cost of every strategy."""
        self.curve = curve

    @classmethod
    def fit(
        cls,
        tasks: Sequence[LoggedTask],
        *,
        seed: int = 0,
        strategies: Sequence[Strategy] | None = None,
        checks: Checks | None = None,
        embed: Embed | None = None,
    ) -> Self:
        """Learn a policy from tasks that were all tried by the same agents.

        Args:
            tasks: The log. Agents that some task lacks are left out.
            seed: For everything that is drawn.
            strategies: Ways of asking several agents that may be chosen; by default those that pay on these tasks,
                where the log keeps answers.
            checks: With the user's validators, for strategies.
            embed: Further numbers per text, of an embedding model.

        Raises:
            InvalidInput: there are too few tasks, or no two agents tried all of them.
        """
        agents = common_agents(tasks)
        if len(tasks) < MIN_TASKS or len(agents) < 2:
            raise InvalidInput(
                f"A policy is learned from {MIN_TASKS} tasks or more that two agents or more have tried; there are "
                f"{len(tasks)} tasks, and {', '.join(agents) or 'nobody'} tried all of them. Log more."
            )
        columns: dict[str, Strategy] = {agent: Single(agent=agent) for agent in agents}
        if strategies is None:
            strategies = _worthwhile(tasks, agents, seed=seed, checks=checks)
        rows = _with_strategies(tasks, agents, strategies, columns, checks)
        predictor, unseen = OutcomePredictor.fit_unseen(rows, seed=seed, embed=embed)
        quality, cost = _matrices(rows, predictor.agents)
        best = _best_single(quality, cost, [isinstance(columns[name], Single) for name in predictor.agents])
        expected = unseen.quality
        if len(predictor.agents) >= MANY_AGENTS:
            predictor = predictor.pulled(choose_pull(expected, predictor.means, quality, cost, best))
            expected = expected + predictor.pull * (predictor.means - expected)
        return cls(
            predictor=predictor,
            strategies=[columns[name] for name in predictor.agents],
            curve=Curve.draw(expected, unseen.cost_usd, quality, cost, reference=quality[:, best]),
            best_quality=float(quality[:, best].mean()),
            best_cost_usd=float(cost[:, best].mean()),
        )

    def point(self, quality_share: float, *, margin: float = 0.0) -> OperatingPoint:
        """Return the cheapest point that reaches a share of the best single agent's quality, on the tasks learned from.

        Where no point does, it is the one of the highest quality. What was learned from is a sample, so on other tasks
        half of such points reach a little less; with a `margin` of one standard error one in six does.

        Args:
            quality_share: Of the best agent's mean quality.
            margin: Standard errors of the quality that are asked for beyond it. It costs: 3 points of the best agent's
                cost at a share of 1 in recorded data.

        Raises:
            InvalidInput: the share is no positive number, or the margin is none of zero or more.
        """
        if not 0 < quality_share < float("inf"):
            raise InvalidInput(f"quality_share is {quality_share!r}; give a share such as 0.95.")
        if not 0 <= margin < float("inf"):
            raise InvalidInput(f"margin is {margin!r}; give standard errors, such as 1.")
        wanted = quality_share * self.best_quality
        point = self.curve.at_quality(wanted)
        return self.curve.at_quality(wanted + margin * point.quality_error) if margin else point

    def choose(self, tasks: Sequence[LoggedTask], point: OperatingPoint) -> list[Strategy]:
        """Return a strategy for every task, by what is known before anyone tries it."""
        return [self.strategies[column] for column in self._columns(tasks, point)]

    def settle(self, quality_share: float, *, margin: float = 0.0) -> LearnedPolicy:
        """Return what runs obey that are to keep this share of the best agent's quality: see `point`."""
        names = frozenset(self.predictor.agents)
        return LearnedPolicy(
            predictor=self.predictor,
            strategies=self.strategies,
            point=self.point(quality_share, margin=margin),
            allowed=dict.fromkeys(self.predictor.types, names),
        )

    def reached(self, tasks: Sequence[LoggedTask], point: OperatingPoint, *, checks: Checks | None = None) -> Reached:
        """Return what the outcomes of these tasks say of the choices; each agent that would be asked is paid.

        Raises:
            InvalidInput: the log of a task does not say what the strategy chosen for it comes to.
        """
        chosen = self._columns(tasks, point)
        quality, cost = np.zeros(len(tasks)), np.zeros(len(tasks))
        for column in np.unique(chosen):
            rows = np.flatnonzero(chosen == column)
            here = [tasks[int(row)] for row in rows]
            quality[rows], cost[rows] = look_up(self.strategies[column], here, checks)
        if np.isnan(quality).any():
            row = int(np.flatnonzero(np.isnan(quality))[0])
            raise InvalidInput(
                f"The log of task {tasks[row].task_id!r} does not say what {self.strategies[chosen[row]]} comes to."
            )
        return Reached(quality=float(quality.mean()), cost_usd=float(cost.mean()), tasks=len(tasks))

    def _columns(self, tasks: Sequence[LoggedTask], point: OperatingPoint) -> NDArray[np.intp]:
        predicted = self.predictor.predict(tasks)
        return choose_columns(predicted.quality, predicted.cost_usd, point, draws_for(tasks))


def common_agents(tasks: Sequence[LoggedTask]) -> tuple[str, ...]:
    """Return the agents that every task was tried by, sorted."""
    if not tasks:
        return ()
    return tuple(sorted(set.intersection(*(set(task.outcomes) for task in tasks))))


def choose_pull(predicted: Doubles, means: Doubles, quality: Doubles, cost: Doubles, best: int) -> float:
    """Return how far to pull predictions towards the agents' means: as far as it routes best.

    Args:
        predicted: (tasks, agents), by models that had not seen the task.
        means: (agents).
        quality: (tasks, agents), what was reached.
        cost: (tasks, agents), dollars.
        best: The column of the best single agent, whose cost the prices are in.
    """
    relative = cost / max(float(cost[:, best].mean()), 1e-12)
    rows = np.arange(len(quality))

    def worth(pull: float) -> float:
        expected = predicted + pull * (means - predicted)
        chosen = [(expected - price * relative.mean(axis=0)).argmax(axis=1) for price in GUARDED_PRICES]
        reached = [
            (quality[rows, columns] - price * relative[rows, columns]).mean()
            for price, columns in zip(GUARDED_PRICES, chosen, strict=True)
        ]
        return float(np.mean(reached))

    return max(PULLS, key=worth)


def look_up(strategy: Strategy, tasks: Sequence[LoggedTask], checks: Checks | None = None) -> tuple[Doubles, Doubles]:
    """Return (quality, dollars) of a strategy at logged tasks; NaN where the log does not say."""
    if isinstance(strategy, Single):
        outcomes = [task.outcomes.get(strategy.agent) for task in tasks]
        quality = np.array([np.nan if one is None else one.quality for one in outcomes], dtype=np.float64)
        return quality, np.array([np.nan if one is None else one.cost_usd for one in outcomes], dtype=np.float64)
    found = LoggedTable.build(tasks, checks=checks, agents=agents_of(strategy)).replay(strategy)
    return found.quality, found.cost_usd


def _worthwhile(
    tasks: Sequence[LoggedTask], agents: Sequence[str], *, seed: int, checks: Checks | None
) -> list[Strategy]:
    """Return the strategies that pay on these tasks, as far as answers were logged."""
    if not any(task.outcomes[agent].output is not None for task in tasks for agent in agents):
        return []
    found = find_strategies(tasks, agents, checks=checks, seed=seed)
    best = sorted(found, key=lambda one: -one.gain)[:MAX_STRATEGIES]
    return [one.strategy for one in best]


def _with_strategies(
    tasks: Sequence[LoggedTask],
    agents: Sequence[str],
    strategies: Sequence[Strategy],
    columns: dict[str, Strategy],
    checks: Checks | None,
) -> list[LoggedTask]:
    """Return the tasks with what each strategy would have come to beside the agents; the names go into `columns`."""
    results: dict[str, tuple[Doubles, Doubles]] = {}
    if strategies:
        table = LoggedTable.build(tasks, checks=checks)
        for strategy in strategies:
            replayed = table.replay(strategy)
            if replayed.known.all():
                name = json.dumps(strategy_to_dict(strategy))
                columns[name], results[name] = strategy, (replayed.quality, replayed.cost_usd)
    rows = []
    for at, task in enumerate(tasks):
        outcomes = {agent: task.outcomes[agent] for agent in agents}
        for name, (quality, cost) in results.items():
            outcomes[name] = LoggedOutcome(quality=float(quality[at]), cost_usd=float(cost[at]))
        rows.append(replace(task, outcomes=outcomes))
    return rows


def _matrices(tasks: Sequence[LoggedTask], names: Sequence[str]) -> tuple[Doubles, Doubles]:
    quality = np.array([[task.outcomes[name].quality for name in names] for task in tasks], dtype=np.float64)
    return quality, np.array([[task.outcomes[name].cost_usd for name in names] for task in tasks], dtype=np.float64)


def _best_single(quality: Doubles, cost: Doubles, single: Sequence[bool]) -> int:
    means = np.where(single, quality.mean(axis=0), -np.inf)
    # Of equals the cheaper one.
    return int(np.lexsort((cost.mean(axis=0), -means))[0])
