"""The checks of a plan against the limits of its run: money, time, quality.

Estimates are expectations. A plan over its budget is refused, because money cannot be given back. A late plan is
refused only where what is known of its agents' times proves it; where times are guesses it is a warning, since the run
stops at its deadline with the results so far. Too little quality refuses a plan unless failures of the past alone are
to blame: these fade.

What a plan is said to cost by whoever optimised it is held against the sum of our estimates. The edit that moves tasks
to other agents so that all limits hold is found here, and applied by repair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kapelle.allocation import DAAOOptimizer, OptimizationConstraints
from kapelle.errors import KapelleError
from kapelle.graph import Task
from kapelle.limits import RunLimits
from kapelle.routing import RoutedPlan

from .case import Case, forget_command
from .edit import Edit
from .issue import Issue, Severity

MOSTLY = 0.5
"""An agent that answers more seldom mostly fails."""
TOLERANCE = 1e-9
"""Relative room for rounding: a plan that was optimised to a limit keeps it."""


def find_overspending(case: Case) -> Iterator[Issue]:
    """The budget holds the expected cost."""
    left, spent = case.limits.left_usd, case.limits.spent_usd
    if left is None or case.cost <= left * (1 + TOLERANCE):
        return
    dearest = sorted(case.expected, key=lambda task_id: -case.expected[task_id].cost_usd)[:3]
    where = ", ".join(f"{task_id} ${case.expected[task_id].cost_usd:.4g}" for task_id in dearest)
    of_it = f"${left:.4g}"
    if spent:
        of_it = f"${case.limits.budget_usd:.4g}, of which planning took ${spent:.4g} and leaves {of_it}"
    yield Issue(
        kind="budget",
        severity="error",
        message=(
            f"The plan is expected to cost ${case.cost:.4g}, and the budget is {of_it}"
            + (f"; dearest: {where}." if where else ".")
        ),
        way_out=_relaxations(case) or f"{_raise_budget(case.limits, case.cost)}, or ask for less quality.",
    )


def _raise_budget(limits: RunLimits, needed: float) -> str:
    """Say by how much to raise the budget, and to what, so that it holds tasks that cost this much."""
    assert limits.budget_usd is not None
    more = _round_up((limits.spent_usd or 0.0) + needed - limits.budget_usd)
    if limits.spent_usd is None:  # it is that of some tasks: the user gave another one
        return f"Raise the budget by ${more:.10g}"
    return f"Raise the budget by ${more:.10g} to ${limits.budget_usd + more:.10g}"


def _round_up(amount: float) -> float:
    """Return an amount of money as it is shown, in four digits, and never less than it is."""
    if amount <= 0:
        return 0.0
    scale = 10.0 ** min(9, 3 - math.floor(math.log10(amount)))  # budgets count in billionths of a dollar
    return math.ceil(round(amount * scale, 5)) / scale  # what differs in the last digits of a float is no difference


def _relaxations(case: Case) -> str:
    """What the cost optimiser says would make room, if it was asked and found no plan; else nothing."""
    details = case.plan.figures.optimization_details
    if not isinstance(details, Mapping):
        return ""
    if details.get("status") == "unknown":
        return (
            f"{_raise_budget(case.limits, case.cost)}, or ask for less quality or more time: agents that keep all "
            "limits were not found in time, and may be there."
        )
    binding = details.get("binding")
    if not isinstance(binding, Mapping) or not binding:
        return ""
    words = {
        "max_total_time": "allow {:.3g} s more",
        "min_quality_score": "ask for {:.3g} less quality",
        "agent_capacity": "let agents take {:g} more tasks",
        "task_quality": "ask for {:.3g} less of single tasks",
    }
    ways = [words[limit].format(amount) for limit, amount in binding.items() if limit in words]
    left = case.limits.left_usd
    if "max_total_cost" in binding and left is not None:
        # Agents were chosen before the plan was looked at, for what was left then.
        by = _raise_budget(case.limits, details.get("max_total_cost", left) + binding["max_total_cost"])
        ways.insert(0, by[0].lower() + by[1:])
    if not ways:
        return ""
    if not details.get("one_is_enough", True):
        text = " and ".join(ways)
        return f"{text[:1].upper()}{text[1:]}, at least: no choice of agents makes room for less."
    text = " or ".join(ways)
    least = "no other choice of agents makes room for less"
    if not details.get("is_least", True):
        least = "that is enough, and there was no time to find out whether less is"
    return f"{text[:1].upper()}{text[1:]}: {least}."


def find_lateness(case: Case) -> Iterator[Issue]:
    """The critical path fits into the time, and every task can be done by its own deadline."""
    due = case.limits.deadline_s
    if due is None and all(task.deadline_s is None for task in case.dag):
        return
    expected = _earliest_finishes(case, guesses=True)
    proven = _earliest_finishes(case, guesses=False)
    if due is not None and case.seconds > due * (1 + TOLERANCE):
        path = case.dag.critical_path({task.task_id: _seconds(case, task, guesses=True) for task in case.dag}).tasks
        yield _late(
            None,
            f"The plan is expected to take {case.seconds:.4g} s along {' -> '.join(path)}, and the time is {due:.4g} s",
            is_proven=max(proven.values(), default=0.0) > due * (1 + TOLERANCE),
        )
    for task in case.dag:
        if task.deadline_s is not None and expected[task.task_id] > task.deadline_s * (1 + TOLERANCE):
            late = _late(
                task.task_id,
                f"Task {task.task_id!r} is due after {task.deadline_s:.4g} s and expected after "
                f"{expected[task.task_id]:.4g} s at the earliest",
                is_proven=proven[task.task_id] > task.deadline_s * (1 + TOLERANCE),
            )
            yield late if task.task_id not in case.approved else replace(late, severity="warning")


def find_poor_quality(case: Case) -> Iterator[Issue]:
    """The share of tasks that are expected to succeed reaches what is asked for.

    Failures of the past alone refuse nothing: where only they keep a plan from what is asked for, and agents that
    answer would reach it, that is a warning. What something measured of their answers, and what they declare, counts.
    """
    asked = case.limits.min_quality
    if asked is None or not case.expected:
        return
    sure = case.counted
    mean = math.fsum(sure.values()) / len(sure)
    if mean >= asked * (1 - TOLERANCE):
        return
    answered = {task_id: max(counted, case.expected[task_id].correctness) for task_id, counted in sure.items()}
    failing = [task_id for task_id in sure if case.expected[task_id].completion < 1.0]
    if_answered = math.fsum(answered[task_id] if task_id in failing else sure[task_id] for task_id in sure) / len(sure)
    is_by_failures = if_answered >= asked * (1 - TOLERANCE)
    weakest = min(sure, key=lambda task_id: sure[task_id])
    known = case.expected[weakest]
    agent_id = case.plan.assignments[weakest]
    learned = (
        f" Where what was learned holds no more: {forget_command(agent_id, case.dag[weakest].task_type)}"
        if known.samples
        else ""
    )
    yield Issue(
        kind="quality",
        severity="warning" if is_by_failures else "error",
        task_id=weakest,
        message=(
            f"{mean:.1%} of the tasks are expected to succeed, and {asked:.1%} are asked for; the "
            f"weakest is {weakest!r} at {agent_id} with {sure[weakest]:.1%} (lower bound "
            f"{known.success_lower:.1%}, mean {known.success_rate:.1%}, of {known.samples} outcomes; "
            f"{known.tell_success()})."
            + (" That is by failures of the past alone, which fade: it is tried all the same." * is_by_failures)
        ),
        way_out=f"Give the weakest tasks better agents, or ask for less.{learned}",
    )


def _late(task_id: str | None, message: str, *, is_proven: bool) -> Issue:
    severity: Severity = "error" if is_proven else "warning"
    return Issue(
        kind="deadline",
        severity=severity,
        task_id=task_id,
        message=message + ("." if is_proven else "; but that rests on guesses, as some agents declare no time."),
        way_out=(
            "Give more time, or faster agents to the tasks on that path."
            if is_proven
            else "Declare the agents' seconds to have it proven; the run stops at its deadline in any case."
        ),
    )


def _earliest_finishes(case: Case, *, guesses: bool) -> dict[str, float]:
    finishes: dict[str, float] = {}
    for task_id in case.dag.topological_order():
        start = max((finishes[before] for before in case.dag.dependencies(task_id)), default=0.0)
        finishes[task_id] = start + _seconds(case, case.dag[task_id], guesses=guesses)
    return finishes


def _seconds(case: Case, task: Task, *, guesses: bool) -> float:
    """Return a task's expected seconds; without guesses, nothing where the agent neither declares nor has a record."""
    estimate = case.expected.get(task.task_id)
    if estimate is None:
        return 0.0
    agent = case.agents[case.plan.assignments[task.task_id]]
    # What failures took is how long we waited for them, and no proof of how long the work takes.
    profile = case.estimates.profiler.get_profile(agent.agent_id, task.task_type)
    is_guess = agent.seconds is None and (profile is None or not profile.successes or estimate.completion < MOSTLY)
    return 0.0 if is_guess and not guesses else estimate.seconds


AGREEMENT = 0.01
"""How far, relatively, an optimiser's figure may lie from the sum of our estimates before it is worth a warning."""


def settle_cost(plan: RoutedPlan, summed: float, *, is_known: bool) -> tuple[float, tuple[Issue, ...]]:
    """Return the cost to hold against the budget: the sum of our estimates, or the optimiser's figure.

    Args:
        summed: Dollars, by our estimates.
        is_known: Whether these come from a profiler; without one an optimiser that fits the plan is believed.
    """
    stated = plan.figures.estimated_cost
    if stated is None:
        return summed, ()
    fault = _why_inconsistent(plan, stated)
    if fault is None and not is_known:
        return float(stated), ()
    if fault is None and not math.isclose(stated, summed, rel_tol=AGREEMENT, abs_tol=1e-9):
        fault = f"is ${stated:.4g}, but the estimates of its tasks sum to ${summed:.4g}"
    if fault is None:
        return summed, ()
    doubt = Issue(
        kind="estimate",
        severity="warning",
        message=f"The optimiser's estimated_cost {fault}; ${summed:.4g} is used.",
        way_out="Optimise the plan again after changing it, with the profiler that the validator has.",
    )
    return summed, (doubt,)


def _why_inconsistent(plan: RoutedPlan, stated: Any) -> str | None:
    """Return what does not fit between the optimiser's figures and the plan, as the end of `estimated_cost ...`."""
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or not math.isfinite(stated) or stated < 0:
        return f"is {stated!r}, which is no amount"
    details = plan.figures.optimization_details
    workload = details.get("agent_workload") if isinstance(details, Mapping) else None
    if isinstance(workload, Mapping) and {agent: n for agent, n in workload.items() if n} != plan.workload:
        return "was made for other assignments"
    return None


_SOLVER_S = 1.0
"""For the assignment that would keep the limits, asked for only when a plan breaks one."""


async def reassign_within(case: Case) -> Edit | None:
    """Return the edit that moves tasks to other agents so that all limits hold together; None where none does.

    The quality that nobody asked for gives way only where the limits cannot be kept with it.
    """
    optimizer = DAAOOptimizer(case.estimates.profiler, case.staff, time_limit_s=_SOLVER_S)
    estimates = case.estimates.among(case.staff)
    asked = case.limits.min_quality
    for quality in (asked,) if asked is not None else (None, 0.0):
        constraints = OptimizationConstraints.of(replace(case.limits, min_quality=quality))
        assigned = {task: agent for task, agent in case.plan.assignments.items() if task in case.expected}
        try:
            found = await optimizer.optimize_routing_plan(assigned, case.dag, constraints, estimates=estimates)
        except (
            KapelleError
        ):  # agents that only an assignment names, and the like: what is wrong is said by other issues
            return None
        moved = {task: agent for task, agent in found.assignments.items() if agent != assigned[task]}
        if moved and found.optimization_details.get("status") in ("optimal", "feasible"):
            return Edit(
                summary=(
                    f"Give {len(moved)} task{'s' if len(moved) > 1 else ''} to other agents: the plan is then expected "
                    f"to cost ${found.estimated_cost:.4g} and take {found.estimated_time:.4g} s."
                ),
                assign=moved,
            )
    return None
