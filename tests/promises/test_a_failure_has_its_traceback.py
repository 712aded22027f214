"""Where an agent failed is in the run, whatever it ran on, and in the logs: bounded, and without a key."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, ExecutionLimits, Plan, RetryPolicy, SqliteLedger, Task, TaskDAG, agent
from kapelle.errors import AgentFailed, TryAgain
from kapelle.execution.error_reports import MAX_TRACEBACK_CHARS, tell_traceback
from kapelle.ledger import Run
from tests.cli.test_cli import kapelle as kapelle

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
KEY = "sk-abcdefghijklmnop12345"


def fail_deep_below(task: Any) -> str:
    raise ValueError(f"it is odd: {KEY}") from KeyError("the cause")


async def fail_later(task: Any) -> str:
    await asyncio.sleep(0)
    return fail_deep_below(task)


class Mute(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


WAYS: dict[str, Any] = {"a function": fail_deep_below, "async": fail_later}


def go(work: Any, *, backend: str = "asyncio", **options: Any) -> Run:
    one = agent(task_types=["work"], cost_usd=0.001)(work)
    engine = Engine([one], model="none", ledger=SqliteLedger(), environ={}, backend=backend, **options)
    plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="work")]), planner="me")
    return asyncio.run(engine.run(plan))


@pytest.mark.parametrize("backend", ["asyncio", "threads"])
@pytest.mark.parametrize("way", WAYS)
def test_where_an_agent_failed_is_in_the_run(way: str, backend: str) -> None:
    run = go(WAYS[way], backend=backend)
    told = run.tasks["a"].traceback or ""
    assert run.tasks["a"].state == "failed"
    for words in ("in fail_deep_below", "KeyError: 'the cause'", "direct cause", "ValueError: it is odd: ***"):
        assert words in told
    assert KEY not in json.dumps([dict(event.data) for event in run.events])
    assert "in fail_deep_below" in run.explain(verbose=True)
    assert "in fail_deep_below" not in run.explain()


@needs_ray
@pytest.mark.parametrize("way", WAYS)
def test_it_comes_back_from_a_worker(way: str) -> None:
    from kapelle.execution.backends.carried_errors import pack_error, unpack_error

    try:
        found = WAYS[way](None)
        asyncio.run(found)
    except Exception as error:
        told = tell_traceback(unpack_error(pack_error(error))) or ""
    for words in ("in fail_deep_below", "KeyError: 'the cause'", "ValueError: it is odd: ***"):
        assert words in told


def test_every_attempt_has_its_own() -> None:
    count = 0

    def busy(task: Any) -> str:
        nonlocal count
        count += 1
        raise TryAgain(f"busy {count}")

    limits = ExecutionLimits(retry=RetryPolicy(max_attempts=3, first_delay_s=0.0), max_fallbacks=0)
    run = go(busy, limits=limits)
    told = [attempt.traceback or "" for attempt in run.tasks["a"].attempts]
    assert [f"busy {number}" in text for number, text in enumerate(told, start=1)] == [True, True, True]
    assert run.explain(verbose=True).count("Where busy failed at a:") == 3


@pytest.mark.parametrize(
    "error",
    [AgentFailed("x" * 10**7), Mute(), RecursionError("deep"), ExceptionGroup("many", [ValueError("x" * 9_000)] * 50)],
    ids=lambda error: type(error).__name__,
)
def test_it_is_bounded_and_never_raises(error: BaseException) -> None:
    for _ in range(200):
        above = RuntimeError("above")
        above.__cause__, error = error, above
    told = tell_traceback(error)
    assert told is None or len(told) <= MAX_TRACEBACK_CHARS + 3


def test_a_failure_is_logged_with_the_run_the_task_and_the_agent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="kapelle"):
        run = go(fail_deep_below)
    (record,) = [one for one in caplog.records if one.name == "kapelle.execution"]
    assert (record.levelname, record.run_id, record.task_id, record.agent) == (  # type: ignore[attr-defined]  # fields of `extra`
        "WARNING",
        run.run_id,
        "a",
        "fail_deep_below",
    )
    assert "in fail_deep_below" in record.getMessage()
    assert KEY not in record.getMessage()


AGENTS = 'agents: [{id: n, task_types: [work], cost_usd: 0, run: "boom:work"}]'


@pytest.mark.parametrize("how", ["option", "environment", "off"])
def test_the_command_line_logs_where_that_is_asked_for(
    kapelle: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    (tmp_path / f"boom{how}.py").write_text("def work(task):\n    raise ValueError('odd')\n")
    (tmp_path / "agents.yaml").write_text(AGENTS.replace("boom", f"boom{how}"))
    (tmp_path / "plan.yaml").write_text("tasks: [{id: a, type: work}]")
    if how == "environment":
        monkeypatch.setenv("KAPELLE_LOG", "info")
        monkeypatch.setenv("KAPELLE_LOG_FORMAT", "json")
    words = ["--log-level", "info", "--log-format", "json"] if how == "option" else []
    run = ["run", str(tmp_path / "plan.yaml"), "--agents", str(tmp_path / "agents.yaml")]
    done = kapelle(*words, *run, "--json")
    lines = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    told = [(line["level"], line["task_id"], line["agent"]) for line in lines if line["logger"] == "kapelle.execution"]
    assert told == ([] if how == "off" else [("warning", "a", "n")])
    assert done.data["tasks"]["a"]["traceback"].endswith("ValueError: odd")
    assert "ValueError: odd" in kapelle("explain", "last", "--verbose").out
    assert logging.getLogger("kapelle").level == logging.NOTSET
