"""Who does a task next is judged as estimates judge: recent outcomes first, at the task's complexity, as ordered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.estimates import CostProfiler
from kapelle.routing import RoutingPlan
from kapelle.validation import AOPValidator, NextBest, judge_pair


class Nothing:
    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        raise NotImplementedError


def card(name: str, **fields: Any) -> AgentCapability:
    return AgentCapability(agent_id=name, **{"task_types": ("work",), "success_rate": 0.85, **fields})


def registry(*cards: AgentCapability) -> AgentRegistry:
    return AgentRegistry(cards, runners={one.agent_id: Nothing() for one in cards})


def profiler_of(**spans: tuple[tuple[int, bool], ...]) -> CostProfiler:
    profiler = CostProfiler()
    for agent, past in spans.items():
        for count, success in past:
            for _ in range(count):
                profiler.record_execution("t", agent, "work", 1000, 1.0, success, cost_usd=0.01)
    return profiler


BROKE, RECOVERED = ((400, True), (60, False)), ((250, False), (60, True))
TASK = Task(task_id="a", task_type="work")


def test_an_agent_that_broke_is_judged_by_what_it_does_now() -> None:
    profiler = profiler_of(one=BROKE)
    belief, estimate = judge_pair(card("one"), "work", profiler), profiler.estimate(card("one"), "work")
    assert belief.mean == pytest.approx(estimate.success_rate)
    assert belief.mean < 0.06
    assert belief.is_hopeless


def test_an_agent_that_recovered_is_judged_by_what_it_does_now() -> None:
    profiler = profiler_of(one=RECOVERED)
    belief, estimate = judge_pair(card("one"), "work", profiler), profiler.estimate(card("one"), "work")
    assert belief.mean == pytest.approx(estimate.success_rate)
    assert belief.mean > 0.95
    assert not belief.is_hopeless


def test_a_fallback_is_no_agent_that_is_known_to_be_broken() -> None:
    found = NextBest(registry(card("broke"), card("new")), profiler_of(broke=BROKE))
    assert found.choose_fallback(TASK, {"first"})[0] == "new"  # type: ignore[index]
    assert found.choose_fallback(TASK, {"first", "new"}) is None


def test_a_plan_for_an_agent_that_recovered_has_nothing_against_it() -> None:
    validator = AOPValidator({"one": card("one")}, profiler_of(one=RECOVERED))
    result = asyncio.run(validator.validate_routing_plan(RoutingPlan(assignments={"a": "one"}), TaskDAG([TASK])))
    assert (result.passed, result.issues) == (True, ())


@pytest.mark.parametrize("complexity", [0.5, 1.0, 3.0])
def test_what_a_fallback_is_expected_to_take_grows_with_complexity(complexity: float) -> None:
    profiler = profiler_of(two=((30, True),))
    chooser = NextBest(registry(card("two")), profiler, complexities={"a": complexity})
    found = chooser.choose_fallback(TASK, {"one"})
    assert found is not None
    assert found[1].cost_usd == pytest.approx(0.01 * complexity, rel=0.01)
    assert found[1] == profiler.estimate(card("two"), "work", complexity)


def test_without_its_place_in_the_graph_a_task_is_as_complex_as_its_type_and_dependencies_say() -> None:
    task = Task(task_id="a", task_type="research", depends_on=("x", "y"))
    one = card("two", task_types=("research",), cost_tier="medium")
    found = NextBest(registry(one), CostProfiler()).choose_fallback(task, {"one"})
    assert found is not None
    assert found[1] == CostProfiler().estimate(one, "research", 2.0 * 1.2)
