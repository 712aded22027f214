"""However a task fails, the run tells it, also where no module can be loaded any more: too many files are open, say.

What only some runs need is loaded when it is first asked for. After a failure that may be too late, so what follows
one is there from the start: every kind of failure x way to do a task, each in a fresh process that refuses all imports
from then on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

RUN = """
import asyncio, json, sys, os
from kapelle import AskPerson, Engine, SqliteLedger, Task, TaskDAG, TryAgain, agent
from kapelle.errors import AgentFailed, CannotAnswer, ModelTimeout
from kapelle.execution import ExecutionLimits, RetryPolicy
from kapelle.planning import Plan

ERRORS = {
    "os": OSError(24, "Too many open files"),
    "again": TryAgain("come back"),
    "timeout": ModelTimeout("too slow"),
    "paid": AgentFailed("no good", cost_usd=0.01),
    "unable": CannotAnswer("who knows"),
    "asks": AskPerson("Which?"),
    "bug": ZeroDivisionError("by zero"),
}
kind, strategy = sys.argv[1], json.loads(sys.argv[2])

class Refusing:
    def find_spec(self, name, path=None, target=None):
        raise OSError(24, "Too many open files", name)

def fail(task):
    if not isinstance(sys.meta_path[0], Refusing):
        sys.meta_path.insert(0, Refusing())
    raise ERRORS[kind]

@agent(task_types=["work"], cost_usd=0.01, retries=1)
async def first(task):
    fail(task)

@agent(task_types=["work"], cost_usd=0.02)
async def second(task):
    return "done"

graph = TaskDAG([Task(task_id="a", task_type="work", strategy=strategy), Task(task_id="b", task_type="work",
                 depends_on=("a",), strategy="second")])
limits = ExecutionLimits(retry=RetryPolicy(first_delay_s=0.0))
with Engine([first, second], model="none", ledger=SqliteLedger(":memory:"), limits=limits) as engine:
    run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="test"), budget_usd=1.0))
sys.meta_path = [one for one in sys.meta_path if not isinstance(one, Refusing)]
asked = [str(one) for one in run.questions.values()]
told = json.dumps([run.stop_reason, [task.reason for task in run.tasks.values()], asked])
print(json.dumps({"state": run.state, "told": told}))
"""
KINDS = {
    "os": "Too many open files",
    "again": "come back",
    "timeout": "too slow",
    "paid": "no good",
    "unable": "who knows",
    "asks": "Which?",
    "bug": "by zero",
}
CASCADE = {"cascade": {"cheap": "first", "check": "well_formed", "strong": "second"}}
WAYS: dict[str, Any] = {"single": {"single": "first"}, "cascade": CASCADE, "vote": {"vote": ["first", "second"]}}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_is_told_and_the_run_goes_on(kind: str, way: str) -> None:
    command = [sys.executable, "-c", RUN, kind, json.dumps(WAYS[way])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    if way == "single":
        assert found["state"] == ("waiting" if kind == "asks" else "failed")
        assert KINDS[kind] in found["told"]
