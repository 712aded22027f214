"""Can this agent do this kind of task? What outcomes say of it, and what becomes of a task that nobody can do.

What is believed of a pair (agent, task type) is what `kapelle.estimates.CostProfiler` believes: recent outcomes first,
changes noticed, old ones faded. Bounds are two standard deviations wide. Declarations alone condemn nobody: that takes
outcomes. And nobody is condemned for good: an agent that fails is passed over where another can do the task, is tried
where none can, and what speaks against it fades.

AOP (arXiv:2410.02189) has tasks that no agent can do described again, or split. Here that is done by rules: a type that
is spelled another way, a type or a description that names several kinds of work, skills that no single agent has.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kapelle.agents import AgentCapability
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.language import stem
from kapelle.planning import split_name
from kapelle.routing import RoutedPlan, RoutedTask

from .edit import Edit

WIDTH = 2.0
"""Standard deviations between the mean and a bound: one in forty lies beyond, were it normal."""
LEAST_OUTCOMES = 5
"""Fewer say nothing against an agent."""
HOPELESS = 0.3
"""An upper bound below this: the pair fails far more often than not, nineteen of nineteen for a declared 0.85."""

_PARTS = re.compile(
    r"(?:(?<!\s)\s+)?(?:,\s*and\s+then\b|(?:,\s*)?\bthen\b|;|,\s*and\b|\.\s(?=[A-Z])|,(?=\s)|\band\b)\s*", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Belief:
    """What is believed of the share of successes of an agent at a kind of task."""

    mean: float
    lower: float
    upper: float
    outcomes: int

    @property
    def is_hopeless(self) -> bool:
        """Whether outcomes say that it is not worth trying."""
        return self.outcomes >= LEAST_OUTCOMES and self.upper < HOPELESS


def judge_pair(agent: AgentCapability, task_type: str, profiler: CostProfiler) -> Belief:
    """Return what is believed of an agent at a kind of task.

    >>> judge_pair(AgentCapability(agent_id="a", task_types=("sql",)), "sql", CostProfiler()).mean
    0.85
    """
    known = profiler.estimate(agent, task_type)
    mean, reach = known.success_rate, WIDTH * known.success_sd
    return Belief(mean=mean, lower=max(0.0, mean - reach), upper=min(1.0, mean + reach), outcomes=known.samples)


def judge_answers(agent: AgentCapability, task_type: str, profiler: CostProfiler) -> Belief:
    """Return what is believed of the share of an agent's answers that are right; `outcomes` are those measured."""
    known = profiler.estimate(agent, task_type)
    mean, reach = known.correctness, WIDTH * known.success_sd / max(known.completion, 1e-9)
    return Belief(mean=mean, lower=max(0.0, mean - reach), upper=min(1.0, mean + reach), outcomes=known.judged)


def _more_often_right(
    task: Task, mine: Belief, agents: Sequence[AgentCapability], profiler: CostProfiler
) -> str | None:
    """Return the agent whose answers are right more often than those of the task's own, as far as that was measured of
    both; None where it is not beyond doubt. What agents declare is no evidence."""
    if mine.outcomes < LEAST_OUTCOMES:
        return None
    others = {agent.agent_id: judge_answers(agent, task.task_type, profiler) for agent in agents if agent.takes(task)}
    proven = {
        name: one.lower for name, one in others.items() if one.outcomes >= LEAST_OUTCOMES and one.lower > mine.upper
    }
    return max(proven, key=lambda name: (proven[name], name), default=None)


def best_agent(
    task: Task, agents: Sequence[AgentCapability], profiler: CostProfiler, *, even_hopeless: bool = False
) -> str | None:
    """Return the agent with the best lower bound among those that take the task; on a tie the cheaper one."""

    def rank(agent: AgentCapability) -> tuple[float, float, str]:
        belief = judge_pair(agent, task.task_type, profiler)
        return (-belief.lower, profiler.estimate(agent, task.task_type).cost_usd, agent.agent_id)

    able = [
        agent
        for agent in agents
        if agent.takes(task) and (even_hopeless or not judge_pair(agent, task.task_type, profiler).is_hopeless)
    ]
    return min(able, key=rank).agent_id if able else None


def avoid_hopeless(
    plan: RoutedPlan, dag: TaskDAG, agents: Mapping[str, AgentCapability], profiler: CostProfiler
) -> RoutedPlan:
    """Return the plan in which tasks of agents that fail at them nearly always have the best other one, where there is.

    What the user has given to an agent stays with it, and so does a task whose strategy asks several. What a firm rule
    has given stays until measured outcomes prove another agent right more often: that it refuses what it does not know
    is no fault of it.
    """
    moved: dict[str, RoutedTask] = {}
    for task_id, routed in plan.tasks.items():
        agent = agents.get(routed.agent)
        if agent is None or routed.pinned or routed.strategy is not None or task_id not in dag:
            continue
        task = dag[task_id]
        if task.strategy is not None:
            continue
        if routed.firm:
            belief = judge_answers(agent, task.task_type, profiler)
            other = _more_often_right(task, belief, list(agents.values()), profiler)
            found = "the answers of {} were right in {:.0%} of {!r} ({} measured)."
        else:
            belief = judge_pair(agent, task.task_type, profiler)
            other = best_agent(task, list(agents.values()), profiler) if belief.is_hopeless else None
            found = "{} is expected to succeed in {:.0%} of {!r} ({} outcomes)."
        if other is not None:
            why = found.format(routed.agent, belief.mean, task.task_type, belief.outcomes)
            moved[task_id] = routed.moved(other, f"Given to {other}: {why}")
    return plan.with_tasks(moved, drop_figures=True)


def rework(task: Task, agents: Sequence[AgentCapability], taken: Mapping[str, object]) -> Edit | None:
    """Return the edit that describes a task again, or splits it, so that agents can do it; None where no rule helps."""
    kinds = sorted({kind for agent in agents for kind in agent.task_types if kind != "*"})

    def can_do(one: Task) -> bool:
        return any(agent.takes(one) for agent in agents)

    kind = _same_kind(task.task_type, kinds)
    if kind is not None and can_do(renamed := replace(task, task_type=kind)):
        return Edit.of(f"Call what {task.task_id!r} does {kind!r}, as the agents do.", {task.task_id: [renamed]})
    for parts in (_parts_of_type(task, kinds), _parts_of_description(task, kinds), _parts_of_skills(task, agents)):
        if len(parts) > 1 and all(map(can_do, parts)):
            chain = _chained(task, parts, taken)
            names = ", ".join(repr(part.task_type) for part in chain)
            return Edit.of(f"Split {task.task_id!r} into steps that agents can do: {names}.", {task.task_id: chain})
    return None


def _same_kind(name: str, kinds: Sequence[str]) -> str | None:
    """Return the kind of work that is meant: the same stem, or nearly the same spelling."""
    words = split_name(name).casefold().split()
    stems = {" ".join(stem(word) for word in split_name(kind).casefold().split()): kind for kind in kinds}
    same = stems.get(" ".join(map(stem, words)))
    close = difflib.get_close_matches(name.casefold(), kinds, n=1, cutoff=0.8)
    return same if same is not None else close[0] if close else None


def _parts_of_type(task: Task, kinds: Sequence[str]) -> list[Task]:
    words = [
        word
        for word in re.split(r"[\s_,/+&-]+", split_name(task.task_type).casefold())
        if word not in ("and", "then", "")
    ]
    found = [_same_kind(word, kinds) for word in words]
    return [replace(task, task_type=kind) for kind in found if kind is not None] if all(found) else []


def _parts_of_description(task: Task, kinds: Sequence[str]) -> list[Task]:
    parts: list[tuple[str, str]] = []
    for text in _PARTS.split(task.description):
        words = text.split()
        kind = _same_kind(words[0].strip(",.:"), kinds) if words else None
        if kind is not None:
            parts.append((kind, text))
        elif parts:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]}, {text}")
        else:
            return []
    return [replace(task, task_type=kind, description=text) for kind, text in parts]


def _parts_of_skills(task: Task, agents: Sequence[AgentCapability]) -> list[Task]:
    able = [agent for agent in agents if task.task_type in agent.task_types or "*" in agent.task_types]
    left, parts = set(task.requirements), []
    while left:
        best = max(able, key=lambda agent: (len(left & agent.skills), agent.agent_id), default=None)
        if best is None or not left & best.skills:
            return []
        parts.append(replace(task, requirements=frozenset(left & best.skills)))
        left -= best.skills
    return parts


def _chained(task: Task, parts: Sequence[Task], taken: Mapping[str, object]) -> list[Task]:
    """Return the parts one after the other; the last keeps the id, so that what refers to it still does."""
    free = (f"{task.task_id[:100]}-part{number}" for number in range(1, len(taken) + len(parts) + 2))
    ids = [next(name for name in free if name not in taken) for _ in parts[:-1]] + [task.task_id]
    chain = []
    for number, (part, name) in enumerate(zip(parts, ids, strict=True)):
        inputs = dict(part.inputs)
        if number:
            inputs["previous"] = f"{{{ids[number - 1]}}}"
        chain.append(replace(part, task_id=name, inputs=inputs))
    return chain
