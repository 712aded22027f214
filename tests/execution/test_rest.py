"""A service that asks to be left alone is: by every task that calls it, for as long as it asks."""

from __future__ import annotations

from typing import Any

import pytest

from kapelle.agents import AgentResult
from kapelle.errors import AgentFailed, ModelUnavailable
from kapelle.execution import ExecutionLimits, RetryPolicy
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
