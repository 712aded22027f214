"""The cap of a run holds for agents whose price nobody knows, or knows wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle import Engine, Plan, SqliteLedger, agent
from kapelle.agents import AgentResult
from kapelle.budget import Budget
from kapelle.errors import AgentFailed, AskPerson, TryAgain
from kapelle.execution import ExecutionLimits, HedgePolicy, RetryPolicy
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Run, Usage
from kapelle.testing import ScriptedAgent, VirtualClock
from tests.execution.test_executor import execute, states, work

ONCE = ExecutionLimits(retry=RetryPolicy(max_attempts=1))


def paid(*costs: float | None) -> Callable[[Any, Any], AgentResult]:
    """Return an output whose cost is the next of these; the last one again and again."""
    left = list(costs)

    def output(task: Any, context: Any) -> AgentResult:
        return AgentResult(output="done", cost_usd=left.pop(0) if len(left) > 1 else left[0])

    return output


def wide(count: int) -> list[Any]:
    return [work(f"t{number}") for number in range(count)]


def started_beyond(run: Run, cap: float) -> int:
    """Count the starts after the dollars that ended work had cost had reached the cap."""
    spent, late = 0.0, 0
    for event in run.events:
        late += event.kind == "task_started" and spent >= cap
        spent += event.data.get("cost_usd", 0.0) if event.kind in ("task_finished", "task_failed") else 0.0
    return late


def test_tasks_start_one_at_a_time_until_a_cost_was_told() -> None:
    agent = ScriptedAgent({"work": paid(0.40)}, seconds=1)
    ending, run = execute(wide(10), agent, budget=Budget(usd=0.50), clock=VirtualClock())
    assert run.cost_usd == pytest.approx(0.40)
    assert (ending.state, len(agent.tasks)) == ("stopped", 1)


def test_after_that_what_was_seen_is_set_aside_and_more_run_at_once() -> None:
    agent = ScriptedAgent({"work": paid(0.01)}, seconds=1)
    ending, run = execute(wide(40), agent, budget=Budget(usd=1.0))
    assert ending.state == "done"
    assert run.cost_usd == pytest.approx(0.40)
    assert agent.most_at_once == 10
    assert [task for task, start in agent.started.items() if start < 2] == ["t0", "t1", "t2"]


def test_an_agent_that_never_tells_a_cost_starts_slowly_too() -> None:
    agent = ScriptedAgent({"work": paid(None)}, seconds=1)
    ending, _ = execute(wide(15), agent, budget=Budget(usd=1.0))
    assert ending.state == "done"
    assert sorted(agent.started.values())[:3] == [0, 1, 1]


def test_a_question_is_no_answer_that_tells_what_one_costs() -> None:
    agent = ScriptedAgent({"work": AskPerson("Which one?")}, seconds=1)
    ending, _ = execute(wide(4), agent, budget=Budget(usd=1.0))
    assert ending.state == "waiting"
    assert agent.most_at_once == 1


def test_without_a_cap_nobody_waits() -> None:
    agent = ScriptedAgent({"work": paid(0.40)}, seconds=1)
    execute(wide(10), agent)
    assert agent.most_at_once == 10


@pytest.mark.parametrize("declared", [0.0, 0.04])
def test_a_declared_price_that_is_too_low_is_believed_once(declared: float) -> None:
    agent = ScriptedAgent({"work": paid(0.40)}, seconds=1)
    budget = Budget(usd=1.0)
    _, run = execute(
        [work("a"), *(work(f"t{number}", "a") for number in range(9))], agent, budget=budget, cost_usd=declared
    )
    assert run.cost_usd == pytest.approx(0.80)
    assert started_beyond(run, 1.0) == 0


def test_so_many_start_on_a_price_that_nobody_confirmed_as_fit_if_it_is_wrong_by_ten() -> None:
    agent = ScriptedAgent({"work": paid(0.10)}, seconds=1)
    _, run = execute(wide(60), agent, budget=Budget(usd=0.36), cost_usd=0.01, max_concurrency=60)
    assert list(agent.started.values()) == [0, 0, 0]
    assert run.cost_usd <= 0.36 + 0.10


def test_what_began_before_its_price_proved_too_low_counts_at_what_was_seen_since() -> None:
    seconds = {f"t{number}": 1.0 + number / 100 for number in range(60)}
    agent = ScriptedAgent({"work": paid(0.01)}, seconds=seconds)
    _, run = execute(wide(60), agent, budget=Budget(usd=0.36), cost_usd=0.001, max_concurrency=60)
    assert run.cost_usd <= 0.36 + 0.01


def test_a_price_that_was_confirmed_holds_nobody_up() -> None:
    agent = ScriptedAgent({"work": paid(0.01)}, seconds=1)
    execute(wide(30), agent, budget=Budget(usd=0.36), cost_usd=0.01, max_concurrency=60)
    assert sum(start == 1 for start in agent.started.values()) == 27


@pytest.mark.parametrize("reservation", [0.0, 0.04])
def test_nothing_starts_once_the_cap_is_spent(reservation: float) -> None:
    agent = ScriptedAgent({"a": paid(0.60), "work": paid(0.10)})
    _, run = execute(
        [work("a"), *(work(f"t{n}", "a") for n in range(5))], agent, budget=Budget(usd=0.5), cost_usd=reservation
    )
    assert states(run) == {"a": "done", **{f"t{n}": "skipped" for n in range(5)}}


def test_what_is_known_to_cost_nothing_still_runs_when_the_cap_is_spent() -> None:
    agent = ScriptedAgent({"work": paid(0.0)})
    budget = Budget(usd=0.5)
    budget.commit(budget.reserve(), usd=0.5)
    ending, _ = execute(wide(3), agent, budget=budget, cost_usd=0.0)
    assert ending.state == "done"


def test_a_budget_of_nothing_lets_free_agents_work() -> None:
    ending, _ = execute(wide(3), ScriptedAgent({"work": paid(0.0)}), budget=Budget(usd=0.0), cost_usd=0.0)
    assert ending.state == "done"


@given(
    costs=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=30),
    cap=st.floats(0.01, 3.0),
    declared=st.none() | st.floats(0.0, 1.0),
    failing=st.sets(st.integers(0, 29)),
)
@settings(max_examples=150, deadline=None)
def test_whatever_tasks_cost_none_starts_beyond_the_cap(
    costs: list[float], cap: float, declared: float | None, failing: set[int]
) -> None:
    def output(task: Any, context: Any) -> AgentResult:
        number = int(task.task_id[1:])
        if number in failing:
            raise AgentFailed("no", cost_usd=costs[number])
        return AgentResult(output="done", cost_usd=costs[number])

    agent = ScriptedAgent({"work": output}, seconds={f"t{n}": float(n % 3) for n in range(30)})
    budget = Budget(usd=cap)
    _, run = execute(wide(len(costs)), agent, budget=budget, limits=ONCE, cost_usd=declared)
    if any(costs):
        assert started_beyond(run, cap) == 0 or not any(event.data.get("cost_usd") for event in run.events)
    assert budget.reserved.usd == 0
    assert run.cost_usd == pytest.approx(budget.spent.usd, abs=1e-6)
    if declared is None:  # one more than had ended well may be under way, and each takes two dollars at most
        assert run.cost_usd <= cap + 2.0 * (1 + len(costs) // 2)


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (TryAgain("broke off", sent=True), 0.05),
        (TryAgain("broke off", cost_usd=0.0146, usage=Usage(input_tokens=1000, calls=1)), 0.0146),
        (TryAgain("refused", sent=False), 0.0),
        (AgentFailed("unreadable", sent=True), 0.05),
        (AgentFailed("unreadable", sent=True, usage=Usage(input_tokens=7, calls=1)), 0.05),
        (AgentFailed("refused", sent=False), 0.0),
        (AgentFailed("paid", cost_usd=0.02), 0.02),
        (ValueError("a bug"), 0.05),
    ],
    ids=str,
)
def test_a_failed_call_is_charged_what_it_told_or_what_was_set_aside(error: Exception, charged: float) -> None:
    _, run = execute([work("a")], ScriptedAgent({"a": error}), budget=Budget(usd=1.0), limits=ONCE, cost_usd=0.05)
    assert run.cost_usd == pytest.approx(charged)
    assert run.usage == (getattr(error, "usage", None) or Usage())


def test_what_an_error_of_ours_told_is_not_lost_when_user_code_wraps_it() -> None:
    def output(task: Any, context: Any) -> Any:
        try:
            raise AgentFailed("cut", cost_usd=0.02)
        except AgentFailed as error:
            raise ValueError("my own words") from error

    _, run = execute([work("a")], ScriptedAgent({"a": output}), limits=ONCE, cost_usd=0.05)
    assert run.cost_usd == pytest.approx(0.02)


def test_of_several_agents_that_nobody_knows_one_is_tried_at_a_time() -> None:
    agents = [
        agent(task_types=[f"kind{number}"], agent_id=f"a{number}")(lambda task: AgentResult(output=1, cost_usd=0.40))
        for number in range(10)
    ]
    graph = TaskDAG(Task(task_id=f"t{number}", task_type=f"kind{number}") for number in range(10))
    engine = Engine(agents, model="none", ledger=SqliteLedger(":memory:"))
    run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me"), budget_usd=0.50))
    assert run.cost_usd <= 0.80 + 1e-9


def test_a_straggler_whose_rival_cannot_be_paid_gets_one_once_it_can() -> None:
    clock = VirtualClock()
    agent = ScriptedAgent(
        {"slow": AgentResult(output=1, cost_usd=0.1), "work": AgentResult(output=1, cost_usd=0.0)},
        seconds={"slow": 50.0, "dear": 20.0},
    )
    limits = ExecutionLimits(hedge=HedgePolicy(after=1.0, least_s=1.0))
    _, run = execute(
        [work("first"), work("slow", "first"), work("dear", "first", risk="high")],
        agent,
        budget=Budget(usd=0.5),
        limits=limits,
        clock=clock,
        cost_usd=0.25,
        seconds=1.0,
    )
    assert len(run.tasks["slow"].attempts) == 2
    assert run.tasks["dear"].attempts == ()
