"""The validator: what it refuses, what it only notes, and the score."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import InvalidInput
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.routing import HALORouter, RoutingPlan
from kapelle.validation import AOPValidator, Issue, ValidationResult


def agent(agent_id: str, *task_types: str, **fields: Any) -> AgentCapability:
    return AgentCapability(agent_id=agent_id, task_types=task_types, **fields)


def task(task_id: str, task_type: str = "lookup", *depends_on: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type=task_type, depends_on=depends_on, **fields)


ATLAS = agent("atlas", "lookup", cost_usd=1.0, seconds=2.0, skills=frozenset({"search"}), success_rate=0.9)
GAZETTEER = agent("gazetteer", "lookup", cost_usd=3.0, seconds=6.0, success_rate=0.8)
WRITER = agent("writer", "write", cost_usd=1.0, seconds=4.0, success_rate=0.6)
AGENTS = AgentRegistry([ATLAS, GAZETTEER, WRITER])
CHAIN = TaskDAG([task("a"), task("b", "write", "a")])
CHAIN_PLAN = {"a": "atlas", "b": "writer"}


def validate(
    assignments: Mapping[str, str],
    dag: TaskDAG,
    *,
    agents: AgentRegistry = AGENTS,
    profiler: CostProfiler | None = None,
    unassigned: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **limits: Any,
) -> ValidationResult:
    plan = RoutingPlan(assignments=dict(assignments), unassigned=dict(unassigned or {}), metadata=dict(metadata or {}))
    return asyncio.run(AOPValidator(agents, profiler).validate_routing_plan(plan, dag, **limits))


def only_issue(result: ValidationResult, kind: str, severity: str = "error") -> Issue:
    [issue] = result.issues
    assert (issue.kind, issue.severity) == (kind, severity), str(issue)
    assert result.passed == (severity == "warning")
    assert (result.approved is not None) == result.passed
    return issue


def test_a_sound_plan_passes_and_is_approved() -> None:
    result = validate(CHAIN_PLAN, CHAIN, max_budget=2.0, max_time=6.0, min_quality=0.75)
    assert result.passed
    assert result.issues == ()
    assert (result.estimated_cost, result.estimated_time) == (2.0, 6.0)
    assert result.approved is not None
    assert result.approved.assignments == CHAIN_PLAN


def test_an_empty_plan_for_an_empty_graph_passes() -> None:
    result = validate({}, TaskDAG(), max_budget=0.0, min_quality=1.0)
    assert result.passed
    assert result.quality_score == pytest.approx(1.0)


def test_a_task_without_an_agent_is_refused_with_what_the_routing_said() -> None:
    issue = only_issue(validate({"a": "atlas"}, CHAIN, unassigned={"b": "Add an agent."}), "complete")
    assert str(issue) == "error (complete): Task 'b' (write) has no agent. Add an agent."


def test_an_assignment_of_an_unknown_task_is_refused() -> None:
    issue = only_issue(validate({**CHAIN_PLAN, "c": "atlas"}, CHAIN), "complete")
    assert "'c' to 'atlas', but there is no such task" in issue.message


def test_an_agent_that_does_not_exist_is_refused_with_those_that_could() -> None:
    issue = only_issue(validate({"a": "atlsa", "b": "writer"}, CHAIN), "solvable")
    assert issue.task_id == "a"
    assert str(issue).endswith("'atlsa', and there is no such agent. Assign it to atlas or gazetteer.")


def test_an_agent_that_does_not_take_the_type_is_refused() -> None:
    issue = only_issue(validate({"a": "atlas", "b": "atlas"}, CHAIN), "solvable")
    assert "'atlas', which does not take 'write'" in issue.message


def test_an_agent_that_lacks_a_skill_is_refused() -> None:
    skilled = TaskDAG([task("a", requirements=frozenset({"search"}))])
    issue = only_issue(validate({"a": "gazetteer"}, skilled), "solvable")
    assert str(issue).endswith("which lacks 'search'. Assign it to atlas.")


def test_a_task_that_nobody_can_do_names_the_agent_to_add() -> None:
    impossible = TaskDAG([task("a", requirements=frozenset({"magic"}))])
    issue = only_issue(validate({"a": "atlas"}, impossible), "solvable")
    assert issue.way_out == "Add an agent with task_types: [lookup] and skills: [magic]."


def test_the_same_work_twice_is_a_warning_with_the_way_out() -> None:
    twice = TaskDAG([task("a", inputs={"q": "x"}), task("b", inputs={"q": "x"}), task("c", inputs={"q": "y"})])
    issue = only_issue(validate(dict.fromkeys("abc", "atlas"), twice), "redundant", "warning")
    assert issue.task_id == "b"
    assert issue.way_out == "Let what waits for 'b' use 'a', and remove 'b'."


@pytest.mark.parametrize(
    ("first", "second", "is_redundant"),
    [
        ({"description": "Sum up"}, {"description": "sum  up"}, True),
        ({"description": "Sum up"}, {"description": "Translate"}, False),
        ({"description": "Sum up", "inputs": {"t": "x"}}, {"description": "Sum up", "inputs": {"t": "y"}}, False),
        ({"description": "in German", "inputs": {"t": "x"}}, {"description": "in French", "inputs": {"t": "x"}}, False),
        ({"description": "Sum up", "inputs": {"t": "x"}}, {"inputs": {"t": "x"}}, True),
        ({"description": "Sum up"}, {}, False),
        ({}, {}, True),
        ({}, {"depends_on": ("root",)}, False),
        ({"requirements": frozenset({"search"})}, {}, False),
    ],
)
def test_what_counts_as_the_same_work(first: dict[str, Any], second: dict[str, Any], is_redundant: bool) -> None:
    dag = TaskDAG(
        [
            task("root", description="the root"),
            Task(task_id="a", task_type="lookup", **first),
            Task(task_id="b", task_type="lookup", **second),
        ]
    )
    result = validate({"root": "atlas", "a": "atlas", "b": "atlas"}, dag)
    assert [issue.kind for issue in result.issues] == ["redundant"] * is_redundant


def test_a_plan_over_its_budget_is_refused_with_its_dearest_tasks() -> None:
    issue = only_issue(validate({"a": "gazetteer", "b": "writer"}, CHAIN, max_budget=3.5), "budget")
    assert issue.message == "The plan is expected to cost $4, and the budget is $3.5; dearest: a $3, b $1."


@pytest.mark.parametrize(
    ("details", "says"),
    [
        ({"binding": {"max_total_cost": 1.0}, "max_total_cost": 3.5}, "no other choice of agents makes room for less."),
        ({"binding": {"max_total_cost": 1.0}, "is_least": False}, "no time to find out whether less is."),
        ({"status": "unknown", "binding": {}}, "were not found in time, and may be there."),
    ],
)
def test_a_refusal_says_what_is_proven_of_other_choices_of_agents(details: dict[str, object], says: str) -> None:
    metadata = {"optimization_details": {"status": "infeasible", **details}}
    result = validate({"a": "gazetteer", "b": "writer"}, CHAIN, metadata=metadata, max_budget=3.5)
    way_out = only_issue(result, "budget").way_out
    assert way_out.startswith("Raise the budget by $")
    assert way_out.endswith(says)


def test_a_plan_that_costs_exactly_the_budget_passes_despite_rounding() -> None:
    dime = AgentRegistry([agent("dime", "lookup", cost_usd=0.1)])
    dag = TaskDAG([task(f"t{n}", description=str(n)) for n in range(3)])
    assert validate({f"t{n}": "dime" for n in range(3)}, dag, agents=dime, max_budget=0.3).passed


def test_the_optimisers_cost_is_believed_where_there_is_no_profiler() -> None:
    metadata = {"daao_optimized": True, "estimated_cost": 9.0, "optimization_details": {"agent_workload": {"atlas": 1}}}
    dag = TaskDAG([task("a")])
    assert validate({"a": "atlas"}, dag, metadata=metadata).estimated_cost == 9.0
    only_issue(validate({"a": "atlas"}, dag, metadata=metadata, max_budget=5.0), "budget")


@pytest.mark.parametrize("stated", [math.nan, math.inf, -1.0, "free", True])
def test_an_optimisers_cost_that_is_no_amount_is_not_believed(stated: object) -> None:
    metadata = {"daao_optimized": True, "estimated_cost": stated}
    result = validate({"a": "atlas"}, TaskDAG([task("a")]), metadata=metadata)
    assert "no amount" in only_issue(result, "estimate", "warning").message
    assert result.estimated_cost == 1.0


def test_an_optimisers_cost_is_not_believed_for_a_plan_that_was_changed_since() -> None:
    metadata = {"daao_optimized": True, "estimated_cost": 0.1, "optimization_details": {"agent_workload": {"cheap": 1}}}
    result = validate({"a": "atlas"}, TaskDAG([task("a")]), metadata=metadata)
    assert "made for other assignments" in only_issue(result, "estimate", "warning").message
    assert result.estimated_cost == 1.0


def test_with_a_profiler_the_sum_of_its_estimates_decides_and_a_difference_is_noted() -> None:
    metadata = {"daao_optimized": True, "estimated_cost": 0.1}
    result = validate({"a": "atlas"}, TaskDAG([task("a")]), metadata=metadata, profiler=CostProfiler())
    assert "is $0.1, but the estimates of its tasks sum to $1" in only_issue(result, "estimate", "warning").message
    assert result.estimated_cost == 1.0


def test_what_was_learned_counts() -> None:
    profiler = CostProfiler()
    for n in range(40):
        profiler.record_execution(f"t{n}", "atlas", "lookup", 10, 20.0, n % 2 == 0, cost_usd=5.0)
    result = validate({"a": "atlas"}, TaskDAG([task("a")]), profiler=profiler, max_budget=2.0, min_quality=0.8)
    assert {issue.kind for issue in result.errors} == {"budget", "quality"}


def test_a_critical_path_longer_than_the_time_is_refused() -> None:
    issue = only_issue(validate(CHAIN_PLAN, CHAIN, max_time=5.0), "deadline")
    assert issue.message == "The plan is expected to take 6 s along a -> b, and the time is 5 s."


def test_tasks_side_by_side_take_no_longer_than_the_longest() -> None:
    dag = TaskDAG([task(f"t{n}", description=str(n)) for n in range(5)])
    assert validate({f"t{n}": "atlas" for n in range(5)}, dag, max_time=2.0).passed


def test_a_task_that_cannot_be_done_by_its_own_deadline_is_refused() -> None:
    dag = TaskDAG([task("a"), task("b", "write", "a", deadline_s=5.0)])
    issue = only_issue(validate(CHAIN_PLAN, dag), "deadline")
    assert issue.message == "Task 'b' is due after 5 s and expected after 6 s at the earliest."


def test_lateness_that_rests_on_guesses_is_only_a_warning() -> None:
    unknown = AgentRegistry([agent("atlas", "lookup"), WRITER])
    issue = only_issue(validate(CHAIN_PLAN, CHAIN, agents=unknown, max_time=5.0), "deadline", "warning")
    assert "rests on guesses" in issue.message
    only_issue(validate(CHAIN_PLAN, CHAIN, agents=unknown, max_time=3.0), "deadline")  # the writer alone takes 4


def test_more_tasks_at_once_than_an_agent_does_is_only_a_warning() -> None:
    few = AgentRegistry([agent("atlas", "lookup", max_concurrency=2)])
    dag = TaskDAG([task(f"t{n}", description=str(n)) for n in range(3)])
    issue = only_issue(validate({f"t{n}": "atlas" for n in range(3)}, dag, agents=few), "capacity", "warning")
    assert issue.message.startswith("atlas has 3 tasks at level 0 and does 2 at a time")


def test_too_few_expected_successes_are_refused_with_the_weakest_task() -> None:
    issue = only_issue(validate(CHAIN_PLAN, CHAIN, min_quality=0.8), "quality")
    assert issue.task_id == "b"
    assert issue.message.startswith("75.0% of the tasks are expected to succeed, and 80.0% are asked for")


@pytest.mark.parametrize(
    "limits", [{"max_budget": -1}, {"max_budget": math.nan}, {"max_time": "soon"}, {"min_quality": 1.5}]
)
def test_a_malformed_limit_is_refused_by_name(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(limits))):
        validate(CHAIN_PLAN, CHAIN, **limits)


def test_errors_stand_before_warnings() -> None:
    dag = TaskDAG([task("a"), task("b"), task("c", "deploy")])
    result = validate({"a": "atlas", "b": "atlas"}, dag)
    assert [issue.severity for issue in result.issues] == ["error", "warning"]
    assert (len(result.errors), len(result.warnings)) == (1, 1)


def score_of(assignments: Mapping[str, str], dag: TaskDAG = CHAIN) -> float:
    plan = RoutingPlan(assignments=dict(assignments))
    return asyncio.run(AOPValidator(AGENTS)._calculate_quality_score(plan, dag))


def test_the_score_is_the_documented_formula_of_its_four_figures() -> None:
    success = math.sqrt(0.9 * 0.6)
    assert score_of(CHAIN_PLAN) == pytest.approx(0.4 * success + 0.3 * 1 + 0.2 * 1 + 0.1 * 1)
    dearer = math.sqrt(0.8 * 0.6)
    assert score_of({"a": "gazetteer", "b": "writer"}) == pytest.approx(0.4 * dearer + 0.3)


def test_a_task_without_an_able_agent_counts_as_a_failure() -> None:
    validator = AOPValidator(AGENTS)
    plan = RoutingPlan(assignments={"a": "atlas"})
    assert validator._estimate_success_probability(plan, CHAIN) == 0
    assert validator._estimate_quality_score(plan, CHAIN) == 0.5


def test_an_agent_that_takes_any_type_fits_less_than_one_that_names_it() -> None:
    registry = AgentRegistry([agent("named", "lookup"), agent("any", "*")])
    validator, dag = AOPValidator(registry), TaskDAG([task("a")])
    fits = [validator._estimate_quality_score(RoutingPlan(assignments={"a": who}), dag) for who in ("named", "any")]
    assert fits == [1.0, 0.0]


def test_the_learned_model_scores_and_learns_where_it_is_enabled() -> None:
    validator = AOPValidator(AGENTS, enable_learned_model=True)
    assert validator.learned_model is not None
    plan = RoutingPlan(assignments=dict(CHAIN_PLAN))
    assert asyncio.run(validator._calculate_quality_score(plan, CHAIN)) == pytest.approx(score_of(CHAIN_PLAN))
    asyncio.run(validator.record_execution_outcome("a", "lookup", "atlas", 1.0, 0.9, 0.1, 0.1, predicted_score=0.8))
    assert validator.learned_model.get_statistics()["total_outcomes"] == 1


def test_without_the_learned_model_outcomes_are_let_go() -> None:
    validator = AOPValidator(AGENTS)
    asyncio.run(validator.record_execution_outcome("a", "lookup", "atlas", 1.0, 0.9, 0.1, 0.1, predicted_score=0.8))
    assert validator.learned_model is None


registries = st.lists(
    st.builds(
        AgentCapability,
        agent_id=st.sampled_from(["a1", "a2", "a3", "a4"]),
        task_types=st.lists(st.sampled_from(["lookup", "write", "*"]), min_size=1, unique=True).map(tuple),
        cost_usd=st.none() | st.floats(0, 5),
        seconds=st.none() | st.floats(0, 5),
        success_rate=st.floats(0, 1),
    ),
    min_size=1,
    unique_by=lambda one: one.agent_id,
).map(AgentRegistry)


@st.composite
def graphs(draw: st.DrawFn) -> TaskDAG:
    """Graphs of up to six tasks; each may wait for any that come before it."""
    count = draw(st.integers(0, 6))
    return TaskDAG(
        task(
            f"t{n}",
            draw(st.sampled_from(["lookup", "write"])),
            *(f"t{before}" for before in draw(st.sets(st.integers(0, n - 1)) if n else st.just(set()))),
        )
        for n in range(count)
    )


@settings(max_examples=60, deadline=None)
@given(registry=registries, dag=graphs())
def test_every_figure_of_the_score_lies_in_0_to_1(registry: AgentRegistry, dag: TaskDAG) -> None:
    plan = asyncio.run(HALORouter(registry).route_tasks(dag))
    validator = AOPValidator(registry)
    figures = [
        validator._estimate_success_probability(plan, dag),
        validator._estimate_quality_score(plan, dag),
        validator._normalize_cost(plan, dag),
        validator._normalize_time(plan, dag),
        asyncio.run(validator._calculate_quality_score(plan, dag)),
    ]
    assert all(0 <= figure <= 1 + 1e-12 for figure in figures), figures


@settings(max_examples=60, deadline=None)
@given(registry=registries, dag=graphs(), budget=st.none() | st.floats(0, 5))
def test_an_approved_plan_is_solvable_complete_and_within_its_budget(
    registry: AgentRegistry, dag: TaskDAG, budget: float | None
) -> None:
    plan = asyncio.run(HALORouter(registry).route_tasks(dag))
    approved = asyncio.run(AOPValidator(registry).validate_routing_plan(plan, dag, budget)).approved
    if approved is None:
        assert not plan.is_complete or budget is not None
        return
    assert set(approved.assignments) == set(approved.estimates) == set(dag.tasks)
    assert all(registry[approved.assignments[one.task_id]].takes(one) for one in dag)
    assert budget is None or approved.estimated_cost <= budget * (1 + 1e-9)
