"""What a person said counts for what was asked: by whom, of which inputs, in which words, of which arguments.

`Asked` is an agent that asks whether it may do its work, and writes down what it was told. `WAYS` are all the ways in
which a task comes to another agent, or to the same one once more.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle import AskPerson, Engine, HumanAnswer, Plan, Run, SqliteLedger, Task, TaskDAG, TryAgain, agent
from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput, NotFound
from kapelle.execution import ExecutionLimits, RetryPolicy, make_backend
from kapelle.execution.questions import Given, Questions
from kapelle.graph import GraphPatch
from kapelle.ledger import Ledger, NewEvent, describe_question, hash_asked
from kapelle.redaction.known import remember
from kapelle.routing import RoutingPlan
from kapelle.strategies import Cascade, Check, Single, Strategy, Vote

LIMITS = ExecutionLimits(retry=RetryPolicy(max_attempts=2, first_delay_s=0.0))


class Routed:
    """Gives every task the same strategy."""

    def __init__(self, strategy: Strategy, first: str) -> None:
        self._strategy, self._first = strategy, first

    def find_pinned(self, tasks: object) -> frozenset[str]:
        return frozenset()

    async def route_tasks(self, dag: TaskDAG, **_: Any) -> RoutingPlan:
        several = {} if isinstance(self._strategy, Single) else dict.fromkeys(dag.tasks, self._strategy)
        return RoutingPlan(
            assignments=dict.fromkeys(dag.tasks, self._first),
            explanations=dict.fromkeys(dag.tasks, "as the test says"),
            strategies=several,
        )


@dataclass
class Asked:
    """An agent that asks before it does anything, and is told only what was said to itself."""

    name: str
    does: Callable[[int], Any] = lambda _: "done"
    """What it does at its first, second, ... time that it was answered."""
    by_hand: bool = False
    """Whether it looks at the answers itself, and not by `context.ask`."""
    told: list[tuple[HumanAnswer, ...]] = field(default_factory=list)
    times: int = 0

    def question(self, task: Task) -> str:
        return f"May {self.name} do {task.task_id}?"

    async def run(self, task: Task, context: TaskContext) -> Any:
        self.told.append(context.answers)
        if self.by_hand and not context.answers:
            raise AskPerson(self.question(task), kind="approval")
        if not self.by_hand:
            assert context.ask(self.question(task), kind="approval") is True
        for one in context.answers:
            assert (one.asker, one.question, one.value) == (self.name, self.question(task), True)
        self.times += 1
        found = self.does(self.times)
        if isinstance(found, BaseException):
            raise found
        return found

    def registered(self, **options: Any) -> Any:
        async def run(task: Task, context: TaskContext) -> Any:
            return await self.run(task, context)

        return agent(agent_id=self.name, **{"task_types": ["work"], "cost_usd": 0.01, **options})(run)


def work(name: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=name, task_type="work", depends_on=after, **fields)


def make(*agents: Any, ledger: Ledger | None = None, strategy: Strategy | None = None, **options: Any) -> Engine:
    given: dict[str, Any] = {"model": "none", "environ": {}, "limits": LIMITS, **options}
    engine = Engine([one.registered() if isinstance(one, Asked) else one for one in agents],
                    ledger=ledger or SqliteLedger(), **given)  # fmt: skip
    if strategy is not None:
        engine.router = Routed(strategy, agents[0].name)  # type: ignore[assignment]  # a router of the test
    return engine


def play(engine: Engine, *tasks: Task, say: Callable[[str], bool] = lambda _: True) -> Run:
    """Run tasks, and answer whatever is asked, until nothing is asked any more."""
    plan = Plan(request="x", graph=TaskDAG(tasks or [work("t")]), planner="me")
    run = asyncio.run(engine.run(plan))
    for _ in range(12):
        if run.state != "waiting":
            return run
        for question in run.open_questions:
            (engine.approve if say(question.text) else engine.reject)(question.question_id)
        run = asyncio.run(engine.resume(run.run_id))
    raise AssertionError("it asks without an end")


def fail(_: int) -> Any:
    return AgentFailed("it cannot be done")


def again(times: int) -> Any:
    return TryAgain("busy") if times == 1 else "done"


def grow(times: int) -> Any:
    return AgentResult(output=None, expansion=TaskDAG([work("part")])) if times == 1 else "done"


CHEAP = Cascade(cheap="one", check=Check(kind="well_formed"), strong=Single(agent="two"))
JUDGED = Cascade(cheap="one", check=Check(kind="verifier", agent="two"), strong=Single(agent="three"))

WAYS: Mapping[str, tuple[Strategy | None, Mapping[str, Callable[[int], Any]], list[str]]] = {
    # its strategy, what its agents do, and what is asked, in turn
    "alone": (None, {"one": lambda _: "done"}, ["May one do t?"]),
    "a fallback": (None, {"one": fail, "two": lambda _: "done"}, ["May one do t?", "May two do t?"]),
    "a retry": (None, {"one": again}, ["May one do t?"]),
    "a cascade": (CHEAP, {"one": lambda _: "", "two": lambda _: "done"}, ["May one do t?", "May two do t?"]),
    "a vote": (
        Vote(agents=("one", "two")),
        {"one": lambda _: "done", "two": lambda _: "done"},
        ["May one do t?", "May two do t?"],
    ),
    "grown": (None, {"one": grow}, ["May one do t?", "May one do t-part?"]),
}


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_nobody_is_told_what_was_said_to_another(way: str, by_hand: bool) -> None:
    strategy, does, asked = WAYS[way]
    agents = [Asked(name=name, does=one, by_hand=by_hand) for name, one in does.items()]
    run = play(make(*agents, strategy=strategy))
    assert run.state == "done"
    assert sorted(one.text for one in run.questions.values()) == sorted(asked)
    assert all(one.asker == one.agent and one.asker in one.text for one in run.questions.values())
    for one in agents:
        assert any(one.told), "it was told its own answer"


def test_who_is_refused_makes_way_for_nobody_unasked() -> None:
    one, two = Asked("one"), Asked("two")
    run = play(make(one, two), say=lambda text: "one" not in text)
    assert (run.state, one.times, two.times) == ("failed", 0, 0)
    assert "A person rejected it" in (run.tasks["t"].reason or "")


def test_a_verifier_is_told_nothing_of_the_answers_to_whom_it_judges_or_to_itself() -> None:
    seen: list[tuple[HumanAnswer, ...]] = []

    @agent(agent_id="two", task_types=["work", "verify"], cost_usd=0.01)
    async def two(task: Task, context: TaskContext) -> str:
        if task.task_type == "verify":
            seen.append(context.answers)
        return "yes"

    one, three = Asked("one"), Asked("three")
    run = play(make(one, two, three, strategy=JUDGED))
    assert (run.state, seen) == ("done", [()])


class Anew:
    """Plans the work of a failed task anew, once, and says what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[HumanAnswer, ...]] = []

    async def replan(self, task: Task, reason: str, context: TaskContext) -> AgentResult:
        self.told.append(context.answers)
        return AgentResult(output=None, expansion=TaskDAG([work("other")]))


@pytest.mark.parametrize("name", ["one", "planner"])
def test_work_that_is_planned_anew_is_asked_about_anew(name: str) -> None:
    one = Asked(name, does=lambda times: fail(times) if times == 1 else "done")
    engine, planner = make(one), Anew()
    engine.team = replace(engine.team, replanner=planner)
    run = play(engine)
    assert run.state == "done"
    assert [question.text for question in run.questions.values()] == [f"May {name} do t?", f"May {name} do t-other?"]
    assert planner.told == [()]


def failing(name: str, *, cost_usd: float, fails: bool, begun: list[str]) -> Any:
    @agent(agent_id=name, task_types=["work"], cost_usd=cost_usd)
    async def does(task: Task) -> str:
        begun.append(f"{name} {task.task_id}")
        if fails and task.task_id == "t":
            raise AgentFailed("it cannot be done")
        return "done"

    return does


@pytest.mark.parametrize("backend", ["asyncio", "threads"])
def test_no_other_agent_does_what_was_approved_for_one(backend: str) -> None:
    begun: list[str] = []
    engine = make(
        failing("cheap", cost_usd=0.01, fails=True, begun=begun),
        failing("dear", cost_usd=0.90, fails=False, begun=begun),
        backend=backend,
    )
    run = play(engine, work("t", approval=True))
    [question] = run.questions.values()
    assert (question.agent, question.expected_usd) == ("cheap", 0.01)
    assert (run.state, begun) == ("failed", ["cheap t"])
    assert "dear might do it, but a person approved another agent for it" in (run.tasks["t"].reason or "")
    begun.clear()
    assert (play(engine, work("t")).state, begun) == ("done", ["cheap t", "dear t"])


def test_what_is_planned_anew_in_the_place_of_an_approved_task_is_asked_for() -> None:
    begun: list[str] = []
    engine = make(failing("cheap", cost_usd=0.01, fails=True, begun=begun))
    engine.team = replace(engine.team, replanner=Anew())
    run = play(engine, work("t", approval=True), say=lambda text: "t-other" not in text)
    assert (run.state, begun) == ("failed", ["cheap t"])
    assert [question.task_id for question in run.questions.values()] == ["t", "t-other"]


# The same agent asks once more


def asking(
    *questions: Callable[[Task, TaskContext], Any],
) -> Any:
    """An agent that asks what these functions ask: at its first time the first, and so on; the last one for ever."""
    times = iter(range(1000))

    @agent(agent_id="one", task_types=["work"], cost_usd=0.01)
    async def one(task: Task, context: TaskContext) -> Any:
        return questions[min(next(times), len(questions) - 1)](task, context)

    return one


def ask(*words: Any, **more: Any) -> Callable[[Task, TaskContext], Any]:
    return lambda _, context: context.ask(*words, **more)


APPROVAL = {"kind": "approval"}
ANOTHER: Mapping[str, tuple[Any, Any]] = {
    "other words": (ask("May I delete /data/cache?", **APPROVAL), ask("May I delete /home?", **APPROVAL)),
    "other arguments": (
        ask("May I delete it?", **APPROVAL, arguments={"path": "/data/cache"}),
        ask("May I delete it?", **APPROVAL, arguments={"path": "/home"}),
    ),
    "arguments of another type": (
        ask("May I pay?", **APPROVAL, arguments={"eur": 1}),
        ask("May I pay?", **APPROVAL, arguments={"eur": "1"}),
    ),
    "arguments where there were none": (
        ask("May I delete it?", **APPROVAL),
        ask("May I delete it?", **APPROVAL, arguments={"path": "/home"}),
    ),
    "a value deep inside": (
        ask("May I?", **APPROVAL, arguments={"calls": [{"to": ["a"]}]}),
        ask("May I?", **APPROVAL, arguments={"calls": [{"to": ["b"]}]}),
    ),
    "another kind": (ask("Shall I?", options=["True", "False"]), ask("Shall I?", **APPROVAL)),
    "other options": (ask("Which?", options=["a", "b"]), ask("Which?", options=["a", "c"])),
    "by hand after ask": (
        ask("May I read?", **APPROVAL),
        lambda task, context: (_ for _ in ()).throw(AskPerson("May I delete?", kind="approval")),
    ),
}


def answer(engine: Engine, question: Any) -> None:
    if question.kind == "approval":
        engine.approve(question.question_id)
    else:
        engine.answer(question.question_id, question.options[0] if question.options else "yes")


@pytest.mark.parametrize("case", ANOTHER)
def test_what_is_asked_otherwise_is_another_question(case: str) -> None:
    engine = make(asking(*ANOTHER[case]))
    plan = Plan(request="x", graph=TaskDAG([work("t")]), planner="me")
    run = asyncio.run(engine.run(plan))
    answer(engine, run.open_questions[0])
    run = asyncio.run(engine.resume("last"))
    assert (run.state, len(run.questions), len(run.open_questions)) == ("waiting", 2, 1)
    first, second = run.questions.values()
    assert first.asked_hash != second.asked_hash


SAME: Mapping[str, tuple[Any, Any]] = {
    "keys in another order": (
        ask("May I?", **APPROVAL, arguments={"a": 1, "b": {"c": 2, "d": 3}}),
        ask("May I?", **APPROVAL, arguments={"b": {"d": 3, "c": 2}, "a": 1}),
    ),
    "a tuple for a list": (ask("May I?", arguments={"a": (1, 2)}), ask("May I?", arguments={"a": [1, 2]})),
    "options of a set": (ask("Which?", options={"a", "b"}), ask("Which?", options=["b", "a"])),
    "options of a generator": (
        lambda _, context: context.ask("Which?", options=(one for one in "ab")),
        ask("Which?", options=["a", "b"]),
    ),
    "halves of a character": (ask("May \ud83d\ude00?"), ask("May \U0001f600?")),
    "half of a character": (ask("May \ud83d?"), ask("May \ud83d?")),
    "a long text": (ask("x" * 50_000), ask("x" * 50_000)),
    "not a number": (ask("x", arguments={"a": float("nan")}), ask("x", arguments={"a": float("nan")})),
}


@pytest.mark.parametrize("case", SAME)
def test_what_is_asked_alike_is_the_same_question(case: str) -> None:
    engine = make(asking(*SAME[case]))
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([work("t")]), planner="me")))
    answer(engine, run.open_questions[0])
    run = asyncio.run(engine.resume("last"))
    assert (run.state, len(run.questions)) == ("done", 1)


def test_two_questions_in_a_row_are_two_and_each_has_its_answer() -> None:
    engine = make(asking(lambda _, context: [context.ask("Which?", ["a", "b"]), context.ask("How much?")]))
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([work("t")]), planner="me")))
    engine.answer(run.open_questions[0].question_id, "b", by="ann", note="it is nearer")
    run = asyncio.run(engine.resume("last"))
    engine.answer(run.open_questions[0].question_id, {"eur": 5})
    run = asyncio.run(engine.resume("last"))
    assert run.results["t"] == ["b", {"eur": 5}]
    first = next(iter(run.questions.values()))
    assert (first.by, first.note) == ("ann", "it is nearer")


def test_an_agent_may_change_what_it_is_told_and_asks_the_same_of_it_again() -> None:
    def one(_: Task, context: TaskContext) -> Any:
        said = context.ask("Which?")
        said.append("changed")
        context.answers[0].value.append("too")
        return context.ask("Which?")

    engine = make(asking(one))
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([work("t")]), planner="me")))
    engine.answer(run.open_questions[0].question_id, ["a"])
    run = asyncio.run(engine.resume("last"))
    assert run.questions[next(iter(run.questions))].answer == ["a"]


def test_what_was_rejected_is_asked_again_where_the_run_is_tried_again_and_told_to_nobody() -> None:
    for by_hand in (False, True):
        one = Asked("one", by_hand=by_hand)
        engine = make(one)
        assert play(engine, say=lambda _: False).state == "failed"
        run = asyncio.run(engine.resume("last"))
        assert (run.state, one.times, len(run.questions)) == ("waiting", 0, 2)
        assert not any(one.told)


# What the task is given


class Source:
    """An agent whose output is another one when its run is tried again."""

    def __init__(self, *outputs: Any) -> None:
        self.outputs = iter(outputs)

    def registered(self) -> Any:
        @agent(agent_id="source", task_types=["source"], cost_usd=0.01)
        async def source(task: Task) -> Any:
            found = next(self.outputs)
            if isinstance(found, BaseException):
                raise found
            return found

        return source


@pytest.mark.parametrize("way", ["inputs and ask", "upstream and by hand", "approval"])
def test_another_input_is_another_question(way: str) -> None:
    """A source fails, so its task goes on without it; tried again, the source gives something."""
    times = iter(range(10))

    async def after_approval(task: Task, context: TaskContext) -> Any:
        if next(times) == 0:
            raise AgentFailed("not yet")
        return dict(context.upstream)

    worker: Any = Asked(
        "one", does=lambda times: fail(times) if times == 1 else "done", by_hand=way == "upstream and by hand"
    )
    if way == "approval":
        worker = agent(agent_id="one", task_types=["work"], cost_usd=0.01)(after_approval)
    engine = make(worker, Source(AgentFailed("gone"), "from /home").registered())
    source = Task(task_id="s", task_type="source", on_failure="continue")
    run = play(engine, source, work("t", "s", approval=way == "approval"))
    assert run.state in ("partial", "failed")
    run = asyncio.run(engine.resume("last"))
    assert (run.state, run.tasks["s"].state) == ("waiting", "done")
    first, second = run.questions.values()
    assert first.answer is True
    assert second.is_open
    assert (first.upstream, second.upstream) == ({}, {"s": "from /home"})
    assert first.arguments_hash != second.arguments_hash
    if way == "approval":
        assert "not what was approved before" in second.text


def test_the_same_input_is_approved_once_whoever_goes_on_with_it() -> None:
    times = iter(range(10))

    @agent(agent_id="one", task_types=["work"], cost_usd=0.01)
    async def worker(task: Task) -> Any:
        if next(times) == 0:
            raise AgentFailed("not yet")
        return "done"

    engine = make(worker, Source({"a": [1, 2.5], "b": None}).registered())
    tasks = (Task(task_id="s", task_type="source"), work("t", approval=True, inputs={"x": "{s.a}", "y": "of {s}"}))
    assert play(engine, *tasks).state == "partial"
    run = asyncio.run(make(worker, ledger=engine.ledger).resume("last"))
    assert (run.state, len(run.questions)) == ("done", 1)


def test_a_key_that_the_ledger_does_not_keep_makes_no_other_question(tmp_path: Path) -> None:
    key = "sk-proj-Zx81kQ0aLm27VbNc55pqRsTu93wE"
    one = Asked("one")
    remember(key, owner=one)
    tasks = (work("t", inputs={"with": key, "not": "a key"}),)
    engine = make(one, ledger=SqliteLedger(tmp_path / "l"))
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG(tasks), planner="me")))
    engine.approve(run.open_questions[0].question_id)
    run = asyncio.run(make(one, ledger=SqliteLedger(tmp_path / "l")).resume("last"))
    assert (run.state, len(run.questions)) == ("done", 1)
    assert key not in (tmp_path / "l").read_bytes().decode("latin-1")


def test_a_task_that_a_change_to_the_graph_puts_in_the_place_of_another_is_given_something_else() -> None:
    engine = make(Asked("one"))
    before, after = TaskDAG([work("t", inputs={"n": 1})]), TaskDAG([work("t", inputs={"n": 2})])
    run = asyncio.run(engine.run(Plan(request="x", graph=before, planner="me")))
    asked = run.open_questions[0]
    changed = before.patched(GraphPatch(replace=tuple(after)))
    assert asked.inputs == {"n": 1}
    hashes = {
        Given(task=task.resolved({}), upstream={}, agent="one").hash for graph in (before, changed) for task in graph
    }
    assert len(hashes) == 2
    assert asked.arguments_hash in hashes


# Backends, and other processes


BACKENDS: list[Any] = ["asyncio", "threads"]
if importlib.util.find_spec("ray") is not None:
    BACKENDS.append(pytest.param("ray", marks=pytest.mark.slow))


def ask_twice(task: Task, context: TaskContext) -> Any:
    account = context.ask("Which account?", options=["savings", "current"])
    context.ask("May I pay?", kind="approval", arguments={"from": account, "eur": 1.5})
    return [account, [one.question for one in context.answers]]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_so_wherever_an_agent_runs(backend: str) -> None:
    ledger = SqliteLedger()
    one = agent(agent_id="one", task_types=["work"], cost_usd=0.01)(ask_twice)
    there = make_backend(backend)
    plan = Plan(request="x", graph=TaskDAG([work("t")]), planner="me")
    with warnings.catch_warnings(), asyncio.Runner() as runner:
        warnings.simplefilter("ignore")  # Ray leaves sockets and files to the garbage collector
        run = runner.run(make(one, ledger=ledger, backend=there).run(plan))
        for _ in range(2):
            engine = make(one, ledger=ledger, backend=there)  # another engine each time, as after a crash
            answer(engine, run.open_questions[0])
            run = runner.run(engine.resume("last"))
        runner.run(there.close())
    assert (run.state, run.results) == ("done", {"t": ["savings", ["Which account?", "May I pay?"]]})
    assert [one.arguments for one in run.questions.values()] == [None, {"from": "savings", "eur": 1.5}]


# What people do


def waiting(*agents: Any) -> tuple[Engine, str]:
    engine = make(*(agents or (Asked("one"),)))
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([work("t")]), planner="me")))
    return engine, run.open_questions[0].question_id


def test_the_first_answer_counts_and_whoever_is_later_is_told() -> None:
    engine, asked = waiting()
    engine.approve(asked, by="ann")
    for say in (engine.approve, engine.reject):
        with pytest.raises(InvalidInput, match="answered already; the first answer counts"):
            say(asked, by="bob")
    run = asyncio.run(engine.resume("last"))
    assert (run.state, run.questions[asked].answer, run.questions[asked].by) == ("done", True, "ann")
    with pytest.raises(NotFound, match="No open question"):
        engine.approve(asked)


def test_an_answer_to_a_question_that_is_gone_changes_nothing() -> None:
    engine, asked = waiting()
    engine.approve(asked)
    run = asyncio.run(engine.resume("last"))
    engine.ledger.post(run.run_id, "q-late", {"question_id": asked, "task_id": "t", "answer": False, "by": "bob"})
    assert engine.ledger.run("last") == run
    with pytest.raises(NotFound, match="No open question"):
        engine.reject(asked)


@pytest.mark.parametrize("said", ["yes", 1, "True", [True], None, {"approved": True}])
def test_an_approval_is_true_and_nothing_that_looks_like_it(said: Any) -> None:
    one = Asked("one")
    engine, asked = waiting(one)
    run = engine.ledger.run("last")
    engine.ledger.post(run.run_id, asked, {"question_id": asked, "task_id": "t", "answer": said})
    run = asyncio.run(engine.resume("last"))
    assert (run.state, one.times) == ("failed", 0)


# What a person sees


def test_a_person_sees_all_that_will_run_and_what_it_costs() -> None:
    engine = make(asking(lambda task, context: "paid"), Source({"to": "ACME", "eur": 12}, ["a", "b"]).registered())
    bill = work("pay", "n", approval=True, description="Pay the bill", inputs={"to": "{s.to}", "note": "a\nb"})
    sources = (Task(task_id="s", task_type="source"), Task(task_id="n", task_type="source", depends_on=("s",)))
    run = asyncio.run(engine.run(Plan(request="x", planner="me", graph=TaskDAG([*sources, bill]))))
    (asked,) = run.open_questions
    assert (asked.agent, asked.task_type, asked.description) == ("one", "work", "Pay the bill")
    assert (asked.inputs, asked.upstream) == ({"to": "ACME", "note": "a\nb"}, {"n": ["a", "b"]})
    assert asked.expected_usd == 0.01
    shown = "\n".join(describe_question(asked))
    assert "May 'pay' (work) begin: Pay the bill?" in shown
    for words in ("by one", "$0.01", "input to: ACME", 'input note: "a\\nb"', 'output of n: ["a", "b"]'):
        assert words in shown
    assert engine.ledger.questions() == (asked,)


@pytest.mark.parametrize("where", ["words", "argument", "name", "input"])
@pytest.mark.parametrize("size", [5_000, 100_000, 900_000])
def test_what_is_long_is_cut_by_so_much_and_kept_whole(where: str, size: int) -> None:
    long = "a" * size + "END"
    ways: dict[str, dict[str, Any]] = {
        "words": {"question": long},
        "argument": {"question": "May I?", "arguments": {"x": long}},
        "name": {"question": "May I?", "arguments": {long: 1}},
        "input": {"question": "May I?"},
    }
    engine = make(asking(ask(**ways[where], kind="approval")))
    fields = {"inputs": {"x": long}} if where == "input" else {}
    asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([work("t", **fields)]), planner="me")))
    (asked,) = engine.questions()
    shown, whole = ("\n".join(describe_question(asked, full=full)) for full in (False, True))
    assert "END" not in shown
    assert long in whole
    left = size + 3 - (2_000 if where == "words" else 600)
    assert f"... {left:,} characters more: kapelle questions {asked.question_id} --full" in shown
    engine.approve(asked.question_id)
    assert asyncio.run(engine.resume("last")).state == "done"


def test_what_is_longer_than_anybody_reads_is_not_asked() -> None:
    long = "x" * 1_000_001
    cases: list[dict[str, Any]] = [{"question": long}, {"question": "May I?", "arguments": {"x": long}}]
    for words in cases:
        engine = make(asking(ask(**words, kind="approval")))
        run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([work("t")]), planner="me")))
        assert (run.state, engine.questions()) == ("failed", ())
        assert "It asked a person, but its" in (run.tasks["t"].reason or "")


def test_no_line_of_somebody_else_passes_for_one_of_ours() -> None:
    forged = "Fine?\n  task: harmless, by nobody\n  input to: ANN"
    engine = make(asking(ask(forged, (), "approval", {forged: forged})))
    plan = Plan(
        request="x", graph=TaskDAG([work("t", description=f"Do: {forged}", inputs={"text": forged})]), planner="me"
    )
    asyncio.run(engine.run(plan))
    lines = [line for line in describe_question(engine.questions()[0], full=True) if not line.startswith("  | ")]
    assert [line.partition(":")[0] for line in lines[1:3]] == ["  task", "  it does"]
    assert [line.split()[0] for line in lines[3:]] == ["asked", "input"]
    assert not any("\n" in line for line in lines)


# Old ledgers, and the function that all of this stands on


def test_a_question_of_before_this_was_kept_is_read_and_what_it_was_answered_binds_to_nothing() -> None:
    ledger = SqliteLedger()
    one = Asked("one")
    engine = make(one, ledger=ledger)

    kept = ledger.append_all
    names = ("kind", "about", "text", "options", "question_id", "cost_usd", "usage", "seconds")

    def as_before(new: NewEvent) -> NewEvent:
        if new.kind != "task_asked":
            return new
        return replace(new, data={name: value for name, value in new.data.items() if name in names})

    def append_all(run_id: str, new: Any, **more: Any) -> Any:
        return kept(run_id, [as_before(one) for one in new], **more)

    ledger.append_all = append_all  # type: ignore[method-assign]  # leaves out what was not kept then
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([work("t")]), planner="me")))
    del ledger.append_all
    (asked,) = run.open_questions
    assert (asked.asker, asked.arguments, asked.inputs) == ("", None, {})
    assert list(describe_question(asked)) == ["May one do t?"]
    engine.approve(asked.question_id)
    run = asyncio.run(make(one, ledger=ledger).resume("last"))
    assert (run.state, one.times) == ("waiting", 0)


TEXTS = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
QUESTIONS = st.tuples(
    TEXTS,
    st.lists(TEXTS, max_size=2),
    st.sampled_from(["answer", "approval"]),
    st.dictionaries(TEXTS, VALUES, max_size=2),
)


@given(QUESTIONS, QUESTIONS)
def test_questions_have_the_same_hash_if_and_only_if_they_are_the_same(one: Any, other: Any) -> None:
    def form(question: Any) -> str:
        text, options, kind, arguments = question
        return json.dumps([text, sorted(options), kind, arguments], sort_keys=True)

    assert (hash_asked(*one) == hash_asked(*other)) == (form(one) == form(other))
    assert hash_asked(*json.loads(json.dumps(one))) == hash_asked(*one)


@pytest.mark.parametrize("backend", ["asyncio", "threads"])
def test_parts_of_an_agent_that_work_at_once_may_each_ask(backend: str) -> None:
    @agent(task_types=["t"], cost_usd=0.0)
    async def both(task: Task, context: TaskContext) -> list[Any]:
        async def part(name: str) -> Any:
            return context.ask(f"May {name} begin?")

        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(part(name)) for name in ("one", "two")]
        return [part.result() for part in parts]

    engine = Engine([both], model="none", ledger=SqliteLedger(":memory:"), backend=backend, limits=LIMITS)
    run = engine.run_sync(Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="t")]), planner="me"))
    asked = []
    while run.state == "waiting":
        (question,) = engine.questions()
        asked.append(question.text)
        engine.answer(question.question_id, len(asked))
        run = engine.resume_sync(run.run_id)
    assert (run.state, run.results) == ("done", {"a": [1, 2]})
    assert asked == ["May one begin?", "May two begin?"]


def test_a_part_that_fails_is_no_question() -> None:
    @agent(task_types=["t"], cost_usd=0.0)
    async def both(task: Task, context: TaskContext) -> None:
        raise ExceptionGroup("parts", [AskPerson("May I?"), ExceptionGroup("more", [ValueError("no")])])

    engine = Engine([both], model="none", ledger=SqliteLedger(":memory:"), limits=LIMITS)
    run = engine.run_sync(Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="t")]), planner="me"))
    assert (run.state, run.questions) == ("failed", {})
    assert "ValueError: no" in (run.tasks["a"].reason or "")


def test_what_was_approved_without_being_kept_is_asked_anew_and_why() -> None:
    task = Task(task_id="a", task_type="t", approval=True)
    now = Given(task=task, upstream={}, agent="one")
    first = Questions("r").before_start(now)
    assert first is not None
    old = replace(first, arguments_hash="", answer=True, answered_at=1.0)  # as versions before hashes kept it
    again = Questions("r", [old]).before_start(now)
    assert again is not None
    assert again.text.endswith("It was approved before, but not what it is given was kept with that.")
