"""Judges routing on a log in which every task was seen with every agent: nothing is estimated that could be looked up.

The tasks are dealt into folds. For each fold a policy learns from the others and chooses for its tasks; the log tells
what each choice cost and reached. The operating point is set on the tasks that were learned from, and so are the
baselines, hindsight excepted, which is a bound and no policy. Over all folds every task is judged once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kapelle.estimates import LoggedTask
from kapelle.strategies import Single, Strategy

from .baselines import Hindsight, best_single, cheapest_mix, cheapest_single
from .log import Log
from .report import Judged, Target, Today
from .scoring import Judge, Resampler, group_tasks, shares_by_type, split_tasks, thin_out

Array = npt.NDArray[Any]

CURVE_SHARES = (0.80, 0.85, 0.90, 0.93, 0.95, 0.965, 0.98, 0.99, 1.0, 1.01, 1.02, 1.035, 1.05)
"""The aims, as shares of today's quality, at which the curve is drawn."""
MOSTLY_SEEN = 0.8
"""An agent that fewer tasks were seen with is left out, rather than all the tasks that lack it."""
ENOUGH_COMPLETE = 0.5
"""The share of tasks that must be complete for the others to be left out."""


class Policy(Protocol):
    """What chooses agents; see `kapelle.evaluation.RoutingPolicy`."""

    def point(self, quality_share: float) -> Any:
        """Return the operating point that reaches this share of the best agent's quality on what it learned from.

        Where a margin is asked for, it is given as `margin=`: see `RoutingPolicy.point`.
        """

    def choose(self, tasks: Sequence[LoggedTask], point: Any) -> Sequence[Strategy]:
        """Return a strategy for each task, without a look at its outcomes."""


FitPolicy = Callable[[Sequence[LoggedTask], int], Policy]
"""Tasks and seed to a policy."""
Replay = Callable[[Strategy, Sequence[LoggedTask]], tuple[Array, Array]]
"""What a strategy would have reached and cost at tasks whose outcomes are known: (quality, dollars), NaN where the log
does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTasks:
    """The part of a log in which every task was seen with every agent."""

    tasks: tuple[LoggedTask, ...]
    agents: tuple[str, ...]
    left_out_agents: dict[str, str]
    left_out_tasks: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What is the same in the reports on paired and partial logs."""

    tasks: int
    agents: tuple[str, ...]
    today: Today
    targets: tuple[Target, ...]
    singles: tuple[Judged, ...]
    curve: tuple[Judged, ...]
    by_type: dict[str, dict[str, float]]
    excluded: dict[str, str]
    warnings: tuple[str, ...]


def find_paired(log: Log) -> PairedTasks | None:
    """Return the complete part of a log; None if too little of it is complete, so that it must be taken as partial."""
    seen = log.seen_counts()
    count = len(log.tasks)
    agents = tuple(sorted(agent for agent, tasks in seen.items() if tasks >= MOSTLY_SEEN * count))
    if len(agents) < 2:
        return None
    complete = [task for task in log.tasks if all(agent in task.outcomes for agent in agents)]
    if len(complete) < ENOUGH_COMPLETE * count:
        return None
    if len(agents) < len(seen):
        complete = [replace(task, outcomes={agent: task.outcomes[agent] for agent in agents}) for task in complete]
    return PairedTasks(
        tasks=tuple(complete),
        agents=agents,
        left_out_agents={
            agent: f"seen with {tasks:,} of {count:,} tasks" for agent, tasks in seen.items() if agent not in agents
        },
        left_out_tasks=count - len(complete),
    )


def judge_paired(
    paired: PairedTasks,
    *,
    today: str | None,
    shares: Sequence[float],
    margin: float,
    fit: FitPolicy,
    replay: Replay,
    folds: int,
    seed: int,
    resamples: int,
    confidence: float,
    tell: Callable[[str], None],
) -> Findings:
    """Return what routing would have saved. `today` is an agent of the paired tasks, or None for the best of them."""
    tasks, agents = paired.tasks, paired.agents
    quality = np.array([[task.outcomes[agent].quality for agent in agents] for task in tasks])
    cost = np.array([[task.outcomes[agent].cost_usd for agent in agents] for task in tasks])
    now = agents.index(today) if today is not None else best_single(quality.mean(axis=0), cost.mean(axis=0))
    groups = group_tasks(tasks)
    fold_of = split_tasks(tasks, groups, folds=folds, seed=seed)
    resampler = Resampler(groups, seed=seed, resamples=resamples, confidence=confidence)
    judge = Judge(resampler, quality[:, now], cost[:, now])

    curve_shares = sorted({*shares, *CURVE_SHARES})
    beyond: dict[str, Any] = {"margin": margin} if margin else {}
    names = {share: [""] * len(tasks) for share in curve_shares}
    routed = {share: np.zeros((2, len(tasks))) for share in curve_shares}
    known: dict[Strategy, Array] = {}
    alone = {share: _Baseline(len(tasks)) for share in shares}
    mixed = {share: _Baseline(len(tasks)) for share in shares}
    for fold in range(folds):
        tell(f"learning from {np.sum(fold_of != fold):,} tasks ({fold + 1} of {folds})")
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        policy = fit([tasks[index] for index in train], seed)
        judged = [tasks[index] for index in test]
        mean_quality, mean_cost = quality[train].mean(axis=0), cost[train].mean(axis=0)
        for share in curve_shares:
            aim = share * float(mean_quality[now] / mean_quality.max())
            for index, strategy in zip(test, policy.choose(judged, policy.point(aim, **beyond)), strict=True):
                names[share][index] = str(strategy)
                if strategy not in known:
                    known[strategy] = _look_up(strategy, tasks, agents, quality, cost, replay)
                routed[share][:, index] = known[strategy][:, index]
        for share in shares:
            target = share * float(mean_quality[now])
            single = cheapest_single(mean_quality, mean_cost, target)
            if single is not None:
                alone[share].add(test, (agents[single], agents[single], 1.0), quality[test, single], cost[test, single])
            mix = cheapest_mix(mean_quality, mean_cost, target)
            if mix is not None:
                low, high, part = mix
                mixed[share].add(
                    test,
                    (agents[low], agents[high], part),
                    (1 - part) * quality[test, low] + part * quality[test, high],
                    (1 - part) * cost[test, low] + part * cost[test, high],
                )
    tell("resampling")
    unknown = np.isnan(np.array(list(routed.values()))).any(axis=(0, 1))
    for figures in routed.values():
        # What the log does not say is counted as what is done today: no saving and no loss.
        figures[:, unknown] = quality[unknown, now], cost[unknown, now]
    hindsight = Hindsight(quality, cost)
    lines = {share: judge.judge("routed", *routed[share], uses=names[share]) for share in curve_shares}
    targets = tuple(
        Target(
            quality_share=share,
            routed=lines[share],
            cheapest_single=alone[share].judged(judge),
            random_mix=mixed[share].judged(judge),
            oracle=judge.judge("oracle", *hindsight.reach(share * float(quality[:, now].mean()))),
        )
        for share in shares
    )
    singles = [judge.judge(agent, quality[:, column], cost[:, column]) for column, agent in enumerate(agents)]
    left_out = paired.left_out_tasks
    return Findings(
        tasks=len(tasks),
        agents=agents,
        today=Today(
            name=agents[now],
            chosen="you said so" if today is not None else "the agent of the highest mean quality in this log",
            quality=resampler.mean(quality[:, now]),
            cost_usd=float(cost[:, now].sum()),
        ),
        targets=targets,
        singles=tuple(sorted(singles, key=lambda single: single.cost_share.value)),
        curve=thin_out(lines.values()),
        by_type=shares_by_type([task.task_type for task in tasks], names[middle(shares)]),
        excluded=paired.left_out_agents,
        warnings=(
            *((_tell_left_out(left_out),) if left_out else ()),
            *((_tell_unknown(int(unknown.sum())),) if unknown.any() else ()),
        ),
    )


def middle(shares: Sequence[float]) -> float:
    """Return the share whose choices stand for the strategy: the middle one, the higher of two."""
    return sorted(shares)[len(shares) // 2]


def _tell_left_out(tasks: int) -> str:
    return (
        f"{tasks:,} tasks lack an outcome of an agent and are left out. If it was not chance that they lack it, the "
        "figures are off."
    )


def _tell_unknown(tasks: int) -> str:
    return (
        f"For {tasks:,} tasks the log does not say what a chosen strategy would have answered, since outputs were not "
        "kept; they are counted as they are today."
    )


def _look_up(
    strategy: Strategy, tasks: Sequence[LoggedTask], agents: Sequence[str], quality: Array, cost: Array, replay: Replay
) -> Array:
    if isinstance(strategy, Single):
        column = list(agents).index(strategy.agent)
        return np.array([quality[:, column], cost[:, column]])
    return np.array(replay(strategy, tasks))


class _Baseline:
    """Gathers a baseline over the folds; it is there only if every fold has it."""

    def __init__(self, tasks: int) -> None:
        self._figures = np.full((2, tasks), np.nan)
        self._mixes: list[tuple[str, str, float]] = []

    def add(self, test: Array, mix: tuple[str, str, float], quality: Array, cost: Array) -> None:
        """Take in what it reached and cost in a fold."""
        self._figures[:, test] = quality, cost
        self._mixes.append(mix)

    def judged(self, judge: Judge) -> Judged | None:
        """Return its line."""
        return None if np.isnan(self._figures).any() else judge.judge(name_mixes(self._mixes), *self._figures)


def name_mixes(mixes: Sequence[tuple[str, str, float]]) -> str:
    """Return one name for the folds' mixes (worse, better, share of the better); the same pair has its mean share.

    >>> name_mixes([("small", "large", 0.5), ("small", "large", 0.6)])
    '55 % large, else small'
    """
    shares: dict[tuple[str, str], list[float]] = {}
    for low, high, share in mixes:
        pair = (low, high) if 0 < share < 1 else (high, high) if share else (low, low)
        shares.setdefault(pair, []).append(share)
    names = [
        low if low == high else f"{100 * sum(of) / len(of):.0f} % {high}, else {low}"
        for (low, high), of in shares.items()
    ]
    return " | ".join(names)
