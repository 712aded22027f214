"""What crosses between tasks is a copy that nobody else can change: memory and ledger agree, whoever changes what.

`CHANGERS` are all whose code is handed something of a run, or who hand something over and keep it; each changes all of
it, as early and as often as it can. `hold` says what must be so in the end: every task saw what it ought to, and the
run that is returned is the run that is read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from kapelle import Engine, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import AgentResult, PartialText, TaskContext
from kapelle.errors import AgentFailed, TryAgain
from kapelle.execution import ExecutionLimits, Reflection, RetryPolicy
from kapelle.graph import GraphPatch, clone_json_value
from kapelle.ledger import Event
from kapelle.validation import Detection

SPOILT = "CHANGED BY SOMEBODY"
ROWS = [3, [1, 2], {"a": {"b": [0]}}]
BACKENDS = ["asyncio", "threads"]


def spoil(value: Any) -> None:
    """Change everything in a value that can be changed."""
    if isinstance(value, dict):
        for one in list(value.values()):
            spoil(one)
        value[SPOILT] = SPOILT
    elif isinstance(value, list):
        for one in value:
            spoil(one)
        value.append(SPOILT)
    elif isinstance(value, (tuple, set, frozenset)):
        for one in value:
            spoil(one)


def spoil_task(task: Task) -> None:
    for name in ("inputs", "metadata", "written", "strategy"):
        spoil(getattr(task, name, None))


def spoil_tasks(tasks: Iterable[Task]) -> None:
    for task in tasks:
        spoil_task(task)


def spoil_context(context: TaskContext) -> None:
    spoil(context.upstream)
    spoil(context.missing)
    spoil_tasks(context.upstream_tasks.values())
    for one in context.answers:
        spoil(one.value)
        spoil(one.arguments)


def holds_spoilt(value: Any) -> bool:
    return SPOILT in repr(value)


class Planner:
    """Plans as it was told, and keeps what it gave."""

    def __init__(self, graph: TaskDAG) -> None:
        self.graph = graph

    async def plan(self, request: str, agents: Any) -> Plan:
        return Plan(request=request, graph=self.graph, planner="me")


@dataclass
class World:
    """A run of seven tasks, of which every second one changes what it sees; and one who changes things beside it."""

    changer: str
    backend: str = "asyncio"
    ledger: SqliteLedger = field(default_factory=SqliteLedger)
    seen: list[tuple[str, Any]] = field(default_factory=list)
    """By task: what the honest ones were given, as it was when they began and when they ended."""
    kept: list[Any] = field(default_factory=list)
    graph: TaskDAG = field(init=False)
    told: int = 0
    """How often somebody was shown something."""
    times: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [1, {"x": [2]}]
        fields: dict[str, Any] = {"inputs": {"rows": "{src}", "own": given}, "metadata": {"notes": ["n"]}}
        self.graph = TaskDAG(
            [
                Task(task_id="src", task_type="make", inputs={"own": given}, metadata={"notes": ["n"]}),
                Task(task_id="bare", task_type="make"),
                *(
                    Task(task_id=f"spoils{number}", task_type="spoil", **fields, depends_on=("bare",))
                    for number in "12"
                ),
                *(Task(task_id=f"looks{number}", task_type="look", **fields, depends_on=("bare",)) for number in "12"),
                Task(task_id="last", task_type="look", depends_on=("spoils1", "looks1", "looks2"), **fields),
            ]
        )

    def engine(self) -> Engine:
        options: dict[str, Any] = {}
        if self.changer == "validator":
            options["validators"] = dict.fromkeys(("make", "look"), self.validate)
        if self.changer == "async validator":
            options["validators"] = dict.fromkeys(("make", "look"), self.validate_async)
        if self.changer in ("reflector", "kept patch"):
            options["reflector"] = self
        if self.changer == "detector":
            options |= {"detector": self, "planner": Planner(self.graph)}
        return Engine(
            [
                agent(agent_id="make", task_types=["make"], cost_usd=0.0)(self.make),
                agent(agent_id="spoil", task_types=["spoil"], cost_usd=0.0)(self.spoil),
                agent(agent_id="look", task_types=["look"], cost_usd=0.0)(self.look),
            ],
            model="none",
            environ={},
            ledger=self.ledger,
            backend=self.backend,
            limits=ExecutionLimits(retry=RetryPolicy(max_attempts=2, first_delay_s=0.0)),
            **options,
        )

    async def make(self, task: Task, context: TaskContext) -> Any:
        self.maybe_spoil_plan()
        output = clone_json_value(ROWS)
        if self.changer == "kept output":
            self.kept.append(output)
        if self.changer == "kept result":
            result = AgentResult(output=output)
            self.kept.append(output)
            return result
        return output

    async def spoil(self, task: Task, context: TaskContext) -> Any:
        if self.changer == "agent, at once":
            spoil_task(task)
            spoil_context(context)
        self.spoil_kept()
        self.times[task.task_id] = self.times.get(task.task_id, 0) + 1
        if self.changer == "agent, then again":
            before = repr((task.inputs, task.metadata, context.upstream))
            assert SPOILT not in before, "what an attempt did to its task the next one sees"
            spoil_task(task)
            spoil_context(context)
            if self.times[task.task_id] == 1:
                raise TryAgain("once more")
        if self.changer == "agent, late":
            self.kept.extend([task.inputs, task.metadata, context.upstream])
        return ["spoilt by its own will"]

    async def look(self, task: Task, context: TaskContext) -> Any:
        self.see(task, context)
        if context.tell is not None:
            context.tell("a piece")
        await asyncio.sleep(0.01)
        self.spoil_kept()
        self.maybe_spoil_plan()
        self.see(task, context)
        return [task.inputs["rows"], task.metadata["notes"]]

    def see(self, task: Task, context: TaskContext) -> None:
        upstream = {name: value for name, value in context.upstream.items() if not name.startswith("spoils")}
        others = [one.to_dict() for one in context.upstream_tasks.values()]
        self.seen.append((task.task_id, clone_json_value([task.inputs, task.metadata, upstream, others])))

    def spoil_kept(self) -> None:
        for one in self.kept:
            spoil(one)

    def maybe_spoil_plan(self) -> None:
        if self.changer == "plan":
            spoil_tasks(self.graph)

    def validate(self, output: Any) -> bool:
        self.told += 1
        spoil(output)
        self.kept.append(output)
        return True

    async def validate_async(self, output: Any) -> bool:
        return self.validate(output)

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Any:
        self.told += 1
        if self.changer == "kept patch":
            if task.task_id != "src":
                return None
            new = Task(task_id="added", task_type="look", inputs={"rows": "{src}"}, metadata={"notes": ["n"]})
            self.kept.extend([new.inputs, new.metadata])
            return Reflection(patch=GraphPatch(add=(new,)), reason="one more")
        spoil_task(task)
        spoil(output)
        spoil_tasks(graph)
        self.kept.extend([output, *(one.inputs for one in graph)])
        return None

    async def detect(self, request: str, tasks: Any, agents: Any) -> Detection:
        self.told += 1
        spoil_tasks(tasks)
        self.kept.extend(one.inputs for one in tasks)
        agents.clear()
        return Detection()

    def watch(self, event: Event) -> None:
        self.told += 1
        spoil(event.data)

    def hear(self, piece: PartialText) -> None:
        self.told += 1
        self.spoil_kept()

    def run(self) -> Run:
        watch = self.watch if self.changer == "on_event" else None
        hear = self.hear if self.changer == "on_text" else None
        words = "look at it and look again"
        plan = Plan(request=words, graph=self.graph, planner="me") if self.changer != "detector" else words
        return asyncio.run(self.engine().run(plan, on_event=watch, on_text=hear))


CHANGERS = [
    "nobody",
    "agent, at once",
    "agent, then again",
    "agent, late",
    "kept output",
    "kept result",
    "validator",
    "async validator",
    "reflector",
    "kept patch",
    "detector",
    "on_event",
    "on_text",
    "plan",
]


def hold(world: World, run: Run) -> None:
    assert run.state == "done", {name: task.reason for name, task in run.tasks.items()}
    for name, what in world.seen:
        assert not holds_spoilt(what), f"{name} saw {what}"
    by_task: dict[str, list[Any]] = {}
    for name, what in world.seen:
        by_task.setdefault(name, []).append(what)
    assert by_task["looks1"] == by_task["looks2"], "the same is given to both, from begin to end"
    assert all(one == ROWS for name, one in run.results.items() if name in ("src", "bare"))
    assert not holds_spoilt({name: one for name, one in run.results.items() if not name.startswith("spoils")})
    kept = world.ledger.run("last")
    assert kept == run
    assert kept.events == run.events
    assert not holds_spoilt([event.data for event in kept.events])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("changer", CHANGERS)
def test_what_anybody_changes_nobody_else_sees(changer: str, backend: str) -> None:
    world = World(changer=changer, backend=backend)
    hold(world, world.run())
    looks_on = changer.split()[-1] in ("validator", "reflector", "patch", "detector", "on_event", "on_text")
    assert (world.told > 0) == looks_on


def test_who_holds_a_run_that_has_ended_changes_neither_ledger_nor_what_goes_on_from_it() -> None:
    fails = [True]
    seen: list[Any] = []

    @agent(agent_id="make", task_types=["make"], cost_usd=0.0)
    async def make(task: Task) -> Any:
        return clone_json_value(ROWS)

    @agent(agent_id="look", task_types=["look"], cost_usd=0.0)
    async def look(task: Task, context: TaskContext) -> Any:
        seen.append(clone_json_value(dict(context.upstream)))
        if fails.pop() if fails else False:
            raise AgentFailed("not yet")
        return "seen"

    graph = TaskDAG([Task(task_id="a", task_type="make"), Task(task_id="b", task_type="look", depends_on=("a",))])
    ledger = SqliteLedger()
    engine = Engine([make, look], model="none", environ={}, ledger=ledger)
    run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me")))
    before = ledger.run("last")
    for event in run.events:
        spoil(event.data)
    spoil(run.results)
    assert run.graph is not None
    spoil_tasks(run.graph)
    assert ledger.run("last") == before
    assert asyncio.run(engine.resume("last")).state == "done"
    assert seen == [{"a": ROWS}, {"a": ROWS}]


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_keeps_the_tasks_that_it_expanded_into_changes_none_of_them(backend: str) -> None:
    kept: list[Any] = []
    seen: list[Any] = []

    @agent(agent_id="one", task_types=["t"], cost_usd=0.0)
    async def one(task: Task) -> Any:
        for value in kept:
            spoil(value)
        seen.append([task.inputs.get("n"), task.metadata.get("notes")])
        if task.task_id != "a":
            return "done"
        parts = TaskDAG(
            [Task(task_id=name, task_type="t", inputs={"n": [1]}, metadata={"notes": [2]}) for name in "xy"]
        )
        kept.extend(value for part in parts for value in (part.inputs, part.metadata))
        if backend == "asyncio":  # elsewhere the loop is the attempt's own, and ends with it
            for value in kept:
                asyncio.get_running_loop().call_soon(spoil, value)
        return AgentResult(output=None, expansion=parts)

    ledger = SqliteLedger()
    engine = Engine([one], model="none", environ={}, ledger=ledger, backend=backend)
    plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="t")]), planner="me")
    run = asyncio.run(engine.run(plan))
    assert (run.state, sorted(run.tasks)) == ("done", ["a-x", "a-y"])
    assert seen[1:] == [[[1], [2]]] * 2
    assert ledger.run("last") == run


def test_what_was_proposed_may_be_changed_and_the_run_of_it_goes_by_what_it_was_given() -> None:
    """A plan is a value that its owner may change after the run of it began: it runs as it was."""
    seen: list[Any] = []
    tasks = [Task(task_id=name, task_type="t", inputs={"n": [number]}) for number, name in enumerate("abc")]
    graph = TaskDAG([tasks[0], Task(task_id="b", task_type="t", inputs={"n": [1]}, depends_on=("a",))])
    plan = Plan(request="x", graph=graph, planner="me", notes=("n",))

    @agent(agent_id="one", task_types=["t"], cost_usd=0.0)
    async def one(task: Task) -> Any:
        spoil_tasks(graph)
        if "late" not in graph:
            graph.add_task(Task(task_id="late", task_type="t"))
        seen.append((task.task_id, clone_json_value(task.inputs)))
        return 1

    ledger = SqliteLedger()
    run = asyncio.run(Engine([one], model="none", environ={}, ledger=ledger).run(plan))
    assert seen == [("a", {"n": [0]}), ("b", {"n": [1]})]
    assert (run.state, list(run.tasks)) == ("done", ["a", "b"])
    assert ledger.run("last") == run


@pytest.mark.parametrize("kind", ["resolved", "copied"])
@pytest.mark.parametrize(
    "fields", [{}, {"inputs": {"a": [1]}}, {"metadata": {"a": {"b": []}}}, {"inputs": {"a": "{s}"}}]
)
def test_a_task_that_is_handed_out_shares_nothing_that_can_be_changed(kind: str, fields: Any) -> None:
    task = Task(task_id="t", task_type="x", **fields)
    before = task.to_dict()
    ways: Mapping[str, Callable[[], Task]] = {"resolved": lambda: task.resolved({"s": [1]}), "copied": task.copied}
    other = ways[kind]()
    spoil_task(other)
    assert task.to_dict() == before
    assert task.written == (fields.get("inputs") or {})


def test_a_graph_that_is_copied_is_the_same_and_shares_nothing() -> None:
    graph = World(changer="nobody").graph
    copy = graph.copied()
    assert (copy == graph, copy.version, copy.edges) == (True, graph.version, graph.edges)
    spoil_tasks(copy)
    assert not holds_spoilt(graph.to_dict())
