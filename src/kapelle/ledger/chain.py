"""The hash chain over the events of every run, so that damage and partial edits are noticed when a run is read.

    content(n) = JSON of [run_id, at, kind, task_id, {large field: SHA-256 of its text}], line feed, text of the data
    hash(n)    = SHA-256(hash(n - 1) + n as 8 bytes, big-endian + SHA-256(content(n)))

The hash before a chain's first event is 32 zero bytes. An event's hash lies beside it; the run's **head** lies in the
table `chains`: how many events the run has, and the hash of the last. Event and head are written in one transaction,
so they agree after any crash. A run that began before there were chains is chained from the event `start` on.

Canonical is the text itself: a store gives data back as the text that was written, so what is hashed is that text, and
no order of keys, float, large integer or escape has to survive a parser to be the same in both stores and every
process. The rest of the content is text and one float, of which both stores keep every bit.

    what was done                                   what is noticed
    a column of an event, or a large value, changed that event's hash does not fit
    an event removed, added, or put elsewhere       a place is missing, too many, or the hashes do not follow
    the last events removed, or the head changed    the head tells of others

Not covered: there is no key, so whoever computes the whole chain of a run and its head anew can forge it; a run that is
removed whole, with its head, leaves nothing to notice; outcomes and messages are in no chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kapelle.errors import LedgerCorrupt

from .event import Event
from .fields import place_of

BEFORE_FIRST = bytes(32)
"""The hash that a chain begins with."""
DOCTOR = (
    "It was changed outside of kapelle, or the disk is failing. `kapelle doctor` checks every run; put a copy of the "
    "ledger in its place, or start this run anew."
)
"""What a person can do about a run that is not as it was written."""

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
_sha256 = hashlib.sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """Where a run's chain begins and ends."""

    start: int = 0
    """The first event that is chained."""
    length: int = 0
    """How many events the run has, and so the place of the next."""
    hash: bytes = BEFORE_FIRST
    """Of the last event."""

    @classmethod
    def from_row(cls, run_id: str, row: Sequence[Any]) -> Head | None:
        """Return the head that a row of (start, length, hash) tells; None where there is no row, and so only nulls.

        Raises:
            LedgerCorrupt: they are no head.
        """
        start, length, hashed = row
        if start is None and length is None and hashed is None:
            return None
        if not (isinstance(start, int) and isinstance(length, int) and isinstance(hashed, bytes)
                and 0 <= start <= length and len(hashed) == len(BEFORE_FIRST)):  # fmt: skip
            raise _unreadable(run_id)
        return cls(start=start, length=length, hash=hashed)


def hash_content(
    run_id: str, at: float, kind: str, task_id: str | None, text: str | bytes, large: Mapping[str, str]
) -> bytes:
    """Return the SHA-256 of an event's content; `large` holds the hashes of its large fields by their names."""
    encoded = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    # The first line feed is the border: JSON on one line holds none.
    task = "null" if task_id is None else _encode(task_id)
    fields = _encode(large) if large else "{}"
    line = f"[{_encode(run_id)},{float(at)!r},{_encode(kind)},{task},{fields}]\n"  # texts alone are encoded faster
    return _sha256(line.encode() + encoded).digest()


def next_hash(before: bytes, seq: int, content: bytes) -> bytes:
    """Return the hash of the event at a place. The function `append_all` of the PostgreSQL store computes the same."""
    return _sha256(before + seq.to_bytes(8, "big", signed=True) + content).digest()


def follow(run_id: str, row: Sequence[Any] | None, content: bytes) -> tuple[int, bytes]:
    """Return the place and the hash of a run's next event, from the head's row of (length, hash), if there is one.

    Raises:
        LedgerCorrupt: the row is no head.
    """
    if row is None:
        return 0, next_hash(BEFORE_FIRST, 0, content)
    try:
        return row[0], next_hash(row[1], row[0], content)
    except (AttributeError, TypeError, OverflowError):
        raise _unreadable(run_id) from None


class ChainCheck:
    """Checks that a run's events are as they were written, all of them, in their order: page by page as they are read,
    and at last that there are no others."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._before = BEFORE_FIRST
        self.length = 0
        """How many events were seen."""

    def add(
        self,
        head: Head | None,
        events: Sequence[Event],
        links: Iterable[tuple[str | bytes, Any]],
        blobs: Iterable[Sequence[Any]],
    ) -> None:
        """Check the next events.

        Args:
            head: The head of the chain as it was when they were read; None where there is none.
            links: Of every event the text of its data without the large fields, and its hash as it was read: 32 bytes,
                or None where it is from before there were chains.
            blobs: Rows of (seq, field, hash, ...) for the large fields.

        Raises:
            LedgerCorrupt: they are not as they were written; the message names the run, the event and the way out.
        """
        if head is None:
            if events:
                raise head_mismatch(self._run_id, self.length + len(events), None)
            return
        large: dict[int, dict[str, str]] = {}
        for seq, field, text_hash, *_ in blobs:
            large.setdefault(seq, {})[field] = text_hash
        for place, (event, (text, hashed)) in enumerate(zip(events, links, strict=True), self.length):
            if event.seq != place or place >= head.length:
                raise _misplaced(event, place, head)
            if place < head.start:
                if hashed is not None:
                    what = "is in the run's chain, and its head says it is not"
                    raise LedgerCorrupt(f"{place_of(event)} {what}. {DOCTOR}")
                continue
            content = hash_content(self._run_id, event.at, event.kind, event.task_id, text, large.get(place, {}))
            self._before = next_hash(self._before, place, content)
            if hashed != self._before:
                raise LedgerCorrupt(f"{place_of(event)} is not as it was written: its hash does not fit. {DOCTOR}")
        self.length += len(events)

    def end(self, head: Head | None) -> None:
        """Check that these were all; `head` is that which was read in one step with the last of them.

        Raises:
            LedgerCorrupt: they were not.
        """
        if head is None:
            if self.length:
                raise head_mismatch(self._run_id, self.length, None)
            return
        if self.length < head.length:
            last = f" to {head.length - 1}" if head.length - self.length > 1 else ""
            raise LedgerCorrupt(
                f"Run {self._run_id!r}: event {self.length}{last} is missing; {head.length} were written. {DOCTOR}"
            )
        if self._before != head.hash:
            raise LedgerCorrupt(
                f"Run {self._run_id!r}: the head of its chain does not fit its last event, {head.length - 1}. {DOCTOR}"
            )


def head_mismatch(run_id: str, events: int, length: int | None) -> LedgerCorrupt:
    """Return the error for a run of which the head tells another number of events than there are."""
    if length is None:
        return LedgerCorrupt(f"Run {run_id!r}: the head of its chain is missing, from event 0 on. {DOCTOR}")
    if events < length:
        return LedgerCorrupt(f"Run {run_id!r}: event {events} is missing; {length} were written. {DOCTOR}")
    return LedgerCorrupt(f"Run {run_id!r}: event {length} was added; only {length} were written. {DOCTOR}")


def _unreadable(run_id: str) -> LedgerCorrupt:
    return LedgerCorrupt(f"Run {run_id!r}: the head of its chain cannot be read. {DOCTOR}")


def _misplaced(event: Event, place: int, head: Head) -> LedgerCorrupt:
    if isinstance(event.seq, int) and event.seq > place:
        return LedgerCorrupt(f"Run {event.run_id!r}: event {place} is missing, {event.seq} was found. {DOCTOR}")
    return LedgerCorrupt(f"{place_of(event)} was added; only {head.length} were written. {DOCTOR}")
