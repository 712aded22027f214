"""Time passes for a deadline while engines work, whatever becomes of the clock on the wall."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentRegistry
from kapelle.errors import InvalidInput
from kapelle.ledger import Journal
from kapelle.testing import ScriptedAgent


class Wall:
    """A clock on the wall, which can be set."""

    def __init__(self) -> None:
        self.set_by = 0.0

    def __call__(self) -> float:
        return time.time() + self.set_by


@pytest.mark.parametrize("jump_s", [-1e9, -7200.0, -60.0, 0.0, 60.0, 7200.0, 1e9])
@pytest.mark.parametrize("at_task", ["t0", "t1", "t2", "asks"])
def test_a_clock_that_is_set_uses_up_nothing_of_a_deadline(jump_s: float, at_task: str) -> None:
    wall = Wall()

    def give(task: Task, context: object) -> str:
        if task.task_id == at_task and not wall.set_by:
            wall.set_by = jump_s
        return "done"

    agent = ScriptedAgent({"work": give})
    registry = AgentRegistry([agent.card("one", "work", seconds=0.1)], runners={"one": agent})
    engine = Engine(registry, model="none", ledger=SqliteLedger(clock=wall), environ={})
    tasks = [Task(task_id=f"t{n}", task_type="work", depends_on=(f"t{n - 1}",) if n else ()) for n in range(3)]
    tasks.append(Task(task_id="asks", task_type="work", depends_on=("t2",), approval=True))
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG(tasks), planner="me"), deadline_s=50.0))
    assert run.state == "waiting"
    assert run.active_seconds < 50
    engine.approve(engine.questions()[0].question_id)
    run = asyncio.run(engine.resume("last"))
    assert run.state == "done"
    assert run.active_seconds < 50


@given(
    steps=st.lists(st.tuples(st.floats(0, 1e5), st.sampled_from([0.0, 0.0, -3600.0, 3600.0, 1e8])), max_size=8),
    resumes=st.sets(st.integers(0, 8)),
)
def test_what_engines_worked_is_what_the_timer_says(steps: list[tuple[float, float]], resumes: set[int]) -> None:
    now, set_by = 0.0, 0.0

    def timer() -> float:
        return now

    ledger = SqliteLedger(clock=lambda: 1e9 + now + set_by)
    journal = Journal(ledger, "r", timer=timer)
    journal.write("run_started", {"request": "x", "settings": {}})
    worked = 0.0
    for place, (seconds, jump) in enumerate(steps):
        if place in resumes:  # another engine, another timer; what passed between the two was no work
            now, set_by = now + 1e4, set_by + jump
            journal = Journal(ledger, "r", timer=timer, events=ledger.events("r"))
            journal.write("run_resumed", {"state": "planning"})
            continue
        now, set_by = now + seconds, set_by + jump
        worked += seconds
        journal.write("planning_spent", {"reason": "x"})
    assert journal.run().active_seconds == pytest.approx(worked, abs=1e-3)


def test_a_deadline_that_work_has_used_up_has_to_be_given_anew() -> None:
    now = 0.0
    ledger = SqliteLedger(clock=lambda: 1e9 + now)
    engine = Engine(model="none", ledger=ledger, environ={})
    journal = Journal(ledger, "r", timer=lambda: now)
    journal.write("run_started", {"request": "x", "settings": {"deadline_s": 30.0}})
    now = 40.0
    journal.write("run_finished", {"state": "stopped", "stop_reason": "The deadline was reached while planning."})
    with pytest.raises(InvalidInput, match="has used the 30 s"):
        asyncio.run(engine.resume("r"))
