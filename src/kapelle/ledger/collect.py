"""Garbage collection: what is forgotten of a ledger, and what stays. The stores do it in one transaction.

Forgotten are runs that ended before a given time: their events, messages, leases, and the large values that no other
event refers to. Runs that are under way or wait for people stay whatever their age, and so does every outcome: it is
what estimates are learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

OLD_RUNS = """
    SELECT f.run_id FROM events f
    WHERE f.kind = 'run_finished' AND f.at < ?
    AND NOT EXISTS (SELECT 1 FROM events l WHERE l.run_id = f.run_id AND l.seq > f.seq)
"""
"""SQL for the runs whose last event is their end, before a time."""
UNUSED = "WHERE hash NOT IN (SELECT hash FROM event_blobs WHERE run_id NOT IN (SELECT run_id FROM old_runs))"
"""SQL that picks the blobs that only `old_runs` refer to."""
COUNTED = f"""
    SELECT count(DISTINCT run_id), count(*), coalesce(sum(length(data)), 0),
        (SELECT count(*) FROM blobs {UNUSED}), (SELECT coalesce(sum(length(text)), 0) FROM blobs {UNUSED})
    FROM events WHERE run_id IN (SELECT run_id FROM old_runs)
"""  # noqa: S608 - our own constant
"""SQL for what is forgotten with `old_runs`: runs, events and their characters, blobs and theirs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What was forgotten, or would be."""

    runs: int
    events: int
    blobs: int
    bytes_freed: int
    """Characters of events and large values; what the file system gets back may be less, or come later."""

    @classmethod
    def of(cls, counts: Sequence[int]) -> Self:
        """Return what a row of COUNTED tells."""
        runs, events, chars, blobs, blob_chars = map(int, counts)
        return cls(runs=runs, events=events, blobs=blobs, bytes_freed=chars + blob_chars)
