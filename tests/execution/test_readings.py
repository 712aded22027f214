"""What a question could have meant is kept with its task, whatever an agent of somebody's own puts there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG, agent
from kapelle.errors import CannotAnswer
from kapelle.execution.error_reports import MAX_READINGS, MAX_TOLD_CHARS

GOOD = {"understood": "the net price", "sql": "SELECT 1"}


class Odd(CannotAnswer):
    """Its readings are whatever it is given."""

    def __init__(self, readings: Any) -> None:
        super().__init__("several ways")
        self.readings = readings


class Nasty:
    """Cannot be read."""

    def __getitem__(self, key: object) -> object:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("readings", "kept"),
    [
        ((), ()),
        ((GOOD, GOOD), (GOOD, GOOD)),
        (({**GOOD, "more": 1},), (GOOD,)),
        (({"understood": "x" * (MAX_TOLD_CHARS + 1), "sql": ""}, GOOD), (GOOD,)),
        ((GOOD,) * (MAX_READINGS + 5), (GOOD,) * MAX_READINGS),
        (({"understood": "\ud83d", "sql": "\x00"},), ({"understood": "\ud83d", "sql": "\x00"},)),
        (("net", "gross"), ()),
        (({"understood": 1, "sql": 2},), ()),
        ((Nasty(),), ()),
        (None, ()),
        (7, ()),
    ],
)
def test_readings_are_texts_or_none(readings: Any, kept: Any) -> None:
    @agent(task_types=["look"], cost_usd=0.0)
    async def unsure(task: Task) -> str:
        raise Odd(readings)

    ledger = SqliteLedger(":memory:")
    plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="look")]), planner="by hand")
    run = asyncio.run(Engine(agents=[unsure], model="none", ledger=ledger).run(plan))
    task = ledger.run(run.run_id).tasks["a"]
    assert (task.state, task.readings) == ("failed", kept)
