"""A reflector changes the rest of a plan while it runs; what has begun stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, GraphPatch, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.engine.reflecting import MAX_REFLECTIONS
from kapelle.errors import InvalidInput, ModelReplyInvalid
from kapelle.execution import Reflection
from kapelle.ledger import Usage
from kapelle.planning import GraphPlanner
from kapelle.testing import ScriptedModel


def work(task_id: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type="work", depends_on=after, description=f"do {task_id}", **fields)


class Thinker:
    """Says what is scripted after a task."""

    def __init__(self, **thoughts: Any) -> None:
        self.thoughts = thoughts
        self.seen: list[tuple[str, Any]] = []

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Reflection | None:
        self.seen.append((task.task_id, output))
        found = self.thoughts.get(task.task_id)
        if isinstance(found, BaseException):
            raise found
        return None if found is None else Reflection(patch=found, reason="it seems better", cost_usd=0.001)


def go(thinker: Thinker, *tasks: Task, **terms: Any) -> Run:
    @agent(task_types=["work"], cost_usd=0.01)
    async def worker(task: Task) -> str:
        await asyncio.sleep(0.02 if task.task_id == "slow" else 0)
        return f"{task.task_id} done"

    engine = Engine([worker], model="none", ledger=SqliteLedger(), reflector=thinker)
    run = asyncio.run(engine.run(Plan(request="test", graph=TaskDAG(tasks), planner="test"), **terms))
    assert engine.ledger.run("last") == run
    return run


def test_what_a_task_gave_may_change_the_rest_of_the_plan() -> None:
    patch = GraphPatch(add=(work("new", "a"),), remove=("late",))
    thinker = Thinker(a=patch)
    run = go(thinker, work("a"), work("slow"), work("late", "slow"), budget_usd=1.0)
    assert (run.state, sorted(run.tasks)) == ("done", ["a", "new", "slow"])
    assert (run.graph_version, run.planning_cost_usd) == (2, 0.001)
    assert sorted(name for name, _ in thinker.seen) == ["a", "new", "slow"]
    assert "The graph changed 1 time while it ran" in run.explain()


def test_a_reflection_that_fails_is_charged_what_its_error_tells() -> None:
    usage = Usage(input_tokens=900, output_tokens=100, calls=1)
    run = go(Thinker(a=ModelReplyInvalid("no", cost_usd=0.3, usage=usage)), work("a"), budget_usd=1.0)
    assert (run.state, run.planning_cost_usd, run.usage) == ("done", 0.3, usage)


@pytest.mark.parametrize(("terms", "most"), [({"max_tokens": 25_000}, 3), ({"budget_usd": 0.65}, 3), ({}, 5)])
def test_nobody_looks_at_outputs_once_what_that_takes_is_spent(terms: dict[str, Any], most: int) -> None:
    usage = Usage(input_tokens=9_000, output_tokens=1_000, calls=1)
    looks = ModelReplyInvalid("no", cost_usd=0.3, usage=usage)
    thinker = Thinker(**{f"t{n}": looks for n in range(5)})
    run = go(thinker, *(work(f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(5)), **terms)
    assert len(thinker.seen) <= most
    assert run.usage.calls == len(thinker.seen)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (GraphPatch(remove=("slow",)), "refused"),
        (GraphPatch(add=(Task(task_id="x", task_type="fly"),)), "refused"),
        (GraphPatch(add=(work("x", "y"), work("y", "x"))), "refused"),
        (RuntimeError("no idea"), "Reflecting failed: RuntimeError: no idea"),
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing_and_is_told(patch: Any, reason: str) -> None:
    run = go(Thinker(a=patch), work("a"), work("slow"), work("b", "slow"))
    assert (run.state, sorted(run.tasks), run.graph_version) == ("done", ["a", "b", "slow"], 1)
    told = [event.data["reason"] for event in run.events if event.kind == "planning_spent"]
    assert any(reason in one for one in told)


KEEP = "<reflection>Fine.<patch><keep/></patch></reflection>"
ADDS = '<reflection>More.<patch><add><node id="new" type="work"/></add></patch></reflection>'


def go_with_model(client: Any, *tasks: Task, environ: dict[str, str] | None = None, **options: Any) -> Run:
    @agent(task_types=["work"], cost_usd=0.0)
    async def worker(task: Task) -> str:
        return f"{task.task_id} done"

    terms = {name: options.pop(name) for name in ("budget_usd", "max_tokens") if name in options}
    engine = Engine([worker], ledger=SqliteLedger(), environ=environ or {}, model=client, **options)
    return asyncio.run(engine.run(Plan(request="the whole", graph=TaskDAG(tasks), planner="test"), **terms))


@pytest.mark.parametrize("own", [False, True])
def test_a_model_may_change_the_rest_of_the_plan(own: bool) -> None:
    model = ScriptedModel([ADDS, KEEP], cost_usd=0.01)
    asked = {"reflector": GraphPlanner(model)} if own else {"reflect": True}
    run = go_with_model("none" if own else model, work("a"), **asked)
    assert (run.state, sorted(run.tasks), run.graph_version) == ("done", ["a", "new"], 2)
    assert (model.calls, run.planning_cost_usd) == (2, 0.02)
    words = model.requests[1].messages[-1].content
    assert "a done" in words, "it is shown what was found so far"
    assert "the whole" in "".join(message.content for message in model.requests[1].messages)
    assert run.settings.get("reflect", False) is not own


def test_a_model_is_asked_so_often_and_no_more() -> None:
    model = ScriptedModel([KEEP] * (MAX_REFLECTIONS + 5), cost_usd=0.01)
    run = go_with_model(model, *(work(f"t{n}") for n in range(MAX_REFLECTIONS + 3)), reflect=True)
    assert (run.state, model.calls) == ("done", MAX_REFLECTIONS)


@pytest.mark.parametrize(("budget_usd", "calls"), [(0.0, 0), (0.05, 0), (0.2, 1), (0.33, 3), (1.0, 5)])
def test_each_look_is_set_aside_before_it_is_made(tmp_path: Path, budget_usd: float, calls: int) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices: {scripted: {input: 5.0, output: 10.0}}")  # per million tokens: a look may take $0.11
    model = ScriptedModel([KEEP] * 9, model="scripted", cost_usd=0.1)
    tasks = [work(f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(5)]
    run = go_with_model(model, *tasks, environ={"KAPELLE_PRICES": str(prices)}, reflect=True, budget_usd=budget_usd)
    assert (run.state, model.calls) == ("done", calls)
    assert run.cost_usd <= budget_usd


def test_without_a_price_nobody_reflects_once_nothing_is_left() -> None:
    model = ScriptedModel([KEEP] * 3, cost_usd=0.25)
    run = go_with_model(model, work("a"), reflect=True, budget_usd=0.0)
    assert (run.state, model.calls, run.cost_usd) == ("done", 0, 0.0)


@pytest.mark.parametrize("price", [None, 5.0])
@pytest.mark.parametrize(("spare_usd", "calls"), [(0.0, 0), (0.2, 1)])
def test_nobodys_look_takes_what_the_tasks_need(
    tmp_path: Path, price: float | None, spare_usd: float, calls: int
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices: {scripted: {input: 5.0, output: 10.0}}" if price else "prices: {}")
    model = ScriptedModel([KEEP] * 9, model="scripted", cost_usd=0.2)

    @agent(task_types=["paid"], cost_usd=0.1)
    async def paid(task: Task) -> str:
        return task.task_id

    engine = Engine([paid], ledger=SqliteLedger(), environ={"KAPELLE_PRICES": str(prices)}, model=model, reflect=True)
    tasks = [Task(task_id=f"t{n}", task_type="paid", depends_on=(f"t{n - 1}",) if n else ()) for n in range(4)]
    plan = Plan(request="test", graph=TaskDAG(tasks), planner="test")
    run = asyncio.run(engine.run(plan, budget_usd=0.4 + spare_usd))
    assert (run.state, model.calls) == ("done", calls)


def test_without_a_model_reflecting_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidInput, match=r"none is configured\. Name one"):
        Engine(model="none", ledger=SqliteLedger(), reflect=True)
    with pytest.raises(InvalidInput, match="one of the two"):
        Engine(model=ScriptedModel([]), ledger=SqliteLedger(), reflect=True, reflector=Thinker())
