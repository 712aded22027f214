"""Decides which agent takes a task, and gives a reason that a person can read. Pure: no clock, no state, no prices.

The order of the decision, for every task:

    0. its name     the agent that the task's own metadata name (`agent: ID`), if it can do it; and nobody else
    1. rules        the first rule, by priority, that matches the task and whose agent can do it
    2. capability   among the agents that take the task type and have every required skill, by CRITERIA
    3. load         is one of the CRITERIA: an agent with max_concurrency tasks at this level makes the next task wait
                    a round, and then agents that declare the type as well share the work

Tasks are decided level by level, and by id inside a level, so the result does not depend on the order in which tasks
were added. Load counts the tasks of one level, because only they can run at the same time under any schedule; the
executor does not wait for levels, and the load is therefore an estimate, not a promise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.graph import Task, named_agents

from .rules import RoutingRule

NAMED = "named"
"""The rule id of a choice that the task itself made: an order, which no optimiser and no fallback changes."""
_TIERS = ("free", "cheap", "medium", "expensive")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The agent for one task, or None, and why."""

    task_id: str
    agent_id: str | None
    explanation: str
    """Why this agent, with the runner-up; or what is missing, with the way out."""
    rule_id: str | None = None
    """The rule that named the agent, where one did."""


def choose_agents(
    levels: Iterable[Iterable[Task]],
    registry: AgentRegistry,
    rules: Sequence[RoutingRule],
    available: Collection[str],
) -> tuple[Choice, ...]:
    """Choose an agent for every task; `levels` are tasks that can run at the same time, earliest first."""
    choices: list[Choice] = []
    for level in levels:
        load: dict[str, int] = {}
        for task in sorted(level, key=lambda task: task.task_id):
            choice = choose_agent(task, registry, rules, available, load)
            choices.append(choice)
            if choice.agent_id is not None:
                load[choice.agent_id] = load.get(choice.agent_id, 0) + 1
    return tuple(choices)


def choose_agent(
    task: Task,
    registry: AgentRegistry,
    rules: Sequence[RoutingRule],
    available: Collection[str],
    load: Mapping[str, int] | None = None,
) -> Choice:
    """Choose an agent for one task; `load` counts the tasks that agents already have at the same time."""
    able = [agent for agent in registry.for_task(task) if agent.agent_id in available]
    if not able:
        return Choice(task_id=task.task_id, agent_id=None, explanation=_what_is_missing(task, registry))

    named = named_agent(task)
    if named is not None:
        others_there = task.strategy is None or all(one in available for one in named_agents(task.strategy))
        if others_there and any(agent.agent_id == named for agent in able):
            why = f"The plan gives it to {named}."
            return Choice(task_id=task.task_id, agent_id=named, explanation=why, rule_id=NAMED)
        others = ", ".join(agent.agent_id for agent in able)
        why = f"The plan gives it to {named!r}, which is not there or cannot do it. Others could: {others}."
        return Choice(task_id=task.task_id, agent_id=None, explanation=why)

    ruled = _first_rule(task, able, rules)
    if ruled is not None:
        return Choice(
            task_id=task.task_id,
            agent_id=ruled.agent_id,
            explanation=_explain_rule(task, able, ruled),
            rule_id=ruled.rule_id,
        )

    fit = _Fit(words=_words_of(task), load=load or {}, task=task)
    # Sorting is stable: agents that are equal by every criterion stay in the order of the registry.
    ranked = able
    if len(able) > 1:
        ranked = sorted(able, key=lambda agent: tuple(criterion.rank(agent, fit) for criterion in CRITERIA))
    return Choice(task_id=task.task_id, agent_id=ranked[0].agent_id, explanation=_explain_rank(task, ranked, fit))


def named_agent(task: Task) -> str | None:
    """Return the agent that a plan itself gives a task to; None where it leaves that open."""
    named = task.metadata.get("agent") if task.strategy is None else named_agents(task.strategy)[0]
    return named if isinstance(named, str) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """What the criteria know about the task and the moment."""

    task: Task
    words: frozenset[str]
    """Words of the task's type, description and metadata, in lower case."""
    load: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Criterion:
    """One step of the comparison between agents that can do the task."""

    rank: Callable[[AgentCapability, _Fit], float]
    """Smaller is better."""
    why_lost: Callable[[AgentCapability, AgentCapability, _Fit], str]
    """Ends the sentence `<loser> ...`, given (loser, winner, fit)."""


CRITERIA = (
    _Criterion(
        rank=lambda agent, fit: fit.task.task_type not in agent.task_types,
        why_lost=lambda loser, winner, fit: "takes any type, rather than this one",
    ),
    _Criterion(
        rank=lambda agent, fit: fit.load.get(agent.agent_id, 0) // agent.max_concurrency,
        why_lost=lambda loser, winner, fit: (
            f"has {fit.load.get(loser.agent_id, 0)} tasks at this level already and does "
            f"{loser.max_concurrency} at a time"
        ),
    ),
    _Criterion(
        rank=lambda agent, fit: -len(_matching_skills(agent, fit)),
        why_lost=lambda loser, winner, fit: (
            f"lacks {_quoted(_matching_skills(winner, fit) - loser.skills)}, which the task mentions"
            if _matching_skills(winner, fit) - loser.skills
            else "has fewer of the skills that the task mentions"
        ),
    ),
    _Criterion(
        rank=lambda agent, fit: -agent.success_rate,
        why_lost=lambda loser, winner, fit: (
            f"succeeds less often ({loser.success_rate:.3g}, not {winner.success_rate:.3g})"
        ),
    ),
    _Criterion(
        rank=lambda agent, fit: _tier(agent),
        why_lost=lambda loser, winner, fit: f"costs more ({_TIERS[_tier(loser)]}, not {_TIERS[_tier(winner)]})",
    ),
    _Criterion(
        # Declared dollars compare only among agents that declare them; those that do not come after.
        rank=lambda agent, fit: float("inf") if agent.cost_usd is None else agent.cost_usd,
        why_lost=lambda loser, winner, fit: (
            "declares no price"
            if loser.cost_usd is None
            else f"costs more (${loser.cost_usd:g}, not ${winner.cost_usd:g})"
        ),
    ),
    _Criterion(
        # `AgentCapability.task_types` stands in order of preference.
        rank=lambda agent, fit: (
            agent.task_types.index(fit.task.task_type) if fit.task.task_type in agent.task_types else 0
        ),
        why_lost=lambda loser, winner, fit: "names this type later among those it takes",
    ),
)


def _first_rule(task: Task, able: Sequence[AgentCapability], rules: Sequence[RoutingRule]) -> RoutingRule | None:
    able_ids = {agent.agent_id for agent in able}
    ordered = sorted(rules, key=lambda rule: -rule.priority)
    return next((rule for rule in ordered if rule.agent_id in able_ids and rule.matches(task)), None)


def _explain_rule(task: Task, able: Sequence[AgentCapability], rule: RoutingRule) -> str:
    keyword = rule.found_keyword(task)
    mention = f" that mention {keyword!r}" if keyword is not None else ""
    reason = f": {rule.reason}" if rule.reason else ""
    others = [agent.agent_id for agent in able if agent.agent_id != rule.agent_id]
    if not others:
        rest = "No other agent could."
    elif len(others) == 1:
        rest = f"{others[0]} could too, but rules go first."
    else:
        rest = f"{len(others)} other agents could ({_listed(others)}), but rules go first."
    return f"Rule {rule.rule_id!r} sends {task.task_type!r} tasks{mention} to {rule.agent_id}{reason}. {rest}"


def _explain_rank(task: Task, ranked: Sequence[AgentCapability], fit: _Fit) -> str:
    winner, losers = ranked[0], ranked[1:]
    declared = "declared" if task.task_type in winner.task_types else "it takes any type"
    text = f"{winner.agent_id} takes {task.task_type!r} ({declared})"
    if task.requirements:
        text += f" and has {_quoted(task.requirements)}"
    extra = _matching_skills(winner, fit) - task.requirements
    if extra:
        text += f"; of its skills the task mentions {_quoted(extra)}"
    if not losers:
        return f"{text}. No other agent could."
    count = "1 other agent" if len(losers) == 1 else f"{len(losers)} other agents"
    return f"{text}. {count} could: {losers[0].agent_id} {_why_lost(losers[0], winner, fit)}."


def _why_lost(loser: AgentCapability, winner: AgentCapability, fit: _Fit) -> str:
    for criterion in CRITERIA:
        if criterion.rank(loser, fit) != criterion.rank(winner, fit):
            return criterion.why_lost(loser, winner, fit)
    return "is as good by every criterion, but registered later"


def _what_is_missing(task: Task, registry: AgentRegistry) -> str:
    kind = task.task_type
    able_elsewhere = [agent.agent_id for agent in registry.for_task(task)]
    runnable = registry.runnable()
    if able_elsewhere and not any(agent_id in runnable for agent_id in able_elsewhere):
        return (
            f"{_listed(able_elsewhere)} could do {kind!r}, but without a model nobody runs such an agent. "
            f"Configure a model (KAPELLE_MODEL), or add an agent of your own that takes {kind!r}."
        )
    if able_elsewhere:
        return (
            f"No available agent can do {kind!r}, but {_listed(able_elsewhere)} could. "
            "Make one of them available, or route without available_agents."
        )
    unskilled = [agent for agent in registry.values() if kind in agent.task_types or "*" in agent.task_types]
    if unskilled:
        lacks = "; ".join(
            f"{agent.agent_id} lacks {_quoted(task.requirements - agent.skills)}" for agent in unskilled[:5]
        )
        rest = f" (and {len(unskilled) - 5} more)" if len(unskilled) > 5 else ""
        return (
            f"No agent that takes {kind!r} has {_quoted(task.requirements)}: {lacks}{rest}. "
            f"Add an agent with task_types: [{kind}] and skills: [{', '.join(sorted(task.requirements))}], "
            "or drop the requirement."
        )
    from difflib import get_close_matches  # only plans with a fault pay for it

    close = get_close_matches(kind, registry.task_types, n=3, cutoff=0.5)
    if not registry:
        nearest = "there are no agents at all"
    elif close:
        nearest = f"closest task types: {', '.join(close)}"
    else:
        nearest = f"task types there are: {_listed(registry.task_types)}"
    return f"No agent takes {kind!r}; {nearest}. Add an agent with task_types: [{kind}]."


def _matching_skills(agent: AgentCapability, fit: _Fit) -> frozenset[str]:
    """Skills that the task does not require, but mentions: `web_scraping` where it says "scraping the web"."""
    return frozenset(
        skill
        for skill in agent.skills - fit.task.requirements
        if (parts := _WORD.findall(skill.lower())) and fit.words.issuperset(parts)
    )


def _words_of(task: Task) -> frozenset[str]:
    texts = [task.description, *(value for value in task.metadata.values() if isinstance(value, str))]
    return frozenset(word for text in texts for word in _WORD.findall(text.lower()))


def _tier(agent: AgentCapability) -> int:
    return 0 if agent.cost_usd == 0 else _TIERS.index(agent.cost_tier)


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(repr(word) for word in sorted(words))


def _listed(names: Sequence[str], *, most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
