"""Agents that act in a run: no step is lost and none is repeated, whenever the engine dies, and each is paid once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, Plan, Run, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability
from kapelle.agents.loop import LoopAgent, ToolContext, make_tool
from kapelle.errors import ModelUnavailable
from kapelle.ledger import Event, Usage
from kapelle.models import ModelReply, ModelRequest, ToolCall, ToolDefinition

CARD = AgentCapability(agent_id="actor", task_types=("work",), cost_usd=0.05)
EVENTS = 20
"""Of the run below that nothing cuts off, but for its end."""


class Model:
    """Counts to three by calling `add`, then says so: each reply follows from the conversation alone."""

    model = "scripted:counter"

    def __init__(self, fails_at: int = 0) -> None:
        self.asked = 0
        self._fails_at = fails_at

    async def complete(self, request: ModelRequest, **_: Any) -> ModelReply:
        self.asked += 1
        if self.asked == self._fails_at:
            raise ModelUnavailable("It is away.", sent=False)
        done = sum(message.role == "tool" for message in request.messages)
        usage = Usage(input_tokens=10, output_tokens=1, calls=1)
        if done == 3:
            return ModelReply(text="three", usage=usage, cost_usd=0.01)
        call = ToolCall(call_id=f"c{done}", name="add", arguments={"n": done})
        return ModelReply(text="", tool_calls=(call,), usage=usage, cost_usd=0.01)

    def bound_usd(self, *, input_tokens: int, output_tokens: int) -> float:
        return 0.02

    def affordable_tokens(self, usd: float, *, input_tokens: int, most: int) -> int:
        return most if usd >= 0.02 else 0


def engine(folder: Path, model: Model | None = None, *, has_effects: bool = True) -> Engine:
    def add(given: Mapping[str, Any], context: ToolContext) -> str:
        with open(folder / "acted", "a") as file:
            file.write(f"{given['n']} {context.idempotency_key}\n")
        return "added"

    tool = make_tool(ToolDefinition(name="add"), add, has_effects=has_effects)
    return Engine([(CARD, LoopAgent(model or Model(), tools=[tool]))], model="none", ledger=SqliteLedger(folder / "l"))


def plan() -> Plan:
    return Plan(request="count", graph=TaskDAG([Task(task_id="a", task_type="work")]), planner="test")


def acted(folder: Path) -> list[str]:
    path = folder / "acted"
    return [line.partition(" ")[0] for line in path.read_text().splitlines()] if path.exists() else []


def die_after(events: int) -> Callable[[Event], None]:
    left = iter(range(events))

    def watch(event: Event) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return watch


def steps(run: Run) -> list[str]:
    return [event.data["what"] for event in run.events if event.kind == "task_step"]


def test_each_step_is_in_the_journal_before_it_happens(tmp_path: Path) -> None:
    run = asyncio.run(engine(tmp_path).run(plan()))
    assert (run.state, run.results, acted(tmp_path)) == ("done", {"a": "three"}, ["0", "1", "2"])
    assert run.cost_usd == pytest.approx(0.04)
    assert steps(run) == ["began", *["asked", "replied", "called", "returned"] * 3, "asked", "replied"]


@pytest.mark.parametrize("events", range(EVENTS))
def test_whenever_the_engine_dies_no_side_effect_is_repeated_and_no_step_is_lost(events: int, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(engine(tmp_path).run(plan(), budget_usd=1.0, on_event=die_after(events)))
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    model = Model()
    run = asyncio.run(engine(tmp_path, model).resume("last"))
    if run.state == "waiting":  # a tool was under way: a person says what became of it
        (question,) = run.questions.values()
        assert "may have been done" in question.text
        happened = len(acted(tmp_path)) > sum(step == "returned" for step in steps(run))
        engine(tmp_path, model).answer(question.question_id, "it was done" if happened else "do it again")
        run = asyncio.run(engine(tmp_path, model).resume("last"))
    assert (run.state, run.results, acted(tmp_path)) == ("done", {"a": "three"}, ["0", "1", "2"]), run.stop_reason
    assert 0.04 <= run.cost_usd <= 0.06 + 1e-9  # a call that was under way may be billed twice


def test_a_model_that_fails_for_a_moment_costs_no_step(tmp_path: Path) -> None:
    model = Model(fails_at=3)
    run = asyncio.run(engine(tmp_path, model).run(plan()))
    assert (run.state, acted(tmp_path), model.asked) == ("done", ["0", "1", "2"], 5)
    assert run.cost_usd == pytest.approx(0.04)
