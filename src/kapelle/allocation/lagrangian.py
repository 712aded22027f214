"""A plan at once and a lower bound soon after, without a solver: prices for what is scarce, and local search.

Theory (Lagrangian relaxation, Fisher 1981). Give every limit a price instead: l for quality, u[a] for a place with a
limited agent, and w[t] for a second on task t. Then each task chooses by itself, and for any prices

    L = sum over t of min over a of (cost - l * quality + sum of u + w[t] * seconds)  +  l * Q - sum u * capacity - W

is at most the cost of the best plan, provided that no plan in time pays less than W for its seconds. Where w is a flow
of size F along chains of the graph, W = F * T: every chain's duration is at most T. Here w is built from critical paths
that are too long, each added with some weight, so it is such a flow at any time. Subgradient steps raise L; the duals
of a linear program end nearer to the best prices, see `mip`. Candidates whose reduced cost, the bracket above that of
its task's best, exceeds what a known plan costs above L are in no better plan: that is what makes large plans small.

What tasks choose under the prices nearly keeps the limits. `_Plan.repair` moves tasks until all are kept: it sheds
load, then shortens critical paths and raises quality, each by the least reduced cost for what is gained;
`_Plan.improve` moves tasks to cheaper candidates while all stays kept. If that finds no plan, it is tried from the
fastest plan, whose cost is then bought back. Even so a feasible plan can be missed: the problem is NP-hard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .assignment import TOLERANCE, Assignment
from .tables import Array, ProblemArrays, Timetable

STEPS = 120
_FIRST = (6, 14, 24)
"""Steps after which plans are tried at first: prices of a few steps already are far better than none."""
_EVERY = 24
_CHUNK = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """What the limits cost at the margin, in units of cost."""

    quality: float
    agents: Array
    seconds: Array
    """Per second on each task."""
    time: float
    """The least that any plan in time pays for its seconds, W above, negative sign included in `bound`."""

    @classmethod
    def none(cls, tables: ProblemArrays) -> Prices:
        """Return prices of zero."""
        return cls(quality=0.0, agents=np.zeros(len(tables.scarce)), seconds=np.zeros(tables.n), time=0.0)

    def reduced(self, tables: ProblemArrays, alive: Array) -> Array:
        """Return what candidates cost under the prices; infinite where they are not alive."""
        reduced: Array = tables.cost - self.quality * tables.quality + self.seconds[:, None] * tables.seconds
        if len(self.agents):
            reduced += tables.prices_of(self.agents)
        reduced[~alive] = np.inf
        return reduced

    def bound(self, tables: ProblemArrays, reduced: Array) -> float:
        """Return what no plan of the candidates alive can cost less than."""
        least = float(reduced.min(axis=1).sum())
        return least + self.quality * tables.needed - float(self.agents @ tables.capacity) - self.time


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search came to."""

    choice: Assignment | None
    """A plan that keeps the limits, cost aside."""
    bound: float
    """No such plan costs less."""
    prices: Prices
    """The prices of that bound."""


def search(
    tables: ProblemArrays,
    alive: Array,
    *,
    steps: int = STEPS,
    enough: float = 0.0,
    found: Callable[[Assignment], None] = lambda choice: None,
    is_over: Callable[[], bool] = lambda: False,
) -> Found:
    """Return the best plan and bound of some subgradient steps, fewer if they come within `enough` of each other.

    `found` is called with every plan that is better than those before; `is_over` tells when time is up.
    """
    best: Assignment | None = None
    best_cost, bound, since_rise, pace = np.inf, 0.0, 0, 1.0
    prices = best_prices = Prices.none(tables)
    scale, unit = _span(tables.quality, alive), _span(tables.seconds, alive)
    typical = float(tables.cost[alive].mean()) * tables.n or 1.0

    def attempt(reduced: Array, chosen: Array) -> None:
        nonlocal best, best_cost
        plan = _Plan(tables, alive, chosen.copy(), is_over)
        if plan.repair(reduced):
            plan.improve(reduced)
            if plan.cost() < best_cost:
                best, best_cost = tables.choice(plan.chosen), plan.cost()
                found(best)

    for step in range(steps):
        reduced = prices.reduced(tables, alive)
        chosen = reduced.argmin(axis=1)
        value = prices.bound(tables, reduced)
        if value > bound:
            bound, best_prices, since_rise = value, prices, 0
        else:
            since_rise += 1
            if since_rise >= 6:
                pace, since_rise = pace * 0.7, 0
        if step in _FIRST or step % _EVERY == _EVERY - 1 or step == steps - 1:
            attempt(reduced, chosen)
            if best is None and step == _FIRST[0]:
                attempt(*_hurry(tables, alive))
        if best_cost <= bound * (1 + enough) or is_over():
            break

        # Polyak's step towards the best known cost; each limit is measured in what one task can change of it.
        missing = (tables.needed - float(tables.quality[tables.rows, chosen].sum())) / scale
        crowd = tables.load(chosen) - tables.capacity
        late = 0.0
        path: list[int] = []
        if tables.deadline is not None:
            length, path = tables.critical_path(tables.seconds[tables.rows, chosen].tolist())
            late = (length - tables.deadline) / unit
        missing = missing if missing > 0 or prices.quality else 0.0
        crowd = np.where((crowd > 0) | (prices.agents > 0), crowd, 0.0)
        target = best_cost if np.isfinite(best_cost) else max(1.2 * bound, 0.1 * typical)
        steepness = missing**2 + float(crowd @ crowd) + max(0.0, late) ** 2
        size = pace * (target - value) / steepness if steepness > 0 and target > value else 0.0
        if not size and not prices.time:
            break
        prices = _step(
            prices,
            size * missing / scale,
            size * crowd,
            size * max(0.0, late) / unit,
            path,
            deadline=tables.deadline,
        )
    if best is None and not is_over():
        attempt(*_hurry(tables, alive))
    return Found(choice=best, bound=max(0.0, bound), prices=best_prices)


def round_prices(
    tables: ProblemArrays, alive: Array, prices: Prices, *, is_over: Callable[[], bool] = lambda: False
) -> Assignment | None:
    """Return the plan that tasks come to that choose under these prices, repaired and improved; None if that fails."""
    reduced = prices.reduced(tables, alive)
    plan = _Plan(tables, alive, reduced.argmin(axis=1), is_over)
    if not plan.repair(reduced):
        return None
    plan.improve(reduced)
    return tables.choice(plan.chosen)


def _step(
    prices: Prices, quality: float, agents: Array, second: float, path: list[int], *, deadline: float | None
) -> Prices:
    """Return the prices raised by so much, that of a second along a path."""
    seconds, time = prices.seconds, prices.time
    if second > 0:
        seconds = seconds.copy()
        seconds[path] += second
        time += second * (deadline or 0.0)
    elif time:  # no chain is late: what was paid for seconds was too much
        seconds, time = 0.9 * seconds, 0.9 * time
    return Prices(
        quality=max(0.0, prices.quality + quality),
        agents=np.maximum(0.0, prices.agents + agents),
        seconds=seconds,
        time=time,
    )


def _span(table: Array, alive: Array) -> float:
    """Return half of what separates the extreme candidates of a task, on average over the tasks; 1 if nothing does."""
    highest = np.where(alive, table, -np.inf).max(axis=1)
    lowest = np.where(alive, table, np.inf).min(axis=1)
    return float((highest - lowest).mean()) / 2 or 1.0


def _hurry(tables: ProblemArrays, alive: Array) -> tuple[Array, Array]:
    """Return the fastest candidates, and prices by which load is shed where a chain has time left."""
    fastest = np.where(alive, tables.seconds, np.inf).argmin(axis=1)
    if tables.deadline is None:
        return np.where(alive, -tables.quality, np.inf), np.where(alive, -tables.quality, np.inf).argmin(axis=1)
    waiting = np.array(tables.waiting(tables.seconds[tables.rows, fastest].tolist()))
    room = np.maximum(tables.deadline - waiting, 1e-9)
    # A task that takes all of its room is late as soon as any other one of its chain slows down.
    pressed = (tables.seconds / room[:, None]) ** 4 + 1e-3 * tables.cost / (tables.cost[alive].max() or 1.0)
    return np.where(alive, pressed, np.inf), fastest


class _Plan:
    """A choice that is moved about, with the load of each agent and the timetable kept along."""

    def __init__(self, tables: ProblemArrays, alive: Array, chosen: Array, is_over: Callable[[], bool]) -> None:
        self.tables, self.alive, self.chosen, self.is_over = tables, alive, chosen, is_over
        self.load: list[float] = [*tables.load(chosen).tolist(), 0.0]
        self.most: list[float] = [*tables.capacity.tolist(), float("inf")]
        seconds = tables.seconds[tables.rows, chosen].tolist()
        self.times = Timetable(tables, seconds) if tables.deadline is not None else None
        self.latest = (tables.deadline or 0.0) * (1 + TOLERANCE)

    def cost(self) -> float:
        return float(self.tables.cost[self.tables.rows, self.chosen].sum())

    def repair(self, reduced: Array) -> bool:
        """Move tasks until all limits but that on cost are kept; False if that gets stuck."""
        if (self.tables.lack[self.tables.rows, self.chosen] > TOLERANCE).any():
            return False  # no candidate alive is good enough for its task
        return self._shed_load(reduced) and self._get_faster(reduced) and self._get_better(reduced)

    def improve(self, reduced: Array) -> None:
        """Move tasks to cheaper candidates while all limits stay kept, the largest saving at these prices first."""
        tables = self.tables
        slack = self._quality() - tables.needed
        for _ in range(3):
            now = tables.cost[tables.rows, self.chosen][:, None]
            cheaper = self.alive & (tables.cost < now)
            if tables.deadline is not None:
                cheaper &= self._in_time()
            if slack < np.inf:
                cheaper &= tables.quality[tables.rows, self.chosen][:, None] - tables.quality <= slack
            moved = False
            costs, qualities = tables.lists.cost, tables.lists.quality
            for t, at in _ascending(reduced, cheaper, self.chosen):
                was = int(self.chosen[t])
                if costs[t][at] >= costs[t][was]:
                    continue
                loss = qualities[t][was] - qualities[t][at]
                if loss <= slack and self._fits(t, at):
                    if self.is_over():
                        return
                    self._move(t, at)
                    slack -= loss
                    moved = True
            if not moved:
                return

    def _shed_load(self, reduced: Array) -> bool:
        tables = self.tables
        for agent in range(len(tables.scarce)):
            while self.load[agent] > self.most[agent]:
                mine = np.flatnonzero((tables.agents[:, tables.rows, self.chosen] == agent).any(axis=0))
                full = np.array([load >= most for load, most in zip(self.load, self.most, strict=True)])
                allowed = np.zeros_like(self.alive)
                allowed[mine] = self.alive[mine] & ~full[tables.agents[:, mine]].any(axis=0)
                moved = False
                for t, at in _ascending(reduced, allowed, self.chosen):
                    if self.load[agent] <= self.most[agent]:
                        break
                    if agent in tables.lists.agents[t][self.chosen[t]] and self._has_places(t, at):
                        if self.is_over():
                            return False
                        self._move(t, at)
                        moved = True
                if not moved and (self.is_over() or not self._pass_on(reduced, agent)):
                    return False
        return True

    def _pass_on(self, reduced: Array, agent: int) -> bool:
        """Free a place of an agent all of whose tasks' other agents are full: its task goes to one of them, a task of
        that one to a third, until somebody has a place left. The chain costs least among those whose tasks move to
        candidates of one place (shortest augmenting path, Ahuja, Magnanti and Orlin, *Network Flows*, 1993)."""
        tables, nobody = self.tables, len(self.tables.scarce)
        simple = self.alive & ((tables.agents < nobody).sum(axis=0) <= 1)
        simple[tables.rows, self.chosen] = False
        own = tables.agents[:, tables.rows, self.chosen]
        task, at = np.nonzero(simple)
        to = tables.agents.min(axis=0)[task, at]
        to[(own[:, task] == to).any(axis=0)] = nobody  # it has the place already
        price = np.maximum(reduced[task, at] - reduced[task, self.chosen[task]], 1e-12)
        least = np.full((nobody + 1, nobody + 1), np.inf)
        for holder in own:
            np.minimum.at(least, (holder[task], to), price)
        least[nobody] = np.inf

        distance = np.full(nobody + 1, np.inf)
        distance[agent] = 0.0
        came_from = np.full(nobody + 1, -1)
        for _ in range(nobody + 1):
            through = distance[:, None] + least
            nearer = through.min(axis=0) < distance
            came_from[nearer] = through.argmin(axis=0)[nearer]
            distance[nearer] = through.min(axis=0)[nearer]
        has_place = np.array([load < most for load, most in zip(self.load, self.most, strict=True)])
        distance[~has_place] = np.inf
        end = int(distance.argmin())
        if not np.isfinite(distance[end]):
            return False
        load = self.load[agent]
        while end != agent:  # from the free place backwards, so that nobody gets too many in between
            start = int(came_from[end])
            number = int(np.where((own[:, task] == start).any(axis=0) & (to == end), price, np.inf).argmin())
            self._move(int(task[number]), int(at[number]))
            end = start
        return self.load[agent] < load

    def _get_faster(self, reduced: Array) -> bool:
        if self.times is None:
            return True
        tables = self.tables
        for _ in range(2 * tables.n):
            path = self.times.path()
            length = self.times.heads[path[0]] + self.times.seconds[path[0]]
            if length <= self.latest:
                return True
            if self.is_over():
                return False
            gain = tables.seconds[path, self.chosen[path]][:, None] - tables.seconds[path]
            price = np.maximum(reduced[path] - reduced[path, self.chosen[path]][:, None], 1e-12)
            useful = np.minimum(gain, length - self.latest + 1e-9)
            ratio = np.where((gain > 0) & self.alive[path], price / np.maximum(useful, 1e-12), np.inf)
            for flat in np.argsort(ratio, axis=None, kind="stable").tolist():
                row, at = divmod(flat, ratio.shape[1])
                if not np.isfinite(ratio[row, at]):
                    return False
                if self._has_places(path[row], at):
                    self._move(path[row], at)
                    break
            else:
                return False
        return False

    def _get_better(self, reduced: Array) -> bool:
        tables = self.tables
        missing = tables.needed - self._quality()
        enough = TOLERANCE * max(1.0, tables.needed)
        moved = True
        while missing > enough and moved:
            moved = False
            gain = tables.quality - tables.quality[tables.rows, self.chosen][:, None]
            price = np.maximum(reduced - reduced[tables.rows, self.chosen][:, None], 1e-12)
            better = (gain > 0) & self.alive & self._in_time()
            ratio = price / np.maximum(np.minimum(gain, missing), 1e-12)
            touched = set()
            for t, at in _ascending(ratio, better, None):
                if missing <= enough:
                    break
                if t not in touched and self._fits(t, at):
                    if self.is_over():
                        return False
                    self._move(t, at)
                    touched.add(t)
                    missing -= float(gain[t, at])
                    moved = True
        return missing <= enough

    def _quality(self) -> float:
        return float(self.tables.quality[self.tables.rows, self.chosen].sum())

    def _in_time(self) -> Array:
        if self.times is None:
            return self.alive
        waiting = np.array([*map(sum, zip(self.times.heads, self.times.tails, strict=True))])
        in_time: Array = self.tables.seconds <= (self.latest - waiting)[:, None]
        return in_time

    def _fits(self, t: int, at: int) -> bool:
        if not self._has_places(t, at):
            return False
        return self.times is None or (
            self.tables.lists.seconds[t][at] <= max(self.latest - self.times.waiting(t), self.times.seconds[t])
        )

    def _has_places(self, t: int, at: int) -> bool:
        load, most, agents = self.load, self.most, self.tables.lists.agents[t]
        own = agents[self.chosen[t]]
        return all(load[agent] < most[agent] or agent in own for agent in agents[at])

    def _move(self, t: int, at: int) -> None:
        lists = self.tables.lists
        for agent in lists.agents[t][self.chosen[t]]:
            self.load[agent] -= 1
        for agent in lists.agents[t][at]:
            self.load[agent] += 1
        self.chosen[t] = at
        if self.times is not None:
            self.times.change(t, lists.seconds[t][at])


def _ascending(value: Array, allowed: Array, chosen: Array | None) -> Iterator[tuple[int, int]]:
    """Yield (row, column) of the allowed entries, smallest first; with `chosen`, by what they are above that entry."""
    flat = np.flatnonzero(allowed)
    keys = value.ravel()[flat]
    if chosen is not None:
        keys = keys - value[np.arange(len(value)), chosen][flat // value.shape[1]]
    flat = flat[np.argsort(keys, kind="stable")]
    for begin in range(0, len(flat), _CHUNK):  # few are taken, and turning them all into numbers takes longest
        rows, columns = np.divmod(flat[begin : begin + _CHUNK], value.shape[1])
        yield from zip(rows.tolist(), columns.tolist(), strict=True)
