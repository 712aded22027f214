"""kapelle: `Engine.run` with a given plan (routed, proved, run, read back), and its executor with an approved one."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from work import Graph, Way, main

from kapelle import Engine, SqliteLedger, Task, TaskDAG, agent
from kapelle.planning import Plan

if TYPE_CHECKING:
    from kapelle import AgentRegistry
    from kapelle.ledger import Durability, Journal, Ledger
    from kapelle.validation import ApprovedPlan


@agent(task_types=["work"], cost_usd=0.0, max_concurrency=100_000)
async def noop(task: Task) -> str:
    """An agent that does nothing."""
    return task.task_id


def dag_of(graph: Graph) -> TaskDAG:
    return TaskDAG(
        Task(task_id=name, task_type="work", description=f"do {name}", depends_on=waits)
        for name, waits in graph.items()
    )


def open_ledger(folder: Path, where: str) -> Ledger | None:
    """Return where events are kept: a file, synced at every commit (`full`) or not (`normal`), memory, a new database
    (`postgres`), a file that outlives the process (`learned`), or nowhere (`off`)."""
    if where == "memory":
        return SqliteLedger(":memory:")
    if where == "learned":
        return SqliteLedger(os.environ["KAPELLE_BENCH_LEDGER"])
    if where == "postgres":
        from kapelle.ledger import PostgresLedger

        return PostgresLedger(_new_database(os.environ["KAPELLE_BENCH_POSTGRES"]))
    if where == "off":
        return None
    return SqliteLedger(folder / "ledger.sqlite", durability=cast("Durability", where))


def _new_database(server: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    import psycopg

    name = f"bench_{os.urandom(6).hex()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def build_line(graph: Graph, folder: Path, *, where: str) -> tuple[Engine, Plan]:
    plan = Plan(request="overhead", graph=dag_of(graph), planner="bench")
    return Engine([noop], model="none", ledger=open_ledger(folder, where)), plan


async def run_line(ready: tuple[Engine, Plan]) -> int:
    engine, plan = ready
    run = await engine.run(plan)
    return sum(task.state == "done" for task in run.tasks.values())


def close_line(ready: tuple[Engine, Plan]) -> None:
    ready[0].close()


async def build_executor(graph: Graph, folder: Path, *, where: str) -> tuple[ApprovedPlan, AgentRegistry, Journal]:
    """Approve the plan, and begin its run."""
    from kapelle import AgentRegistry, AOPValidator, CostProfiler, HALORouter
    from kapelle.ledger import Journal

    registry, dag = AgentRegistry([noop.capability], runners={"noop": noop}), dag_of(graph)
    found = await AOPValidator(registry, CostProfiler()).validate_routing_plan(
        await HALORouter(registry).route_tasks(dag), dag
    )
    assert found.approved is not None, found.issues
    ledger = open_ledger(folder, where)
    journal = Journal(ledger, "none" if ledger is None else ledger.new_run_id())
    journal.write("run_started", {"request": "overhead"})
    journal.write("run_planned", {"graph": dag.to_dict(), "planner": "bench"})
    journal.write("run_approved", {"estimates": {}, "issues": []})
    return found.approved, registry, journal


async def run_executor(ready: tuple[ApprovedPlan, AgentRegistry, Journal]) -> int:
    from kapelle.budget import Budget
    from kapelle.execution import ExecutionLimits, Executor

    plan, registry, journal = ready
    ending = await Executor(registry).execute(plan, journal, budget=Budget(usd=1.0), limits=ExecutionLimits())
    assert ending.state == "done", ending.stop_reason
    return len(plan.dag)


JOURNALS = {
    "full": "SQLite, WAL: synced at every commit (one a turn of the loop, before any effect)",
    "normal": "SQLite, WAL: never synced at a commit",
    "memory": "SQLite in memory",
    "postgres": "PostgreSQL on this machine, its fsync turned off",
    "learned": "SQLite, WAL: as by default",
    "off": "none",
}


if __name__ == "__main__":
    lines = {
        f"kapelle_{where}": Way(partial(build_line, where=where), run_line, journal=told, close=close_line)
        for where, told in JOURNALS.items()
    }
    executors = {
        f"executor_{where}": Way(partial(build_executor, where=where), run_executor, journal=told)
        for where, told in JOURNALS.items()
        if where not in ("memory", "learned")
    }
    main({**lines, **executors}, packages=("kapelle",))
