"""Garbage collection: what is forgotten of a ledger, and what stays. The stores do it in one transaction.

Forgotten are runs that ended before a given time: their events, messages, leases, and the large values that no other
event refers to. Runs that are under way or wait for people stay whatever their age, and so does every outcome: it is
what estimates are learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

OLD_RUNS = """
    SELECT f.run_id FROM events f
    WHERE f.kind = 'run_finished' AND f.at < ?
    AND NOT EXISTS (SELECT 1 FROM events l WHERE l.run_id = f.run_id AND l.seq > f.seq)
"""
"""SQL for the runs whose last event is their end, before a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What was forgotten, or would be."""

    runs: int
    events: int
    blobs: int
    bytes_freed: int
    """Characters of events and large values; what the file system gets back may be less, or come later."""
