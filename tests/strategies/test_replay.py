from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.estimates.logged import LoggedOutcome, LoggedTask
from kapelle.strategies import Checks, Verdict
from kapelle.strategies.replay import LoggedTable, replay
from kapelle.strategies.strategy import (
    Accept,
    Answer,
    Ask,
    Cascade,
    Check,
    Examine,
    Single,
    Strategy,
    Vote,
    agents_of,
    next_move,
)

AGENTS = ("a", "b", "c", "d")
WELL_FORMED = Check(kind="well_formed")
JUDGE = Check(kind="verifier", agent="d")

outcomes = st.builds(
    LoggedOutcome,
    quality=st.sampled_from([0.0, 0.5, 1.0]),
    cost_usd=st.integers(0, 8).map(float),
    seconds=st.integers(0, 8).map(float),
    output=st.sampled_from(["one", "two", "three", ""]),
)
partial = st.dictionaries(st.sampled_from(AGENTS), outcomes | outcomes.map(lambda one: forget(one)))
strategies: st.SearchStrategy[Strategy] = st.recursive(
    st.builds(Single, agent=st.sampled_from(AGENTS)),
    lambda inner: (
        st.builds(Cascade, cheap=st.sampled_from(AGENTS), check=st.sampled_from([WELL_FORMED, JUDGE]), strong=inner)
        | st.builds(
            Vote,
            agents=st.lists(st.sampled_from(AGENTS), min_size=2, max_size=3, unique=True).map(tuple),
            escalate_to=st.none() | inner,
        )
    ),
    max_leaves=3,
)


def forget(outcome: LoggedOutcome) -> LoggedOutcome:
    return LoggedOutcome(quality=outcome.quality, cost_usd=outcome.cost_usd, seconds=outcome.seconds)


def log(rows: list[dict[str, LoggedOutcome]]) -> list[LoggedTask]:
    return [LoggedTask(task_id=str(at), text="", outcomes=row) for at, row in enumerate(rows)]


def verdicts(tasks: list[LoggedTask]) -> Checks:
    """A judge that likes every other answer, for two dollars and three seconds."""
    return Checks(
        verdicts={
            (task.task_id, agent, str(JUDGE)): Verdict(passed=(at + place) % 2 == 0, cost_usd=2.0, seconds=3.0)
            for at, task in enumerate(tasks)
            for place, agent in enumerate(AGENTS)
        }
    )


def follow(strategy: Strategy, task: LoggedTask, checks: Checks) -> tuple[float, float, float] | None:
    """The slow way: one task at a time, by `next_move` alone."""
    seen: dict[str, Answer] = {}
    cost = seconds = 0.0
    asked: list[tuple[str, ...]] = []
    while True:
        match next_move(strategy, seen):
            case Ask(agents=agents):
                asked.append(agents)
                if not task.outcomes.keys() >= set(agents):
                    return None
                tried: Mapping[str, LoggedOutcome] = {agent: task.outcomes[agent] for agent in agents}
                cost += sum(one.cost_usd for one in tried.values())
                seconds += max(one.seconds for one in tried.values())
                seen |= {agent: Answer(canonical=one.output or None) for agent, one in tried.items()}
            case Examine(agent=agent, check=check):
                verdict = checks.examine_logged(check, task, agent)
                assert verdict is not None
                cost, seconds = cost + verdict.cost_usd, seconds + verdict.seconds
                passed = {**seen[agent].passed, str(check): verdict.passed}
                seen[agent] = Answer(canonical=seen[agent].canonical, passed=passed)
            case Accept(agent=agent):
                return task.outcomes[agent].quality, cost, seconds
            case _:
                return task.outcomes[asked[-1][0]].quality, cost, seconds


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(AGENTS, outcomes)), min_size=1, max_size=12), strategies)
def test_a_replay_is_what_next_move_does_task_by_task(rows: list[dict[str, LoggedOutcome]], strategy: Strategy) -> None:
    tasks = log(rows)
    table = LoggedTable.build(tasks, checks=verdicts(tasks), examine=(WELL_FORMED, JUDGE))
    found = zip(*replay(strategy, table), strict=True)
    assert [tuple(map(float, row)) for row in found] == [follow(strategy, task, verdicts(tasks)) for task in tasks]


@given(st.lists(partial, min_size=1, max_size=8), strategies)
def test_it_costs_no_less_than_the_first_agent_and_no_more_than_all(
    rows: list[dict[str, LoggedOutcome]], strategy: Strategy
) -> None:
    tasks = log(rows)
    quality, cost, seconds = replay(strategy, tasks, verdicts(tasks))
    for at, task in enumerate(tasks):
        if np.isnan(quality[at]):
            assert np.isnan(cost[at])
            assert np.isnan(seconds[at])
            continue
        spent = {agent: task.outcomes[agent].cost_usd for agent in agents_of(strategy) if agent in task.outcomes}
        assert spent[agents_of(strategy)[0]] <= cost[at] <= sum(spent.values()) + 2.0 * len(AGENTS)
        assert 0 <= quality[at] <= 1


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(AGENTS, outcomes)), min_size=1, max_size=8))
def test_a_cascade_whose_check_always_passes_is_its_cheap_agent(rows: list[dict[str, LoggedOutcome]]) -> None:
    tasks = log([{**row, "a": LoggedOutcome(quality=0.5, cost_usd=1.0, output="fine")} for row in rows])
    cascade = Cascade(cheap="a", check=WELL_FORMED, strong=Single(agent="b"))
    for mine, its in zip(replay(cascade, tasks), replay(Single(agent="a"), tasks), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_vote_of_agents_that_never_agree_is_its_escalation_plus_their_costs() -> None:
    tasks = log(
        [
            {
                agent: LoggedOutcome(quality=(at + row) % 5 / 4, cost_usd=2.0**at, seconds=at, output=f"it is {agent}")
                for at, agent in enumerate(AGENTS)
            }
            for row in range(5)
        ]
    )
    quality, cost, seconds = replay(Vote(agents=("a", "b", "c"), escalate_to=Single(agent="d")), tasks)
    np.testing.assert_array_equal(quality, replay(Single(agent="d"), tasks)[0])
    assert (cost == 1 + 2 + 4 + 8).all()
    assert (seconds == 2 + 3).all()  # three at once, then one


def test_what_the_log_does_not_say_is_nan() -> None:
    full = LoggedOutcome(quality=1.0, cost_usd=1.0, output="x")
    tasks = log([{"a": full, "b": full}, {"a": full, "b": forget(full)}, {"a": full}, {}])
    vote = Vote(agents=("a", "b"), escalate_to=Single(agent="b"))
    assert list(np.isnan(replay(vote, tasks)[0])) == [False, True, True, True]
    assert list(np.isnan(replay(Single(agent="b"), tasks)[0])) == [False, False, True, True]
    assert list(np.isnan(replay(Cascade(cheap="a", check=JUDGE, strong=Single(agent="b")), tasks)[0])) == [True] * 4
    assert np.isnan(replay(Single(agent="unknown"), tasks)[0]).all()


def test_a_part_of_a_table_is_the_table_of_a_part() -> None:
    row = {
        agent: LoggedOutcome(quality=1.0, cost_usd=at + 1.0, output="x" * (at + 1)) for at, agent in enumerate(AGENTS)
    }
    tasks = log([row] * 3 + [dict.fromkeys(AGENTS, row["a"])] * 3)
    vote = Vote(agents=("b", "c"), escalate_to=Single(agent="d"))
    table = LoggedTable.build(tasks)
    assert list(table.rows([0, 5]).replay(vote).cost_usd) == [2 + 3 + 4, 2]
    assert len(table.rows(np.arange(6) < 2)) == 2


@pytest.mark.parametrize("strategy", [Single(agent="a"), Vote(agents=("a", "b"))])
def test_an_empty_log_replays_to_nothing(strategy: Strategy) -> None:
    assert [len(values) for values in replay(strategy, [])] == [0, 0, 0]
