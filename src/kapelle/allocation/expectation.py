"""What the tasks of a plan are expected to take, each with its agent or strategy.

The optimiser chooses and the validator checks: both look at tasks through these figures, so that no plan is optimal for
the one and wrong for the other. Chooses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kapelle.agents import AgentCapability
from kapelle.estimates import CostProfiler, Estimate, estimate_complexities
from kapelle.graph import Task, TaskDAG
from kapelle.strategies import Single, Strategy, agents_of

from .candidates import VERIFY, Option, OptionFinder, StrategySource, asked, measure


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What one task is expected to take."""

    estimate: Estimate
    """All agents of its strategy together."""
    counted: float
    """What it counts for where a quality is asked for: the lower confidence bound of its success; what is expected of
    it where too little is known to prove anything (see candidates)."""
    steps: Mapping[str, Estimate]
    """Each agent of its strategy by itself; empty for a single agent."""


def expect_tasks(
    strategies: Mapping[str, Strategy],
    dag: TaskDAG,
    agents: Mapping[str, AgentCapability],
    profiler: CostProfiler,
    *,
    source: StrategySource | None = None,
    least: float = 0.0,
) -> dict[str, Expectation]:
    """Return what each task is expected to take, for the tasks whose agents are registered and take them.

    Args:
        strategies: Task id to how it is done.
        dag: The tasks.
        agents: Everyone, by id.
        profiler: What is known of them.
        source: What strategies came to, where that is known.
        least: The quality that is asked of the tasks.
    """
    finder = OptionFinder(profiler, agents, source, None)
    complexities = estimate_complexities(dag)
    found = {}
    for task in dag:
        strategy = strategies.get(task.task_id)
        if strategy is None or why_unable(task, strategy, agents) is not None:
            continue
        complexity = complexities[task.task_id]
        options = finder.options(task, complexity, strategy) if least else (finder.alone(task, complexity, strategy),)
        counted = measure(options, "beginning", least, None)[0]
        if isinstance(strategy, Single):
            one = profiler.estimate(agents[strategy.agent], task.task_type, complexity, text=task.description)
            found[task.task_id] = Expectation(estimate=one, counted=counted, steps={})
            continue
        doers = asked(strategy)
        steps = {
            name: profiler.estimate(
                agents[name], task.task_type if name in doers else VERIFY, complexity, text=task.description
            )
            for name in agents_of(strategy)
        }
        found[task.task_id] = Expectation(estimate=_as_estimate(options[0], steps), counted=counted, steps=steps)
    return found


def why_unable(task: Task, strategy: Strategy, agents: Mapping[str, AgentCapability]) -> str | None:
    """Return which agent of a strategy cannot do its part, as the end of a sentence; None where all can."""
    doers = asked(strategy)
    for name in agents_of(strategy):
        agent = agents.get(name)
        if agent is None:
            return f"{name!r}, and there is no such agent"
        if name in doers and task.task_type not in agent.task_types and "*" not in agent.task_types:
            return f"{name!r}, which does not take {task.task_type!r}"
        if name in doers and (lacking := task.requirements - agent.skills):
            return f"{name!r}, which lacks {', '.join(map(repr, sorted(lacking)))}"
    return None


def _as_estimate(option: Option, steps: Mapping[str, Estimate]) -> Estimate:
    return Estimate(
        cost_usd=option.cost_usd,
        seconds=option.seconds,
        success_rate=option.quality,
        success_lower=option.lower,
        tokens=sum(step.tokens for step in steps.values()),
        samples=option.samples,
        source="learned" if option.samples else "default",
        judged=option.samples,
        basis="measured" if option.samples else "declared",
    )
