"""Makes a plan cheaper by moving two tasks at a time, while every limit but that on cost stays kept. Proves nothing.

Moves of single tasks, which `lagrangian` makes, get stuck where a limit is used up: whoever takes the cheaper agent
there must find another task that gives back the place, the quality or the seconds. So the moves here are pairs: one
task takes a cheaper candidate and another one pays for it; a pair whose second part changes nothing is a single move.
All pairs of the candidates that are best at the prices are compared at once, the one that saves most is made, until
none saves anything.

Deterministic: it counts moves, and a clock only says when to stop.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .assignment import TOLERANCE, Assignment
from .tables import Array, ProblemArrays, Timetable

_MOVES = 200
_CHUNK = 400
_TRIED = 400
"""Pairs, the largest saving first, whose chains are measured before a plan counts as done."""
_MOST = 600
"""Candidates that are paired: 600 make 360,000 pairs, 3 ms a move."""


def improve_by_pairs(
    tables: ProblemArrays,
    alive: Array,
    above: Array,
    start: Assignment,
    *,
    each: int = 4,
    is_over: Callable[[], bool] = lambda: False,
) -> Assignment:
    """Return a plan that costs no more, and from which no pair of moves saves anything.

    Args:
        tables: The problem.
        alive: The candidates that may be taken.
        above: What each candidate's reduced cost is above the least of its task: the lowest are tried.
        start: A plan that keeps all limits, cost aside.
        each: How many candidates of a task are tried, on average.
        is_over: Tells when time is up.
    """
    search = _PairSearch(tables, alive, above, start, min(_MOST, each * tables.n))
    for _ in range(_MOVES):
        if is_over() or not search.move():
            break
    return tables.choice(search.chosen)


class _PairSearch:
    def __init__(self, tables: ProblemArrays, alive: Array, above: Array, start: Assignment, most: int) -> None:
        self.tables, self.chosen = tables, np.array(start)
        values = np.where(alive, above, np.inf)
        values[tables.rows, self.chosen] = -np.inf  # a task that stays as it is, is half of a single move
        flat = np.argsort(values, axis=None, kind="stable")[: max(most, tables.n)]
        flat = np.sort(flat[values.ravel()[flat] < np.inf])
        self.task, self.at = np.divmod(flat, tables.width)
        self.cost = tables.cost.ravel()[flat]
        self.quality = tables.quality.ravel()[flat]
        self.seconds = tables.seconds.ravel()[flat]
        agents = len(tables.scarce)
        self.uses = np.zeros((len(flat), agents + 1))
        for layer in tables.agents:
            self.uses[np.arange(len(flat)), layer.ravel()[flat]] = 1.0
        self.uses = self.uses[:, :agents]
        self.where = np.full((tables.n, tables.width), -1)
        self.where[self.task, self.at] = np.arange(len(flat))
        self.apart = self.task[:, None] < self.task[None, :]
        self.load = tables.load(self.chosen)
        self.latest = np.inf if tables.deadline is None else tables.deadline * (1 + TOLERANCE)
        self.times = Timetable(tables, tables.seconds[tables.rows, self.chosen].tolist())

    def move(self) -> bool:
        """Make the pair of moves that saves most; False where none saves anything."""
        tables = self.tables
        now = self.where[tables.rows, self.chosen][self.task]
        saved = self.cost[now] - self.cost
        lost = self.quality[now] - self.quality
        slower = self.seconds - self.seconds[now]
        shifts = self.uses - self.uses[now]
        slack = float(tables.quality[tables.rows, self.chosen].sum()) - tables.needed
        least = 1e-9 * max(1e-6, float(self.cost[now].max(initial=0.0)))
        gain = saved[:, None] + saved[None, :]
        good = self.apart & (gain > least)
        if tables.needed:
            good &= lost[:, None] + lost[None, :] <= slack
        one, other = np.nonzero(good)
        order = np.argsort(-gain[one, other], kind="stable")
        tried = 0
        for begin in range(0, len(order), _CHUNK):
            some = order[begin : begin + _CHUNK]
            firsts, seconds = one[some], other[some]
            if self.load.size:
                after = self.load + shifts[firsts] + shifts[seconds]
                fits = (after <= np.maximum(tables.capacity, self.load)).all(axis=1)
                firsts, seconds = firsts[fits], seconds[fits]
            for first, second in zip(firsts.tolist(), seconds.tolist(), strict=True):
                tried += 1
                if self._is_in_time(first, second, max(slower[first], slower[second]) > 0):
                    self.load = self.load + shifts[first] + shifts[second]
                    for entry in (first, second):
                        self.chosen[self.task[entry]] = self.at[entry]
                    return True
            if tried >= _TRIED:
                break
        return False

    def _is_in_time(self, first: int, second: int, is_slower: bool) -> bool:
        """Make both moves in the timetable; take them back where a chain becomes too long."""
        if self.tables.deadline is None:
            return True
        changes = [(int(self.task[entry]), float(self.seconds[entry])) for entry in (first, second)]
        before = [(t, self.times.seconds[t]) for t, _ in changes]
        for t, seconds in changes:
            self.times.change(t, seconds)
        if not is_slower or self.times.length() <= self.latest:
            return True
        for t, seconds in before:
            self.times.change(t, seconds)
        return False
