"""A routed plan: which agent does which task, why, and what is missing where none can. Proves nothing.

`RoutedPlan` is what the stages hand on: typed and frozen, a change is another value. `RoutingPlan` is the documented
face of it, with open dicts, for whoever routes or changes a plan by hand; `RoutedPlan.of` and `opened` turn one into
the other. What a plan is approved with is the validator's (see `kapelle.validation.ApprovedPlan`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from kapelle.errors import InvalidPlan

NO_PLAN = ("infeasible", "unknown")
"""What an optimiser's `status` says when its assignments are only those it was given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutingPlan:
    """Which agent does which task, and why, as documented code reads and writes it.

    The fields are fixed but the dicts are open; what freezes a plan is `RoutedPlan.of`, which the validator calls.

    >>> plan = RoutingPlan(unassigned={"ship": "no agent takes 'deploy'"})
    >>> plan.is_complete
    False
    >>> plan.assignments["ship"] = "deploy_agent"
    >>> plan.is_complete, plan.workload
    (True, {'deploy_agent': 1})
    """

    assignments: dict[str, str] = field(default_factory=dict)
    """Task id to agent id."""
    explanations: dict[str, str] = field(default_factory=dict)
    """Task id to the reason for its agent, with the runner-up and why it lost."""
    strategies: dict[str, Any] = field(default_factory=dict)
    """Task id to the way in which several agents are asked, where that pays; `assignments` has the first of them. The
    router hands these on as the optimiser made them: see `kapelle.strategies.Strategy`."""
    unassigned: dict[str, str] = field(default_factory=dict)
    """Task id to what is missing, and the way out."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What else is known of the plan: `RoutedPlan.metadata`."""

    @property
    def is_complete(self) -> bool:
        """Whether every task that was routed has an agent."""
        return all(task_id in self.assignments for task_id in self.unassigned)

    @property
    def workload(self) -> dict[str, int]:
        """How many tasks each agent of the plan has."""
        return _count(self.assignments.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutedTask:
    """Who does a task, and why."""

    agent: str
    reason: str = ""
    """With the runner-up, and why it lost."""
    strategy: Any = None
    """How several agents are asked, `agent` first, where that pays: a `kapelle.strategies.Strategy`."""
    pinned: bool = False
    """Whether its agent is an order of the user's: nothing moves it, and no other agent is its fallback."""
    firm: bool = False
    """Whether a firm rule chose its agent: no optimiser and no exploration moves it (see RoutingRule)."""
    propensity: float | None = None
    """How probable its agent was, where the task might have explored."""
    explored: bool = False
    """Whether it went to its agent to learn of it."""

    @property
    def features(self) -> dict[str, Any]:
        """What its outcomes say besides, where it might have explored."""
        drawn = {} if self.propensity is None else {"propensity": self.propensity}
        return {**drawn, "explored": True} if self.explored else drawn

    def is_done_like(self, other: RoutedTask) -> bool:
        """Whether the same agents do the task in the same way."""
        return (self.agent, self.strategy) == (other.agent, other.strategy)

    def moved(self, agent: str, why: str, **changes: Any) -> RoutedTask:
        """Return the task with another agent, for one more reason. What was drawn for the agent before goes."""
        changes = {"propensity": None, "explored": False, **changes}
        return replace(self, agent=agent, reason=f"{self.reason} {why}".strip(), **changes)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizedFigures:
    """What an optimiser says of the assignment that it made, and of no other one. Whoever optimises may say anything:
    the validator holds it against its own estimates."""

    cost_savings: Any = None
    estimated_cost: Any = None
    baseline_cost: Any = None
    estimated_time: Any = None
    quality_score: Any = None
    optimization_details: Any = None
    daao_optimized: Any = None
    """True where the plan is the optimiser's, and not only weighed by it."""

    @classmethod
    def of(cls, optimized: Any) -> OptimizedFigures:
        """Return what an optimiser says of its plan: see `OptimizedAssignments`."""
        details = dict(optimized.optimization_details)
        return cls(
            cost_savings=optimized.cost_savings,
            estimated_cost=optimized.estimated_cost,
            baseline_cost=details.get("baseline_cost", optimized.estimated_cost + optimized.cost_savings),
            estimated_time=optimized.estimated_time,
            quality_score=optimized.quality_score,
            optimization_details=details,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what is said, under the documented keys."""
        return {name: value for name in _FIGURES if (value := getattr(self, name)) is not None}


_FIGURES = tuple(OptimizedFigures.__dataclass_fields__)
_KNOWN = frozenset((*_FIGURES, "pinned", "firm", "features", "daao_error"))


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutedPlan:
    """Which agent does which task, and why: one value for each task.

    >>> plan = RoutedPlan(tasks={"ship": RoutedTask(agent="ann", reason="She asked for it.", pinned=True)})
    >>> plan.assignments, plan.metadata
    (mappingproxy({'ship': 'ann'}), {'pinned': ['ship']})
    """

    tasks: Mapping[str, RoutedTask] = field(default_factory=dict)
    """By task id, for the tasks that have an agent."""
    unassigned: Mapping[str, str] = field(default_factory=dict)
    """Task id to what is missing, and the way out."""
    figures: OptimizedFigures = OptimizedFigures()
    """What the cost optimiser made of the plan."""
    optimizer_error: str | None = None
    """Why the plan stands as routed, where the cost optimiser failed."""
    remarks: Mapping[str, Any] = field(default_factory=dict)
    """What a router of the user's own says besides, under keys of its own."""
    assignments: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """Task id to agent id."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "assignments", MappingProxyType({name: task.agent for name, task in self.tasks.items()}))
        for name in ("tasks", "unassigned", "remarks"):
            put(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made of what the plan was made of: a view of a mapping has neither."""
        parts = (dict(self.tasks), dict(self.unassigned), self.figures, self.optimizer_error, dict(self.remarks))
        return _made_of, parts

    @classmethod
    def of(cls, plan: RoutingPlan | RoutedPlan) -> RoutedPlan:
        """Return a plan as it is now. A strategy whose first agent is not the assigned one is stale, and goes: whoever
        gave the task to another agent since then meant that agent.

        Raises:
            InvalidPlan: it is no plan, or a part of it is not what is documented: a router may be anybody's.
        """
        if isinstance(plan, RoutedPlan):
            return plan
        if not isinstance(plan, RoutingPlan):
            raise InvalidPlan(f"A router gave {plan!r:.60}, no RoutingPlan. Return one that assigns the tasks.")
        for name in ("assignments", "explanations", "strategies", "unassigned", "metadata"):
            _require(isinstance(getattr(plan, name), Mapping), name, getattr(plan, name), "a mapping")
        for name in ("assignments", "unassigned"):
            for task_id, text in getattr(plan, name).items():
                _require(isinstance(task_id, str) and isinstance(text, str), name, {task_id: text}, "texts by task id")
        for one in plan.strategies.values():
            _require(one is None or agents_named(one) != (), "strategies", one, "strategies by task id")
        said = plan.metadata
        pinned, firm = (_task_ids(said, name) for name in ("pinned", "firm"))
        features = said.get("features")
        features = {} if features is None else features
        is_known = isinstance(features, Mapping) and all(isinstance(one, Mapping) for one in features.values())
        _require(is_known, "metadata['features']", features, "mappings by task id")
        tasks = {}
        for name, agent in plan.assignments.items():
            strategy, known = plan.strategies.get(name), features.get(name, {})
            tasks[name] = RoutedTask(
                agent=agent,
                reason=str(plan.explanations.get(name) or ""),
                strategy=None if agents_named(strategy)[:1] not in ((), (agent,)) else strategy,
                pinned=name in pinned,
                firm=name in firm,
                propensity=_share(known.get("propensity")),
                explored=bool(known.get("explored", False)),
            )
        return cls(
            tasks=tasks,
            unassigned=dict(plan.unassigned),
            figures=OptimizedFigures(**{name: said[name] for name in _FIGURES if name in said}),
            optimizer_error=None if said.get("daao_error") is None else str(said["daao_error"]),
            remarks={name: value for name, value in said.items() if name not in _KNOWN},
        )

    def opened(self) -> RoutingPlan:
        """Return the documented form, whose dicts are open."""
        return RoutingPlan(
            assignments=dict(self.assignments),
            explanations=dict(self.explanations),
            strategies=dict(self.strategies),
            unassigned=dict(self.unassigned),
            metadata=self.metadata,
        )

    def with_tasks(self, tasks: Mapping[str, RoutedTask], *, drop_figures: bool = False) -> RoutedPlan:
        """Return the plan in which these tasks are done so; `drop_figures` where it is the optimiser's no longer."""
        if not tasks:
            return self
        return replace(
            self,
            tasks={**self.tasks, **tasks},
            unassigned={name: why for name, why in self.unassigned.items() if name not in tasks},
            figures=OptimizedFigures() if drop_figures else self.figures,
        )

    def follow(self, optimized: Any) -> RoutedPlan:
        """Return the plan as an optimiser has it, with its reasons; as it is, where that found none within the limits.

        Tasks that are fixed keep their agents, and take the strategy that goes with them.
        """
        figures = OptimizedFigures.of(optimized)
        details = figures.optimization_details
        if details.get("status") in NO_PLAN:
            # The figures are those of the plan as routed: the validator holds them against the same limits.
            obstacle = details.get("binding") or details.get("missed")
            in_time = " in time" if details["status"] == "unknown" else ""
            why = f"{details['status']}: no plan was found within the limits{in_time} ({obstacle})"
            return replace(self, figures=figures, optimizer_error=why)
        gain = (
            f": the plan as a whole is expected to cost ${optimized.cost_savings:.4f} less"
            if optimized.cost_savings > 0
            else ", so that the plan keeps its constraints"
        )
        reasons, fixed = details.get("reasons", {}), self.fixed
        strategies = getattr(optimized, "strategies", None) or {}
        comparisons = getattr(optimized, "comparisons", None) or {}
        moved: dict[str, RoutedTask] = {}
        for task_id, agent_id in optimized.assignments.items():
            task, strategy = self.tasks[task_id], strategies.get(task_id)
            if task_id in fixed:
                if strategy is not None:
                    moved[task_id] = replace(task, strategy=strategy)
            elif (reason := reasons.get(task_id)) is not None:
                moved[task_id] = task.moved(agent_id, reason, strategy=strategy)
            elif (agent_id, strategy) != (task.agent, task.strategy):
                why = f"Moved from {task.agent} to {agent_id} by the cost optimiser{gain}."
                why = f"{why} {comparisons.get(task_id, '')}".rstrip()
                if strategy is not None or agent_id == task.agent:
                    why = f"Done as {strategy or agent_id} by the cost optimiser{gain}."
                moved[task_id] = task.moved(agent_id, why, strategy=strategy)
        return replace(self.with_tasks(moved), figures=replace(figures, daao_optimized=True))

    def without(self, unassigned: Mapping[str, str]) -> RoutedPlan:
        """Return the plan in which nobody does these tasks, for these reasons; what it would cost is open then."""
        if not unassigned:
            return self
        return replace(
            self,
            tasks={name: task for name, task in self.tasks.items() if name not in unassigned},
            unassigned={**self.unassigned, **unassigned},
            figures=replace(self.figures, estimated_cost=None),
        )

    def only(self, names: Collection[str]) -> RoutedPlan:
        """Return what is known of some tasks, without figures: these were of the whole."""
        return RoutedPlan(tasks={name: task for name, task in self.tasks.items() if name in names})

    def joined(self, new: RoutedPlan) -> RoutedPlan:
        """Return this plan with the tasks of another one, which says who is missing."""
        return RoutedPlan(tasks={**self.tasks, **new.tasks}, unassigned=new.unassigned)

    @property
    def explanations(self) -> Mapping[str, str]:
        """Task id to the reason for its agent."""
        return MappingProxyType({name: task.reason for name, task in self.tasks.items() if task.reason})

    @property
    def strategies(self) -> Mapping[str, Any]:
        """Task id to its strategy, for tasks that may ask several agents."""
        found = {name: task.strategy for name, task in self.tasks.items() if task.strategy is not None}
        return MappingProxyType(found)

    @property
    def pinned(self) -> frozenset[str]:
        """The tasks whose agent is an order of the user's."""
        return frozenset(name for name, task in self.tasks.items() if task.pinned)

    @property
    def fixed(self) -> frozenset[str]:
        """The tasks that no optimiser and no exploration moves: by order of the user's, or by a firm rule."""
        return frozenset(name for name, task in self.tasks.items() if task.pinned or task.firm)

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Task id to what its outcomes say besides: whether it explores, and how probable that was."""
        return {name: task.features for name, task in self.tasks.items() if task.features}

    @property
    def is_complete(self) -> bool:
        """Whether every task that was routed has an agent."""
        return all(task_id in self.tasks for task_id in self.unassigned)

    @property
    def workload(self) -> dict[str, int]:
        """How many tasks each agent of the plan has."""
        return _count(self.assignments.values())

    @property
    def metadata(self) -> dict[str, Any]:
        """What else is known of the plan, under the documented keys.

        What the cost optimiser made of it: `daao_optimized`, `cost_savings`, `estimated_cost`, `baseline_cost`,
        `estimated_time`, `quality_score`, `optimization_details`; or `daao_error`, where it failed. Which tasks keep
        their agents: `pinned`, `firm`. What exploration drew: `features`.
        """
        said = {name: [task_id for task_id, one in self.tasks.items() if getattr(one, name)] for name in _MARKS}
        derived = {**said, **self.figures.to_dict(), "daao_error": self.optimizer_error, "features": self.features}
        return {**self.remarks, **{name: value for name, value in derived.items() if value not in (None, [], {})}}


_MARKS = ("pinned", "firm")


def _made_of(
    tasks: dict[str, RoutedTask],
    unassigned: dict[str, str],
    figures: OptimizedFigures,
    optimizer_error: str | None,
    remarks: dict[str, Any],
) -> RoutedPlan:
    return RoutedPlan(
        tasks=tasks, unassigned=unassigned, figures=figures, optimizer_error=optimizer_error, remarks=remarks
    )


def _require(holds: bool, name: str, found: object, wanted: str) -> None:
    if not holds:
        raise InvalidPlan(f"{name} of a routing plan is {found!r:.80}. Give {wanted}.")


def _share(found: object) -> float | None:
    is_share = isinstance(found, (int, float)) and not isinstance(found, bool) and 0 < found <= 1
    return found if is_share else None  # type: ignore[return-value]  # it is a number by then


def _task_ids(said: Mapping[str, Any], name: str) -> frozenset[str]:
    """Return the tasks that a list in the metadata names."""
    found = said.get(name)
    found = () if found is None else found
    is_list = isinstance(found, Iterable) and not isinstance(found, (str, bytes))
    _require(is_list, f"metadata[{name!r}]", found, "a list of task ids")
    names = tuple(found)
    _require(all(isinstance(one, str) for one in names), f"metadata[{name!r}]", names, "a list of task ids")
    return frozenset(names)


def agents_named(strategy: Any) -> tuple[str, ...]:
    """Return the agents that a strategy names, whatever its class: routing stands left of them, and knows none."""
    found: list[str] = []
    for name in getattr(strategy, "__dataclass_fields__", ()):
        value = getattr(strategy, name)
        if name in ("agent", "cheap") and isinstance(value, str):
            found.append(value)
        elif name == "agents":
            found += value
        elif hasattr(value, "__dataclass_fields__"):
            found += agents_named(value)
    return tuple(found)


def _count(agents: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for agent in agents:
        counts[agent] = counts.get(agent, 0) + 1
    return counts
