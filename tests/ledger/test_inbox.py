"""Messages to runs and questions of tasks, in both stores alike."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kapelle.errors import InvalidInput, RunBusy
from kapelle.ledger import Question, is_dead, make_question_id, this_process
from tests.ledger.stores import Store

ASKED = {"question_id": "q-1", "kind": "approval", "about": "start", "text": "May it?"}


def test_a_message_waits_for_whoever_comes_and_its_key_is_used_once(store: Store) -> None:
    with store.open() as ledger, store.open() as other:
        ledger.post("r1", "q-1", {"answer": "yes"})
        ledger.post("r2", "q-1", {"answer": None})
        other.post("r1", "stop-0", {"by": "ann"})
        assert list(other.inbox("r1").items()) == [("q-1", {"answer": "yes"}), ("stop-0", {"by": "ann"})]
        with pytest.raises(InvalidInput, match="q-1 was answered already"):
            other.post("r1", "q-1", {"answer": "no"})
        with pytest.raises(InvalidInput, match="has been told 'stop-0' already"):
            ledger.post("r1", "stop-0", {})
        assert ledger.inbox("r1")["q-1"] == {"answer": "yes"}
        assert ledger.inbox("r3") == {}


def test_what_is_asked_and_not_answered_is_open(store: Store) -> None:
    with store.open() as ledger:
        for run_id in ("r1", "r2"):
            ledger.append(run_id, "task_asked", {**ASKED, "question_id": f"q-{run_id}"}, task_id="a")
        ledger.append("r1", "question_answered", {"question_id": "q-r1", "answer": True}, task_id="a")
        store.clock.now += 1
        ledger.append("r1", "task_asked", {**ASKED, "options": ["x"], "kind": "answer"}, task_id="a")
        (second,) = ledger.questions("r1")
        assert (second.question_id, second.kind, second.options, second.is_open) == ("q-1", "answer", ("x",), True)
        assert [one.question_id for one in ledger.questions()] == ["q-r2", "q-1"]
        assert isinstance(second, Question)
        assert ledger.questions("r3") == ()


def test_a_question_has_one_id_for_ever_and_no_other_has_it() -> None:
    ids = {make_question_id(run, task, number) for run in ("r1", "r2") for task in "ab" for number in range(50)}
    assert len(ids) == 200
    assert make_question_id("r1", "a", 0) == make_question_id("r1", "a", 0)


def test_the_lease_of_the_dead_is_given_out_at_once_and_of_nobody_else(store: Store) -> None:
    with store.open() as ledger:
        ledger.acquire_lease("r1", "ghost", 600)
        for wrong in (None, "another ghost"):
            with pytest.raises(RunBusy):
                ledger.acquire_lease("r1", "me", 60, dead=wrong)
        assert ledger.acquire_lease("r1", "me", 60, dead="ghost").fence == 2
        with pytest.raises(RunBusy):
            ledger.acquire_lease("r1", "you", 60, dead="ghost")


def test_only_a_process_of_this_machine_that_is_gone_is_certainly_dead() -> None:
    code = "from kapelle.ledger import this_process; print(this_process(), flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    owner = child.stdout.readline().strip()
    assert owner != this_process()
    assert not is_dead(owner)
    child.communicate("\n")
    assert is_dead(owner)
    assert not is_dead(this_process())
    host, _, rest = owner.partition("[")
    assert not is_dead(f"elsewhere[{rest}")
    assert not is_dead("")
    assert is_dead(owner.replace(owner.partition("[")[2].partition(".")[0], "anotherboot"))
    assert host


def test_a_number_that_was_given_out_again_is_another_process() -> None:
    mine = this_process()
    assert is_dead(mine.rpartition("@")[0] + "@1")


@pytest.mark.slow
def test_of_two_that_want_a_run_at_once_one_has_it(store: Store) -> None:
    store.open().close()
    code = (
        "import sys; from kapelle.ledger import open_ledger; from kapelle.errors import RunBusy\n"
        "ledger = open_ledger(sys.argv[1]); print('ready', flush=True); sys.stdin.readline(); won = 0\n"
        "for n in range(40):\n"
        "    try: ledger.acquire_lease(f'run{n}', sys.argv[2], 600); won += 1\n"
        "    except RunBusy: pass\n"
        "print(won)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, store.location, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for name in ("one", "two")
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    assert sum(int(child.communicate()[0]) for child in children) == 40
