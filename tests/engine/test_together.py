"""Several requests planned together: one budget, one deadline, and agents that are theirs in common."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from kapelle import AgentCapability, AgentRegistry, AgentResult, Engine, Plan, PlanRejected, SqliteLedger, Task, TaskDAG
from kapelle.agents import TaskContext
from kapelle.engine import JointProposal
from kapelle.errors import InvalidInput
from kapelle.planning import write_plan


class Worker:
    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        return AgentResult(output=task.task_id)


def engine(*cards: AgentCapability) -> Engine:
    registry = AgentRegistry(cards, runners={card.agent_id: Worker() for card in cards})
    return Engine(registry, model="none", ledger=SqliteLedger(), environ={})


def card(agent_id: str, cost_usd: float, *, seconds: float = 1.0, places: int = 10) -> AgentCapability:
    return AgentCapability(
        agent_id=agent_id, task_types=("work",), cost_usd=cost_usd, seconds=seconds, max_concurrency=places
    )


def plan(words: str, *tasks: Task, count: int = 1) -> Plan:
    tasks = tasks or tuple(Task(task_id=f"t{number}", task_type="work") for number in range(count))
    return Plan(request=words, graph=TaskDAG(tasks), planner="me")


def together(one: Engine, *requests: Any, **limits: Any) -> JointProposal:
    return asyncio.run(one.plan_many(requests, **limits))


CHEAP, DEAR = card("cheap", 0.01, places=1), card("dear", 0.03)


def test_two_plans_that_want_the_one_place_of_an_agent_share_the_work() -> None:
    found = together(engine(CHEAP, DEAR), plan("first"), plan("second"))
    assert found.passed
    assert sorted(one.routing.assignments["t0"] for one in found.proposals) == ["cheap", "dear"]
    assert (found.cost_usd, found.joint.total_cost, found.joint.status) == (0.04, 0.04, "optimal")
    assert (found.joint.waiting, found.shared_agents) == ({}, {})


def test_where_the_budget_has_no_room_for_another_agent_a_task_waits() -> None:
    found = together(engine(CHEAP, DEAR), plan("first"), plan("second"), budget_usd=0.025)
    assert (found.passed, found.cost_usd) == (True, 0.02)
    assert found.joint.waiting == {"cheap at level 0": 1}
    assert found.shared_agents == {"cheap": found.names}


def test_where_nobody_else_can_do_it_a_task_waits() -> None:
    found = together(engine(CHEAP), plan("first", count=2), plan("second"))
    assert (found.passed, found.joint.waiting) == (True, {"cheap at level 0": 2})


def test_tasks_that_never_run_at_the_same_time_share_a_place() -> None:
    chain = (Task(task_id="a", task_type="work"), Task(task_id="b", task_type="work", depends_on=("a",)))
    found = together(engine(CHEAP, DEAR), plan("first", *chain))
    assert set(found.proposals[0].routing.assignments.values()) == {"cheap"}


def test_a_budget_that_is_too_small_for_all_says_by_how_much() -> None:
    found = together(engine(CHEAP), plan("first"), plan("second"), budget_usd=0.015)
    assert (found.passed, found.joint.status) == (False, "infeasible")
    assert found.joint.binding == {"max_total_cost": pytest.approx(0.005)}
    assert "$0.02 together; the shared budget is $0.015" in found.joint.note
    assert not any(one.validation.passed for one in found.proposals), "no part of it runs by mistake"


def test_a_plan_that_is_late_by_itself_is_named() -> None:
    found = together(engine(card("slow", 0.01, seconds=9.0)), plan("first"), plan("second"), deadline_s=5.0)
    assert found.joint.binding == {"1. first: max_total_time": pytest.approx(4.0)}


def test_each_proposal_is_run_as_it_was_assigned_within_its_share() -> None:
    one = engine(CHEAP, DEAR)
    found = together(one, plan("first"), plan("second"), budget_usd=0.08)
    runs = [asyncio.run(one.run(proposal)) for proposal in found.proposals]
    assert [run.state for run in runs] == ["done", "done"]
    assert [run.assignments for run in runs] == [one.routing.assignments for one in found.proposals]
    assert sum(run.settings["budget_usd"] for run in runs) == pytest.approx(0.08)
    assert sum(run.cost_usd for run in runs) == pytest.approx(found.cost_usd)


def test_a_proposal_is_validated_once_more_against_the_limits_of_the_moment() -> None:
    one = engine(DEAR)
    proposal = asyncio.run(one.plan(plan("only")))
    with pytest.raises(PlanRejected, match="budget"):
        asyncio.run(one.run(proposal, budget_usd=0.02))
    assert asyncio.run(one.run(proposal, budget_usd=0.03)).state == "done"


def test_a_proposal_of_plan_keeps_its_limits_in_its_run() -> None:
    one = engine(DEAR)
    run = asyncio.run(one.run(asyncio.run(one.plan(plan("only"), budget_usd=0.5, deadline_s=60.0))))
    assert (run.settings["budget_usd"], run.settings["deadline_s"]) == (0.5, 60.0)


def test_what_the_user_ordered_stays_whoever_else_wants_the_place() -> None:
    ordered = Task(task_id="t0", task_type="work", metadata={"agent": "cheap"})
    found = together(engine(CHEAP, DEAR), plan("free"), plan("ordered", ordered))
    assert [one.routing.assignments["t0"] for one in found.proposals] == ["dear", "cheap"]
    assert found.proposals[1].routing.pinned == {"t0"}


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "no request"),
        ("words", "a list of requests"),
        ([plan("fine"), " "], r"Request 2\. .*empty"),
        ([plan("fine"), 7], r"Request 2\. 7: A request is a text"),
    ],
)
def test_what_is_no_request_is_refused_by_its_place(requests: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        asyncio.run(engine(CHEAP).plan_many(requests))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text(write_plan("good", plan("good").graph), encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"Request 2\. gone\.yaml: "):
        together(engine(CHEAP), good, tmp_path / "gone.yaml")


def world(seed: int) -> tuple[Engine, list[Plan], dict[str, Any]]:
    """Some plans whose agents do little at a time, and limits that all of them keep."""
    rng = random.Random(seed)
    cards = [card(f"a{n}", rng.choice((0.01, 0.02, 0.05)), places=rng.choice((1, 2, 3))) for n in range(3)]
    plans = []
    for name in ("x", "y", "z")[: rng.choice((2, 3))]:
        tasks = [
            Task(
                task_id=f"t{number}",
                task_type="work",
                depends_on=tuple(f"t{other}" for other in range(number) if rng.random() < 0.4),
            )
            for number in range(rng.choice((1, 2, 3)))
        ]
        plans.append(plan(name, *tasks))
    return engine(*cards), plans, {"deadline_s": 60.0}


@pytest.mark.parametrize("seed", range(12))
def test_together_costs_no_more_than_one_after_the_other_within_the_same_places(seed: int) -> None:
    one, plans, limits = world(seed)
    found = together(one, *plans, **limits)
    assert found.passed
    assert found.joint.lower_bound <= found.cost_usd + 1e-12
    # One after the other, each takes the cheapest of the places that those before have left.
    cards = {name: one.team.registry[name] for name in ("a0", "a1", "a2")}
    left = {(name, level): card.max_concurrency for name, card in cards.items() for level in range(3)}
    spent, crowded = 0.0, False
    for each in plans:
        for level, names in enumerate(each.graph.levels()):
            for _ in names:
                able = [name for name in cards if left[name, level] > 0]
                crowded = crowded or not able
                cheapest = min(able or cards, key=lambda name: cards[name].cost_usd or 0.0)
                left[cheapest, level] -= 1
                spent += cards[cheapest].cost_usd or 0.0
    assert bool(found.joint.waiting) == crowded
    assert crowded or found.cost_usd <= spent + 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_within_one_budget_together_costs_no_more_than_the_sum_of_each_alone_where_nothing_waits(seed: int) -> None:
    one, plans, limits = world(seed)
    alone = sum(asyncio.run(one.plan(each, **limits)).validation.estimated_cost for each in plans)
    # What each costs alone, where tasks may wait, is what all cost together within just that budget.
    found = together(one, *plans, **limits, budget_usd=alone + 1e-9)
    assert found.passed
    assert found.cost_usd <= alone + 1e-9
