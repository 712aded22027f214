"""A reward model weighs an engine's plans, and learns from what was measured, and from nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kapelle import AOPValidator, Engine, LearnedRewardModel, RoutingPlan, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import InvalidInput
from kapelle.estimates import CostProfiler
from kapelle.learning import RewardFeed
from kapelle.ledger import Outcome
from tests.learning.test_reward_model import STATIC, damaged

REQUEST = "Find the capital of France"


@agent(task_types=["lookup"], cost_usd=0.001)
async def atlas(task: Task) -> str:
    return "Paris"


def engine(**options: Any) -> Engine:
    return Engine(agents=[atlas], model="none", ledger=SqliteLedger(":memory:"), **options)


def total(path: Path) -> int:
    return int(LearnedRewardModel(persistence_path=path).get_statistics()["total_outcomes"])


def test_what_validators_and_people_measured_is_learned_and_written_after_each_run(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    checked = engine(reward_model=path, validators={"lookup": lambda output: output == "Paris"})
    run = asyncio.run(checked.run(REQUEST))
    assert total(path) == 1
    checked.rate(run.run_id, value=0.25)
    assert total(path) == 2
    rates = LearnedRewardModel(persistence_path=path).get_statistics()["agent_success_rates"]
    assert rates == {"atlas": {"lookup": 1.0}}


def test_what_nobody_measured_teaches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    model = LearnedRewardModel(persistence_path=path)
    asyncio.run(engine(reward_model=model).run(REQUEST))
    assert model.get_statistics()["total_outcomes"] == 0


def test_the_score_of_a_plan_is_weighed_by_it(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    path.write_text(damaged(weights={"success": 0.97, "quality": 0.01, "cost": 0.01, "time": 0.01}))
    plain, weighed = (asyncio.run(one.plan(REQUEST)).validation for one in (engine(), engine(reward_model=str(path))))
    success = plain.estimates["s1"].success_rate
    assert weighed.quality_score == pytest.approx(0.97 * success + 0.015, abs=0.015)
    assert abs(plain.quality_score - weighed.quality_score) > 0.05


def test_a_validator_takes_a_model_or_makes_one_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    path.write_text(damaged(weights={"success": 0.97, "quality": 0.01, "cost": 0.01, "time": 0.01}))
    given = AOPValidator(AGENTS, reward_model=LearnedRewardModel(persistence_path=path))
    documented = AOPValidator(AGENTS, enable_learned_model=True, reward_model_path=path)
    plan, dag = RoutingPlan(assignments={"t": "dear"}), TaskDAG([Task(task_id="t", task_type="work")])
    scores = [
        asyncio.run(one.validate_routing_plan(plan, dag)).quality_score
        for one in (given, documented, AOPValidator(AGENTS))
    ]
    assert scores[0] == scores[1] != scores[2]


def test_a_damaged_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    path.write_text("{half a file")
    with pytest.raises(InvalidInput, match="move it away"):
        engine(reward_model=path)
    assert path.read_text() == "{half a file"


def test_a_file_that_cannot_be_written_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    checked = engine(reward_model=tmp_path / "file" / "m.json", validators={"lookup": lambda output: True})
    assert asyncio.run(checked.run(REQUEST)).state == "done"


def test_two_engines_with_one_file_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    engines = [engine(reward_model=path, validators={"lookup": lambda output: True}) for _ in range(2)]
    for _ in range(3):
        for one in engines:
            asyncio.run(one.run(REQUEST))
    assert total(path) == 6


def outcome(**fields: Any) -> Outcome:
    given: dict[str, Any] = {"success": True, "quality": 0.9, "features": {"measured_by": "check"}, **fields}
    return Outcome(**{"run_id": "r", "task_id": "t", "task_type": "work", "agent": "cheap", **given})


class Kept(LearnedRewardModel):
    """A reward model that keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, float]] = []

    def record_outcome(self, outcome: Any) -> None:
        self.told.append((outcome.cost, outcome.time))


AGENTS = AgentRegistry(
    AgentCapability(agent_id=name, task_types=("work",), cost_usd=cost, seconds=seconds)
    for name, cost, seconds in (("cheap", 0.1, 10.0), ("dear", 1.1, 2.0))
)


def test_costs_and_times_lie_between_those_of_the_agents_at_hand() -> None:
    model = Kept()
    feed = RewardFeed(model, CostProfiler(), AGENTS)
    for cost_usd, seconds in ((0.1, 2.0), (0.6, 6.0), (9.0, 99.0)):
        feed.take(outcome(cost_usd=cost_usd, seconds=seconds))
    assert model.told == [(0.0, 0.0), (pytest.approx(0.5), pytest.approx(0.5)), (1.0, 1.0)]


@pytest.mark.parametrize(
    "fields",
    [
        {"quality": None},
        {"features": {"measured_by": "agent"}},
        {"features": {}},
        {"agent": "somebody who is gone"},
    ],
)
def test_what_is_no_measurement_of_an_agent_at_hand_is_passed_over(fields: dict[str, Any]) -> None:
    model = Kept()
    RewardFeed(model, CostProfiler(), AGENTS).take(outcome(**fields))
    assert model.told == []


def test_any_number_of_runs_leaves_what_cost_weighs() -> None:
    model = LearnedRewardModel()
    feed = RewardFeed(model, CostProfiler(), AGENTS)
    for number in range(300):
        feed.take(outcome(quality=number % 7 / 6, success=number % 7 > 0, cost_usd=0.1 + number % 5 / 5))
    assert list(model.weights.values())[2:] == pytest.approx(STATIC[2:])
