"""The executor on a virtual clock: durations are exact and nothing waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry, AgentResult
from kapelle.budget import Budget
from kapelle.errors import AgentFailed, InvalidInput
from kapelle.estimates import CostProfiler
from kapelle.execution import ExecutionLimits, ExecutionResult, Executor
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal, Run, SqliteLedger
from kapelle.routing import HALORouter
from kapelle.testing import ScriptedAgent, VirtualClock
from kapelle.validation import AOPValidator, ApprovedPlan


def work(task_id: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type=fields.pop("task_type", "work"), depends_on=after, **fields)


async def approve(dag: TaskDAG, registry: AgentRegistry) -> ApprovedPlan:
    routing = await HALORouter(registry).route_tasks(dag)
    result = await AOPValidator(registry, CostProfiler()).validate_routing_plan(routing, dag)
    assert result.approved is not None, result.issues
    return result.approved


def execute(
    tasks: Sequence[Task],
    agent: ScriptedAgent,
    *,
    budget: Budget | None = None,
    limits: ExecutionLimits | None = None,
    clock: VirtualClock | None = None,
    **card: Any,
) -> tuple[ExecutionResult, Run]:
    """Run tasks of the type `work` with one agent, and return how it ended and what the journal tells."""
    clock = clock or VirtualClock()
    registry = AgentRegistry([agent.card("worker", "work", **card)], runners={"worker": agent})
    dag = TaskDAG(tasks)

    async def whole() -> tuple[ExecutionResult, Run]:
        with SqliteLedger(clock=clock) as ledger:
            journal = Journal(ledger, "r1")
            journal.write("run_started", {"request": "test"})
            journal.write("run_planned", {"graph": dag.to_dict(), "planner": "test"})
            plan = await approve(dag, registry)
            journal.write("run_approved", {"estimates": {}, "issues": []})
            ending = await Executor(registry, timer=clock).execute(
                plan, journal, budget=budget or Budget(), limits=limits or ExecutionLimits()
            )
            assert ledger.events("r1") == journal.run().events
            return ending, journal.run()

    return clock.run(whole())


def states(run: Run) -> dict[str, str]:
    return {task_id: task.state for task_id, task in run.tasks.items()}


def test_a_task_starts_when_its_own_inputs_are_done_and_waits_for_no_level() -> None:
    agent = ScriptedAgent(seconds={"fast": 1, "slow": 10, "after_fast": 1, "end": 1})
    execute([work("fast"), work("slow"), work("after_fast", "fast"), work("end", "after_fast", "slow")], agent)
    assert agent.started == {"fast": 0, "slow": 0, "after_fast": 1, "end": 10}


@given(
    edges=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30),
    seconds=st.lists(st.integers(0, 20), min_size=12, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_with_enough_agents_a_run_takes_exactly_its_critical_path(
    edges: list[tuple[int, int]], seconds: list[int]
) -> None:
    before: dict[int, set[str]] = {number: set() for number in range(12)}
    for one, other in edges:
        if one != other:
            before[max(one, other)].add(f"t{min(one, other)}")
    tasks = [work(f"t{number}", *sorted(before[number])) for number in range(12)]
    durations: Mapping[str, float] = {f"t{number}": float(seconds[number]) for number in range(12)}
    clock = VirtualClock()
    ending, run = execute(tasks, ScriptedAgent(seconds=durations), clock=clock, max_concurrency=12)
    assert ending.state == "done"
    assert clock() == TaskDAG(tasks).critical_path(durations).seconds == run.critical_path_seconds


def test_references_receive_the_outputs_themselves() -> None:
    agent = ScriptedAgent({"a": {"answer": "Paris", "items": [1, 2]}})
    execute([work("a"), work("b", inputs={"whole": "{a.items}", "text": "population of {a.answer}"})], agent)
    assert agent.tasks[1].inputs == {"whole": [1, 2], "text": "population of Paris"}
    assert agent.contexts[1].upstream == {"a": {"answer": "Paris", "items": [1, 2]}}


def test_braces_in_an_output_are_data() -> None:
    agent = ScriptedAgent({"a": "{b} and {nobody} and {"})
    ending, _ = execute([work("a"), work("b", inputs={"text": "{a}!"})], agent)
    assert ending.state == "done"
    assert agent.tasks[1].inputs == {"text": "{b} and {nobody} and {!"}


def test_a_failure_skips_its_dependents_with_the_reason_and_the_rest_goes_on() -> None:
    agent = ScriptedAgent({"a": ValueError("no such page")})
    ending, run = execute([work("a"), work("b", "a"), work("c", "b"), work("d")], agent)
    assert states(run) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "done"}
    assert ending.state == "partial"
    assert "'a': ValueError: no such page" in (ending.stop_reason or "")
    assert run.tasks["c"].reason == "It needs the output of 'b', which was skipped."


def test_an_agent_works_on_no_more_tasks_at_once_than_it_takes() -> None:
    agent, clock = ScriptedAgent(seconds=1), VirtualClock()
    execute([work(f"t{number}") for number in range(7)], agent, clock=clock, max_concurrency=3)
    assert (agent.most_at_once, clock()) == (3, 3)


def test_among_ready_tasks_the_longest_remaining_path_goes_first() -> None:
    agent = ScriptedAgent(seconds=1)
    tasks = [work("short"), work("long"), work("long2", "long"), work("long3", "long2")]
    _, run = execute(tasks, agent, max_concurrency=1)
    assert next(event.task_id for event in run.events if event.kind == "task_started") == "long"


def test_priority_beats_urgency() -> None:
    agent = ScriptedAgent(seconds=1)
    execute([work("long"), work("long2", "long"), work("vip", priority=1)], agent, max_concurrency=1)
    assert agent.tasks[0].task_id == "vip"


def test_a_task_that_takes_too_long_fails_and_holds_up_nobody() -> None:
    agent, clock = ScriptedAgent(seconds={"a": 1000, "b": 1}), VirtualClock()
    _, run = execute([work("a"), work("b")], agent, limits=ExecutionLimits(task_timeout_s=5), clock=clock)
    assert states(run) == {"a": "failed", "b": "done"}
    assert (clock(), run.tasks["a"].reason) == (5, "It took longer than its 5 s.")


def test_an_agent_that_ignores_its_cancellation_holds_up_nobody() -> None:
    clock = VirtualClock()

    class Stubborn(ScriptedAgent):
        async def run(self, task: Task, context: Any) -> AgentResult:
            for _ in range(3):
                try:
                    await clock.sleep(100)
                except asyncio.CancelledError:
                    continue
            return AgentResult(output="too late")

    _, run = execute([work("a"), work("b", "a")], Stubborn(), limits=ExecutionLimits(task_timeout_s=5), clock=clock)
    assert states(run) == {"a": "failed", "b": "skipped"}


def test_the_deadline_cancels_what_runs_and_skips_what_waits() -> None:
    agent = ScriptedAgent(seconds={"a": 1, "b": 100})
    ending, run = execute([work("a"), work("b"), work("c", "b")], agent, limits=ExecutionLimits(deadline_s=10))
    assert states(run) == {"a": "done", "b": "cancelled", "c": "skipped"}
    assert (ending.state, ending.outputs) == ("stopped", {"a": "a done"})


def test_cancelling_the_caller_leaves_a_clean_journal() -> None:
    clock, agent = VirtualClock(), ScriptedAgent(seconds=100)
    registry = AgentRegistry([agent.card("worker", "work")], runners={"worker": agent})
    dag = TaskDAG([work("a"), work("b", "a")])

    async def whole() -> Run:
        journal = Journal(SqliteLedger(), "r1")
        journal.write("run_started", {"request": "test"})
        journal.write("run_planned", {"graph": dag.to_dict(), "planner": "test"})
        plan = await approve(dag, registry)
        journal.write("run_approved", {"estimates": {}, "issues": []})
        running = asyncio.create_task(Executor(registry, timer=clock).execute(plan, journal, budget=Budget()))
        await clock.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return journal.run()

    assert states(clock.run(whole())) == {"a": "cancelled", "b": "skipped"}


def test_a_task_that_the_budget_cannot_hold_is_never_started() -> None:
    agent, budget = ScriptedAgent(seconds=1, cost_usd=0.4), Budget(usd=1.0)
    ending, run = execute([work(f"t{n}") for n in range(4)], agent, budget=budget, cost_usd=0.4, cost_tier="cheap")
    assert sorted(states(run).values()) == ["done", "done", "skipped", "skipped"]
    assert ending.state == "stopped"
    assert "usd left" in (ending.stop_reason or "")
    assert budget.spent.usd == run.cost_usd == 0.8


def test_money_that_a_task_gives_back_lets_the_next_one_start() -> None:
    agent, budget = ScriptedAgent(seconds=1, cost_usd=0.1), Budget(usd=1.0)
    ending, _ = execute([work(f"t{n}") for n in range(5)], agent, budget=budget, cost_usd=0.4, cost_tier="cheap")
    assert (ending.state, budget.spent.usd) == ("done", 0.5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=15), st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_run_spends_more_than_its_budget_unless_an_agent_exceeds_its_price(costs: list[float], cap: float) -> None:
    outputs = {f"t{n}": AgentResult(output=n, cost_usd=cost) for n, cost in enumerate(costs)}
    budget = Budget(usd=cap)
    execute([work(task_id) for task_id in outputs], ScriptedAgent(outputs), budget=budget, cost_usd=1.0)
    assert budget.spent.usd <= cap
    assert budget.reserved.usd == 0


def test_a_failed_call_is_charged_its_declared_price() -> None:
    agent, budget = ScriptedAgent({"work": AgentFailed("it gave up")}), Budget(usd=1.0)
    _, run = execute([work("a")], agent, budget=budget, cost_usd=0.25)
    assert run.cost_usd == budget.spent.usd == 0.25


@pytest.mark.parametrize("output", [object(), {1, object()}, {"a": float}, b"\xff"])
def test_an_output_that_is_no_json_fails_its_task_only(output: Any) -> None:
    _, run = execute([work("a"), work("b")], ScriptedAgent({"a": output}))
    assert states(run) == {"a": "failed", "b": "done"}
    assert "cannot be written as JSON" in (run.tasks["a"].reason or "")


def test_an_agent_that_returns_something_else_fails_its_task_only() -> None:
    class Wrong(ScriptedAgent):
        async def run(self, task: Task, context: Any) -> AgentResult:
            return "text"  # type: ignore[return-value]  # what an untyped agent might do

    _, run = execute([work("a")], Wrong())
    assert run.tasks["a"].reason == "The agent returned str instead of an AgentResult."


def test_only_an_approved_plan_runs() -> None:
    with pytest.raises(InvalidInput, match="Only a plan that the validator approved"):
        asyncio.run(
            Executor(AgentRegistry()).execute({"a": "worker"}, None, budget=Budget())  # type: ignore[arg-type]  # the point
        )


def test_nothing_starts_when_one_agent_has_no_runner() -> None:
    registry = AgentRegistry([AgentCapability(agent_id="ghost", task_types=("work",))])

    async def whole() -> None:
        plan = await approve(TaskDAG([work("a")]), registry)
        await Executor(registry).execute(plan, None, budget=Budget())  # type: ignore[arg-type]  # never reached

    with pytest.raises(InvalidInput, match="Nothing runs the agent 'ghost'"):
        asyncio.run(whole())


def test_outcomes_tell_what_a_profiler_needs() -> None:
    clock = VirtualClock()
    agent = ScriptedAgent({"b": ValueError("bad")}, seconds=2)
    registry = AgentRegistry([agent.card("worker", "work")], runners={"worker": agent})
    seen: list[Any] = []

    async def whole() -> None:
        dag = TaskDAG([work("a"), work("b", "a")])
        journal = Journal(SqliteLedger(), "r1", on_outcome=seen.append)
        plan = await approve(dag, registry)
        await Executor(registry, timer=clock).execute(plan, journal, budget=Budget())

    clock.run(whole())
    assert [(o.task_id, o.agent, o.success, o.seconds, o.error) for o in seen] == [
        ("a", "worker", True, 2, None),
        ("b", "worker", False, 2, "ValueError: bad"),
    ]


def test_a_budget_that_ends_forgets_no_task_that_waited_for_the_same_agent() -> None:
    agent, budget = ScriptedAgent(cost_usd=1.0), Budget(usd=0.5)
    tasks = [work(f"a{n}") for n in range(4)]
    ending, run = execute(tasks, agent, budget=budget, cost_usd=0.1, max_concurrency=1)
    assert states(run) == {"a0": "done", "a1": "skipped", "a2": "skipped", "a3": "skipped"}
    assert "3 of 4 tasks were skipped" in (ending.stop_reason or "")


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NotEvenAnException(BaseException):
    """What some libraries end their threads with."""


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (SystemExit(0), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "cancelled itself"),
        (NotEvenAnException("end"), "NotEvenAnException: end"),
        (Odd(), "Odd, which cannot be shown"),
        (10**5000, "cannot be written as JSON"),
        ("x" * 10_000_001, "at most 10,000,000 are kept"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_an_agent_does_ends_its_own_task_and_nothing_else(output: Any, words: str) -> None:
    ending, run = execute([work("a"), work("b")], ScriptedAgent({"a": output}))
    assert (states(run), ending.state) == ({"a": "failed", "b": "done"}, "partial")
    assert words in (run.tasks["a"].reason or "")


@pytest.mark.parametrize("wrong", [{"usage": "junk"}, {"cost_usd": True}, {"cost_usd": float("nan")}, {"quality": 7}])
def test_a_result_that_makes_no_sense_fails_its_task(wrong: dict[str, Any]) -> None:
    _, run = execute([work("a")], ScriptedAgent({"a": lambda task, context: AgentResult(output=1, **wrong)}))
    assert "An agent reported" in (run.tasks["a"].reason or "")


def test_what_an_agent_still_returns_when_it_is_stopped_counts_with_its_cost() -> None:
    clock = VirtualClock()

    class Tidy(ScriptedAgent):
        async def run(self, task: Task, context: Any) -> AgentResult:
            try:
                await clock.sleep(100)
            except asyncio.CancelledError:
                return AgentResult(output="half of it", cost_usd=0.77)
            raise AssertionError

    budget = Budget(usd=1.0)
    _, run = execute([work("a")], Tidy(), limits=ExecutionLimits(deadline_s=5), clock=clock, budget=budget)
    assert (states(run), run.results, run.cost_usd) == ({"a": "done"}, {"a": "half of it"}, 0.77)
    assert budget.spent.usd == 0.77


def test_a_cancelled_call_is_charged_what_was_set_aside_for_it() -> None:
    budget = Budget(usd=1.0)
    agent = ScriptedAgent(seconds=100)
    _, run = execute([work("a")], agent, limits=ExecutionLimits(deadline_s=5), budget=budget, cost_usd=0.2)
    assert (run.tasks["a"].state, run.cost_usd, budget.spent.usd) == ("cancelled", 0.2, 0.2)


def test_who_cancels_twice_waits_no_longer_and_the_journal_is_whole() -> None:
    clock = VirtualClock()

    class Deaf(ScriptedAgent):
        async def run(self, task: Task, context: Any) -> AgentResult:
            while clock() < 5000:
                try:
                    await clock.sleep(1000)
                except asyncio.CancelledError:
                    continue
            return AgentResult(output="at last")

    agent = Deaf()
    registry = AgentRegistry([agent.card("worker", "work")], runners={"worker": agent})

    async def whole() -> Run:
        dag = TaskDAG([work("a"), work("b", "a")])
        journal = Journal(SqliteLedger(), "r1")
        journal.write("run_started", {"request": "test"})
        journal.write("run_planned", {"graph": dag.to_dict(), "planner": "test"})
        plan = await approve(dag, registry)
        journal.write("run_approved", {"estimates": {}, "issues": []})
        limits = ExecutionLimits(grace_s=600)
        running = asyncio.create_task(
            Executor(registry, timer=clock).execute(plan, journal, budget=Budget(), limits=limits)
        )
        for _ in range(2):
            await clock.sleep(1)
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert clock() < 10
        return journal.run()

    assert states(clock.run(whole())) == {"a": "cancelled", "b": "skipped"}


def test_a_task_that_does_with_some_runs_when_all_else_is_over_and_is_told_what_is_missing() -> None:
    agent = ScriptedAgent({"a": ValueError("no page")}, seconds={"a": 1, "c": 3})
    report = work("report", "a", "b", "c", metadata={"needs": "some"})
    ending, run = execute([work("a"), work("b", "a"), work("c"), report], agent)
    assert states(run) == {"a": "failed", "b": "skipped", "c": "done", "report": "done"}
    assert (agent.started["report"], ending.state) == (3, "partial")
    assert agent.contexts[-1].upstream == {"c": "c done"}
    assert set(agent.contexts[-1].missing) == {"a", "b"}


def test_a_task_that_does_with_some_is_skipped_where_there_is_nothing() -> None:
    agent = ScriptedAgent({"a": ValueError("1"), "b": ValueError("2")})
    _, run = execute([work("a"), work("b"), work("report", "a", "b", metadata={"needs": "some"})], agent)
    assert states(run) == {"a": "failed", "b": "failed", "report": "skipped"}


def test_a_job_that_is_cancelled_before_its_first_step_is_reported_and_holds_up_nobody() -> None:
    class Canceller(ScriptedAgent):
        async def run(self, task: Task, context: Any) -> AgentResult:
            for other in asyncio.all_tasks():
                if other.get_name() == "r1:second":
                    other.cancel()
            return await super().run(task, context)

    agent, clock = Canceller(), VirtualClock()
    ending, run = execute([work("first"), work("second"), work("third", "first")], agent, clock=clock)
    assert states(run) == {"first": "done", "second": "failed", "third": "done"}
    assert [task.task_id for task in agent.tasks] == ["first", "third"]
    assert ending.state == "partial"
