import random

import pytest

from kapelle.errors import InvalidInput
from kapelle.estimates.logged import LoggedOutcome, LoggedTask
from kapelle.strategies.replay import LoggedTable
from kapelle.strategies.search import MIN_TASKS, find_strategies, judge_strategy, search_strategies
from kapelle.strategies.strategy import Cascade, Check, Single, Vote, agents_of

SCHEMA = '{"functions": [{"name": "f", "parameters": {"properties": {}}}]}'


def world_of_luck(seed: int, count: int = 200) -> list[LoggedTask]:
    """Harder tasks need dearer agents, and who fails gives the same wrong answer: agreement says nothing."""
    chance = random.Random(seed)
    skills = {"small": 0.6, "middle": 0.7, "large": 0.85}
    tasks = []
    for at in range(count):
        hard = chance.random()
        tasks.append(
            LoggedTask(
                task_id=str(at),
                text="",
                outcomes={
                    agent: LoggedOutcome(
                        quality=float(hard < skill), cost_usd=skill**6, output="right" if hard < skill else "wrong"
                    )
                    for agent, skill in skills.items()
                },
            )
        )
    return tasks


def world_of_slips(seed: int, count: int = 200) -> list[LoggedTask]:
    """The cheap agent is right unless its call is malformed; the dear one is always right."""
    chance = random.Random(seed)
    tasks = []
    for at in range(count):
        slips = chance.random() < 0.3
        outcomes = {
            "cheap": LoggedOutcome(quality=float(not slips), cost_usd=1, seconds=2, output="g()" if slips else "f()"),
            "dear": LoggedOutcome(quality=1, cost_usd=20, seconds=3, output="f()"),
        }
        tasks.append(LoggedTask(task_id=str(at), text="", context=SCHEMA, outcomes=outcomes))
    return tasks


def world_of_three(seed: int, count: int = 300) -> list[LoggedTask]:
    """Three cheap agents err each for itself and never alike."""
    chance = random.Random(seed)
    tasks = []
    for at in range(count):
        skills = {"a": 0.75, "b": 0.75, "c": 0.75, "dear": 0.9}
        right = {agent: chance.random() < skill for agent, skill in skills.items()}
        outcomes = {
            agent: LoggedOutcome(
                quality=float(good), cost_usd=10.0 if agent == "dear" else 1.0, output="7" if good else f"no, {agent}"
            )
            for agent, good in right.items()
        }
        tasks.append(LoggedTask(task_id=str(at), text="", outcomes=outcomes))
    return tasks


def without_answers(tasks: list[LoggedTask]) -> list[LoggedTask]:
    return [
        LoggedTask(
            task_id=task.task_id,
            text="",
            outcomes={a: LoggedOutcome(quality=o.quality, cost_usd=o.cost_usd) for a, o in task.outcomes.items()},
        )
        for task in tasks
    ]


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_kept_where_nothing_pays(seed: int) -> None:
    search = search_strategies(world_of_luck(seed), seed=seed)
    assert search.kept == ()
    assert search.tried >= 10
    assert "none beats" in search.note


@pytest.mark.parametrize("seed", range(2))
def test_the_cascade_that_pays_is_found(seed: int) -> None:
    (best,) = find_strategies(world_of_slips(seed), seed=seed)
    assert best.strategy == Cascade(cheap="cheap", check=Check(kind="well_formed"), strong=Single(agent="dear"))
    assert best.quality == 1
    assert best.cost_usd == pytest.approx(1 + 0.3 * 20, rel=0.2)
    assert best.seconds == pytest.approx(2 + 0.3 * 3, rel=0.2)
    assert 0.1 < best.gain < 0.3  # half of the tasks to the dear one, blindly, would cost more and reach 0.85
    assert best.quality_lower < 1


def test_votes_pay_where_agents_err_each_for_itself() -> None:
    best = find_strategies(world_of_three(5))
    fresh = LoggedTable.build(world_of_three(6))
    reached = judge_strategy(best[-1].strategy, fresh)
    assert any(isinstance(one.strategy, Vote) for one in best)
    assert reached.quality > judge_strategy(Single(agent="dear"), fresh).quality
    assert reached.cost_usd < 7
    # The figures are those of tasks that had no say in the choice.
    assert all(judge_strategy(one.strategy, fresh).quality == pytest.approx(one.quality, abs=0.06) for one in best)


def test_a_search_with_a_seed_is_repeatable() -> None:
    tasks = world_of_three(1)
    assert find_strategies(tasks, seed=3) == find_strategies(tasks, seed=3)


def test_only_agents_that_may_be_used_are_used() -> None:
    found = find_strategies(world_of_three(2), ["a", "b", "dear"])
    assert all("c" not in agents_of(one.strategy) for one in found)


def test_what_is_kept_gets_better_as_it_gets_dearer() -> None:
    kept = find_strategies(world_of_three(7))
    assert [one.cost_usd for one in kept] == sorted(one.cost_usd for one in kept)
    assert [one.quality for one in kept] == sorted(one.quality for one in kept)


def test_a_log_without_pairs_finds_nothing_and_says_so() -> None:
    tasks = [
        LoggedTask(task_id=task.task_id, text="", outcomes={agent: outcome})
        for task in world_of_three(1)
        for agent, outcome in task.outcomes.items()
    ]
    search = search_strategies(tasks)
    assert search.kept == ()
    assert f"No {MIN_TASKS} tasks were tried by the same two agents" in search.note
    assert {one.strategy: one.samples for one in search.singles} == {
        Single(agent=agent): 300 for agent in ("a", "b", "c", "dear")
    }


def test_pairs_among_partial_rows_are_found() -> None:
    alone = [
        LoggedTask(task_id=f"alone {task.task_id}", text="", context=SCHEMA, outcomes={"cheap": task.outcomes["cheap"]})
        for task in world_of_slips(9, 100)
    ]
    (best,) = find_strategies([*alone, *world_of_slips(1)])
    assert agents_of(best.strategy) == ("cheap", "dear")
    assert best.samples == 200


def test_a_log_without_answers_finds_nothing_and_says_so() -> None:
    search = search_strategies(without_answers(world_of_three(1)))
    assert search.kept == ()
    assert "keeps no answers" in search.note


@pytest.mark.parametrize("tasks", [[], world_of_three(1, 1), world_of_three(1, MIN_TASKS - 1)])
def test_a_short_log_finds_nothing(tasks: list[LoggedTask]) -> None:
    assert find_strategies(tasks) == []


def test_few_tasks_prove_little() -> None:
    vote = Vote(agents=("a", "b"), escalate_to=Single(agent="dear"))
    few, many = (judge_strategy(vote, world_of_three(1, count)) for count in (5, 300))
    assert many.quality - many.quality_lower < 0.05
    assert few.quality_lower < 0.75


def test_a_strategy_that_nobody_followed_cannot_be_judged() -> None:
    with pytest.raises(InvalidInput, match="No logged task"):
        judge_strategy(Vote(agents=("a", "x")), world_of_three(1))
    with pytest.raises(InvalidInput, match="confidence"):
        find_strategies([], confidence=1.0)
