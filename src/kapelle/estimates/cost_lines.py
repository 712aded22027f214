"""What a task costs with an agent, by its lengths: one line per agent. Nothing about success: see success."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .logged import LoggedTask

Doubles = NDArray[np.float64]

MIN_TASKS = 20
"""Tasks below which an agent costs what it cost in the mean, whatever the lengths."""


def cost_lines(tasks: Sequence[LoggedTask], costs: Doubles) -> Doubles:
    """Return (3, agents): dollars for a task, and per character of its text and of its context; none below zero.

    Args:
        tasks: Their lengths count.
        costs: (tasks, agents), NaN where an agent was not seen.
    """
    lines = np.zeros((3, costs.shape[1]))
    described = sizes(tasks)
    for column in range(costs.shape[1]):
        seen = ~np.isnan(costs[:, column])
        cost, here = costs[seen, column], described[seen]
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
    """Return (tasks, 3): 1, and the characters of text and context."""
    rows = [(1.0, float(len(task.text)), float(len(task.context))) for task in tasks]
    return np.array(rows, dtype=np.float64).reshape(len(tasks), 3)
