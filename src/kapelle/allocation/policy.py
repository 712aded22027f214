"""ChoicePolicy: what has learned from a log who does which task. A Protocol; `kapelle.learning` has one.

A policy proposes, and the limits of a plan dispose: see `DAAOOptimizer`. Tasks that are pinned, ordered, or were tried
already are not its to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kapelle.agents import AgentCapability
from kapelle.graph import Task
from kapelle.strategies import Single, Strategy, agents_of

from .candidates import asked
from .constraints import OptimizationConstraints
from .statement import Work


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
    work: Work,
    constraints: OptimizationConstraints,
    registry: Mapping[str, AgentCapability],
) -> Mapping[str, PolicyProposal]:
    """Return what a policy proposes for the tasks of a plan that it may choose for."""

    def may(task: Task, strategy: Strategy) -> bool:
        if task.risk == "high" and not isinstance(strategy, Single):
            return False  # what does harm is not done by several
        able = all(agent in registry and registry[agent].takes(task) for agent in asked(strategy))
        return able and all(agent in registry for agent in agents_of(strategy))

    tasks = [
        work.dag.tasks[task_id]
        for task_id in work.initial
        if task_id not in constraints.pinned
        and task_id not in work.finished
        and task_id not in work.attempts
        and work.dag.tasks[task_id].strategy is None
    ]
    return policy.propose(tasks, may) if tasks else {}
