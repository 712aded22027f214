"""Who only looks on can be wrong in any way: the run, its account and its ledger are as without them.

For what watches text as it is written see the tests of streaming.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kapelle import Engine, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.errors import InvalidInput
from kapelle.execution import Reflection
from kapelle.graph import GraphPatch
from kapelle.ledger import Event
from kapelle.validation import Detection, Issue

ANY: Any = object()


class Unsayable(ValueError):
    def __str__(self) -> str:
        raise KeyboardInterrupt


@agent(task_types=["t"], cost_usd=0.25)
async def one(task: Task) -> Any:
    return [task.task_id]


GRAPH = [
    Task(task_id="a", task_type="t"),
    Task(task_id="b", task_type="t", depends_on=("a",), inputs={"x": "{a}"}),
]


def go(request: Any = None, *, on_event: Any = None, **options: Any) -> tuple[Run, SqliteLedger]:
    ledger = SqliteLedger()
    engine = Engine([one], model="none", environ={}, ledger=ledger, **options)
    plan = Plan(request="look at it", graph=TaskDAG(GRAPH), planner="me") if request is None else request
    return asyncio.run(engine.run(plan, on_event=on_event)), ledger


def hold(run: Run, ledger: SqliteLedger) -> None:
    assert (run.state, run.results) == ("done", {"a": ["a"], "b": ["b"]})
    assert run.cost_usd == 0.5
    assert ledger.run("last") == run
    assert len(ledger.outcomes()) == 2


def raising(error: BaseException) -> Callable[[Event], Any]:
    def watch(event: Event) -> Any:
        raise error

    return watch


async def _coroutine(event: Event) -> None:
    raise AssertionError("nobody awaits it")


class Asynchronous:
    async def __call__(self, event: Event) -> None:
        raise AssertionError("nobody awaits it")


ERRORS: list[BaseException] = [
    ValueError("no"),
    Unsayable(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    StopIteration(),
    RecursionError(),
    MemoryError(),
    BaseExceptionGroup("g", [KeyboardInterrupt()]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_watcher_that_raises_ends_nothing_and_is_told_of_once(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="kapelle"):
        run, ledger = go(on_event=raising(error))
    hold(run, ledger)
    assert len([one for one in caplog.records if "watcher" in one.msg]) == 1


GIVES: Mapping[str, Callable[[Event], Any]] = {
    "nothing": lambda event: None,
    "False": lambda event: False,
    "the event": lambda event: event,
    "a generator": lambda event: (one for one in [event]),
    "an odd object": lambda event: ANY,
    "a coroutine": lambda event: _coroutine(event),
    "what it has emptied": lambda event: event.data.clear(),  # type: ignore[attr-defined]
    "what it has set": lambda event: object.__setattr__(event, "kind", "run_finished"),
}


@pytest.mark.parametrize("gives", GIVES)
def test_what_a_watcher_gives_or_does_to_events_counts_nothing(gives: str) -> None:
    hold(*go(on_event=GIVES[gives]))


@pytest.mark.parametrize("watcher", [_coroutine, Asynchronous(), functools.partial(_coroutine), 7, "x"])
def test_a_watcher_that_cannot_be_called_plainly_is_refused_before_anything_runs(watcher: Any) -> None:
    ledger = SqliteLedger()
    engine = Engine([one], model="none", environ={}, ledger=ledger)
    with pytest.raises(InvalidInput, match="on_event"):
        asyncio.run(engine.run(Plan(request="x", graph=TaskDAG(GRAPH), planner="me"), on_event=watcher))
    assert ledger.runs() == ()


# Reflectors


def reflection(**fields: Any) -> Reflection:
    found = Reflection(patch=GraphPatch(), reason="fine")
    for name, value in fields.items():
        object.__setattr__(found, name, value)
    return found


FIGURES: Mapping[str, Any] = {
    "less than nothing": -1.0,
    "no number": float("nan"),
    "without end": float("inf"),
    "a text": "0.1",
    "a flag": True,
}
REFLECTIONS: Mapping[str, Callable[[], Any]] = {
    **{f"a cost that is {name}": functools.partial(reflection, cost_usd=value) for name, value in FIGURES.items()},
    "a usage that is none": lambda: reflection(usage="much"),
    "a reason that is none": lambda: reflection(reason=7),
    "half a character": lambda: reflection(reason="\ud800"),
    "a long reason": lambda: reflection(reason="x" * 3_000_000),
    "a patch that is none": lambda: reflection(patch=None),
    "a patch of no tasks": lambda: reflection(patch=[ANY]),
    "a patch of what has begun": lambda: Reflection(patch=GraphPatch(remove=("a",)), reason="x"),
    "a patch of what is not there": lambda: Reflection(patch=GraphPatch(remove=("nothing",)), reason="x"),
    "no reflection": lambda: "fine",
    "nothing": lambda: None,
    **{f"raises {type(error).__name__}": functools.partial(_raise, error) for error in ERRORS},
}


def _raise(error: BaseException) -> Any:
    raise error


class Reflects:
    def __init__(self, give: Callable[[], Any]) -> None:
        self.give = give

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Any:
        return self.give()


class ReflectsPlainly(Reflects):
    def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Any:
        return self.give()


@pytest.mark.parametrize("kind", [Reflects, ReflectsPlainly])
@pytest.mark.parametrize("case", REFLECTIONS)
def test_a_reflector_that_is_wrong_changes_nothing(case: str, kind: Any) -> None:
    run, ledger = go(reflector=kind(REFLECTIONS[case]))
    hold(run, ledger)
    assert run.planning_cost_usd == 0.0


# Detectors


class Detects:
    def __init__(self, give: Callable[[], Any]) -> None:
        self.give, self.times = give, 0

    async def detect(self, request: str, tasks: Any, agents: Any) -> Any:
        self.times += 1
        agents.clear()
        return self.give()


class Planner:
    async def plan(self, request: str, agents: Any) -> Plan:
        return Plan(request=request, graph=TaskDAG(GRAPH), planner="me")


DETECTIONS: Mapping[str, Callable[[], Any]] = {
    **{f"a cost that is {name}": functools.partial(Detection, cost_usd=value) for name, value in FIGURES.items()},
    "no detection": lambda: "fine",
    "nothing": lambda: None,
    "issues that are none": lambda: Detection(issues=(ANY, ANY)),
    "issues without end": lambda: Detection(issues=ANY),
    # Not GeneratorExit: in a coroutine it is how Python itself ends one.
    **{
        f"raises {type(error).__name__}": functools.partial(_raise, error)
        for error in ERRORS
        if not isinstance(error, GeneratorExit)
    },
}


@pytest.mark.parametrize("case", DETECTIONS)
def test_a_detector_that_is_wrong_has_found_nothing(case: str) -> None:
    detector = Detects(DETECTIONS[case])
    run, ledger = go("look at a and look at b", detector=detector, planner=Planner())
    hold(run, ledger)
    assert detector.times > 0


def test_what_a_detector_rightly_finds_still_counts() -> None:
    issue = Issue(severity="warning", kind="goal", message="It says too little.", way_out="Say more.", task_id="a")
    run, _ = go("look", detector=Detects(lambda: Detection(issues=(issue,))), planner=Planner())
    assert "It says too little." in [one["message"] for one in run.issues]
