"""The assignment problem as a mixed-integer program, solved by HiGHS: exact, with a proven bound, within a time limit.

    x[t,a] in {0, 1}     task t is done by its candidate a;  sum over a of x[t,a] = 1
    f[t] >= f[p] + sum over a of seconds[t,a] * x[t,a]       t is done after each task p before it;  f[t] <= max_seconds

Several graphs that share agents are one program, in which each keeps limits of its own: see `Part`.

The finish-time variables f are continuous; they exist only where time matters. Tasks that are alike are one row, and
counted: see `alike`. HiGHS keeps constraints to 1e-9 here, so costs and times are scaled to about 1 first; what comes
back is checked again by the caller, in plain floats.

A large plan is never given to HiGHS whole: that takes minutes, whatever the time limit. `relax` solves the linear
program by column generation: over a few candidates of each task, then over those besides that its duals find worth
taking, until there are none. The duals are prices for `lagrangian`, whose bound holds for any prices, so nothing rests
on how exactly HiGHS solved the program. `minimize` then decides among the candidates that a better plan can contain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .alike import Folded, fold
from .assignment import Assignment, Limits
from .lagrangian import Prices
from .tables import Array, ProblemArrays

Goal = Literal["cost", "seconds", "quality", "lack", "excess"]
"""What to minimise: cost; the critical path; quality lost; quality below the tasks' floors; tasks too many."""

_ROUNDS = 12
_PER_ROUND = 4
"""Candidates of a task that join the linear program at a time, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Tasks that keep limits on cost, time and quality together: one graph of several."""

    begin: int
    end: int
    """The tasks from `begin` to before `end`."""
    limits: Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class MipResult:
    """What the solver found."""

    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    """`feasible`: a plan, but not proven the best in time; `unknown`: neither plan nor proof in time."""
    choice: Assignment | None
    bound: float
    """No plan of these candidates has a lower objective, in the units of the goal."""


def minimize(
    tables: ProblemArrays,
    alive: Array,
    goal: Goal = "cost",
    *,
    limits: Limits,
    time_limit_s: float,
    gap: float = 0.0,
    start: Assignment | None = None,
    parts: Sequence[Part] = (),
    may_exceed: Collection[str] | None = None,
    nodes: int | None = None,
) -> MipResult:
    """Minimise the goal over the candidates alive, within these limits; capacities are those of the tables.

    Args:
        start: A plan to improve on.
        parts: The graphs that the tasks belong to, where there are several; `limits` are then theirs.
        may_exceed: Whose capacities may be exceeded where that is what is minimised; None: everyone's.
        nodes: How many nodes the search may take; None: as many as it has time for.
    """
    import highspy  # 60 ms: only where a plan needs it

    folded = fold(tables, alive) if goal != "seconds" and not parts else Folded.apart(tables)
    tables, alive = folded.tables, folded.alive(alive)
    model = _Model(tables, alive, goal, limits, parts, may_exceed)
    highs = _solver(highspy, time_limit_s)
    highs.setOptionValue("mip_rel_gap", gap)
    highs.setOptionValue("mip_abs_gap", 1e-9)
    highs.setOptionValue("mip_feasibility_tolerance", 1e-9)
    if nodes is not None:
        highs.setOptionValue("mip_max_nodes", nodes)
    # Where a good plan is known, HiGHS's own searches for one find little: without them and its restarts, plans of 20
    # to 200 tasks took half of the time. The first of them took 11 of 14 ms on plans of 20 tasks, and never found any.
    highs.setOptionValue("mip_heuristic_run_feasibility_jump", False)
    if start is not None:
        # Cuts below the root made the search of such plans a tenth slower.
        for option in (
            "mip_heuristic_run_rins",
            "mip_heuristic_run_rens",
            "mip_allow_restart",
            "mip_allow_cut_separation_at_nodes",
        ):
            highs.setOptionValue(option, False)
    columns = np.flatnonzero(alive)
    highs.passModel(model.build(highspy, columns, integer=True))
    if start is not None:
        counts = folded.counts(start).ravel()
        chosen = np.flatnonzero(counts)
        at = (model.extra + np.searchsorted(columns, chosen)).astype(np.int32)
        highs.setSolution(len(at), at, counts[chosen])
    highs.run()

    status, info = highs.getModelStatus(), highs.getInfo()
    if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
        return MipResult(status="infeasible", choice=None, bound=float("inf"))
    solved = status == highspy.HighsModelStatus.kOptimal
    choice = None
    if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
        values = np.zeros((tables.n, tables.width))
        values.ravel()[columns] = np.asarray(highs.getSolution().col_value)[model.extra :]
        choice = folded.choice(values)
    bound = info.mip_dual_bound if np.isfinite(info.mip_dual_bound) else 0.0
    return MipResult(
        status="optimal" if solved and choice is not None else "feasible" if choice is not None else "unknown",
        choice=choice,
        bound=max(0.0, float(bound)) * model.scale,
    )


def relax(
    tables: ProblemArrays,
    alive: Array,
    prices: Prices,
    *,
    limits: Limits,
    start: Assignment | None,
    precision: float,
    remaining: Callable[[], float],
) -> Prices:
    """Return prices whose bound comes within `precision`, relative, of the linear relaxation's, if time allows.

    Begins with the candidates that are best at the prices given, and those of `start`. `remaining` tells how many
    seconds there are.
    """
    import highspy  # see `minimize`

    reduced = prices.reduced(tables, alive)
    best, bound = prices, prices.bound(tables, reduced)
    taken = np.zeros_like(alive)
    for column in range(min(2 * _PER_ROUND, tables.width)):
        taken[tables.rows, np.argpartition(reduced, column, axis=1)[:, column]] = True
    for table in (tables.seconds, -tables.quality):
        taken[tables.rows, np.where(alive, table, np.inf).argmin(axis=1)] = True
    if start is not None:
        taken[tables.rows, np.array(start)] = True
    taken &= alive

    model = _Model(tables, alive, "cost", limits)
    highs = _solver(highspy, remaining())
    highs.passModel(model.build(highspy, np.flatnonzero(taken), integer=False))
    for _ in range(_ROUNDS):
        if remaining() <= 0:
            break
        highs.setOptionValue("time_limit", highs.getRunTime() + remaining())
        highs.run()
        if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            break
        prices = model.prices(np.asarray(highs.getSolution().row_dual))
        reduced = prices.reduced(tables, alive)
        value = prices.bound(tables, reduced)
        if value > bound:
            best, bound = prices, value
        if highs.getInfo().objective_function_value * model.scale - bound <= precision * bound:
            break
        worth = reduced - np.where(taken, reduced, np.inf).min(axis=1)[:, None]
        worth[taken] = 0.0
        new = np.zeros_like(taken)
        for column in range(min(_PER_ROUND, tables.width)):
            at = np.argpartition(worth, column, axis=1)[:, column]
            new[tables.rows, at] |= worth[tables.rows, at] < -1e-12
        if not new.any():
            break
        taken |= new
        columns = np.flatnonzero(new)
        starts, indices, values = model.columns(columns)
        m = len(columns)
        highs.addCols(
            m,
            tables.cost.ravel()[columns] / model.scale,
            np.zeros(m),
            np.full(m, np.inf),
            len(indices),
            starts[:-1],
            indices,
            values,
        )
    return best


def _solver(highspy: Any, time_limit_s: float) -> Any:
    highs = highspy.Highs()
    options: dict[str, Any] = {
        "output_flag": False,
        "parallel": "off",
        "threads": 1,
        "random_seed": 0,
        "time_limit": max(time_limit_s, 0.001),
        "primal_feasibility_tolerance": 1e-9,
    }
    for option, value in options.items():
        highs.setOptionValue(option, value)
    return highs


class _Model:
    """Rows for the limits, and the entries that every column has in them.

    The first `extra` columns are the times, the end, and the places too many; those of the candidates come after them.
    Rows: one for each task; cost, quality, of each part; one for each scarce agent; one for each edge, and for each
    task without one.
    """

    def __init__(
        self,
        tables: ProblemArrays,
        alive: Array,
        goal: Goal,
        limits: Limits,
        parts: Sequence[Part] = (),
        may_exceed: Collection[str] | None = None,
    ) -> None:
        self.tables, self.goal = tables, goal
        n, agents = tables.n, len(tables.scarce)
        # The cost of the whole is what is minimised: a limit on it is no row.
        holds_cost = bool(parts) or goal != "cost"
        self.parts = tuple(parts) or (Part(begin=0, end=n, limits=limits),)
        self.part_of = np.repeat(np.arange(len(self.parts)), [part.end - part.begin for part in self.parts])
        self.cost_scale = float(tables.cost[alive].max(initial=0.0)) or 1.0
        self.time_scale = float(tables.seconds.max(initial=0.0)) or 1.0
        self.scale = {"cost": self.cost_scale, "seconds": self.time_scale}.get(goal, 1.0)
        in_time = np.array([goal == "seconds" or part.limits.max_seconds is not None for part in self.parts])
        self.timed = bool(in_time.any())
        self.costed = np.array([holds_cost and part.limits.max_cost is not None for part in self.parts])
        self.judged = np.array([goal != "quality" and part.limits.min_quality > 0 for part in self.parts])

        self.cost_row, self.quality_row = n, n + len(self.parts)
        self.agent_row = self.quality_row + len(self.parts)
        self.time_row = self.agent_row + agents
        timed = (in_time[self.part_of] & tables.timed).tolist()
        edges = [(t, p) for t, before in enumerate(tables.before) if timed[t] for p in (before or (-1,))]
        self.after = np.array([t for t, _ in edges], dtype=np.intp)
        self.before = np.array([p for _, p in edges], dtype=np.intp)
        self.counts = np.bincount(self.after, minlength=n)
        self.firsts = np.cumsum(self.counts) - self.counts
        rows = self.time_row + len(edges)

        self.row_lower, self.row_upper = np.full(rows, -np.inf), np.full(rows, np.inf)
        self.row_lower[:n] = self.row_upper[:n] = tables.sizes
        for number, part in enumerate(self.parts):
            if self.costed[number] and part.limits.max_cost is not None:
                self.row_upper[self.cost_row + number] = part.limits.max_cost / self.cost_scale
            if self.judged[number]:
                counted = int(tables.sizes[part.begin : part.end] @ tables.counts[part.begin : part.end])
                self.row_lower[self.quality_row + number] = part.limits.min_quality * counted
        self.row_upper[self.agent_row : self.time_row] = tables.capacity
        self.row_lower[self.time_row :] = 0.0

        # Columns that are no candidates: costs, upper bounds, and entries (row, column, value).
        self.extra_cost: list[float] = []
        self.extra_lower: list[float] = []
        self.extra_upper: list[float] = []
        self.entries: list[tuple[int, int, float]] = []
        if self.timed:
            self._add_times()
        if goal == "seconds":
            self._add_end()
        if goal == "excess":
            for agent, name in enumerate(tables.scarce):
                if may_exceed is None or name in may_exceed:
                    self.entries.append((self.agent_row + agent, len(self.extra_cost), -1.0))
                    self._extra(1.0, 0.0, np.inf)
        self.extra = len(self.extra_cost)

    def build(self, highspy: Any, columns: Array, *, integer: bool) -> Any:
        """Return HiGHS's model of these candidates, given by their places in the flattened tables."""
        starts, indices, values = self.columns(columns)
        by_column = sorted(self.entries, key=lambda entry: entry[1])
        counts = np.bincount([column for _, column, _ in by_column], minlength=self.extra)[: self.extra]
        m = len(columns)
        lp = highspy.HighsLp()
        lp.num_col_ = self.extra + m
        lp.num_row_ = len(self.row_lower)
        lp.col_cost_ = np.concatenate([self.extra_cost, self._objective().ravel()[columns]])
        lp.col_lower_ = np.concatenate([self.extra_lower, np.zeros(m)])
        most = self.tables.sizes[columns // self.tables.width] if integer else np.full(m, np.inf)
        lp.col_upper_ = np.concatenate([self.extra_upper, most])
        lp.row_lower_, lp.row_upper_ = self.row_lower, self.row_upper
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        before = np.concatenate([[0], np.cumsum(counts)])
        lp.a_matrix_.start_ = np.concatenate([before[:-1], before[-1] + starts]).astype(np.int32)
        lp.a_matrix_.index_ = np.concatenate([[row for row, _, _ in by_column], indices]).astype(np.int32)
        lp.a_matrix_.value_ = np.concatenate([[value for _, _, value in by_column], values])
        if integer:
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[0]] * self.extra + [kinds[1]] * m
        return lp

    def columns(self, columns: Array) -> tuple[Array, Array, Array]:
        """Return the entries of candidates' columns: where each column starts, rows, values."""
        tables, m = self.tables, len(columns)
        task, every = columns // tables.width, np.arange(m)
        rows, owners, values = [task], [every], [np.ones(m)]

        def add(row: Array, owner: Array, value: Array) -> None:
            used = value != 0
            rows.append(row[used])
            owners.append(owner[used])
            values.append(value[used])

        part = self.part_of[task]
        cost = tables.cost.ravel()[columns] / self.cost_scale
        add(self.cost_row + part, every, np.where(self.costed[part], cost, 0.0))
        add(self.quality_row + part, every, np.where(self.judged[part], tables.quality.ravel()[columns], 0.0))
        for layer in tables.agents:
            agent = layer.ravel()[columns]
            add(self.agent_row + agent, every, (agent < len(tables.scarce)).astype(float))
        if self.timed:
            counts = self.counts[task]
            owner = np.repeat(every, counts)
            nth = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
            row = self.time_row + self.firsts[task[owner]] + nth
            add(row, owner, -tables.seconds.ravel()[columns][owner] / self.time_scale)

        owner = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=m))]).astype(np.int32)
        return starts, np.concatenate(rows)[order].astype(np.int32), np.concatenate(values)[order]

    def prices(self, duals: Array) -> Prices:
        """Return the prices that a linear program's duals are, of one graph.

        Any prices of the right sign make a true bound: W is the least that the times, each between its earliest and
        latest, can make of the edges' prices.
        """
        tables, unit = self.tables, self.cost_scale / self.time_scale
        flow = np.maximum(0.0, duals[self.time_row :]) * unit
        into = np.bincount(self.after, weights=flow, minlength=tables.n)
        inner = self.before >= 0
        out = np.bincount(self.before[inner], weights=flow[inner], minlength=tables.n)
        time = 0.0
        if self.timed:
            net = out - into
            lower, upper = np.array(self.extra_lower[: tables.n]), np.array(self.extra_upper[: tables.n])
            time = -float(np.where(net > 0, net * lower, net * upper).sum()) * self.time_scale
        quality = max(0.0, float(duals[self.quality_row])) * self.cost_scale if self.judged[0] else 0.0
        return Prices(
            quality=quality,
            agents=np.maximum(0.0, -duals[self.agent_row : self.time_row]) * self.cost_scale,
            seconds=into,
            time=time,
        )

    def _objective(self) -> Array:
        tables = self.tables
        if self.goal == "cost":
            return np.where(tables.exists, tables.cost, 0.0) / self.cost_scale
        if self.goal == "quality":
            return 1.0 - tables.quality
        return tables.lack if self.goal == "lack" else np.zeros_like(tables.cost)

    def _add_times(self) -> None:
        tables = self.tables
        shortest = np.where(tables.exists, tables.seconds, np.inf).min(axis=1) * tables.sizes
        earliest = np.array(tables.heads(shortest.tolist())) + shortest
        upper = np.full(tables.n, np.inf)
        tails = np.array(tables.tails(shortest.tolist()))
        for part in self.parts:
            if self.goal != "seconds" and part.limits.max_seconds is not None:
                upper[part.begin : part.end] = part.limits.max_seconds - tails[part.begin : part.end]
        lower = np.minimum(earliest, upper) * (1 - 1e-12)
        for t in range(tables.n):
            self._extra(0.0, float(lower[t]) / self.time_scale, float(upper[t]) / self.time_scale)
        for row, (t, p) in enumerate(zip(self.after.tolist(), self.before.tolist(), strict=True)):
            self.entries.append((self.time_row + row, t, 1.0))
            if p >= 0:
                self.entries.append((self.time_row + row, p, -1.0))

    def _add_end(self) -> None:
        end = len(self.extra_cost)
        self._extra(1.0, 0.0, np.inf)
        for t in range(self.tables.n):
            row = len(self.row_lower)
            self.row_lower, self.row_upper = np.append(self.row_lower, 0.0), np.append(self.row_upper, np.inf)
            self.entries += [(row, end, 1.0), (row, t, -1.0)]

    def _extra(self, cost: float, lower: float, upper: float) -> None:
        self.extra_cost.append(cost)
        self.extra_lower.append(lower)
        self.extra_upper.append(upper)
