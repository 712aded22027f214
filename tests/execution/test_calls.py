"""What an agent is given with its task: the tasks before it are copies, made when they are looked at."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping

from kapelle import Engine, Plan, SqliteLedger, Task, TaskContext, TaskDAG, agent

GRAPH = TaskDAG(
    [
        Task(task_id="a", task_type="work", description="Find it", metadata={"notes": []}),
        Task(task_id="b", task_type="work", inputs={"what": "{a}"}),
        Task(task_id="c", task_type="work", depends_on=("a", "b")),
    ]
)


def seen_by_last() -> Mapping[str, Task]:
    seen: dict[str, Mapping[str, Task]] = {}

    @agent(task_types=["work"], cost_usd=0.0)
    async def worker(task: Task, context: TaskContext) -> str:
        seen[task.task_id] = context.upstream_tasks
        return f"did {task.task_id}"

    engine = Engine([worker], model="none", ledger=SqliteLedger())
    run = asyncio.run(engine.run(Plan(request="x", graph=GRAPH, planner="me")))
    assert run.state == "done"
    return seen["c"]


def test_the_tasks_before_one_are_told_also_after_the_run() -> None:
    tasks = seen_by_last()
    assert list(tasks) == ["a", "b"]
    assert tasks["a"] == GRAPH["a"]
    assert tasks["b"].inputs == {"what": "did a"}  # nothing else says what it was about


def test_who_looks_twice_sees_its_own_copy() -> None:
    tasks = seen_by_last()
    tasks["a"].metadata["notes"].append("mine")
    assert tasks["a"].metadata == {"notes": ["mine"]}
    assert GRAPH["a"].metadata == {"notes": []}


def test_another_process_is_given_plain_tasks() -> None:
    tasks = seen_by_last()
    there = pickle.loads(pickle.dumps(tasks))
    assert type(there) is dict
    assert there == tasks
    assert repr(tasks) == repr(there)
