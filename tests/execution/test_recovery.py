"""What follows from a failure is decided by a table: the first line that holds."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.estimates import Estimate
from kapelle.execution.limits import RetryPolicy
from kapelle.execution.recovery import (
    AskStrategy,
    FailedAttempt,
    FailTask,
    LeaveToRival,
    Recovery,
    Retry,
    TryAgent,
    recover,
)
from kapelle.graph import Task

POLICY = RetryPolicy(first_delay_s=1.0, max_delay_s=30.0)


def estimate(cost_usd: float) -> Estimate:
    return Estimate(cost_usd=cost_usd, seconds=1.0, success_rate=0.9, tokens=0, samples=0, source="declared")


def failure(*, risk: Any = "low", approval: bool = False, **fields: Any) -> FailedAttempt:
    return FailedAttempt(task=Task(task_id="a", task_type="work", risk=risk, approval=approval), **fields)


OTHER = ("other", estimate(0.2))


@pytest.mark.parametrize(
    ("failed", "kind"),
    [
        (failure(rival_goes_on=True, can_pass=True, max_retries=9), LeaveToRival),
        (failure(can_pass=True, max_retries=1), Retry),
        (failure(can_pass=True, max_retries=1, times_failed=2), AskStrategy),
        (failure(can_pass=False, max_retries=1), AskStrategy),
        (failure(can_pass=True, max_retries=1, risk="high"), AskStrategy),
        (failure(is_spent=True, candidate=OTHER, left_usd=0.2), TryAgent),
        (failure(is_spent=True, candidate=OTHER, left_usd=0.1), FailTask),
        (failure(is_spent=True, candidate=OTHER, left_usd=0.2, approval=True), FailTask),
        (failure(is_spent=True, candidate=OTHER, left_usd=0.2, risk="high"), FailTask),
        (failure(is_spent=True), FailTask),
    ],
)
def test_the_first_line_of_the_table_that_holds_decides(failed: FailedAttempt, kind: type[Recovery]) -> None:
    assert isinstance(recover(failed, POLICY), kind)


def test_who_is_not_tried_is_named_with_the_reason() -> None:
    too_dear = recover(failure(is_spent=True, candidate=OTHER, left_usd=0.1), POLICY)
    approved = recover(failure(is_spent=True, candidate=OTHER, left_usd=1.0, approval=True), POLICY)
    assert isinstance(too_dear, FailTask)
    assert isinstance(approved, FailTask)
    assert too_dear.remark == " other might do it for $0.2, but of the budget $0.1 is left."
    assert "a person approved another agent" in approved.remark


@st.composite
def failures(draw: st.DrawFn) -> FailedAttempt:
    return failure(
        risk=draw(st.sampled_from(["low", "medium", "high"])),
        approval=draw(st.booleans()),
        rival_goes_on=draw(st.booleans()),
        can_pass=draw(st.booleans()),
        times_failed=draw(st.integers(1, 20)),
        max_retries=draw(st.integers(0, 20)),
        is_spent=draw(st.booleans()),
        candidate=draw(st.none() | st.builds(lambda usd: ("other", estimate(usd)), st.floats(0, 10))),
        left_usd=draw(st.floats(0, 10)),
    )


@given(failed=failures(), seed=st.integers(0, 99))
def test_nothing_is_done_twice_that_must_not_be_nor_beyond_what_is_left(failed: FailedAttempt, seed: int) -> None:
    step = recover(failed, POLICY, random.Random(seed))
    if isinstance(step, Retry):
        assert failed.can_pass
        assert failed.task.risk != "high"
        assert failed.times_failed <= failed.max_retries
        assert 0.0 <= step.delay_s <= 30.0
    if isinstance(step, TryAgent):
        assert step.expected.cost_usd <= failed.left_usd
        assert failed.task.risk != "high"
        assert not failed.task.approval
    assert isinstance(step, (TryAgent, FailTask)) is failed.is_spent


@given(failed=failures())
def test_an_agent_is_asked_again_only_so_often(failed: FailedAttempt) -> None:
    steps = [
        recover(failure(can_pass=True, max_retries=failed.max_retries, times_failed=number), POLICY)
        for number in range(1, 25)
    ]
    assert [isinstance(step, Retry) for step in steps] == [number <= failed.max_retries for number in range(1, 25)]
