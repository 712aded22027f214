"""In which order tasks start where more are ready than there are places: a few rules are rehearsed, the best is taken.

    longest path     the longest expected path to the end of the plan first (Hu 1961)
    level by level   what depends on nothing first, then what depends on that alone, and so on
    justified        the order of one of these two schedules once it is packed from its end and then from its start
    latest start     what must begin soonest: the one rule where a task has a deadline

None of them is the best for every graph: with four places the longest path alone makes a few of the recorded workflows
slower than a barrier after each level would (the anomalies of Graham 1966). So before anything starts each rule's
schedule is worked out from what every task is expected to take. The one that ends first is taken if it also does on
average over a few draws of what the tasks may take instead; the longest path where none is better. Priorities stand
above any rule.

The same plan, estimates and places always give the same order: of the rest of a run that goes on, and of a graph that
has changed, too. Pure. Not covered: places that money holds back, and the several agents of one task, of which the
first is taken to do all of it.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kapelle.estimates import Estimate
from kapelle.graph import Machines, Schedule, TaskDAG, justify_list, least_seconds, schedule_list
from kapelle.ledger import format_seconds
from kapelle.validation import ApprovedPlan

Rank = tuple[float, float, int]
"""Smaller is more urgent."""
Rule = Literal["longest path", "level by level", "justified", "latest start"]

MAX_COMPARED = 20_000
"""Of more tasks the longest path goes first, unrehearsed: comparing would hold up the first task for a second."""
GRAIN = 0.0005
"""Paths that differ by less than this share of the whole are equally urgent, and go in the plan's order. In the exact
one tasks that take nearly the same follow each other: they end together, again and again, and wait for the executor."""
CLOSE = 0.001
"""A schedule that is no longer than this above what any must take is good enough."""
STEP_S = 2e-6
"""What it takes to rehearse one task once. Where a better order could save less than looking for it takes, the longest
path goes first."""
DRAWS = 3
"""How often other times are drawn, where it is not known what tasks take."""
_TRIES = 1 + 2 * 2
"""Schedules to be worked out beyond the first: one of the other rule, two for each that is justified."""
_BETTER = 1.0 - 1e-9
_NINETY_PERCENT = 2 * 1.645
"""Standard deviations between the bounds of 90 %, were it normal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartOrder:
    """Which rule says who starts first, and why."""

    rule: Rule
    ranks: Mapping[str, Rank]
    """Task id to how urgent it is, for every task of the graph."""
    seconds: float | None = None
    """What all that is left is expected to take with the places there are; None where nothing was rehearsed."""
    compared: Mapping[Rule, float] = field(default_factory=dict)
    """The same by each rule; empty where there was nothing to choose between."""
    matters: bool = True
    """Whether any task has to wait for a place, as far as that is expected or known."""

    def explain(self) -> str:
        """Return the choice in words; nothing where no order is another run.

        >>> StartOrder(rule="level by level", ranks={}, seconds=9.0,
        ...            compared={"longest path": 12.0, "level by level": 9.0}).explain()
        'level by level, which takes 9.0 s with the places that agents have; longest path 12.0 s'
        """
        if not self.matters:
            return ""
        if self.seconds is None:
            return f"{self.rule} first"
        others = [f"{rule} {format_seconds(took)}" for rule, took in self.compared.items() if rule != self.rule]
        told = f"{self.rule}, which takes {format_seconds(self.seconds)} with the places that agents have"
        return "; ".join((told, *others))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rest:
    """What is left of a plan, its tasks numbered in the plan's order."""

    names: Sequence[str]
    predecessors: Sequence[Sequence[int]]
    successors: Sequence[Sequence[int]]
    seconds: Sequence[float]
    spreads: Sequence[float]
    """By task, the standard deviation of the logarithm of its seconds; 0 where they are known."""
    machines: Machines
    urgent: Sequence[float]
    """By task, what comes before any rule: smaller is more urgent."""
    latest: Sequence[float]
    """By task, when it may begin at the latest without making the longest path longer."""
    after: Sequence[float]
    """By task, the longest path that follows it."""

    def rehearse(self, order: Sequence[int], seconds: Sequence[float] | None = None) -> Schedule:
        return schedule_list(
            order, self.predecessors, self.successors, self.seconds if seconds is None else seconds, self.machines
        )

    def justify(self, found: Schedule) -> list[int]:
        order = justify_list(found, self.predecessors, self.successors, self.seconds, self.machines)
        return sorted(order, key=lambda node: self.urgent[node])


def choose_start_order(
    plan: ApprovedPlan,
    *,
    over: Collection[str] = frozenset(),
    begun: Collection[str] = frozenset(),
    passed_s: float = 0.0,
    most_compared: int = MAX_COMPARED,
    is_told: bool = False,
) -> StartOrder:
    """Return in which order the tasks of a plan start.

    Args:
        over: Tasks of which nothing more will come.
        begun: Tasks that hold their places already, or are going to have them before any other.
        passed_s: For how long the run has been worked on; deadlines count from its start.
        most_compared: Of more tasks the longest path goes first, unrehearsed.
        is_told: Whether somebody wants to know what it takes, also where no other order could be better.
    """
    dag, estimates = plan.dag, plan.estimates
    seconds = {task_id: one.seconds for task_id, one in estimates.items()}
    urgency, priorities = dag.urgency(seconds), _inherited_priorities(dag)
    names = [task_id for task_id in dag.tasks if task_id not in over]
    end = max((urgency[name] for name in names), default=0.0)
    latest = {task_id: end - path for task_id, path in urgency.items()}
    if any(task.deadline_s is not None for task in dag):
        latest = _with_deadlines(dag, seconds, latest, passed_s)
        return StartOrder(rule="latest start", ranks=_ranks(dag, priorities, latest))
    machines, times = _machines(plan, names), [seconds[name] for name in names]
    whole = max([end, *_shares(machines, times)])
    if not math.isfinite(whole):  # such times can be ordered, and not added up
        return StartOrder(rule="longest path", ranks=_ranks(dag, priorities, {one: -urgency[one] for one in urgency}))
    if grain := GRAIN * whole:
        latest = {task_id: round(moment / grain) * grain for task_id, moment in latest.items()}
    plain = _ranks(dag, priorities, latest)
    can_wait = any(needed > machines.count[kind] for kind, needed in Counter(machines.kind).items())
    if not can_wait:
        return StartOrder(rule="longest path", ranks=plain, seconds=end, matters=False)
    # Where nobody knows which tasks take long, Hu's order is the best there is: it was made for equal times.
    can_gain = len(set(times)) > 1 and whole > _TRIES * STEP_S * len(names)
    if len(names) > most_compared or not (can_gain or is_told):
        return StartOrder(rule="longest path", ranks=plain)
    rest = _Rest(
        names=names,
        **_edges(dag, names),
        seconds=times,
        spreads=[_spread(estimates[name]) for name in names],
        machines=machines,
        urgent=[-math.inf if name in begun else -priorities[name] for name in names],
        latest=[latest[name] for name in names],
        after=[urgency[name] - seconds[name] for name in names],
    )
    matters, orders, took = _compare(rest, can_gain=can_gain)
    rule = min(took, key=lambda one: took[one] * (_BETTER if one == "longest path" else 1.0))
    compared = took if len(took) > 1 else {}
    if rule == "longest path":
        return StartOrder(rule=rule, ranks=plain, seconds=took[rule], compared=compared, matters=matters)
    place_in_order = {names[node]: float(position) for position, node in enumerate(orders[rule])}
    moments = {task_id: place_in_order.get(task_id, 0.0) for task_id in dag.tasks}
    return StartOrder(rule=rule, ranks=_ranks(dag, priorities, moments), seconds=took[rule], compared=compared)


def _compare(rest: _Rest, *, can_gain: bool) -> tuple[bool, dict[Rule, Sequence[int]], dict[Rule, float]]:
    """Return whether any task waits for a place, the order by each rule that was rehearsed, and what all takes by it.

    Args:
        can_gain: Whether another order than that by the longest path may be worth looking for.
    """
    nodes, urgent, latest = range(len(rest.names)), rest.urgent, rest.latest
    by_path = sorted(nodes, key=lambda node: (urgent[node], latest[node], node))
    found = rest.rehearse(by_path)
    orders: dict[Rule, Sequence[int]] = {"longest path": by_path}
    took: dict[Rule, float] = {"longest path": found.seconds}
    if not (found.has_waited and can_gain):
        return found.has_waited, orders, took
    depths, before = _from_start(rest.predecessors, rest.successors, rest.seconds)
    least = least_seconds(before, rest.after, rest.seconds, rest.machines)
    if found.seconds - least <= max(CLOSE * least, _TRIES * STEP_S * len(nodes)):
        return found.has_waited, orders, took
    by_level = sorted(nodes, key=lambda node: (urgent[node], depths[node], node))
    levels = rest.rehearse(by_level)
    orders["level by level"], took["level by level"] = by_level, levels.seconds
    justified = [rest.justify(found), rest.justify(levels)]
    schedules = [rest.rehearse(order).seconds for order in justified]
    took["justified"] = min(schedules)
    orders["justified"] = justified[schedules.index(took["justified"])]
    if any(rest.spreads) and min(took.values()) < found.seconds:
        took = _by_draws(rest, orders, took)
    return found.has_waited, orders, took


def _by_draws(rest: _Rest, orders: Mapping[Rule, Sequence[int]], took: Mapping[Rule, float]) -> dict[Rule, float]:
    """Return what all takes by the longest path, and by what is better if all is as expected, when times vary."""
    best = min(took, key=lambda rule: took[rule])
    totals: dict[Rule, float] = {"longest path": took["longest path"], best: took[best]}
    chance = random.Random(len(rest.names))  # always the same draws: a run is repeatable
    for _ in range(DRAWS):
        drawn = [_draw(mean, spread, chance) for mean, spread in zip(rest.seconds, rest.spreads, strict=True)]
        for rule in totals:
            totals[rule] += rest.rehearse(orders[rule], drawn).seconds
    return {rule: total / (1 + DRAWS) for rule, total in totals.items()}


def _machines(plan: ApprovedPlan, names: Sequence[str]) -> Machines:
    """Return who does which of these tasks, and how many at the same time."""
    agents, cards = [plan.assignments[name] for name in names], plan.plan_estimates.agents
    numbers = {agent: number for number, agent in enumerate(dict.fromkeys(agents))}
    return Machines(
        kind=[numbers[agent] for agent in agents], count=[cards[agent].max_concurrency for agent in numbers]
    )


def _shares(machines: Machines, seconds: Sequence[float]) -> list[float]:
    """Return by kind how long its machines have to work, if they share all of it."""
    work = [0.0] * len(machines.count)
    for kind, one in zip(machines.kind, seconds, strict=True):
        work[kind] += one
    return [total / count for total, count in zip(work, machines.count, strict=True)]


def _edges(dag: TaskDAG, names: Sequence[str]) -> dict[str, list[list[int]]]:
    """Return which of these tasks wait for which, by their numbers."""
    numbers = {task_id: number for number, task_id in enumerate(names)}
    return {
        "predecessors": [[numbers[one] for one in dag.dependencies(name) if one in numbers] for name in names],
        "successors": [[numbers[one] for one in dag.dependents(name) if one in numbers] for name in names],
    }


def _ranks(dag: TaskDAG, priorities: Mapping[str, int], moments: Mapping[str, float]) -> dict[str, Rank]:
    """Return how urgent each task is: by its user's priority, then by a moment.

    Among equals the plan's order decides, so that a run is repeatable.
    """
    return {task_id: (-priorities[task_id], moments[task_id], position) for position, task_id in enumerate(dag.tasks)}


def _inherited_priorities(dag: TaskDAG) -> dict[str, int]:
    """Return each task's priority: what an urgent task waits for is as urgent (Sha, Rajkumar and Lehoczky, "Priority
    inheritance protocols", IEEE Transactions on Computers 1990)."""
    priority = {task.task_id: task.priority for task in dag}
    if any(priority.values()):
        for task_id in reversed(dag.topological_order()):
            priority[task_id] = max(priority[name] for name in (task_id, *dag.dependents(task_id)))
    return priority


def _with_deadlines(
    dag: TaskDAG, seconds: Mapping[str, float], latest: Mapping[str, float], passed_s: float
) -> dict[str, float]:
    """Return the latest moment at which each task may begin. A deadline, its own or of one that depends on it, makes
    that earlier if it is too close."""
    moments, due = dict(latest), dict[str, float]()
    for task_id in reversed(dag.topological_order()):
        own = dag[task_id].deadline_s
        ends = [due[after] for after in dag.dependents(task_id) if after in due]
        if own is not None:
            ends.append(own - passed_s)
        if ends:
            due[task_id] = min(ends) - seconds[task_id]
            moments[task_id] = min(moments[task_id], due[task_id])
    return moments


def _from_start(
    predecessors: Sequence[Sequence[int]], successors: Sequence[Sequence[int]], seconds: Sequence[float]
) -> tuple[list[int], list[float]]:
    """Return for each task how many the longest chain before it has, and how long the longest path before it takes."""
    waits, depths, paths = [len(before) for before in predecessors], [0] * len(seconds), [0.0] * len(seconds)
    free = [node for node, count in enumerate(waits) if not count]
    for node in free:  # grows while it is read
        depth, end = depths[node] + 1, paths[node] + seconds[node]
        for after in successors[node]:
            if depth > depths[after]:
                depths[after] = depth
            if end > paths[after]:
                paths[after] = end
            waits[after] -= 1
            if not waits[after]:
                free.append(after)
    return depths, paths


def _spread(estimate: Estimate) -> float:
    """Return the standard deviation of the logarithm of what a task takes; 0 where its bounds are no bounds of it."""
    low, high = estimate.seconds_low, estimate.seconds_high
    if not 0 < low <= estimate.seconds <= high < math.inf:
        return 0.0
    return math.log(high / low) / _NINETY_PERCENT


def _draw(mean: float, spread: float, chance: random.Random) -> float:
    """Return a lognormal time with that mean."""
    return mean * math.exp(chance.gauss(0.0, spread) - spread * spread / 2) if spread else mean
