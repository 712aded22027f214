"""Partial logs: every task was tried by one agent, and the easy ones mostly by one of the two."""

from __future__ import annotations

import random
from functools import cache

import pytest

from kapelle.estimates import LoggedOutcome, LoggedTask, OutcomePredictor

EASY, HARD = "a small simple sum of two numbers", "prove the long theorem about smooth manifolds"


def log(*, worse: float, seed: int = 0) -> list[LoggedTask]:
    """Nine of ten easy tasks go to `lucky`, nine of ten hard ones to `brave`; lucky is worse by so much."""
    rng = random.Random(seed)
    tasks = []
    for number in range(800):
        text, chance = (EASY, 0.9) if number % 2 else (HARD, 0.4)
        agent = "lucky" if (rng.random() < 0.9) == (text == EASY) else "brave"
        succeeds = rng.random() < chance - (worse if agent == "lucky" else 0)
        outcome = LoggedOutcome(quality=float(succeeds), cost_usd=0.001)
        words = f"{text}, case {rng.randrange(1000)}"
        tasks.append(LoggedTask(task_id=str(number), text=words, outcomes={agent: outcome}))
    return tasks


@cache
def equally_good() -> OutcomePredictor:
    """Return what is learned where neither is worse."""
    return OutcomePredictor.fit(log(worse=0.0))


def quality(model: OutcomePredictor, text: str) -> dict[str, float]:
    """Return the mean of what is expected of each agent at tasks of these words."""
    tasks = [LoggedTask(task_id="", text=f"{text}, case {number}") for number in range(101, 999, 7)]
    prediction = model.predict(tasks)
    return dict(zip(prediction.agents, prediction.quality.mean(axis=0).tolist(), strict=True))


def test_an_agent_that_is_handed_the_easy_tasks_is_not_taken_for_a_better_one() -> None:
    model = equally_good()
    for text, truth in ((EASY, 0.9), (HARD, 0.4)):
        for agent, found in quality(model, text).items():
            assert found == pytest.approx(truth, abs=0.1), f"{agent} at {text!r}"


def test_the_worse_of_two_agents_is_found_though_its_tasks_went_better() -> None:
    tasks = log(worse=0.25)
    rates = {
        agent: [task.outcomes[agent].quality for task in tasks if agent in task.outcomes]
        for agent in ("lucky", "brave")
    }
    assert sum(rates["lucky"]) / len(rates["lucky"]) > sum(rates["brave"]) / len(rates["brave"])
    model = OutcomePredictor.fit(tasks)
    for text in (EASY, HARD):
        found = quality(model, text)
        assert found["lucky"] < found["brave"] - 0.05


def test_words_tell_hard_tasks_apart_though_no_type_does() -> None:
    easy, hard = (quality(equally_good(), text) for text in (EASY, HARD))
    assert max(hard.values()) < 0.55 < 0.75 < min(easy.values())
