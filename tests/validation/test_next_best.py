"""Who does a task next is judged as estimates judge: recent outcomes first, at the task's complexity, as ordered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.allocation import PlanEstimates
from kapelle.estimates import CostProfiler, estimate_complexities
from kapelle.routing import RoutingPlan
from kapelle.validation import AOPValidator, NextBest


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


def known_of(profiler: CostProfiler, *cards: AgentCapability, dag: TaskDAG | None = None) -> PlanEstimates:
    return PlanEstimates(profiler, registry(*cards), TaskDAG([TASK]) if dag is None else dag)


def choose(known: PlanEstimates, *tried: str) -> str | None:
    found = NextBest().choose_fallback(TASK, tried, known)
    return None if found is None else found[0]


def test_an_agent_that_broke_is_judged_by_what_it_does_now() -> None:
    estimate = profiler_of(one=BROKE).estimate(card("one"), "work")
    assert estimate.success_rate < 0.06
    assert estimate.is_hopeless


def test_an_agent_that_recovered_is_judged_by_what_it_does_now() -> None:
    estimate = profiler_of(one=RECOVERED).estimate(card("one"), "work")
    assert estimate.success_rate > 0.95
    assert not estimate.is_hopeless


def test_a_fallback_is_no_agent_that_is_known_to_be_broken() -> None:
    known = known_of(profiler_of(broke=BROKE), card("broke"), card("new"))
    assert choose(known, "first") == "new"
    assert choose(known, "first", "new") is None


def test_a_fallback_is_chosen_by_what_was_learned_since_the_plan_was_made() -> None:
    profiler = CostProfiler()
    known = known_of(profiler, card("one", success_rate=0.9), card("two"))
    assert choose(known, "first") == "one"
    for _ in range(60):
        profiler.record_execution("t", "one", "work", 1000, 1.0, False, cost_usd=0.01)
    assert choose(known, "first") == "two"


def test_a_plan_for_an_agent_that_recovered_has_nothing_against_it() -> None:
    validator = AOPValidator({"one": card("one")}, profiler_of(one=RECOVERED))
    result = asyncio.run(validator.validate_routing_plan(RoutingPlan(assignments={"a": "one"}), TaskDAG([TASK])))
    assert (result.passed, result.issues) == (True, ())


@pytest.mark.parametrize("kind", ["search", "work", "research"])
def test_what_a_fallback_is_expected_to_take_grows_with_complexity(kind: str) -> None:
    task = Task(task_id="a", task_type=kind, depends_on=("x", "y"))
    dag = TaskDAG([Task(task_id="x", task_type="work"), Task(task_id="y", task_type="work"), task])
    complexity, profiler = estimate_complexities(dag)["a"], CostProfiler()
    for _ in range(30):
        profiler.record_execution("t", "two", kind, 1000, 1.0, True, cost_usd=0.01)
    two = card("two", task_types=(kind, "work"))
    found = NextBest().choose_fallback(task, ("one",), known_of(profiler, two, dag=dag))
    assert found is not None
    assert found[1].cost_usd == pytest.approx(0.01 * complexity, rel=0.01)
    assert found[1] == profiler.estimate(two, kind, complexity)


def test_without_its_place_in_the_graph_a_task_is_as_complex_as_its_type_and_dependencies_say() -> None:
    task = Task(task_id="a", task_type="research", depends_on=("x", "y"))
    one = card("two", task_types=("research",), cost_tier="medium")
    found = NextBest().choose_fallback(task, ("one",), known_of(CostProfiler(), one, dag=TaskDAG()))
    assert found is not None
    assert found[1] == CostProfiler().estimate(one, "research", 2.0 * 1.2)
