from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import InvalidInput
from kapelle.graph import Task, TaskDAG
from kapelle.planning import Gate, GatedPlanner, Plan, judge_request, mark_mode, single_plan
from kapelle.planning.gate import MAX_SINGLE_WORDS

CAPITALS = "What are the populations of the capitals of France, Germany, Italy, Spain and Poland?"


class TwoTasks:
    def __init__(self) -> None:
        self.calls = 0

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        self.calls += 1
        tasks = [Task(task_id="s1", task_type="search", metadata={"own": 1}), Task(task_id="s2", task_type="search")]
        return Plan(request=request, graph=TaskDAG(tasks, version=3), planner="two", cost_usd=0.01)


@pytest.mark.parametrize(
    "request_text",
    [
        CAPITALS,
        "Find the longest river of Europe, then translate its name into Latin, then write a poem about it.",
        "If Mount Everest were 10% taller and K2 20% shorter, which one would be taller?",
        "a " * 200_000,
    ],
)
def test_what_has_many_words_is_worth_a_plan(request_text: str) -> None:
    judgement = judge_request(request_text)
    assert judgement.decompose, judgement
    assert judgement.reason.startswith("taking it apart may pay: ")


@pytest.mark.parametrize(
    "request_text",
    [
        "What is the capital of France?",
        "Hello!",
        "",
        "   \n",
        "Translate 'good morning' into German.",
        "Who was Ada Lovelace?",
        " ".join(["word"] * MAX_SINGLE_WORDS),
    ],
)
def test_what_is_short_is_not_taken_apart(request_text: str) -> None:
    judgement = judge_request(request_text)
    assert not judgement.decompose
    assert "it is short" in judgement.reason


@given(st.text(max_size=200), st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_one_more_word_never_makes_a_plan_less_worth(text: str, more: str) -> None:
    assert judge_request(f"{text} {more}").decompose >= judge_request(text).decompose


@pytest.mark.slow
def test_the_same_key_draws_the_same_mode_and_the_share_is_kept() -> None:
    gate = Gate(control_share=0.05)
    modes = [gate.decide(CAPITALS, key=f"run-{number}").mode for number in range(4000)]
    assert modes == [Gate(control_share=0.05).decide(CAPITALS, key=f"run-{number}").mode for number in range(4000)]
    assert set(modes) == {"plan", "control"}
    assert 0.04 < modes.count("control") / len(modes) < 0.06
    assert modes != [gate.decide(CAPITALS, key=f"walk-{number}").mode for number in range(4000)]


def test_what_is_declined_is_never_a_control() -> None:
    assert Gate(control_share=1.0).decide("Hello!", key="k").mode == "single"
    assert Gate(control_share=1.0).decide(CAPITALS, key="k").mode == "control"
    assert Gate(control_share=0.0).decide(CAPITALS, key="k").mode == "plan"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "half"])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match="control_share"):
        Gate(control_share=share)


def test_a_single_plan_is_one_task_that_says_why() -> None:
    decision = Gate(control_share=1.0).decide(f"{CAPITALS} {{x}}", key="k")
    plan = single_plan(f"{CAPITALS} {{x}}", decision)
    (task,) = plan.graph
    assert task.resolved({}).inputs["request"] == f"{CAPITALS} {{x}}"
    assert (task.metadata["arm"], task.metadata["gate_words"]) == ("control", 15.0)
    assert "drawn as a control (100%" in plan.notes[0]


def test_a_planned_graph_carries_its_mode_and_stays_what_it_was() -> None:
    planner = TwoTasks()
    plan = asyncio.run(GatedPlanner(planner, Gate(control_share=0.0)).plan(CAPITALS, {}))
    assert (len(plan.graph), plan.graph.version, plan.cost_usd, planner.calls) == (2, 3, 0.01, 1)
    assert [task.metadata["arm"] for task in plan.graph] == ["plan", "plan"]
    assert plan.graph["s1"].metadata["own"] == 1


def test_a_declined_request_costs_no_planning() -> None:
    planner = TwoTasks()
    gated = GatedPlanner(planner, Gate(), single_type="write")
    plan = asyncio.run(gated.plan("Hello!", AgentRegistry.default()))
    assert (len(plan.graph), plan.cost_usd, planner.calls) == (1, 0.0, 0)
    assert plan.graph["s1"].task_type == "write"
    assert plan.graph["s1"].metadata["arm_reason"] == "one agent does it as well: it is short"


def test_where_no_agent_takes_a_whole_request_it_is_planned() -> None:
    planner = TwoTasks()
    plan = asyncio.run(GatedPlanner(planner, Gate(), single_type="odd").plan("Hello!", AgentRegistry.default()))
    assert planner.calls == 1
    assert plan.graph["s1"].metadata["arm"] == "plan"
    assert "no agent takes a whole request" in plan.graph["s1"].metadata["arm_reason"]


def test_marking_a_mode_twice_keeps_the_last() -> None:
    gate = Gate(control_share=0.0)
    plan = single_plan("Hello!", gate.decide("Hello!", key="k"))
    assert mark_mode(plan, gate.decide(CAPITALS, key="k")).graph["s1"].metadata["arm"] == "plan"
