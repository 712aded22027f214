"""In which order tasks start: what is rehearsed is what happens, and no rule that was looked at is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.makespan import Known
from kapelle.agents import AgentRegistry
from kapelle.budget import Budget
from kapelle.execution import Executor
from kapelle.execution import start_order as rules
from kapelle.execution.start_order import StartOrder, choose_start_order
from kapelle.graph import Schedule, Task, TaskDAG, schedule_list
from kapelle.ledger import Journal
from kapelle.routing import HALORouter
from kapelle.testing import ScriptedAgent, VirtualClock
from kapelle.validation import AOPValidator, ApprovedPlan


def work(task_id: str, *after: str, task_type: str = "work", **fields: Any) -> Task:
    return Task(task_id=task_id, task_type=task_type, description=task_id, depends_on=after, **fields)


def plan_for(
    clock: VirtualClock, tasks: Sequence[Task], seconds: Mapping[str, float], places: int, doubt: float = 1.0
) -> tuple[ApprovedPlan, ScriptedAgent, AgentRegistry]:
    agent = ScriptedAgent(seconds=seconds)
    cards = [agent.card("worker", "work", max_concurrency=places), agent.card("other", "other", max_concurrency=1)]
    registry = AgentRegistry(cards, runners={"worker": agent, "other": agent})
    dag = TaskDAG(tasks)

    async def approve() -> ApprovedPlan:
        routing = await HALORouter(registry).route_tasks(dag)
        found = await AOPValidator(registry, Known(seconds, doubt)).validate_routing_plan(routing, dag)
        assert found.approved is not None, found.issues
        return found.approved

    return clock.run(approve()), agent, registry


def order_of(
    tasks: Sequence[Task], seconds: Mapping[str, float], places: int = 2, doubt: float = 1.0, **more: Any
) -> StartOrder:
    return choose_start_order(plan_for(VirtualClock(), tasks, seconds, places, doubt)[0], **more)


def rehearsed(plan: ApprovedPlan, order: StartOrder) -> Schedule:
    """Return the schedule of the order that was chosen."""
    names = list(plan.dag.tasks)
    edges, machines = rules._edges(plan.dag, names), rules._machines(plan, names)
    ranked = sorted(range(len(names)), key=lambda node: order.ranks[names[node]])
    return schedule_list(ranked, **edges, seconds=[plan.estimates[name].seconds for name in names], machines=machines)


ANOMALY = [work("a"), work("b"), work("c", "a"), work("d"), work("e", "a", "d"), work("f")]
TIMES = {"a": 2.0, "b": 3.0, "c": 4.0, "d": 5.0, "e": 4.0, "f": 4.0}
"""With two places the longest path first takes 12, a barrier after each level 11, and nothing less."""


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Task], dict[str, float], int]:
    count = draw(st.integers(1, 14))
    before = [draw(st.sets(st.integers(0, node - 1), max_size=3)) if node else set[int]() for node in range(count)]
    tasks = [
        work(
            f"t{node}",
            *(f"t{one}" for one in sorted(before[node])),
            task_type=draw(st.sampled_from(("work", "work", "other"))),
            priority=draw(st.sampled_from((0, 0, 0, 1))),
        )
        for node in range(count)
    ]
    return tasks, {f"t{node}": float(draw(st.integers(0, 9))) for node in range(count)}, draw(st.integers(1, 4))


@given(one=plans())
@settings(max_examples=60, deadline=None)
def test_a_run_starts_its_tasks_when_they_start_in_the_rehearsal(
    one: tuple[list[Task], dict[str, float], int],
) -> None:
    clock = VirtualClock()
    plan, agent, registry = plan_for(clock, *one)
    order = choose_start_order(plan, is_told=True)
    clock = VirtualClock()
    executor = Executor(registry, timer=clock)
    ending = clock.run(executor.execute(plan, Journal(None, "r1"), budget=Budget()))
    expected = rehearsed(plan, order)
    assert ending.state == "done"
    assert [agent.started[name] for name in plan.dag.tasks] == pytest.approx(expected.starts)
    assert clock() == pytest.approx(expected.seconds) == pytest.approx(order.seconds)
    assert agent.most_at_once <= one[2] + 1  # of the worker, and the other's


@given(one=plans(), doubt=st.sampled_from((1.0, 3.0)))
@settings(max_examples=60, deadline=None)
def test_no_rule_that_was_compared_takes_less_than_the_one_that_was_chosen(
    one: tuple[list[Task], dict[str, float], int], doubt: float
) -> None:
    order = order_of(*one, doubt, is_told=True)
    assert order.seconds is not None
    assert all(order.seconds <= took * (1 + 1e-6) for took in order.compared.values())
    assert order == order_of(*one, doubt, is_told=True)  # and a run is repeatable


@given(one=plans(), over=st.sets(st.integers(0, 13)))
@settings(max_examples=30, deadline=None)
def test_the_rest_of_a_plan_is_ordered_as_if_it_were_all(
    one: tuple[list[Task], dict[str, float], int], over: set[int]
) -> None:
    tasks, seconds, places = one
    gone: set[str] = set()
    for task in tasks:  # what is over has all that it waited for behind it
        if int(task.task_id[1:]) in over and gone.issuperset(task.dependencies):
            gone.add(task.task_id)
    left = [replace(task, depends_on=tuple(one for one in task.dependencies if one not in gone)) for task in tasks]
    rest, alone = [task for task in left if task.task_id not in gone], order_of(tasks, seconds, places, over=gone)
    if rest:
        fresh = order_of(rest, seconds, places)
        assert (alone.rule, alone.seconds) == (fresh.rule, fresh.seconds)
        names = [task.task_id for task in rest]
        assert sorted(names, key=alone.ranks.__getitem__) == sorted(names, key=fresh.ranks.__getitem__)


def test_where_the_longest_path_first_is_slower_than_a_barrier_after_each_level_another_rule_is_taken() -> None:
    order = order_of(ANOMALY, TIMES)
    assert (order.rule, order.seconds, order.compared["longest path"]) == ("level by level", 11.0, 12.0)
    told = "level by level, which takes 11.0 s with the places that agents have; longest path 12.0 s"
    assert order.explain().startswith(told)


@pytest.mark.parametrize("places", [1, 6])
def test_nothing_is_compared_where_no_other_order_is_faster(places: int) -> None:
    order = order_of(ANOMALY, TIMES, places)
    assert (order.rule, order.compared) == ("longest path", {})
    assert (order.seconds, order.matters) == {1: (22.0, True), 6: (9.0, False)}[places]
    assert bool(order.explain()) == order.matters


def test_of_tasks_that_take_the_same_as_far_as_anybody_knows_the_longest_path_goes_first() -> None:
    order = order_of(ANOMALY, dict.fromkeys(TIMES, 10.0), doubt=4.0)
    assert (order.rule, order.compared) == ("longest path", {})


def test_a_deadline_decides_and_nothing_is_compared() -> None:
    order = order_of([*ANOMALY[:5], work("f", deadline_s=3.5)], TIMES)
    assert (order.rule, order.seconds) == ("latest start", None)
    assert min(order.ranks, key=lambda name: order.ranks[name]) == "f"


def test_what_an_urgent_task_waits_for_goes_first_by_any_rule() -> None:
    order = order_of([*ANOMALY, work("slow"), work("vip", "slow", priority=2)], {**TIMES, "slow": 1.0, "vip": 1.0})
    assert sorted(order.ranks, key=lambda name: order.ranks[name])[:2] == ["slow", "vip"]


def test_of_more_tasks_than_may_be_compared_the_longest_path_goes_first() -> None:
    order = order_of(ANOMALY, TIMES, most_compared=5)
    assert (order.rule, order.seconds, order.explain()) == ("longest path", None, "longest path first")
    assert sorted(order.ranks, key=lambda name: order.ranks[name])[:2] == ["d", "a"]


def test_comparing_is_a_bounded_number_of_rehearsals(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(order: Sequence[int], *more: Any) -> Schedule:
        calls.append(len(order))
        return schedule_list(order, *more)

    monkeypatch.setattr(rules, "schedule_list", counted)
    order_of(ANOMALY, TIMES, doubt=2.0)
    assert len(calls) <= 4 + 2 * rules.DRAWS  # and two packings from the end


def test_paths_that_are_nearly_as_long_go_in_the_plans_order() -> None:
    tasks = [work(f"t{number}") for number in range(40)]
    seconds = {task.task_id: 10.0 + number * 1e-4 for number, task in enumerate(tasks)}
    order = order_of(tasks, seconds, 4)
    by_rank = sorted(order.ranks, key=lambda name: order.ranks[name])
    assert by_rank == [task.task_id for task in tasks]


@pytest.mark.parametrize("seconds", [0.0, 5e-324, 1e-300, 1e308])
def test_odd_times_give_an_order_like_any(seconds: float) -> None:
    times = {name: seconds * (1 if name == "f" else 0.9) for name in TIMES}
    order = order_of(ANOMALY, times, is_told=True)
    assert sorted(order.ranks) == sorted(TIMES)
    assert sorted(order.ranks, key=lambda name: order.ranks[name])[0] in "ad"


def test_a_plan_of_which_nothing_is_left_has_an_order() -> None:
    order = order_of(ANOMALY, TIMES, over=frozenset(TIMES))
    assert (order.seconds, order.matters) == (0.0, False)
