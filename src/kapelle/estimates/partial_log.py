"""What a log says of agents and types where only some agents were seen at a task: tables, means, lines of cost.

What the others would have done is filled in: how hard a task is by its words, how good an agent is beyond that (found
in turns), and how those that were seen fared at the very task. Keeps nothing: see difficulty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .features import Floats
from .forest import Forest
from .logged import LoggedTask

Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]

MIN_TASKS = 20
"""Tasks below which nothing is learned from words: every task is ordinary then."""
PRIOR_QUALITY = 0.85
"""What an agent of which nothing is known is taken for (the documented cold start)."""
PULL = 10.0
"""Outcomes that the mean of all tasks weighs in an agent's mean at one type."""
TASK_PULL = 2.0
"""Outcomes that "an ordinary task" weighs in what a task's few outcomes say of it."""
TURNS, LEVEL_TREES = 3, 80
"""Of the search for what agents and tasks are worth in a partial log, and the trees of each turn."""


@dataclass(slots=True)
class ObservedTable:
    """Observed quality and cost, as (task, agent) with NaN where an agent was not seen."""

    agents: tuple[str, ...]
    kinds: Ints
    quality: Doubles
    cost: Doubles


def tabulate(tasks: Sequence[LoggedTask], agents: tuple[str, ...], types: tuple[str, ...]) -> ObservedTable:
    shape = (len(tasks), len(agents))
    quality, cost = np.full(shape, np.nan), np.full(shape, np.nan)
    column = {agent: at for at, agent in enumerate(agents)}
    kind = {name: at for at, name in enumerate(types)}
    for row, task in enumerate(tasks):
        for agent, outcome in task.outcomes.items():
            quality[row, column[agent]], cost[row, column[agent]] = outcome.quality, outcome.cost_usd
    kinds = np.array([kind[task.task_type] for task in tasks], dtype=np.int32)
    return ObservedTable(agents=agents, kinds=kinds, quality=quality, cost=cost)


def type_means(table: ObservedTable, types: int) -> Doubles:
    """Quality by type and agent, shrunk: an agent's mean at a type, pulled toward agent + type."""
    agents = len(table.agents)
    seen = ~np.isnan(table.quality)
    values = np.where(seen, table.quality, 0.0)
    everything = float((values.sum() + PULL * PRIOR_QUALITY) / (seen.sum() + PULL)) if agents else PRIOR_QUALITY
    by_agent = (values.sum(axis=0) + PULL * everything) / (seen.sum(axis=0) + PULL)
    means = np.tile(by_agent, (types + 1, 1))
    for kind in range(types):
        here = table.kinds == kind
        count, total = seen[here].sum(axis=0), values[here].sum(axis=0)
        # How the type differs for the agents that were seen at it, against their own means.
        differs = float((total - count * by_agent).sum() / (count.sum() + PULL))
        additive = np.clip(by_agent + differs, 0.0, 1.0)
        means[kind + 1] = (total + PULL * additive) / (count + PULL)
    return means


def expect_unseen(rows: Floats, table: ObservedTable, folds: Ints, *, least: int, types: int, seed: int) -> Doubles:
    """What every agent is expected to make of every task of a partial log, fairly to agents with the hard ones.

    How hard a task is by its words, for whoever tried it, and how good each agent is beyond that are found in turns
    (backfitting). Agents' plain means would take the one that is handed the easy tasks for a good one.
    """
    seen = ~np.isnan(table.quality)
    quality = np.where(seen, table.quality, 0.0)
    tries = seen.sum(axis=1)
    better = np.zeros(quality.shape[1])
    level = np.zeros((len(rows), 1))
    for turn in range(TURNS):
        typical = np.where(seen, quality - better, 0.0).sum(axis=1) / tries
        forest = Forest.grow(
            rows, typical.astype(np.float32)[:, None], folds, least=least, seed=seed + turn, trees=LEVEL_TREES
        )
        level = forest.predict_unseen(rows, folds)
        better = np.where(seen, quality - level, 0.0).sum(axis=0) / (seen.sum(axis=0) + PULL)
    expected = level + better
    beyond = np.where(seen, quality - expected, 0.0)
    for kind in range(types):
        here = table.kinds == kind
        expected[here] += beyond[here].sum(axis=0) / (seen[here].sum(axis=0) + PULL)
    return np.clip(expected, 0.0, 1.0)


def means_of_filled(filled: Doubles, table: ObservedTable, means: Doubles) -> Doubles:
    """Quality by type and agent, of all tasks of the type and not only of those that an agent happened to get."""
    fair = means.copy()
    fair[0] = (filled.sum(axis=0) + PULL * means[0]) / (len(filled) + PULL)
    for kind in range(len(means) - 1):
        here = filled[table.kinds == kind]
        fair[kind + 1] = (here.sum(axis=0) + PULL * fair[0]) / (len(here) + PULL)
    return fair


def fill(table: ObservedTable, expected: Doubles) -> Doubles:
    """Quality with the unseen filled in: what is expected there, and how the others fared at the task."""
    seen = ~np.isnan(table.quality)
    against = np.where(seen, table.quality - expected, 0.0)
    easier = against.sum(axis=1, keepdims=True) / (seen.sum(axis=1, keepdims=True) + TASK_PULL)
    return np.where(seen, table.quality, np.clip(expected + easier, 0.0, 1.0))


def cost_lines(tasks: Sequence[LoggedTask], table: ObservedTable) -> Doubles:
    """Return by agent the line of cost over the lengths of text and context: least squares, never below zero."""
    lines = np.zeros((3, len(table.agents)))
    described = sizes(tasks)
    for column in range(len(table.agents)):
        seen = ~np.isnan(table.cost[:, column])
        cost, here = table.cost[seen, column], described[seen]
        if not len(cost):
            continue
        lines[0, column] = cost.mean()
        if len(cost) < MIN_TASKS:
            continue
        # Relative errors count alike, or a few long tasks would decide for all.
        weight = 1 / np.sqrt(1 + here[:, 1:2] + here[:, 2:3])
        scale = np.maximum(np.abs(here).max(axis=0), 1.0)
        used = [at for at in range(3) if at == 0 or np.ptp(here[:, at]) > 0]
        found = np.zeros(0)
        while used:  # what comes out below zero is left out, the worst first
            found, *_ = np.linalg.lstsq((here * weight / scale)[:, used], cost * weight[:, 0], rcond=None)
            if (found >= 0).all():
                break
            del used[int(found.argmin())]
        if used and np.isfinite(found).all():
            lines[:, column] = 0.0
            lines[used, column] = found / scale[used]
    return lines


def sizes(tasks: Sequence[LoggedTask]) -> Doubles:
    rows = [(1.0, float(len(task.text)), float(len(task.context))) for task in tasks]
    return np.array(rows, dtype=np.float64).reshape(len(tasks), 3)
