"""What bench.crash judges runs by finds each fault that is planted in what a run has left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bench.crash.checking import Reading
from bench.crash.worlds import Step, World
from kapelle.ledger import Event

STEPS = (
    Step(name="a", kind="plain", fails=True, on_failure="continue"),
    Step(name="b", kind="risky"),
    Step(name="c", kind="plain", after=("a", "b")),
    Step(name="d", kind="plain", after=("c",), needs="some"),
)
WORLD = World(seed=0, shape="plain", steps=STEPS, by_name={step.name: step for step in STEPS})
BEGUN = ("run_started", "run_planned", "run_routed", "run_approved")


def tell(*told: str | tuple[str, dict[str, Any]]) -> list[Event]:
    """Return events of a run, each given as `kind task`."""
    events = []
    for seq, one in enumerate((*BEGUN, *told)):
        words, data = (one, {}) if isinstance(one, str) else one
        kind, _, task = words.partition(" ")
        events.append(Event(run_id="r", seq=seq, at=float(seq), kind=kind, task_id=task or None, data=data))  # type: ignore[arg-type]
    return events


def begin(task: str, after: int, *, given: str = "", missing: str = "", filled: bool = True) -> dict[str, Any]:
    """Return the trace of an agent that begins after so many of the told events."""
    trace = {"what": "begin", "task": task, "agent": "worker", "key": f"r/{task}", "answers": 0, "filled": filled}
    return {**trace, "seq": len(BEGUN) + after - 1, "given": list(given), "missing": list(missing)}


GOOD = ("task_started a", "task_started b", "task_failed a", "task_finished b", "task_started c", "task_finished c")
TRACES = (begin("a", 1), begin("b", 2), begin("c", 5, given="b", missing="a"))


def found(events: list[Event], *traces: Mapping[str, Any]) -> set[str]:
    reading = Reading(world=WORLD)
    reading.read(events, traces)
    return {count for count, _ in reading.problems}


def test_a_run_as_it_should_be_has_no_faults() -> None:
    assert found(tell(*GOOD), *TRACES) == set()


@pytest.mark.parametrize(
    ("events", "traces", "faults"),
    [
        (GOOD[:3] + GOOD[4:5], (*TRACES[:2], begin("c", 4, missing="ab")), {"early_starts"}),
        (GOOD, (*TRACES[:2], begin("c", 3, missing="ab")), {"early_starts"}),
        ((*GOOD, "task_started b"), (*TRACES, begin("b", 7)), {"repeated_finished"}),
        (GOOD, (*TRACES, begin("b", 6)), {"repeated_finished", "unrecorded"}),
        (GOOD, (*TRACES[:2], begin("c", 5, given="b")), {"wrong_inputs"}),
        (GOOD, (*TRACES[:2], begin("c", 5, given="b", missing="a", filled=False)), {"wrong_inputs"}),
        (GOOD[:1], (TRACES[0], begin("b", 1)), {"unrecorded"}),
        (GOOD[:2], (*TRACES[:2], begin("a", 9)), {"unrecorded"}),
        ((*GOOD[:2], "task_interrupted b", "run_resumed", "task_started b"), TRACES[:2], {"unasked"}),
    ],
)
def test_a_planted_fault_is_found(
    events: tuple[str, ...], traces: tuple[dict[str, Any], ...], faults: set[str]
) -> None:
    assert found(tell(*events), *traces) == faults


def test_a_person_who_approves_lets_a_task_of_high_risk_run_again() -> None:
    asked = {"question_id": "q", "about": "rerun"}
    cut_off = (*GOOD[:2], "task_interrupted b", "run_resumed", ("task_asked b", asked))
    for answer, faults in ((True, set()), (False, {"unasked"})):
        said = ("question_answered b", {"question_id": "q", "answer": answer})
        assert found(tell(*cut_off, said, "task_started b"), *TRACES[:2]) == faults


def test_what_had_ended_waits_anew_and_what_was_cut_off_stays_settled() -> None:
    over = (*GOOD[:4], "run_finished", "run_resumed", "task_started c")
    assert found(tell(*over), *TRACES[:2]) == {"early_starts"}
    assert found(tell(*GOOD[:4], "run_resumed", "task_started c"), *TRACES[:2]) == set()


def test_the_rules_say_what_becomes_of_every_task() -> None:
    assert WORLD.fates() == {"a": "failed", "b": "done", "c": "done", "d": "done"}
