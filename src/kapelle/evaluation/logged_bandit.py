"""Judges routing on a log in which most tasks were seen with one agent: doubly robust estimates, and their limits.

What an agent would have made of a task that it was not given is predicted from other tasks; where it was given the
task, the error of the prediction is added, weighted by one over the chance of having been given it (augmented inverse
propensity weighting: Robins, Rotnitzky and Zhao, 1994; for policies Dudik, Langford and Li, 2011):

    score(task, agent) = predicted + seen / propensity * (what was seen - predicted)

The mean of these scores is right if either the predictions or the propensities are. Predictions come from a model that
has not seen the task (cross-fitting: Chernozhukov et al., 2018). Propensities are shares within the task type. So what
is assumed is this: within a type, who got a task depended on nothing that also decides how it went, beyond what the
text tells. A check of the lengths of texts can refute that, and nothing in a log can prove it.

Where an agent was seen too seldom within a type (MIN_SEEN, MIN_SHARE) it is never chosen there: the estimate would
rest on a handful of tasks. Where that leaves fewer than two agents, the task is left as it was logged. What hindsight
could reach is not told by such a log at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kapelle.estimates import LoggedOutcome, LoggedTask

from .baselines import best_single, cheapest_mix, cheapest_single
from .doubly_robust import (
    MIN_SEEN,
    MIN_SHARE,
    Overlap,
    Predictor,
    Scores,
    find_overlap,
    find_uneven,
    score,
    tell_excluded,
)
from .full_feedback import Findings, middle, name_mixes
from .log import Log
from .report import AS_LOGGED, Judged, Target, Today
from .scoring import Judge, Resampler, group_tasks, shares_by_type, split_tasks, thin_out

Array = npt.NDArray[Any]

FOR_ALL = 0.9
"""An agent counts as an answer for all tasks if it may be chosen for this share of them; the rest stays as logged."""
FEW_EFFECTIVE = 100
"""Below so many effective tasks an interval is told to be unsure itself."""
PRICES = (*np.geomspace(1e-3, 10.0, 41).tolist(), 0.0)
"""Of quality: how much of it today's mean cost is worth. Each is a policy, choosing the most quality less cost."""
_INNER_FOLDS = 2

FitPredictor = Callable[[Sequence[LoggedTask], int], Predictor]
"""Tasks and seed to a predictor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A policy that may be judged: a price of quality, in today's mean cost; or one column for all tasks."""

    price: float = 0.0
    column: int | None = None

    def choose(self, scores: Scores, mean_cost: float) -> Array:
        """Return the column for each task."""
        return scores.decide(self.price, mean_cost) if self.column is None else scores.always(self.column)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What a partial log says of tasks to come."""

    price_per_usd: float
    """Units of quality that a dollar must buy."""
    allowed: Mapping[str, frozenset[str]]
    """Task type to the agents that may be chosen for it; the others, and types that are not here, stay as they are."""
    predictor: Any
    """Learned from the whole log."""


def settle_partial(log: Log, *, share: float, today: str | None, fit: FitPredictor, seed: int) -> Settled:
    """Return the cheapest way that keeps this share of today's quality, chosen as `judge_partial` does for every fold.

    It allows nothing where that is to leave all tasks as they were logged.
    """
    overlap = find_overlap(log.tasks, log.agents)
    if not overlap.choosable.any():
        return Settled(price_per_usd=0.0, allowed={}, predictor=None)
    return _Estimate(log, overlap, {}, today, (share,), 2, seed, fit, lambda words: None).settle()


def judge_partial(
    log: Log,
    *,
    today: str | None,
    shares: Sequence[float],
    fit: FitPredictor,
    folds: int,
    seed: int,
    resamples: int,
    confidence: float,
    tell: Callable[[str], None],
) -> Findings | str:
    """Return what routing would have saved, or in words why nothing can be told."""
    tasks = log.tasks
    agents = log.agents
    overlap = find_overlap(tasks, agents)
    excluded = tell_excluded(tasks, overlap)
    if not overlap.choosable.any():
        return (
            f"No task type was seen with two agents often enough ({MIN_SEEN} tasks and {MIN_SHARE:.0%} of the type "
            "each). What an agent would have made of tasks that it was never given is not in this log, and no "
            "arithmetic gets it out."
        )
    if today is not None and overlap.allowed[:, agents.index(today)].mean() < FOR_ALL:
        return f"{today!r} was seen too seldom to tell what it would have reached alone. Compare with the log itself."
    return _Estimate(log, overlap, excluded, today, shares, folds, seed, fit, tell).judge(resamples, confidence)


class _Estimate:
    """One estimate under way: the folds, their scores, and what was chosen in them."""

    def __init__(
        self,
        log: Log,
        overlap: Overlap,
        excluded: dict[str, str],
        today: str | None,
        shares: Sequence[float],
        folds: int,
        seed: int,
        fit: FitPredictor,
        tell: Callable[[str], None],
    ) -> None:
        self._tasks, self._overlap, self._excluded = log.tasks, overlap, excluded
        self._agents, self._today, self._shares = overlap.agents, today, tuple(shares)
        self._folds, self._seed, self._fit, self._tell = folds, seed, fit, tell
        self._groups = group_tasks(self._tasks)
        self._logged = {
            "quality": np.array([outcome.quality for outcome in log.as_logged]),
            "cost": np.array([outcome.cost_usd for outcome in log.as_logged]),
        }
        blank = LoggedOutcome(quality=0.0, cost_usd=0.0)
        found = [[task.outcomes.get(agent, blank) for agent in self._agents] for task in self._tasks]
        self._observed = {
            "quality": np.array([[outcome.quality for outcome in row] for row in found]),
            "cost": np.array([[outcome.cost_usd for outcome in row] for row in found]),
        }
        self._mean_cost = float(self._logged["cost"].mean()) or 1.0
        self._keep = len(self._agents)
        # Who may stand for all tasks. Depends on who was seen where alone, never on how it went.
        self._for_all = [column for column in range(self._keep) if overlap.allowed[:, column].mean() >= FOR_ALL]

    def settle(self) -> Settled:
        """Return what the whole log settles for the first of the shares: see `settle_partial`."""
        learned = self._score_unseen(np.arange(len(self._tasks)))
        now = self._keep if self._today is None else self._agents.index(self._today)
        today = float(_picked(learned.quality, learned.always(now)).mean())
        way = self._find_way(learned, self._shares[0] * today)
        allowed: dict[str, frozenset[str]] = {}
        for task, row in zip(self._tasks, self._overlap.allowed, strict=True):
            if task.task_type in allowed:
                continue
            columns = np.flatnonzero(row) if way.column is None else [way.column]
            names = frozenset(self._agents[at] for at in columns if at < self._keep and row[at])
            allowed[task.task_type] = names if way.column is not None or len(names) > 1 else frozenset()
        return Settled(
            price_per_usd=way.price / self._mean_cost,
            allowed={task_type: names for task_type, names in allowed.items() if names},
            predictor=self._fit(self._tasks, self._seed),
        )

    def judge(self, resamples: int, confidence: float) -> Findings:
        count = len(self._tasks)
        fold_of = split_tasks(self._tasks, self._groups, folds=self._folds, seed=self._seed)
        chosen = {share: np.full(count, self._keep) for share in self._shares}
        priced = {price: np.full(count, self._keep) for price in PRICES}
        single: dict[float, list[tuple[Array, int | None]]] = {share: [] for share in self._shares}
        mixed: dict[float, list[tuple[Array, tuple[int, int, float] | None]]] = {share: [] for share in self._shares}
        whole = {name: np.zeros((count, self._keep + 1)) for name in ("quality", "cost", "weights")}
        always = np.zeros((count, self._keep + 1), dtype=int)
        for fold in range(self._folds):
            self._tell(f"learning from {np.sum(fold_of != fold):,} tasks ({fold + 1} of {self._folds})")
            train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            learned = self._score_unseen(train)
            judged = self._score(train, test)
            for name in whole:
                whole[name][test] = getattr(judged, name)
            for column in range(self._keep + 1):
                always[test, column] = judged.always(column)
            for price in PRICES:
                priced[price][test] = judged.decide(price, self._mean_cost)
            columns = [*self._for_all, self._keep]
            means = {
                name: np.array([_picked(getattr(learned, name), learned.always(column)).mean() for column in columns])
                for name in ("quality", "cost")
            }
            now = self._now(columns)
            for share in self._shares:
                target = share * float(means["quality"][now])
                chosen[share][test] = self._find_way(learned, target).choose(judged, self._mean_cost)
                at = cheapest_single(means["quality"][:-1], means["cost"][:-1], target)
                single[share].append((test, None if at is None else columns[at]))
                mix = cheapest_mix(means["quality"][:-1], means["cost"][:-1], target)
                mixed[share].append((test, None if mix is None else (columns[mix[0]], columns[mix[1]], mix[2])))
        self._tell("resampling")
        return self._report(resamples, confidence, whole, always, chosen, priced, single, mixed)

    def _now(self, columns: Sequence[int]) -> int:
        """Return which of the columns today is."""
        return len(columns) - 1 if self._today is None else list(columns).index(self._agents.index(self._today))

    def _score(self, train: Array, test: Array) -> Scores:
        predictor = self._fit([self._tasks[index] for index in train], self._seed)
        predicted = predictor.predict([self._tasks[index] for index in test])
        return score(self._overlap, test, self._observed, self._logged, predicted)

    def _score_unseen(self, rows: Array) -> Scores:
        """Return the scores of these rows, each from a model that learned from the others of them."""
        tasks = [self._tasks[index] for index in rows]
        inner = split_tasks(
            tasks, np.unique(self._groups[rows], return_inverse=True)[1], folds=_INNER_FOLDS, seed=self._seed + 1
        )
        parts = [self._score(rows[inner != fold], rows[inner == fold]) for fold in range(_INNER_FOLDS)]
        order = np.argsort(np.concatenate([np.flatnonzero(inner == fold) for fold in range(_INNER_FOLDS)]))
        fields = ("quality", "cost", "predicted_quality", "predicted_cost", "allowed", "weights")
        return Scores(**{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in fields})

    def _find_way(self, learned: Scores, target: float) -> Way:
        """Return the cheapest way that reaches the target on the tasks that were learned from."""
        ways = [
            *(Way(price=price) for price in PRICES),
            *(Way(column=column) for column in (*self._for_all, self._keep)),
        ]
        choices = [way.choose(learned, self._mean_cost) for way in ways]
        quality = np.array([_picked(learned.quality, choice).mean() for choice in choices])
        cost = np.array([_picked(learned.cost, choice).mean() for choice in choices])
        best = cheapest_single(quality, cost, target)
        return ways[best_single(quality, cost) if best is None else best]

    def _report(
        self,
        resamples: int,
        confidence: float,
        whole: Mapping[str, Array],
        always: Array,
        chosen: Mapping[float, Array],
        priced: Mapping[float, Array],
        single: Mapping[float, Sequence[tuple[Array, int | None]]],
        mixed: Mapping[float, Sequence[tuple[Array, tuple[int, int, float] | None]]],
    ) -> Findings:
        names = (*self._agents, AS_LOGGED)
        resampler = Resampler(self._groups, seed=self._seed, resamples=resamples, confidence=confidence)
        now = self._keep if self._today is None else self._agents.index(self._today)
        quality, cost = (_picked(whole[name], always[:, now]) for name in ("quality", "cost"))
        judge = Judge(resampler, quality, cost)

        def line(name: str, choice: Array) -> Judged:
            return judge.judge(
                name,
                _picked(whole["quality"], choice),
                _picked(whole["cost"], choice),
                uses=[names[column] for column in choice],
                weights=_picked(whole["weights"], choice),
            )

        def baseline(parts: Sequence[tuple[Array, tuple[int, int, float] | None]]) -> Judged | None:
            figures = np.zeros((3, len(self._tasks)))
            found: list[tuple[str, str, float]] = []
            for test, mix in parts:
                if mix is None:
                    return None
                low, high, part = mix
                for row, name in enumerate(("quality", "cost", "weights")):
                    first, second = (_picked(whole[name][test], always[test, column]) for column in (low, high))
                    figures[row, test] = (1 - part) * first + part * second
                found.append((names[low], names[high], part))
            return judge.judge(name_mixes(found), figures[0], figures[1], weights=figures[2])

        targets = tuple(
            Target(
                quality_share=share,
                routed=line("routed", chosen[share]),
                cheapest_single=baseline(
                    [(test, None if column is None else (column, column, 1.0)) for test, column in single[share]]
                ),
                random_mix=baseline(mixed[share]),
                oracle=None,
            )
            for share in self._shares
        )
        used = [names[column] for column in chosen[middle(self._shares)]]
        return Findings(
            tasks=len(self._tasks),
            agents=self._agents,
            today=Today(
                name=names[now],
                chosen="you said so" if self._today is not None else "what was done, whoever did it",
                quality=resampler.mean(quality),
                cost_usd=float(cost.sum()),
            ),
            targets=targets,
            singles=tuple(
                sorted(
                    (line(names[column], always[:, column]) for column in self._for_all),
                    key=lambda judged: judged.cost_share.value,
                )
            ),
            curve=thin_out(line("routed", choice) for choice in priced.values()),
            by_type=shares_by_type([task.task_type for task in self._tasks], used),
            excluded=self._excluded,
            warnings=tuple(self._warn(targets)),
        )

    def _warn(self, targets: Sequence[Target]) -> list[str]:
        warnings = []
        kept = 1 - float(self._overlap.choosable.mean())
        if kept > 0:
            warnings.append(
                f"For {kept:.0%} of the tasks fewer than two agents were seen often enough within the type; routing "
                "leaves these as they were logged."
            )
        effective = min(target.routed.effective_tasks or 0.0 for target in targets)
        if effective < FEW_EFFECTIVE:
            warnings.append(
                f"Some figures rest on {effective:.0f} effective tasks only: too few to trust even their intervals."
            )
        uneven = find_uneven(self._tasks, self._overlap)
        if uneven is not None:
            warnings.append(uneven)
        return warnings


def _picked(values: Array, choice: Array) -> Array:
    picked: Array = values[np.arange(len(values)), choice]
    return picked
