"""What the first run of a process loads: nothing of what that run does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FIRST_RUN = """
import sys
before = set(sys.modules)
import asyncio, json
from kapelle import Engine, SqliteLedger, Task, TaskDAG, agent
from kapelle.planning import Plan

@agent(task_types=["work"], cost_usd=0.0)
async def worker(task):
    return task.task_id

graph = TaskDAG([
    Task(task_id="a", task_type="work"),
    Task(task_id="b", task_type="work", depends_on=("a",)),
    Task(task_id="c", task_type="work", inputs={"query": "{b}"}),
])
with Engine([worker], model="none", ledger=SqliteLedger(sys.argv[1])) as engine:
    run = asyncio.run(engine.run(Plan(request="three tasks", graph=graph, planner="test")))
assert run.state == "done", run.stop_reason
print(json.dumps(sorted(set(sys.modules) - before)))
"""
ONLY_SOME_RUNS_NEED = (
    "kapelle.cli",
    "kapelle.terminal",
    "kapelle.views",
    "kapelle.knowledge",
    "kapelle.evaluation",
    "kapelle.agents.library_agent",
    "kapelle.documents.yaml_text",
    "kapelle.engine.model_team",
    "kapelle.graph.svg",
    "kapelle.ledger.postgres",
    "kapelle.local.folder_agents",
    "kapelle.models.client",
    "kapelle.models.pydantic_ai_client",
    "kapelle.planning.plan_file",
    "kapelle.planning.rules.splitting",
    "kapelle.strategies.examination",
    "kapelle.tools.tables",
    "email",
    "tempfile",
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    ledger = tmp_path_factory.mktemp("first") / "ledger.sqlite"
    done = subprocess.run([sys.executable, "-c", FIRST_RUN, str(ledger)], capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


def test_a_first_run_loads_no_package_but_kapelle_and_the_standard_library(loaded: frozenset[str]) -> None:
    others = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"kapelle"}
    assert not {name for name in others if not name.startswith("_")}  # such as `_cython_...`, of an installation's own


@pytest.mark.parametrize("name", ONLY_SOME_RUNS_NEED)
def test_a_first_run_loads_nothing_of_what_only_others_need(loaded: frozenset[str], name: str) -> None:
    assert not [module for module in loaded if module == name or module.startswith(f"{name}.")]


def test_what_is_named_there_is_there(loaded: frozenset[str]) -> None:
    source = Path(__file__).parent.parent.parent / "src"
    for name in ONLY_SOME_RUNS_NEED:
        path = source.joinpath(*name.split("."))
        assert not name.startswith("kapelle") or path.is_dir() or path.with_suffix(".py").is_file(), name
    assert "kapelle.execution.executor" in loaded
