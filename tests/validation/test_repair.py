"""Repair of routed plans: what it mends, what it may not touch, and that it always ends with less to complain of."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import InvalidGraph, InvalidInput
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.routing import HALORouter, RoutingPlan
from kapelle.validation import AOPValidator, Edit, Repair, ValidationResult
from tests.strategies.graphs import full_graphs


def agent(agent_id: str, *task_types: str, **fields: Any) -> AgentCapability:
    return AgentCapability(agent_id=agent_id, task_types=task_types, **fields)


def task(task_id: str, task_type: str = "lookup", *depends_on: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type=task_type, depends_on=depends_on, **fields)


CHEAP = agent("cheap", "lookup", cost_usd=1.0, seconds=9.0, success_rate=0.85)
DEAR = agent("dear", "lookup", cost_usd=5.0, seconds=2.0, success_rate=0.95)
WRITER = agent("writer", "write", cost_usd=1.0, seconds=2.0, skills=frozenset({"german"}))
EDITOR = agent("editor", "write", cost_usd=1.0, seconds=2.0, skills=frozenset({"layout"}))
AGENTS = AgentRegistry([CHEAP, DEAR, WRITER, EDITOR])
PAIR = TaskDAG([task("a", description="capital of Peru"), task("b", description="capital of Chile")])


def repair(
    assignments: Mapping[str, str], dag: TaskDAG, *, profiler: CostProfiler | None = None, **options: Any
) -> Repair:
    plan = RoutingPlan(assignments=dict(assignments))
    return asyncio.run(AOPValidator(AGENTS, profiler).repair(plan, dag, **options))


def validate(dag: TaskDAG, profiler: CostProfiler | None = None, **assignments: str) -> ValidationResult:
    validator = AOPValidator(AGENTS, profiler)
    return asyncio.run(validator.validate_routing_plan(RoutingPlan(assignments=assignments), dag))


def failing(agent_id: str, times: int) -> CostProfiler:
    profiler = CostProfiler()
    for number in range(times):
        profiler.record_execution(f"t{number}", agent_id, "lookup", 10, 2.0, False, cost_usd=1.0)
    return profiler


def test_a_plan_over_its_budget_goes_to_cheaper_agents_and_is_approved() -> None:
    done = repair({"a": "dear", "b": "dear"}, PAIR, max_budget=6.0)
    assert done.result.approved is not None
    assert done.result.estimated_cost <= 6.0
    assert done.result.approved.max_budget == 6.0
    assert "by repair" in "".join(done.routing_plan.explanations.values())


def test_a_budget_that_nobody_can_hold_stays_an_error_and_nothing_is_changed() -> None:
    done = repair({"a": "dear", "b": "dear"}, PAIR, max_budget=0.5)
    assert [issue.kind for issue in done.result.errors] == ["budget"]
    assert (done.edits, dict(done.routing_plan.assignments)) == ((), {"a": "dear", "b": "dear"})


def test_a_late_plan_goes_to_faster_agents() -> None:
    assert repair({"a": "cheap", "b": "cheap"}, PAIR, max_time=3.0).result.passed


def test_finished_tasks_keep_their_agents() -> None:
    done = repair({"a": "dear", "b": "dear"}, PAIR, max_budget=6.0, finished={"a"})
    assert done.routing_plan.assignments["a"] == "dear"
    done = repair({"a": "nobody"}, TaskDAG([task("a")]), finished={"a"})
    assert (done.edits, done.result.passed) == ((), False)


def test_a_task_without_an_able_agent_goes_to_one() -> None:
    done = repair({"a": "writer", "ghost": "dear"}, PAIR)
    assert done.result.passed
    assert set(done.routing_plan.assignments) == {"a", "b"}


def test_edits_use_only_the_agents_that_are_available() -> None:
    done = repair({}, PAIR, available_agents={"cheap"})
    assert set(done.routing_plan.assignments.values()) == {"cheap"}


def test_a_kind_of_work_that_is_spelled_another_way_is_renamed() -> None:
    done = repair({}, TaskDAG([task("a", "look_ups"), task("b", "writing", "a")]))
    assert [one.task_type for one in done.dag] == ["lookup", "write"]
    assert done.result.passed


@pytest.mark.parametrize(
    "one",
    [
        task("a", "lookup_and_write"),
        task("a", "magic", description="Lookup the capital of Peru, then write a poem about it"),
    ],
)
def test_work_of_several_kinds_is_split_and_what_refers_to_it_still_does(one: Task) -> None:
    done = repair({}, TaskDAG([one, task("b", "write", inputs={"text": "{a}"})]))
    assert [part.task_type for part in done.dag] == ["write", "write", "lookup"]
    assert done.dag.dependencies("a") == ("a-part1",)
    assert done.result.passed


def test_skills_that_no_single_agent_has_split_a_task() -> None:
    done = repair({}, TaskDAG([task("a", "write", requirements=frozenset({"german", "layout"}))]))
    assert sorted(done.routing_plan.assignments.values()) == ["editor", "writer"]


def test_a_task_that_no_rule_helps_with_is_reported_as_it_is() -> None:
    done = repair({}, TaskDAG([task("a", "telepathy", description="Read minds")]))
    assert (done.edits, [issue.kind for issue in done.result.errors]) == ((), ["complete"])


def test_outcomes_speak_against_an_agent_and_repair_gives_its_task_to_another() -> None:
    single = TaskDAG([task("a")])
    found = validate(single, failing("dear", 30), a="dear")
    [issue] = found.issues
    assert (found.passed, issue.severity) == (True, "warning")
    assert issue.message.startswith("Task 'a' is assigned to 'dear', which at 'lookup' is expected to succeed in 4%")
    assert "kapelle forget dear --type lookup" in issue.way_out
    assert repair({"a": "dear"}, single, profiler=failing("dear", 30)).routing_plan.assignments == {"a": "cheap"}


def test_declarations_and_a_few_failures_condemn_nobody() -> None:
    assert not CostProfiler().estimate(agent("x", "lookup", success_rate=0.0), "lookup").is_hopeless
    assert validate(TaskDAG([task("a")]), failing("dear", 4), a="dear").passed


@settings(deadline=None)
@given(st.floats(0, 1), st.lists(st.booleans(), max_size=40))
def test_a_belief_lies_between_its_bounds_and_a_success_never_lowers_it(rate: float, seen: list[bool]) -> None:
    one, profiler = agent("x", "lookup", success_rate=rate), CostProfiler()
    for success in seen:
        profiler.record_execution("t", "x", "lookup", 1, 1.0, success, cost_usd=0.0)
    before = profiler.estimate(one, "lookup")
    least, most = before.success_bounds
    assert 0 <= least <= before.success_rate <= most <= 1
    profiler.record_execution("t", "x", "lookup", 1, 1.0, True, cost_usd=0.0)
    assert profiler.estimate(one, "lookup").success_rate >= before.success_rate - 1e-12


def test_what_the_request_names_and_no_task_does_is_a_note_and_changes_nothing() -> None:
    dag = TaskDAG([task("a", description="Hotels in Rome")])
    done = repair({"a": "cheap"}, dag, request="Find 30 hotels in Rome")
    assert done.dag["a"].description == "Hotels in Rome"
    assert done.result.passed
    assert [issue.message for issue in done.result.issues] == ["The request names the number '30', and no task does."]


def test_the_figures_of_an_optimiser_go_when_its_assignment_does() -> None:
    plan = RoutingPlan(assignments={"a": "dear", "b": "dear"}, metadata={"estimated_cost": 10.0, "note": 1})
    done = asyncio.run(AOPValidator(AGENTS).repair(plan, PAIR, 6.0))
    assert done.routing_plan.metadata == {"note": 1}
    assert plan.assignments == {"a": "dear", "b": "dear"}


def test_an_edit_is_plain_data_for_the_ledger() -> None:
    issues = validate(TaskDAG([task("a", "lookup_and_write", requirements=frozenset())])).issues
    edit = next(issue.edit for issue in issues if issue.edit is not None)
    assert json.loads(json.dumps(asdict(edit)))["summary"] == edit.summary
    assert edit.patch is not None
    assert [one.task_id for one in edit.patch.add] == ["a-part1"]


def test_an_edit_of_a_finished_or_absent_task_is_refused() -> None:
    edit = Edit.of("Remove it.", {"a": []})
    with pytest.raises(InvalidGraph, match="'a'"):
        edit.applied_to([task("a")], finished={"a"})
    with pytest.raises(InvalidGraph, match="'a'"):
        edit.applied_to([])


def test_a_graph_bomb_ends_at_a_limit() -> None:
    bomb = TaskDAG(task(f"t{number}") for number in range(10_001))
    result = validate(bomb)
    assert [issue.kind for issue in result.errors] == ["size"]
    assert repair({}, bomb).edits == ()


def test_malformed_limits_are_refused() -> None:
    with pytest.raises(InvalidInput, match="max_budget"):
        repair({}, PAIR, max_budget=-1.0)
    with pytest.raises(InvalidInput, match="max_rounds"):
        repair({}, PAIR, max_rounds=-1)


REQUESTS = st.none() | st.sampled_from(["Is 20 more than 5?", "Find 30 hotels in Rome. Then write a 'Summary' of it."])


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(full_graphs(), st.data(), REQUESTS, st.none() | st.floats(0, 10), st.none() | st.floats(1e-3, 20))
def test_repair_ends_with_fewer_errors_within_the_same_limits(
    dag: TaskDAG, data: st.DataObject, request: str | None, budget: float | None, seconds: float | None
) -> None:
    ids = ["cheap", "dear", "writer", "nobody"]
    # Who did what is finished may be another than a plan orders, and is judged with that alone.
    dag = TaskDAG(dataclasses.replace(task, strategy=None) for task in dag)
    plan = RoutingPlan(assignments={one: data.draw(st.sampled_from(ids)) for one in dag.tasks})
    finished = data.draw(st.sets(st.sampled_from(sorted(dag.tasks)))) if dag.tasks else set()
    validator = AOPValidator(AGENTS)
    limits: dict[str, Any] = {"max_budget": budget, "max_time": seconds, "request": request}
    before = asyncio.run(validator.validate_routing_plan(plan, dag, **limits))
    done = asyncio.run(validator.repair(plan, dag, finished=finished, **limits))
    assert len(done.result.errors) <= len(before.errors) - len(done.edits)
    assert (
        done.result.issues == asyncio.run(validator.validate_routing_plan(done.routing_plan, done.dag, **limits)).issues
    )
    assert all(done.dag[one] == dag[one] for one in finished)
    assert all(done.routing_plan.assignments.get(one) == plan.assignments[one] for one in finished)
    approved = done.result.approved
    assert approved is None or (approved.max_budget, approved.max_time) == (budget, seconds)


@settings(max_examples=40, deadline=None)
@given(full_graphs(), st.randoms(use_true_random=False))
def test_validation_does_not_depend_on_the_order_of_the_tasks(dag: TaskDAG, chance: Any) -> None:
    shuffled = list(dag)
    chance.shuffle(shuffled)
    plan = asyncio.run(HALORouter(AGENTS).route_tasks(dag))
    validator, request = AOPValidator(AGENTS), "Find 30 hotels in Rome. Then write a 'Summary' of it."
    kinds = [
        sorted(
            (issue.kind, issue.severity)
            for issue in asyncio.run(validator.validate_routing_plan(plan, one, 1.0, request=request)).issues
        )
        for one in (dag, TaskDAG(shuffled))
    ]
    assert kinds[0] == kinds[1]
