"""Graphs that grow while they run, on a virtual clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from kapelle.agents import AgentRegistry, AgentResult, TaskContext
from kapelle.budget import Budget
from kapelle.errors import (
    ContentRefused,
    InvalidGraph,
    ModelRefused,
    ModelReplyInvalid,
    ModelUnavailable,
    PlanRejected,
    QuotaExceeded,
    ReplyCut,
)
from kapelle.estimates import CostProfiler
from kapelle.execution import ExecutionResult, Executor, GraphChanges, GrowthLimits
from kapelle.execution.growth import grow
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal, Run, SqliteLedger
from kapelle.routing import HALORouter
from kapelle.testing import ScriptedAgent, VirtualClock
from kapelle.validation import AOPValidator, ApprovedPlan


def work(task_id: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type=fields.pop("task_type", "work"), depends_on=after, **fields)


class Approver:
    """Routes and validates the grown graph whole; remembers what it was asked."""

    def __init__(self, registry: AgentRegistry) -> None:
        self._registry = registry
        self.begun: list[frozenset[str]] = []

    async def approve(self, dag: TaskDAG, current: ApprovedPlan | None, begun: Collection[str]) -> ApprovedPlan:
        self.begun.append(frozenset(begun))
        routing = await HALORouter(self._registry).route_tasks(dag)
        result = await AOPValidator(self._registry, CostProfiler()).validate_routing_plan(routing, dag)
        if result.approved is None:
            raise PlanRejected(result.errors)
        return result.approved


class Anew:
    """Plans the work of a failed task anew, as scripted."""

    def __init__(self, *subgraphs: TaskDAG | None) -> None:
        self._subgraphs = list(subgraphs)
        self.asked: list[tuple[str, str]] = []

    async def replan(self, task: Task, reason: str, context: TaskContext) -> AgentResult | None:
        self.asked.append((task.task_id, reason))
        subgraph = self._subgraphs.pop(0)
        return None if subgraph is None else AgentResult(output=None, expansion=subgraph, cost_usd=0.01)


def execute(
    tasks: Sequence[Task],
    outputs: Mapping[str, Any],
    *,
    replanner: Anew | None = None,
    limits: GrowthLimits | None = None,
    budget: Budget | None = None,
) -> tuple[ExecutionResult, Run]:
    agent, clock = ScriptedAgent(outputs, seconds=1), VirtualClock()
    registry = AgentRegistry([agent.card("worker", "work")], runners={"worker": agent})

    async def whole() -> tuple[ExecutionResult, Run]:
        dag, approver = TaskDAG(tasks), Approver(registry)
        journal = Journal(SqliteLedger(clock=clock), "r1")
        journal.write("run_started", {"request": "test"})
        journal.write("run_planned", {"graph": dag.to_dict(), "planner": "test"})
        plan = await approver.approve(dag, None, ())
        journal.write("run_approved", {"estimates": {}, "issues": []})
        growth = GraphChanges(
            approver=approver, replanner=replanner, replanning_cost_usd=0.05, limits=limits or GrowthLimits()
        )
        ending = await Executor(registry, timer=clock).execute(plan, journal, budget=budget or Budget(), growth=growth)
        return ending, journal.run()

    return clock.run(whole())


def expand(*tasks: Task) -> AgentResult:
    return AgentResult(output=None, expansion=TaskDAG(tasks))


def states(run: Run) -> dict[str, str]:
    return {task_id: task.state for task_id, task in run.tasks.items()}


def test_a_task_that_expands_is_replaced_by_its_tasks() -> None:
    ending, run = execute(
        [work("a"), work("b", inputs={"all": "{a}"})],
        {"a": expand(work("x"), work("y"), work("z", "x")), "a-z": "Z", "a-y": "Y"},
    )
    assert states(run) == {"a-x": "done", "a-y": "done", "a-z": "done", "b": "done"}
    assert run.graph is not None
    assert run.graph["b"].inputs == {"all": ["{a-y}", "{a-z}"]}
    assert (ending.state, run.replaced["a"].state, run.graph.version) == ("done", "expanded", 2)


def test_new_tasks_may_use_what_came_before_their_compound() -> None:
    ending, run = execute(
        [work("a"), work("b", "a"), work("c", "b")],
        {"b": expand(work("x"), work("y", "x", inputs={"text": "{x}"})), "a": "A"},
    )
    assert ending.state == "done"
    assert run.graph is not None
    assert run.graph.dependencies("b-x") == ("a",)
    assert run.graph["b-y"].inputs == {"text": "{b-x}"}


def test_two_tasks_that_expand_at_once_both_grow() -> None:
    ending, run = execute(
        [work("a"), work("b"), work("c", "a", "b")], {"a": expand(work("x")), "b": expand(work("x"), work("y"))}
    )
    assert ending.state == "done"
    assert set(run.tasks) == {"a-x", "b-x", "b-y", "c"}


def test_a_planner_that_always_expands_ends_at_the_depth_limit() -> None:
    ending, run = execute([work("a")], {"work": expand(work("a"))}, limits=GrowthLimits(max_depth=3))
    assert ending.state == "failed"
    assert "is 3 expansions deep, and expands again" in (ending.stop_reason or "")
    assert len(run.replaced) == 3


def test_an_expansion_that_is_too_large_is_refused_and_the_rest_goes_on() -> None:
    ending, run = execute(
        [work("a"), work("b")], {"a": expand(*(work(f"x{n}") for n in range(20)))}, limits=GrowthLimits(max_tasks=10)
    )
    assert states(run) == {"a": "failed", "b": "done"}
    assert "at most 10 are allowed" in (ending.stop_reason or "")


def test_an_expansion_that_nobody_can_do_fails_its_task_only() -> None:
    _, run = execute([work("a"), work("b")], {"a": expand(work("x", task_type="fly"))})
    assert states(run) == {"a": "failed", "b": "done"}
    assert "refused" in (run.tasks["a"].reason or "")


def test_a_failed_task_is_planned_anew_in_its_place() -> None:
    anew = Anew(TaskDAG([work("other"), work("way", "other")]))
    ending, run = execute(
        [work("a"), work("b", inputs={"text": "{a}"})], {"a": ValueError("no page"), "a-way": "found"}, replanner=anew
    )
    assert anew.asked == [("a", "ValueError: no page")]
    assert states(run) == {"a-other": "done", "a-way": "done", "b": "done"}
    assert (ending.state, run.planning_cost_usd, run.replaced["a"].state) == ("done", 0.01, "failed")


def test_a_task_is_planned_anew_so_often_and_no_more() -> None:
    anew = Anew(*(TaskDAG([work("again")]) for _ in range(5)))
    ending, run = execute(
        [work("a"), work("b", "a"), work("c")],
        {"a": ValueError("1"), "a-again": ValueError("2"), "a-again-again": ValueError("3")},
        replanner=anew,
        limits=GrowthLimits(max_replans=2),
    )
    assert [task_id for task_id, _ in anew.asked] == ["a", "a-again"]
    assert run.planning_cost_usd == 0.02
    assert states(run) == {"a-again-again": "failed", "b": "skipped", "c": "done"}
    assert ending.state == "partial"


def test_where_there_is_no_other_way_the_failure_stands() -> None:
    _, run = execute([work("a"), work("b", "a")], {"a": ValueError("no")}, replanner=Anew(None))
    assert states(run) == {"a": "failed", "b": "skipped"}


def test_planning_anew_that_comes_to_nothing_is_paid_and_told() -> None:
    anew, budget = Anew(TaskDAG([work("x", task_type="fly")])), Budget(usd=1.0)
    _, run = execute([work("a"), work("b", "a")], {"a": ValueError("no")}, replanner=anew, budget=budget)
    assert states(run) == {"a": "failed", "b": "skipped"}
    assert run.cost_usd == budget.spent.usd == 0.01


def test_counts_in_a_plan_files_metadata_are_not_believed() -> None:
    odd = work("a", metadata={"depth": "shallow", "replans": -50})
    ending, _ = execute([odd], {"a": expand(work("x"))})
    assert ending.state == "done"


def test_a_run_changes_its_graph_so_often_and_no_more() -> None:
    ending, _ = execute(
        [work(f"t{n}") for n in range(4)], {"work": expand(work("x"))}, limits=GrowthLimits(max_changes=2, max_depth=1)
    )
    assert "lets it change no more" in (ending.stop_reason or "")


def test_a_budget_that_is_used_up_plans_nothing_anew() -> None:
    anew = Anew(TaskDAG([work("x")]))
    execute([work("a")], {"a": ValueError("no")}, replanner=anew, budget=Budget(usd=0.01))
    assert anew.asked == []


def test_siblings_go_on_while_a_failed_task_is_planned_anew() -> None:
    ending, run = execute(
        [work("a"), work("b"), work("c", "b"), work("d", "c")],
        {"a": ValueError("no")},
        replanner=Anew(TaskDAG([work("x")])),
    )
    assert ending.state == "done"
    assert run.seconds is None
    assert set(run.tasks) == {"a-x", "b", "c", "d"}


def test_growth_never_edits_the_graph_in_place() -> None:
    dag = TaskDAG([work("a"), work("b", "a")])
    grown = grow(dag, dag["a"], TaskDAG([work("x")]), GrowthLimits())
    assert (set(dag.tasks), set(grown.tasks), grown.version) == ({"a", "b"}, {"a-x", "b"}, dag.version + 1)
    assert grown["a-x"].metadata == {"depth": 1, "parent": "a", "replans": 0}


def test_an_empty_expansion_is_refused() -> None:
    dag = TaskDAG([work("a")])
    with pytest.raises(InvalidGraph, match="to nothing"):
        grow(dag, dag["a"], TaskDAG(), GrowthLimits())


def test_a_report_over_what_grew_is_written_without_what_failed() -> None:
    report = work("report", "a", metadata={"needs": "some"})
    _, run = execute([work("a"), report], {"a": expand(work("x"), work("y")), "a-x": ValueError("no page")})
    assert states(run) == {"a-x": "failed", "a-y": "done", "report": "done"}


def test_a_report_waits_for_work_that_is_planned_anew() -> None:
    report = work("report", "a", "b", metadata={"needs": "some"})
    anew = Anew(TaskDAG([work("other")]))
    _, run = execute([work("a"), work("b"), report], {"a": ValueError("no")}, replanner=anew)
    assert states(run) == {"a-other": "done", "b": "done", "report": "done"}


@pytest.mark.parametrize(
    "error",
    [
        ModelRefused("no such key"),
        QuotaExceeded("the credit is used up"),
        ContentRefused("declined"),
        ReplyCut("cut at its limit", cost_usd=0.1),
        ModelReplyInvalid("empty"),
        ModelUnavailable("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_another_plan_would_not_mend_is_not_planned_anew(error: Exception) -> None:
    anew = Anew(TaskDAG([work("other")]))
    _, run = execute([work("a")], {"a": error}, replanner=anew)
    assert (anew.asked, states(run), run.planning_cost_usd) == ([], {"a": "failed"}, 0.0)


@pytest.mark.parametrize("again", [{"description": "find  IT"}, {"description": "other words", "inputs": {"q": "x"}}])
def test_a_new_plan_that_asks_for_the_same_once_more_is_none(again: dict[str, Any]) -> None:
    first = {"description": "Find it", **({"inputs": {"q": "x"}} if "inputs" in again else {})}
    anew = Anew(TaskDAG([work("again", **again)]))
    _, run = execute([work("a", **first)], {"a": ValueError("no page")}, replanner=anew)
    assert (states(run), run.planning_cost_usd) == ({"a": "failed"}, 0.01)
