"""The statements that a ledger in PostgreSQL needs in its own words; the others are those of SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from .history import StoreDialect

APPEND = "SELECT kapelle.append(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
PROBE = "INSERT INTO events (run_id, seq, at, kind, data, stamp) VALUES ('', -1, 0, '', '', 0)"
NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"
POST = "INSERT INTO inbox (run_id, key, at, data, stamp) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
POSTED = "SELECT stamp FROM inbox WHERE run_id = %s AND key = %s"
UNUSED = "WHERE hash NOT IN (SELECT hash FROM event_blobs WHERE run_id NOT IN (SELECT run_id FROM old_runs))"
FORGET = (
    # First, for appends lock the head of their run before its events: whoever waits for the other, none does for both.
    "DELETE FROM chains WHERE run_id IN (SELECT run_id FROM old_runs)",
    # Nobody appends meanwhile, so no event comes to refer to what goes. Readers go on.
    "LOCK TABLE events, event_blobs, blobs IN SHARE ROW EXCLUSIVE MODE",
    "ALTER TABLE events DISABLE TRIGGER events_are_kept",
    f"DELETE FROM blobs {UNUSED}",  # noqa: S608 - our own constant
    *(f"DELETE FROM {table} WHERE run_id IN (SELECT run_id FROM old_runs)"  # noqa: S608 - our own names
      for table in ("event_blobs", "events", "inbox", "leases")),
    "ALTER TABLE events ENABLE TRIGGER events_are_kept",
)  # fmt: skip


def _pick(column: str, names: Sequence[str]) -> str:
    """Return SQL for fields of an event's data: see Dialect."""
    return "pick({}, {})".format(column, ", ".join(f"'{name}'" for name in names))


DIALECT = StoreDialect(pick=_pick, texts_in="SELECT json_array_elements_text(?::json)", raw="{}")
