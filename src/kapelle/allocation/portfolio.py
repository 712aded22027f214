"""Several graphs at once: they share agents' capacities and one budget, and each keeps its own deadline and quality.

One after the other is not good enough: the first graph takes the places with the cheap agent even where it could do
without, and the next one pays for that, or finds no plan at all. So all of them are one model:

    minimise    the sum of all costs
    so that     every graph keeps its own constraints: cost, critical path, quality, tasks' qualities, capacities
                tasks of an agent, over all graphs, <= its shared capacity;    sum of all costs <= the shared budget
                tasks of an agent, over all graphs, of one level, <= what it does at a time, where that can be had

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.graph import TaskDAG

from .assignment import Assignment, AssignmentProblem, exceeds
from .constraints import OptimizationConstraints
from .formulation import Formulation, has_plan
from .infeasible import explain_infeasible
from .optimizer import AnyPlan, DAAOOptimizer
from .plan import OptimizedPlan
from .solve import Solution, Status, solve
from .union import Places, Union

Item = tuple[AnyPlan, TaskDAG, OptimizationConstraints | None]
"""A graph of a portfolio: its plan as it is, its tasks, and what it has to keep."""

HUGE = 20_000
"""Candidates that no other beats above which HiGHS takes minutes, whatever its time limit."""
_MIN_S = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class JointPlan(Mapping[str, OptimizedPlan]):
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
    waiting: Mapping[str, int] = field(default_factory=dict)
    """How many tasks of a level, over all graphs, an agent has more than it does at a time (`AGENT at level N`): no
    other assignment keeps the graphs' own limits, and these wait for the others."""
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
    at_once: Mapping[str, int] | None = None,
    optimizer: DAAOOptimizer,
    time_limit_s: float = 4.0,
    gap: float = 1e-6,
    timer: Callable[[], float] = time.perf_counter,
) -> JointPlan:
    """Return the plans of several graphs that cost least in sum, within what each has to keep and what they share.

    Args:
        items: The graphs, by name.
        shared: `max_total_cost` for all of them, and `agent_capacity` over all of them.
        at_once: How many tasks of a level, over all graphs, an agent does at the same time: held to as far as the
            graphs' own limits allow that; the rest waits, see `JointPlan.waiting`.
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
    deadline = timer() + time_limit_s

    def solve_all(places: bool) -> JointPlan:
        solver = _Solver(formulations, shared, at_once or {}, optimizer, deadline=deadline, gap=gap, timer=timer)
        return solver.run(hold_places=places)

    found = solve_all(True)
    if found.status == "infeasible" and at_once and "max_total_cost" in found.binding:
        # Whoever waits pays nothing for it.
        waiting = solve_all(False)
        return found if waiting.status == "unknown" else waiting
    return found


class _Solver:
    def __init__(
        self,
        formulations: Mapping[str, Formulation],
        shared: OptimizationConstraints,
        at_once: Mapping[str, int],
        optimizer: DAAOOptimizer,
        *,
        deadline: float,
        gap: float,
        timer: Callable[[], float],
    ) -> None:
        self._formulations = dict(formulations)
        self._budget = shared.max_total_cost
        self._at_once = at_once
        self._places = Places(capacity={})
        self._capacity = dict(shared.agent_capacity)
        self._optimizer = optimizer
        self._deadline = deadline
        self._gap = gap
        self._timer = timer
        self._alone: dict[str, Solution] = {}

    def run(self, *, hold_places: bool) -> JointPlan:
        for name in self._formulations:
            if not self._solve_alone(name):
                return self._explain_alone(name)
        choices = {name: solution.choice for name, solution in self._alone.items()}
        bound = math.fsum(solution.lower_bound for solution in self._alone.values())
        # What a graph can be had for alone was settled without places: that tasks wait is better than that a quality
        # gives way.
        self._places = Places.of(self._problems().values(), self._at_once)
        self._formulations = {
            name: replace(one, problem=self._places.hold(one.problem)) for name, one in self._formulations.items()
        }
        if hold_places:
            self._capacity |= self._places.capacity
        if self._keeps_capacity(choices):
            proven = all(solution.status == "optimal" for solution in self._alone.values())
            return self._within_budget(choices, bound, solver="alone", proven=proven)
        together = Union(self._problems(), self._capacity)
        if hold_places and self._places.capacity and together.size <= HUGE:
            together = self._make_room(together)
        best = self._in_a_row()
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
        solution = self._run(_within(formulation.problem, self._capacity))
        if not has_plan(solution) and (begun := self._optimizer.relax(formulation)) is not None:
            again = self._run(_within(begun.problem, self._capacity))
            if has_plan(again):
                formulation, solution = begun, again
        if not has_plan(solution) and formulation.constraints.min_quality_score is None:
            # A quality that nobody asked for gives way.
            loose = formulation.with_limits(replace(formulation.problem.limits, min_quality=0.0))
            again = self._run(_within(loose.problem, self._capacity))
            if has_plan(again):
                formulation, solution = loose, again
        self._formulations[name], self._alone[name] = formulation, solution
        return has_plan(solution)

    def _make_room(self, together: Union) -> Union:
        """Add the places that are missing whoever does what, if there are any."""
        found = together.solve(time_limit_s=self._left() / 4, gap=1e-3, may_exceed=self._places.capacity)
        missing = {} if found.choices is None else self._waits(found.choices)
        if not missing:
            return together
        self._capacity |= {name: self._capacity[name] + more for name, more in missing.items()}
        return Union(self._problems(), self._capacity)

    def _in_a_row(self) -> dict[str, Assignment] | None:
        """Return the cheapest plans found by solving the graphs one after the other, in several orders."""
        names = list(self._formulations)
        size = {name: len(self._formulations[name].order) for name in names}
        found = []
        for order in dict.fromkeys((tuple(names), tuple(names[::-1]), tuple(sorted(names, key=size.__getitem__)))):
            left = Counter(self._capacity)
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
            left = Counter(self._capacity)
            for other, choice in settled.items():
                if other != name:
                    left.subtract(self._formulations[other].problem.workload(choice))
            problem = _within(formulation.problem, {agent: left[agent] for agent in self._capacity})
            solution = self._run(problem)
            if has_plan(solution) and problem.rank(solution.choice) < problem.rank(settled[name]):
                settled[name] = solution.choice
        return settled

    def _within_budget(
        self, choices: Mapping[str, Assignment], bound: float, *, solver: str, proven: bool
    ) -> JointPlan:
        cost, budget = self._cost(choices), self._budget
        bound = min(bound, cost)
        proven = proven or cost - bound <= self._gap * cost
        if budget is None or not exceeds(cost, budget):
            return self._portfolio(choices, "optimal" if proven else "feasible", bound, solver)
        if not exceeds(bound, budget):  # however near it is
            note = f"The cheapest plans that were found in time cost ${cost:.4g}."
            return self._portfolio(None, "unknown", bound, solver, note=note)
        missing = cost - budget
        note = f"The cheapest plans for all graphs cost ${cost:.4g} together; the shared budget is ${budget:.4g}."
        return self._portfolio(None, "infeasible", bound, solver, binding={"max_total_cost": missing}, note=note)

    def _explain_alone(self, name: str) -> JointPlan:
        formulation, solution = self._formulations[name], self._alone[name]
        problem = _within(formulation.problem, self._capacity)
        binding: dict[str, float] = {}
        note = f"No plan of the graph {name!r} keeps its constraints"
        if solution.status == "infeasible":
            explained = explain_infeasible(problem, time_limit_s=self._left())
            binding = explained.binding
            note += f", whatever the others do. {explained.note}"
        else:
            note += " that could be found in time."
        named = {f"{name}: {limit}": by for limit, by in binding.items()}
        return self._portfolio(None, solution.status, 0.0, solution.solver, binding=named, note=note)

    def _explain_capacity(self, together: Union, bound: float) -> JointPlan:
        """Say how many places are missing, all other limits kept."""
        found = together.solve(time_limit_s=self._left(), gap=1e-3, may_exceed=self._capacity)
        binding: dict[str, float] = {}
        note = "The graphs cannot share the agents' capacities and keep their own constraints"
        if found.choices is not None:
            work = self._workload(found.choices)
            binding = {
                f"agent_capacity[{agent}]": float(work[agent] - most)
                for agent, most in self._capacity.items()
                if work[agent] > most
            }
            binding = {"agent_capacity": math.fsum(binding.values()), **binding}
            note += "; with so many places more they can."
        else:
            note += "."
        return self._portfolio(None, "infeasible", bound, "highs", binding=binding, note=note)

    # Figures

    def _problems(self) -> dict[str, AssignmentProblem]:
        return {name: formulation.problem for name, formulation in self._formulations.items()}

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

    def _waits(self, choices: Mapping[str, Assignment]) -> dict[str, int]:
        work = self._workload(choices)
        return {name: more for name, most in self._places.capacity.items() if (more := work[name] - most) > 0}

    def _keeps_capacity(self, choices: Mapping[str, Assignment]) -> bool:
        work = self._workload(choices)
        return all(work[agent] <= most for agent, most in self._capacity.items())

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
    ) -> JointPlan:
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
        return JointPlan(
            plans=plans,
            status=status,
            total_cost=total,
            lower_bound=bound,
            workload={name: n for name, n in self._workload(kept).items() if name not in self._places.capacity},
            solver=solver,
            binding=dict(binding or {}),
            waiting={} if choices is None else self._waits(choices),
            note=note,
        )


def _within(problem: AssignmentProblem, capacity: Mapping[str, int]) -> AssignmentProblem:
    """Return the problem with these capacities besides its own; the smaller one holds."""
    own = problem.limits.capacity
    both = {agent: min(own.get(agent, most), max(0, most)) for agent, most in capacity.items()}
    return replace(problem, limits=replace(problem.limits, capacity={**own, **both}))
