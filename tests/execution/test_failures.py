"""What follows from a failure: policies, fallbacks, rivals of stragglers, loops. On a virtual clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentRegistry, AgentResult
from kapelle.budget import Budget
from kapelle.errors import AgentFailed, InvalidInput, TryAgain
from kapelle.estimates import CostProfiler
from kapelle.execution import ExecutionLimits, ExecutionResult, Executor, HedgePolicy, RetryPolicy
from kapelle.execution.dispatch import LoopGuard
from kapelle.execution.progress import Progress
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal, Outcome, Run, SqliteLedger
from kapelle.routing import HALORouter
from kapelle.testing import ScriptedAgent, VirtualClock
from kapelle.validation import AOPValidator, NextBest

NO_RETRY = RetryPolicy(max_attempts=1)


def work(task_id: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type="work", depends_on=after, **fields)


def execute(
    tasks: Sequence[Task],
    agents: Mapping[str, ScriptedAgent],
    *,
    budget: Budget | None = None,
    limits: ExecutionLimits | None = None,
    fallbacks: bool = True,
    known: Sequence[Outcome] = (),
    **card: Any,
) -> tuple[ExecutionResult, Run]:
    """Run tasks with the first agent; the others are there to fall back on."""
    clock = VirtualClock()
    registry = AgentRegistry([one.card(name, "work", **card) for name, one in agents.items()], runners=dict(agents))
    dag, profiler = TaskDAG(tasks), CostProfiler.from_outcomes(known, agents=registry.values())

    async def whole() -> tuple[ExecutionResult, Run]:
        routing = await HALORouter(registry).route_tasks(dag)
        routing.assignments.update(dict.fromkeys(dag.tasks, next(iter(agents))))
        result = await AOPValidator(registry, profiler).validate_routing_plan(routing, dag)
        assert result.approved is not None, result.issues
        journal = Journal(SqliteLedger(clock=clock), "r1")
        journal.write("run_started", {"request": "test"})
        journal.write("run_planned", {"graph": dag.to_dict(), "planner": "test"})
        journal.write("run_approved", {"estimates": {}, "issues": []})
        ending = await Executor(registry, timer=clock).execute(
            result.approved,
            journal,
            budget=budget or Budget(),
            limits=limits or ExecutionLimits(),
            fallbacks=NextBest() if fallbacks else None,
        )
        return ending, journal.run()

    return clock.run(whole())


def states(run: Run) -> dict[str, str]:
    return {task_id: task.state for task_id, task in run.tasks.items()}


def test_a_failure_skips_what_needs_it_unless_the_task_says_otherwise() -> None:
    agent = ScriptedAgent({"a": AgentFailed("no")})
    _, run = execute([work("a"), work("b", "a"), work("c")], {"one": agent})
    assert states(run) == {"a": "failed", "b": "skipped", "c": "done"}


def test_what_depends_on_a_task_that_continues_runs_without_its_output_and_is_told_why() -> None:
    agent = ScriptedAgent({"a": AgentFailed("no")})
    _, run = execute([work("a", on_failure="continue"), work("b", "a"), work("c", "b")], {"one": agent})
    assert states(run) == {"a": "failed", "b": "done", "c": "done"}
    context = next(one for one in agent.contexts if one.idempotency_key.endswith("/b"))
    assert (dict(context.upstream), dict(context.missing)) == ({}, {"a": "no"})


def test_a_task_that_must_not_fail_ends_the_run_and_keeps_what_is_done() -> None:
    agent = ScriptedAgent({"a": AgentFailed("no")}, seconds={"a": 2, "quick": 1, "slow": 50})
    ending, run = execute([work("a", on_failure="fail"), work("quick"), work("slow"), work("b", "a")], {"one": agent})
    assert (ending.state, "on_failure" in (ending.stop_reason or "")) == ("failed", True)
    assert states(run) == {"a": "failed", "quick": "done", "slow": "cancelled", "b": "skipped"}


@given(
    edges=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda edge: edge[0] < edge[1]), max_size=25),
    failing=st.sets(st.integers(0, 9)),
    going_on=st.sets(st.integers(0, 9)),
    some=st.sets(st.integers(0, 9)),
    order=st.permutations(range(10)),
    resumed_after=st.integers(0, 10),
)
@settings(max_examples=300, deadline=None)
def test_every_task_is_over_in_the_end_and_begins_exactly_if_it_may_and_not_before_its_inputs(
    edges: set[tuple[int, int]],
    failing: set[int],
    going_on: set[int],
    some: set[int],
    order: list[int],
    resumed_after: int,
) -> None:
    tasks = [
        work(
            f"t{n}",
            *(f"t{a}" for a, b in sorted(edges) if b == n),
            on_failure="continue" if n in going_on else "skip",
            needs="some" if n in some else "all",
        )
        for n in range(10)
    ]
    progress = Progress(graph=TaskDAG(tasks))
    ready = list(progress.adopt(progress.graph).ready)
    begun: list[str] = []
    while ready:
        if len(begun) == resumed_after:  # by an engine that knows only what has become of each task
            old = progress
            progress = Progress(graph=old.graph, outputs=old.outputs, failed=old.failed, skipped=old.skipped)
            assert sorted(progress.adopt(progress.graph).ready) == sorted(ready)
        task_id = min(ready, key=lambda name: order[int(name[1:])])
        ready.remove(task_id)
        begun.append(task_id)
        assert all(progress.is_over(before) for before in progress.graph[task_id].dependencies)
        if int(task_id[1:]) in failing:
            progress.failed[task_id] = "no"
            ready += progress.propagate_failure(task_id).ready
        else:
            ready += progress.finish(task_id, "output")
    assert len(begun) == len(set(begun))
    for n, task in enumerate(tasks):
        assert progress.is_over(task.task_id)
        has = [name in progress.outputs for name in task.dependencies]
        counts = [yes or int(name[1:]) in going_on for yes, name in zip(has, task.dependencies, strict=True)]
        may_run = (any(has) or not has) if n in some and len(has) > 1 else all(counts)
        assert (task.task_id in begun) == may_run


def test_the_next_best_agent_does_what_the_first_could_not() -> None:
    first, second = ScriptedAgent({"a": AgentFailed("no")}), ScriptedAgent({"a": "mine"})
    ending, run = execute([work("a")], {"first": first, "second": second})
    assert (ending.state, run.tasks["a"].output, run.tasks["a"].agent) == ("done", "mine", "second")
    assert [(one.agent, one.step, one.state) for one in run.tasks["a"].attempts] == [
        ("first", "single", "failed"),
        ("second", "fallback", "done"),
    ]
    assert {context.idempotency_key for agent in (first, second) for context in agent.contexts} == {"r1/a"}


def test_retries_come_before_fallbacks_and_fallbacks_end() -> None:
    agents = {name: ScriptedAgent({"a": TryAgain("busy")}) for name in ("w1", "w2", "w3", "w4", "w5")}
    _, run = execute([work("a")], agents, limits=ExecutionLimits(retry=RetryPolicy(max_attempts=2), max_fallbacks=2))
    assert [len(agent.tasks) for agent in agents.values()] == [2, 2, 2, 0, 0]
    assert states(run) == {"a": "failed"}


def test_no_other_agent_is_tried_at_high_risk_or_without_money() -> None:
    for task, budget in ((work("a", risk="high"), Budget()), (work("a"), Budget(usd=0.5))):
        second = ScriptedAgent()
        agents = {"first": ScriptedAgent({"a": AgentFailed("no")}), "second": second}
        _, run = execute([task], agents, budget=budget, cost_usd=0.4, cost_tier="cheap")
        assert (states(run), second.tasks) == ({"a": "failed"}, [])


def outcome(seconds: float, cost_usd: float = 0.0) -> Outcome:
    return Outcome(
        run_id="r", task_id="x", task_type="work", agent="one", success=True, seconds=seconds, cost_usd=cost_usd
    )


def slow_once(seconds: float) -> ScriptedAgent:
    class SlowOnce(ScriptedAgent):
        """Takes long for the first attempt, and a second for the others."""

        async def run(self, task: Task, context: Any) -> AgentResult:
            self._seconds = seconds if not self.tasks else 1.0
            return await super().run(task, context)

    return SlowOnce()


def test_a_straggler_gets_a_rival_and_the_first_answer_is_taken() -> None:
    agent, limits = slow_once(100), ExecutionLimits(hedge=HedgePolicy())
    ending, run = execute([work("a")], {"one": agent}, limits=limits, known=[outcome(1.0)] * 30)
    assert (ending.state, len(agent.tasks)) == ("done", 2)
    assert run.tasks["a"].seconds < 10
    assert [one.state for one in run.tasks["a"].attempts] == ["failed", "done"]
    assert {context.idempotency_key for context in agent.contexts} == {"r1/a"}


def test_stragglers_are_left_alone_without_a_policy_at_high_risk_or_without_money() -> None:
    hedge = ExecutionLimits(hedge=HedgePolicy())
    for task, limits, budget in (
        (work("a"), ExecutionLimits(), Budget()),
        (work("a", risk="high"), hedge, Budget()),
        (work("a"), hedge, Budget(usd=0.5)),
    ):
        agent = slow_once(100)
        execute([task], {"one": agent}, limits=limits, budget=budget, cost_usd=0.4, known=[outcome(1.0, 0.4)] * 30)
        assert len(agent.tasks) == 1


def test_a_rival_that_fails_leaves_the_straggler_to_decide() -> None:
    class FailsLater(ScriptedAgent):
        async def run(self, task: Task, context: Any) -> AgentResult:
            first = not self.tasks
            self._seconds = 100.0 if first else 1.0
            result = await super().run(task, context)
            if not first:
                raise AgentFailed("no")
            return result

    agent, limits = FailsLater(), ExecutionLimits(hedge=HedgePolicy(), retry=NO_RETRY)
    ending, run = execute([work("a")], {"one": agent}, limits=limits, known=[outcome(1.0)] * 30)
    assert (ending.state, [one.state for one in run.tasks["a"].attempts]) == ("done", ["done", "failed"])


def test_a_loop_is_told_from_work_by_what_is_asked() -> None:
    guard, task = LoopGuard(2), work("a", inputs={"query": "x"})
    assert guard.admit("one", task) is None
    assert guard.admit("one", replace(task, task_id="b")) is None
    assert "loop" in (guard.admit("one", replace(task, task_id="c")) or "")
    assert guard.admit("one", replace(task, inputs={"query": "y"})) is None
    assert guard.admit("two", task) is None


@pytest.mark.parametrize("wrong", [{"after": 0}, {"after": float("nan")}, {"least_s": -1}])
def test_a_policy_for_stragglers_has_sensible_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="no policy for stragglers"):
        HedgePolicy(**wrong)


def test_an_agent_that_tells_no_cost_is_charged_what_was_expected_and_that_is_said() -> None:
    budget = Budget(usd=1)
    _, run = execute([work("a")], {"one": ScriptedAgent()}, budget=budget, cost_tier="expensive")
    task = run.tasks["a"]
    assert task.cost_assumed
    assert budget.spent.usd == pytest.approx(task.cost_usd)
    assert task.cost_usd > 0


def test_what_waits_for_money_has_its_turn_when_a_retry_could_not_be_paid() -> None:
    # a fails and waits for its retry; b is put aside meanwhile; the retry cannot be paid; b must not be forgotten
    agent = ScriptedAgent({"a": TryAgain("busy")})
    budget = Budget(usd=0.5)
    ending, run = execute([work("a", priority=1), work("b")], {"one": agent}, budget=budget, cost_usd=0.4)
    assert (ending.state, states(run)) == ("failed", {"a": "failed", "b": "skipped"})
    assert budget.spent.usd <= 0.5
