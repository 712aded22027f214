import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.estimates.logged import LoggedOutcome, LoggedTask
from kapelle.strategies.replay import LoggedTable
from kapelle.strategies.search import judge_strategy
from kapelle.strategies.strategy import Cascade, Check, Single, Strategy, Vote
from kapelle.strategies.strategy_estimate import StrategyEstimate
from kapelle.strategies.strategy_parts import Dependence, estimate_from_parts, measure_dependence

WELL_FORMED = Check(kind="well_formed")
VOTE = Vote(agents=("a", "b"), escalate_to=Single(agent="c"))


def alone(agent: str, quality: float, cost_usd: float = 1.0) -> StrategyEstimate:
    return StrategyEstimate(
        strategy=Single(agent=agent),
        cost_usd=cost_usd,
        seconds=2.0,
        quality=quality,
        quality_lower=max(0.0, quality - 0.05),
        quality_sd=0.03,
        samples=200,
    )


def depends(correlation: float, same_mistake: float = 0.0) -> Dependence:
    return Dependence(correlation=correlation, same_mistake=same_mistake, checks={}, pairs=1000)


def parts(a: float = 0.7, b: float = 0.8, c: float = 0.9) -> dict[str, StrategyEstimate]:
    return {"a": alone("a", a), "b": alone("b", b), "c": alone("c", c, cost_usd=10.0)}


def test_independent_agents_that_never_err_alike_multiply() -> None:
    estimate = estimate_from_parts(VOTE, parts(), depends(0.0))
    both = 0.7 * 0.8
    assert estimate.quality == pytest.approx(both + (1 - both) * 0.9, abs=1e-6)
    assert estimate.cost_usd == pytest.approx(2 + (1 - both) * 10, abs=1e-6)
    assert estimate.seconds == pytest.approx(2 + (1 - both) * 2, abs=1e-6)
    assert estimate.source == "parts"
    assert estimate.quality_lower < estimate.quality


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_estimates_stay_between_the_first_agent_and_all(
    a: float, b: float, c: float, together: float, same: float
) -> None:
    strategies: list[Strategy] = [
        VOTE,
        Cascade(cheap="a", check=WELL_FORMED, strong=VOTE),
        Vote(agents=("a", "b", "c")),
    ]
    for strategy in strategies:
        estimate = estimate_from_parts(strategy, parts(a, b, c), depends(together, same))
        assert 0 <= estimate.quality_lower <= estimate.quality <= 1
        assert 1 - 1e-9 <= estimate.cost_usd <= 12 + 1e-9


def test_a_check_of_which_nothing_is_known_improves_nothing() -> None:
    cascade = Cascade(cheap="a", check=WELL_FORMED, strong=Single(agent="c"))
    assert estimate_from_parts(cascade, parts(), depends(0.5)).quality == pytest.approx(0.7, abs=0.01)


def test_without_pairs_the_worst_assumption_counts() -> None:
    cautious = estimate_from_parts(VOTE, parts())
    assert cautious.quality <= min(estimate_from_parts(VOTE, parts(), depends(r, 0.6)).quality for r in (0.2, 0.5, 0.8))


def test_an_agent_without_a_record_is_named() -> None:
    with pytest.raises(InvalidInput, match="c has no record"):
        estimate_from_parts(VOTE, {"a": alone("a", 0.5), "b": alone("b", 0.5)})


def world(seed: int, count: int) -> list[LoggedTask]:
    """Hidden difficulty, three agents, mistakes that are alike in four of ten cases, calls that may be malformed."""
    chance = random.Random(seed)
    tasks = []
    for at in range(count):
        easy = chance.gauss(0, 1)
        outcomes = {}
        for agent, skill in {"a": 0.4, "b": 0.6, "c": 1.0}.items():
            good = skill + 0.8 * easy + 0.6 * chance.gauss(0, 1) > 0
            # Alike in pairs at 0.4: both draw the common mistake with the root of that.
            wrong = "common" if chance.random() < 0.4**0.5 else f"only {agent}"
            outcomes[agent] = LoggedOutcome(
                quality=float(good), cost_usd=10.0 if agent == "c" else 1.0, seconds=2, output="7" if good else wrong
            )
        tasks.append(LoggedTask(task_id=str(at), text="", outcomes=outcomes))
    return tasks


@pytest.mark.slow
def test_from_pairs_the_dependence_is_measured_and_foretells_what_a_replay_says() -> None:
    table = LoggedTable.build(world(1, 3000))
    dependence = measure_dependence(table)
    assert dependence is not None
    assert dependence.correlation == pytest.approx(0.64, abs=0.08)
    assert dependence.same_mistake == pytest.approx(0.4, abs=0.06)
    records = {agent: judge_strategy(Single(agent=agent), table) for agent in "abc"}
    replayed = judge_strategy(VOTE, table)
    estimated = estimate_from_parts(VOTE, records, dependence)
    assert estimated.quality == pytest.approx(replayed.quality, abs=0.02)
    assert estimated.cost_usd == pytest.approx(replayed.cost_usd, rel=0.05)


def test_a_log_without_pairs_says_nothing_of_dependence() -> None:
    single = [LoggedTask(task_id=t.task_id, text="", outcomes={"a": t.outcomes["a"]}) for t in world(1, 50)]
    assert measure_dependence(LoggedTable.build(single)) is None
