"""The checks of a plan, each a pure function that yields its findings.

Solvability, completeness and non-redundancy are AOP's criteria (arXiv:2410.02189), here in their checkable form: what
the graph, the agents and the ledger's outcomes say. What the tasks say (whether they cover the request, fit their
tools, repeat each other) is checked by `content` and `redundancy`, for drafts as for plans.

Estimates are expectations. A plan over its budget is refused, because money cannot be given back. A late plan is
refused only where what is known of its agents' times proves it; where times are guesses it is a warning, since the run
stops at its deadline with the results so far.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kapelle.agents import AgentCapability
from kapelle.allocation import why_unable
from kapelle.errors import InvalidInput
from kapelle.estimates import CostProfiler, Estimate
from kapelle.graph import Task, TaskDAG, find_literals
from kapelle.limits import RunLimits
from kapelle.routing import RoutedPlan
from kapelle.strategies import Cascade, Single, Strategy, Vote

from .edit import Edit
from .issue import Issue, Severity
from .solvability import best_agent, judge_pair, rework

MOSTLY = 0.5
"""An agent that answers more seldom mostly fails."""
TOLERANCE = 1e-9
"""Relative room for rounding: a plan that was optimised to a limit keeps it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is checked: the plan, what it was made for, and what it is expected to take."""

    plan: RoutedPlan
    dag: TaskDAG
    agents: Mapping[str, AgentCapability]
    estimates: Mapping[str, Estimate]
    """For the tasks whose agent can do them."""
    counted: Mapping[str, float]
    """What each of them counts for where a quality is asked for: see `kapelle.allocation.Expectation`."""
    cost: float
    seconds: float
    limits: RunLimits = field(default_factory=RunLimits)
    profiler: CostProfiler = field(default_factory=CostProfiler)
    available: Collection[str] | None = None
    """The agents that edits may give tasks to; None: all."""
    approved: Collection[str] = ()
    """Tasks that have their agents by an earlier approval."""

    @property
    def staff(self) -> list[AgentCapability]:
        """The agents that edits may give tasks to."""
        return [a for a in self.agents.values() if self.available is None or a.agent_id in self.available]


def find_unassigned(case: Case) -> Iterator[Issue]:
    """Completeness: every task has an agent, and every assignment has a task."""
    for task in case.dag:
        if task.task_id not in case.plan.assignments:
            yield Issue(
                kind="complete",
                severity="error",
                task_id=task.task_id,
                message=f"Task {task.task_id!r} ({task.task_type}) has no agent.",
                way_out=case.plan.unassigned.get(task.task_id, "Route the graph again, or assign the task."),
                edit=_find_doer(case, task),
            )
    for task_id, agent_id in case.plan.assignments.items():
        if task_id not in case.dag:
            yield Issue(
                kind="complete",
                severity="error",
                task_id=task_id,
                message=f"The plan assigns {task_id!r} to {agent_id!r}, but there is no such task in the graph.",
                way_out="Route this graph, or remove the assignment.",
                edit=Edit(summary=f"Forget the assignment of {task_id!r}.", unassign=(task_id,)),
            )


def find_unsolvable(case: Case) -> Iterator[Issue]:
    """Solvability: the agent exists, takes the task's type, and has the skills."""
    for task in case.dag:
        agent_id = case.plan.assignments.get(task.task_id)
        if agent_id is None:
            continue
        fault = why_unable(task, strategy_of(case.plan, task.task_id), case.agents)
        if fault is not None:
            able = [agent.agent_id for agent in case.agents.values() if agent.takes(task)]
            yield Issue(
                kind="solvable",
                severity="error",
                task_id=task.task_id,
                message=f"Task {task.task_id!r} is assigned to {fault}.",
                way_out=f"Assign it to {_listed(able)}." if able else f"Add an agent with {_wanted(task)}.",
                edit=_find_doer(case, task),
            )


def find_hopeless(case: Case) -> Iterator[Issue]:
    """Solvability by experience: outcomes say that this agent fails at such tasks nearly always.

    No error: the world, or the agent, may be mended, and nothing but another try could tell.
    """
    for task in case.dag:
        routed = case.plan.tasks.get(task.task_id)
        agent = None if routed is None else case.agents.get(routed.agent)
        if routed is None or agent is None or not agent.takes(task):
            continue
        belief = judge_pair(agent, task.task_type, case.profiler)
        if belief.is_hopeless:
            other = best_agent(task, case.staff, case.profiler)
            if routed.firm and other not in (None, agent.agent_id):
                continue  # it is asked first, and where it refuses, the other one is
            is_kept = routed.pinned or task.task_id in case.approved or task.strategy is not None
            yield Issue(
                kind="solvable",
                severity="warning",
                task_id=task.task_id,
                message=(
                    f"Task {task.task_id!r} is assigned to {agent.agent_id!r}, which at {task.task_type!r} is expected "
                    f"to succeed in {belief.mean:.0%}, at best {belief.upper:.0%}, as learned from {belief.outcomes} "
                    "outcomes. It is tried all the same."
                ),
                way_out=(f"Assign it to {other}" if other is not None else f"Add an agent with {_wanted(task)}")
                + f"; or, where what failed is mended: {forget_command(agent.agent_id, task.task_type)}",
                edit=_assign(task, other) if other is not None and not is_kept else None,
            )


def find_literal_references(case: Case) -> Iterator[Issue]:
    """What reads like a reference to a task and stays text is noticed: whoever wrote it may have meant the output."""
    for task in case.dag:
        if not (task.inputs or "{{" in task.description):
            continue
        others = case.dag.tasks.keys() - {task.task_id}
        places = {"inputs": task.inputs, "description": task.description}
        for found in (one for name, value in places.items() for one in find_literals(value, others, place=name)):
            what = "a mapping" if found.written == str(found.reference) else f"the text {found.written!r}"
            where = "in quotes" if found.written == str(found.reference) else "as a value in the inputs"
            yield Issue(
                kind="structure",
                severity="warning",
                task_id=task.task_id,
                message=f"Task {task.task_id!r}: {found.place} keeps {what}, not the output of "
                f"{found.reference.task_id!r}.",
                way_out=f"Write '{found.reference}' {where} to have the output there.",
            )


def forget_command(agent_id: str, task_type: str) -> str:
    """Return what makes an agent's past outcomes count no more."""
    return f"kapelle forget {shlex.quote(agent_id)} --type {shlex.quote(task_type)}"


def _find_doer(case: Case, task: Task) -> Edit | None:
    """Return the edit that gives a task to the agent that does it best; else describes it again, or splits it."""
    if task.strategy is not None:
        return None  # who does it is an order, which only whoever gave it changes
    other = best_agent(task, case.staff, case.profiler) or best_agent(
        task, case.staff, case.profiler, even_hopeless=True
    )
    return _assign(task, other) if other is not None else rework(task, case.staff, case.dag.tasks)


def _assign(task: Task, agent_id: str) -> Edit:
    return Edit(summary=f"Give {task.task_id!r} to {agent_id}.", assign={task.task_id: agent_id})


def find_overspending(case: Case) -> Iterator[Issue]:
    """The budget holds the expected cost."""
    left, spent = case.limits.left_usd, case.limits.spent_usd
    if left is None or case.cost <= left * (1 + TOLERANCE):
        return
    dearest = sorted(case.estimates, key=lambda task_id: -case.estimates[task_id].cost_usd)[:3]
    where = ", ".join(f"{task_id} ${case.estimates[task_id].cost_usd:.4g}" for task_id in dearest)
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
    return f"{text[:1].upper()}{text[1:]}: no other choice of agents makes room for less."


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


def find_queues(case: Case) -> Iterator[Issue]:
    """Capacity: agents with more tasks at one level than they do at a time. They queue, so it is only a warning."""
    for number, level in enumerate(case.dag.levels()):
        load = Counter(case.plan.assignments[task_id] for task_id in level if task_id in case.plan.assignments)
        for agent_id, count in load.items():
            agent = case.agents.get(agent_id)
            if agent is not None and count > agent.max_concurrency:
                yield Issue(
                    kind="capacity",
                    severity="warning",
                    message=(
                        f"{agent_id} has {count} tasks at level {number} and does {agent.max_concurrency} at a time: "
                        "the others wait."
                    ),
                    way_out="Raise its max_concurrency, or add an agent that shares the work.",
                )


def find_poor_quality(case: Case) -> Iterator[Issue]:
    """The share of tasks that are expected to succeed reaches what is asked for.

    Failures of the past alone refuse nothing: where only they keep a plan from what is asked for, and agents that
    answer would reach it, that is a warning. What something measured of their answers, and what they declare, counts.
    """
    asked = case.limits.min_quality
    if asked is None or not case.estimates:
        return
    sure = case.counted
    mean = math.fsum(sure.values()) / len(sure)
    if mean >= asked * (1 - TOLERANCE):
        return
    answered = {task_id: max(counted, case.estimates[task_id].correctness) for task_id, counted in sure.items()}
    failing = [task_id for task_id in sure if case.estimates[task_id].completion < 1.0]
    if_answered = math.fsum(answered[task_id] if task_id in failing else sure[task_id] for task_id in sure) / len(sure)
    is_by_failures = if_answered >= asked * (1 - TOLERANCE)
    weakest = min(sure, key=lambda task_id: sure[task_id])
    known = case.estimates[weakest]
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


CHECKS = (
    find_unassigned,
    find_literal_references,
    find_unsolvable,
    find_hopeless,
    find_overspending,
    find_lateness,
    find_poor_quality,
    find_queues,
)


def strategy_of(plan: RoutedPlan, task_id: str) -> Strategy:
    """Return how a plan has a task done.

    Raises:
        InvalidInput: the plan holds something else where a strategy must be.
    """
    routed = plan.tasks[task_id]
    given = routed.strategy
    if given is not None and not isinstance(given, (Single, Cascade, Vote)):
        raise InvalidInput(
            f"strategies[{task_id!r}] is {given!r:.80}; give a Single, a Cascade or a Vote, or leave it out."
        )
    return Single(agent=routed.agent) if given is None else given


def find_issues(case: Case) -> tuple[Issue, ...]:
    """Return every finding, errors first."""
    found = [issue for check in CHECKS for issue in check(case)]
    return tuple(sorted(found, key=lambda issue: issue.severity != "error"))


def _wanted(task: Task) -> str:
    skills = f" and skills: [{', '.join(sorted(task.requirements))}]" if task.requirements else ""
    return f"task_types: [{task.task_type}]{skills}"


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
    estimate = case.estimates.get(task.task_id)
    if estimate is None:
        return 0.0
    agent = case.agents[case.plan.assignments[task.task_id]]
    # What failures took is how long we waited for them, and no proof of how long the work takes.
    profile = case.profiler.get_profile(agent.agent_id, task.task_type)
    is_guess = agent.seconds is None and (profile is None or not profile.successes or estimate.completion < MOSTLY)
    return 0.0 if is_guess and not guesses else estimate.seconds


def _listed(names: Collection[str], *, most: int = 5) -> str:
    some = list(names)[:most]
    rest = f" or {len(names) - most} others" if len(names) > most else ""
    return " or ".join(some) + rest
