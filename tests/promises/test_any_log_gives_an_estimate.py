"""Whatever a log holds, an estimate comes of it, with its uncertainty: never an exception, and in bounded memory."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentCapability
from kapelle.estimates import CostProfiler, LearnedWords
from kapelle.estimates.correctness import TEXTS
from kapelle.estimates.experience import MAX_PAIRS
from kapelle.estimates.moments import MAX_AGENTS, MAX_TYPES
from kapelle.ledger import Outcome
from tests.estimates.test_words import of_the_world


class Words:
    """What was learned of words, as the engine hands it in."""

    def load(self) -> LearnedWords:
        return of_the_world()


class NoWords:
    """A file that could not be read."""

    def load(self) -> None:
        return None


def row(number: int = 0, **fields: Any) -> Outcome:
    plain: dict[str, Any] = {"run_id": "r", "task_id": f"t{number}", "task_type": "work", "agent": "a", "success": True}
    return Outcome(**{**plain, "quality": 1.0, "cost_usd": 0.01, "seconds": 1.0, "at": 1e9 + number, **fields})


def odd_features() -> Iterator[Outcome]:
    for number, features in enumerate(
        ({}, {"text": None}, {"text": 7}, {"text": ""}, {"text": "\x00\ud800 ☃" * 50}, {"text": "x" * 100_000},
         {"text": ["a"]}, {"complexity": math.nan}, {"complexity": "much"}, {"text": "work", "complexity": 1e9})
    ):  # fmt: skip
        outcome = row(number)
        object.__setattr__(outcome, "features", features)  # an Outcome refuses some; a reader of another ledger may not
        yield outcome


LOGS: dict[str, Callable[[], Iterator[Outcome]]] = {
    "nothing": lambda: iter(()),
    "one outcome": lambda: iter([row()]),
    "odd features": odd_features,
    "all failures": lambda: (row(n, success=False, quality=0.0) for n in range(500)),
    "all successes": lambda: (row(n) for n in range(500)),
    "nothing judged": lambda: (row(n, quality=None) for n in range(50)),
    "a thousand agents": lambda: (row(n, agent=f"a{n % 1000}", task_type=f"t{n % 7}") for n in range(3000)),
    "a thousand types": lambda: (row(n, task_type=f"t{n % 1000}") for n in range(3000)),
    "clocks that jump": lambda: (row(n, at=(0.0, 1e9, 4e9, 1.0, 1e308)[n % 5], quality=n % 2) for n in range(200)),
    "half right": lambda: (row(n, quality=0.5) for n in range(200)),
    "costs of nothing and of a fortune": lambda: (row(n, cost_usd=(0.0, 1e6)[n % 2]) for n in range(100)),
    "long texts": lambda: (row(n, features={"text": f"{n} " * 2000}) for n in range(60)),
}
ASKED: dict[str, Callable[[int], bool]] = {
    "in the end": lambda number: False,
    "after each outcome": lambda number: True,
    "now and then": lambda number: number % 37 == 0,
}
DECLARED = (0.0, 1.0)
ENDLESS = "on and on, " * 6_000
MOST_BYTES = 200_000_000
"""Of made-up names and endless texts; the texts that count would add 130 MB, were they kept whole."""
WORDS = {"no words learned": None, "words learned": Words(), "words unreadable": NoWords()}


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("log", LOGS)
def test_every_log_gives_an_estimate_with_its_uncertainty(log: str, words: str) -> None:
    clock = iter([1e9, 2e9, 0.0, 1e12] * 1000)
    for profiler in (
        CostProfiler.from_outcomes(LOGS[log](), words=WORDS[words]),
        CostProfiler.from_outcomes(LOGS[log](), words=WORDS[words], clock=lambda: next(clock)),
    ):
        agents = [AgentCapability(agent_id=name, task_types=("*",)) for name in ("a", "a1", "a999", "never-seen")]
        tasks = [(kind, unit, text) for kind in ("work", "t1", "t999", "new") for unit, text in ((0.0, ""), (3.0, "?"))]
        for estimates in profiler.estimate_all(agents, tasks):
            for found in estimates:
                assert 0.0 <= found.success_lower <= found.success_rate <= 1.0
                assert found.success_sd > 0.0
                assert 0.0 <= found.cost_low_usd <= found.cost_usd <= found.cost_high_usd < math.inf
                assert 0.0 <= found.seconds_low <= found.seconds <= found.seconds_high < math.inf
        assert isinstance(profiler.explain(agents[0], "work", text="?"), str)


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("log", LOGS)
def test_whoever_asks_meanwhile_every_log_ends_in_the_same_estimate(log: str, asked: str, declared: float) -> None:
    profiler, agents = CostProfiler(), [AgentCapability(agent_id="a", task_types=("*",), success_rate=declared)]
    tasks = [("work", 1.0, ""), ("new", 1.0, "")]
    for number, outcome in enumerate(LOGS[log]()):
        profiler.record_outcome(outcome)
        if number < 200 and ASKED[asked](number):
            profiler.estimate_all(agents, tasks)
    at_once = CostProfiler.from_outcomes(LOGS[log]()).estimate_all(agents, tasks)
    for found, wanted in zip(profiler.estimate_all(agents, tasks), at_once, strict=True):
        # What has no sums of its own, of types beyond the first MAX_TYPES, does not fade meanwhile: that is all.
        assert found[0].success_rate == pytest.approx(wanted[0].success_rate, abs=1e-4)
        assert found[0].success_sd == pytest.approx(wanted[0].success_sd, abs=1e-5)
        assert 0.0 <= found[0].success_lower <= found[0].success_rate <= 1.0


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from("xyz"), st.one_of(st.none(), st.floats(0, 1)), st.floats(0, 1e12)
        ),
        max_size=60,
    ),
    st.floats(0, 1),
)
def test_whatever_is_declared_and_happens_success_lies_between_its_bounds(
    rows: list[tuple[str, str, float | None, float]], declared: float
) -> None:
    profiler = CostProfiler.from_outcomes(
        row(agent=agent, task_type=kind, quality=quality, at=at) for agent, kind, quality, at in rows
    )
    agent = AgentCapability(agent_id="a", task_types=("*",), success_rate=declared)
    for kind in ("x", "new"):
        found = profiler.estimate(agent, kind)
        assert 0.0 <= found.success_lower <= found.success_rate <= 1.0


def held(profiler: CostProfiler) -> int:
    """Return the bytes of all that was learned, as they are written: what no allocator rounds up."""
    profiler.estimate(AgentCapability(agent_id="a1", task_types=("*",)), "t1")  # with the model that this takes
    return len(pickle.dumps(profiler._experience))


@pytest.mark.slow
def test_made_up_names_and_endless_texts_fill_no_memory() -> None:
    profiler, sizes = CostProfiler(Words()), []
    for number in range(2 * MAX_PAIRS):
        text = f"{number} {ENDLESS}"
        outcome = row(number, agent=f"a{number}", task_type=f"t{number % 600}", features={"text": text})
        profiler.record_outcome(outcome)
        if number % MAX_PAIRS == MAX_PAIRS - 1:
            sizes.append(held(profiler))
    assert max(sizes) < 1.05 * sizes[0]
    assert sizes[0] < MOST_BYTES
    known = profiler._experience
    assert len(known.histories) == len(known.agents) == MAX_PAIRS
    assert len(known.types) <= 600
    assert len(known.correctness._told) == TEXTS
    assert known.correctness._model is not None
    rows, columns = known.correctness._model.moments.counts.shape
    assert rows <= MAX_AGENTS + 1
    assert columns <= MAX_TYPES + 1
    names = [next(iter(known.agents)), f"a{number}", "a0"]  # one with sums, one too late for them, one forgotten
    agents = [AgentCapability(agent_id=name, task_types=("*",)) for name in names]
    with_sums, late, forgotten = (found.success_rate for found in profiler.estimate_all(agents, [("t1", 1.0, "")])[0])
    assert with_sums > 0.8
    assert late > 0.8
    assert forgotten > 0.8


@pytest.mark.slow
def test_a_log_of_a_million_rows_is_read_and_a_pair_takes_as_much_as_before() -> None:
    rng = random.Random(1)
    rows = [row(n, agent=f"a{n % 9}", task_type=f"t{n % 11}", quality=float(rng.random() < 0.7)) for n in range(990)]
    profiler, sizes = CostProfiler(), {}
    for times in range(1, 1013):
        for one in rows:
            profiler.record_outcome(one)
        if times in (20, 1012):  # with as many rows in the window of each pair: 10 a time, and 64 after every 64
            sizes[times] = held(profiler)
    assert profiler.get_statistics()["total_executions"] > 1_000_000
    assert len(profiler._experience.histories) == 99
    assert sizes[1012] < 1.01 * sizes[20]
    assert sizes[20] < 99 * 10_000
    found = profiler.estimate(AgentCapability(agent_id="a1", task_types=("*",)), "t1")
    assert found.success_rate == pytest.approx(0.7, abs=0.15)
