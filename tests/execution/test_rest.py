"""A service that asks to be left alone is: by every task that calls it, for as long as it asks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentRegistry, AgentResult, TaskContext
from kapelle.errors import AgentFailed, ModelUnavailable
from kapelle.execution import ExecutionLimits, HedgePolicy, RetryPolicy
from kapelle.testing import ScriptedAgent, VirtualClock
from tests.execution.test_executor import execute, states, work


def busy_at_first(calls: int, retry_after_s: float) -> Any:
    """Return an output that asks, this often, to be left alone."""
    left = [calls]

    def output(task: Any, context: Any) -> AgentResult:
        if left[0] > 0:
            left[0] -= 1
            raise ModelUnavailable("too many requests", retry_after_s=retry_after_s)
        return AgentResult(output="done")

    return output


def test_no_task_calls_it_before_that_time_is_over() -> None:
    agent = ScriptedAgent({"work": busy_at_first(1, 90.0)}, seconds=1)
    _, run = execute([work("a"), *(work(f"t{n}") for n in range(5))], agent, max_concurrency=1)
    assert set(states(run).values()) == {"done"}
    assert sorted(agent.started.values())[0] >= 91.0 - 1e-6  # each task's last start; the first one's was at 0
    assert len(agent.tasks) == 7


def test_each_of_many_at_once_asks_once_and_then_waits() -> None:
    clock = VirtualClock()
    agent = ScriptedAgent({"work": busy_at_first(5, 90.0)})
    execute([work(f"t{n}") for n in range(5)], agent, clock=clock)
    assert len(agent.tasks) == 10
    assert clock() >= 90.0


class Door(ScriptedAgent):
    """Asks whoever knocks to come back, for a while; and remembers when that was."""

    def __init__(
        self,
        *,
        closed_until_s: float,
        retry_after_s: float,
        seconds: float | dict[str, float],
        closed_from_s: float = 0.0,
    ) -> None:
        super().__init__(seconds=seconds)
        self.closed_from_s, self.closed_until_s, self.retry_after_s = closed_from_s, closed_until_s, retry_after_s
        self.knocks: list[float] = []

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        now = asyncio.get_running_loop().time()
        self.knocks.append(round(now, 3))
        if self.closed_from_s <= now < self.closed_until_s:
            raise ModelUnavailable("too many requests", retry_after_s=self.retry_after_s)
        return await super().run(task, context)


NO_DELAY = ExecutionLimits(retry=RetryPolicy(first_delay_s=0.0))


def test_one_asks_first_when_a_rest_is_over_and_the_others_once_it_is_answered() -> None:
    door = Door(closed_until_s=90.0, retry_after_s=90.0, seconds=5.0)
    _, run = execute([work(f"t{n}") for n in range(5)], door, limits=NO_DELAY)
    assert door.knocks == [0.0] * 5 + [90.0] + [95.0] * 4
    assert set(states(run).values()) == {"done"}


def test_as_long_as_a_service_asks_for_rest_one_knocks_each_time() -> None:
    door = Door(closed_until_s=100.0, retry_after_s=30.0, seconds=0.0)
    _, run = execute([work(f"t{n}", retries=9) for n in range(3)], door, limits=NO_DELAY)
    assert door.knocks == [0.0, 0.0, 0.0, 30.0, 60.0, 90.0, 120.0, 120.0, 120.0]
    assert set(states(run).values()) == {"done"}


def test_who_is_let_in_and_stays_long_holds_up_nobody() -> None:
    door = Door(closed_until_s=9.0, retry_after_s=9.0, seconds={"t0": 3600.0})
    execute([work(f"t{n}") for n in range(3)], door, limits=NO_DELAY)
    assert door.knocks == [0.0, 0.0, 0.0, 9.0, 69.0, 69.0]


def test_the_first_that_is_given_up_lets_the_others_follow() -> None:
    door = Door(closed_until_s=9.0, retry_after_s=9.0, seconds={"t0": 3600.0})
    execute([work("t0", timeout_s=10), work("t1"), work("t2")], door, limits=NO_DELAY)
    assert door.knocks == [0.0, 0.0, 0.0, 9.0, 19.0, 19.0]


def test_a_rest_ends_also_where_the_loop_rings_a_moment_early() -> None:
    class Ticks(Door):
        async def run(self, task: Task, context: TaskContext) -> AgentResult:
            if task.task_id != "ticks":
                return await super().run(task, context)
            for _ in range(20):  # ten tenths of a second are a little less than one
                await asyncio.sleep(0.1)
            return AgentResult(output="done")

    door = Ticks(closed_until_s=0.5, retry_after_s=1.0, seconds=0.0)
    _, run = execute([work("ticks"), work("a")], door, limits=NO_DELAY)
    assert (states(run), door.knocks) == ({"ticks": "done", "a": "done"}, [0.0, 1.0])


def test_what_a_rival_is_told_holds_for_all() -> None:
    door = Door(closed_from_s=20.0, closed_until_s=40.0, retry_after_s=90.0, seconds={"a": 300.0, "b": 50.0})
    limits = ExecutionLimits(hedge=HedgePolicy(after=1.0, least_s=30.0), retry=RetryPolicy(first_delay_s=0.0))
    execute([work("a"), work("b"), work("c", "b")], door, limits=limits, seconds=1.0)
    assert door.knocks[:2] == [0.0, 0.0]
    told = door.knocks[2]
    assert 20.0 <= told < 40.0
    assert min(knock for knock in door.knocks if knock > 40.0) == told + 90.0


def test_a_rest_that_is_too_long_to_wait_for_is_kept_to_its_end() -> None:
    door = Door(closed_until_s=400.0, retry_after_s=400.0, seconds=0.0)
    waits = ScriptedAgent(seconds=200.0)
    registry = AgentRegistry(
        [door.card("door", "work"), waits.card("waits", "wait")], runners={"door": door, "waits": waits}
    )
    clock = VirtualClock()
    engine = Engine(registry, model="none", ledger=SqliteLedger(":memory:"), timer=clock)
    tasks = [work("a"), Task(task_id="w", task_type="wait"), work("b", "w")]
    run = clock.run(engine.run(Plan(request="", graph=TaskDAG(tasks), planner="test")))
    assert (run.tasks["a"].state, run.tasks["b"].state) == ("failed", "done")
    assert door.knocks == [0.0, 400.0]


def test_who_asks_for_more_than_anybody_waits_is_not_called_again() -> None:
    clock = VirtualClock()
    agent = ScriptedAgent({"work": busy_at_first(99, 3600.0)})
    ending, run = execute([work("a"), work("b"), work("c")], agent, clock=clock, max_concurrency=1)
    assert (ending.state, len(agent.tasks), clock() < 5) == ("failed", 1, True)
    assert "left alone" in str(run.tasks["b"].reason)


def test_the_policy_may_say_what_can_pass() -> None:
    policy = RetryPolicy(may_pass=lambda error: "deadlock" in str(error))
    agent = ScriptedAgent({"a": AgentFailed("deadlock found"), "b": ModelUnavailable("gone")})
    _, run = execute([work("a"), work("b")], agent, limits=ExecutionLimits(retry=policy))
    assert [len(run.tasks[name].attempts) for name in ("a", "b")] == [3, 0]


@pytest.mark.parametrize("wrong", [lambda error: "yes", lambda error: 1 / 0], ids=["no bool", "raises"])
def test_a_policy_that_is_wrong_is_passed_over(wrong: Any) -> None:
    agent = ScriptedAgent({"a": ModelUnavailable("gone")})
    _, run = execute([work("a")], agent, limits=ExecutionLimits(retry=RetryPolicy(may_pass=wrong)))
    assert len(run.tasks["a"].attempts) == 3


def test_a_task_or_its_agent_says_how_often_it_is_tried() -> None:
    agent = ScriptedAgent({"work": ModelUnavailable("gone")})
    _, run = execute([work("a", retries=0), work("b"), work("c", retries=4)], agent, retries=1)
    assert [len(run.tasks[name].attempts) for name in ("a", "b", "c")] == [0, 2, 5]


def test_a_task_or_its_agent_says_how_long_an_attempt_may_take() -> None:
    agent = ScriptedAgent(seconds=600.0)
    clock = VirtualClock()
    _, run = execute([work("a", timeout_s=5), work("b"), work("c", timeout_s=700)], agent, clock=clock, timeout_s=50.0)
    assert states(run) == {"a": "failed", "b": "failed", "c": "done"}
    assert [run.tasks[name].reason for name in ("a", "b")] == [f"It took longer than its {s} s." for s in (5, 50)]
