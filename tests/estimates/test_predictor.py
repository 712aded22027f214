"""What agents make of tasks is predicted from words and outcomes, in small worlds whose truth is known."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.estimates import LoggedOutcome, LoggedTask, OutcomePredictor

EASY = ("add two small numbers", "say the capital of a country", "name a colour")
HARD = ("prove a theorem of topology", "schedule forty nurses", "translate a legal contract")


def world(count: int = 300, *, seed: int = 0, partial: bool = False) -> list[LoggedTask]:
    """`strong` does nearly everything; `weak` does easy tasks only, and costs a tenth."""
    rng = random.Random(seed)
    tasks = []
    for number in range(count):
        hard = rng.random() < 0.5
        text = f"{rng.choice(HARD if hard else EASY)} ({rng.randrange(10_000)})"
        outcomes = {
            "strong": LoggedOutcome(quality=float(rng.random() < 0.95), cost_usd=0.001 * len(text)),
            "weak": LoggedOutcome(quality=float(rng.random() < (0.1 if hard else 0.95)), cost_usd=0.0001 * len(text)),
        }
        if partial:  # the weak agent is given easy tasks mostly
            name = "weak" if rng.random() < (0.1 if hard else 0.8) else "strong"
            outcomes = {name: outcomes[name]}
        tasks.append(LoggedTask(task_id=str(number), text=text, task_type="work", outcomes=outcomes))
    return tasks


@cache
def of_the_world() -> OutcomePredictor:
    return OutcomePredictor.fit(world())


def ask(text: str) -> LoggedTask:
    return LoggedTask(task_id="new", text=text, task_type="work")


def quality(predictor: OutcomePredictor, text: str) -> dict[str, float]:
    predicted = predictor.predict([ask(text)])
    return dict(zip(predicted.agents, predicted.quality[0].tolist(), strict=True))


def test_it_knows_what_is_hard_and_for_whom() -> None:
    easy, hard = quality(of_the_world(), f"{EASY[0]} (33)"), quality(of_the_world(), f"{HARD[0]} (33)")
    assert hard["weak"] < 0.4 < 0.7 < easy["weak"]
    assert min(easy["strong"], hard["strong"]) > 0.8


def test_predictions_beat_the_mean_of_the_type_on_tasks_never_seen() -> None:
    train, test = world(seed=1), world(seed=2)
    predicted = OutcomePredictor.fit(train).predict(test)
    column = predicted.agents.index("weak")
    truth = np.array([task.outcomes["weak"].quality for task in test])
    mean = np.mean([task.outcomes["weak"].quality for task in train])
    assert np.mean((predicted.quality[:, column] - truth) ** 2) < 0.6 * np.mean((mean - truth) ** 2)


def test_what_was_predicted_unseen_is_as_honest_as_on_new_tasks() -> None:
    train, test = world(seed=3), world(seed=4)
    predictor, unseen = OutcomePredictor.fit_unseen(train)

    def error(predicted: np.ndarray, tasks: list[LoggedTask]) -> float:
        truth = np.array([[task.outcomes[agent].quality for agent in predictor.agents] for task in tasks])
        return float(np.mean((predicted - truth) ** 2))

    assert error(unseen.quality, train) == pytest.approx(error(predictor.predict(test).quality, test), rel=0.35)


def test_costs_follow_the_lengths_of_texts() -> None:
    predicted = of_the_world().predict([ask("x" * 20), ask("x" * 200)]).cost_usd
    assert predicted[1, 0] == pytest.approx(0.2, rel=0.05)
    assert predicted[0, 0] < predicted[1, 0] / 5


def test_a_pull_moves_every_prediction_towards_what_its_agent_reaches_in_the_mean() -> None:
    plain, whole = of_the_world(), of_the_world().pulled(1.0)
    assert quality(whole, HARD[0]) == pytest.approx(dict(zip(plain.agents, plain.means.tolist(), strict=True)))
    for agent, mean in zip(plain.agents, plain.means.tolist(), strict=True):
        halfway = quality(plain.pulled(0.5), HARD[0])[agent]
        assert halfway == pytest.approx((quality(plain, HARD[0])[agent] + mean) / 2)


@pytest.mark.parametrize("tasks", [[], world(5), [LoggedTask(task_id="1", text="nobody tried")]])
def test_with_little_to_learn_from_words_say_nothing(tasks: list[LoggedTask]) -> None:
    predictor = OutcomePredictor.fit(tasks)
    assert quality(predictor, "anything at all") == quality(predictor, HARD[0])


@given(st.text(max_size=300), st.text(max_size=20), st.text(max_size=100))
def test_any_task_has_figures_and_none_is_nan(text: str, task_type: str, context: str) -> None:
    found = SMALL.predict([LoggedTask(task_id="", text=text, task_type=task_type, context=context)])
    assert ((found.quality >= 0) & (found.quality <= 1)).all()
    assert (found.cost_usd >= 0).all()


SMALL = OutcomePredictor.fit(world(120))


def test_what_is_written_is_what_is_read() -> None:
    predictor = of_the_world().pulled(0.25)
    again = OutcomePredictor.from_arrays(*predictor.to_arrays())
    tasks = [ask(text) for text in (*EASY, *HARD, "")]
    assert (again.predict(tasks).quality == predictor.predict(tasks).quality).all()
    assert (again.predict(tasks).cost_usd == predictor.predict(tasks).cost_usd).all()


@pytest.mark.parametrize("name", ["slopes", "type_effects", "cost_lines", "means", "words_weights", "form_means"])
@pytest.mark.parametrize("damage", ["short", "not a number", "gone"])
def test_what_does_not_fit_together_is_refused(name: str, damage: str) -> None:
    about, arrays = SMALL.to_arrays()
    broken = {key: value.copy() for key, value in arrays.items()}
    if damage == "short":
        broken[name] = broken[name][:-1]
    elif damage == "gone":
        del broken[name]
    else:
        broken[name].flat[0] = np.nan
    with pytest.raises((ValueError, KeyError)):
        OutcomePredictor.from_arrays(about, broken)


def test_the_same_tasks_and_seed_give_the_same_predictor() -> None:
    one, other = OutcomePredictor.fit(world(), seed=5), OutcomePredictor.fit(world(), seed=5)
    assert quality(one, HARD[0]) == quality(other, HARD[0])
