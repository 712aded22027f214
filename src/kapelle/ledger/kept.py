"""What the ledger keeps of what it is given: everything but secrets. Both stores take everything in through here.

A secret that this process knows is hidden in all texts. In reasons and settings what looks like one is hidden too; in
outputs, requests and plans it stays, for those are the user's: see `kapelle.redaction`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kapelle.redaction import hide_known, hide_known_in, hide_secrets, hide_secrets_in, is_any_known, mentions_known

from .blobs import Blob, take_apart
from .chain import hash_content
from .event import Event, EventKind
from .ledger import NewEvent

_MESSAGES = ("reason", "stop_reason", "error", "traceback", "settings")
"""Fields of events that hold errors, or what was set: no data of the user's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptEvent:
    """A new event as it is kept."""

    at: float
    kind: EventKind
    task_id: str | None
    data: Mapping[str, Any]
    text: str
    """The data as JSON, without its large fields: see `take_apart`."""
    blobs: tuple[Blob, ...]
    """The large fields."""

    def content(self, run_id: str) -> bytes:
        """Return the SHA-256 of what the event says: see chain."""
        large = {blob.field: blob.hash for blob in self.blobs}
        return hash_content(run_id, self.at, self.kind, self.task_id, self.text, large)

    def as_event(self, run_id: str, seq: int) -> Event:
        """Return it as the event at a place of its run."""
        return Event(run_id=run_id, seq=seq, at=self.at, kind=self.kind, task_id=self.task_id, data=self.data)


def keep_event(new: NewEvent) -> KeptEvent:
    """Return a new event as it is kept."""
    kept = _without_secrets(new.data)
    text, blobs = take_apart(kept)
    task_id = new.task_id
    if mentions_known(task_id or "", text, *(blob.text for blob in blobs)):
        kept = hide_known_in(kept)
        text, blobs = take_apart(kept)
        task_id = None if task_id is None else hide_known(task_id)
    return KeptEvent(at=new.at, kind=new.kind, task_id=task_id, data=kept, text=text, blobs=blobs)


def tell_event(new: NewEvent, run_id: str, seq: int) -> Event:
    """Return a new event as it is told where none is kept: without secrets, and nothing is made of it for a store."""
    if is_any_known():
        return keep_event(new).as_event(run_id, seq)
    return Event(run_id=run_id, seq=seq, at=new.at, kind=new.kind, task_id=new.task_id, data=_without_secrets(new.data))


def _without_secrets(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's data without what looks like a secret in its messages."""
    kept = dict(data)
    for name in _MESSAGES:
        if name in kept:
            kept[name] = hide_secrets_in(kept[name])
    return kept


def keep_outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an outcome as they are kept; its features are JSON text already."""
    kept = dict(row)
    if kept["error"] is not None:
        kept["error"] = hide_secrets(kept["error"])
    data = {name: kept[name] for name in ("task_id", "task_type", "agent", "step", "features")}
    if mentions_known(*data.values()):
        kept |= hide_known_in({**data, "features": json.loads(data["features"])})
        kept["features"] = json.dumps(kept["features"])
    return kept


def keep_message(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person says to a run as it is kept."""
    return dict(hide_known_in(dict(data)))
