"""One model of success is kept in step with what counts: by age, by changes, by words, and whenever somebody asks."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentCapability
from kapelle.estimates import CostProfiler, LearnedWords
from kapelle.estimates.history import CORRECTNESS_DAYS
from kapelle.ledger import Outcome
from tests.estimates.test_predictor import EASY, HARD
from tests.estimates.test_words import of_the_world

DAY_S = 86_400.0


class Words:
    """What was learned of words, as the engine hands it in."""

    def load(self) -> LearnedWords:
        return of_the_world()


def card(agent: str = "weak", rate: float = 0.85) -> AgentCapability:
    return AgentCapability(agent_id=agent, task_types=("*",), success_rate=rate)


def judged(quality: float, *, agent: str = "weak", kind: str = "work", at: float = 0.0, text: str = "") -> Outcome:
    return Outcome(
        run_id="r",
        task_id="t",
        task_type=kind,
        agent=agent,
        success=quality >= 0.5,
        quality=quality,
        at=at,
        features={"text": text} if text else {},
    )


def test_nothing_imports_numpy_before_something_was_judged() -> None:
    code = (
        "import sys; from kapelle.estimates import CostProfiler; from kapelle.agents import AgentCapability;"
        "from kapelle.ledger import Outcome;"
        "card = AgentCapability(agent_id='a', task_types=('t',)); profiler = CostProfiler();"
        "one = dict(run_id='r', task_id='t', task_type='t', agent='a', success=True);"
        "profiler.record_outcome(Outcome(**one)); assert profiler.estimate(card, 't').success_rate == 0.85;"
        "assert 'numpy' not in sys.modules; profiler.record_outcome(Outcome(**one, quality=1.0));"
        "assert profiler.estimate(card, 't').success_rate > 0.85; assert 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_hard_words_lower_what_is_expected_and_are_told() -> None:
    profiler = CostProfiler(Words())
    easy, hard = (f"{texts[0]} (4)" for texts in (EASY, HARD))
    found = {text: profiler.estimate(card(), "work", text=text) for text in (easy, hard, "")}
    assert found[hard].success_rate < found[""].success_rate - 0.1
    assert found[hard].success_lower < found[""].success_lower
    assert found[easy].success_rate <= 0.85  # nobody has checked it
    assert "words: less" in profiler.explain(card(), "work", text=hard)


def test_sixty_failures_at_easy_tasks_are_hopeless_whatever_the_words() -> None:
    profiler = CostProfiler(Words())
    for number in range(60):
        profiler.record_outcome(judged(0.0, at=10.0 + number, text=f"{EASY[0]} ({number})"))
    for text in ("", f"{EASY[0]} (4)", f"{HARD[0]} (4)", "x" * 10_000, "?"):
        assert profiler.estimate(card(), "work", text=text).is_hopeless


def test_texts_from_before_the_learning_count_for_their_level_alone() -> None:
    told, untold = CostProfiler(Words()), CostProfiler(Words())
    for number in range(20):
        told.record_outcome(judged(1.0, at=5.0, text=f"{HARD[0]} ({number})"))
        untold.record_outcome(judged(1.0, at=5.0))
    assert told.estimate(card(), "work", text=HARD[0]) == untold.estimate(card(), "work", text=HARD[0])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.booleans(), st.booleans()), max_size=60))
def test_estimates_are_the_same_whenever_somebody_asked(rows: list[tuple[str, str, bool, bool]]) -> None:
    asked, unasked = CostProfiler(), CostProfiler()
    for agent, kind, success, asks in rows:
        for profiler in (asked, unasked):
            profiler.record_outcome(judged(float(success), agent=agent, kind=kind))
        if asks:
            asked.estimate_all([card("a"), card("b")], [("x", 1.0, ""), ("y", 2.0, "")])
    tasks = [("x", 1.0, ""), ("y", 2.0, ""), ("new", 1.0, "")]
    agents = [card("a"), card("b"), card("new")]
    assert asked.estimate_all(agents, tasks) == [
        [unasked.estimate(agent, kind, unit) for agent in agents] for kind, unit, _ in tasks
    ]


def test_what_is_old_counts_less_and_comes_back_with_the_clock() -> None:
    now = [1000 * DAY_S]
    profiler = CostProfiler(clock=lambda: now[0])
    for _ in range(20):
        profiler.record_outcome(judged(0.0, at=now[0]))
    fresh = profiler.estimate(card(), "work")
    now[0] += 10 * CORRECTNESS_DAYS * DAY_S
    old = profiler.estimate(card(), "work")
    assert fresh.success_rate < 0.1 < 0.8 < old.success_rate
    now[0] -= 10 * CORRECTNESS_DAYS * DAY_S
    assert profiler.estimate(card(), "work") == fresh


@pytest.mark.parametrize("jump", [-1e9, 1e9, 1e12])
def test_a_clock_that_jumps_breaks_nothing(jump: float) -> None:
    now = [1.7e9]
    profiler, rng = CostProfiler(clock=lambda: now[0]), random.Random(1)
    for number in range(60):
        now[0] = 1.7e9 + (jump if number % 3 == 0 else 0.0)
        profiler.record_outcome(judged(float(rng.random() < 0.7), at=max(now[0], 0.0)))
        found = profiler.estimate(card(), "work")
        assert 0.0 < found.success_lower <= found.success_rate < 1.0


NOW = 1.7e9


@pytest.mark.parametrize("place", [0, 30, 60], ids=["first", "between", "last"])
@pytest.mark.parametrize("date", [3.98e9, 1e15, 1.0], ids=["2096", "never", "1970"])
@pytest.mark.parametrize("clock", [lambda: NOW, None], ids=["a clock", "no clock"])
def test_one_wrong_date_leaves_the_record_as_it_is(clock: Callable[[], float] | None, date: float, place: int) -> None:
    start = (clock or time.time)() - 100.0
    rows = [judged(float(number % 10 > 0), at=start + number) for number in range(60)]
    dated, wrong = rows.copy(), rows.copy()
    dated.insert(place, judged(0.0, at=start + place))
    wrong.insert(place, judged(0.0, at=date))
    wanted = CostProfiler.from_outcomes(dated, clock=clock).estimate(card(), "work")
    one_by_one = CostProfiler(clock=clock)
    for row in wrong:
        one_by_one.record_outcome(row)
    for profiler in (CostProfiler.from_outcomes(wrong, clock=clock), one_by_one):
        found = profiler.estimate(card(), "work")
        assert found.success_rate > 0.85
        assert found.success_rate == pytest.approx(wanted.success_rate, abs=0.02)
        assert found.success_lower == pytest.approx(wanted.success_lower, abs=0.02)


@pytest.mark.parametrize("date", [3.98e9, 1.0])
def test_what_comes_after_a_wrong_date_counts_as_usual(date: float) -> None:
    now = [NOW]
    dated, wrong = CostProfiler(clock=lambda: now[0]), CostProfiler(clock=lambda: now[0])
    for number in range(120):
        now[0] += DAY_S
        right = float(number % 3 > 0)
        dated.record_outcome(judged(right, at=now[0]))
        wrong.record_outcome(judged(right, at=date if number == 60 else now[0]))
    now[0] += 20 * DAY_S
    found, wanted = wrong.estimate(card(), "work"), dated.estimate(card(), "work")
    assert found.success_rate == pytest.approx(wanted.success_rate, abs=0.01)
    assert found.success_lower == pytest.approx(wanted.success_lower, abs=0.01)


def test_one_agents_failures_say_nothing_of_another_and_those_of_many_do() -> None:
    profiler = CostProfiler()
    for agent, least in (("a", 0.84), ("b", 0.4), ("c", 0.3)):
        for _ in range(20):
            profiler.record_outcome(judged(0.0, agent=agent))
        assert least < profiler.estimate(card("new"), "work").success_rate <= 0.85
    assert profiler.estimate(card("new"), "work").success_rate < 0.6


def test_an_agent_that_nobody_checks_never_rises_above_what_it_declares() -> None:
    profiler = CostProfiler()
    for agent in "abcdef":
        for _ in range(50):
            profiler.record_outcome(judged(1.0, agent=agent))
    profiler.record_outcome(Outcome(run_id="r", task_id="t", task_type="work", agent="unchecked", success=True))
    for agent in ("unchecked", "new"):
        assert profiler.estimate(card(agent, 0.7), "work").success_rate == 0.7


def test_what_moved_an_estimate_is_told_in_a_few_words() -> None:
    profiler = CostProfiler()
    assert profiler.explain(card("a"), "work") == ""
    for agent in "abc":
        for number in range(40):
            profiler.record_outcome(judged(float(number % 10 > 3), agent=agent))
    assert profiler.explain(card("a"), "work") == "work 24 of 40"
    assert profiler.explain(card("a"), "other") == "its other work: less"
    assert "declare: less" in profiler.explain(card("new"), "other")


def test_after_a_change_only_what_came_since_is_told() -> None:
    profiler = CostProfiler()
    for number in range(140):
        profiler.record_outcome(judged(float(number < 108 or number % 4 == 0)))
    told = profiler.explain(card(), "work")
    assert [change.what for change in profiler.get_statistics()["drifts"]] == ["success"]
    assert told.endswith(" since a change")
    right, known = (int(part) for part in told.removeprefix("work ").removesuffix(" since a change").split(" of "))
    assert known <= 40
    assert right / known == pytest.approx(profiler.estimate(card(), "work").success_rate, abs=0.1)
