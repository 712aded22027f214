"""Attempts that failed for a reason that can pass are made again, after a while, and told one by one."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentResult
from kapelle.budget import Budget
from kapelle.errors import AgentFailed, InvalidInput, ModelRefused, ModelUnavailable, TryAgain
from kapelle.execution import ExecutionLimits, RetryPolicy
from kapelle.graph import Task
from kapelle.testing import ScriptedAgent, VirtualClock
from tests.execution.test_executor import execute, states, work


def fails_at_first(failures: int, error: Exception) -> Any:
    seen: list[Task] = []

    def output(task: Task, context: Any) -> AgentResult:
        seen.append(task)
        if len(seen) <= failures:
            raise error
        return AgentResult(output="done", cost_usd=0.1)

    return output


@pytest.mark.parametrize("error", [ModelUnavailable("overloaded"), ConnectionError("broke off"), TimeoutError("late")])
def test_what_can_pass_is_tried_again(error: Exception) -> None:
    clock = VirtualClock()
    ending, run = execute([work("a")], ScriptedAgent({"a": fails_at_first(2, error)}), clock=clock)
    assert (ending.state, run.tasks["a"].output) == ("done", "done")
    assert [attempt.state for attempt in run.tasks["a"].attempts] == ["failed", "failed", "done"]
    assert 0 < clock() < 1 + 2 + 1e-9


@pytest.mark.parametrize("error", [ModelRefused("no such key"), AgentFailed("cannot"), ValueError("a bug")])
def test_what_cannot_pass_is_not_tried_again(error: Exception) -> None:
    agent = ScriptedAgent({"a": error})
    _, run = execute([work("a")], agent)
    assert len(agent.tasks) == 1
    assert run.tasks["a"].attempts == ()


def test_it_gives_up_after_the_attempts_of_the_policy() -> None:
    agent = ScriptedAgent({"a": TryAgain("overloaded")})
    limits = ExecutionLimits(retry=RetryPolicy(max_attempts=2))
    _, run = execute([work("a"), work("b", "a"), work("c")], agent, limits=limits)
    assert states(run) == {"a": "failed", "b": "skipped", "c": "done"}
    assert len(run.tasks["a"].attempts) == 2


def test_a_task_of_high_risk_is_never_repeated() -> None:
    agent = ScriptedAgent({"a": TryAgain("overloaded")})
    execute([work("a", risk="high")], agent)
    assert len(agent.tasks) == 1


def test_every_attempt_is_charged_and_every_one_is_an_outcome() -> None:
    agent, budget = ScriptedAgent({"a": fails_at_first(1, TryAgain("overloaded"))}), Budget(usd=1.0)
    _, run = execute([work("a")], agent, budget=budget, cost_usd=0.25)
    assert run.cost_usd == budget.spent.usd == pytest.approx(0.35)
    assert run.cost_by_agent == {"worker": pytest.approx(0.35)}
    assert [attempt.cost_usd for attempt in run.tasks["a"].attempts] == [0.25, 0.1]


def test_a_retry_that_cannot_be_paid_is_not_made() -> None:
    agent, budget = ScriptedAgent({"a": fails_at_first(1, TryAgain("overloaded"))}), Budget(usd=0.3)
    _, run = execute([work("a")], agent, budget=budget, cost_usd=0.25)
    assert states(run) == {"a": "failed"}
    assert budget.spent.usd == 0.25
    assert "budget does not reach" in (run.tasks["a"].reason or "")


def test_the_deadline_ends_the_wait_for_a_retry() -> None:
    agent = ScriptedAgent({"a": TryAgain("overloaded")})
    limits = ExecutionLimits(deadline_s=5, retry=RetryPolicy(max_attempts=1000, first_delay_s=9, max_delay_s=9))
    ending, run = execute([work("a")], agent, limits=limits)
    assert (ending.state, states(run)) == ("stopped", {"a": "cancelled"})


def test_while_one_waits_others_run() -> None:
    agent = ScriptedAgent({"a": fails_at_first(1, TryAgain("overloaded"))}, seconds=0.0)
    execute([work("a", priority=1), work("b"), work("c", "b")], agent, max_concurrency=1)
    assert [task.task_id for task in agent.tasks] == ["a", "b", "c", "a"]


@given(st.integers(1, 50), st.integers(0, 1000))
def test_delays_grow_to_a_limit_and_are_never_longer(failures: int, seed: int) -> None:
    policy = RetryPolicy(first_delay_s=0.5, max_delay_s=8)
    assert 0 <= policy.delay_s(failures, random.Random(seed)) <= min(8, 0.5 * 2 ** (failures - 1))


@pytest.mark.parametrize("values", [{"max_attempts": 0}, {"first_delay_s": -1.0}, {"max_delay_s": float("nan")}])
def test_a_policy_that_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="is no policy"):
        RetryPolicy(**values)
