"""Small worlds with a known truth: logs in which what every agent would have made of every task is known.

And the plainest things that can be learned from them, means by task type, so that these tests judge the arithmetic of
the report and not how well a model learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kapelle.estimates.logged import LoggedOutcome, LoggedTask
from kapelle.evaluation import Log
from kapelle.evaluation.log import mean_outcome
from kapelle.strategies.strategy import Single, Strategy

Array = npt.NDArray[Any]


def make_log(tasks: Sequence[LoggedTask]) -> Log:
    return Log(
        source="world",
        tasks=tuple(tasks),
        as_logged=tuple(mean_outcome(list(task.outcomes.values())) for task in tasks),
        rows=sum(len(task.outcomes) for task in tasks),
    )


def make_task(
    number: int, task_type: str, outcomes: dict[str, tuple[float, float]], text: str | None = None
) -> LoggedTask:
    return LoggedTask(
        task_id=str(number),
        text=f"{task_type} number {number}" if text is None else text,
        task_type=task_type,
        outcomes={agent: LoggedOutcome(quality=quality, cost_usd=cost) for agent, (quality, cost) in outcomes.items()},
    )


SUCCESS = {"easy": {"small": 0.9, "large": 0.95}, "hard": {"small": 0.3, "large": 0.85}}
"""The chance of success by type and agent."""
COST = {"small": 0.001, "large": 0.02}


def make_world(count: int, seed: int) -> list[LoggedTask]:
    """Return tasks seen with both agents: the small one is nearly as good at easy tasks, and bad at hard ones."""
    chance = np.random.default_rng(seed)
    tasks = []
    for number in range(count):
        kind = "easy" if chance.random() < 0.5 else "hard"
        outcomes = {
            agent: (float(chance.random() < SUCCESS[kind][agent]), COST[agent] * float(chance.uniform(0.5, 1.5)))
            for agent in COST
        }
        tasks.append(make_task(number, kind, outcomes))
    return tasks


def hide(tasks: Sequence[LoggedTask], large_share: dict[str, float], seed: int) -> list[LoggedTask]:
    """Return the tasks as one who asks the large agent with this chance, by type, would have seen them."""
    chance = np.random.default_rng(seed)
    seen = []
    for task in tasks:
        agent = "large" if chance.random() < large_share[task.task_type] else "small"
        seen.append(replace(task, outcomes={agent: task.outcomes[agent]}))
    return seen


@dataclass(frozen=True, kw_only=True)
class Guess:
    agents: tuple[str, ...]
    quality: Array
    cost_usd: Array


class TypeMeans:
    """Predicts the mean that an agent had within the task's type."""

    def __init__(self, tasks: Sequence[LoggedTask], seed: int = 0) -> None:
        self.agents = tuple(sorted({agent for task in tasks for agent in task.outcomes}))
        sums: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for task in tasks:
            for agent, outcome in task.outcomes.items():
                sums.setdefault((task.task_type, agent), []).append((outcome.quality, outcome.cost_usd))
        self._means = {key: np.mean(found, axis=0) for key, found in sums.items()}

    def predict(self, tasks: Sequence[LoggedTask]) -> Guess:
        none = np.zeros(2)
        found = np.array([[self._means.get((task.task_type, agent), none) for agent in self.agents] for task in tasks])
        return Guess(agents=self.agents, quality=found[:, :, 0], cost_usd=found[:, :, 1])


class Ignorant(TypeMeans):
    """Predicts one half, whatever is asked: a model that is wrong."""

    def predict(self, tasks: Sequence[LoggedTask]) -> Guess:
        shape = (len(tasks), len(self.agents))
        return Guess(agents=self.agents, quality=np.full(shape, 0.5), cost_usd=np.full(shape, 0.01))


class TypePolicy:
    """Chooses the agent of the most predicted quality less cost."""

    def __init__(self, tasks: Sequence[LoggedTask], seed: int = 0) -> None:
        self._means = TypeMeans(tasks)
        guess = self._means.predict(tasks)
        quality = np.array([[task.outcomes[agent].quality for agent in guess.agents] for task in tasks])
        cost = np.array([[task.outcomes[agent].cost_usd for agent in guess.agents] for task in tasks])
        best = quality.mean(axis=0).max()
        rows = np.arange(len(tasks))
        self._points = []
        for price in (*np.geomspace(1e-3, 1e4, 60), 0.0):
            choice = (guess.quality - price * guess.cost_usd).argmax(axis=1)
            self._points.append((cost[rows, choice].mean(), quality[rows, choice].mean() / best, float(price)))

    def point(self, quality_share: float) -> float:
        reaching = [(spent, price) for spent, share, price in self._points if share >= quality_share - 1e-12]
        return min(reaching)[1] if reaching else 0.0

    def choose(self, tasks: Sequence[LoggedTask], point: float) -> list[Strategy]:
        guess = self._means.predict(tasks)
        choice = (guess.quality - point * guess.cost_usd).argmax(axis=1)
        return [Single(agent=guess.agents[column]) for column in choice]
