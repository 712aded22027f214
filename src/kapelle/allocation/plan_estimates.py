"""PlanEstimates: what the tasks of one version of a graph are expected to take, of every agent and every strategy.

Made once for a version and handed to whoever decides about it: the optimiser chooses, the explorer tries, the validator
checks and the fallback moves by these figures, so no plan is optimal for the one and wrong for the other. When somebody
first asks for a task, everyone who takes its type is estimated for it, and for the other tasks of that type, in one
call (see AT_ONCE); once for tasks that are alike, as those are that differ in their words alone while nothing was
learned of words. A changed graph is a new `version`, in which only what is new is estimated.

While a plan is made the figures stay, whatever other runs learn; a new version knows what was learned meanwhile.
Chooses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from kapelle.agents import AgentCapability
from kapelle.estimates import CostProfiler, Estimate, estimate_complexities, estimate_complexity, logit
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import format_usd
from kapelle.strategies import Single, Strategy, agents_of

from .candidates import (
    VERIFY,
    JudgedStrategy,
    Option,
    StrategySource,
    asked,
    bound_of,
    evidence_of,
    lower_bound,
    measure,
    shifted,
)
from .seen import SeenInRun, units_of

AT_ONCE = 20_000
"""Estimates that are made in one call: enough to be quick, and few enough to waste little where few are asked for."""

Kind = tuple[str, frozenset[str], float, str, str]
"""What tasks that are alike to the estimates have in common: type, skills, complexity, words, risk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What was asked for already, shared by the versions that may share it."""

    revision: int
    estimates: dict[tuple[str, str, float, str], Estimate] = field(default_factory=dict)
    singles: dict[tuple[str, Kind, float | None], Option] = field(default_factory=dict)
    options: dict[tuple[Kind, float | None], dict[Strategy, Option]] = field(default_factory=dict)
    takers: dict[tuple[str, frozenset[str]], tuple[str, ...]] = field(default_factory=dict)
    whys: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """By agent, type and words, what moved the chance of success."""
    cards: dict[str, tuple[AgentCapability, ...]] = field(default_factory=dict)
    """Type to everyone who takes it, whatever skills a task asks for."""


class PlanEstimates:
    """What the tasks of one version of a graph are expected to take.

    Args:
        profiler: What is known of the agents.
        agents: Everyone, by id.
        dag: The tasks.
        choosable: The agents that tasks may be given to; by default all.
        strategies: What strategies came to, where that is known.
    """

    def __init__(
        self,
        profiler: CostProfiler,
        agents: Mapping[str, AgentCapability],
        dag: TaskDAG,
        *,
        choosable: Mapping[str, AgentCapability] | None = None,
        strategies: StrategySource | None = None,
    ) -> None:
        self.dag = dag
        self.agents = agents
        self.choosable = agents if choosable is None else choosable
        self.profiler = profiler
        self.complexities: Mapping[str, float] = MappingProxyType(estimate_complexities(dag))
        """Task id to how complex it is, by its type and its place in the graph."""
        self._strategies = strategies
        self._seen: SeenInRun = {}
        self._known = _Known(revision=profiler.revision)
        self._by_type: dict[str, dict[tuple[float, str], None]] | None = None
        """Type to what differs among its tasks in this version: complexity and words, in the graph's order."""

    def version(self, dag: TaskDAG | None = None) -> PlanEstimates:
        """Return the estimates for another version of the graph, by what is known now.

        What is no other than it was is not estimated again.
        """
        dag = self.dag if dag is None else dag
        is_outdated = self.profiler.revision != self._known.revision
        if dag is self.dag and not is_outdated:
            return self
        other = copy(self)
        other.dag = dag
        if dag != self.dag:  # a sealed copy has the same tasks
            other.complexities = MappingProxyType(estimate_complexities(dag))
            other._by_type = None
        if is_outdated:
            other._known = _Known(revision=self.profiler.revision)
        return other

    def as_seen(self, seen: SeenInRun) -> PlanEstimates:
        """Return the estimates by what is known now, none of them less than what a run has seen (see Seen)."""
        other = copy(self)
        other._seen = dict(seen)
        other._known = _Known(revision=self.profiler.revision)
        return other

    def among(self, choosable: Mapping[str, AgentCapability]) -> PlanEstimates:
        """Return the estimates where only these agents may be given tasks, each by itself and in no strategy."""
        other = copy(self)
        other.choosable, other._strategies = choosable, None
        # Who is there beside an agent matters to options, and not to what is known of it.
        other._known = _Known(revision=self._known.revision, estimates=self._known.estimates, whys=self._known.whys)
        return other

    def estimate(self, task: Task, agent: str, task_type: str | None = None) -> Estimate:
        """Return what a task is expected to take of one agent; `task_type` is its part in it, if not the task's own."""
        key = (agent, task_type or task.task_type, self._complexity(task), self._words(task))
        if key not in self._known.estimates:
            self._estimate_alike(*key)
        return self._known.estimates[key]

    def _estimate_alike(self, agent: str, kind: str, complexity: float, words: str) -> None:
        """Estimate everyone who takes a type at this complexity and these words, and at the others of the graph."""
        if self._by_type is None:
            self._by_type = {}
            for task in self.dag:
                of_type = self._by_type.setdefault(task.task_type, {})
                of_type[self._complexity(task), self._words(task)] = None
        if kind not in self._known.cards:
            takers = [card for card in self.agents.values() if kind in card.task_types or "*" in card.task_types]
            self._known.cards[kind] = tuple(takers)
        cards = self._known.cards[kind]
        if all(card.agent_id != agent for card in cards):
            cards = (self.agents[agent],)
        first, known = (complexity, words), self._known.estimates
        asked = [first]
        for one in self._by_type.get(kind, ()):
            if len(asked) * len(cards) >= AT_ONCE:
                break
            if one != first and (agent, kind, *one) not in known:
                asked.append(one)
        found = self.profiler.estimate_all(cards, [(kind, unit, text) for unit, text in asked])
        for (unit, text), estimates in zip(asked, found, strict=True):
            for card, estimate in zip(cards, estimates, strict=True):
                seen = self._seen.get((card.agent_id, kind))
                told = estimate if seen is None else seen.floor(estimate, *units_of(card, unit))
                known.setdefault((card.agent_id, kind, unit, text), told)

    def _words(self, task: Task) -> str:
        """Return the words of a task as far as estimates differ by them."""
        return task.description if self.profiler.reads_words else ""

    def takers(self, task: Task) -> tuple[str, ...]:
        """Return everyone who takes the task, whether it may be given to them or not."""
        kind = task.task_type, task.requirements
        if kind not in self._known.takers:
            self._known.takers[kind] = tuple(name for name, card in self.agents.items() if card.takes(task))
        return self._known.takers[kind]

    def able(self, task: Task) -> dict[str, Estimate]:
        """Return the agents that the task may be given to, with what it is expected to take of each."""
        return {name: self.estimate(task, name) for name, card in self.choosable.items() if card.takes(task)}

    def options(self, task: Task, initial: Strategy, *, confidence: float | None = None) -> tuple[Option, ...]:
        """Return the ways to do a task, the initial one first; that is one whether its agent takes the task or not."""
        found = self._for_kind(task, confidence)
        first = found.get(initial)
        if first is None:
            first = self._initial(task, initial, confidence)
        return (first, *(option for option in found.values() if option is not first))

    def alone(self, task: Task, strategy: Strategy, *, confidence: float | None = None) -> Option:
        """Return what one strategy is expected to take, whoever else could do the task."""
        if isinstance(strategy, Single):
            return self._single(strategy.agent, task, confidence)
        return self._for_kind(task, confidence).get(strategy) or self._initial(task, strategy, confidence)

    def of(self, task: Task, strategy: Strategy) -> Estimate:
        """Return what a task is expected to take of all agents of its strategy together; for one, with the reasons."""
        if isinstance(strategy, Single):
            return self._explained(task, strategy.agent)
        option = self.alone(task, strategy)
        return Estimate(
            cost_usd=option.cost_usd,
            seconds=option.seconds,
            success_rate=option.quality,
            success_lower=option.lower,
            tokens=sum(step.tokens for step in self.steps(task, strategy).values()),
            samples=option.samples,
            source="learned" if option.samples else "default",
            judged=option.samples,
            basis="measured" if option.samples else "declared",
        )

    def _explained(self, task: Task, agent: str) -> Estimate:
        """Return an estimate that says what moved it, as far as that is known now; one value for tasks alike."""
        key = (agent, task.task_type, self._complexity(task), self._words(task))
        estimate, known = self.estimate(task, agent), (agent, task.task_type, key[-1])
        if known not in self._known.whys:
            if self.profiler.revision != self._known.revision:
                return estimate
            self._known.whys[known] = self.profiler.explain(self.agents[agent], task.task_type, text=key[-1])
        if (why := self._known.whys[known]) and not estimate.why:
            estimate = self._known.estimates[key] = replace(estimate, why=why)
        return estimate

    def compare(self, task: Task, chosen: Strategy, instead: Strategy) -> str:
        """Return what is expected of an agent and of the one that it is chosen instead of, with what moved that, as a
        sentence; "" where several are asked: what these come to is told apart."""
        if not (isinstance(chosen, Single) and isinstance(instead, Single)) or chosen == instead:
            return ""
        told = []
        for one in (chosen, instead):
            known = self.of(task, one)
            words = f" ({known.why})" if known.why else ""
            told.append(f"of {one.agent} {known.success_rate:.0%} success{words} for {format_usd(known.cost_usd)}")
        return f"Expected {told[0]}, {told[1]}."

    def steps(self, task: Task, strategy: Strategy) -> dict[str, Estimate]:
        """Return what each agent of a strategy is expected to take by itself; nothing for a single agent."""
        if isinstance(strategy, Single):
            return {}
        doers = asked(strategy)
        return {
            name: self.estimate(task, name, task.task_type if name in doers else VERIFY) for name in agents_of(strategy)
        }

    def counted(self, task: Task, strategy: Strategy, least: float) -> float:
        """Return what a task counts for where this quality is asked for: the lower confidence bound of its success;
        what is expected of it where too little is known to prove anything (see candidates)."""
        options = self.options(task, strategy) if least else (self.alone(task, strategy),)
        return measure(options, "beginning", least, None)[0]

    def _complexity(self, task: Task) -> float:
        known = self.complexities.get(task.task_id)
        if known is None:  # its place in the graph is not known
            known = estimate_complexity(task.task_type, dependencies=len(task.dependencies))
        return known

    def kind_of(self, task: Task) -> Kind:
        """Return what the options of a task depend on: those of tasks of one kind are the same."""
        return (task.task_type, task.requirements, self._complexity(task), self._words(task), task.risk)

    def _for_kind(self, task: Task, confidence: float | None) -> dict[Strategy, Option]:
        key = (self.kind_of(task), confidence)
        if key not in self._known.options:
            able = [agent for agent, capability in self.choosable.items() if capability.takes(task)]
            options: dict[Strategy, Option] = {
                Single(agent=agent): self._single(agent, task, confidence) for agent in able
            }
            for option in self._of_strategies(task, able, confidence):
                options[option.strategy] = option
            self._known.options[key] = options
        return self._known.options[key]

    def _single(self, agent: str, task: Task, confidence: float | None) -> Option:
        key = (agent, self.kind_of(task), confidence)
        if key not in self._known.singles:
            estimate = self.estimate(task, agent)
            lower, evidence = bound_of(estimate, confidence)
            self._known.singles[key] = Option(
                strategy=Single(agent=agent),
                cost_usd=estimate.cost_usd,
                seconds=estimate.seconds,
                quality=estimate.success_rate,
                lower=lower,
                evidence=evidence,
                samples=estimate.judged,
            )
        return self._known.singles[key]

    def _of_strategies(self, task: Task, able: Sequence[str], confidence: float | None) -> list[Option]:
        if self._strategies is None or task.risk == "high":  # what does harm is not done by several
            return []
        judged = self._strategies.for_task(task.task_type, [*self.choosable])
        measured = {one.strategy.agent: one for one in judged if isinstance(one.strategy, Single)}
        return [
            self._scaled(one, measured, task, confidence)
            for one in judged
            if not isinstance(one.strategy, Single)
            and set(asked(one.strategy)) <= set(able)
            and all(agent in self.choosable for agent in agents_of(one.strategy))
        ]

    def _scaled(
        self, one: JudgedStrategy, measured: Mapping[str, JudgedStrategy], task: Task, confidence: float | None
    ) -> Option:
        """Bring a strategy to the scale of the task at hand.

        What it came to was measured on other tasks. Where its parts were measured on the same ones, cost and time grow
        as those of its parts do, and the log-odds of success shift by as much as theirs on average: a task that is
        hard for all its parts is hard for it too. Without them the figures stand as measured.
        """
        parts = [agent for agent in asked(one.strategy) if agent in measured]
        here = [self._single(agent, task, confidence) for agent in parts]
        there = [measured[agent] for agent in parts]
        if len(parts) < len(asked(one.strategy)):
            here, there = [], []
        shift = math.fsum(logit(h.quality) - logit(t.quality) for h, t in zip(here, there, strict=True))
        shift /= max(1, len(here))
        lower = min(one.quality, lower_bound(one.quality, one.quality_sd, one.quality_lower, confidence))
        return Option(
            strategy=one.strategy,
            cost_usd=one.cost_usd * _ratio([h.cost_usd for h in here], [t.cost_usd for t in there]),
            seconds=one.seconds * _ratio([h.seconds for h in here], [t.seconds for t in there]),
            quality=shifted(one.quality, shift),
            lower=shifted(lower, shift),
            evidence=evidence_of(one.quality, one.quality_sd),
            samples=one.samples,
        )

    def _initial(self, task: Task, strategy: Strategy, confidence: float | None) -> Option:
        if isinstance(strategy, Single):
            return self._single(strategy.agent, task, confidence)
        # It is kept no longer, an agent of it does not take the task, or the plan orders it. The worst is assumed until
        # it is judged: all are asked, one after the other, and what the last one answers is what it comes to.
        parts = [self._single(agent, task, confidence) for agent in asked(strategy)]
        checks = [self.estimate(task, judge, VERIFY) for judge in set(agents_of(strategy)).difference(asked(strategy))]
        return Option(
            strategy=strategy,
            cost_usd=math.fsum([*(part.cost_usd for part in parts), *(check.cost_usd for check in checks)]),
            seconds=math.fsum([*(part.seconds for part in parts), *(check.seconds for check in checks)]),
            quality=parts[-1].quality,
            lower=parts[-1].lower,
            evidence=parts[-1].evidence,
            samples=0,
        )


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


def _ratio(here: Sequence[float], there: Sequence[float]) -> float:
    total = math.fsum(there)
    return math.fsum(here) / total if total > 0 else 1.0
