"""What going on with a run needs to know of it: read from its record alone. Refuses runs that are done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kapelle.budget import Amounts
from kapelle.errors import InvalidInput
from kapelle.execution import CUT_OFF, Interruption, find_interruptions, find_open_planning
from kapelle.graph import read_json_value
from kapelle.ledger import Journal, Run
from kapelle.limits import ASKED, RunLimits
from kapelle.planning import Plan
from kapelle.routing import RoutedPlan, RoutedTask
from kapelle.strategies import agents_of, strategy_from_dict

USUAL_WAYS: Mapping[str, Any] = {"reflect": False, "replan": True}
"""How an engine works where the settings of a run say nothing of it."""
MIN_USD = 1e-9
"""What a budget counts in: sums of floats differ by less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumption:
    """How a run goes on."""

    run: Run
    terms: RunLimits
    """What the user asks of it by now."""
    changed: Mapping[str, Any]
    """The terms that are new, and from when on a new deadline counts."""
    deadline_s: float | None
    """Seconds that are left."""
    interruptions: tuple[Interruption, ...]
    open_planning_usd: float
    """What was set aside for a planner's call of whose end nobody has told."""

    @property
    def state(self) -> str:
        """Where it goes on: `planning` if nothing was approved yet, else `running`."""
        return "planning" if self.run.approved_at is None else "running"

    @property
    def spent(self) -> Amounts:
        """What it has used, what was cut off included: that may all have been charged."""
        cut_off = sum(one.cost_usd for one in self.interruptions)
        return Amounts(
            usd=self.run.cost_usd + cut_off + self.open_planning_usd,
            tokens=self.run.usage.tokens,
            calls=self.run.usage.calls,
        )

    @property
    def finished(self) -> frozenset[str]:
        """Tasks of which nothing more will come."""
        over = {"done"} if self.run.is_tried_again else {"done", "failed", "skipped"}
        return frozenset(task_id for task_id, task in self.run.tasks.items() if task.state in over)


def plan_resumption(run: Run, new: Mapping[str, Any]) -> Resumption:
    """Return how a run goes on, with new terms where they are given (not None).

    Raises:
        InvalidInput: it is done, a term is wrong, or its deadline has passed and no new one is given.
    """
    if run.approved_at is None and run.graph is None and run.settings.get("given"):
        raise InvalidInput(
            f"Run {run.run_id} was cut off before its plan was written down, and the plan was not made by kapelle. "
            "Nothing has run: run the plan again."
        )
    if run.state == "done":
        raise InvalidInput(f"Run {run.run_id} is done; there is nothing left to do. `kapelle explain` shows it.")
    before = {name: value for name, value in run.settings.items() if name in ASKED}
    changed = {name: value for name, value in new.items() if value is not None}
    terms = RunLimits(**{**before, **changed})
    spent = run.cost_usd
    if "budget_usd" in changed and changed["budget_usd"] < spent - MIN_USD:
        raise InvalidInput(
            f"Run {run.run_id} has cost ${spent:.4g} already, which is more than the budget of "
            f"${changed['budget_usd']:.4g} that is given now. Give more: it is for the whole run."
        )
    left_s = terms.deadline_s
    if "deadline_s" in changed:
        changed["deadline_from_s"] = run.active_seconds
    elif left_s is not None:
        left_s -= run.active_seconds - float(run.settings.get("deadline_from_s", 0.0))
        if left_s <= 0:
            raise InvalidInput(
                f"Run {run.run_id} has used the {terms.deadline_s:g} s that it was given. Give it more: "
                "--deadline SECONDS, or resume(deadline_s=...); they count from now on."
            )
    return Resumption(
        run=run,
        terms=terms,
        changed=changed,
        deadline_s=left_s,
        interruptions=find_interruptions(run),
        open_planning_usd=find_open_planning(run),
    )


def recorded_plan(run: Run) -> Plan | None:
    """Return the plan of a run that was not approved yet; None if nothing was planned."""
    if run.graph is None:
        return None
    return Plan(request=run.request, graph=run.graph, planner=run.planner, notes=run.notes)


def recorded_routing(
    run: Run, able: Collection[str], finished: Collection[str], pinned: Collection[str] = frozenset()
) -> RoutedPlan:
    """Return who does what in a run, as recorded; tasks still to do whose agents are not `able` by now have nobody.

    Args:
        pinned: Tasks whose agent is an order of the user's, besides those of which the record says so.
    """
    assert run.graph is not None
    said: Mapping[str, Any] = run.routing
    pinned, firm = {*said.get("pinned", ()), *pinned}, frozenset(said.get("firm", ()))
    features = said.get("features", {})
    tasks = {}
    for name, agent in run.assignments.items():
        if name not in run.graph:
            continue
        way = run.strategies.get(name)
        strategy = None if way is None else strategy_from_dict(way)
        agents = (agent,) if strategy is None else agents_of(strategy)
        if name not in finished and any(one not in able for one in agents):
            continue
        drawn = features.get(name, {})
        tasks[name] = RoutedTask(
            agent=agent,
            reason=run.explanations.get(name, ""),
            strategy=strategy,
            pinned=name in pinned,
            firm=name in firm,
            propensity=drawn.get("propensity"),
            explored=bool(drawn.get("explored", False)),
        )
    return RoutedPlan(tasks=tasks)


def write_resumption(journal: Journal, going_on: Resumption, owner: str, ways: Mapping[str, Any]) -> None:
    """Write down that a run goes on, and first of all what its end had left open.

    Args:
        ways: How the engine works that goes on with it: see Engine.
    """
    before = {**USUAL_WAYS, **going_on.run.settings}
    new = {name: value for name, value in ways.items() if name in before and before[name] != value}
    settings = read_json_value({**going_on.changed, **new})
    journal.write("run_resumed", {"state": going_on.state, "owner": owner, "settings": settings})
    if going_on.open_planning_usd:
        journal.write("planning_spent", {"reason": CUT_OFF, "planning_cost_usd": going_on.open_planning_usd})
    for one in going_on.interruptions:
        charged = {"cost_usd": one.cost_usd, "cost_assumed": True} if one.cost_usd else {}
        journal.write("task_interrupted", {"reason": CUT_OFF, **charged}, task_id=one.task_id)
