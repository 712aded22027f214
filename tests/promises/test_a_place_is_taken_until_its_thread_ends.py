"""A call that goes on after its time keeps its agent's place: no agent is ever asked more often at once than it allows.

Python cannot stop a thread. One that never ends holds up neither the run nor the tasks of other agents.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from kapelle import AgentCapability, Engine, Plan, Run, SqliteLedger, Task, TaskDAG
from kapelle.execution import ExecutionLimits, RetryPolicy, dispatch

WAYS = [("asyncio", "function"), ("threads", "function"), ("threads", "async function that blocks")]


class Slow:
    """An agent's code whose first call blocks until it is released; it counts how many run at once."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.most_at_once = 0
        self.calls: list[str] = []
        self._at_once = 0
        self._lock = threading.Lock()

    def function(self, task: Task) -> str:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.calls.append(task.task_id)
        if task.task_id.startswith("slow"):
            self.released.wait(60)
        with self._lock:
            self._at_once -= 1
        return task.task_id

    async def async_function(self, task: Task) -> str:
        return self.function(task)

    async def release(self, task: Task) -> str:
        if task.task_id == "last":
            self.released.set()
        return task.task_id


def engine_of(slow: Slow, way: str, backend: str, places: int) -> Engine:
    code: Any = slow.function if way == "function" else slow.async_function
    cards = {"slow": (places, code), "quick": (10, slow.release)}
    agents = [
        (AgentCapability(agent_id=name, task_types=(name,), cost_usd=0.0, max_concurrency=most), run)
        for name, (most, run) in cards.items()
    ]
    limits = ExecutionLimits(retry=RetryPolicy(max_attempts=1), max_fallbacks=0)
    return Engine(agents, model="none", ledger=SqliteLedger(":memory:"), backend=backend, limits=limits)


def run_of(slow: Slow, way: str, backend: str, graph: TaskDAG, places: int) -> Run:
    with engine_of(slow, way, backend, places) as engine:
        return asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me")))


def graph_of(places: int) -> TaskDAG:
    """As many slow tasks as there are places, more that wait for them, and a chain that lets go when all are late."""
    slow = [Task(task_id=f"slow{n}", task_type="slow", timeout_s=0.05, on_failure="continue") for n in range(places)]
    after = [Task(task_id=f"b{n}", task_type="slow") for n in range(3)]
    late = tuple(task.task_id for task in slow)
    chain = [
        Task(task_id=name, task_type="quick", depends_on=before)
        for name, before in (("c1", late), ("c2", ("c1",)), ("c3", ("c2",)), ("last", ("c3",)))
    ]
    return TaskDAG([*slow, *after, *chain])


@pytest.mark.parametrize("places", [1, 2, 3])
@pytest.mark.parametrize(("backend", "way"), WAYS)
def test_no_more_run_at_once_than_there_are_places(backend: str, way: str, places: int) -> None:
    slow = Slow()
    run = run_of(slow, way, backend, graph_of(places), places)
    assert slow.most_at_once <= places
    assert sorted(slow.calls) == sorted([*(f"slow{n}" for n in range(places)), "b0", "b1", "b2"])
    assert {name for name, task in run.tasks.items() if task.state == "failed"} == {f"slow{n}" for n in range(places)}
    assert all(run.tasks[name].state == "done" for name in ("b0", "b1", "b2", "last"))


@pytest.mark.parametrize(("backend", "way"), WAYS)
def test_a_thread_that_never_ends_holds_up_no_run(backend: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MIN_BEHIND_S", 0.05)
    slow = Slow()
    graph = TaskDAG(
        [
            Task(task_id="slow0", task_type="slow", timeout_s=0.05),
            Task(task_id="b0", task_type="slow"),
            Task(task_id="b1", task_type="slow"),
            Task(task_id="c", task_type="quick"),
        ]
    )
    run = run_of(slow, way, backend, graph, 1)
    slow.released.set()
    assert (run.state, run.results) == ("partial", {"c": "c"})
    assert slow.calls == ["slow0"]
    for name in ("b0", "b1"):
        assert "go on although their time is over" in (run.tasks[name].reason or "")


@pytest.mark.parametrize(("backend", "way"), WAYS)
def test_it_is_taken_for_the_next_run_of_the_engine_too(backend: str, way: str) -> None:
    slow = Slow()
    late = TaskDAG([Task(task_id="slow0", task_type="slow", timeout_s=0.05)])
    quick = Task(task_id="last", task_type="quick", depends_on=("c",))
    after = TaskDAG([Task(task_id="b0", task_type="slow"), Task(task_id="c", task_type="quick"), quick])
    with engine_of(slow, way, backend, 1) as engine:
        first = asyncio.run(engine.run(Plan(request="x", graph=late, planner="me")))
        assert (first.state, slow.calls) == ("failed", ["slow0"])
        second = asyncio.run(engine.run(Plan(request="x", graph=after, planner="me")))  # in another event loop
    assert second.state == "done"
    assert slow.most_at_once == 1
