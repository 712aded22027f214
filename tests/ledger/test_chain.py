"""What was done to a run behind kapelle's back is noticed when it is read, in both stores alike."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, LedgerCorrupt
from kapelle.ledger import Outcome, Usage
from kapelle.ledger.blobs import BLOB_CHARS, hash_of
from tests.ledger.runs import record_run
from tests.ledger.stores import SqliteStore, Store

LARGE = "x" * (BLOB_CHARS + 1)
OTHER = '"' + "y" * (BLOB_CHARS + 1) + '"'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text() | st.just("\ud800\0"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
DAMAGES = {
    "time": (["UPDATE events SET at = at + 0.0000001 WHERE seq = 3"], r"event 3 \('run_approved'\)"),
    "kind": (["UPDATE events SET kind = 'task_failed' WHERE seq = 5"], r"event 5 \('task_failed'\)"),
    "task": (["UPDATE events SET task_id = 'b' WHERE seq = 4"], "event 4 "),
    "task gone": (["UPDATE events SET task_id = NULL WHERE seq = 4"], "event 4 "),
    "task added": (["UPDATE events SET task_id = '' WHERE seq = 3"], "event 3 "),
    "data": (["UPDATE events SET data = replace(data, 'atlas', 'atlos') WHERE seq = 4"], "event 4 "),
    "a float's last digit": (
        ["UPDATE events SET data = replace(data, '0.1', '0.10000000000000002') WHERE seq = 5"],
        "event 5 ",
    ),
    "a key twice": (["UPDATE events SET data = replace(data, '{', '{\"agent\": 1, ') WHERE seq = 4"], "event 4 "),
    "no mapping": (["UPDATE events SET data = '[]' WHERE seq = 4"], "event 4 "),
    "hash": (["UPDATE events SET hash = (SELECT hash FROM chains WHERE run_id = 'r1') WHERE seq = 2"], "event 2 "),
    "hash gone": (["UPDATE events SET hash = NULL WHERE seq = 2"], "event 2 "),
    "all hashes gone": (["UPDATE events SET hash = NULL"], "event 0 "),
    "two swapped": (
        [
            "UPDATE events SET seq = 99 WHERE run_id = 'r1' AND seq = 2",
            "UPDATE events SET seq = 2 WHERE run_id = 'r1' AND seq = 3",
            "UPDATE events SET seq = 3 WHERE run_id = 'r1' AND seq = 99",
        ],
        "event 2 ",
    ),
    "taken from another run": (
        [
            "DELETE FROM events WHERE run_id = 'r1' AND seq = 3",
            "UPDATE events SET run_id = 'r1' WHERE run_id = 'r2' AND seq = 3",
        ],
        "event 3 ",
    ),
    "moved to another run": (["UPDATE events SET run_id = 'r3' WHERE run_id = 'r1' AND seq = 3"], "event 3 is missing"),
    "first gone": (["DELETE FROM events WHERE seq = 0"], "event 0 is missing"),
    "middle gone": (["DELETE FROM events WHERE seq = 3"], "event 3 is missing"),
    "last gone": (["DELETE FROM events WHERE seq = 6"], "event 6 is missing; 7 were written"),
    "last three gone": (["DELETE FROM events WHERE seq > 3"], "event 4 to 6 is missing"),
    "all gone": (["DELETE FROM events WHERE run_id = 'r1'"], "event 0 to 6 is missing"),
    "middle gone, and closed up": (
        [
            "DELETE FROM events WHERE run_id = 'r1' AND seq = 2",
            *(f"UPDATE events SET seq = {seq - 1} WHERE run_id = 'r1' AND seq = {seq}" for seq in (3, 4, 5, 6)),
        ],
        "event 2 ",
    ),
    "added at the end": (["{add} 7, hash FROM events WHERE run_id = 'r1' AND seq = 6"], "event 7 .* was added"),
    "added without a hash": (["{add} 7, NULL FROM events WHERE run_id = 'r1' AND seq = 6"], "event 7 .* was added"),
    "added far away": (["{add} 9, hash FROM events WHERE run_id = 'r1' AND seq = 6"], "event 7 is missing"),
    "added before": (["{add} -1, hash FROM events WHERE run_id = 'r1' AND seq = 6"], "event -1 .* was added"),
    "added, and counted": (
        [
            "{add} 7, hash FROM events WHERE run_id = 'r1' AND seq = 6",
            "UPDATE chains SET length = 8 WHERE run_id = 'r1'",
        ],
        "event 7 ",
    ),
    "last gone, and not counted": (
        ["DELETE FROM events WHERE seq = 6", "UPDATE chains SET length = 6"],
        "the head of its chain does not fit its last event, 5",
    ),
    "head's hash": (["UPDATE chains SET hash = (SELECT hash FROM events WHERE run_id = 'r1' AND seq = 5)"], "the head"),
    "head cut": (["UPDATE chains SET hash = substr(hash, 1, 31)"], "the head of its chain cannot be read"),
    "head too long": (["UPDATE chains SET length = 9"], "event 7 to 8 is missing"),
    "head too short": (["UPDATE chains SET length = 5"], "event 5 .* was added"),
    "head begins later": (["UPDATE chains SET start = 2"], "event 0 .* its head says it is not"),
    "head begins nowhere": (["UPDATE chains SET start = 8"], "the head of its chain cannot be read"),
    "head gone": (["DELETE FROM chains WHERE run_id = 'r1'"], "the head of its chain is missing"),
    "large value": (["UPDATE blobs SET text = '\"y\"'"], "event 5 .* has a large 'output', which is damaged"),
    "large value gone": (["DELETE FROM blobs"], "event 5 .* has a large 'output', which is missing"),
    "large value exchanged": (
        [
            f"INSERT INTO blobs (hash, text) VALUES ('{hash_of(OTHER)}', '{OTHER}')",
            f"UPDATE event_blobs SET hash = '{hash_of(OTHER)}'",
        ],
        "event 5 ",
    ),
    "large value renamed": (["UPDATE event_blobs SET field = 'Output'"], "event 5 "),
    "large value forgotten": (["DELETE FROM event_blobs"], "event 5 "),
    "large value added": (["INSERT INTO event_blobs SELECT run_id, 4, field, hash FROM event_blobs"], "event 4 "),
}


def damage(store: Store, statements: list[str]) -> None:
    stamp = "" if isinstance(store, SqliteStore) else ", stamp"
    add = (
        "INSERT INTO events (run_id, at, kind, task_id, data{0}, seq, hash) SELECT run_id, at, kind, task_id, data{0},"
    )
    for statement in statements:
        store.change(statement.replace("{add}", add.format(stamp)), triggers=False)


@pytest.mark.parametrize("name", DAMAGES)
def test_what_was_done_to_a_run_is_noticed_and_named(store: Store, name: str) -> None:
    statements, place = DAMAGES[name]
    with store.open() as ledger:
        record_run(ledger, "r1", output=LARGE)
        record_run(ledger, "r2", output=LARGE)
    damage(store, statements)
    with store.open(read_only=True) as ledger:
        for read in (ledger.events, ledger.run, ledger.examine().check_run):
            with pytest.raises(LedgerCorrupt, match=rf"Run 'r1'.*{place}.*`kapelle doctor`"):
                read("r1")


KEYS = {
    "events": ("run_id", "seq"),
    "blobs": ("hash",),
    "event_blobs": ("run_id", "seq", "field"),
    "chains": ("run_id",),
}
COLUMNS = [
    *(("events", column) for column in ("run_id", "seq", "at", "kind", "task_id", "data", "hash")),
    *(("blobs", column) for column in ("hash", "text")),
    *(("event_blobs", column) for column in ("run_id", "seq", "field", "hash")),
    *(("chains", column) for column in ("run_id", "start", "length", "hash")),
]


def flipped(value: Any, bit: int) -> Any:
    """Return a stored value with one of its bits flipped."""
    if isinstance(value, int):
        return value ^ (1 << bit % 63)
    if isinstance(value, float):
        (number,) = struct.unpack("<Q", struct.pack("<d", value))
        return struct.unpack("<d", struct.pack("<Q", number ^ (1 << bit % 64)))[0]
    content = bytearray(value.encode() if isinstance(value, str) else value)
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    return bytes(content)


# One ledger serves all examples: what an example changes, it changes back.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(COLUMNS), row=st.integers(0, 6), bit=st.integers(0, 2**20))
def test_a_bit_that_flips_anywhere_is_noticed(store: Store, where: tuple[str, str], row: int, bit: int) -> None:
    with store.open() as ledger:
        if not ledger.runs():
            record_run(ledger, "r1", output=LARGE)
    table, column = where
    keys = KEYS[table]
    rows = store.rows(f"SELECT {', '.join(keys)}, {column} FROM {table} ORDER BY {', '.join(keys)}")
    *key, value = rows[row % len(rows)]
    assume(value is not None)
    damaged, slot = flipped(value, bit), "?"
    if isinstance(value, str) and isinstance(store, SqliteStore):
        slot = "CAST(? AS TEXT)"  # SQLite keeps bytes that are no UTF-8
    elif isinstance(value, str):
        damaged = damaged.decode("utf-8", "replace")
        assume("\0" not in damaged)
    new_key = [damaged if name == column else one for name, one in zip(keys, key, strict=True)]
    here = " AND ".join(f"{name} = ?" for name in keys)
    there = " AND ".join(f"{name} = {slot if name == column else '?'}" for name in keys)
    try:
        store.change(f"UPDATE {table} SET {column} = {slot} WHERE {here}", damaged, *key, triggers=False)
    except (sqlite3.IntegrityError, psycopg.IntegrityError):  # the place is taken, or SQLite makes NULL of a NaN
        return
    try:
        with store.open(read_only=True) as ledger, pytest.raises(LedgerCorrupt):
            ledger.events("r1")
    finally:
        store.change(f"UPDATE {table} SET {column} = ? WHERE {there}", value, *new_key, triggers=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(output=JSON, request=st.text(), at=st.floats(0, 1e12) | st.integers(0, 10**12))
def test_whatever_is_written_is_read_back_as_whole(store: Store, output: object, request: str, at: float) -> None:
    with store.open(clock=lambda: at) as ledger:
        run_id = ledger.new_run_id()
        ledger.append(run_id, "run_started", {"request": request, "output": output})
        ledger.append(run_id, "task_skipped", {"reason": [output, LARGE]}, task_id="ä\u2028\"'\\")
        ledger.append(run_id, "run_finished", {1: output, "1": 2, None: 0.1})  # type: ignore[dict-item]
    with store.open(read_only=True) as ledger:
        assert [event.seq for event in ledger.events(run_id)] == [0, 1, 2]


def test_both_stores_and_every_version_compute_the_same_hash(store: Store) -> None:
    with store.open(clock=lambda: 1.7e9 + 1 / 3) as ledger:
        ledger.append("r", "run_started", {"request": "ä \ud800", "numbers": [1.0, 1, 1e22, -0.0, 2**70]})
        ledger.append("r", "task_finished", {"output": LARGE, "cost_usd": 0.1}, task_id="é")
        assert len(ledger.events("r")) == 2
    ((start, length, hashed),) = store.rows("SELECT start, length, hash FROM chains")
    assert (start, length) == (0, 2)
    assert hashed.hex() == HEAD


HEAD = "54287d83f45a4a3c60d36e66db75aa640784b62413ca07bfafbffbd49c126600"


def test_an_event_that_is_not_written_moves_no_head(store: Store) -> None:
    wrong = Outcome(run_id="r", task_id="a", task_type="x", agent="b", success=True, usage=Usage(calls=2**70))
    with store.open() as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        with pytest.raises(InvalidInput, match="cannot keep this"):
            ledger.append("r", "task_failed", task_id="a", outcomes=[wrong])
        ledger.append("r", "run_finished", {"state": "failed"})
        assert [event.seq for event in ledger.events("r")] == [0, 1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("{add} 7, hash FROM events WHERE run_id = 'r1' AND seq = 6", "event 7 was added; only 7 were written"),
        ("DELETE FROM chains", "the head of its chain is missing"),
    ],
)
def test_nothing_is_appended_where_another_event_stands(store: Store, change: str, told: str) -> None:
    with store.open() as ledger:
        record_run(ledger)
        damage(store, [change])
        events = store.rows("SELECT count(*) FROM events")
        with pytest.raises(LedgerCorrupt, match=told):
            ledger.append("r1", "run_resumed", {"state": "planning"})
    assert store.rows("SELECT count(*) FROM events") == events


def test_a_run_that_was_collected_leaves_no_head_and_can_be_written_anew(store: Store) -> None:
    with store.open() as ledger:
        record_run(ledger, "r1")
        record_run(ledger, "r2")
        ledger.append("r2", "run_resumed", {"state": "running"})
        assert ledger.collect(9e9).runs == 1
        assert ledger.events("r1") == ()
        record_run(ledger, "r1")
        assert (len(ledger.events("r1")), len(ledger.events("r2"))) == (7, 8)


def test_a_run_that_is_collected_while_it_is_read_is_gone_and_not_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.open() as ledger, store.open() as other:
        record_run(ledger, output=LARGE)
        read = ledger._read

        def read_late(sql: str, values: Sequence[object]) -> list[Any]:
            if "event_blobs" in sql:
                other.collect(9e9)
            return read(sql, values)

        monkeypatch.setattr(ledger, "_read", read_late)
        assert ledger.events("r1") == ()


def test_the_list_of_runs_reads_no_chain(store: Store) -> None:
    with store.open() as ledger:
        record_run(ledger)
        damage(store, ["UPDATE chains SET length = 3", "UPDATE events SET hash = NULL"])
        assert [run.state for run in ledger.runs()] == ["done"]


def test_a_run_that_began_before_there_were_chains_is_chained_from_there_on(store: Store) -> None:
    with store.open() as ledger:
        record_run(ledger, state="stopped")
    # As a run is left that began before its ledger had chains.
    damage(store, ["UPDATE events SET hash = NULL"])
    store.change("UPDATE chains SET start = length, hash = ?", bytes(32))
    with store.open() as ledger:
        assert (len(ledger.run("r1").events), ledger.examine().check_run("r1")) == (7, None)
        ledger.append("r1", "run_resumed", {"state": "running"})
        assert (len(ledger.events("r1")), ledger.examine().check_run("r1")) == (8, 7)
    damage(store, ["UPDATE events SET data = replace(data, 'running', 'planning') WHERE seq = 7"])
    with store.open() as ledger, pytest.raises(LedgerCorrupt, match="event 7 "):
        ledger.run("r1")
