"""ChoicePolicy: what has learned from a log who does which task. A Protocol; `kapelle.learning` has one.

A policy proposes, and the limits of a plan dispose: see `DAAOOptimizer`. Tasks that are pinned, ordered, or were tried
already are not its to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kapelle.agents import AgentCapability
from kapelle.estimates import HOPELESS, MIN_OUTCOMES, CostProfiler
from kapelle.graph import Task
from kapelle.strategies import Single, Strategy, agents_of

from .candidates import asked
from .constraints import OptimizationConstraints
from .formulation import GivenPlan


class PolicyProposal(Protocol):
    """What a policy has a task done by, and why, as a sentence."""

    @property
    def strategy(self) -> Strategy: ...
    @property
    def reason(self) -> str: ...


class ChoicePolicy(Protocol):
    """Chooses strategies for tasks by what a log has taught."""

    def propose(self, tasks: Sequence[Task], may: Callable[[Task, Strategy], bool]) -> Mapping[str, PolicyProposal]:
        """Return a proposal by task id, for those tasks of which it knows enough; `may` says what can be used."""
        ...


def propose(
    policy: ChoicePolicy,
    work: GivenPlan,
    constraints: OptimizationConstraints,
    registry: Mapping[str, AgentCapability],
    profiler: CostProfiler,
) -> Mapping[str, PolicyProposal]:
    """Return what a policy proposes for the tasks of a plan that it may choose for.

    Agents that by now give hardly any answers at a type of task are not used for it: the log was of better days. It is
    asked of the type and not of the task, for words say what is hard and not what is broken.
    """
    broken: dict[tuple[str, str], bool] = {}

    def is_broken(agent: str, task_type: str) -> bool:
        if (agent, task_type) not in broken:
            known = profiler.estimate(registry[agent], task_type, 1.0)
            broken[agent, task_type] = known.samples >= MIN_OUTCOMES and known.completion < HOPELESS
        return broken[agent, task_type]

    def may(task: Task, strategy: Strategy) -> bool:
        if task.risk == "high" and not isinstance(strategy, Single):
            return False  # what does harm is not done by several
        able = all(agent in registry and registry[agent].takes(task) for agent in asked(strategy))
        able = able and all(agent in registry for agent in agents_of(strategy))
        return able and not any(is_broken(agent, task.task_type) for agent in asked(strategy))

    tasks = [
        work.dag.tasks[task_id]
        for task_id in work.initial
        if task_id not in constraints.pinned
        and task_id not in work.finished
        and task_id not in work.attempts
        and work.dag.tasks[task_id].strategy is None
    ]
    return policy.propose(tasks, may) if tasks else {}
