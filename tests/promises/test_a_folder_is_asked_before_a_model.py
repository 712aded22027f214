"""A model never makes worse what a folder answers: on whatever way a task comes to an agent, the folder is asked first.

A model that costs nothing, declares more and is said to be fast takes no task that the folder's agents answer. What the
folder does not answer the model may; then the answer says that it comes from the model's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, PlanRejected, SqliteLedger, agent
from kapelle.agents import MADE_TYPES, MEMORY_MARK, AgentResult, ModelAgent, TaskContext, is_from_memory
from kapelle.execution import Reflection
from kapelle.graph import GraphPatch, Task, TaskDAG
from kapelle.ledger import Outcome, Run
from kapelle.local import LocalFolder
from kapelle.models import ModelReply, ModelRequest
from kapelle.planning import Plan
from kapelle.routing import RoutingRule
from kapelle.strategies import Cascade, Check, Single, Strategy, StrategyEstimate

ATLAS = Path(__file__).parents[2] / "examples" / "atlas" / "data"
LOCAL = {"folder-search", "folder-sql", "local-writer", "sandbox-python"}
QUESTIONS = {
    "lookup": "capital of Peru",
    "search": "population of Peru",
    "research": "area of Chile",
    "aggregate": "How many countries are there?",
    "sql": "How many countries are there?",
    "query": "How many countries are there?",
    "count": "How many countries are there?",
    "compute": "12% of 340",
    "calculate": "12% of 340",
}
KINDS = (*QUESTIONS, "compare", "combine", "join")


@pytest.fixture(autouse=True, scope="module")
def _the_atlas_is_read_once() -> Iterator[None]:
    """What is asked here is who answers, a few hundred times over the same folder; each engine would read it anew."""
    atlas, open_folder = LocalFolder(ATLAS), LocalFolder.of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalFolder, "of", lambda folder: atlas if folder == ATLAS else open_folder(folder))
        yield


class Parrot:
    """A model that says the same whatever it is asked, for nothing."""

    model = "local:parrot"

    def __init__(self, text: str = "Atlantis") -> None:
        self.text = text
        self.asked: list[str] = []

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        self.asked.append(request.messages[-1].content)
        return ModelReply(text=self.text, model=self.model, finish_reason="stop")


def tasks_of(kind: str, *, start: str = "t") -> list[Task]:
    if kind in QUESTIONS:
        return [Task(task_id=start, task_type=kind, inputs={"query": QUESTIONS[kind]})]
    found = [
        Task(task_id=f"{start}{n}", task_type="lookup", inputs={"query": f"population of {name}"})
        for n, name in enumerate(("Peru", "Chile"))
    ]
    return [*found, Task(task_id=start, task_type=kind, depends_on=tuple(task.task_id for task in found))]


def plan_of(tasks: Sequence[Task]) -> Plan:
    return Plan(request="What is asked", graph=TaskDAG(tasks), planner="test")


def engine_with(model: Parrot, **options: Any) -> Engine:
    return Engine(data=ATLAS, model=model, **{"ledger": SqliteLedger(":memory:"), **options})


def kind_of_outcome(agent_id: str, kind: str, *, answers: bool, quality: float | None = None) -> list[Outcome]:
    return [
        Outcome(
            run_id="before",
            task_id=f"{agent_id}-{kind}-{n}",
            task_type=kind,
            agent=agent_id,
            success=answers,
            quality=quality,
            cost_usd=0.0,
            seconds=0.1,
            error=None if answers else "Nothing in the folder answers it.",
            failure=None if answers else "cannot_answer",
        )
        for n in range(40)
    ]


def said_before(engine: Engine, *, right: bool | None) -> None:
    """The folder refused everything so far, and the model answered everything: unchecked, or measured."""
    for kind in KINDS:
        for name in engine.team.registry.runnable():
            taken = engine.team.registry[name].task_types
            if kind in taken:
                quality = None if right is None or name in LOCAL else float(right)
                for outcome in kind_of_outcome(name, kind, answers=name not in LOCAL, quality=quality):
                    engine.profiler.record_outcome(outcome)


class ModelFirst:
    """Judged strategies that ask a model before, or instead of, a folder."""

    def for_task(self, task_type: str, agents: Collection[str]) -> Sequence[StrategyEstimate]:
        models = [name for name in agents if name not in LOCAL and name != "planner"]
        local = [name for name in agents if name in LOCAL]
        ways: list[Strategy] = [Single(agent=name) for name in models]
        return [
            StrategyEstimate(
                strategy=way,
                cost_usd=0.0,
                seconds=0.01,
                quality=0.99,
                quality_lower=0.98,
                quality_sd=0.005,
                samples=900,
            )
            for way in (
                *ways,
                *(
                    Cascade(cheap=m, check=Check(kind="well_formed"), strong=Single(agent=f))
                    for m in models
                    for f in local
                ),
            )
        ]


def run_plainly(kind: str, model: Parrot, **terms: Any) -> Run:
    return engine_with(model).run_sync(plan_of(tasks_of(kind)), **terms)


def with_options(kind: str, model: Parrot, **options: Any) -> Run:
    return engine_with(model, **options).run_sync(plan_of(tasks_of(kind)))


def after_refusals(kind: str, model: Parrot) -> Run:
    engine = engine_with(model)
    said_before(engine, right=None)
    return engine.run_sync(plan_of(tasks_of(kind)))


def with_strategies(kind: str, model: Parrot) -> Run:
    engine = engine_with(model)
    engine.optimizer.strategies = engine.validator.strategies = ModelFirst()
    return engine.run_sync(plan_of(tasks_of(kind)))


def with_prices(kind: str, model: Parrot, tmp_path: Path) -> Run:
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices:\n  parrot: {input: 0.1, output: 0.2}\n")
    return with_options(kind, model, environ={"KAPELLE_PRICES": str(prices)})


def grown(kind: str, model: Parrot) -> Run:
    @agent(task_types=["split"])
    async def splitter(task: Task, context: TaskContext) -> AgentResult:
        return AgentResult(output=None, expansion=TaskDAG(tasks_of(kind, start="n")), cost_usd=0.0)

    engine = engine_with(model, agents=[splitter])
    said_before(engine, right=None)
    return engine.run_sync(plan_of([Task(task_id="t", task_type="split")]))


class AddsTasks:
    """A reflector that adds the tasks of a kind after the first output."""

    def __init__(self, kind: str) -> None:
        self._tasks: tuple[Task, ...] = tuple(tasks_of(kind, start="n"))

    async def reflect(self, task: Task, output: Any, *rest: Any, **more: Any) -> Reflection | None:
        added, self._tasks = self._tasks, ()
        return Reflection(patch=GraphPatch(add=added), reason="More is wanted.") if added else None


def reflected(kind: str, model: Parrot) -> Run:
    engine = engine_with(model, reflector=AddsTasks(kind))
    return engine.run_sync(plan_of(tasks_of("lookup")))


def resumed_without_its_agent(kind: str, model: Parrot) -> Run:
    """The run began with an agent of the user's own, which failed and is gone when the run goes on."""
    ledger = SqliteLedger(":memory:")

    @agent(task_types=[kind, "lookup"])
    async def gone(task: Task) -> str:
        raise RuntimeError("not now")

    before = Engine(agents=[gone], model="none", ledger=ledger).run_sync(plan_of(tasks_of(kind)))
    if before.state == "done":  # a program took over at once, as it needs no folder
        return before
    return engine_with(model, ledger=ledger).resume_sync(before.run_id)


def after_an_own_agent_failed(kind: str, model: Parrot) -> Run:
    @agent(task_types=["*"], success_rate=1.0)
    async def own(task: Task) -> str:
        raise RuntimeError("not now")

    return with_options(kind, model, agents=[own])


WAYS: dict[str, Callable[..., Run]] = {
    "plainly": run_plainly,
    "any quality": lambda kind, model: run_plainly(kind, model, min_quality=0.0),
    "no money": lambda kind, model: run_plainly(kind, model, budget_usd=0.0),
    "some money": lambda kind, model: run_plainly(kind, model, budget_usd=5.0),
    "a deadline": lambda kind, model: run_plainly(kind, model, deadline_s=60.0),
    "own rules for other work": lambda kind, model: with_options(
        kind, model, rules=[RoutingRule(rule_id="mine", task_types=("deploy",), agent_id="deploy_agent")]
    ),
    "exploring": lambda kind, model: with_options(kind, model, explore=1.0),
    "learned refusals": after_refusals,
    "learned strategies": with_strategies,
    "grown": grown,
    "reflected": reflected,
    "resumed": resumed_without_its_agent,
    "after an own agent failed": after_an_own_agent_failed,
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_folder_answers_no_model_is_asked(kind: str, way: str) -> None:
    model = Parrot()
    run = WAYS[way](kind, model)
    assert run.state == "done", run.explain()
    own = {"own", "gone", "splitter"}
    assert {task.agent for task in run.tasks.values()} <= LOCAL | own, run.explain()
    assert not model.asked
    assert "Atlantis" not in run.answer
    assert not any(task.from_memory for task in run.tasks.values())


@pytest.mark.parametrize("kind", ["lookup", "aggregate"])
def test_a_quality_that_a_model_only_declares_does_not_move_a_task(kind: str) -> None:
    model = Parrot()
    with pytest.raises(PlanRejected, match=r"84\.0% are asked for"):
        run_plainly(kind, model, min_quality=0.84)
    assert not model.asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_a_price_is_not_asked_either(kind: str, tmp_path: Path) -> None:
    model = Parrot()
    assert with_prices(kind, model, tmp_path).state == "done"
    assert not model.asked


@pytest.mark.parametrize("kind", KINDS)
def test_no_choice_that_is_shown_has_a_model_in_it(kind: str) -> None:
    engine = engine_with(Parrot())
    proposal = asyncio.run(engine.plan(plan_of(tasks_of(kind))))
    points = asyncio.run(engine.frontier(proposal)).points
    assert points
    assert all(set(point.plan.assignments.values()) <= LOCAL for point in points)


@pytest.mark.parametrize("kind", ["lookup", "aggregate"])
def test_measured_outcomes_move_what_declared_ones_do_not(kind: str) -> None:
    engine = engine_with(Parrot())
    said_before(engine, right=True)
    folder = "folder-search" if kind == "lookup" else "folder-sql"
    for outcome in kind_of_outcome(folder, kind, answers=True, quality=0.0):
        engine.profiler.record_outcome(outcome)
    run = engine.run_sync(plan_of(tasks_of(kind)))
    assert run.tasks["t"].agent not in LOCAL
    assert "were right in" in run.explanations["t"]
    assert run.tasks["t"].from_memory


@pytest.mark.parametrize("kind", ["lookup", "aggregate"])
def test_measured_outcomes_of_one_side_prove_nothing(kind: str) -> None:
    engine = engine_with(Parrot())
    said_before(engine, right=True)
    assert engine.run_sync(plan_of(tasks_of(kind))).tasks["t"].agent in LOCAL


UNKNOWN = "number of moons of Jupiter"


@pytest.mark.parametrize("kind", ["lookup", "aggregate"])
def test_what_the_folder_does_not_answer_a_model_says_from_memory(kind: str) -> None:
    run = with_options_and_tasks([Task(task_id="t", task_type=kind, inputs={"query": UNKNOWN})])
    assert run.tasks["t"].from_memory
    assert run.answer == f"Atlantis {MEMORY_MARK}"
    assert "from the model's memory" in run.explain()


@pytest.mark.parametrize("kind", ["answer", "respond"])
def test_a_request_that_a_model_answers_whole_is_from_memory_as_well(kind: str) -> None:
    run = with_options_and_tasks([Task(task_id="t", task_type=kind, description="How many moons has Jupiter?")])
    assert run.answer == f"Atlantis {MEMORY_MARK}"


@pytest.mark.parametrize("kind", sorted(MADE_TYPES))
def test_figures_that_nothing_gave_are_from_memory_whatever_the_work_is_called(kind: str) -> None:
    said = "France has 68 million people, Germany 99 million."
    task = Task(task_id="t", task_type=kind, description="Tell me how populous France and Germany are")
    assert is_from_memory(ModelAgent(Parrot()), task, said)
    assert not is_from_memory(ModelAgent(Parrot()), replace(task, inputs={"text": said}), said, ["what was found"])


def test_a_poem_is_not_marked() -> None:
    task = Task(task_id="t", task_type="write", description="Write a poem about the sea")
    assert not is_from_memory(ModelAgent(Parrot()), task, "The sea, the sea, it rolls.")


@pytest.mark.parametrize("kind", ["combine", "compare", "report", "summarize", "write", "answer"])
def test_what_is_made_of_an_answer_from_memory_says_so(kind: str) -> None:
    found = [
        Task(task_id="a", task_type="lookup", inputs={"query": "capital of Peru"}),
        Task(task_id="b", task_type="lookup", inputs={"query": UNKNOWN}),
    ]
    run = with_options_and_tasks([*found, Task(task_id="t", task_type=kind, depends_on=("a", "b"))])
    assert run.state == "done"
    assert [name for name, task in run.tasks.items() if task.from_memory] == ["b"]
    assert MEMORY_MARK in run.answer
    assert "moons of Jupiter" in run.answer


def test_the_mark_survives_two_tasks_that_leave_it_out() -> None:
    run = with_options_and_tasks(
        [
            Task(task_id="a", task_type="lookup", inputs={"query": UNKNOWN}),
            Task(task_id="b", task_type="report", depends_on=("a",)),
            Task(task_id="t", task_type="translate", depends_on=("b",)),
        ]
    )
    assert run.answer.endswith(MEMORY_MARK)


def test_the_mark_is_there_again_when_the_run_is_read_and_when_it_goes_on() -> None:
    ledger = SqliteLedger(":memory:")
    calls = []

    @agent(task_types=["tell"])
    async def teller(task: Task) -> str:
        calls.append(task)
        if len(calls) == 1:
            raise RuntimeError("not now")
        return "Told."

    tasks = [
        Task(task_id="a", task_type="lookup", inputs={"query": UNKNOWN}),
        Task(task_id="t", task_type="tell", depends_on=("a",)),
    ]
    first = engine_with(Parrot(), agents=[teller], ledger=ledger).run_sync(plan_of(tasks))
    assert first.state == "partial"
    assert ledger.run(first.run_id).tasks["a"].from_memory
    run = engine_with(Parrot(), agents=[teller], ledger=ledger).resume_sync(first.run_id)
    assert run.state == "done"
    assert run.answer == f"Told.\n\nNumber of moons of Jupiter {MEMORY_MARK}"


def test_without_a_folder_the_answer_is_as_it_is_and_the_task_says_where_it_is_from() -> None:
    run = with_options_and_tasks([Task(task_id="t", task_type="lookup", inputs={"query": UNKNOWN})], data=None)
    assert run.answer == "Atlantis"
    assert run.tasks["t"].from_memory


def test_what_a_users_own_agent_says_is_no_models_memory() -> None:
    @agent(task_types=["lookup"])
    async def atlas(task: Task) -> str:
        return "Lima"

    run = with_options_and_tasks([Task(task_id="t", task_type="lookup", inputs={"query": "capital"})], agents=[atlas])
    assert run.answer == "Lima"
    assert not run.tasks["t"].from_memory


def with_options_and_tasks(tasks: Sequence[Task], **options: Any) -> Run:
    model = Parrot()
    return Engine(**{"data": ATLAS, "model": model, "ledger": SqliteLedger(":memory:"), **options}).run_sync(
        plan_of(tasks)
    )
