from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput
from kapelle.estimates import CostProfiler, estimate_complexity
from kapelle.graph import Task
from kapelle.ledger import Outcome, Usage
from kapelle.models import Price, PriceTable


def capability(**fields: Any) -> AgentCapability:
    return AgentCapability(**{"agent_id": "builder_agent", "task_types": ("implement",), **fields})


def record(profiler: CostProfiler, times: int = 1, **fields: Any) -> None:
    execution: dict[str, Any] = {
        "task_id": "t",
        "agent_name": "builder_agent",
        "task_type": "implement",
        "tokens_used": 1_000_000,
        "execution_time_seconds": 12.0,
        "success": True,
        "cost_tier": "medium",
    }
    for _ in range(times):
        profiler.record_execution(**{**execution, **fields})


def test_nothing_known_gives_the_documented_defaults() -> None:
    profiler = CostProfiler()
    assert profiler.estimate_cost("anyone", "anything") == 0.01
    assert profiler.estimate_time("anyone", "anything", task_complexity=1.5) == 15.0
    assert profiler.estimate_success_rate("anyone", "anything") == 0.85


def test_tokens_are_priced_by_the_tier_unless_a_cost_is_reported() -> None:
    profiler = CostProfiler()
    record(profiler, tokens_used=850_000)
    record(profiler, agent_name="other", cost_usd=0.5)
    assert profiler.estimate_cost("builder_agent", "implement") == 2.55
    assert profiler.estimate_cost("other", "implement", task_complexity=2.0) == 1.0


def test_prices_may_be_reassigned_and_free_stays_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CostProfiler, "MODEL_PRICING", {"cheap": 0.03, "medium": 6.0, "expensive": 15.0})
    profiler = CostProfiler()
    record(profiler)
    record(profiler, agent_name="local", cost_tier="free")
    assert profiler.estimate_cost("builder_agent", "implement") == 6.0
    assert profiler.estimate_cost("local", "implement") == 0.0


def test_recent_executions_outweigh_old_ones() -> None:
    profiler = CostProfiler()
    record(profiler, 30, cost_usd=1.0)
    record(profiler, 10, cost_usd=3.0, execution_time_seconds=20.0)
    assert profiler.estimate_cost("builder_agent", "implement") == 3.0
    assert profiler.estimate_cost("builder_agent", "implement", use_recent=False) == 1.5
    assert profiler.estimate_time("builder_agent", "implement") == 20.0
    assert profiler.estimate_time("builder_agent", "implement", use_recent=False) == 14.0


def test_one_failure_does_not_condemn_an_agent_and_ten_do() -> None:
    profiler = CostProfiler()
    record(profiler, success=False)
    assert profiler.estimate_success_rate("builder_agent", "implement") == pytest.approx(0.85 * 4 / 5)
    record(profiler, 9, success=False)
    assert profiler.estimate_success_rate("builder_agent", "implement") < 0.25


def test_a_fall_after_long_success_shows_sooner_with_recent_outcomes() -> None:
    profiler = CostProfiler()
    record(profiler, 90)
    record(profiler, 10, success=False)
    recent = profiler.estimate_success_rate("builder_agent", "implement")
    assert recent < 0.5 < 0.85 < profiler.estimate_success_rate("builder_agent", "implement", use_recent=False)


def test_a_profile_says_what_was_measured() -> None:
    profiler = CostProfiler()
    record(profiler, 2, cost_usd=1.0, tokens_used=100)
    record(profiler, 1, cost_usd=4.0, tokens_used=400, success=False)
    profile = profiler.get_profile("builder_agent", "implement")
    assert profile is not None
    assert (profile.total_executions, profile.success_rate) == (3, 2 / 3)
    assert (profile.avg_cost_usd, profile.cost_per_success) == (2.0, 3.0)
    assert profile.avg_seconds == 12.0
    assert [execution.cost_usd for execution in profile.recent] == [1.0, 1.0, 4.0]


def test_a_profile_keeps_ten_recent_executions() -> None:
    profiler = CostProfiler()
    for number in range(25):
        record(profiler, tokens_used=number)
    profile = profiler.get_profile("builder_agent", "implement")
    assert profile is not None
    assert [execution.tokens for execution in profile.recent] == list(range(15, 25))


def test_success_that_never_came_costs_infinitely_much() -> None:
    profiler = CostProfiler()
    record(profiler, success=False)
    profile = profiler.get_profile("builder_agent", "implement")
    assert profile is not None
    assert profile.cost_per_success == math.inf
    assert profiler.get_profile("builder_agent", "test") is None


def test_statistics_add_up_all_agents() -> None:
    profiler = CostProfiler()
    assert profiler.get_statistics()["success_rate"] == 0.0
    record(profiler, 3, cost_usd=0.5)
    record(profiler, 1, agent_name="qa_agent", task_type="test", cost_usd=0.25, success=False)
    documented = {
        "total_executions": 4,
        "total_cost_usd": 1.75,
        "success_rate": 0.75,
        "agents_tracked": 2,
        "task_types_tracked": 2,
    }
    assert documented.items() <= profiler.get_statistics().items()


def test_outcomes_of_the_ledger_are_learned_from() -> None:
    outcome = Outcome(
        run_id="r",
        task_id="t",
        task_type="implement",
        agent="builder_agent",
        success=True,
        usage=Usage(input_tokens=70, output_tokens=30, calls=1),
        cost_usd=0.5,
        seconds=3.0,
        features={"complexity": 2.0},
    )
    estimate = CostProfiler.from_outcomes([outcome]).estimate(capability(), "implement", complexity=1.0)
    assert (estimate.cost_usd, estimate.seconds, estimate.tokens) == (0.25, 1.5, 50)
    assert (estimate.samples, estimate.source) == (1, "learned")


@pytest.mark.parametrize("field", ["tokens_used", "execution_time_seconds", "cost_usd", "complexity"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, "many"])
def test_a_malformed_number_is_named_and_nothing_is_learned(field: str, bad: Any) -> None:
    profiler = CostProfiler()
    with pytest.raises(InvalidInput, match=field):
        record(profiler, **{field: bad})
    assert profiler.get_profile("builder_agent", "implement") is None


def test_an_unknown_tier_and_a_malformed_complexity_are_named() -> None:
    profiler = CostProfiler()
    with pytest.raises(InvalidInput, match=r"cost_tier 'golden'.*medium"):
        record(profiler, cost_tier="golden")
    for estimate in (profiler.estimate_cost, profiler.estimate_time):
        with pytest.raises(InvalidInput, match="complexity is nan"):
            estimate("a", "b", task_complexity=math.nan)
    with pytest.raises(InvalidInput, match="complexity is -1"):
        profiler.estimate(capability(), "b", complexity=-1)


def test_what_an_agent_declares_beats_the_defaults_and_ignores_complexity() -> None:
    declared = capability(cost_usd=0.2, seconds=3.0, success_rate=0.7)
    estimate = CostProfiler().estimate(declared, "implement", complexity=2.0)
    assert (estimate.cost_usd, estimate.seconds, estimate.success_rate) == (0.2, 3.0, 0.7)
    assert (estimate.samples, estimate.source) == (0, "declared")


def test_a_free_agent_costs_nothing_and_uses_no_tokens_without_a_model() -> None:
    estimate = CostProfiler().estimate(capability(cost_tier="free"), "implement")
    assert (estimate.cost_usd, estimate.tokens, estimate.source) == (0.0, 0, "declared")


def test_tiers_differ_in_price_before_anything_is_known() -> None:
    profiler = CostProfiler()
    costs = [profiler.estimate(capability(cost_tier=tier), "x").cost_usd for tier in ("cheap", "medium", "expensive")]
    assert costs == pytest.approx([0.0001, 0.01, 0.05])
    assert profiler.estimate(capability(cost_tier="medium"), "x", complexity=3.0).cost_usd == pytest.approx(0.03)


def test_an_untried_agent_is_guessed_by_what_others_needed_for_the_type() -> None:
    profiler = CostProfiler()
    record(profiler, 5, agent_name="other", tokens_used=1_000_000, execution_time_seconds=40.0)
    estimate = profiler.estimate(capability(cost_tier="expensive"), "implement")
    assert (estimate.cost_usd, estimate.seconds, estimate.source) == (15.0, 40.0, "default")


def test_a_declared_price_gives_way_to_outcomes_smoothly() -> None:
    profiler, declared = CostProfiler(), capability(cost_usd=1.0, seconds=10.0)
    record(profiler, cost_usd=2.0, execution_time_seconds=20.0)
    first = profiler.estimate(declared, "implement")
    assert (first.cost_usd, first.seconds) == (1.2, 12.0)
    record(profiler, 99, cost_usd=2.0, execution_time_seconds=20.0)
    assert profiler.estimate(declared, "implement").cost_usd == pytest.approx(2.0, rel=0.03)


@given(outcomes=st.lists(st.booleans(), max_size=40), prior=st.floats(0, 1))
def test_a_success_more_never_lowers_the_estimate(outcomes: list[bool], prior: float) -> None:
    agent, worse, better = capability(success_rate=prior), CostProfiler(), CostProfiler()
    for success in outcomes:
        record(worse, success=success)
        record(better, success=success)
    record(worse, success=False)
    record(better, success=True)
    low, high = (profiler.estimate(agent, "implement").success_rate for profiler in (worse, better))
    assert -1e-9 <= low <= high <= 1 + 1e-9


def outcome(**fields: Any) -> Outcome:
    return Outcome(
        **{
            "run_id": "r",
            "task_id": "t",
            "task_type": "implement",
            "agent": "builder_agent",
            "success": True,
            "cost_usd": 0.5,
            "seconds": 3.0,
            **fields,
        }
    )


def test_an_agent_that_nobody_tried_is_uncertain_and_outcomes_make_it_sure() -> None:
    cold = CostProfiler().estimate(capability(), "implement")
    assert (cold.success_rate, cold.samples) == (0.85, 0)
    assert cold.success_lower < 0.6
    assert cold.success_sd > 0.15
    profiler = CostProfiler()
    for number in range(100):
        record(profiler, success=number % 10 < 9)
    known = profiler.estimate(capability(), "implement")
    assert 0.8 < known.success_lower < known.success_rate < 0.92
    assert known.success_sd < 0.04


def test_the_more_confidence_is_asked_for_the_lower_the_bound() -> None:
    bounds = [CostProfiler(confidence=sure).estimate(capability(), "x").success_lower for sure in (0.6, 0.8, 0.9, 0.99)]
    assert bounds == sorted(bounds, reverse=True)
    with pytest.raises(InvalidInput, match=r"confidence is 1\.5"):
        CostProfiler(confidence=1.5)


def test_what_was_measured_counts_more_than_that_it_ended_well() -> None:
    profiler = CostProfiler.from_outcomes(outcome(success=True, quality=0.3) for _ in range(100))
    assert profiler.estimate(capability(), "implement").success_rate == pytest.approx(0.3, abs=0.05)


@given(
    costs=st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e3)), max_size=40),
    declared=st.one_of(st.none(), st.floats(0, 10)),
    complexity=st.floats(0, 3),
)
def test_what_is_expected_lies_within_its_interval(
    costs: list[float], declared: float | None, complexity: float
) -> None:
    profiler = CostProfiler.from_outcomes(outcome(cost_usd=cost, seconds=cost * 2) for cost in costs)
    estimate = profiler.estimate(capability(cost_usd=declared), "implement", complexity)
    assert 0 <= estimate.cost_low_usd <= estimate.cost_usd <= estimate.cost_high_usd < math.inf
    assert 0 <= estimate.seconds_low <= estimate.seconds <= estimate.seconds_high < math.inf


def test_a_free_agent_stays_free_to_the_last_cent() -> None:
    profiler = CostProfiler.from_outcomes([outcome(cost_usd=0.0)] * 5)
    estimate = profiler.estimate(capability(cost_tier="free"), "implement")
    assert (estimate.cost_low_usd, estimate.cost_usd, estimate.cost_high_usd) == (0.0, 0.0, 0.0)


PRICES = PriceTable({"house:m": Price(input_usd=10.0, cached_usd=1.0, output_usd=100.0)})


def test_an_untried_agent_pays_its_models_prices_for_input_cached_input_and_output() -> None:
    profiler = CostProfiler(prices=PRICES)
    profiler.record_outcome(
        outcome(agent="other", usage=Usage(input_tokens=1_000_000, cached_tokens=600_000, output_tokens=20_000))
    )
    estimate = profiler.estimate(capability(model="house:m"), "implement")
    assert estimate.usage == Usage(input_tokens=1_000_000, cached_tokens=600_000, output_tokens=20_000)
    assert estimate.cost_usd == pytest.approx(0.4 * 10 + 0.6 * 1 + 0.02 * 100)


def test_outcomes_without_tokens_do_not_make_an_untried_agent_free() -> None:
    profiler = CostProfiler.from_outcomes([outcome(agent="other", cost_usd=0.5)] * 20)
    assert 0.1 < profiler.estimate(capability(), "implement").cost_usd < 5
    free = CostProfiler.from_outcomes([outcome(agent="local", cost_usd=0.0)] * 20)
    assert free.estimate(capability(cost_tier="medium"), "implement").cost_usd == pytest.approx(0.01)


def test_what_others_did_well_does_not_lower_what_an_untried_agent_declares() -> None:
    profiler = CostProfiler.from_outcomes(outcome(agent="other", task_type="lookup") for _ in range(20))
    assert profiler.estimate(capability(success_rate=0.85), "implement").success_rate >= 0.85


def test_a_model_that_nobody_prices_costs_what_its_tier_does() -> None:
    profiler = CostProfiler(prices=PRICES)
    priced = profiler.estimate(capability(model="house:unheard-of", cost_tier="medium"), "implement")
    assert priced.cost_usd == pytest.approx(0.01)


def test_a_new_agent_is_believed_what_it_declares_less_what_declarations_here_were_too_high() -> None:
    profiler = CostProfiler()
    for number in range(40):
        for other in ("a", "b", "c"):
            profiler.record_outcome(outcome(agent=other, success=number % 10 < 6, quality=float(number % 10 < 6)))
    new, modest = (profiler.estimate(capability(success_rate=rate), "implement") for rate in (0.85, 0.65))
    assert new.samples == 0
    assert new.success_rate == pytest.approx(0.65, abs=0.05)
    assert new.success_rate - modest.success_rate == pytest.approx(0.2, abs=0.01)


def test_a_change_of_the_agent_is_listed_and_the_estimate_follows_and_says_so() -> None:
    profiler = CostProfiler.from_outcomes(outcome(quality=1.0, at=float(at)) for at in range(100))
    before = profiler.estimate(capability(), "implement")
    for at in range(100, 115):
        profiler.record_outcome(outcome(success=False, quality=0.0, cost_usd=2.0, at=float(at)))
    after = profiler.estimate(capability(), "implement")
    assert (before.success_rate > 0.95, before.note) == (True, "")
    assert after.success_rate < 0.2
    assert after.cost_usd == pytest.approx(2.0)
    drifts = profiler.get_statistics()["drifts"]
    assert {change.what for change in drifts} == {"success", "cost"}
    assert all(change.since == 100.0 for change in drifts)
    assert "success went from" in after.note


@pytest.mark.parametrize(
    ("field", "bad"),
    [("cost_usd", math.nan), ("cost_usd", 1e9), ("seconds", -1.0), ("seconds", "long"), ("quality", math.nan),
     ("agent", None), ("task_type", 7)],
)  # fmt: skip
def test_a_row_that_cannot_be_is_left_out_counted_and_named(field: str, bad: Any) -> None:
    profiler = CostProfiler.from_outcomes([outcome()])
    before = profiler.estimate(capability(), "implement")
    row = outcome(task_id="t9")
    object.__setattr__(row, field, bad)  # an Outcome refuses it; a reader of another ledger may not
    profiler.record_outcome(row)
    statistics = profiler.get_statistics()
    assert profiler.estimate(capability(), "implement") == before
    assert (statistics["total_executions"], statistics["rejected"]) == (1, 1)
    assert "'t9'" in statistics["rejections"][0]
    assert field in statistics["rejections"][0]


@pytest.mark.parametrize("features", [{"complexity": math.nan}, {"complexity": 1e-300}, {"complexity": "very"}, ["x"]])
def test_a_feature_that_cannot_be_is_passed_over_and_its_row_counts(features: Any) -> None:
    row = outcome()
    object.__setattr__(row, "features", features)
    profiler = CostProfiler.from_outcomes([row])
    assert profiler.estimate(capability(), "implement").cost_usd == 0.5
    assert "complexity" in profiler.get_statistics()["rejections"][0]


@pytest.mark.parametrize(("field", "bad"), [("cost_usd", 1e7), ("execution_time_seconds", 1e9), ("complexity", 1e-300)])
def test_an_absurd_execution_is_refused_by_task_and_agent(field: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"task 'demo' by 'builder_agent': {field} is"):
        record(CostProfiler(), task_id="demo", **{field: bad})


def test_estimates_do_not_depend_on_when_they_are_asked_for() -> None:
    rng, asked, unasked = random.Random(1), CostProfiler(), CostProfiler()
    for _ in range(200):
        row = outcome(agent=rng.choice(["builder_agent", "b"]), success=rng.random() < 0.7, cost_usd=rng.random())
        asked.record_outcome(row)
        asked.estimate(capability(), "implement")
        unasked.record_outcome(row)
    assert asked.estimate(capability(), "implement") == unasked.estimate(capability(), "implement")


def test_threads_that_learn_at_once_lose_nothing() -> None:
    profiler = CostProfiler()

    def work(number: int) -> None:
        for _ in range(200):
            profiler.record_outcome(outcome(agent=f"a{number % 2}"))
            profiler.estimate(capability(agent_id=f"a{number % 2}"), "implement")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert profiler.get_statistics()["total_executions"] == 800


def test_an_estimate_explains_itself() -> None:
    profiler = CostProfiler.from_outcomes([outcome()] * 37)
    assert profiler.estimate(capability(), "implement").explain().startswith("learned from 37 outcomes: ")
    assert CostProfiler().estimate(capability(), "implement").explain().startswith("a guess: 85% success (at least ")


def test_an_agent_and_a_task_are_enough_for_an_estimate() -> None:
    agent = capability(cost_usd=None)
    task = Task(task_id="t", task_type="implement", description="Build it", depends_on=("a", "b"))
    assert CostProfiler().estimate(agent, task) == CostProfiler().estimate(
        agent, "implement", estimate_complexity("implement", dependencies=2), text="Build it"
    )
    assert CostProfiler().estimate(agent, task, 1.0) == CostProfiler().estimate(agent, "implement")


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans(), st.floats(0.0, 1.0)), max_size=20))
def test_asking_in_between_changes_no_estimate(log: list[tuple[str, bool, float]]) -> None:
    agent, asked, silent = capability(task_types=("x", "y", "z"), cost_usd=0.01), CostProfiler(), CostProfiler()
    for kind, success, cost_usd in log:
        for profiler in (asked, silent):
            outcome = Outcome(
                run_id="r", task_id="t", task_type=kind, agent="builder_agent", success=success, cost_usd=cost_usd
            )
            profiler.record_outcome(outcome)
        asked.estimate(agent, "x")
    assert [asked.estimate(agent, kind) for kind in "xyz"] == [silent.estimate(agent, kind) for kind in "xyz"]
