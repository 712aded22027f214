"""What every store does alike: reads runs and outcomes out of its tables. Knows nothing of connections, never writes.

All stores hold the same tables; where their SQL differs, the store's StoreDialect says how.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from kapelle.errors import LedgerCorrupt, NotFound

from .amend import amend
from .blobs import put_together
from .chain import ChainCheck, Head
from .event import COST_FIELDS, Event, EventKind, RunState
from .excerpts import GROWTH, OF_OUTLINE, ReadField, cut_to, excerpt_of, outline_of
from .fields import Fields
from .lease import Lease
from .ledger import RunSummary, make_run_id
from .outcome import Outcome
from .question import Question, read_question
from .rebuild import collector_at_rest, event_cost, rebuild_run
from .rows import OUTCOME_COLUMNS, as_text, event_from_row, outcome_from_row, storable
from .run import Run

_READ_TRIES = 3
"""How often a run that does not look whole is read, as long as it looks another one every time."""
PAGE = 5_000
"""Events that are read at a time."""

_T = TypeVar("_T")
ReadRows = Callable[[str, Sequence[Any]], list[Any]]
"""Runs one SELECT, whose values stand at the `?` in it, and returns its rows."""

_STATES: Mapping[EventKind, RunState] = {"run_waiting": "waiting"}
_BLOBS = """
    SELECT e.seq, {field}, {hash}, {text} FROM event_blobs e LEFT JOIN blobs b ON b.hash = e.hash WHERE e.run_id = ?
"""
_OF_PAGE = " AND e.seq BETWEEN ? AND ?"
_OF_STARTS = " AND e.field IN ('request', 'settings', 'answer', 'stop_reason')"
_OF_QUESTIONS = " AND e.seq IN (SELECT a.seq FROM events a WHERE a.run_id = e.run_id AND a.kind = 'task_asked')"
_OPEN = """
    SELECT a.run_id, a.seq, a.at, a.kind, a.task_id, a.data FROM events a
    WHERE a.kind = 'task_asked' {where} AND NOT EXISTS (
        SELECT 1 FROM events b WHERE b.run_id = a.run_id AND b.task_id = a.task_id AND b.seq > a.seq
        AND b.kind = 'question_answered')
    ORDER BY a.at, a.run_id, a.seq
"""
"""A task asks one thing at a time, so what answers it later answers just that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreDialect:
    """What the stores say in different words."""

    pick: Callable[[str, Sequence[str]], str]
    """SQL for these fields of the event's data in a column, as the text of a JSON array, so that the rest of the data
    never leaves the store. Escapes in texts stay as they were written: a lone surrogate survives. Data that the store
    cannot read as JSON, as with Python's Infinity, come whole. An array may hold more than was asked for."""
    texts_in: str
    """A SELECT of the texts in the JSON array that stands at its `?`."""
    raw: str
    """SQL for a text column `{}` as it lies in the store: as bytes, where the store's texts may be no UTF-8."""


class StoredLedger(ABC):
    """The half of a ledger that only reads. A store adds its connection, and what it writes."""

    def __init__(self, read: ReadRows, dialect: StoreDialect, clock: Callable[[], float]) -> None:
        # What is asked for was typed by people, who also type what no store could hold.
        self._read: ReadRows = lambda sql, values: read(sql, [storable(value) for value in values])
        self._dialect = dialect
        self._clock = clock

    @abstractmethod
    def close(self) -> None:
        """Let go of the store. Closing twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def new_run_id(self) -> str:
        """Return an id for a run: sorts by time, and is short enough to type."""
        return make_run_id(self._clock())

    def now(self) -> float:
        """Return what time it is by the clock that events are dated by, in seconds since the epoch."""
        return self._clock()

    def events(self, run_id: str) -> tuple[Event, ...]:
        """Return the events of a run in order; none if there is no such run.

        Raises:
            LedgerCorrupt: they are not as they were written: see chain.
        """
        return self._read_again(lambda: tuple(self.stream(run_id)))

    def stream(self, run_id: str) -> Iterator[Event]:
        """Yield the events of a run in order, a few thousand in memory at a time; none if there is no such run.

        It is read as far as it is when its last page is. What comes before a fault was yielded by then.

        Raises:
            LedgerCorrupt: they are not as they were written: see chain.
        """
        check = ChainCheck(run_id)
        while True:
            rows = self._page_of(run_id, check.length)
            head = Head.from_row(run_id, rows[0][:3])
            found = [row for row in rows if row[3] is not None]
            events = tuple(event_from_row(run_id, *row[3:8]) for row in found)
            large = self._large(run_id, _OF_PAGE, (events[0].seq, events[-1].seq)) if events else []
            whole = put_together(events, large)
            check.add(head, events, (row[7:9] for row in found), large)
            if len(events) < PAGE:
                check.end(head)
            yield from whole
            if len(events) < PAGE:
                return

    def _read_again(self, read: Callable[[], _T]) -> _T:
        """Return what is read; a run that does not look whole once more, for it may just have been collected: then its
        first events were there, and what came after them was not."""
        said = None
        for _ in range(_READ_TRIES - 1):
            try:
                return read()
            except LedgerCorrupt as error:
                if str(error) == said:
                    raise
                said = str(error)
        return read()

    def _page_of(self, run_id: str, first: int) -> list[Any]:
        """Return the head of a run's chain (start, length, hash) and, beside it, its next events, each with its
        hash."""
        kind, task_id, data = (self._dialect.raw.format(f"e.{name}") for name in ("kind", "task_id", "data"))
        # In one statement, so that events and head are of one moment. It has a row where the run has no event, too.
        # What lies before the first place was added by somebody, and is found there.
        since = "AND e.seq >= ?" if first else ""
        return self._read(
            f"""
            SELECT c.start, c.length, c.hash, e.seq, e.at, {kind}, {task_id}, {data}, e.hash
            FROM (SELECT 1) AS one LEFT JOIN chains c ON c.run_id = ?
            LEFT JOIN events e ON e.run_id = ? {since} ORDER BY e.seq LIMIT {PAGE}
            """,  # noqa: S608 - our own names
            (run_id, run_id, *([first] if first else ())),
        )

    def chained_from(self, run_id: str) -> int | None:
        """Return the first event of a run that is chained; None where none is."""
        rows = self._read("SELECT start, length FROM chains WHERE run_id = ?", (run_id,))
        return next((start for start, length in rows if start < length), None)

    def run_ids(self) -> tuple[str, ...]:
        """Return the ids of all runs, also of those whose events are gone."""
        rows = self._read("SELECT run_id FROM events UNION SELECT run_id FROM chains ORDER BY run_id", ())
        return tuple(row[0] for row in rows)

    def newest_at(self) -> float | None:
        """Return the latest time of all events, in seconds since the epoch; None where there are none.

        Raises:
            LedgerCorrupt: it is no time.
        """
        ((found,),) = self._read("SELECT max(at) FROM events", ())
        if found is not None and not isinstance(found, (int, float)):
            raise LedgerCorrupt(f"An event in the ledger has no time but {found!r:.80}.")
        return found

    def under_way(self, now: float) -> dict[str, Lease | None]:
        """Return the runs that neither ended nor wait for people, each with its lease; None where nobody holds it."""
        rows = self._read(
            """
            SELECT l.run_id, h.owner, h.fence, h.expires_at
            FROM events l LEFT JOIN leases h ON h.run_id = l.run_id AND h.owner IS NOT NULL AND h.expires_at > ?
            WHERE l.kind IN ('run_started', 'run_resumed') AND NOT EXISTS (
                SELECT 1 FROM events m WHERE m.run_id = l.run_id AND m.seq > l.seq
                AND m.kind IN ('run_started', 'run_finished', 'run_waiting', 'run_resumed'))
            ORDER BY l.at, l.run_id
            """,
            (now,),
        )
        return {
            run_id: None if owner is None else Lease(run_id=run_id, owner=owner, fence=fence, expires_at=until)
            for run_id, owner, fence, until in rows
        }

    def inbox(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return all messages to a run by their keys, oldest first."""
        rows = self._read("SELECT key, data FROM inbox WHERE run_id = ? ORDER BY number", (run_id,))
        return {key: json.loads(text) for key, text in rows}

    def questions(self, run_id: str | None = None) -> tuple[Question, ...]:
        """Return what the tasks of one run, or of all, wait for people to answer, oldest first."""
        where, values = ("AND a.run_id = ?", (run_id,)) if run_id is not None else ("", ())
        rows = self._read(_OPEN.format(where=where), values)
        asked: dict[str, list[Event]] = {}
        for row in rows:
            asked.setdefault(row[0], []).append(event_from_row(*row))
        whole = {
            (event.run_id, event.seq): event
            for name, events in asked.items()
            for event in put_together(events, self._large(name, _OF_QUESTIONS))
        }
        return tuple(read_question(whole[row[0], row[1]]) for row in rows)

    def run(self, run_id: str) -> Run:
        """Return a run, rebuilt from its events. An unambiguous beginning of its id is enough; `last` is the newest.

        Raises:
            NotFound: no run, or more than one, has such an id.
        """
        return self.fold(run_id, rebuild_run)

    def fold(self, run_id: str, make: Callable[[Iterator[Event]], _T]) -> _T:
        """Return what is made of the events of a run, of which a few thousand are in memory at a time: see `stream`.

        It is made anew where the run did not look whole. The errors are those of `run`.
        """
        found = self.find_run(run_id)
        with collector_at_rest():
            return self._read_again(lambda: make(self.stream(found)))

    def outline(self, run_id: str) -> Run:
        """Return a run without its tasks, its graph and its figures: how it was started, and where it stands.

        As many events are read as it was gone on with, however many tasks it has. The errors are those of `run`.
        """
        found = self.find_run(run_id)
        kinds = f"({', '.join('?' * len(OF_OUTLINE))})"
        seqs = f"SELECT a.seq FROM events a WHERE a.run_id = e.run_id AND a.kind IN {kinds}"  # noqa: S608 - only marks
        of_kind = f" AND e.seq IN ({seqs})"
        large = self._large(found, of_kind + _OF_STARTS, OF_OUTLINE)
        return outline_of(put_together(self._events_where(found, f"e.kind IN {kinds}", OF_OUTLINE), large))

    def excerpt(self, run_id: str, task_id: str) -> Run:
        """Return a run of which `tasks` has this one alone, and `graph` beside it what it waits for.

        Of a large run little more is in memory than that. What other tasks have cost is not in it.

        Raises:
            NotFound: there is no such run, or no such task in it.
            LedgerCorrupt: what was read cannot be.
        """
        found = self.find_run(run_id)
        cut: Run | None
        ((grown,),) = self._read(
            f"SELECT count(*) FROM events WHERE run_id = ? AND kind IN ({', '.join('?' * len(GROWTH))})",  # noqa: S608 - only marks
            (found, *GROWTH),
        )
        if grown:  # what its graph became is told by all of its changes; such runs are no large ones
            cut = cut_to(self.run(found), task_id)
        else:
            where = "e.task_id IS NULL OR e.task_id = ? OR e.data LIKE ?"
            events = self._events_where(found, where, (task_id, '%"by_stop"%'))
            cut = excerpt_of(events, task_id, self._field_reader(found))
        if cut is None:
            raise NotFound(f"Run {found} has no task {task_id!r:.140}. `kapelle explain {found}` tells its tasks.")
        return cut

    def _events_where(self, run_id: str, where: str, values: Sequence[Any] = ()) -> tuple[Event, ...]:
        """Return some events of a run in order, without their large fields."""
        kind, task_id, data = (self._dialect.raw.format(f"e.{name}") for name in ("kind", "task_id", "data"))
        rows = self._read(
            f"SELECT e.seq, e.at, {kind}, {task_id}, {data} FROM events e WHERE e.run_id = ? AND ({where}) "  # noqa: S608 - our own
            "ORDER BY e.seq",
            (run_id, *values),
        )
        return tuple(event_from_row(run_id, *row) for row in rows)

    def _field_reader(self, run_id: str) -> ReadField:
        there = {*map(tuple, self._read("SELECT seq, field FROM event_blobs WHERE run_id = ?", (run_id,)))}

        def read(seq: int, name: str) -> str | None:
            if (seq, name) not in there:
                return None
            rows = self._large(run_id, " AND e.seq = ? AND e.field = ?", (seq, name))
            return next((as_text(text) for *_, text in rows if text is not None), None)

        return read

    def runs(self, *, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the newest runs, newest first.

        What each has cost is what `Run.cost_usd` says. Answers and outputs stay in the store, however large they are.

        Raises:
            LedgerCorrupt: one of these runs has an event that cannot be read.
        """
        pick = self._dialect.pick
        rows = self._read(
            f"""
            SELECT s.run_id, s.seq, s.at, s.kind, s.task_id, {pick("s.data", ["request"])},
                   l.seq, l.at, l.kind, l.task_id, {pick("l.data", ["state"])},
                   (SELECT count(*) FROM events t WHERE t.run_id = s.run_id AND t.kind = 'task_finished')
            FROM (SELECT * FROM events WHERE kind = 'run_started' ORDER BY at DESC, run_id DESC LIMIT ?) s
            JOIN events l ON l.run_id = s.run_id AND l.seq = (
                SELECT max(seq) FROM events m WHERE m.run_id = s.run_id
                AND m.kind IN ('run_started', 'run_finished', 'run_waiting', 'run_resumed'))
            ORDER BY s.at DESC, s.run_id DESC
            """,  # noqa: S608 - `pick` takes our own constants
            (limit,),
        )
        costs = self._costs([row[0] for row in rows])
        found = []
        for run_id, *columns in rows:
            started = event_from_row(run_id, *columns[:5], names=("request",))
            last = event_from_row(run_id, *columns[5:10], names=("state",))
            ended = last.kind == "run_finished"
            found.append(
                RunSummary(
                    run_id=run_id,
                    request=Fields(started).text("request"),
                    state=Fields(last).end_state("state") if ended else _STATES.get(last.kind, "running"),
                    started_at=started.at,
                    seconds=max(0.0, last.at - started.at) if ended else None,
                    tasks_done=columns[10],
                    cost_usd=costs.get(run_id, 0.0),
                )
            )
        return tuple(found)

    def outcomes(self, *, agent: str | None = None, limit: int = 10_000) -> tuple[Outcome, ...]:
        """Return the newest outcomes, oldest of them first: without what people had forgotten, and as they rated it."""
        where, values = ("WHERE agent = ?", (agent,)) if agent is not None else ("", ())
        columns = ", ".join(("outcome_id", *OUTCOME_COLUMNS))
        rows = self._read(
            f"SELECT {columns} FROM outcomes {where} ORDER BY outcome_id DESC LIMIT ?",  # noqa: S608 - our own constants
            (*values, limit),
        )
        return amend(map(outcome_from_row, reversed(rows)))

    def _large(self, run_id: str, where: str = "", values: Sequence[Any] = ()) -> list[tuple[Any, str, str, Any]]:
        """Return the large fields of a run, or of some of its events, as rows of (seq, field, hash, text)."""
        raw = self._dialect.raw
        select = _BLOBS.format(field=raw.format("e.field"), hash=raw.format("e.hash"), text=raw.format("b.text"))
        rows = self._read(select + where, (run_id, *values))
        return [(seq, as_text(field), as_text(hashed), text) for seq, field, hashed, text in rows]

    def _costs(self, run_ids: Sequence[str]) -> dict[str, float]:
        return {run_id: self._cost_of(run_id) for run_id in run_ids}

    def _cost_of(self, run_id: str) -> float:
        names = ("cost_usd", "planning_cost_usd")
        cost, first = 0.0, 0
        while True:
            rows = self._read(
                f"""
                SELECT seq, at, kind, task_id, {self._dialect.pick("data", names)} FROM events
                WHERE run_id = ? AND seq >= ? AND kind IN ({", ".join("?" * len(COST_FIELDS))})
                ORDER BY seq LIMIT {PAGE}
                """,  # noqa: S608 - `pick` takes our own constants
                (run_id, first, *COST_FIELDS),
            )
            for columns in rows:
                cost += event_cost(event_from_row(run_id, *columns, names=names))
            if len(rows) < PAGE:
                return cost
            first = rows[-1][0] + 1

    def find_run(self, run_id: str) -> str:
        """Return the whole id of a run, of which nothing is read: see `run`.

        Raises:
            NotFound: no run, or more than one, has such an id.
        """
        if run_id == "last":
            rows = self._read(
                "SELECT run_id FROM events WHERE kind = 'run_started' ORDER BY at DESC, run_id DESC LIMIT 1", ()
            )
            if not rows:
                raise NotFound(
                    "There are no runs yet. Start one: kapelle run 'Compare the capitals of France and Germany'."
                )
        else:
            # `substr` compares the text as it is: LIKE would read % and _ in it as patterns.
            rows = self._read(
                "SELECT DISTINCT run_id FROM events WHERE kind = 'run_started' AND substr(run_id, 1, ?) = ? LIMIT 6",
                (len(run_id), run_id),
            )
            if not rows:  # its beginning is gone, and reading it tells so
                rows = self._read(
                    "SELECT run_id FROM chains WHERE substr(run_id, 1, ?) = ? LIMIT 6", (len(run_id), run_id)
                )
            rows = [row for row in rows if row[0] == run_id] or rows
        found: list[str] = [row[0] for row in rows]
        if not found or not run_id:
            raise NotFound(f"There is no run {run_id!r}. `kapelle runs` lists them.")
        if len(found) > 1:
            raise NotFound(f"{run_id!r} begins the ids of several runs: {', '.join(found)}. Give more of it.")
        return found[0]
