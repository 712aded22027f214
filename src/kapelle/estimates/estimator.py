"""Estimates of many tasks by many agents at once, from what is known at one moment. Learns nothing: see profiler.

What costs much is done once for what is alike: amounts and completion for a pair of agent and type, the belief of how
right answers are for all agents and all types (and texts, where words count) in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from kapelle.agents import AgentCapability

from .estimate import Estimate, Pair, make_estimate, read_pair
from .experience import Experience, Success
from .history import Tokens

TaskKind = tuple[str, float, str]
"""Of a task: type, complexity, text."""
_KEPT = 100_000
"""Estimates that are kept; beyond that all are made anew."""


class _OfAgent:
    """What was estimated of one agent already."""

    __slots__ = ("estimates", "pairs", "successes")

    def __init__(self) -> None:
        self.pairs: dict[str, Pair] = {}
        self.successes: dict[tuple[str, str], Success] = {}
        self.estimates: dict[TaskKind, Estimate] = {}


class Estimator:
    """Estimates by what is known now, and remembers what it has estimated.

    Args:
        experience: What is known. Whoever changes it makes a new estimator.
        confidence: Of lower bounds.
        now: The time, for what is old to count less; 0 fades nothing.
        price_usd: What so many tokens, or those of a task of which nothing is known, cost with an agent.
    """

    def __init__(
        self,
        experience: Experience,
        *,
        confidence: float,
        now: float,
        price_usd: Callable[[AgentCapability, Tokens | None], float],
    ) -> None:
        self._experience = experience
        self._confidence = confidence
        self._now = now
        self._price_usd = price_usd
        self._agents: dict[AgentCapability, _OfAgent] = {}
        self._kept = 0

    def find(self, agent: AgentCapability, task: TaskKind) -> Estimate | None:
        """Return an estimate that was made already."""
        known = self._agents.get(agent)
        return known.estimates.get(task) if known is not None else None

    def estimate(self, agents: Sequence[AgentCapability], tasks: Sequence[TaskKind]) -> list[list[Estimate]]:
        """Return the estimate of every agent at every task, a list per task."""
        if self._experience.correctness.words is None:  # alike whatever their words
            tasks = [(kind, complexity, "") for kind, complexity, _ in tasks]
        known = [self._agents.setdefault(agent, _OfAgent()) for agent in agents]
        fresh = [task for task in dict.fromkeys(tasks) if any(task not in one.estimates for one in known)]
        if fresh:
            self._believe(agents, known, [(kind, text) for kind, _, text in fresh])
        for agent, one in zip(agents, known, strict=True):
            for task in fresh:
                if task not in one.estimates:
                    kind, complexity, text = task
                    pair = one.pairs.get(kind)
                    if pair is None:
                        price = partial(self._price_usd, agent)
                        pair = one.pairs[kind] = read_pair(self._experience, agent, kind, price_usd=price)
                    usual, success = one.successes[kind, ""], one.successes[kind, text]
                    one.estimates[task] = make_estimate(pair, complexity, success, usual)
                    self._kept += 1
        found = [[one.estimates[task] for one in known] for task in tasks]
        if self._kept > _KEPT:
            self._agents, self._kept = {}, 0
        return found

    def _believe(
        self, agents: Sequence[AgentCapability], known: Sequence[_OfAgent], tasks: Sequence[tuple[str, str]]
    ) -> None:
        """Believe in every agent's success at these tasks, and at usual ones of their types."""
        usual = [(kind, "") for kind in dict.fromkeys(kind for kind, _ in tasks)]
        asked = [task for task in dict.fromkeys([*usual, *tasks]) if any(task not in one.successes for one in known)]
        if not asked:
            return
        declared = [(agent.agent_id, agent.success_rate) for agent in agents]
        found = self._experience.believe_success(declared, asked, confidence=self._confidence, now=self._now)
        for task, successes in zip(asked, found, strict=True):
            for one, success in zip(known, successes, strict=True):
                one.successes[task] = success
