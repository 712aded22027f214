"""Who can do a task, and what becomes of one that nobody can do. Believes nothing of its own: see `CostProfiler`.

Nobody is condemned for good: an agent that fails is passed over where another can do the task, is tried where none can,
and what speaks against it fades.

AOP (arXiv:2410.02189) has tasks that no agent can do described again, or split. Here that is done by rules: a type that
is spelled another way, a type or a description that names several kinds of work, skills that no single agent has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from kapelle.agents import AgentCapability
from kapelle.allocation import PlanEstimates
from kapelle.estimates import Estimate
from kapelle.graph import Task
from kapelle.language import split_name, stem
from kapelle.routing import HALORouter, RoutedPlan, RoutedTask

from .edit import Edit

_PARTS = re.compile(
    r"(?:(?<!\s)\s+)?(?:,\s*and\s+then\b|(?:,\s*)?\bthen\b|;|,\s*and\b|\.\s(?=[A-Z])|,(?=\s)|\band\b)\s*", re.IGNORECASE
)


def best_agent(
    task: Task, agents: Collection[str], estimates: PlanEstimates, *, even_hopeless: bool = False
) -> str | None:
    """Return the agent with the best lower bound among those that take the task; on a tie the cheaper one."""
    able = {name: estimates.estimate(task, name) for name in agents if estimates.agents[name].takes(task)}
    fit = [name for name, known in able.items() if even_hopeless or not known.is_hopeless]
    return min(fit, key=lambda name: (-able[name].success_bounds[0], able[name].cost_usd, name), default=None)


def _more_often_right(task: Task, mine: Estimate, estimates: PlanEstimates) -> str | None:
    """Return the agent whose answers are right more often than those of the task's own, as far as that was measured of
    both; None where it is not beyond doubt. What agents declare is no evidence."""
    if not mine.is_measured:
        return None
    _, most = mine.correctness_bounds
    proven = {
        name: least
        for name, known in estimates.able(task).items()
        if known.is_measured and (least := known.correctness_bounds[0]) > most
    }
    return max(proven, key=lambda name: (proven[name], name), default=None)


def avoid_hopeless(plan: RoutedPlan, estimates: PlanEstimates) -> RoutedPlan:
    """Return the plan in which tasks of agents that fail at them nearly always have the best other one, where there is.

    What the user has given to an agent stays with it, and so does a task whose strategy asks several. What a firm rule
    has given stays until measured outcomes prove another agent right more often: that it refuses what it does not know
    is no fault of it.
    """
    dag, able = estimates.dag, estimates.choosable
    moved: dict[str, RoutedTask] = {}
    for task_id, routed in plan.tasks.items():
        agent = routed.agent
        if agent not in able or routed.pinned or routed.strategy is not None or task_id not in dag:
            continue
        task = dag[task_id]
        if task.strategy is not None:
            continue
        known = estimates.estimate(task, agent)
        if routed.firm:
            other = _more_often_right(task, known, estimates)
            found = f"the answers of {agent} were right in {known.correctness:.0%} of {task.task_type!r} "
            found += f"({known.judged} measured)."
        else:
            other = best_agent(task, able, estimates) if known.is_hopeless else None
            found = f"{agent} is expected to succeed in {known.success_rate:.0%} of {task.task_type!r} "
            found += f"({known.samples} outcomes)."
        if other is not None:
            moved[task_id] = routed.moved(other, f"Given to {other}: {found}")
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
    from difflib import get_close_matches  # only plans with a fault pay for it

    words = split_name(name).casefold().split()
    stems = {" ".join(stem(word) for word in split_name(kind).casefold().split()): kind for kind in kinds}
    same = stems.get(" ".join(map(stem, words)))
    close = get_close_matches(name.casefold(), kinds, n=1, cutoff=0.8)
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


class NextBest:
    """Chooses who does a task next when its agent failed: who is asked first by a firm rule, if that was not it; else
    the agent that is most sure to do it, on a tie the cheaper one.

    The same judgement edits a plan, so a fallback is as able as what a plan would have had. Refuses tasks whose plan
    names a strategy. Nobody asks it for tasks that are pinned (see RoutedTask).

    Args:
        router: Knows the firm rules; without one there are none.
    """

    def __init__(self, router: HALORouter | None = None) -> None:
        self._router = router

    def choose_fallback(self, task: Task, tried: Collection[str], plan: PlanEstimates) -> tuple[str, Estimate] | None:
        """Return an agent that can do the task and was not tried, with what it is expected to take; None if none is."""
        if task.strategy is not None:
            return None
        now = plan.version()
        others = [agent for agent in now.choosable if agent not in tried]
        firm = {} if self._router is None else self._router.find_firm([task], others)
        chosen = firm.get(task.task_id) or best_agent(task, others, now)
        return None if chosen is None else (chosen, now.estimate(task, chosen))
