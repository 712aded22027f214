"""A task's strategy is followed in a run: who is asked, what is checked, what each cost, and what is learned of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentRegistry, AgentResult
from kapelle.budget import Budget
from kapelle.errors import AgentFailed, AskPerson, TryAgain
from kapelle.estimates import CostProfiler
from kapelle.execution import ExecutionLimits, ExecutionResult, Executor
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal, Outcome, Run, SqliteLedger
from kapelle.routing import RoutingPlan
from kapelle.strategies import Cascade, Check, Checks, Single, Strategy, Vote, strategy_to_dict
from kapelle.testing import ScriptedAgent, VirtualClock
from kapelle.validation import AOPValidator

WELL_FORMED = Check(kind="well_formed")
NUMBER = {"output_schema": {"type": "integer"}}
PRICES = {"small": 0.01, "other": 0.02, "large": 0.5, "judge": 0.03}


def run_task(
    strategy: Strategy,
    answers: Mapping[str, Any],
    *,
    budget: Budget | None = None,
    checks: Checks | None = None,
    limits: ExecutionLimits | None = None,
    seconds: Mapping[str, float] | None = None,
    **fields: Any,
) -> tuple[ExecutionResult, Run, tuple[Outcome, ...]]:
    """Run one task of the type `sum` by a strategy, each agent giving its answer."""
    clock = VirtualClock()
    agents = {
        name: ScriptedAgent(
            {"t": answer, "u": "seen", "verify": answer}, seconds=(seconds or {}).get(name, 1.0), cost_usd=PRICES[name]
        )
        for name, answer in answers.items()
    }
    cards = [
        agent.card(name, "sum" if name != "judge" else "verify", cost_usd=PRICES[name])
        for name, agent in agents.items()
    ]
    registry = AgentRegistry(cards, runners=agents)
    dag = TaskDAG(
        [Task(task_id="t", task_type="sum", **fields), Task(task_id="u", task_type="sum", inputs={"x": "{t}"})]
    )
    last = next(name for name in answers if name != "judge")

    async def whole() -> tuple[ExecutionResult, Run, tuple[Outcome, ...]]:
        with SqliteLedger(clock=clock) as ledger:
            journal = Journal(ledger, "r1")
            journal.write("run_started", {"request": "test"})
            journal.write("run_planned", {"graph": dag.to_dict(), "planner": "test"})
            first = strategy.agent if isinstance(strategy, Single) else next(iter(answers))
            routing = RoutingPlan(assignments={"t": first, "u": last}, strategies={"t": strategy})
            journal.write("run_routed", {"assignments": routing.assignments, "explanations": {},
                                         "strategies": {"t": strategy_to_dict(strategy)}})  # fmt: skip
            result = await AOPValidator(registry, CostProfiler()).validate_routing_plan(routing, dag)
            assert result.approved is not None, result.issues
            journal.write("run_approved", {"estimates": {}, "issues": []})
            ending = await Executor(registry, timer=clock).execute(
                result.approved, journal, budget=budget or Budget(), checks=checks, limits=limits or ExecutionLimits()
            )
            assert ledger.run("r1") == journal.run()
            assert ledger.run("r1").strategies["t"] == strategy_to_dict(strategy)
            return ending, journal.run(), ledger.outcomes()

    return clock.run(whole())


def told(outcomes: tuple[Outcome, ...]) -> list[tuple[str, str, bool, float | None]]:
    return [(one.agent, one.step, one.success, one.quality) for one in outcomes if one.task_id == "t"]


CASCADE = Cascade(cheap="small", check=WELL_FORMED, strong=Single(agent="large"))


def test_a_cheap_answer_that_passes_is_taken_and_nobody_else_is_asked() -> None:
    ending, run, outcomes = run_task(CASCADE, {"small": "4", "large": "5"}, metadata=NUMBER)
    assert (ending.outputs["t"], run.tasks["t"].agent, ending.outputs["u"]) == ("4", "small", "seen")
    assert run.tasks["t"].cost_usd == 0.01
    assert told(outcomes) == [("small", "cheap", True, None)]  # a schema tells an answer's form, not that it is right


def test_a_cheap_answer_that_does_not_pass_goes_on_to_the_strong_agent() -> None:
    _, run, outcomes = run_task(CASCADE, {"small": "about four", "large": "5"}, metadata=NUMBER)
    task = run.tasks["t"]
    assert (task.output, task.agent, task.cost_usd) == ("5", "large", 0.51)
    assert [(one.agent, one.passed) for one in task.attempts] == [("small", False), ("large", None)]
    assert told(outcomes) == [("small", "cheap", False, 0.0), ("large", "strong", True, None)]


def test_a_cheap_agent_that_fails_is_no_reason_to_give_up() -> None:
    _, run, outcomes = run_task(CASCADE, {"small": AgentFailed("cannot", cost_usd=0.0), "large": "5"})
    assert (run.tasks["t"].output, run.tasks["t"].cost_usd) == ("5", 0.5)
    assert told(outcomes)[0] == ("small", "cheap", False, None)


def test_when_the_last_of_a_strategy_fails_the_task_does_and_says_what_each_one_said() -> None:
    _, run, _ = run_task(CASCADE, {"small": AgentFailed("cannot"), "large": AgentFailed("will not")})
    assert run.tasks["t"].state == "failed"
    assert run.tasks["t"].reason == "Large had no answer. (small: cannot; large: will not)"
    assert run.tasks["u"].state == "skipped"


def test_voters_are_asked_at_once_and_agree_on_what_means_the_same() -> None:
    vote = Vote(agents=("small", "other"), escalate_to=Single(agent="large"))
    _, run, outcomes = run_task(
        vote, {"small": "1,000", "other": "1000.0", "large": "7"}, seconds={"small": 3, "other": 3}
    )
    assert (run.tasks["t"].output, run.tasks["t"].seconds, run.tasks["t"].cost_usd) == ("1,000", 3, 0.03)
    assert told(outcomes) == [("small", "vote", True, 1.0), ("other", "vote", True, 1.0)]


def test_voters_that_disagree_escalate_and_learn_who_was_right() -> None:
    vote = Vote(agents=("small", "other"), escalate_to=Single(agent="large"))
    _, run, outcomes = run_task(vote, {"small": "6", "other": "7", "large": "7"})
    assert (run.tasks["t"].output, run.tasks["t"].agent) == ("7", "large")
    assert told(outcomes) == [
        ("small", "vote", True, 0.0),
        ("other", "vote", True, 1.0),
        ("large", "strong", True, None),
    ]


def test_a_voter_whose_answer_is_taken_for_want_of_a_better_one_proves_nothing() -> None:
    vote = Vote(agents=("small", "other"), escalate_to=Single(agent="small"))
    _, run, outcomes = run_task(vote, {"small": "6", "other": "7"})
    assert run.tasks["t"].output == "6"
    assert told(outcomes)[0] == ("small", "vote", True, None)


@pytest.mark.parametrize(("says", "agent"), [("Yes.", "small"), ("no", "large"), ("perhaps", "large")])
def test_a_verifier_is_asked_paid_and_believed(says: str, agent: str) -> None:
    cascade = Cascade(cheap="small", check=Check(kind="verifier", agent="judge"), strong=Single(agent="large"))
    _, run, outcomes = run_task(cascade, {"small": "4", "large": "5", "judge": says})
    assert run.tasks["t"].agent == agent
    assert run.tasks["t"].cost_usd == pytest.approx(0.04 if agent == "small" else 0.54)
    assert ("verify", "judge", 0.03) in [(one.task_type, one.agent, one.cost_usd) for one in outcomes]


MEASURED: dict[str, tuple[Check, dict[str, Any], Any, float | None]] = {
    "it is well formed": (WELL_FORMED, {}, "4", None),
    "it fits its schema": (WELL_FORMED, {"metadata": NUMBER}, "4", None),
    "it does not fit its schema": (WELL_FORMED, {"metadata": NUMBER}, "about four", 0.0),
    "a judge says that it is right": (Check(kind="verifier", agent="judge"), {}, "Yes.", 1.0),
    "a judge says that it is wrong": (Check(kind="verifier", agent="judge"), {}, "no", 0.0),
    "a judge says neither": (Check(kind="verifier", agent="judge"), {}, "perhaps", None),
    "a judge fails": (Check(kind="verifier", agent="judge"), {}, AgentFailed("no idea"), None),
    "a judge gives what cannot be read": (Check(kind="verifier", agent="judge"), {}, AskPerson("Is it?"), None),
    "there are no tests": (Check(kind="tests"), {}, "4", None),
}
"""Check, fields of the task, what is answered (by the judge, if there is one), and how good that was found to be."""


@pytest.mark.parametrize("what", MEASURED)
def test_only_a_check_that_can_tell_whether_an_answer_is_right_measures_it(what: str) -> None:
    check, fields, answer, quality = MEASURED[what]
    answers = {"small": "4" if check.agent else answer, "large": "5", **({"judge": answer} if check.agent else {})}
    cascade = Cascade(cheap="small", check=check, strong=Single(agent="large"))
    _, _, outcomes = run_task(cascade, answers, **fields)
    assert [one for one in told(outcomes) if one[1] == "cheap"] == [("small", "cheap", quality != 0.0, quality)]


def test_a_check_that_cannot_be_paid_says_nothing_against_the_answer() -> None:
    cascade = Cascade(cheap="small", check=Check(kind="verifier", agent="judge"), strong=Single(agent="small"))
    _, _, outcomes = run_task(cascade, {"small": "4", "judge": "yes"}, budget=Budget(usd=0.02))
    assert told(outcomes)[0] == ("small", "cheap", True, None)


def test_a_validator_that_is_at_fault_says_nothing_against_the_answer() -> None:
    checks = Checks(validators={"sum": lambda output: (False, "too short")})
    _, run, outcomes = run_task(Single(agent="small"), {"small": "4"}, checks=checks)
    assert run.tasks["t"].state == "failed"
    assert told(outcomes) == [("small", "single", True, None)]


def test_an_escalation_that_cannot_be_paid_fails_the_task_and_overruns_nothing() -> None:
    budget = Budget(usd=0.1)
    _, run, _ = run_task(CASCADE, {"small": "about four", "large": "5"}, metadata=NUMBER, budget=budget)
    assert run.tasks["t"].state == "failed"
    assert "The budget does not reach" in (run.tasks["t"].reason or "")
    assert budget.spent.usd == run.cost_usd == 0.01


def test_a_validator_of_the_user_guards_single_agents_too() -> None:
    checks = Checks(validators={"sum": lambda output: output in ("5", "seen")})
    _, run, outcomes = run_task(Single(agent="small"), {"small": "4"}, checks=checks)
    assert run.tasks["t"].state == "failed"
    assert told(outcomes) == [("small", "single", False, 0.0)]
    _, run, outcomes = run_task(Single(agent="small"), {"small": "5"}, checks=checks)
    assert (run.tasks["t"].state, run.tasks["t"].quality) == ("done", 1.0)


def test_a_step_of_a_strategy_is_tried_again_when_its_failure_can_pass() -> None:
    tries: list[Task] = []

    def small(task: Task, context: Any) -> AgentResult:
        tries.append(task)
        if len(tries) == 1:
            raise TryAgain("overloaded")
        return AgentResult(output="4", cost_usd=0.01)

    _, run, _ = run_task(CASCADE, {"small": small, "large": "5"}, metadata=NUMBER)
    assert [(one.agent, one.state) for one in run.tasks["t"].attempts] == [("small", "failed"), ("small", "done")]
    assert run.tasks["t"].agent == "small"


def test_a_deadline_in_the_middle_cancels_the_task_and_charges_what_ran() -> None:
    limits = ExecutionLimits(deadline_s=1.5)
    budget = Budget()
    ending, run, _ = run_task(
        CASCADE, {"small": "about four", "large": "5"}, metadata=NUMBER, limits=limits, budget=budget
    )
    assert (ending.state, run.tasks["t"].state) == ("stopped", "cancelled")
    assert run.cost_usd == budget.spent.usd == pytest.approx(0.51)


@given(st.lists(st.sampled_from(["4", "5", "", "x", AgentFailed("no")]), min_size=3, max_size=3), st.floats(0, 2))
def test_whatever_agents_answer_what_is_journaled_is_what_was_charged(answers: list[Any], cap: float) -> None:
    vote = Vote(agents=("small", "other"), escalate_to=CASCADE)
    budget = Budget(usd=cap)
    _, run, _ = run_task(vote, dict(zip(PRICES, answers, strict=False)), metadata=NUMBER, budget=budget)
    assert run.cost_usd == pytest.approx(budget.spent.usd)
    assert budget.spent.usd <= cap + 1e-9
    assert budget.reserved.usd == 0


def test_a_voter_that_asks_a_person_lets_the_task_wait_and_stops_the_others() -> None:
    vote = Vote(agents=("small", "other", "large"), min_agreement=2)
    answers = {"small": AskPerson("Which base?"), "other": "4", "large": "4"}
    ending, run, _ = run_task(vote, answers, seconds={"other": 5.0, "large": 0.5}, metadata=NUMBER)
    task = run.tasks["t"]
    assert (ending.state, task.state, run.open_questions[0].text) == ("waiting", "asking", "Which base?")
    assert [(one.agent, one.state, one.reason) for one in task.attempts] == [
        ("small", "failed", "It asked a person."),
        ("other", "failed", "Another agent asked a person."),
        ("large", "done", None),
    ]
    assert task.cost_usd == pytest.approx(sum(PRICES[name] for name in answers))
