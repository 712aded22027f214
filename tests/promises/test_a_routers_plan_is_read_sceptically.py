"""What a router or an optimiser of the user's own says is read, or refused by name; its run stays readable."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from kapelle import AgentCapability, Engine, Plan, Run, SqliteLedger, Task, TaskDAG
from kapelle.errors import InvalidPlan
from kapelle.routing import OptimizedFigures, RoutedPlan, RoutedTask, RoutingPlan
from kapelle.strategies import Single
from kapelle.testing import LoopHeartbeat, ScriptedAgent

PLAN = Plan(request="odd", graph=TaskDAG([Task(task_id="one", task_type="work")]), planner="me")

READ: dict[str, dict[str, Any]] = {
    "marks that are none": {"metadata": {"pinned": None, "firm": None, "features": None}},
    "marks of tasks that are gone": {"metadata": {"pinned": ["gone"], "features": {"gone": {"explored": True}}}},
    "a strategy of a task that is gone": {"strategies": {"gone": Single(agent="ann")}},
    "a propensity in words": {"metadata": {"features": {"one": {"propensity": "high"}}}},
    "figures that are none": {"metadata": {"estimated_cost": float("nan"), "quality_score": object()}},
    "an error as the reason": {"metadata": {"daao_error": ValueError("no")}},
    "keys and values of its own": {"metadata": {3: object(), "own": {1, 2}}},
    "no reason": {"explanations": {"one": None}},
}
REFUSED: dict[str, dict[str, Any]] = {
    "metadata": {"metadata": None},
    "pinned": {"metadata": {"pinned": True}},
    "firm": {"metadata": {"firm": [["one"]]}},
    "features": {"metadata": {"features": {"one": None}}},
    "strategies": {"strategies": {"one": "vote"}},
    "assignments": {"assignments": {"one": ["ann"]}},
    "unassigned": {"unassigned": {"one": 3}},
    "explanations": {"explanations": None},
}


class Routing:
    def __init__(self, found: object) -> None:
        self.found = found

    async def route_tasks(self, dag: TaskDAG, **_: Any) -> Any:
        return self.found


def engine_with(found: object) -> Engine:
    card = AgentCapability(agent_id="ann", task_types=("work",), cost_usd=0.0)
    ledger = SqliteLedger(":memory:")
    engine = Engine([(card, ScriptedAgent())], model="none", ledger=ledger, heartbeat=LoopHeartbeat)
    engine.router = Routing(found)  # type: ignore[assignment]  # a user's own has no more than this
    return engine


@pytest.mark.parametrize("odd", READ.values(), ids=READ)
def test_what_can_be_read_runs_and_is_read_back(odd: dict[str, Any]) -> None:
    with engine_with(RoutingPlan(**{"assignments": {"one": "ann"}, **odd})) as engine:
        run = asyncio.run(engine.run(PLAN))
        assert run.state == "done"
        assert engine.ledger.run(run.run_id) == run


@pytest.mark.parametrize(("name", "odd"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_is_refused_by_its_name(name: str, odd: dict[str, Any]) -> None:
    with engine_with(RoutingPlan(**{"assignments": {"one": "ann"}, **odd})) as engine:
        with pytest.raises(InvalidPlan, match=name):
            asyncio.run(engine.run(PLAN))
        run: Run = engine.ledger.run("last")
        assert run.state == "failed"


def test_what_is_no_plan_at_all_is_refused() -> None:
    with engine_with(None) as engine, pytest.raises(InvalidPlan, match="no RoutingPlan"):
        asyncio.run(engine.run(PLAN))


def test_a_routed_plan_can_be_copied_and_pickled() -> None:
    plan = RoutedPlan(
        tasks={"one": RoutedTask(agent="ann", reason="She can.", pinned=True)},
        unassigned={"two": "Nobody can."},
        figures=OptimizedFigures(estimated_cost=0.5),
        optimizer_error="It failed.",
        remarks={"own": 1},
    )
    for other in (copy.copy(plan), copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert other == plan
        assert other.assignments == {"one": "ann"}
