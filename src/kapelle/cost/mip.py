"""The assignment problem as a mixed-integer program, solved by HiGHS: exact, with a proven bound, within a time limit.

    x[t,a] in {0, 1}     task t is done by its candidate a;  sum over a of x[t,a] = 1
    f[t] >= f[p] + sum over a of seconds[t,a] * x[t,a]       t is done after each task p before it;  f[t] <= max_seconds

The start-time variables f are continuous; they exist only where time matters. HiGHS keeps constraints to 1e-9 here, so
costs and times are scaled to about 1 first; what comes back is checked again by the caller, in plain floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .assignment import Choice, Limits, Problem

Goal = Literal["cost", "tie", "seconds", "quality", "excess"]
"""What to minimise: cost; quality lost, then seconds, then changes; the critical path; quality lost; tasks too many."""

# The weights of the criteria for ties in one objective: 1e-4 of a task's success outweighs all seconds, 1e-3 of all
# seconds outweighs all changes. HiGHS prices to 1e-7, so one change of a hundred must weigh more than that.
_LOST_WEIGHT, _SECONDS_WEIGHT, _CHANGE_WEIGHT = 1e4, 1.0, 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class MipResult:
    """What the solver found."""

    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    """`feasible`: a plan, but not proven the best in time; `unknown`: neither plan nor proof in time."""
    choice: Choice | None
    bound: float
    """No plan has a lower objective, in the units of the goal."""


def minimize(
    problem: Problem,
    goal: Goal,
    *,
    limits: Limits,
    time_limit_s: float,
    gap: float = 0.0,
    start: Choice | None = None,
) -> MipResult:
    """Minimise the goal within these limits (those of the problem are ignored); `start` is a plan to improve on."""
    import highspy  # 60 ms: only where a plan needs it

    model = _Model(problem, goal, limits)
    highs = highspy.Highs()  # type: ignore[no-untyped-call]  # highspy is typed in part
    options: dict[str, Any] = {
        "output_flag": False,
        "parallel": "off",
        "mip_heuristic_run_feasibility_jump": False,  # it took 11 of 14 ms on plans of 20 tasks, and found nothing
        "random_seed": 0,
        "time_limit": max(time_limit_s, 0.001),
        "mip_rel_gap": gap,
        "mip_abs_gap": 1e-9,
        "mip_feasibility_tolerance": 1e-9,
        "primal_feasibility_tolerance": 1e-9,
    }
    for option, value in options.items():
        highs.setOptionValue(option, value)
    highs.passModel(model.build(highspy))
    if start is not None:
        columns = np.array([begin + at for begin, at in zip(model.first, start, strict=True)], dtype=np.int32)
        highs.setSolution(len(columns), columns, np.ones(len(columns)))
    highs.run()

    status = highs.getModelStatus()
    info = highs.getInfo()
    if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
        return MipResult(status="infeasible", choice=None, bound=float("inf"))
    solved = status == highspy.HighsModelStatus.kOptimal
    choice = None
    if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
        choice = model.read(np.asarray(highs.getSolution().col_value))
    bound = info.mip_dual_bound if np.isfinite(info.mip_dual_bound) else 0.0
    return MipResult(
        status="optimal" if solved and choice is not None else "feasible" if choice is not None else "unknown",
        choice=choice,
        bound=max(0.0, float(bound)) * model.scale,
    )


class _Model:
    """Columns and rows in the order that HiGHS wants them; `first[t]` is the column of task t's first candidate."""

    def __init__(self, problem: Problem, goal: Goal, limits: Limits) -> None:
        self.costs: list[float] = []
        self.upper: list[float] = []
        self.integer: list[bool] = []
        self.row_lower: list[float] = []
        self.row_upper: list[float] = []
        self.row_start = [0]
        self.indices: list[int] = []
        self.values: list[float] = []
        self.first: list[int] = []
        self.counts: list[int] = []

        slots = problem.slots
        cost_scale = max((one.cost for slot in slots for one in slot.candidates), default=0.0) or 1.0
        time_scale = max((one.seconds for slot in slots for one in slot.candidates), default=0.0) or 1.0
        all_seconds = sum(max(one.seconds for one in slot.candidates) for slot in slots) or 1.0
        self.scale = {"cost": cost_scale, "seconds": time_scale}.get(goal, 1.0)

        def objective(position: int, cost: float, seconds: float, quality: float, counts: bool) -> float:
            lost = (1 - quality) if counts else 0.0
            if goal == "cost":
                return cost / cost_scale
            if goal == "quality":
                return lost
            if goal == "tie":
                changed = _CHANGE_WEIGHT * (position > 0) / len(slots)
                return _LOST_WEIGHT * lost + _SECONDS_WEIGHT * seconds / all_seconds + changed
            return 0.0

        for slot in slots:
            self.first.append(len(self.costs))
            self.counts.append(len(slot.candidates))
            for position, one in enumerate(slot.candidates):
                self._column(
                    objective(position, one.cost, one.seconds, one.quality, slot.counts), upper=1, integer=True
                )
            self._row(1, 1, [(self.first[-1] + at, 1.0) for at in range(len(slot.candidates))])

        if limits.max_cost is not None and goal != "cost":
            terms = [(self.first[t] + a, one.cost / cost_scale) for t, a, one in _all_candidates(problem)]
            self._row(-np.inf, limits.max_cost / cost_scale, terms)
        if limits.min_quality > 0 and goal != "quality":
            terms = [(self.first[t] + a, one.quality) for t, a, one in _all_candidates(problem) if slots[t].counts]
            self._row(limits.min_quality * sum(slot.counts for slot in slots), np.inf, terms)
        for agent, capacity in limits.capacity.items():
            terms = [(self.first[t] + a, 1.0) for t, a, one in _all_candidates(problem) if agent in one.occupied]
            if goal == "excess":
                terms.append((self._column(1.0, upper=np.inf), -1.0))
            self._row(-np.inf, capacity, terms)
        if goal == "seconds" or limits.max_seconds is not None:
            latest = np.inf if goal == "seconds" or limits.max_seconds is None else limits.max_seconds / time_scale
            self._add_times(problem, time_scale, latest, minimize_end=goal == "seconds")

    def build(self, highspy: Any) -> Any:
        lp = highspy.HighsLp()
        lp.num_col_ = len(self.costs)
        lp.num_row_ = len(self.row_lower)
        lp.col_cost_ = np.array(self.costs)
        lp.col_lower_ = np.zeros(len(self.costs))
        lp.col_upper_ = np.array(self.upper, dtype=float)
        lp.row_lower_ = np.array(self.row_lower, dtype=float)
        lp.row_upper_ = np.array(self.row_upper, dtype=float)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.array(self.row_start, dtype=np.int32)
        lp.a_matrix_.index_ = np.array(self.indices, dtype=np.int32)
        lp.a_matrix_.value_ = np.array(self.values, dtype=float)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[integer] for integer in self.integer]
        return lp

    def read(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> Choice:
        return tuple(
            int(np.argmax(values[begin : begin + count])) for begin, count in zip(self.first, self.counts, strict=True)
        )

    def _add_times(self, problem: Problem, scale: float, latest: float, *, minimize_end: bool) -> None:
        end = self._column(1.0, upper=np.inf) if minimize_end else None
        finish = [self._column(0.0, upper=latest) for _ in problem.slots]
        for t, slot in enumerate(problem.slots):
            work = [(self.first[t] + at, -one.seconds / scale) for at, one in enumerate(slot.candidates)]
            if not slot.before:
                self._row(0, np.inf, [(finish[t], 1.0), *work])
            for before in slot.before:
                self._row(0, np.inf, [(finish[t], 1.0), (finish[before], -1.0), *work])
            if end is not None:
                self._row(0, np.inf, [(end, 1.0), (finish[t], -1.0)])

    def _column(self, cost: float, *, upper: float, integer: bool = False) -> int:
        self.costs.append(cost)
        self.upper.append(upper)
        self.integer.append(integer)
        return len(self.costs) - 1

    def _row(self, lower: float, upper: float, terms: Sequence[tuple[int, float]]) -> None:
        self.indices.extend(column for column, value in terms if value)
        self.values.extend(value for _, value in terms if value)
        self.row_start.append(len(self.indices))
        self.row_lower.append(lower)
        self.row_upper.append(upper)


def _all_candidates(problem: Problem) -> list[tuple[int, int, Any]]:
    return [(t, at, one) for t, slot in enumerate(problem.slots) for at, one in enumerate(slot.candidates)]
