"""What the validator expects of a plan is what the optimiser chose it by."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kapelle import Engine, Plan, SqliteLedger
from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import DAAOOptimizer, OptimizationConstraints, PlanEstimates, why_unable
from kapelle.estimates import CostProfiler, Estimate
from kapelle.graph import Task, TaskDAG
from kapelle.routing import RoutingPlan
from kapelle.strategies import Cascade, Check, Single, Strategy, StrategyBook, StrategyEstimate
from kapelle.testing import ScriptedAgent
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


class Counts(CostProfiler):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, float, str]] = []
        self.calls = 0

    def estimate_all(
        self, agents: Sequence[AgentCapability], tasks: Sequence[tuple[str, float, str]]
    ) -> list[list[Estimate]]:
        self.calls += 1
        self.asked += [(agent.agent_id, *task) for agent in agents for task in tasks]
        return super().estimate_all(agents, tasks)


def graph(*more: Task) -> TaskDAG:
    chain = [Task(task_id=f"t{n}", task_type="sum", depends_on=(f"t{n - 1}",) if n else ()) for n in range(4)]
    return TaskDAG([*chain, *(Task(task_id=f"u{n}", task_type="sum") for n in range(6)), *more])


def test_an_agent_is_estimated_once_for_tasks_that_are_alike() -> None:
    profiler, dag = Counts(), graph()
    estimates = PlanEstimates(profiler, AGENTS, dag)
    for _ in range(3):
        for task in dag:
            assert set(estimates.able(task)) == {"small", "large"}
    assert len(profiler.asked) == len(set(profiler.asked)) == 2 * 4  # four places in the graph that differ
    assert profiler.calls == 1


def test_a_version_estimates_what_is_new_and_nothing_else() -> None:
    profiler, dag = Counts(), graph()
    estimates = PlanEstimates(profiler, AGENTS, dag)
    for task in dag:
        estimates.able(task)
    assert estimates.version(dag) is estimates
    profiler.asked.clear()
    grown = estimates.version(
        graph(Task(task_id="new", task_type="sum", depends_on=("t3",), description="Add them up"))
    )
    for task in grown.dag:
        grown.able(task)
    assert len({complexity for _, _, complexity, _ in profiler.asked}) == 1
    assert len(profiler.asked) == 2


def test_a_plan_is_made_by_one_set_of_figures_and_its_next_version_by_what_was_learned() -> None:
    profiler = CostProfiler()
    estimates = PlanEstimates(profiler, AGENTS, DAG)
    before = estimates.estimate(DAG["t"], "large")
    profiler.record_execution("t", "large", "sum", 10, 1.0, False, cost_usd=1.0)
    assert estimates.estimate(DAG["t"], "large") is before
    assert estimates.version().estimate(DAG["t"], "large").success_rate < before.success_rate


def test_agents_that_may_not_be_given_tasks_are_known_and_no_option() -> None:
    choosable = AgentRegistry([AGENTS["small"]])
    estimates = PlanEstimates(CostProfiler(), AGENTS, DAG, choosable=choosable)
    found = estimates.options(DAG["t"], Single(agent="large"))
    assert [option.agent for option in found] == ["large", "small"]
    assert set(estimates.able(DAG["t"])) == {"small"}
    assert set(PlanEstimates(CostProfiler(), AGENTS, DAG).among(choosable).able(DAG["t"])) == {"small"}


@pytest.mark.parametrize("explore", [0.0, 1.0])
def test_a_run_asks_for_each_estimate_once_to_route_choose_check_and_run(
    explore: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, float, str]] = []
    real = CostProfiler.estimate_all

    def counted(
        self: CostProfiler, agents: Sequence[AgentCapability], tasks: Sequence[tuple[str, float, str]]
    ) -> list[list[Estimate]]:
        asked.extend((agent.agent_id, *task) for agent in agents for task in tasks)
        return real(self, agents, tasks)

    monkeypatch.setattr(CostProfiler, "estimate_all", counted)
    agents = AgentRegistry(AGENTS.values(), runners={name: ScriptedAgent({"sum": 1, "verify": 1}) for name in AGENTS})
    engine = Engine(agents, model="none", ledger=SqliteLedger(), environ={}, explore=explore)
    run = asyncio.run(engine.run(Plan(request="x", graph=graph(), planner="me"), budget_usd=50.0))
    assert run.state == "done"
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) == 2 * 4


class AskedWhy(CostProfiler):
    """Counts how often it is asked what moved an estimate."""

    asked = 0

    def explain(self, capability: AgentCapability, task_type: str, *, text: str = "") -> str:
        self.asked += 1
        return super().explain(capability, task_type, text=text)


def test_what_moved_an_estimate_is_asked_once_for_tasks_alike_also_where_nothing_did() -> None:
    profiler = AskedWhy()
    dag = TaskDAG(Task(task_id=f"t{number}", task_type="work") for number in range(20))
    agents = AgentRegistry([AgentCapability(agent_id="worker", task_types=("work",))])
    estimates = PlanEstimates(profiler, agents, dag)
    assert {estimates.of(task, Single(agent="worker")).why for task in dag} == {""}
    assert profiler.asked == 1
