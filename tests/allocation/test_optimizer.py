from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import DAAOOptimizer, OptimizationConstraints, OptimizedPlan
from kapelle.errors import InvalidAgents, InvalidInput
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.routing import HALORouter, RoutingPlan
from kapelle.strategies import StrategyEstimate
from kapelle.strategies.strategy import Cascade, Check, Single, Strategy, Vote, agents_of

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
    with caplog.at_level(logging.DEBUG, logger="kapelle.daao_optimizer"):
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


# Quality as a bound


def experienced(**records: tuple[int, int]) -> CostProfiler:
    """A profiler that saw each agent succeed so many times of so many, the failures evenly among them."""
    profiler = CostProfiler()
    for name, (successes, count) in records.items():
        for number in range(count):
            success = (number + 1) * successes // count > number * successes // count
            cost_usd = 1.0 if name == "safe" else 0.1
            profiler.record_execution("past", name, "test", 0, 10.0, success, cost_usd=cost_usd)
    return profiler


def test_two_of_two_is_no_proof_where_another_agent_has_one() -> None:
    new, proven = agent("new", 0.1), agent("proven", 0.1)
    daao = optimizer(new, proven, profiler=experienced(new=(2, 2), proven=(97, 100)))
    plan = optimize(daao, all_to("new"), min_quality_score=0.9)
    assert plan.assignments == all_to("proven")
    assert 0.9 <= plan.quality_lower < plan.quality_score
    assert "quality_note" not in plan.optimization_details


def test_where_nobody_is_proven_a_plan_may_begin_and_says_so() -> None:
    plan = optimize(optimizer(CHEAP), all_to("cheap"), min_quality_score=0.85)
    assert plan.optimization_details["status"] == "optimal"
    assert plan.quality_lower < 0.85 <= plan.quality_score
    note = plan.optimization_details["quality_note"]
    assert "'t0' (cheap: 90% expected," in note
    assert "never tried" in note


def test_with_a_confidence_nothing_counts_but_what_is_proven() -> None:
    details = optimize(optimizer(CHEAP), all_to("cheap"), min_quality_score=0.85, confidence=0.9).optimization_details
    assert details["status"] == "infeasible"
    assert details["binding"]["min_quality_score"] == pytest.approx(0.85 - details["quality_lower"], abs=2e-3)
    assert "lower bound" in details["binding_note"]
    assert "'t0' (cheap: 90% expected," in details["binding_note"]
    assert "`confidence`, or let outcomes come in" in details["binding_note"]


def test_more_confidence_lowers_the_bound() -> None:
    daao = optimizer(CHEAP, profiler=experienced(cheap=(45, 50)))
    bounds = [
        optimize(daao, all_to("cheap"), min_quality_score=0.0, confidence=confidence).quality_lower
        for confidence in (0.5, 0.8, 0.9, 0.99)
    ]
    assert bounds == sorted(bounds, reverse=True)
    assert optimize(daao, all_to("cheap")).quality_lower == pytest.approx(bounds[2], abs=0.01)


def test_an_agent_that_declares_to_be_perfect_is_not_believed_before_it_was_tried() -> None:
    boaster = agent("boaster", 0.1, success_rate=1.0)
    plan = optimize(optimizer(boaster), all_to("boaster"), min_quality_score=0.0)
    assert plan.quality_lower < 0.7 < plan.quality_score


def test_one_task_may_ask_for_more_than_the_plan() -> None:
    daao = optimizer(CHEAP, SAFE, profiler=experienced(cheap=(75, 100), safe=(100, 100)))
    plan = optimize(daao, all_to("cheap"), min_quality_score=0.5, min_task_quality={"t1": 0.9})
    assert plan.assignments == {"t0": "cheap", "t1": "safe", "t2": "cheap"}
    every = optimize(daao, all_to("cheap"), min_quality_score=0.5, min_task_quality=0.9)
    assert every.assignments == all_to("safe")


def test_a_task_whose_quality_nobody_reaches_is_named_with_what_is_missing() -> None:
    daao = optimizer(CHEAP, profiler=experienced(cheap=(50, 100)))
    details = optimize(daao, all_to("cheap"), min_task_quality={"t1": 0.9}).optimization_details
    assert details["status"] == "infeasible"
    missing = details["binding"]["task_quality[t1]"]
    assert 0.4 < missing < 0.5
    assert details["binding"] == {"task_quality": missing, "task_quality[t1]": missing}


def test_a_quality_nobody_asked_for_gives_way_to_limits_that_somebody_did() -> None:
    daao = optimizer(agent("sloppy", 0.01, success_rate=0.5), CHEAP)
    plan = optimize(daao, all_to("cheap"), agent_capacity={"cheap": 2})
    assert plan.optimization_details["status"] == "optimal"
    assert plan.optimization_details["agent_workload"] == {"cheap": 2, "sloppy": 1}
    assert "gives way" in plan.optimization_details["quality_note"]


def test_proven_work_does_not_move_to_agents_of_whom_less_is_known() -> None:
    unknown = agent("unknown", 0.01, success_rate=0.95)
    daao = optimizer(CHEAP, unknown, profiler=experienced(cheap=(270, 300)))
    assert optimize(daao, all_to("cheap")).assignments == all_to("cheap")
    assert optimize(daao, all_to("cheap"), min_quality_score=0.0).assignments == all_to("unknown")


# Pins


def test_pinned_tasks_keep_their_agents_whatever_that_costs() -> None:
    plan = optimize(optimizer(), all_to("safe"), pinned=["t1"])
    assert plan.assignments == {"t0": "cheap", "t1": "safe", "t2": "cheap"}
    limits = OptimizationConstraints(pinned=["t1"])
    more = asyncio.run(optimizer().optimize_routing_plan(all_to("safe"), CHAIN, limits, pinned=["t2"]))
    assert more.assignments == {"t0": "cheap", "t1": "safe", "t2": "safe"}


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"pinned": ["t9"]}, "pinned names the task 't9', but it is not in the graph"),
        ({"pinned": ["t2"]}, "pinned names the task 't2', but the plan gives it to nobody"),
        ({"pinned": "t1"}, "pinned is 't1'"),
        ({"min_task_quality": {"t9": 0.5}}, "min_task_quality names the task 't9'"),
        ({"min_task_quality": {"t1": math.nan}}, r"min_task_quality\['t1'\] is nan"),
        ({"min_task_quality": 1.5}, "min_task_quality is 1.5"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"confidence": 0.2}, "confidence is 0.2"),
    ],
)
def test_limits_that_cannot_be_are_named(bad: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        optimize(optimizer(), {"t0": "safe", "t1": "safe"}, **bad)


# Strategies


class Book:
    """A source of strategies that knows one type of task."""

    def __init__(self, *estimates: StrategyEstimate) -> None:
        self.estimates = estimates

    def for_task(self, task_type: str, agents: Collection[str]) -> Sequence[StrategyEstimate]:
        return [one for one in self.estimates if set(agents_of(one.strategy)) <= set(agents)]


def judged(strategy: Strategy, cost_usd: float, quality: float, *, lower: float | None = None) -> StrategyEstimate:
    return StrategyEstimate(
        strategy=strategy,
        cost_usd=cost_usd,
        seconds=10.0,
        quality=quality,
        quality_lower=quality - 0.02 if lower is None else lower,
        quality_sd=0.01,
        samples=500,
    )


VOTE = Vote(agents=("cheap", "twin"), escalate_to=Single(agent="safe"))
TWIN = agent("twin", 0.1)


def with_book(*estimates: StrategyEstimate, agents: tuple[AgentCapability, ...] = (CHEAP, TWIN, SAFE)) -> DAAOOptimizer:
    profiler = experienced(cheap=(70, 100), twin=(70, 100), safe=(99, 100))
    return DAAOOptimizer(profiler, AgentRegistry(agents), strategies=Book(*estimates))


def test_a_strategy_that_is_as_good_as_the_best_agent_for_less_is_chosen_and_says_why() -> None:
    plan = optimize(with_book(judged(VOTE, 0.4, 0.97)), all_to("safe"), min_quality_score=0.9)
    assert plan.strategies == dict.fromkeys(CHAIN.tasks, VOTE)
    assert plan.assignments == all_to("cheap"), "the first one asked"
    assert plan.estimated_cost == pytest.approx(1.2)
    told = plan.optimization_details["strategies"]["t1"]
    assert told["says"] == "cheap + twin if agree, else safe"
    assert told["instead_of"] == "safe"
    assert told["expected_saving"] == pytest.approx(0.6)
    assert json.loads(json.dumps(told["strategy"])) == {
        "vote": {"agents": ["cheap", "twin"], "min_agreement": 2, "escalate_to": {"single": "safe"}}
    }


def test_a_strategy_that_does_not_pay_or_is_not_proven_good_is_left() -> None:
    dear = optimize(with_book(judged(VOTE, 2.0, 0.97)), all_to("safe"), min_quality_score=0.9)
    lucky = optimize(with_book(judged(VOTE, 0.4, 0.97, lower=0.5)), all_to("safe"), min_quality_score=0.9)
    assert dear.strategies == lucky.strategies == {}
    assert dear.assignments == lucky.assignments == all_to("safe")


def test_a_strategy_needs_all_its_agents_registered_and_able() -> None:
    book = judged(VOTE, 0.4, 0.97)
    other_trade = AgentCapability(agent_id="twin", task_types=("sql",), cost_usd=0.1)
    for agents in ((CHEAP, SAFE), (CHEAP, SAFE, other_trade)):
        plan = optimize(with_book(book, agents=agents), all_to("safe"), min_quality_score=0.9)
        assert plan.strategies == {}


def test_a_verifier_need_not_take_the_task_it_judges() -> None:
    judge = AgentCapability(agent_id="judge", task_types=("verify",), cost_usd=0.01)
    cascade = Cascade(cheap="cheap", check=Check(kind="verifier", agent="judge"), strong=Single(agent="safe"))
    daao = with_book(judged(cascade, 0.4, 0.97), agents=(CHEAP, SAFE, judge))
    assert optimize(daao, all_to("safe"), min_quality_score=0.9).strategies["t0"] == cascade


def test_a_strategy_needs_a_place_with_everyone_it_may_ask() -> None:
    daao = with_book(judged(VOTE, 0.4, 0.97))
    plan = optimize(daao, all_to("safe"), min_quality_score=0.9, agent_capacity={"twin": 2})
    assert sorted(plan.strategies.values(), key=str) == [VOTE, VOTE]
    assert sorted(plan.assignments.values()) == ["cheap", "cheap", "safe"]


def test_figures_from_other_tasks_are_brought_to_the_scale_of_those_at_hand() -> None:
    # On the log everything cost a tenth of what it costs here.
    parts = [judged(Single(agent=name), cost, 0.9) for name, cost in (("cheap", 0.01), ("twin", 0.01), ("safe", 0.1))]
    plan = optimize(with_book(judged(VOTE, 0.04, 0.97), *parts), all_to("safe"), min_quality_score=0.0)
    assert plan.strategies == {}, "two cents would be the cheapest, ten times as much is not"
    found = optimize(with_book(judged(VOTE, 0.04, 0.97)), all_to("safe"), min_quality_score=0.0)
    assert found.strategies == dict.fromkeys(CHAIN.tasks, VOTE)


def test_replanning_carries_strategies_and_learns_of_each_agent_apart() -> None:
    daao = with_book(judged(VOTE, 0.4, 0.97))
    limits = OptimizationConstraints(min_quality_score=0.9)
    plan = asyncio.run(daao.optimize_routing_plan(all_to("safe"), CHAIN, limits))
    whole = {"tokens_used": 0, "execution_time": 8.0, "success": True, "cost_usd": 0.2}
    each = {"tokens_used": 0, "execution_time": 8.0, "success": True, "cost_usd": 0.1}
    metrics = {"t0": {**whole, "by_agent": {"cheap": each, "twin": each}}}
    after = asyncio.run(daao.replan_from_feedback(plan, CHAIN, ["t0"], metrics, limits))
    assert after.strategies == plan.strategies
    assert after.attempts["t0"].cost_usd == 0.2
    counts = [daao.cost_profiler.get_profile(name, "test") for name in ("cheap", "twin", "safe")]
    assert [profile.total_executions for profile in counts if profile is not None] == [101, 101, 100]
    asyncio.run(daao.replan_from_feedback(after, CHAIN, ["t0"], metrics, limits))
    assert daao.cost_profiler.get_statistics()["total_executions"] == 302


def test_what_a_strategy_used_in_all_says_nothing_of_one_of_its_agents() -> None:
    daao = with_book(judged(VOTE, 0.4, 0.97))
    limits = OptimizationConstraints(min_quality_score=0.9)
    plan = asyncio.run(daao.optimize_routing_plan(all_to("safe"), CHAIN, limits))
    metrics = {"t0": {"tokens_used": 0, "execution_time": 8.0, "success": True, "cost_usd": 1.2}}
    after = asyncio.run(daao.replan_from_feedback(plan, CHAIN, ["t0"], metrics, limits))
    assert daao.cost_profiler.get_statistics()["total_executions"] == 300
    assert after.estimated_cost == pytest.approx(1.2 + 2 * 0.4)
    wrong = {"t1": {**metrics["t0"], "by_agent": {"stranger": metrics["t0"]}}}
    with pytest.raises(InvalidInput, match="by_agent'\\] names 'stranger'"):
        asyncio.run(daao.replan_from_feedback(plan, CHAIN, ["t1"], wrong, limits))


def test_a_finished_task_of_an_agent_that_vanished_needs_its_metrics() -> None:
    metrics = {"t0": {"tokens_used": 0, "execution_time": 1.0, "success": True, "cost_usd": 0.2}}
    plan = {"t0": "gone", "t1": "safe", "t2": "safe"}
    replanned = asyncio.run(optimizer().replan_from_feedback(plan, CHAIN, ["t0"], metrics))
    assert replanned.assignments == {"t0": "gone", "t1": "cheap", "t2": "cheap"}
    with pytest.raises(InvalidAgents, match=r"'t0' was finished by 'gone'.* Give its metrics"):
        asyncio.run(optimizer().replan_from_feedback(plan, CHAIN, ["t0"], {}))


def test_where_nobody_was_tried_what_is_declared_decides_and_a_greater_claim_is_no_proof() -> None:
    modest, boaster = agent("modest", 0.1, success_rate=0.6), agent("boaster", 0.5, success_rate=0.99)
    daao = optimizer(modest, boaster)
    assert optimize(daao, all_to("boaster"), min_quality_score=0.5).assignments == all_to("modest")
    assert optimize(daao, all_to("modest"), min_quality_score=0.95).assignments == all_to("boaster")
