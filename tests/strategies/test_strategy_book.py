import json
import random
from pathlib import Path

import pytest

from kapelle.errors import InvalidInput, NotFound
from kapelle.ledger import Outcome
from kapelle.strategies.strategy import Cascade, Check, Single, agents_of
from kapelle.strategies.strategy_book import StrategyBook, read_outcomes
from kapelle.strategies.strategy_estimate import StrategyEstimate
from tests.strategies.test_search import world_of_luck, world_of_slips, world_of_three

CASCADE = Cascade(cheap="cheap", check=Check(kind="well_formed"), strong=Single(agent="dear"))


def outcomes(count: int = 120) -> list[Outcome]:
    """A cheap agent whose slips a check finds, and a dear one that is asked about the same tasks."""
    chance = random.Random(3)
    found = []
    for at in range(count):
        slips = chance.random() < 0.3
        for agent, good, cost in (("cheap", not slips, 1.0), ("dear", True, 20.0)):
            found.append(
                Outcome(
                    run_id=f"r{at}",
                    task_id="s1",
                    task_type="call",
                    agent=agent,
                    success=good,
                    quality=float(good),
                    cost_usd=cost,
                    seconds=1.0,
                    features={"answer": "one" if good else "other", "checks": {"well formed": good}},
                )
            )
    return found


def strategies(estimates: tuple[StrategyEstimate, ...]) -> list[object]:
    return [one.strategy for one in estimates if not isinstance(one.strategy, Single)]


def test_every_type_has_its_own_strategies_and_agents() -> None:
    tasks = world_of_slips(1)
    book = StrategyBook.from_tasks(tasks)
    agents = ["cheap", "dear"]
    assert strategies(book.for_task("task", agents)) == [CASCADE]
    assert {one.strategy for one in book.for_task("task", agents)} >= {Single(agent=agent) for agent in agents}
    assert book.for_task("other", agents) == ()


def test_strategies_whose_agents_vanished_are_left_out() -> None:
    book = StrategyBook.from_tasks(world_of_slips(1))
    assert [agents_of(one.strategy) for one in book.for_task("task", ["cheap"])] == [("cheap",)]


def test_several_outcomes_of_one_task_are_a_pair() -> None:
    book = StrategyBook.from_outcomes(outcomes())
    (found,) = [one for one in book.for_task("call", ["cheap", "dear"]) if one.strategy == CASCADE]
    assert found.quality == 1
    assert found.samples == 120


def test_outcomes_without_answers_or_partners_make_an_empty_book_that_says_why() -> None:
    alone = [one for one in outcomes() if one.agent == "cheap"]
    book = StrategyBook.from_outcomes(alone)
    assert strategies(book.for_task("call", ["cheap", "dear"])) == []
    assert "same two agents" in book.notes["call"]


def test_attempts_of_one_agent_add_up_and_those_of_verifiers_do_not_count() -> None:
    several = [
        Outcome(
            run_id="r", task_id="t", task_type="x", agent="a", success=False, cost_usd=1.0, seconds=2.0, error="no"
        ),
        Outcome(
            run_id="r", task_id="t", task_type="x", agent="a", success=True, quality=0.8, cost_usd=2.0, seconds=3.0
        ),
        Outcome(run_id="r", task_id="t", task_type="verify", agent="j", step="verifier", success=True, cost_usd=9.0),
    ]
    ((task,), _) = read_outcomes(several)
    (outcome,) = task.outcomes.values()
    assert (outcome.quality, outcome.cost_usd, outcome.seconds, outcome.output) == (0.8, 3.0, 5.0, None)


def test_a_type_without_pairs_borrows_only_what_its_own_records_bear_out() -> None:
    pairs = world_of_three(1)
    alone = [
        type(task)(task_id=task.task_id, text="", task_type="new", outcomes={agent: outcome})
        for task in world_of_three(2)
        for agent, outcome in task.outcomes.items()
    ]
    book = StrategyBook.from_tasks([*pairs, *alone])
    borrowed = [one for one in book.for_task("new", ["a", "b", "c", "dear"]) if not isinstance(one.strategy, Single)]
    assert borrowed
    assert {one.source for one in borrowed} == {"parts"}
    assert "elsewhere" in book.notes["new"]
    nothing_pays = [type(t)(task_id=t.task_id, text="", task_type="old", outcomes=t.outcomes) for t in world_of_luck(1)]
    assert strategies(StrategyBook.from_tasks([*nothing_pays, *alone]).for_task("new", ["a", "b", "c", "dear"])) == []


def test_a_book_survives_its_file(tmp_path: Path) -> None:
    book = StrategyBook.from_tasks(world_of_three(1))
    book.save(tmp_path / "book.json")
    book.save(tmp_path / "book.json")
    assert StrategyBook.load(tmp_path / "book.json") == book
    assert [path.name for path in tmp_path.iterdir() if "book" in path.name] == ["book.json"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: [], "no book"),
        (lambda data: {**data, "format": "recipes"}, "no book"),
        (lambda data: {**data, "version": 99}, "version 99"),
        (lambda data: {**data, "task_types": {"t": {"strategies": 3}}}, "'t'"),
        (lambda data: {**data, "task_types": {"t": {"strategies": [3]}}}, "entry 1"),
        (lambda data: with_entry(data, quality=2), "quality"),
        (lambda data: with_entry(data, cost_usd="1"), "cost_usd"),
        (lambda data: with_entry(data, cost_usd=10**400), "digits"),
        (lambda data: with_entry(data, samples=1.5), "samples"),
        (lambda data: with_entry(data, source="rumour"), "rumour"),
        (lambda data: with_entry(data, strategy={"single": 3}), "no strategy"),
    ],
    ids=range(11),
)
def test_a_file_that_is_no_book_says_where(tmp_path: Path, change: object, problem: str) -> None:
    path = tmp_path / "book.json"
    StrategyBook.from_tasks(world_of_slips(1)).save(path)
    assert callable(change)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InvalidInput, match=problem):
        StrategyBook.load(path)


def with_entry(data: dict[str, object], **fields: object) -> dict[str, object]:
    types = data["task_types"]
    assert isinstance(types, dict)
    types["task"]["strategies"][0] |= fields
    return data


def test_a_book_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        StrategyBook.load(tmp_path / "none.json")
