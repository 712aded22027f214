"""A version of a plan is routed once and validated once: the first one, the rest of a run, what a graph grows into."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.budget import Budget
from kapelle.engine.preparation import Version, first_version, grown_version, rest_version
from kapelle.errors import InvalidInput
from kapelle.limits import RunLimits
from kapelle.routing import RoutedPlan, RoutedTask, RoutingRule


class Worker:
    """Does everything; the task `grow` becomes two."""

    def __init__(self) -> None:
        self.fails = False

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        if task.task_type == "grow":
            parts = [Task(task_id="x", task_type="work"), Task(task_id="y", task_type="work", depends_on=("x",))]
            return AgentResult(output=None, expansion=TaskDAG(parts))
        if self.fails:
            raise ValueError("no")
        return AgentResult(output=task.task_id)


class Watched:
    """An engine of which every routing and every validation is counted, with the tasks that it was about."""

    def __init__(self, names: tuple[str, ...] = ("one",), rules: list[RoutingRule] | None = None) -> None:
        self.worker = Worker()
        cards = [AgentCapability(agent_id=name, task_types=("work", "grow"), cost_usd=0.01) for name in names]
        registry = AgentRegistry(cards, runners=dict.fromkeys(names, self.worker))
        self.engine = Engine(registry, model="none", ledger=SqliteLedger(), environ={}, rules=rules)
        self.routed: list[list[str]] = []
        self.validated: list[list[str]] = []
        route, validate = self.engine.router.route_tasks, self.engine.validator.validate_routing_plan

        async def route_tasks(dag: TaskDAG, *rest: Any, **options: Any) -> Any:
            self.routed.append(sorted(dag.tasks))
            return await route(dag, *rest, **options)

        async def validate_routing_plan(routing: Any, dag: TaskDAG, *rest: Any, **options: Any) -> Any:
            self.validated.append(sorted(dag.tasks))
            return await validate(routing, dag, *rest, **options)

        engine: Any = self.engine  # what is asked of it is counted
        engine.router.route_tasks, engine.validator.validate_routing_plan = route_tasks, validate_routing_plan


def plan_of(*tasks: Task) -> Plan:
    return Plan(request="x", graph=TaskDAG(tasks), planner="me")


PAIR = (Task(task_id="a", task_type="work"), Task(task_id="b", task_type="work", depends_on=("a",)))


@pytest.fixture
def watched() -> Iterator[Watched]:
    one = Watched()
    yield one
    one.engine.close()


def test_a_run_routes_and_validates_its_plan_once(watched: Watched) -> None:
    assert asyncio.run(watched.engine.run(plan_of(*PAIR))).state == "done"
    assert (watched.routed, watched.validated) == ([["a", "b"]], [["a", "b"]])


def test_a_plan_that_is_only_looked_at_is_prepared_as_a_run_is(watched: Watched) -> None:
    proposal = asyncio.run(watched.engine.plan(plan_of(*PAIR)))
    assert (watched.routed, watched.validated) == ([["a", "b"]], [["a", "b"]])
    run = asyncio.run(watched.engine.run(plan_of(*PAIR)))
    assert proposal.routing.assignments == run.assignments
    assert run.graph is not None
    assert proposal.approved.estimates.keys() == run.graph.tasks.keys()


def test_what_a_graph_grows_by_is_routed_alone_and_validated_with_the_rest(watched: Watched) -> None:
    plan = plan_of(Task(task_id="grow", task_type="grow"), Task(task_id="z", task_type="work", depends_on=("grow",)))
    assert asyncio.run(watched.engine.run(plan)).state == "done"
    assert watched.routed == [["grow", "z"], ["grow-x", "grow-y"]]
    assert watched.validated == [["grow", "z"], ["grow-x", "grow-y", "z"]]


def test_a_run_that_goes_on_routes_nothing_whose_agents_are_there(watched: Watched) -> None:
    watched.worker.fails = True
    run = asyncio.run(watched.engine.run(plan_of(*PAIR)))
    watched.routed.clear()
    watched.validated.clear()
    watched.worker.fails = False
    assert asyncio.run(watched.engine.resume(run.run_id)).state == "done"
    assert (watched.routed, watched.validated) == ([], [["a", "b"]])


def test_a_task_whose_agent_is_gone_gets_another_one_when_its_run_goes_on() -> None:
    first = Watched(("one", "two"), [RoutingRule(rule_id="mine", task_types=("work",), agent_id="two")])
    first.worker.fails = True
    run = asyncio.run(first.engine.run(plan_of(*PAIR)))
    assert set(run.assignments.values()) == {"two"}
    second = Watched(("one",))
    second.engine.ledger = first.engine.ledger
    run = asyncio.run(second.engine.resume(run.run_id))
    assert (run.state, second.routed, second.validated) == ("done", [["a", "b"]], [["a", "b"]])


def test_a_refused_plan_of_the_users_is_validated_once_and_not_mended(watched: Watched) -> None:
    with pytest.raises(InvalidInput):
        asyncio.run(watched.engine.run(plan_of(*PAIR), budget_usd=0.001))
    assert watched.validated == [["a", "b"]]


# What a version is held to


def test_the_first_version_has_to_fit_into_what_planning_leaves() -> None:
    budget = Budget(usd=1.0)
    budget.commit(budget.reserve(usd=0.25))
    version = first_version(plan_of(*PAIR), RunLimits(budget_usd=1.0, min_quality=0.5), budget, is_given=False)
    assert (version.choosing.left_usd, version.limits.left_usd, version.limits.min_quality) == (0.75, 0.75, 0.5)
    assert version.covers == "x"
    assert first_version(plan_of(*PAIR), RunLimits(), budget, is_given=True).covers is None


@pytest.mark.parametrize(
    ("limits", "explores"), [({}, True), ({"deadline_s": 9}, False), ({"min_quality": 0.5}, False)]
)
def test_nothing_is_explored_under_a_deadline_or_for_a_quality(limits: dict[str, Any], explores: bool) -> None:
    version = first_version(plan_of(*PAIR), RunLimits(**limits), Budget(), is_given=False, run_id="r1")
    assert (version.explores_as == "r1") is explores


def test_the_rest_of_a_run_is_not_held_against_its_budget_once_more(watched: Watched) -> None:
    run = asyncio.run(watched.engine.run(plan_of(*PAIR)))
    version = rest_version(run, RoutedPlan(), frozenset(), RunLimits(budget_usd=1.0, deadline_s=5.0), Budget(usd=1.0))
    assert (version.choosing.left_usd, version.choosing.deadline_s) == (1.0, None)
    assert version.limits == RunLimits()


def test_new_tasks_may_cost_what_those_ahead_leave_and_all_what_is_left_and_gone(watched: Watched) -> None:
    current = asyncio.run(watched.engine.plan(plan_of(*PAIR))).approved
    grown = TaskDAG([*PAIR, Task(task_id="c", task_type="work")])
    version = grown_version(grown, current, {"a"}, RunLimits(budget_usd=1.0, deadline_s=5.0), 0.50, {"one"})
    assert version.choosing.left_usd == pytest.approx(0.50 - 0.01)  # b is still to be paid
    assert version.limits.left_usd == pytest.approx(0.50 + 0.01)  # a has been paid
    assert (sorted(version.known.tasks), list(version.unassigned.tasks)) == (["a", "b"], ["c"])
    gone = grown_version(grown, current, {"a"}, RunLimits(), 0.50, able=())
    assert gone.finished == {"a"}


def test_tasks_without_an_agent_stand_alone() -> None:
    needs = Task(task_id="c", task_type="work", depends_on=("a",), inputs={"of": "{b.answer}"})
    plan = plan_of(*PAIR, needs)
    known = RoutedPlan(tasks={name: RoutedTask(agent="one") for name in ("a", "b")})
    version = Version(plan=plan, known=known, choosing=RunLimits())
    alone = version.unassigned["c"]
    assert (alone.dependencies, dict(alone.inputs)) == ((), {})
    assert Version(plan=plan, choosing=RunLimits()).unassigned is plan.graph
