from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Event, printable, rebuild_run

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def test_what_steers_a_terminal_is_shown_as_signs() -> None:
    assert printable("\x1b]0;x\x07\x1b[2J") == "␛]0;x␇␛[2J"
    assert printable("\x7f\x9b2J\u202eabc\u2069\udc80") == "␡\ufffd2J\ufffdabc\ufffd\ufffd"


def test_line_feeds_and_tabs_stay() -> None:
    assert printable("a\tb\r\nc\nd\re") == "a\tb\nc\nd␍e"


@given(st.text(st.characters()))
def test_nothing_is_left_that_steers_and_the_rest_is_as_it_was(text: str) -> None:
    safe = printable(text)
    assert not STEERING.search(safe)
    if not STEERING.search(text):
        assert safe == text


def test_an_explained_run_steers_no_terminal() -> None:
    graph = TaskDAG([Task(task_id="a", task_type="x", description="\x1b[2J")]).to_dict()
    run = rebuild_run(
        [
            Event(run_id="r", seq=0, at=0.0, kind="run_started", data={"request": "\x1b]0;x\x07"}),
            Event(run_id="r", seq=1, at=0.0, kind="run_planned", data={"graph": graph, "planner": "\u202e"}),
        ]
    )
    assert not STEERING.search(run.explain())
    assert "␛]0;x␇" in run.explain()
