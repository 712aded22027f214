"""What the validator expects of a plan is what the optimiser chose it by."""

from __future__ import annotations

import asyncio

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import DAAOOptimizer, OptimizationConstraints, expect_tasks, why_unable
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.routing import RoutingPlan
from kapelle.strategies import Cascade, Check, Single, Strategy, StrategyBook, StrategyEstimate
from kapelle.validation import AOPValidator

AGENTS = AgentRegistry(
    [
        AgentCapability(agent_id="small", task_types=("sum",), cost_usd=0.01),
        AgentCapability(agent_id="large", task_types=("sum",), cost_usd=1.0, skills=frozenset({"algebra"})),
        AgentCapability(agent_id="judge", task_types=("verify",), cost_usd=0.02),
    ]
)
CASCADE = Cascade(cheap="small", check=Check(kind="well_formed"), strong=Single(agent="large"))
BOOK = StrategyBook(
    entries={
        "sum": (
            StrategyEstimate(
                strategy=CASCADE,
                cost_usd=0.2,
                seconds=2,
                quality=0.97,
                quality_lower=0.96,
                quality_sd=0.01,
                samples=300,
            ),
        )
    }
)
DAG = TaskDAG([Task(task_id="t", task_type="sum")])


def experienced() -> CostProfiler:
    profiler = CostProfiler()
    for number in range(200):
        profiler.record_execution("p", "small", "sum", 10, 1.0, number % 3 > 0, cost_usd=0.01)
        profiler.record_execution("p", "large", "sum", 10, 1.0, number % 50 > 0, cost_usd=1.0)
    return profiler


def test_a_strategy_that_pays_is_chosen_approved_and_expected_to_cost_what_was_measured() -> None:
    profiler = experienced()
    optimizer = DAAOOptimizer(profiler, AGENTS, strategies=BOOK)
    limits = OptimizationConstraints(min_quality_score=0.93)
    chosen = asyncio.run(optimizer.optimize_routing_plan({"t": "large"}, DAG, limits))
    assert chosen.strategies == {"t": CASCADE}
    routing = RoutingPlan(assignments=dict(chosen.assignments), strategies=dict(chosen.strategies))
    validator = AOPValidator(AGENTS, profiler, strategies=BOOK)
    result = asyncio.run(validator.validate_routing_plan(routing, DAG, 0.5, min_quality=0.93))
    assert result.approved is not None, result.issues
    assert result.approved.strategy_of("t") == CASCADE
    assert result.estimated_cost == 0.2
    assert set(result.approved.step_estimates["t"]) == {"small", "large"}


def test_a_task_of_high_risk_is_done_by_one() -> None:
    dag = TaskDAG([Task(task_id="t", task_type="sum", risk="high")])
    optimizer = DAAOOptimizer(experienced(), AGENTS, strategies=BOOK)
    limits = OptimizationConstraints(min_quality_score=0.93)
    assert asyncio.run(optimizer.optimize_routing_plan({"t": "large"}, dag, limits)).strategies == {}


def test_who_cannot_do_its_part_is_named() -> None:
    task = Task(task_id="t", task_type="sum", requirements=frozenset({"algebra"}))
    assert why_unable(task, CASCADE, AGENTS) == "'small', which lacks 'algebra'"
    gone: Strategy = Cascade(cheap="large", check=Check(kind="well_formed"), strong=Single(agent="gone"))
    assert why_unable(task, gone, AGENTS) == "'gone', and there is no such agent"
    judged = Cascade(cheap="large", check=Check(kind="verifier", agent="judge"), strong=Single(agent="large"))
    assert why_unable(task, judged, AGENTS) is None


def test_tasks_that_nobody_can_do_are_left_out() -> None:
    assert expect_tasks({"t": Single(agent="judge")}, DAG, AGENTS, CostProfiler()) == {}
