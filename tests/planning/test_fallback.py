from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, SqliteLedger
from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import ModelUnavailable
from kapelle.ledger import Usage
from kapelle.models import ModelReply
from kapelle.planning import (
    CorrectingPlanner,
    FallbackPlanner,
    GraphPlanner,
    HTDAGPlanner,
    ModelPlanner,
    PaidInvalidPlan,
    Plan,
    RulePlanner,
)
from kapelle.planning.asking import MAX_PLAN_TOKENS
from kapelle.testing import ScriptedModel

REQUEST = "Compare the population of France and Germany"
AGENTS = AgentRegistry.default()


def task(task_id: str, *after: str, kind: str = "lookup") -> dict[str, Any]:
    return {"id": task_id, "type": kind, "description": "", "inputs": [], "depends_on": [*after], "requires": []}


CIRCLE = {"tasks": [task("s1", "s2"), task("s2", "s1")]}
UNUSABLE = {
    "a circle": CIRCLE,
    "no tasks": {"tasks": []},
    "a dependency on nothing": {"tasks": [task("s1", "weather")]},
    "a type that is near none": {"tasks": [task("s1", kind="xyzzy")]},
    "too many tasks": {"tasks": [task(f"s{number}") for number in range(1, 52)]},
    "words": "I would rather not.",
}


def plan(model: ScriptedModel, request: str = REQUEST, agents: Any = AGENTS, planner: Any = ModelPlanner) -> Plan:
    return asyncio.run(FallbackPlanner(planner(model), RulePlanner()).plan(request, agents))


@pytest.mark.parametrize("reply", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("planner", [ModelPlanner, GraphPlanner])
def test_rules_plan_what_the_model_could_not_and_its_calls_still_count(planner: Any, reply: Any) -> None:
    made = plan(ScriptedModel([reply] * 2, cost_usd=0.01), planner=planner)
    assert [task.task_type for task in made.graph] == ["lookup", "lookup", "compare"]
    assert (made.planner, made.cost_usd, made.usage.calls) == ("rules", 0.02, 2)
    assert "It was planned by rules instead." in made.notes[0]


def test_what_rules_do_not_understand_goes_whole_to_one_agent() -> None:
    made = plan(ScriptedModel(["no", "no"], cost_usd=0.01), "Hmm {well}")
    assert [(task.task_type, task.inputs) for task in made.graph] == [("answer", {"request": "Hmm {{well}}"})]
    assert "One agent was given the request whole instead." in made.notes[0]
    assert made.cost_usd == 0.02


def test_where_no_agent_takes_it_whole_there_is_no_plan_and_the_error_says_what_was_paid() -> None:
    agents = {"deployer": AgentCapability(agent_id="deployer", task_types=("deploy",))}
    with pytest.raises(PaidInvalidPlan, match="no usable plan in 2 attempts") as caught:
        plan(ScriptedModel(["no", "no"], cost_usd=0.01), "Hmm well", agents)
    assert (caught.value.cost_usd, caught.value.usage) == (0.02, Usage(input_tokens=20, output_tokens=20, calls=2))


def test_a_provider_out_of_reach_is_no_reason_to_plan_otherwise() -> None:
    with pytest.raises(ModelUnavailable):
        plan(ScriptedModel([ModelUnavailable("overloaded")]))


def test_half_a_plan_is_told_to_the_model_once_and_a_whole_one_then_counts() -> None:
    half = {"tasks": [{**task("s1"), "description": "Find the population of France"}]}
    whole = {"tasks": [*half["tasks"], {**task("s2"), "description": "Find the population of Germany"}]}
    model = ScriptedModel([half, whole], cost_usd=0.01)
    made = plan(model)
    assert "leaves out 'Germany'" in model.requests[1].messages[-1].content
    assert (len(made.graph), made.cost_usd, made.usage.calls) == (2, 0.02, 2)
    assert not any("leave out" in note for note in made.notes)


@pytest.mark.parametrize("second", [{"tasks": []}, "no", ModelUnavailable("busy", sent=False)])
def test_half_a_plan_is_better_than_none_and_says_so(second: Any) -> None:
    half = {"tasks": [{**task("s1"), "description": "Find the population of France"}]}
    model = ScriptedModel([half, second], cost_usd=0.01)
    made = plan(model)
    assert model.calls == 2
    assert made.planner == "model scripted:model"
    assert any("The plan seems to leave out 'Germany'" in note for note in made.notes)
    assert made.cost_usd == (0.01 if isinstance(second, Exception) else 0.02)


def test_why_an_earlier_plan_was_refused_stands_outside_of_the_request() -> None:
    for planner in (ModelPlanner, GraphPlanner):
        good = {"tasks": [{**task("s1"), "description": REQUEST}]}
        model = ScriptedModel([good])
        outer = HTDAGPlanner(FallbackPlanner(planner(model), RulePlanner()), lambda: AGENTS)
        assert isinstance(outer, CorrectingPlanner)
        made = asyncio.run(outer.plan_again(REQUEST, ["Task 's1' has no agent. Add one."], AGENTS))
        *earlier, last = model.requests[0].messages
        assert "- Task 's1' has no agent. Add one." in last.content
        assert all("has no agent" not in message.content for message in earlier)
        assert REQUEST not in last.content
        assert made.request == REQUEST


def test_planning_is_asked_for_at_temperature_zero() -> None:
    for planner in (ModelPlanner, GraphPlanner):
        model = ScriptedModel([{"tasks": [{**task("s1"), "description": REQUEST}]}])
        plan(model, planner=planner)
        assert model.requests[0].temperature == 0.0


def test_a_model_that_writes_on_until_it_is_stopped_is_not_paid_for_that_twice() -> None:
    endless = ModelReply(
        text='{"tasks": [{"id": "s1", "type": "lookup", "description": "and and',
        usage=Usage(output_tokens=MAX_PLAN_TOKENS, calls=1),
        cost_usd=0.05,
        finish_reason="length",
    )
    model = ScriptedModel([endless])
    made = plan(model)
    assert (model.calls, made.planner, made.cost_usd) == (1, "rules", 0.05)
    assert "in one attempt" in made.notes[0]


@pytest.mark.parametrize("kind", ["answer", "write", "summarize"])
def test_a_plan_that_asks_the_folder_nothing_gives_way_to_one_that_does(kind: str, tmp_path: Path) -> None:
    (tmp_path / "countries.csv").write_text("country,capital\nPeru,Lima\n", encoding="utf-8")
    plan = {"tasks": [{"id": "s1", "type": kind, "description": "the capital of Peru", "inputs": [], "depends_on": []}]}
    model = ScriptedModel([plan, "Atlantis"], cost_usd=0.01)
    environ = {"KAPELLE_PLANNER": "structured"}  # else it is not asked to plan this
    engine = Engine(data=tmp_path, model=model, ledger=SqliteLedger(":memory:"), environ=environ)
    run = engine.run_sync("What is the capital of Peru?")
    assert "Lima" in run.answer
    assert model.calls == 1
    assert run.cost_usd == pytest.approx(0.01)
