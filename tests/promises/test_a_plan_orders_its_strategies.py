"""A task that names its agent, or a strategy of several, is done in that way or not at all: in every form of plan, and
whatever the optimiser, the explorer, a fallback or a repair would rather do."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import AgentRegistry, RegisteredAgent
from kapelle.allocation import PlanEstimates
from kapelle.errors import InvalidInput, InvalidPlan, PlanRejected
from kapelle.estimates import CostProfiler
from kapelle.planning import parse_plan, read_plan, write_plan
from kapelle.routing import HALORouter, RoutingPlan
from kapelle.strategies import Cascade, Check, Single, Strategy, Vote, strategy_from_dict
from kapelle.validation import AOPValidator, NextBest

COSTS = {"cheap": 0.01, "same": 0.02, "other": 0.03, "dear": 0.1, "empty": 0.001, "broken": 0.04}
ANSWERS = {"cheap": "Lima", "same": "Lima", "other": "Quito", "dear": "La Paz", "empty": ""}


def staff(asked: list[str]) -> list[RegisteredAgent]:
    """Agents who write down that they were asked; the judge takes other work, and says no."""

    def hire(name: str, types: Iterable[str], cost_usd: float) -> RegisteredAgent:
        @agent(agent_id=name, task_types=list(types), cost_usd=cost_usd, retries=0)
        async def work(task: Task) -> str:
            asked.append(name)
            if name == "broken":
                raise ValueError("out of order")
            return "no" if name == "judge" else ANSWERS[name]

        return work

    return [*(hire(name, ["ask"], cost) for name, cost in COSTS.items()), hire("judge", ["judge"], 0.005)]


def run(plan: Plan | Path, asked: list[str], **options: Any) -> Run:
    terms = {name: options.pop(name) for name in ("budget_usd", "min_quality") if name in options}
    with Engine(staff(asked), model="none", ledger=SqliteLedger(":memory:"), **options) as engine:
        return asyncio.run(engine.run(plan, **terms))


# What stands in the file, who is asked, whose answer is taken, what it is expected to cost at most.
ORDERS: dict[str, tuple[str, Strategy, list[str], str]] = {
    "an agent": ("agent: dear", Single(agent="dear"), ["dear"], "La Paz"),
    "an agent as a strategy": ("strategy: dear", Single(agent="dear"), ["dear"], "La Paz"),
    "a single": ("strategy: {single: other}", Single(agent="other"), ["other"], "Quito"),
    "a vote": ("strategy: {vote: [cheap, same, other]}", Vote(agents=("cheap", "same", "other")),
               ["cheap", "same", "other"], "Lima"),
    "a vote that escalates": ("strategy: {vote: [cheap, other], escalate_to: dear}",
                              Vote(agents=("cheap", "other"), escalate_to=Single(agent="dear")),
                              ["cheap", "other", "dear"], "La Paz"),
    "a cascade that stays": ("strategy: {cascade: {cheap: cheap, check: well_formed, strong: dear}}",
                             Cascade(cheap="cheap", check=Check(kind="well_formed"), strong=Single(agent="dear")),
                             ["cheap"], "Lima"),
    "a cascade that goes on": ("strategy: {cascade: {cheap: empty, check: well_formed, strong: dear}}",
                               Cascade(cheap="empty", check=Check(kind="well_formed"), strong=Single(agent="dear")),
                               ["empty", "dear"], "La Paz"),
    "a cascade with a judge": ("strategy: {cascade: {cheap: cheap, check: {verifier: judge}, strong: dear}}",
                               Cascade(cheap="cheap", check=Check(kind="verifier", agent="judge"),
                                       strong=Single(agent="dear")),
                               ["cheap", "judge", "dear"], "La Paz"),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_a_strategy_from_a_plan_file_is_run_as_it_stands_there(case: str, tmp_path: Path) -> None:
    written, order, who, answer = ORDERS[case]
    (tmp_path / "plan.yaml").write_text(f"tasks:\n- id: t\n  type: ask\n  {written}\n")
    asked: list[str] = []

    found = run(tmp_path / "plan.yaml", asked)

    assert (found.state, found.results, asked) == ("done", {"t": answer}, who)
    assert found.strategies == ({} if isinstance(order, Single) else {"t": found.graph["t"].strategy})  # type: ignore[index]
    assert found.cost_usd == pytest.approx(sum({**COSTS, "judge": 0.005}[name] for name in who))
    assert str(order) in found.explanations["t"]


@pytest.mark.parametrize("case", ORDERS)
def test_every_form_of_plan_says_the_same(case: str) -> None:
    written, order, _, _ = ORDERS[case]
    graph = parse_plan(f"tasks:\n- id: t\n  type: ask\n  {written}\n").graph

    assert strategy_from_dict(graph["t"].strategy) == order
    assert TaskDAG([Task(task_id="t", task_type="ask", strategy=order)]) == graph
    assert parse_plan(write_plan("r", graph)).graph == graph
    assert parse_plan(json.dumps(graph.to_dict()["tasks"]), suffix=".json").graph == graph
    assert parse_plan(graph.to_xml(), suffix=".xml").graph == graph
    if isinstance(order, Single):
        assert (
            parse_plan(f'<graph><node id="t" agent="{order.agent}">ask()</node></graph>', suffix=".xml").graph == graph
        )


@pytest.mark.parametrize("case", ORDERS)
def test_what_it_costs_is_known_before_and_held_against_the_budget(case: str) -> None:
    written, _, who, _ = ORDERS[case]
    named = {"a cascade that stays": ["cheap", "dear"]}.get(case, who)
    most = sum({**COSTS, "judge": 0.005}[name] for name in named)
    plan = parse_plan(f"tasks:\n- id: t\n  type: ask\n  {written}\n")
    with Engine(staff([]), model="none", ledger=SqliteLedger(":memory:")) as engine:
        proposal = asyncio.run(engine.plan(plan))
        tight = asyncio.run(engine.plan(plan, budget_usd=most * 0.9))
        choices = asyncio.run(engine.frontier(proposal))

    assert proposal.validation.estimated_cost == pytest.approx(most)
    assert not [issue for issue in proposal.validation.issues if issue.kind == "estimate"]
    assert [issue.kind for issue in tight.validation.errors] == ["budget"]
    assert [point.cost_usd for point in choices.points] == [pytest.approx(most)]


@pytest.mark.parametrize("options", [{"explore": 1.0}, {"min_quality": 0.8}, {"budget_usd": 5.0}, {"rules": ()}])
def test_nothing_moves_it_elsewhere(options: dict[str, Any]) -> None:
    asked: list[str] = []
    plan = parse_plan("tasks: [{id: t, type: ask, agent: dear}]")

    assert (run(plan, asked, **options).state, asked) == ("done", ["dear"])


@pytest.mark.parametrize("written", ["agent: broken", "strategy: {vote: [broken, empty]}"])
def test_a_failure_goes_to_nobody_else(written: str) -> None:
    asked: list[str] = []

    run(parse_plan(f"tasks: [{{id: t, type: ask, {written}}}]"), asked)

    assert set(asked) <= {"broken", "empty"}


def test_no_fallback_is_chosen_for_an_order() -> None:
    registry = AgentRegistry(
        [one.capability for one in staff([])], runners={one.capability.agent_id: one for one in staff([])}
    )
    task = Task(task_id="t", task_type="ask")
    known = PlanEstimates(CostProfiler(), registry, TaskDAG([task]))

    assert NextBest().choose_fallback(task, {"broken"}, known) is not None
    assert NextBest().choose_fallback(Task(task_id="t", task_type="ask", strategy="broken"), {"broken"}, known) is None


REFUSED = [
    ("agent: nobody", "'nobody', and there is no such agent. Name one that takes 'ask': cheap, same"),
    ("agent: judge", "'judge', which does not take 'ask'. Name one that takes 'ask'"),
    ("strategy: {vote: [cheap, nobody]}", "'nobody', and there is no such agent"),
    ("strategy: {vote: [cheap, judge]}", "'judge', which does not take 'ask'"),
    ("strategy: {vote: [cheap, same], escalate_to: nobody}", "'nobody'"),
    ("strategy: {cascade: {cheap: cheap, check: {verifier: nobody}, strong: dear}}", "'nobody'"),
    ("agent: dear\n  requires: [latin]", "'dear', which lacks 'latin'"),
    ("risk: high\n  strategy: {vote: [cheap, same]}", "high risk is never done by several. Name one agent"),
]


@pytest.mark.parametrize(("written", "said"), REFUSED)
def test_an_order_that_nobody_can_follow_is_refused_with_file_task_and_the_way_out(
    written: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "plan.yaml").write_text(f"tasks:\n- id: t\n  type: ask\n  {written}\n")
    asked: list[str] = []

    with pytest.raises(PlanRejected) as caught:
        run(tmp_path / "plan.yaml", asked)

    for words in (said, "Task 't'", str(tmp_path / "plan.yaml")):
        assert words in str(caught.value)
    assert asked == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("strategy: {cascade: {cheap: a, check: nice, strong: b}}", "there is no check 'nice'. Use one of well_formed"),
        ("strategy: {cascade: {cheap: a, check: verifier, strong: b}}", "names the agent that judges"),
        ("strategy: {vote: [a]}", "min_agreement"),
        ("strategy: {best: a}", "no strategy"),
        ("agent: 7", "tasks[0].agent: input should be a valid string"),
        ("agent: a\n  strategy: b", "names an agent and a strategy. Keep one."),
    ],
)
def test_what_is_no_order_is_refused_with_its_line(written: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(f"tasks:\n- id: t\n  type: ask\n  {written}\n")

    with pytest.raises(InvalidPlan) as caught:
        read_plan(tmp_path / "plan.yaml")

    assert str(caught.value).startswith(f"{tmp_path / 'plan.yaml'}, line ")
    assert said in str(caught.value)


def test_whoever_routed_the_plan_the_validator_approves_the_order_alone() -> None:
    registry = AgentRegistry(one.capability for one in staff([]))
    order = Vote(agents=("dear", "other"))
    graph = TaskDAG([Task(task_id="t", task_type="ask", strategy=order)])
    validator = AOPValidator(registry)

    result = asyncio.run(validator.validate_routing_plan(RoutingPlan(assignments={"t": "cheap"}), graph))
    mended = asyncio.run(validator.repair(RoutingPlan(assignments={"t": "cheap"}), graph, max_budget=0.02))

    assert result.approved is not None
    assert result.approved.strategy_of("t") == order
    assert not mended.result.passed  # cheaper is not what was ordered


def test_a_router_that_knows_no_orders_is_held_to_them() -> None:
    class Careless(HALORouter):
        async def route_tasks(self, dag: TaskDAG, *arguments: Any, **options: Any) -> RoutingPlan:
            return RoutingPlan(assignments=dict.fromkeys(dag.tasks, "cheap"))

    asked: list[str] = []
    with Engine(staff(asked), model="none", ledger=SqliteLedger(":memory:")) as engine:
        engine.router = Careless(engine.router.agent_registry)
        asyncio.run(engine.run(parse_plan("tasks: [{id: t, type: ask, strategy: {vote: [dear, other]}}]")))

    assert asked == ["dear", "other"]


@pytest.mark.parametrize("give", [lambda: Single(agent="dear"), lambda: "dear", lambda: {"single": "dear"}])
def test_in_python_a_strategy_stands_where_an_agents_name_does(give: Callable[[], Any]) -> None:
    asked: list[str] = []
    graph = TaskDAG([dataclasses.replace(Task(task_id="t", task_type="ask"), strategy=give())])

    run(Plan(request="r", graph=graph, planner="me"), asked)

    assert asked == ["dear"]


def test_a_strategy_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Task 't': strategy is a object"):
        Task(task_id="t", task_type="ask", strategy=object())
