"""Folds tasks that are alike into one row of the tables, so that a solver counts them instead of telling them apart.

Two tasks are alike if their candidates have the same figures and places, and if it does not matter which of them takes
which candidate. That is so in two cases:

    in one segment    between two forks the tasks of a chain run one after the other, so only the sum of their times
                      matters, in whatever order
    never late        whatever candidates are taken, no chain through the task is too long

A hundred tasks alike have the same plans a hundred factorial times, which a branch-and-bound search would go through.
Parallel tasks that can be late stay apart: the longest of them matters, which is no sum. Solves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .assignment import Assignment
from .tables import Array, ProblemArrays


@dataclass(frozen=True, kw_only=True, slots=True)
class Folded:
    """Tables with one row for each group of tasks that are alike, and the way back."""

    tables: ProblemArrays
    group: Array
    """For every task the row that it is counted in."""

    @classmethod
    def apart(cls, tables: ProblemArrays) -> Folded:
        """Return the tables as they are: every task by itself."""
        return cls(tables=tables, group=tables.rows)

    def alive(self, alive: Array) -> Array:
        """Return which candidates at least one task of the group may take."""
        folded = np.zeros((self.tables.n, self.tables.width), dtype=bool)
        np.logical_or.at(folded, self.group, alive)
        return folded

    def counts(self, choice: Assignment) -> Array:
        """Return how many tasks of each group take each candidate."""
        counts = np.zeros((self.tables.n, self.tables.width))
        np.add.at(counts, (self.group, np.array(choice)), 1.0)
        return counts

    def choice(self, counts: Array) -> Assignment:
        """Return a choice of all tasks with these counts."""
        whole = np.rint(counts).astype(np.intp)
        for row in np.flatnonzero(whole.sum(axis=1) != self.tables.sizes):
            # Beyond the solver's precision; the caller checks every plan.
            whole[row] = 0
            whole[row, counts[row].argmax()] = self.tables.sizes[row]
        chosen = np.zeros(len(self.group), dtype=np.intp)
        every = np.tile(np.arange(self.tables.width), self.tables.n)
        chosen[np.argsort(self.group, kind="stable")] = np.repeat(every, whole.ravel())
        return tuple(chosen.tolist())


def fold(tables: ProblemArrays, alive: Array) -> Folded:
    """Return the tables with tasks folded that are alike.

    Args:
        tables: One row for each task.
        alive: The candidates that may be taken.
    """
    figures = np.concatenate(
        [tables.cost, tables.seconds, tables.quality, tables.lack, *tables.agents, tables.counts[:, None]], axis=1
    )
    kinds: dict[bytes, int] = {}
    kind = [kinds.setdefault(row.tobytes(), len(kinds)) for row in figures]
    # A task may get whatever candidate one of its kind may take.
    slowest = np.zeros(len(kinds))
    np.maximum.at(slowest, kind, np.where(alive, tables.seconds, 0.0).max(axis=1))
    longest = slowest[kind]
    latest = np.inf if tables.deadline is None else tables.deadline
    is_free = np.array(tables.waiting(longest.tolist())) + longest <= latest

    segment: list[int] = []
    rows: dict[tuple[int, int], int] = {}
    group: list[int] = []
    for t, before in enumerate(tables.before):
        follows = len(before) == 1 and len(tables.after[before[0]]) == 1 and not is_free[before[0]]
        segment.append(segment[before[0]] if follows else t)
        # Free tasks have no place in time: all of a kind are in one row.
        key = (-1 if is_free[t] else segment[t], kind[t])
        group.append(rows.setdefault(key, len(rows)))

    # Within a segment its groups follow each other in the order of their first tasks.
    first = np.unique(group, return_index=True)[1]
    last_of: dict[int, int] = {}
    before_of: list[tuple[int, ...]] = []
    for row, t in enumerate(first.tolist()):
        if is_free[t]:
            before_of.append(())
            continue
        start = segment[t]
        inside = last_of.get(start)
        outside = tuple(sorted({last_of[segment[p]] for p in tables.before[start] if not is_free[p]}))
        before_of.append(outside if inside is None else (inside,))
        last_of[start] = row
    sizes = np.bincount(group)
    return Folded(
        tables=tables.select(first, sizes=sizes, before=before_of, timed=~is_free[first]), group=np.array(group)
    )
