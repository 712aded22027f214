"""The four patterns, run by the engine with small agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from kapelle import AgentOrchestrator, AgentType, SqliteLedger, Task, agent
from kapelle.agents import AgentCapability, AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput
from kapelle.ledger import Outcome

KNOWLEDGE, PLANNER, CODE = AgentType.KNOWLEDGE, AgentType.PLANNER, AgentType.CODE


def go(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


class Scripted:
    """Answers by description; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.contexts: list[TaskContext] = []

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        self.contexts.append(context)
        answer = self.answers.get(task.description, self.answers.get("other", task.description.upper()))
        if isinstance(answer, BaseException):
            raise answer
        return AgentResult(output=answer, cost_usd=0.01)


def orchestrate(*agents: tuple[str, str, Scripted], ledger: SqliteLedger | None = None) -> AgentOrchestrator:
    cards = [
        (AgentCapability(agent_id=name, task_types=tuple(kinds.split()), cost_usd=0.01), scripted)
        for name, kinds, scripted in agents
    ]
    return AgentOrchestrator(cards, model="none", ledger=ledger or SqliteLedger())


def test_the_documented_calls_work_as_they_are_written() -> None:
    one = Scripted()
    orchestrator = orchestrate(("all", "research plan implement", one))
    steps = [
        {"agent_type": AgentType.KNOWLEDGE, "description": "Research"},
        {"agent_type": AgentType.PLANNER, "description": "Plan"},
        {"agent_type": AgentType.CODE, "description": "Implement"},
    ]
    results = go(orchestrator.execute_sequential(steps))
    assert [step.output for step in results] == ["RESEARCH", "PLAN", "IMPLEMENT"]
    assert list(one.contexts[2].upstream.values()) == ["RESEARCH", "PLAN"]
    assert (results.success, results.run.cost_usd) == (True, pytest.approx(0.03))


def test_a_sequence_ends_with_its_first_failure_unless_it_is_lenient() -> None:
    steps = [{"agent_type": KNOWLEDGE, "description": name} for name in ("a", "b", "c")]
    orchestrator = orchestrate(("one", "research", Scripted(b=AgentFailed("no"))))
    strict = go(orchestrator.execute_sequential(steps))
    assert [step.success for step in strict] == [True, False, False]
    assert (strict[1].error, strict.run.state) == ("no", "failed")
    lenient = go(orchestrator.execute_sequential(steps, strict=False))
    assert [step.success for step in lenient] == [True, False, True]


def test_one_of_several_that_fails_leaves_the_others() -> None:
    orchestrator = orchestrate(("one", "research", Scripted(b=AgentFailed("no"))))
    steps = [{"agent_type": KNOWLEDGE, "description": name} for name in ("a", "b", "c")]
    assert [step.output for step in go(orchestrator.execute_parallel(steps))] == ["A", None, "C"]


def test_tasks_go_to_the_agents_that_they_name() -> None:
    first, second = Scripted(other="first"), Scripted(other="second")
    orchestrator = orchestrate(("first", "research", first), ("second", "research", second))
    steps = [{"agent": "second", "description": "a"}, {"agent": "first", "description": "b"}]
    assert [step.output for step in go(orchestrator.execute_parallel(steps))] == ["second", "first"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("merge", {"a": "A", "b": "B"}),
        ("concatenate", "## a\n\nA\n\n## b\n\nB"),
        (lambda found: sorted(found.values()), ["A", "B"]),
    ],
)
def test_results_are_put_together_as_it_is_asked(how: Any, expected: Any) -> None:
    orchestrator = orchestrate(("one", "research", Scripted()))
    parts = [{"agent_type": KNOWLEDGE, "description": name} for name in ("a", "b")]
    found = go(orchestrator.execute_hierarchical("Both", parts, how))
    assert (found.output, found.success) == (expected, True)


def test_mappings_merge_without_losing_what_contradicts() -> None:
    script = Scripted(a={"x": 1, "both": [1]}, b={"x": 2, "both": [2]})
    parts = [{"agent_type": KNOWLEDGE, "description": name} for name in ("a", "b")]
    found = go(orchestrate(("one", "research", script)).execute_hierarchical("Both", parts))
    assert found.output == {"x": 1, "both": [1, 2], "x (b)": 2}


def test_the_best_is_the_one_that_measures_itself_highest() -> None:
    script = Scripted(a={"text": "A", "score": 0.3}, b={"text": "B", "score": 0.9})
    parts = [{"agent_type": KNOWLEDGE, "description": name} for name in ("a", "b")]
    found = go(orchestrate(("one", "research", script)).execute_hierarchical("Both", parts, "best"))
    assert found.output["text"] == "B"


def test_what_a_part_could_not_do_is_missing_and_the_rest_is_put_together() -> None:
    orchestrator = orchestrate(("one", "research", Scripted(b=AgentFailed("no"))))
    parts = [{"agent_type": KNOWLEDGE, "description": name} for name in ("a", "b")]
    found = go(orchestrator.execute_hierarchical("Both", parts))
    assert (found.output, found.run.state) == ({"a": "A"}, "partial")


def voters(*answers: Any) -> AgentOrchestrator:
    return orchestrate(*((f"v{n}", "research", Scripted(other=answer)) for n, answer in enumerate(answers)))


def agree(orchestrator: AgentOrchestrator, count: int, share: float = 0.6) -> Any:
    return go(orchestrator.execute_consensus("Best?", [KNOWLEDGE] * count, share))


def test_answers_that_mean_the_same_are_votes_for_the_same() -> None:
    found = agree(voters("Django", "django.", "Flask"), 3)
    assert (found.winner in ("Django", "django."), found.reached, found.agreement) == (True, True, pytest.approx(2 / 3))
    assert sorted(found.votes.values()) == [1, 2]


def test_without_agreement_and_in_a_tie_nobody_wins() -> None:
    split = agree(voters("a1", "b2", "c3"), 3)
    assert (split.winner, split.reached) == (None, False)
    tie = agree(voters("a1", "b2"), 2, 0.5)
    assert (tie.winner, tie.tie) == (None, True)


def test_who_fails_or_says_nothing_abstains() -> None:
    found = agree(voters("Django", AgentFailed("no"), "Django", ""), 4)
    assert (found.reached, len(found.abstained), found.agreement) == (True, 2, 1.0)
    nobody = agree(voters(AgentFailed("no"), AgentFailed("no")), 2)
    assert (nobody.winner, nobody.reached, len(nobody.abstained)) == (None, False, 2)


def test_who_is_more_often_right_counts_more() -> None:
    ledger = SqliteLedger()
    for name, rate in (("v0", 1.0), ("v1", 0.5), ("v2", 0.5)):
        for number in range(40):
            right = number < 40 * rate
            ledger.record(Outcome(run_id="h", task_id="x", task_type="research", agent=name, success=right))
    scripts = (("v0", "Paris"), ("v1", "Rome"), ("v2", "Rome"))
    orchestrator = orchestrate(*((name, "research", Scripted(other=said)) for name, said in scripts), ledger=ledger)
    assert agree(orchestrator, 3).winner == "Paris"
    equal = go(orchestrator.execute_consensus("Best?", [KNOWLEDGE] * 3, 0.6, weighted=False))
    assert equal.winner == "Rome"


def test_a_kind_named_more_often_than_there_are_agents_asks_some_again() -> None:
    one = Scripted(other="Paris")
    found = agree(orchestrate(("one", "research", one)), 3)
    assert (found.reached, len(one.contexts)) == (True, 3)
    assert len({context.idempotency_key for context in one.contexts}) == 3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda it: it.execute_sequential([]), "needs a list of tasks"),
        (lambda it: it.execute_parallel("x"), "needs a list of tasks"),
        (lambda it: it.execute_parallel([3]), "Task 1 is 3"),
        (lambda it: it.execute_parallel([{"description": "x"}]), "neither agent_type nor agent"),
        (lambda it: it.execute_parallel([{"agent": "nobody", "description": "x"}]), "There is no agent 'nobody'"),
        (lambda it: it.execute_parallel([{"agent_type": "fly", "description": "x"}]), "has no agent"),
        (lambda it: it.execute_hierarchical("x", [{"agent_type": "research"}], "mix"), "There is no aggregation 'mix'"),
        (lambda it: it.execute_consensus("x", []), "needs agents to ask"),
        (lambda it: it.execute_consensus("x", ["fly"]), "No agent takes tasks of the kind 'fly'"),
        (lambda it: it.execute_consensus("x", ["research"], 1.5), "is no share of votes"),
    ],
)
def test_bad_input_is_named_and_nothing_runs(call: Callable[[AgentOrchestrator], Any], words: str) -> None:
    one = Scripted()
    with pytest.raises(InvalidInput, match=words):
        go(call(orchestrate(("one", "research", one))))
    assert one.contexts == []


def test_a_function_that_raises_fails_its_task_and_the_parts_are_kept() -> None:
    def broken(found: dict[str, Any]) -> None:
        raise ZeroDivisionError("oh")

    orchestrator = orchestrate(("one", "research", Scripted()))
    found = go(orchestrator.execute_hierarchical("x", [{"agent_type": KNOWLEDGE, "description": "a"}], broken))
    assert (found.run.state, found[0].output, found.output) == ("partial", "A", None)
    assert "ZeroDivisionError" in (found.run.stop_reason or "")


def test_without_parts_the_planner_finds_them() -> None:
    @agent(task_types=["lookup"], cost_usd=0.001)
    async def atlas(task: Task) -> str:
        return {"capital of France": "Paris", "capital of Germany": "Berlin"}[task.inputs["query"]]

    orchestrator = AgentOrchestrator([atlas], model="none", ledger=SqliteLedger())
    found = go(orchestrator.execute_hierarchical("Compare the capitals of France and Germany"))
    assert found.success
    assert "Paris" in str(found.output)
