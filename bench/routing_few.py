"""What routing is worth while little is known: part of `bench.routing`, which prints it.

`log_loss_of_few`: how well success is foretold from a hundred outcomes, each of one agent at random. `online_gain`:
what is gained by learning task by task, drawing at the width that exploration draws at, against the one agent that
hindsight calls best. Both measure the model alone: no outcome fades, nobody declares anything, and every task explores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kapelle.allocation.exploration import WIDTH
from kapelle.estimates import LoggedTask, OutcomePredictor, SuccessModel

Doubles = NDArray[np.float64]

FEW = 100
DRAWS = 12
"""Times that the few are drawn anew, and orders of the tasks that are worked through."""
ONLINE_TASKS = 2_000
PRICE = 0.1
"""Of quality, in what the best agent costs: the price of a task in what is gained online."""


def log_loss_of_few(train: Sequence[LoggedTask], test: Sequence[LoggedTask], *, seed: int) -> float:
    """Return the log loss on all outcomes of the test rows, learned from FEW of one random agent each.

    It is the mean of DRAWS.
    """
    losses = []
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, draw])
        tasks = [train[at] for at in rng.permutation(len(train))[:FEW].tolist()]
        agents = [sorted(task.outcomes)[int(rng.integers(len(task.outcomes)))] for task in tasks]
        seen = [
            replace(task, outcomes={agent: task.outcomes[agent]}) for task, agent in zip(tasks, agents, strict=True)
        ]
        predicted = OutcomePredictor.fit(seen, seed=seed).predict(test)
        known = [[task.outcomes[agent].quality for agent in predicted.agents] for task in test]
        quality, expected = np.array(known), np.clip(predicted.quality, 0.01, 0.99)
        losses.append(float(-(quality * np.log(expected) + (1 - quality) * np.log(1 - expected)).mean()))
    return float(np.mean(losses))


def online_gain(tasks: Sequence[LoggedTask], agents: Sequence[str], *, seed: int) -> float:
    """Return quality less cost, above that of the best fixed agent in hindsight: a total, the mean of DRAWS orders.

    Every task explores: the agent is the one of the greatest worth where chances are drawn as exploration draws them.
    What an agent costs is taken as known.
    """
    quality = np.array([[task.outcomes[agent].quality for agent in agents] for task in tasks])
    cost = np.array([[task.outcomes[agent].cost_usd for agent in agents] for task in tasks])
    best = int(quality.mean(axis=0).argmax())
    relative = PRICE * cost / max(float(cost[:, best].mean()), 1e-12)
    worth = quality - relative
    fixed = int(worth.mean(axis=0).argmax())
    gains = []
    for order in range(DRAWS):
        rng = np.random.default_rng([seed, order])
        model = SuccessModel()
        gain = 0.0
        for row in rng.permutation(len(tasks))[:ONLINE_TASKS].tolist():
            task_type = tasks[row].task_type
            mean, variance = model.believe(agents, None, [task_type])
            drawn = mean[0] + WIDTH * np.sqrt(variance[0]) * rng.standard_normal(len(agents))
            chosen = int((drawn - relative[row]).argmax())
            model.observe(agents[chosen], task_type, float(quality[row, chosen]))
            gain += float(worth[row, chosen] - worth[row, fixed])
        gains.append(gain)
    return float(np.mean(gains))
