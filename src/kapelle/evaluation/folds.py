"""Splits a log into parts to learn from and parts to judge on. Tasks of the same text never stand on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kapelle.estimates import LoggedTask

Array = npt.NDArray[Any]


def group_tasks(tasks: Sequence[LoggedTask]) -> Array:
    """Return for each task the number of its group: same words, same group; a task without words is its own."""
    numbers: dict[object, int] = {}
    return np.array(
        [
            numbers.setdefault(
                " ".join(task.text.split()).casefold() + "\x00" + task.context if task.text else index, len(numbers)
            )
            for index, task in enumerate(tasks)
        ]
    )


def split_tasks(tasks: Sequence[LoggedTask], groups: Array, *, folds: int, seed: int) -> Array:
    """Return for each task the fold in which it is judged.

    Every type is dealt out evenly; a group goes where its first task goes.
    """
    chance = np.random.default_rng(seed)
    _, first = np.unique(groups, return_index=True)
    by_type: dict[str, list[int]] = {}
    for index in chance.permutation(first):
        by_type.setdefault(tasks[index].task_type, []).append(int(index))
    fold_of_group = np.zeros(int(groups.max()) + 1, dtype=int)
    dealt = 0
    for task_type in sorted(by_type):
        for index in by_type[task_type]:
            fold_of_group[groups[index]] = dealt % folds
            dealt += 1
    result: Array = fold_of_group[groups]
    return result
