import asyncio
import json

import pytest

from kapelle.agents import AgentResult
from kapelle.errors import AgentFailed, BudgetExceeded
from kapelle.estimates.logged import LoggedOutcome, LoggedTask
from kapelle.graph import Task
from kapelle.ledger import Usage
from kapelle.strategies import Checks, Verdict, task_context
from kapelle.strategies.examination import find_problem, read_yes_or_no
from kapelle.strategies.strategy import Check
from kapelle.strategies.verdict import AskAgent

WELL_FORMED = Check(kind="well_formed")
TESTS = Check(kind="tests")
JUDGE = Check(kind="verifier", agent="judge")
FUNCTION = {"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}


def task(**metadata: object) -> Task:
    return Task(task_id="t1", task_type="code", description="Write {it}", metadata=metadata)


def examine(
    check: Check, output: object, *, ask: AskAgent | None = None, checks: Checks | None = None, **metadata: object
) -> Verdict:
    return asyncio.run((checks or Checks()).examine(check, task(**metadata), output, ask=ask))


@pytest.mark.parametrize("output", ["[f(a=1)]", "I have no function for that.", '[{"f": "{\\"a\\": 1}"}]'])
def test_answers_that_fit_the_declared_functions_pass(output: str) -> None:
    assert examine(WELL_FORMED, output, functions=[FUNCTION]).passed
    assert find_problem(output, json.dumps(FUNCTION)) == ""


@pytest.mark.parametrize("output", ["[f(b=1)]", "[g(a=1)]", "Call f(a=1), then done.", "", None])
def test_answers_that_do_not_fit_them_say_why(output: str | None) -> None:
    verdict = examine(WELL_FORMED, output, functions=json.dumps([FUNCTION]))
    assert not verdict.passed
    assert verdict.note


def test_an_output_schema_is_held() -> None:
    schema = {"type": "object", "required": ["city"]}
    assert examine(WELL_FORMED, '```json\n{"city": "Bonn"}\n```', output_schema=schema).passed
    assert examine(WELL_FORMED, {"city": "Bonn"}, output_schema=schema).passed
    assert "city" in examine(WELL_FORMED, "{}", output_schema=schema).note
    assert examine(WELL_FORMED, "Bonn", output_schema=schema).note == "it is no JSON"


def test_a_validator_of_the_user_is_asked_and_may_raise() -> None:
    checks = Checks(validators={"code": lambda output: len(output) / output.count("x") > 2})
    assert checks.guards(task())
    assert examine(WELL_FORMED, "xyz", checks=checks).passed
    assert not examine(WELL_FORMED, "xx", checks=checks).passed
    assert "ZeroDivisionError" in examine(WELL_FORMED, "abc", checks=checks).note


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        ("def double(x):\n    return 2 * x", True),
        ("Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nDone.", True),
        ("def double(x):\n    return x", False),
        ("def double(x):", False),
        ("open('/etc/passwd')", False),
        ("while True:\n    pass", False),
        ("", False),
    ],
)
def test_tests_run_after_the_program_in_the_sandbox(answer: str, passed: bool) -> None:
    from kapelle.tools import Sandbox, SandboxLimits

    with Sandbox(SandboxLimits(time_s=0.3)) as sandbox:
        verdict = examine(
            TESTS, answer, checks=Checks(sandbox=sandbox), tests=["assert double(2) == 4", "assert double(0) == 0"]
        )
    assert verdict.passed is passed
    assert verdict.note


def test_a_program_without_tests_has_not_passed_them() -> None:
    assert not examine(TESTS, "x = 1").passed


def says(output: object) -> AskAgent:
    async def ask(agent: str, question: Task) -> AgentResult:
        assert agent == "judge"
        assert question.inputs["answer"] == "{4}"
        assert "Write {it}" in question.inputs["task"]
        return AgentResult(output=output, cost_usd=0.2, usage=Usage(output_tokens=1))

    return ask


@pytest.mark.parametrize(
    ("said", "passed"), [("Yes.", True), ("no", False), ("yes and no", False), ({"text": "YES"}, True)]
)
def test_a_verifier_must_say_yes(said: object, passed: bool) -> None:
    verdict = examine(JUDGE, "{4}", ask=says(said))
    assert (verdict.passed, verdict.cost_usd, verdict.usage.tokens) == (passed, 0.2, 1)


def test_a_verifier_that_fails_passes_nothing_but_an_empty_budget_ends_it() -> None:
    async def fails(agent: str, question: Task) -> AgentResult:
        raise AgentFailed("it is out")

    async def is_broke(agent: str, question: Task) -> AgentResult:
        raise BudgetExceeded("usd", wanted=1.0, left=0.0)

    assert "out" in examine(JUDGE, "4", ask=fails).note
    assert not examine(JUDGE, "4").passed
    with pytest.raises(BudgetExceeded):
        examine(JUDGE, "4", ask=is_broke)


@pytest.mark.parametrize(
    ("said", "meant"), [("**Yes**\nbecause", True), ("No!", False), ("", None), ("Not", None), (True, True)]
)
def test_only_yes_and_no_are_read(said: object, meant: bool | None) -> None:
    assert read_yes_or_no(said) is meant


def test_logged_answers_are_checked_by_what_their_row_declares() -> None:
    outcomes = {
        "right": LoggedOutcome(quality=1, cost_usd=1, output="f(a=1)"),
        "wrong": LoggedOutcome(quality=0, cost_usd=1, output="f(b=1)"),
        "unseen": LoggedOutcome(quality=1, cost_usd=1),
    }
    row = LoggedTask(task_id="r", text="", context=task_context(task(functions=[FUNCTION])), outcomes=outcomes)
    found = {agent: Checks().examine_logged(WELL_FORMED, row, agent) for agent in (*outcomes, "nobody")}
    assert {agent: verdict and verdict.passed for agent, verdict in found.items()} == {
        "right": True,
        "wrong": False,
        "unseen": None,
        "nobody": None,
    }


def test_what_a_check_that_costs_something_found_is_known_over_a_log() -> None:
    row = LoggedTask(task_id="r", text="Write {it}", outcomes={"a": LoggedOutcome(quality=1, cost_usd=1, output="{4}")})
    assert Checks().examine_logged(JUDGE, row, "a") is None
    said = Verdict(passed=True, cost_usd=0.2)
    assert Checks(verdicts={("r", "a", str(JUDGE)): said}).examine_logged(JUDGE, row, "a") == said
