from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import Any

import pytest

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.cost import CostProfiler, DAAOOptimizer, OptimizationConstraints, OptimizedPlan
from kapelle.errors import InvalidAgents, InvalidInput
from kapelle.graph import Task, TaskDAG
from kapelle.routing import HALORouter, RoutingPlan

CHAIN = TaskDAG([Task(task_id=f"t{i}", task_type="test", depends_on=(f"t{i - 1}",) if i else ()) for i in range(3)])
WIDE = TaskDAG([Task(task_id=f"t{i}", task_type="test") for i in range(3)])


def agent(agent_id: str, cost_usd: float, seconds: float = 10.0, success_rate: float = 0.9) -> AgentCapability:
    return AgentCapability(
        agent_id=agent_id, task_types=("test",), cost_usd=cost_usd, seconds=seconds, success_rate=success_rate
    )


CHEAP, FAST, SAFE = agent("cheap", 0.1), agent("fast", 0.5, seconds=1.0), agent("safe", 1.0, success_rate=1.0)


def optimizer(*agents: AgentCapability, profiler: CostProfiler | None = None) -> DAAOOptimizer:
    return DAAOOptimizer(profiler or CostProfiler(), AgentRegistry(agents or (CHEAP, FAST, SAFE)))


def optimize(
    daao: DAAOOptimizer, plan: RoutingPlan | Mapping[str, str], dag: TaskDAG = CHAIN, **limits: Any
) -> OptimizedPlan:
    return asyncio.run(daao.optimize_routing_plan(plan, dag, OptimizationConstraints(**limits)))


def all_to(agent_id: str, dag: TaskDAG = CHAIN) -> dict[str, str]:
    return dict.fromkeys(dag.tasks, agent_id)


def test_tasks_move_to_the_cheapest_agent_that_is_good_enough() -> None:
    plan = optimize(optimizer(), all_to("safe"))
    assert plan.assignments == all_to("cheap")
    assert plan.estimated_cost == pytest.approx(0.3)
    assert plan.estimated_time == 30.0
    assert plan.cost_savings == pytest.approx(2.7)
    details = plan.optimization_details
    assert (details["status"], details["solver"], details["gap"]) == ("optimal", "trivial", 0.0)
    assert (details["baseline_cost"], details["savings_pct"]) == (3.0, pytest.approx(90.0))
    assert (details["agent_workload"], details["completed_tasks"]) == ({"cheap": 3}, 0)


@pytest.mark.parametrize(
    "limits", [{"min_quality_score": 0.93}, {"max_total_time": 25.0}, {"agent_capacity": {"cheap": 2}}]
)
def test_a_limit_moves_one_task_and_no_more(limits: dict[str, Any]) -> None:
    plan = optimize(optimizer(), all_to("cheap"), **limits)
    moved = plan.optimization_details["moved_tasks"]
    assert len(moved) == 1
    assert plan.optimization_details["status"] == "optimal"
    assert plan.optimization_details["missed"] == {}
    assert plan.cost_savings < 0


def test_time_is_that_of_the_critical_path() -> None:
    side_by_side = optimize(optimizer(), all_to("safe", WIDE), WIDE, max_total_time=12.0)
    assert side_by_side.assignments == all_to("cheap", WIDE)
    in_a_row = optimize(optimizer(), all_to("safe"), max_total_time=12.0)
    assert sorted(in_a_row.assignments.values()) == ["cheap", "fast", "fast"]
    assert (side_by_side.estimated_time, in_a_row.estimated_time) == (10.0, 12.0)


def test_among_free_agents_the_better_then_the_faster_then_the_initial_wins() -> None:
    agents = [agent("a", 0, 5.0, 0.8), agent("b", 0, 5.0, 0.9), agent("c", 0, 3.0, 0.9), agent("d", 0, 3.0, 0.9)]
    assert optimize(optimizer(*agents), all_to("a")).assignments == all_to("c")
    assert optimize(optimizer(*agents), all_to("d")).assignments == all_to("d")


def test_without_a_quality_asked_for_none_is_lost_below_what_is_taken_for_granted() -> None:
    sloppy = agent("sloppy", 0.01, success_rate=0.5)
    assert optimize(optimizer(sloppy, CHEAP), all_to("cheap")).quality_score >= 0.85
    assert optimize(optimizer(sloppy, CHEAP), all_to("sloppy")).assignments == all_to("sloppy")
    assert optimize(optimizer(sloppy, CHEAP), all_to("cheap"), min_quality_score=0.0).assignments == all_to("sloppy")


def test_agents_of_which_nothing_is_known_satisfy_the_documented_quality() -> None:
    unknown = AgentCapability(agent_id="new", task_types=("*",))
    assert (
        optimize(optimizer(unknown), all_to("new"), min_quality_score=0.85).optimization_details["status"] == "optimal"
    )


def test_only_agents_that_take_the_task_get_it_but_the_initial_one_may_keep_it() -> None:
    dag = TaskDAG([Task(task_id="t", task_type="test", requirements=frozenset({"sql"}))])
    able = AgentCapability(agent_id="able", task_types=("test",), skills=frozenset({"sql"}), cost_usd=0.7)
    daao = optimizer(CHEAP, FAST, able)
    assert optimize(daao, {"t": "fast"}, dag).assignments == {"t": "fast"}
    assert optimize(daao, {"t": "able"}, dag).assignments == {"t": "able"}


def test_what_was_learned_beats_what_was_declared() -> None:
    profiler = CostProfiler()
    for _ in range(20):
        profiler.record_execution("t", "cheap", "test", 0, 10.0, False, cost_usd=0.1)
    plan = optimize(optimizer(profiler=profiler), all_to("cheap"), min_quality_score=0.7)
    assert plan.assignments == all_to("fast")


def test_limits_that_no_plan_keeps_leave_the_plan_and_name_what_binds() -> None:
    plan = optimize(optimizer(), all_to("safe"), max_total_cost=0.2, min_quality_score=0.5)
    details = plan.optimization_details
    assert (plan.assignments, details["status"]) == (all_to("safe"), "infeasible")
    assert details["binding"] == {"max_total_cost": pytest.approx(0.1)}
    assert details["missed"] == {"max_total_cost": pytest.approx(2.8)}
    assert plan.cost_savings == 0


def test_limits_that_exclude_each_other_each_say_how_much_they_must_give() -> None:
    details = optimize(optimizer(), all_to("safe"), max_total_cost=0.3, max_total_time=3.0).optimization_details
    assert details["status"] == "infeasible"
    assert details["binding"] == {"max_total_cost": pytest.approx(1.2), "max_total_time": pytest.approx(27.0)}


def test_an_empty_plan_is_fine() -> None:
    plan = optimize(optimizer(), {}, TaskDAG([]), max_total_cost=0.0)
    assert (plan.assignments, plan.estimated_cost, plan.optimization_details["status"]) == ({}, 0.0, "empty")


def test_tasks_that_nobody_does_stay_unassigned() -> None:
    plan = RoutingPlan(assignments={"t0": "safe"}, unassigned={"t1": "no agent takes it", "t2": "neither"})
    optimized = optimize(optimizer(), plan)
    assert optimized.assignments == {"t0": "cheap"}
    assert optimized.quality_score == 0.9


def test_an_unknown_task_and_a_vanished_agent_are_named() -> None:
    with pytest.raises(InvalidInput, match="'t9', which is not in the graph"):
        optimize(optimizer(), {"t9": "safe"})
    with pytest.raises(InvalidAgents, match=r"'t1' is assigned to 'gone'.*cheap, fast, safe"):
        optimize(optimizer(), {"t0": "safe", "t1": "gone"})


@pytest.mark.parametrize("name", ["max_total_cost", "max_total_time", "min_quality_score", "agent_capacity"])
@pytest.mark.parametrize("bad", [math.nan, -1, "much"])
def test_a_malformed_limit_is_named(name: str, bad: Any) -> None:
    malformed: dict[str, Any] = {name: {"cheap": bad} if name == "agent_capacity" else bad}
    with pytest.raises(InvalidInput, match=name):
        OptimizationConstraints(**malformed)


def test_replanning_keeps_finished_tasks_and_moves_the_rest() -> None:
    daao = optimizer()
    first = optimize(daao, all_to("safe"))
    metrics = {"t0": {"tokens_used": 10, "execution_time": 18.0, "success": True, "cost_usd": 0.2}}
    constraints = OptimizationConstraints(max_total_time=30.0)
    plan = asyncio.run(daao.replan_from_feedback(first, CHAIN, ["t0"], metrics, constraints))
    assert plan.assignments["t0"] == "cheap"
    assert sorted([plan.assignments["t1"], plan.assignments["t2"]]) == ["fast", "fast"]
    assert plan.estimated_time == 20.0
    assert plan.optimization_details["completed_tasks"] == 1
    profile = daao.cost_profiler.get_profile("cheap", "test")
    assert profile is not None
    assert profile.avg_cost_usd == 0.2


def test_money_that_is_gone_counts_against_the_limit() -> None:
    daao = optimizer()
    metrics = {"t0": {"tokens_used": 0, "execution_time": 1.0, "success": True, "cost_usd": 5.0}}
    constraints = OptimizationConstraints(max_total_cost=1.0)
    plan = asyncio.run(daao.replan_from_feedback(all_to("fast"), CHAIN, ["t0"], metrics, constraints))
    assert plan.optimization_details["status"] == "infeasible"
    assert plan.optimization_details["binding"]["max_total_cost"] == pytest.approx(4.2)


def test_a_failed_attempt_costs_and_the_task_stays_open() -> None:
    daao = optimizer()
    failed = {"t0": {"tokens_used": 0, "execution_time": 4.0, "success": False, "cost_usd": 0.25}}
    plan = asyncio.run(daao.replan_from_feedback(all_to("fast"), CHAIN, [], failed))
    assert plan.estimated_cost == pytest.approx(0.25 + 3 * 0.1)
    assert plan.optimization_details["completed_tasks"] == 0


def test_metrics_that_are_given_again_are_learned_from_once() -> None:
    daao = optimizer()
    metrics = {"t0": {"tokens_used": 10, "execution_time": 18.0, "success": True}}
    plan = asyncio.run(daao.replan_from_feedback(all_to("safe"), CHAIN, ["t0"], metrics))
    metrics["t1"] = {"tokens_used": 10, "execution_time": 9.0, "success": True}
    plan = asyncio.run(daao.replan_from_feedback(plan, CHAIN, ["t0", "t1"], metrics))
    assert daao.cost_profiler.get_statistics()["total_executions"] == 2
    assert plan.estimated_time == pytest.approx(18.0 + 9.0 + 10.0, abs=1.5)


@pytest.mark.parametrize(
    ("completed", "metrics", "complaint"),
    [
        (["t9"], {}, "'t9' is reported"),
        ([], {"t0": {"tokens_used": 1, "success": True}}, "lacks 'execution_time'"),
        ([], {"t0": {"tokens_used": math.nan, "execution_time": 1, "success": True}}, "'tokens_used'"),
        ([], {"t0": {"tokens_used": 1, "execution_time": 1, "success": "yes"}}, "'success'"),
        ([], {"t0": {"tokens": 1, "tokens_used": 1, "execution_time": 1, "success": True}}, "has 'tokens'"),
    ],
)
def test_malformed_feedback_is_named_and_nothing_is_learned(
    completed: list[str], metrics: dict[str, Any], complaint: str
) -> None:
    daao = optimizer()
    with pytest.raises(InvalidInput, match=complaint):
        asyncio.run(daao.replan_from_feedback(all_to("safe"), CHAIN, completed, metrics))
    assert daao.cost_profiler.get_statistics()["total_executions"] == 0


def test_the_documented_log_lines_appear(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="kapelle.cost"):
        optimize(optimizer(), all_to("safe"))
    assert "Optimizing routing plan: 3 tasks" in caplog.text
    assert "Baseline metrics: cost=$3.0000, time=30.0s" in caplog.text
    assert "Task t0 complexity: 1.0x" in caplog.text
    assert "Optimization complete: saved $2.7000 (90%)" in caplog.text


def test_the_documented_pipeline_works() -> None:
    dag = TaskDAG([Task(task_id="task1", task_type="implement", description="Build feature")])
    dag.add_task(Task(task_id="task2", task_type="test", depends_on=("task1",)))
    profiler = CostProfiler()
    profiler.record_execution(
        task_id="task1",
        agent_name="builder_agent",
        task_type="implement",
        tokens_used=850_000,
        execution_time_seconds=12.0,
        success=True,
        cost_tier="medium",
    )
    registry = HALORouter().agent_registry
    daao = DAAOOptimizer(cost_profiler=profiler, agent_registry=registry)
    router = HALORouter(
        agent_registry=registry, enable_cost_optimization=True, cost_profiler=profiler, daao_optimizer=daao
    )
    constraints = OptimizationConstraints(max_total_cost=10.0, max_total_time=300.0, min_quality_score=0.85)
    plan = asyncio.run(router.route_tasks(dag=dag, optimization_constraints=constraints))
    assert plan.metadata["daao_optimized"] is True
    assert plan.metadata["estimated_cost"] <= plan.metadata["baseline_cost"]


def test_a_plan_too_large_to_wait_for_is_still_within_its_limits() -> None:
    agents = [agent(f"a{i}", 0.1 + 0.05 * i, seconds=30.0 / (1 + i), success_rate=0.7 + 0.01 * i) for i in range(20)]
    tasks = [Task(task_id=f"t{i}", task_type="test", depends_on=(f"t{i - 8}",) if i >= 8 else ()) for i in range(80)]
    dag = TaskDAG(tasks)
    daao = DAAOOptimizer(CostProfiler(), AgentRegistry(agents), gap=0.01)
    plan = optimize(daao, all_to("a19", dag), dag, max_total_time=60.0, min_quality_score=0.8)
    assert plan.optimization_details["missed"] == {}
    assert plan.optimization_details["gap"] <= 0.01
    assert plan.estimated_cost < plan.optimization_details["baseline_cost"]
