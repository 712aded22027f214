"""An approved plan stays approved: outcomes that speak against its agents since then are noted, and refuse nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.execution import ExecutionLimits


class Clumsy:
    """Fails so many times, and is right from then on; the task `grow` becomes two others."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        if task.task_id == "grow":
            return AgentResult(output=None, expansion=TaskDAG([work("x", kind="rest"), work("y", kind="rest")]))
        if self.failures > 0 and task.task_type == "work":
            self.failures -= 1
            raise ValueError("no")
        return AgentResult(output="done")


def work(name: str, *after: str, kind: str = "work", **fields: Any) -> Task:
    return Task(task_id=name, task_type=kind, description=f"Do {name}", depends_on=after, **fields)


def engine_of(agent: Clumsy, ledger: SqliteLedger) -> Engine:
    card = AgentCapability(agent_id="one", task_types=("work", "rest"), cost_usd=0.001)
    registry = AgentRegistry([card], runners={"one": agent})
    return Engine(registry, model="none", ledger=ledger, environ={}, limits=ExecutionLimits(max_fallbacks=0))


@pytest.mark.slow
@pytest.mark.parametrize("failures", [4, 8, 19, 60])
def test_a_run_whose_agent_failed_so_often_is_resumed_by_an_engine_that_knows(failures: int) -> None:
    ledger, agent = SqliteLedger(), Clumsy(failures)
    graph = TaskDAG(work(f"t{n}") for n in range(failures))
    run = asyncio.run(engine_of(agent, ledger).run(Plan(request="x", graph=graph, planner="me")))
    assert run.state == "failed"
    run = asyncio.run(engine_of(agent, ledger).resume("last"))
    assert run.state == "done"


@pytest.mark.parametrize("failures", [8, 30])
def test_a_graph_grows_though_an_agent_of_its_first_tasks_failed_often(failures: int) -> None:
    ledger, agent = SqliteLedger(), Clumsy(failures)
    tasks = [work(f"t{n}", on_failure="continue") for n in range(failures)]
    tasks += [work("waits", "last")]
    tasks += [work("grow", *(f"t{n}" for n in range(failures)), kind="rest"), work("last", "grow", kind="rest")]
    run = asyncio.run(engine_of(agent, ledger).run(Plan(request="x", graph=TaskDAG(tasks), planner="me")))
    assert {name: run.tasks[name].state for name in ("grow-x", "grow-y", "last", "waits")} == dict.fromkeys(
        ("grow-x", "grow-y", "last", "waits"), "done"
    )
