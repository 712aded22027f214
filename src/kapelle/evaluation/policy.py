"""RoutingPolicy: chooses for every task, by its words, the agent or the strategy that is worth its price.

    choose the one with the greatest    predicted quality - price * predicted cost

The price says how many units of quality a dollar must buy. Every price is a point on a curve of cost and quality, and
which price reaches a wanted quality is found on the tasks that were learned from, with predictions that had not seen
them (see difficulty). Between two prices a point may mix both, task by task: what lies on the line between them is
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
from kapelle.estimates import DifficultyModel, Embed, LoggedOutcome, LoggedTask
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
SAFETY_SHARE = 0.05
"""Of the saving: what keeping a promise of equal quality may cost."""
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
        model: DifficultyModel,
        strategies: Sequence[Strategy],
        curve: Curve,
        best_quality: float,
        best_cost_usd: float,
    ) -> None:
        """Use `fit`."""
        self.strategies = tuple(strategies)
        """In the order of the model's columns."""
        self.best_quality = best_quality
        """Mean quality of the best single agent on the tasks that were learned from."""
        self.best_cost_usd = best_cost_usd
        """Its mean cost."""
        self._model = model
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
        model, unseen = DifficultyModel.fit_unseen(rows, seed=seed, embed=embed)
        quality, cost = _matrices(rows, model.agents)
        best = _best_single(quality, cost, [isinstance(columns[name], Single) for name in model.agents])
        return cls(
            model=model,
            strategies=[columns[name] for name in model.agents],
            curve=Curve.draw(unseen.quality, unseen.cost_usd, quality, cost, reference=quality[:, best]),
            best_quality=float(quality[:, best].mean()),
            best_cost_usd=float(cost[:, best].mean()),
        )

    def point(self, quality_share: float) -> OperatingPoint:
        """Return the cheapest point that reaches a share of the best single agent's quality, on the tasks learned from.

        Of a share of 1 or more it takes one standard error more, as far as a twentieth of the saving pays for it. Where
        no point does, it is the one of the highest quality.

        Raises:
            InvalidInput: the share is no positive number.
        """
        if not 0 < quality_share < float("inf"):
            raise InvalidInput(f"quality_share is {quality_share!r}; give a share such as 0.95.")
        point = self.curve.at_quality(quality_share * self.best_quality)
        if quality_share < 1:
            return point
        # That nothing is lost is a promise, and what was learned from is a sample: one standard error more is asked
        # for, as far as a twentieth of the saving pays for it.
        affordable = self.curve.at_cost(
            point.expected_cost_usd + SAFETY_SHARE * max(0.0, self.best_cost_usd - point.expected_cost_usd)
        )
        safe = self.curve.at_quality(quality_share * self.best_quality + point.quality_error)
        return min((affordable, safe), key=lambda one: one.expected_cost_usd)

    def choose(self, tasks: Sequence[LoggedTask], point: OperatingPoint) -> list[Strategy]:
        """Return a strategy for every task, by what is known before anyone tries it."""
        return [self.strategies[column] for column in self._columns(tasks, point)]

    def settle(self, quality_share: float) -> LearnedPolicy:
        """Return what runs obey that are to keep this share of the best agent's quality: one point of the curve."""
        names = frozenset(self._model.agents)
        return LearnedPolicy(
            model=self._model,
            strategies=self.strategies,
            point=self.point(quality_share),
            allowed=dict.fromkeys(self._model.types, names),
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
        predicted = self._model.predict(tasks)
        return choose_columns(predicted.quality, predicted.cost_usd, point, draws_for(tasks))


def common_agents(tasks: Sequence[LoggedTask]) -> tuple[str, ...]:
    """Return the agents that every task was tried by, sorted."""
    if not tasks:
        return ()
    return tuple(sorted(set.intersection(*(set(task.outcomes) for task in tasks))))


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
