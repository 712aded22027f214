"""Reads runs and outcomes out of a store's tables. Knows nothing of connections, and never writes.

Both stores hold the same two tables, `events` and `outcomes`; where their SQL differs, the store's Dialect says how.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kapelle.errors import NotFound

from .blobs import put_together
from .event import COST_FIELDS, Event, EventKind, RunState
from .fields import Fields
from .ledger import RunSummary
from .outcome import Outcome
from .question import Question
from .rebuild import event_cost, read_question, rebuild_run
from .rows import OUTCOME_COLUMNS, event_from_row, outcome_from_row
from .run import Run

ReadRows = Callable[[str, Sequence[Any]], list[Any]]
"""Runs one SELECT, whose values stand at the `?` in it, and returns its rows."""


_STATES: Mapping[EventKind, RunState] = {"run_waiting": "waiting"}
_BLOBS = """
    SELECT e.seq, e.field, e.hash, b.text FROM event_blobs e LEFT JOIN blobs b ON b.hash = e.hash WHERE e.run_id = ?
"""
_OPEN = """
    SELECT a.run_id, a.seq, a.at, a.kind, a.task_id, a.data FROM events a
    WHERE a.kind = 'task_asked' {where} AND NOT EXISTS (
        SELECT 1 FROM events b WHERE b.run_id = a.run_id AND b.task_id = a.task_id AND b.seq > a.seq
        AND b.kind = 'question_answered')
    ORDER BY a.at, a.run_id, a.seq
"""
"""A task asks one thing at a time, so what answers it later answers just that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """What the stores say in different words."""

    pick: Callable[[str, Sequence[str]], str]
    """SQL for these fields of the event's data in a column, as the text of a JSON array, so that the rest of the data
    never leaves the store. Escapes in texts stay as they were written: a lone surrogate survives. Data that the store
    cannot read as JSON, as with Python's Infinity, come whole. An array may hold more than was asked for."""
    texts_in: str
    """A SELECT of the texts in the JSON array that stands at its `?`."""


class History:
    """What has happened, for every store alike; the methods are those of Ledger."""

    def __init__(self, read: ReadRows, dialect: Dialect) -> None:
        self._read = read
        self._dialect = dialect
        self.is_old = False
        """Whether the store is of a version that had neither large fields apart nor an inbox."""

    def events(self, run_id: str) -> tuple[Event, ...]:
        """Return the events of a run in order; none if there is no such run."""
        rows = self._read("SELECT seq, at, kind, task_id, data FROM events WHERE run_id = ? ORDER BY seq", (run_id,))
        events = tuple(event_from_row(run_id, *row) for row in rows)
        if self.is_old or not events:
            return events
        # After the events: what they refer to was written with them, and nobody removes it while they are there.
        return put_together(events, self._read(_BLOBS, (run_id,)))

    def inbox(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return all messages to a run by their keys, oldest first."""
        if self.is_old:
            return {}
        rows = self._read("SELECT key, data FROM inbox WHERE run_id = ? ORDER BY number", (run_id,))
        return {key: json.loads(text) for key, text in rows}

    def questions(self, run_id: str | None) -> tuple[Question, ...]:
        """Return what the tasks of one run, or of all, wait for people to answer, oldest first."""
        where, values = ("AND a.run_id = ?", (run_id,)) if run_id is not None else ("", ())
        rows = self._read(_OPEN.format(where=where), values)
        return tuple(read_question(event_from_row(*row)) for row in rows)

    def run(self, run_id: str) -> Run:
        """Return a run, rebuilt from its events. An unambiguous beginning of its id is enough; `last` is the newest.

        Raises:
            NotFound: no run, or more than one, has such an id.
        """
        return rebuild_run(self.events(self._full_id(run_id)))

    def runs(self, limit: int) -> tuple[RunSummary, ...]:
        """Return the newest runs, newest first. Answers and outputs stay in the store, however large they are."""
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

    def outcomes(self, agent: str | None, limit: int) -> tuple[Outcome, ...]:
        """Return the newest outcomes, oldest of them first."""
        where, values = ("WHERE agent = ?", (agent,)) if agent is not None else ("", ())
        columns = ", ".join(("outcome_id", *OUTCOME_COLUMNS))
        rows = self._read(
            f"SELECT {columns} FROM outcomes {where} ORDER BY outcome_id DESC LIMIT ?",  # noqa: S608 - our own constants
            (*values, limit),
        )
        return tuple(map(outcome_from_row, reversed(rows)))

    def _costs(self, run_ids: Sequence[str]) -> dict[str, float]:
        names = ("cost_usd", "planning_cost_usd")
        rows = self._read(
            f"""
            SELECT run_id, seq, at, kind, task_id, {self._dialect.pick("data", names)} FROM events
            WHERE run_id IN ({self._dialect.texts_in}) AND kind IN ({", ".join("?" * len(COST_FIELDS))})
            """,  # noqa: S608 - `pick` takes our own constants
            (json.dumps(run_ids), *COST_FIELDS),
        )
        costs: dict[str, float] = {}
        for run_id, *columns in rows:
            costs[run_id] = costs.get(run_id, 0.0) + event_cost(event_from_row(run_id, *columns, names=names))
        return costs

    def _full_id(self, run_id: str) -> str:
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
            rows = [row for row in rows if row[0] == run_id] or rows
        found: list[str] = [row[0] for row in rows]
        if not found or not run_id:
            raise NotFound(f"There is no run {run_id!r}. `kapelle runs` lists them.")
        if len(found) > 1:
            raise NotFound(f"{run_id!r} begins the ids of several runs: {', '.join(found)}. Give more of it.")
        return found[0]
