"""A run whose rest was assigned anew, read from either store."""

from __future__ import annotations

import asyncio

import pytest

from kapelle import Engine, Plan, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import LedgerCorrupt
from kapelle.ledger import Event, rebuild_run
from kapelle.testing import ScriptedAgent
from tests.ledger.stores import Store

EVENTS: tuple[tuple[str, str | None, dict[str, object]], ...] = (
    ("run_started", None, {"request": "x"}),
    ("run_planned", None, {"graph": {"version": 1, "tasks": [{"task_id": "a", "task_type": "work"}]}, "planner": "p"}),
    ("run_approved", None, {"estimates": {}, "issues": []}),
    ("task_started", "a", {"agent": "one"}),
)


def events(*more: tuple[str, str | None, dict[str, object]]) -> list[Event]:
    return [
        Event(run_id="r", seq=seq, at=float(seq), kind=kind, task_id=task_id, data=data)  # type: ignore[arg-type]  # kinds as text
        for seq, (kind, task_id, data) in enumerate((*EVENTS, *more))
    ]


def test_it_is_read_back_as_it_was_returned(store: Store) -> None:
    cards = [
        AgentCapability(agent_id=name, task_types=("work",), cost_usd=usd)
        for name, usd in (("cheap", 0.01), ("honest", 0.1))
    ]
    runners = {"cheap": ScriptedAgent(cost_usd=0.3), "honest": ScriptedAgent(cost_usd=0.1)}
    graph = TaskDAG(
        Task(task_id=f"s{n}", task_type="work", description="Do it", depends_on=(f"s{n - 1}",) if n else ())
        for n in range(4)
    )
    with store.open() as ledger:
        engine = Engine(AgentRegistry(cards, runners=runners), model="none", environ={}, ledger=ledger)
        run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="p"), budget_usd=1.0))
        assert run.state == "done"
        assert run.assignments == {"s0": "cheap", "s1": "honest", "s2": "honest", "s3": "honest"}
        assert ledger.run(run.run_id) == run
        part = ledger.excerpt(run.run_id, "s3")
        assert part.explanations["s3"] == run.explanations["s3"]


@pytest.mark.parametrize("task_id", ["a", "b"])
def test_no_task_that_has_begun_and_none_that_is_not_there_is_given_to_another(task_id: str) -> None:
    moved: dict[str, object] = {"assignments": {task_id: "two"}, "strategies": {}, "explanations": {}, "estimates": {}}
    with pytest.raises(LedgerCorrupt):
        rebuild_run(events(("plan_reassigned", None, moved)))
