"""A plan that the validator approved: the only thing that execution accepts. Only this folder can make one. Beside it
what the validator found, where it approved and where it did not.

Python cannot make a forgery impossible, only deliberate: the constructor asks for a token that is not exported, and the
ways around a constructor (`dataclasses.replace`, copying with changes, pickling, subclasses) are closed. What was
approved cannot change afterwards either: the graph is sealed, and the mappings are read-only copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NoReturn

from kapelle.allocation import PlanEstimates
from kapelle.errors import InvalidInput
from kapelle.estimates import Estimate
from kapelle.graph import TaskDAG
from kapelle.limits import RunLimits
from kapelle.routing import RoutedPlan
from kapelle.strategies import Single, Strategy

from .issue import Issue

APPROVAL = object()
"""What the validator shows the constructor."""

_WAY_OUT = "Have the plan checked by AOPValidator.validate_routing_plan; its result holds the approved plan."


@lru_cache(maxsize=1_000)
def _single(agent: str) -> Single:
    return Single(agent=agent)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ApprovedPlan:
    """A graph whose every task has an agent that can do it, within the limits that were given.

    Raises:
        InvalidInput: anything but the validator tries to make one.
    """

    dag: TaskDAG
    """Sealed: a change is a new version, and needs a new approval."""
    routed: RoutedPlan
    """Who does each task, and why."""
    estimates: Mapping[str, Estimate]
    """Task id to what the task is expected to take, for every task."""
    step_estimates: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    """Task id to what each agent of its strategy is expected to take, where there is a strategy."""
    plan_estimates: PlanEstimates
    """What it was approved by: what every agent is expected to take, and how complex the tasks are."""
    score: float
    """The validator's score in 0..1."""
    estimated_cost: float
    """Dollars for all tasks."""
    estimated_time: float
    """Seconds along the critical path."""
    limits: RunLimits = field(default_factory=RunLimits)
    """What the plan was approved for."""
    request: str | None = None
    """The user's words, where they were given."""
    warnings: tuple[Issue, ...] = ()
    """What the validator noted without refusing."""
    approval: InitVar[object] = None

    def __post_init__(self, approval: object) -> None:
        if approval is not APPROVAL:
            raise InvalidInput(f"Only the validator makes an ApprovedPlan. {_WAY_OUT}")
        put = object.__setattr__
        put(self, "dag", self.dag.sealed())
        for name in ("estimates", "step_estimates"):
            put(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def max_budget(self) -> float | None:
        """Dollars that the tasks were approved for; None: no limit was given."""
        return self.limits.left_usd

    @property
    def max_time(self) -> float | None:
        """Seconds that the plan was approved for."""
        return self.limits.deadline_s

    @property
    def min_quality(self) -> float | None:
        """The least share of tasks expected to succeed that it was approved for: see RunLimits."""
        return self.limits.min_quality

    @property
    def assignments(self) -> Mapping[str, str]:
        """Task id to agent id, for every task."""
        return self.routed.assignments

    @property
    def explanations(self) -> Mapping[str, str]:
        """Task id to the reason for its agent, where the routing gave one."""
        return self.routed.explanations

    @property
    def strategies(self) -> Mapping[str, Strategy]:
        """Task id to its strategy, for tasks that may ask more agents than the one they are assigned to."""
        return self.routed.strategies

    def strategy_of(self, task_id: str) -> Strategy:
        """Return how a task gets its answer."""
        routed = self.routed.tasks[task_id]
        strategy: Strategy | None = routed.strategy
        return strategy or _single(routed.agent)

    def step_estimate(self, task_id: str, agent: str) -> Estimate:
        """Return what one agent of a task's strategy is expected to take."""
        return self.step_estimates.get(task_id, {}).get(agent) or self.estimates[task_id]

    def __repr__(self) -> str:
        return f"<ApprovedPlan: {len(self.dag)} tasks, expected ${self.estimated_cost:.4g}>"

    def __init_subclass__(cls, **options: Any) -> None:
        raise InvalidInput(f"ApprovedPlan has no subclasses: one could skip the approval. {_WAY_OUT}")

    def __copy__(self) -> ApprovedPlan:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ApprovedPlan:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise InvalidInput(f"An ApprovedPlan is not pickled: approve it again where it is to run. {_WAY_OUT}")

    # A frozen dataclass with slots is given a __setstate__ that fills any instance; this one fills none.
    def __getstate__(self) -> NoReturn:
        raise InvalidInput(f"An ApprovedPlan is not pickled: approve it again where it is to run. {_WAY_OUT}")

    def __setstate__(self, state: object) -> NoReturn:
        raise InvalidInput(f"Only the validator makes an ApprovedPlan. {_WAY_OUT}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationResult:
    """What the validator found. A plan that passed has no errors, and is in `approved`."""

    passed: bool
    issues: tuple[Issue, ...] = ()
    """Errors first, then warnings."""
    quality_score: float = 0.0
    """The score in 0..1; higher is better."""
    estimated_cost: float = 0.0
    """Dollars for all tasks."""
    estimated_time: float = 0.0
    """Seconds along the critical path."""
    approved: ApprovedPlan | None = None
    """What may run; None if the plan did not pass."""
    estimates: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))
    """What each task is expected to take, for those whose agent can do them."""
    detection_cost_usd: float = 0.0
    """Dollars that a model took to look for faults."""
    detected: tuple[Issue, ...] = ()
    """Those of the issues that it found."""

    def __repr__(self) -> str:
        """In a line: asyncio tells of what it has run with all of this, which for a large plan takes seconds."""
        verdict = "passed" if self.passed else "not passed"
        return f"<ValidationResult: {verdict}, {len(self.issues)} issues, {len(self.estimates)} tasks>"

    @property
    def errors(self) -> tuple[Issue, ...]:
        """The findings that keep the plan from running."""
        return tuple(issue for issue in self.issues if issue.severity == "error")

    @property
    def warnings(self) -> tuple[Issue, ...]:
        """The findings that do not."""
        return tuple(issue for issue in self.issues if issue.severity == "warning")
