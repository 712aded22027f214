"""Keeps large values once: a field of an event that is longer than BLOB_CHARS lies in a table of its own, by its hash.

So the journal stays small, the same document written by ten tasks is kept once, and whoever lists runs reads none of
them. Readers get the event as it was written. Which field lies where is told by a table beside the events, never by the
event's own data: a user's data may look like anything.
"""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kapelle.errors import LedgerCorrupt

from .chain import DOCTOR
from .event import Event
from .fields import place_of

BLOB_CHARS = 32_768
"""JSON text longer than this is kept apart: a page of SQLite holds 4 KiB, and an answer of a model a few of them."""

_ALIKE = "estimates"
"""The field that holds many mappings of which most are the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """A field of an event that is kept apart."""

    field: str
    hash: str
    """SHA-256 of the text."""
    text: str
    """JSON."""


def take_apart(data: Mapping[str, Any]) -> tuple[str, tuple[Blob, ...]]:
    """Return an event's data as JSON text without its large fields, and these."""
    text = json.dumps(data)
    if len(text) <= BLOB_CHARS:
        return text, ()
    texts = {name: json.dumps(value) for name, value in data.items()}
    blobs = tuple(
        Blob(field=name, hash=hash_of(value), text=value) for name, value in texts.items() if len(value) > BLOB_CHARS
    )
    large = {blob.field for blob in blobs}
    return (json.dumps({name: value for name, value in data.items() if name not in large}) if large else text), blobs


def put_together(events: Sequence[Event], rows: Iterable[Sequence[Any]]) -> tuple[Event, ...]:
    """Return events with their large fields again, from rows of (seq, field, hash, text, or its bytes, or None).

    Raises:
        LedgerCorrupt: one is missing, or is not what its hash says.
    """
    found = {event.seq: event for event in events}
    for seq, field, hashed, text in rows:
        event = found.get(seq)
        if event is None:
            continue
        if text is None or hash_of(text) != hashed:
            what = "is missing" if text is None else "is damaged"
            raise LedgerCorrupt(f"{place_of(event)} has a large {field!r}, which {what}. {DOCTOR}")
        found[seq] = replace(event, data={**event.data, field: _value_of(field, text)})
    return tuple(found[event.seq] for event in events)


def _value_of(field: str, text: str | bytes) -> Any:
    """Return the value of a large field. Estimates of tasks that are alike are one mapping, as they were when they were
    made: in a large plan that is most of them."""
    if field != _ALIKE:
        return json.loads(text)
    known: dict[bytes, dict[str, Any]] = {}
    # Version 2 tells 1, 1.0 and True apart, and does not depend on who else holds a value.
    return json.loads(text, object_hook=lambda one: known.setdefault(marshal.dumps(one, 2), one))


def hash_of(text: str | bytes) -> str:
    """Return by what a text, or its bytes, is found: SHA-256, in hexadecimal digits."""
    encoded = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(encoded).hexdigest()
