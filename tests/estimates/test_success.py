"""The one belief of success: equal to plain Bayesian regression over everything at once, in whatever order it came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.estimates import moments
from kapelle.estimates.moments import Moments
from kapelle.estimates.success import NOISE, Scales, SuccessModel

WIDTH = 3
SCALES = Scales(shared_words=(0.01, 0.005, 0.004), own_words=(0.003, 0.002, 0.003), names=("length", "words", "words"))


@dataclass(frozen=True)
class Seen:
    agent: str
    task_type: str
    quality: float
    words: np.ndarray | None


def regress(
    outcomes: list[Seen],
    scales: Scales,
    declared: dict[str, float],
    agent: str,
    task_type: str,
    words: np.ndarray | None,
) -> tuple[float, float]:
    """Return mean and variance by one dense solve over the parameters of all agents."""
    agents = sorted({one.agent for one in outcomes} | {agent})
    types = sorted({one.task_type for one in outcomes} | {task_type})
    width = len(scales.shared_words)
    size = 1 + len(types) + width

    def row(who: str, kind: str, text: np.ndarray | None) -> np.ndarray:
        x = np.zeros(size)
        x[0] = 1.0
        x[1 + types.index(kind)] = 1.0
        if width and text is not None:
            x[1 + len(types) :] = text
        full = np.zeros(size * (1 + len(agents)))
        full[:size] = x
        full[size * (1 + agents.index(who)) :][:size] = x
        return full

    shared = [scales.shared_level, *[scales.shared_type] * len(types), *scales.shared_words]
    own = [scales.own_level, *[scales.own_type] * len(types), *scales.own_words]
    prior = np.diag(1.0 / np.array(shared + own * len(agents)))
    table = np.array([row(one.agent, one.task_type, one.words) for one in outcomes]).reshape(len(outcomes), len(prior))
    errors = np.array([one.quality - declared.get(one.agent, 0.85) for one in outcomes])
    covariance = np.linalg.inv(prior + table.T @ table / NOISE)
    weights = covariance @ (table.T @ errors) / NOISE
    asked = row(agent, task_type, words)
    return declared.get(agent, 0.85) + asked @ weights, asked @ covariance @ asked


words = st.one_of(st.none(), st.lists(st.floats(-3, 3, width=32), min_size=WIDTH, max_size=WIDTH).map(np.array))
outcomes = st.lists(
    st.builds(Seen, st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0, 1), words), min_size=0, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(outcomes=outcomes, rates=st.lists(st.floats(0.2, 0.8), min_size=4, max_size=4), text=words, asks=st.booleans())
def test_it_is_the_plain_regression_over_all_agents_and_types(
    outcomes: list[Seen], rates: list[float], text: np.ndarray | None, asks: bool
) -> None:
    declared = dict(zip("abcd", rates, strict=True))
    model = SuccessModel(SCALES)
    for one in outcomes:
        model.observe(one.agent, one.task_type, one.quality, one.words)
        if asks:
            model.believe(one.agent, None, [one.task_type])
    mean, variance = model.believe("abcd", rates, ["x", "z", "never"], None if text is None else np.array([text] * 3))
    for at, kind in enumerate(["x", "z", "never"]):
        for column, agent in enumerate("abcd"):
            wanted, spread = regress(outcomes, SCALES, declared, agent, kind, text)
            assert variance[at, column] == pytest.approx(spread, abs=1e-9)
            if 0.02 < wanted < 0.98:
                assert mean[at, column] == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(outcomes=outcomes, places=st.lists(st.integers(0, 24), max_size=5))
def test_asking_in_between_changes_nothing(outcomes: list[Seen], places: list[int]) -> None:
    asked, plain = SuccessModel(SCALES), SuccessModel(SCALES)
    for at, one in enumerate(outcomes):
        for model in (asked, plain):
            model.observe(one.agent, one.task_type, one.quality, one.words)
        if at in places:
            asked.believe("ab", None, ["x", "y"])
    for left, right in zip(asked.believe("abc", None, "xyz"), plain.believe("abc", None, "xyz"), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-12)


def test_twenty_thousand_outcomes_between_questions_are_the_sums_solved_at_once() -> None:
    rng, model = np.random.default_rng(3), SuccessModel(SCALES)
    for number in range(20_000):
        agent, kind = f"a{rng.integers(6)}", f"t{min(int(rng.exponential(2)), 9)}"
        match number % 10:
            case 0:
                model.fade(agent, kind, float(rng.choice([0.0, 0.3, 0.995])))
            case 1:
                model.declare(agent, float(rng.uniform(0.3, 0.9)))
            case _:
                model.observe(agent, kind, float(rng.random() < 0.7), rng.normal(size=WIDTH))
        model.believe([agent], None, [kind])
    fresh = SuccessModel(SCALES, moments=model.moments)
    agents, kinds = [f"a{at}" for at in range(7)], [f"t{at}" for at in range(11)]
    for agent in agents[:6]:
        fresh.declare(agent, float(model._ridge.declared(np.array([model.moments.rows[agent]]))[0]))
    text = rng.normal(size=(11, WIDTH))
    for left, right in zip(
        model.believe(agents, None, kinds, text), fresh.believe(agents, None, kinds, text), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(outcomes=outcomes, rates=st.lists(st.floats(0.2, 0.8), min_size=4, max_size=4), text=words)
def test_one_question_is_answered_as_many_at_once(
    outcomes: list[Seen], rates: list[float], text: np.ndarray | None
) -> None:
    model = SuccessModel(SCALES)
    for one in outcomes:
        model.observe(one.agent, one.task_type, one.quality, one.words)
    kinds = ["x", "z", "never"]
    together = model.believe("abcd", rates, kinds, None if text is None else np.array([text] * 3))
    for at, kind in enumerate(kinds):
        for column, agent in enumerate("abcd"):
            alone = model.believe([agent], [rates[column]], [kind], None if text is None else text[None])
            for left, right in zip(alone, together, strict=True):
                assert left[0, 0] == pytest.approx(right[at, column], abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(outcomes=outcomes)
def test_one_by_one_is_all_at_once(outcomes: list[Seen]) -> None:
    plain, sums = SuccessModel(SCALES), Moments(WIDTH)
    for one in outcomes:
        plain.observe(one.agent, one.task_type, one.quality, one.words)
    for agent in "abc":
        mine = [one for one in outcomes if one.agent == agent]
        described = np.array([np.zeros(WIDTH) if one.words is None else one.words for one in mine])
        quality = np.array([one.quality for one in mine])
        sums.add_many(agent, [one.task_type for one in mine], quality, described.reshape(len(mine), WIDTH))
    together = SuccessModel(SCALES, moments=sums)
    for left, right in zip(plain.believe("abc", None, "xyz"), together.believe("abc", None, "xyz"), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-9)


def test_an_agent_of_which_nothing_is_known_is_what_it_declares() -> None:
    mean, variance = SuccessModel().believe(["a", "b"], [1.0, 0.3], ["x"])
    assert mean.tolist() == [[1.0, 0.3]]
    assert variance[0].tolist() == pytest.approx([0.12, 0.12])


def test_how_right_declarations_were_is_inherited_by_the_next_agent() -> None:
    model = SuccessModel()
    for agent in ("a", "b", "c"):
        model.declare(agent, 0.9)
        for at in range(100):
            model.observe(agent, "x", float(at % 10 < 7))
    mean, _ = model.believe(["new"], [0.9], ["x"])
    assert mean[0, 0] == pytest.approx(0.75, abs=0.01)


def test_a_declaration_is_worth_about_five_outcomes_once_others_are_known() -> None:
    model = SuccessModel()
    for agent in "abcdefghij":
        for at in range(400):
            model.observe(agent, "x", float(at % 20 < 17))
    before = model.believe(["new"], [0.85], ["y"])[0][0, 0]
    for _ in range(5):
        model.observe("new", "x", 0.0)
    after = model.believe(["new"], [0.85], ["y"])[0][0, 0]
    assert 0.2 < before - after < 0.45


@settings(max_examples=30, deadline=None)
@given(kept=st.floats(0, 1), count=st.integers(1, 20))
def test_what_fades_counts_for_a_part(kept: float, count: int) -> None:
    faded, weighted = SuccessModel(), SuccessModel()
    for at in range(count):
        faded.observe("a", "x", at % 2)
        weighted.observe("a", "x", at % 2, weight=kept)
        for model in (faded, weighted):
            model.observe("a", "y", 1.0)
    faded.fade("a", "x", kept)
    faded.fade("nobody", "x", kept)
    for left, right in zip(faded.believe("ab", None, "xyz"), weighted.believe("ab", None, "xyz"), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-9)


def test_slopes_stay_when_a_level_fades() -> None:
    model = SuccessModel(SCALES)
    rng = np.random.default_rng(0)
    for _ in range(400):
        text = np.array([rng.choice([-1.0, 1.0]), 0.0, 0.0])
        model.observe("a", "x", float(text[0] < 0.0), text)

    def difference() -> float:
        mean, _ = model.believe(["a"], None, ["x"] * 2, np.array([[-0.1, 0, 0], [0.1, 0, 0]]))
        return float(mean[0, 0] - mean[1, 0])

    before = difference()
    for _ in range(50):
        model.fade("a", "x", 0.8)
    assert difference() == pytest.approx(before, abs=0.02)
    assert before > 0.08
    mean, variance = model.believe(["a"], None, ["x"])
    assert mean[0, 0] == pytest.approx(0.85, abs=0.01)
    assert variance[0, 0] > 0.1


def test_slopes_that_were_kept_come_back_without_a_level() -> None:
    model = SuccessModel(SCALES)
    rng = np.random.default_rng(1)
    for _ in range(300):
        text = rng.normal(size=WIDTH)
        model.observe("a", "x", float(text[0] + 0.3 * rng.normal() > 0), text)
    later = SuccessModel(SCALES)
    later.add_slopes("a", *model.moments.slopes_of("a"))
    slopes = [one.believe(["a"], [0.5], ["x"] * 2, np.array([[0.5, 0, 0], [-0.5, 0, 0]]))[0] for one in (model, later)]
    assert slopes[1][0, 0] - slopes[1][1, 0] == pytest.approx(slopes[0][0, 0] - slopes[0][1, 0], abs=0.02)
    assert slopes[1].mean() == pytest.approx(0.5, abs=1e-6)


def test_an_explanation_adds_up_to_the_estimate() -> None:
    model = SuccessModel(SCALES)
    for at in range(30):
        model.observe("a", "x", 0.4, np.array([at % 3, at % 2, -1.0]))
    text = np.array([2.0, 1.0, -1.0])
    terms = model.explain("a", "x", text)
    mean, _ = model.believe(["a"], None, ["x"], text[None])
    assert {term.name for term in terms} == {"agent", "type", "length", "words"}
    assert 0.85 + sum(term.points for term in terms) == pytest.approx(mean[0, 0], abs=1e-9)
    assert [abs(term.points) for term in terms] == sorted((abs(term.points) for term in terms), reverse=True)


def test_nothing_moved_needs_no_explanation() -> None:
    assert SuccessModel(SCALES).explain("nobody", "x", np.ones(WIDTH)) == ()


@pytest.mark.parametrize("quality", [0.0, 1.0])
def test_certainty_comes_with_outcomes_and_is_never_whole(quality: float) -> None:
    model = SuccessModel()
    model.moments.add_many("a", ["x"] * 1_000_000, np.full(1_000_000, quality))
    model.declare("a", 0.5)
    mean, variance = model.believe(["a"], [0.5], ["x"])
    assert 0.0 < mean[0, 0] < 1.0
    assert abs(mean[0, 0] - quality) < 1e-5
    assert 0.0 < variance[0, 0] < 1e-6


def test_words_that_are_no_numbers_say_nothing() -> None:
    model = SuccessModel(SCALES)
    for text in ([np.nan, np.inf, -np.inf], [1e300, 0.0, 0.0], [0.0, 0.0, 0.0]):
        model.observe("a", "x", 1.0, np.array(text))
    mean, variance = model.believe(["a", "b"], None, ["x"], np.array([[np.nan, 1e300, -np.inf]]))
    assert np.isfinite(mean).all()
    assert np.isfinite(variance).all()


def test_made_up_names_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "MAX_TYPES", 5)
    monkeypatch.setattr(moments, "MAX_AGENTS", 40)
    monkeypatch.setattr(moments, "MAX_AGENTS_WITH_WORDS", 9)
    model = SuccessModel(SCALES)
    for at in range(100):
        model.observe(f"agent {at}", f"type {at}", 0.5, np.ones(WIDTH))
    assert model.moments.counts.shape == (41, 8)
    assert model.moments.words.shape == (10, 8, WIDTH)
    asked = [f"agent {at}" for at in range(100)]
    mean, variance = model.believe(asked, None, ["type 1", "type 99", "none"], np.ones((3, WIDTH)))
    assert ((mean > 0.3) & (mean < 0.86)).all()
    assert (variance > 0).all()
    assert variance[0, 1] < variance[2, 1] < variance[2, 99]


def test_a_thousand_agents_and_many_types_are_asked_at_once() -> None:
    model = SuccessModel(SCALES)
    rng = np.random.default_rng(2)
    for agent in range(1000):
        for kind in rng.integers(0, 100, size=3):
            model.observe(f"a{agent}", f"t{kind}", float(rng.random() < 0.7), rng.normal(size=WIDTH))
    mean, variance = model.believe([f"a{at}" for at in range(1001)], None, [f"t{at}" for at in range(50)])
    assert mean.shape == variance.shape == (50, 1001)
    assert (variance > 0).all()
    assert (variance < 0.121).all()


def test_nobody_and_nothing_is_asked() -> None:
    model = SuccessModel(SCALES)
    assert model.believe([], [], ["x"])[0].shape == (1, 0)
    assert model.believe(["a"], [0.5], [])[0].shape == (0, 1)
