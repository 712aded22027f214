"""Several graphs at once: they share agents' capacities and one budget, and each keeps its own deadline and quality.

One after the other is not good enough: the first graph takes the places with the cheap agent even where it could do
without, and the next one pays for that, or finds no plan at all. So all of them are one model:

    minimise    the sum of all costs
    so that     every graph keeps its own constraints: cost, critical path, quality, tasks' qualities, capacities
                tasks of an agent, over all graphs, <= its shared capacity;    sum of all costs <= the shared budget

    1. alone      every graph by itself; if together they keep what is shared, that is the best there is
    2. in a row   one after the other, in several orders: a plan to start from
    3. together   HiGHS on the whole, exact within the time limit; no row limits the budget, since the cost is what is
                  minimised: if the least cost is above it, that is the proof that nothing keeps it

Runs nothing. Works on the caller's thread; hand it to another one where that matters.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.graph import TaskDAG

from .assignment import Assignment, AssignmentProblem, Limits, TaskChoices, exceeds, reduce_problem
from .constraints import OptimizationConstraints
from .formulation import Formulation, has_plan
from .optimizer import AnyPlan, DAAOOptimizer
from .plan import OptimizedPlan
from .solve import Solution, Status, explain_infeasible, solve

Item = tuple[AnyPlan, TaskDAG, OptimizationConstraints | None]
"""A graph of a portfolio: its plan as it is, its tasks, and what it has to keep."""

HUGE = 20_000
"""Candidates that no other beats above which HiGHS takes minutes, whatever its time limit."""
_MIN_S = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class Portfolio(Mapping[str, OptimizedPlan]):
    """The plans of several graphs, by name, and what is proven about them together."""

    plans: Mapping[str, OptimizedPlan]
    status: Status
    """optimal: no plans within all limits cost less in sum; feasible: limits kept, not proven the cheapest;
    infeasible: proven, `binding` says what stands in the way; unknown: neither plans nor a proof in time. Where it is
    infeasible or unknown the plans are the initial ones."""
    total_cost: float
    """Dollars."""
    lower_bound: float
    """No plans within all limits cost less in sum."""
    workload: Mapping[str, int]
    """Tasks that each agent gets, over all graphs; of a strategy every agent that it may ask counts."""
    solver: str
    binding: Mapping[str, float] = field(default_factory=dict)
    """By how much a limit must give, others kept; the names of a graph's own limits begin with its name."""
    note: str = ""

    @property
    def gap(self) -> float | None:
        """By what share the plans may cost more than the best ones; None where there are none."""
        if self.status not in ("optimal", "feasible"):
            return None
        return max(0.0, self.total_cost - self.lower_bound) / self.total_cost if self.total_cost > 0 else 0.0

    def __getitem__(self, name: str) -> OptimizedPlan:
        return self.plans[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plans)

    def __len__(self) -> int:
        return len(self.plans)


def optimize_portfolio(
    items: Mapping[str, Item],
    *,
    shared: OptimizationConstraints | None = None,
    optimizer: DAAOOptimizer,
    time_limit_s: float = 4.0,
    gap: float = 1e-6,
    timer: Callable[[], float] = time.perf_counter,
) -> Portfolio:
    """Return the plans of several graphs that cost least in sum, within what each has to keep and what they share.

    Args:
        items: The graphs, by name.
        shared: `max_total_cost` for all of them, and `agent_capacity` over all of them.
        optimizer: Knows the agents, their estimates and the strategies.
        time_limit_s: When to stop proving.
        gap: What the plans may cost above the bound, relative, to count as optimal.
        timer: The clock of the time limit.

    Raises:
        InvalidInput: as `optimize_routing_plan`, with the graph's name; or `shared` has a limit that is each graph's.
    """
    shared = shared or OptimizationConstraints()
    for name in ("max_total_time", "min_quality_score", "min_task_quality", "confidence"):
        if getattr(shared, name) is not None:
            raise InvalidInput(f"{name} cannot be shared among graphs. Give it to each graph that needs it.")
    if shared.pinned:
        raise InvalidInput("pinned cannot be shared among graphs. Give it to the graph that has the task.")
    formulations = {}
    for name, (plan, dag, constraints) in items.items():
        try:
            formulations[name] = optimizer.formulate(plan, dag, constraints)
        except InvalidInput as error:
            raise type(error)(f"In the graph {name!r}: {error}") from error
    solver = _Solver(formulations, shared, optimizer, deadline=timer() + time_limit_s, gap=gap, timer=timer)
    return solver.run()


class _Solver:
    def __init__(
        self,
        formulations: Mapping[str, Formulation],
        shared: OptimizationConstraints,
        optimizer: DAAOOptimizer,
        *,
        deadline: float,
        gap: float,
        timer: Callable[[], float],
    ) -> None:
        self._formulations = dict(formulations)
        self._shared = shared
        self._optimizer = optimizer
        self._deadline = deadline
        self._gap = gap
        self._timer = timer
        self._alone: dict[str, Solution] = {}

    def run(self) -> Portfolio:
        for name in self._formulations:
            if not self._solve_alone(name):
                return self._explain_alone(name)
        choices = {name: solution.choice for name, solution in self._alone.items()}
        bound = math.fsum(solution.lower_bound for solution in self._alone.values())
        if self._keeps_capacity(choices):
            proven = all(solution.status == "optimal" for solution in self._alone.values())
            return self._within_budget(choices, bound, solver="alone", proven=proven)
        best = self._in_a_row()
        together = _Union(self._formulations, self._shared)
        if together.size > HUGE:
            if best is None:
                return self._portfolio(None, "unknown", bound, "in a row", note="No plans were found one by one.")
            return self._within_budget(best, bound, solver="in a row", proven=False)
        found = together.solve(time_limit_s=self._left(), gap=self._gap, start=best)
        bound = max(bound, found.bound)
        if found.infeasible and best is None:
            return self._explain_capacity(together, bound)
        if found.choices is not None and self._is_allowed(found.choices):
            best = min((one for one in (best, found.choices) if one is not None), key=self._cost)
        if best is None:
            return self._portfolio(None, "unknown", bound, "highs", note="No plans were found in time.")
        return self._within_budget(self._settle_ties(best), bound, solver="highs", proven=found.proven)

    # Steps

    def _solve_alone(self, name: str) -> bool:
        """Solve one graph by itself, within what is shared as well; whether there is a plan."""
        formulation = self._formulations[name]
        # Shares that one graph cannot exceed by itself need not wait for the others.
        solution = self._run(_within(formulation.problem, self._shared.agent_capacity))
        if not has_plan(solution) and (begun := self._optimizer.relax(formulation)) is not None:
            again = self._run(_within(begun.problem, self._shared.agent_capacity))
            if has_plan(again):
                formulation, solution = begun, again
        if not has_plan(solution) and formulation.constraints.min_quality_score is None:
            # A quality that nobody asked for gives way.
            loose = formulation.with_limits(replace(formulation.problem.limits, min_quality=0.0))
            again = self._run(_within(loose.problem, self._shared.agent_capacity))
            if has_plan(again):
                formulation, solution = loose, again
        self._formulations[name], self._alone[name] = formulation, solution
        return has_plan(solution)

    def _in_a_row(self) -> dict[str, Assignment] | None:
        """Return the cheapest plans found by solving the graphs one after the other, in several orders."""
        names = list(self._formulations)
        size = {name: len(self._formulations[name].order) for name in names}
        found = []
        for order in dict.fromkeys((tuple(names), tuple(names[::-1]), tuple(sorted(names, key=size.__getitem__)))):
            left = Counter(self._shared.agent_capacity)
            choices: dict[str, Assignment] = {}
            for name in order:
                problem = _within(self._formulations[name].problem, left)
                solution = self._run(problem)
                if not has_plan(solution):
                    break
                choices[name] = solution.choice
                left.subtract({agent: n for agent, n in problem.workload(solution.choice).items() if agent in left})
            else:
                found.append({name: choices[name] for name in names})
        return min(found, key=self._cost, default=None)

    def _settle_ties(self, choices: dict[str, Assignment]) -> dict[str, Assignment]:
        """Give each graph the best of the plans that cost no more, in the places that the others leave."""
        settled = dict(choices)
        for name, formulation in self._formulations.items():
            left = Counter(self._shared.agent_capacity)
            for other, choice in settled.items():
                if other != name:
                    left.subtract(self._formulations[other].problem.workload(choice))
            problem = _within(formulation.problem, {agent: left[agent] for agent in self._shared.agent_capacity})
            solution = self._run(problem)
            if has_plan(solution) and problem.rank(solution.choice) < problem.rank(settled[name]):
                settled[name] = solution.choice
        return settled

    def _within_budget(
        self, choices: Mapping[str, Assignment], bound: float, *, solver: str, proven: bool
    ) -> Portfolio:
        cost, budget = self._cost(choices), self._shared.max_total_cost
        bound = min(bound, cost)
        proven = proven or cost - bound <= self._gap * cost
        if budget is None or not exceeds(cost, budget):
            return self._portfolio(choices, "optimal" if proven else "feasible", bound, solver)
        if not proven and not exceeds(bound, budget):
            note = f"The cheapest plans that were found in time cost ${cost:.4g}."
            return self._portfolio(None, "unknown", bound, solver, note=note)
        missing = cost - budget
        note = f"The cheapest plans for all graphs cost ${cost:.4g} together; the shared budget is ${budget:.4g}."
        return self._portfolio(None, "infeasible", bound, solver, binding={"max_total_cost": missing}, note=note)

    def _explain_alone(self, name: str) -> Portfolio:
        formulation, solution = self._formulations[name], self._alone[name]
        problem = _within(formulation.problem, self._shared.agent_capacity)
        binding: dict[str, float] = {}
        note = f"No plan of the graph {name!r} keeps its constraints"
        if solution.status == "infeasible":
            binding, why = explain_infeasible(problem, time_limit_s=self._left())
            note += f", whatever the others do. {why}"
        else:
            note += " that could be found in time."
        named = {f"{name}: {limit}": by for limit, by in binding.items()}
        return self._portfolio(None, solution.status, 0.0, solution.solver, binding=named, note=note)

    def _explain_capacity(self, together: _Union, bound: float) -> Portfolio:
        """Say how many places are missing, all other limits kept."""
        found = together.solve(time_limit_s=self._left(), gap=1e-3, excess=True)
        binding: dict[str, float] = {}
        note = "The graphs cannot share the agents' capacities and keep their own constraints"
        if found.choices is not None:
            work = self._workload(found.choices)
            binding = {
                f"agent_capacity[{agent}]": float(work[agent] - most)
                for agent, most in self._shared.agent_capacity.items()
                if work[agent] > most
            }
            binding = {"agent_capacity": math.fsum(binding.values()), **binding}
            note += "; with so many places more they can."
        else:
            note += "."
        return self._portfolio(None, "infeasible", bound, "highs", binding=binding, note=note)

    # Figures

    def _run(self, problem: AssignmentProblem) -> Solution:
        return solve(problem, time_limit_s=self._left() / 4, gap=self._gap)

    def _left(self) -> float:
        return max(_MIN_S, self._deadline - self._timer())

    def _cost(self, choices: Mapping[str, Assignment]) -> float:
        return math.fsum(self._formulations[name].problem.totals(choice).cost for name, choice in choices.items())

    def _workload(self, choices: Mapping[str, Assignment]) -> Counter[str]:
        work: Counter[str] = Counter()
        for name, choice in choices.items():
            work.update(self._formulations[name].problem.workload(choice))
        work.pop("", None)  # tasks that nobody does
        return work

    def _keeps_capacity(self, choices: Mapping[str, Assignment]) -> bool:
        work = self._workload(choices)
        return all(work[agent] <= most for agent, most in self._shared.agent_capacity.items())

    def _is_allowed(self, choices: Mapping[str, Assignment]) -> bool:
        own = all(self._formulations[name].problem.allows(choice) for name, choice in choices.items())
        return own and self._keeps_capacity(choices)

    def _portfolio(
        self,
        choices: Mapping[str, Assignment] | None,
        status: Status,
        bound: float,
        solver: str,
        *,
        binding: Mapping[str, float] | None = None,
        note: str = "",
    ) -> Portfolio:
        kept = choices or {name: formulation.initial for name, formulation in self._formulations.items()}
        total = self._cost(kept)
        about: dict[str, Any] = {"status": status, "total_cost": total, "lower_bound": bound, "solver": solver}
        plans = {}
        for name, choice in kept.items():
            alone = self._alone.get(name)
            lowest = alone.lower_bound if alone is not None else 0.0
            solution = Solution(choice=choice, status=status, solver=solver, lower_bound=lowest)
            extra: dict[str, Any] = {"portfolio": about}
            if choices is None:
                extra |= {"binding": dict(binding or {}), "binding_note": note}
            plans[name] = self._formulations[name].plan(solution, extra)
        return Portfolio(
            plans=plans,
            status=status,
            total_cost=total,
            lower_bound=bound,
            workload=dict(self._workload(kept)),
            solver=solver,
            binding=dict(binding or {}),
            note=note,
        )


def _within(problem: AssignmentProblem, capacity: Mapping[str, int]) -> AssignmentProblem:
    """Return the problem with these capacities besides its own; the smaller one holds."""
    own = problem.limits.capacity
    both = {agent: min(own.get(agent, most), max(0, most)) for agent, most in capacity.items()}
    return replace(problem, limits=replace(problem.limits, capacity={**own, **both}))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Together:
    """What HiGHS found for all graphs."""

    choices: dict[str, Assignment] | None
    bound: float
    proven: bool
    infeasible: bool


class _Union:
    """All graphs as one mixed-integer program, over the candidates that no other beats.

        x[t,a] in {0, 1}, sum over a of x[t,a] = 1;  rows for each graph's quality, cost and finish times, and for the
        capacities: those that are shared, and each graph's own

    Finish times are continuous, and exist where a graph has a deadline.
    """

    def __init__(self, formulations: Mapping[str, Formulation], shared: OptimizationConstraints) -> None:
        self._formulations = formulations
        self._shared = dict(shared.agent_capacity)
        slots: list[TaskChoices] = []
        capacity = dict(shared.agent_capacity)
        self._spans: dict[str, tuple[int, int]] = {}
        for name, formulation in formulations.items():
            begin, own = len(slots), formulation.problem.limits.capacity
            # No agent's id has a space, so these are other agents: places in one graph.
            capacity |= {f"{agent} in {name}": most for agent, most in own.items()}
            for slot in formulation.problem.slots:
                candidates = tuple(
                    replace(
                        one,
                        uses=(*one.occupied, *(f"{agent} in {name}" for agent in one.occupied if agent in own)),
                    )
                    for one in slot.candidates
                )
                before = tuple(begin + other for other in slot.before)
                slots.append(replace(slot, candidates=candidates, before=before))
            self._spans[name] = begin, len(slots)
        self._reduced = reduce_problem(AssignmentProblem(slots=tuple(slots), limits=Limits(capacity=capacity)))
        self._slots = self._reduced.problem.slots
        self.size = sum(len(slot.candidates) for slot in self._slots)

    def solve(
        self,
        *,
        time_limit_s: float,
        gap: float,
        start: Mapping[str, Assignment] | None = None,
        excess: bool = False,
    ) -> _Together:
        """Minimise the cost; or with `excess` the places that are missing, the shared capacities left open."""
        import highspy  # with NumPy 110 ms: only where graphs get in each other's way
        import numpy as np

        rows = _Rows()
        dearest = max((one.cost for slot in self._slots for one in slot.candidates), default=0.0) or 1.0
        first: list[int] = []
        for slot in self._slots:
            first.append(len(rows.cost))
            columns = [rows.column(0.0 if excess else one.cost / dearest, 1.0, True) for one in slot.candidates]
            rows.add(1.0, 1.0, [(column, 1.0) for column in columns])
        for name, (begin, end) in self._spans.items():
            self._add_graph(rows, self._formulations[name].problem.limits, first, begin, end)
        for agent, most in self._reduced.problem.limits.capacity.items():
            terms = [
                (first[t] + at, 1.0)
                for t, slot in enumerate(self._slots)
                for at, one in enumerate(slot.candidates)
                if agent in one.occupied
            ]
            if excess and agent in self._shared:
                terms.append((rows.column(1.0, math.inf, False), -1.0))
            rows.add(-math.inf, float(most), terms)

        highs = highspy.Highs()  # type: ignore[no-untyped-call]  # highspy is typed in part
        options: dict[str, Any] = {
            "output_flag": False,
            "parallel": "off",
            "threads": 1,
            "random_seed": 0,
            "time_limit": time_limit_s,
            "mip_rel_gap": gap,
            "mip_abs_gap": 1e-9,
            "mip_feasibility_tolerance": 1e-9,
            "primal_feasibility_tolerance": 1e-9,
        }
        for option, value in options.items():
            highs.setOptionValue(option, value)
        highs.passModel(rows.build(highspy))
        if start is not None:
            flat = tuple(at for name in self._spans for at in start[name])
            known = [begin + at for begin, at in zip(first, self._reduced.translate(flat), strict=True)]
            highs.setSolution(len(known), np.array(known, dtype=np.int32), np.ones(len(known)))
        highs.run()

        status, info = highs.getModelStatus(), highs.getInfo()
        if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
            return _Together(choices=None, bound=0.0, proven=False, infeasible=True)
        choices = None
        if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
            values = np.asarray(highs.getSolution().col_value)
            choice = self._reduced.restore(
                tuple(
                    int(np.argmax(values[begin : begin + len(slot.candidates)]))
                    for begin, slot in zip(first, self._slots, strict=True)
                )
            )
            choices = {name: choice[begin:end] for name, (begin, end) in self._spans.items()}
        bound = info.mip_dual_bound if math.isfinite(info.mip_dual_bound) else 0.0
        return _Together(
            choices=choices,
            bound=0.0 if excess else max(0.0, float(bound)) * dearest,
            proven=status == highspy.HighsModelStatus.kOptimal and choices is not None,
            infeasible=False,
        )

    def _add_graph(self, rows: _Rows, limits: Limits, first: Sequence[int], begin: int, end: int) -> None:
        """Add the rows of one graph's own limits; each is scaled to about 1, as HiGHS's tolerances are absolute."""
        members = [
            (first[t] + at, t, one) for t in range(begin, end) for at, one in enumerate(self._slots[t].candidates)
        ]
        counted = sum(self._slots[t].counts for t in range(begin, end))
        if limits.min_quality > 0 and counted:
            terms = [(column, one.quality) for column, t, one in members if self._slots[t].counts]
            rows.add(limits.min_quality * counted, math.inf, terms)
        if limits.max_cost is not None:
            unit = max((one.cost for _, _, one in members), default=0.0) or 1.0
            rows.add(-math.inf, limits.max_cost / unit, [(column, one.cost / unit) for column, _, one in members])
        if limits.max_seconds is None:
            return
        unit = max((one.seconds for _, _, one in members), default=0.0) or 1.0
        finish = {t: rows.column(0.0, limits.max_seconds / unit, False) for t in range(begin, end)}
        for t in range(begin, end):
            slot = self._slots[t]
            work = [(first[t] + at, -one.seconds / unit) for at, one in enumerate(slot.candidates)]
            for before in slot.before or (None,):
                after = [] if before is None else [(finish[before], -1.0)]
                rows.add(0.0, math.inf, [(finish[t], 1.0), *after, *work])


class _Rows:
    """A linear program that grows by columns and rows."""

    def __init__(self) -> None:
        self.cost: list[float] = []
        self._upper: list[float] = []
        self._integer: list[bool] = []
        self._lowest: list[float] = []
        self._highest: list[float] = []
        self._starts = [0]
        self._indices: list[int] = []
        self._values: list[float] = []

    def column(self, cost: float, upper: float, integer: bool) -> int:
        """Add a column from 0 to `upper`; return its number."""
        self.cost.append(cost)
        self._upper.append(upper)
        self._integer.append(integer)
        return len(self.cost) - 1

    def add(self, lowest: float, highest: float, terms: Sequence[tuple[int, float]]) -> None:
        """Add a row."""
        used = [(column, value) for column, value in terms if value]
        self._indices += [column for column, _ in used]
        self._values += [value for _, value in used]
        self._starts.append(len(self._indices))
        self._lowest.append(lowest)
        self._highest.append(highest)

    def build(self, highspy: Any) -> Any:
        """Return HiGHS's model."""
        import numpy as np

        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self.cost), len(self._lowest)
        lp.col_cost_ = np.array(self.cost)
        lp.col_lower_, lp.col_upper_ = np.zeros(len(self.cost)), np.array(self._upper)
        lp.row_lower_, lp.row_upper_ = np.array(self._lowest), np.array(self._highest)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.array(self._starts, dtype=np.int32)
        lp.a_matrix_.index_ = np.array(self._indices, dtype=np.int32)
        lp.a_matrix_.value_ = np.array(self._values, dtype=float)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[integer] for integer in self._integer]
        return lp
