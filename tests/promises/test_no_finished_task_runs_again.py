"""README: "No lost runs". A run goes on where it was, however it came to an end, and no finished task runs again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from kapelle import SqliteLedger
from kapelle.errors import LedgerBusy
from kapelle.ledger import NewEvent, Run

from .mending import params
from .ways import FAILURES, Session, Way, open_session, sampled_ways

SOME = sampled_ways()[::3]


class Dying:
    """A ledger that is out of reach from one event on: for its engine that is a crash."""

    def __init__(self, ledger: SqliteLedger, after: int) -> None:
        self.ledger, self.left = ledger, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    def append_all(self, run_id: str, new: Sequence[NewEvent], **more: Any) -> Any:
        """Write a turn's events, unless it is over."""
        if self.left <= 0:
            raise LedgerBusy("The disk is gone.")
        self.left -= len(new)
        return self.ledger.append_all(run_id, new, **more)


def go_on(session: Session) -> Run:
    """Answer what is asked, let every call succeed, and resume until the run is done.

    What had failed before a crash stays so until the run has ended; and a question may not have been written down.
    """
    session.stage.mend()
    session.engine.limits = replace(session.engine.limits, task_timeout_s=60.0)
    for _ in range(3):
        for question in session.engine.questions():
            session.engine.answer(question.question_id, "this one")
        run = asyncio.run(session.engine.resume("last"))
        if run.state == "done":
            break
    return run


def expect_nothing_twice(session: Session, before: Run, after: Run, called_before: int) -> None:
    done = {name for name, task in before.tasks.items() if task.state == "done"}
    again = [one.task for one in session.stage.calls()[called_before:]]
    assert not done & set(again)
    assert {name: after.results[name] for name in done} == before.results
    assert after.state == "done", after.stop_reason
    assert after.results == {name: after.results[name] for name in after.tasks}
    assert session.ledger.run(after.run_id) == after


@pytest.mark.slow
@pytest.mark.parametrize("way", params("nothing again after an end", SOME))
def test_what_is_done_is_not_done_again_when_a_run_that_ended_goes_on(way: Way) -> None:
    with ExitStack() as stack:
        session = open_session(way, stack)
        before = asyncio.run(session.engine.run(session.plan()))
        calls = len(session.stage.calls())
        if before.state == "done":
            return  # its strategy has made up for all that failed
        assert before.state == ("waiting" if FAILURES[way.failure].asks else before.state)
        expect_nothing_twice(session, before, go_on(session), calls)


@pytest.mark.slow
@pytest.mark.parametrize("way", params("nothing again after a crash", SOME))
def test_what_is_done_is_not_done_again_after_a_crash(way: Way) -> None:
    with ExitStack() as stack, SqliteLedger(":memory:") as kept:
        dying = Dying(kept, after=random.Random(str(way)).randrange(6, 24))
        session = open_session(way, stack, ledger=dying)
        try:
            run = asyncio.run(session.engine.run(session.plan()))
        except LedgerBusy:
            run = kept.run("last")
        dying.left = 10_000
        calls = len(session.stage.calls())
        before = kept.run("last")
        if run.state == "done":
            return
        after = go_on(session)
        expect_nothing_twice(session, before, after, calls)
        assert after.cost_usd >= before.cost_usd
