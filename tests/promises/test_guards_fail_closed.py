"""No answer is taken that a guard did not accept: a validator or a judge that says no yes, in whatever way, is no yes.

`SAYS` are things that a validator may give back, and `FORMS` the ways in which a function can be one.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import pytest

from kapelle import Engine, Plan, Run, SqliteLedger, Task, TaskDAG, Verdict, agent
from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput
from kapelle.estimates import LoggedOutcome, LoggedTask
from kapelle.execution import ExecutionLimits
from kapelle.graph import GraphPatch
from kapelle.routing import RoutingPlan
from kapelle.strategies import Cascade, Check, Checks, Single, Strategy, Vote, read_passed

LIMITS = ExecutionLimits(task_timeout_s=30.0)


class Odd:
    """Is true, and shows itself to nobody."""

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        raise KeyboardInterrupt

    __str__ = __repr__


class Unsayable(ValueError):
    def __str__(self) -> str:
        raise KeyboardInterrupt


ANY: Any = (False, "too short")

# What is said: whether it is a yes, a no, or neither; and words that the task's reason then holds.
SAYS: Mapping[str, tuple[Callable[[], Any], str, str]] = {
    "True": (lambda: True, "yes", ""),
    "NumPy's True": (lambda: numpy.bool_(True), "yes", ""),
    "a Verdict": (lambda: Verdict(passed=True, note="fine"), "yes", ""),
    "False": (lambda: False, "no", "the validator for 't' refuses it"),
    "NumPy's False": (lambda: numpy.bool_(False), "no", "refuses it"),
    "a Verdict that says no": (lambda: Verdict(passed=False, note="too short"), "no", "refuses it: too short"),
    "crewAI's tuple": (lambda: (False, "too short"), "neither", "returned the tuple (False, 'too short')"),
    "crewAI's tuple of a yes": (lambda: (True, "fine"), "neither", "returned the tuple (True, 'fine')"),
    "None": (lambda: None, "neither", "returned None: neither True nor False"),
    "a text": (lambda: "yes", "neither", "returned 'yes'"),
    "an empty text": (lambda: "", "neither", "returned ''"),
    "one": (lambda: 1, "neither", "returned 1"),
    "zero": (lambda: 0, "neither", "returned 0"),
    "an array of one": (lambda: numpy.array([True]), "neither", "returned a ndarray"),
    "a mapping": (lambda: {"passed": True}, "neither", "returned a dict"),
    "an object that is true": (Odd, "neither", "returned a Odd"),
    "a tuple of such": (lambda: (Odd(),), "neither", "returned the tuple (a Odd)"),
    "a Verdict that holds a tuple": (lambda: Verdict(passed=ANY), "neither", "a Verdict with passed=the tuple"),
    "a generator": (lambda: (one for one in [True]), "neither", "returned a generator"),
    "a class": (lambda: bool, "neither", "returned a type"),
    "another function": (lambda: lambda: True, "neither", "returned a function"),
    "it raises": (lambda: _raise(ValueError("too short")), "no", "raised ValueError: too short"),
    "it asserts": (lambda: _raise(AssertionError("too short")), "no", "raised AssertionError: too short"),
    "it raises what shows nothing": (lambda: _raise(Unsayable()), "no", "raised Unsayable, which cannot be shown"),
    "it exits": (lambda: _raise(SystemExit(1)), "no", "raised SystemExit: 1"),
    "it interrupts": (lambda: _raise(KeyboardInterrupt()), "no", "raised KeyboardInterrupt"),
    "it stops an iteration": (lambda: _raise(StopIteration()), "no", "raised"),
    "it cancels itself": (lambda: _raise(asyncio.CancelledError()), "no", ""),
    "it fails as agents do": (lambda: _raise(AgentFailed("too short")), "no", "too short"),
}


def _raise(error: BaseException) -> Any:
    raise error


def plain(give: Callable[[], Any]) -> Any:
    return lambda output: give()


def asynchronous(give: Callable[[], Any]) -> Any:
    async def validate(output: Any) -> Any:
        await asyncio.sleep(0)
        return give()

    return validate


class Validating:
    def __init__(self, give: Callable[[], Any]) -> None:
        self.give = give

    async def __call__(self, output: Any) -> Any:
        return self.give()


FORMS: Mapping[str, Callable[[Callable[[], Any]], Any]] = {
    "plain": plain,
    "async": asynchronous,
    "an object": lambda give: Validating(give),
    "plain, returns a coroutine": lambda give: lambda output: asynchronous(give)(output),
    "partial": lambda give: functools.partial(lambda it, output: it(), give),
    "partial of async": lambda give: functools.partial(asynchronous(give)),
    "a method": lambda give: Validating(give).__call__,
}


class Routed:
    """Gives every task the same strategy."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def find_pinned(self, tasks: object) -> frozenset[str]:
        return frozenset()

    async def route_tasks(self, dag: TaskDAG, **_: Any) -> RoutingPlan:
        several = {} if isinstance(self._strategy, Single) else dict.fromkeys(dag.tasks, self._strategy)
        return RoutingPlan(
            assignments=dict.fromkeys(dag.tasks, "one"),
            explanations=dict.fromkeys(dag.tasks, "as the test says"),
            strategies=several,
        )


STRATEGIES: Mapping[str, Strategy] = {
    "single": Single(agent="one"),
    "cascade": Cascade(cheap="one", check=Check(kind="well_formed"), strong=Single(agent="two")),
    "vote": Vote(agents=("one", "two")),
}


def run_with(
    validator: Any, strategy: Strategy = STRATEGIES["single"], *, agents: int = 2, **options: Any
) -> tuple[Run, SqliteLedger, list[str]]:
    asked: list[str] = []

    def make(name: str) -> Any:
        async def work(task: Task, context: TaskContext) -> Any:
            asked.append(name)
            return ["an answer"]

        return agent(agent_id=name, task_types=["t"], cost_usd=0.01)(work)

    ledger = SqliteLedger()
    engine = Engine(
        [make(name) for name in ("one", "two", "three")[:agents]],
        model="none",
        environ={},
        ledger=ledger,
        validators={"t": validator},
        **{"limits": LIMITS, **options},
    )
    engine.router = Routed(strategy)  # type: ignore[assignment]  # a router of the test
    graph = TaskDAG([Task(task_id="a", task_type="t")])
    run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me")))
    assert ledger.run("last") == run
    return run, ledger, asked


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", SAYS)
def test_what_is_no_yes_is_taken_for_none(case: str, form: str) -> None:
    give, means, words = SAYS[case]
    if (case, form) == ("it stops an iteration", "async"):
        words = "raised RuntimeError"  # Python's own for a coroutine that raises it
    run, _, _ = run_with(FORMS[form](give), agents=1)
    assert (run.state == "done") == (means == "yes"), run.tasks["a"].reason
    assert run.results == ({"a": ["an answer"]} if means == "yes" else {})
    assert words in (run.tasks["a"].reason or ""), run.tasks["a"].reason


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("case", [case for case, (_, means, _) in SAYS.items() if means == "neither"])
def test_a_validator_that_is_at_fault_fails_the_task_and_nobody_else_is_paid_for_nothing(
    case: str, strategy: str
) -> None:
    give, _, words = SAYS[case]
    run, _, asked = run_with(plain(give), STRATEGIES[strategy])
    assert run.tasks["a"].state == "failed"
    assert words in (run.tasks["a"].reason or "")
    assert "kapelle.Verdict(passed=..., note=...)" in (run.tasks["a"].reason or "")
    assert asked == (["one", "two"] if strategy == "vote" else ["one"])
    assert run.cost_usd == pytest.approx(0.01 * len(asked))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_one_answer_is_refused_another_agent_may_give_a_better_one(strategy: str) -> None:
    said = iter([False, True, True])
    run, _, asked = run_with(plain(lambda: next(said)), STRATEGIES[strategy])
    if strategy == "vote":  # both have been asked, and said the same
        assert run.state == "failed" or len(asked) == 2
    else:
        assert (run.state, asked) == ("done", ["one", "two"])


def test_why_an_answer_was_refused_stands_in_the_reason_of_the_task() -> None:
    run, _, _ = run_with(plain(lambda: Verdict(passed=False, note="17 is no capital")), agents=2)
    reason = run.tasks["a"].reason or ""
    assert "one: the validator for 't' refuses it: 17 is no capital" in reason
    assert "two: the validator for 't' refuses it: 17 is no capital" in reason


@pytest.mark.parametrize("form", ["plain", "async"])
def test_a_validator_that_hangs_is_ended_by_the_time_of_the_task(form: str) -> None:
    released = threading.Event()
    others: list[str] = []

    def hangs(output: Any) -> Any:
        released.wait(60)
        return True

    async def hangs_there(output: Any) -> Any:
        await asyncio.sleep(60)
        return True

    @agent(agent_id="one", task_types=["t", "other"], cost_usd=0.01)
    async def one(task: Task) -> str:
        others.append(task.task_id)
        return "x"

    engine = Engine(
        [one],
        model="none",
        environ={},
        ledger=SqliteLedger(),
        validators={"t": hangs if form == "plain" else hangs_there},
        limits=ExecutionLimits(task_timeout_s=0.3),
    )
    graph = TaskDAG(
        [
            Task(task_id="a", task_type="t"),
            Task(task_id="b", task_type="other"),
            Task(task_id="c", task_type="other", depends_on=("b",)),
        ]
    )
    run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me")))
    released.set()
    assert (run.state, run.results) == ("partial", {"b": "x", "c": "x"})
    assert "The check failed. " in (run.tasks["a"].reason or "")


def test_a_validator_that_blocks_holds_up_nobody() -> None:
    """It waits for a task that runs beside it, which it could not where it blocked the loop."""
    ended = threading.Event()

    @agent(agent_id="one", task_types=["t", "other"], cost_usd=0.01)
    async def one(task: Task) -> str:
        if task.task_id == "c":
            ended.set()
        return "x"

    engine = Engine(
        [one], model="none", environ={}, ledger=SqliteLedger(), validators={"t": lambda output: ended.wait(20)}
    )
    graph = TaskDAG(
        [
            Task(task_id="a", task_type="t"),
            Task(task_id="b", task_type="other"),
            Task(task_id="c", task_type="other", depends_on=("b",)),
        ]
    )
    assert asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me"))).state == "done"


@pytest.mark.parametrize("validators", [7, ["t"], {"t": "x"}, {"t": None}, {"t": True}])
def test_what_is_no_validator_is_refused_before_anything_runs(validators: Any) -> None:
    with pytest.raises(InvalidInput, match="alidator"):
        Engine([], model="none", environ={}, ledger=SqliteLedger(), validators=validators)


def test_who_changes_the_validators_that_were_given_changes_none() -> None:
    given: dict[str, Any] = {"t": lambda output: False}
    checks = Checks(validators=given)
    given.clear()
    assert checks.guards(Task(task_id="a", task_type="t"))


# Judges


SAID: Mapping[str, tuple[Any, bool]] = {
    "yes": ("yes", True),
    "true": (True, True),
    "NumPy's yes": (numpy.bool_(True), True),
    "no": ("no", False),
    "false": (False, False),
    "a tuple": ((True, "fine"), False),
    "one": (1, False),
    "nothing": (None, False),
    "both": ("yes and no", False),
    "a mapping": ({"passed": True}, False),
    "other words": ("It looks right to me", False),
    "a failure": (AgentFailed("no"), False),
    "a bug": (ValueError("no"), False),
    "other tasks": (AgentResult(output=None, expansion=TaskDAG([Task(task_id="x", task_type="t")])), False),
}


@pytest.mark.parametrize("case", SAID)
def test_a_judge_that_says_no_yes_has_passed_no_answer(case: str) -> None:
    said, passes = SAID[case]

    @agent(agent_id="one", task_types=["t"], cost_usd=0.01)
    async def one(task: Task) -> str:
        return "cheap"

    @agent(agent_id="two", task_types=["t"], cost_usd=0.1)
    async def two(task: Task) -> str:
        return "strong"

    @agent(agent_id="judge", task_types=["verify"], cost_usd=0.01)
    async def judge(task: Task) -> Any:
        if isinstance(said, BaseException):
            raise said
        return said

    engine = Engine([one, two, judge], model="none", environ={}, ledger=SqliteLedger())
    strategy = Cascade(cheap="one", check=Check(kind="verifier", agent="judge"), strong=Single(agent="two"))
    engine.router = Routed(strategy)  # type: ignore[assignment]  # a router of the test
    plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="t")]), planner="me")
    assert asyncio.run(engine.run(plan)).results == {"a": "cheap" if passes else "strong"}


class Lying(Checks):
    """Checks of a user's own, which give what is no verdict."""

    async def examine(self, check: Check, task: Task, output: object, *, ask: Any = None) -> Any:
        return Verdict(passed=ANY, note="fine")


def test_checks_of_a_users_own_are_held_to_the_same() -> None:
    ledger = SqliteLedger()

    @agent(agent_id="one", task_types=["t"], cost_usd=0.01)
    async def one(task: Task) -> str:
        return "x"

    engine = Engine([one], model="none", environ={}, ledger=ledger)
    engine.checks = Lying(validators={"t": lambda output: True})
    plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="t")]), planner="me")
    run = asyncio.run(engine.run(plan))
    assert run.state == "failed"
    assert "`passed` is a tuple" in (run.tasks["a"].reason or "")


# Logs, where nothing is awaited


@pytest.mark.parametrize(
    "case", [case for case in SAYS if case not in ("it exits", "it interrupts", "it cancels itself")]
)
def test_of_logged_answers_the_same_counts(case: str) -> None:
    give, means, _ = SAYS[case]
    row = LoggedTask(
        task_id="a", text="x", task_type="t", outcomes={"one": LoggedOutcome(quality=1.0, cost_usd=0.0, output="x")}
    )
    verdict = Checks(validators={"t": plain(give)}).examine_logged(Check(kind="well_formed"), row, "one")
    assert verdict is not None
    assert verdict.passed == (means == "yes")
    unknown = Checks(validators={"t": asynchronous(give)}).examine_logged(Check(kind="well_formed"), row, "one")
    assert unknown is None, "a check of which nothing is known was not passed"


def test_only_two_values_are_a_yes_or_a_no() -> None:
    assert [read_passed(one) for one in (True, False, numpy.True_, numpy.False_)] == [True, False, True, False]
    others: list[Any] = [0, 1, None, "", "yes", [], [True], {}, Odd(), GraphPatch()]
    assert {read_passed(one) for one in others} == {None}
