"""What the ledger keeps of what it is given: everything but secrets. Both stores take everything in through here.

A secret that this process knows is hidden in all texts. In reasons and settings what looks like one is hidden too; in
outputs, requests and plans it stays, for those are the user's: see `kapelle.redaction`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kapelle.redaction import hide_known, hide_known_in, hide_secrets_in, is_any_known, mentions_known

from .blobs import Blob, take_apart
from .chain import hash_content
from .event import Event, EventKind
from .ledger import NewEvent

_MESSAGES = frozenset(("reason", "stop_reason", "error", "traceback", "settings"))
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

    def texts(self) -> Iterator[str]:
        """Return all text that is kept of it."""
        yield self.task_id or ""
        yield self.text
        for blob in self.blobs:
            yield blob.text

    def as_event(self, run_id: str, seq: int) -> Event:
        """Return it as the event at a place of its run."""
        return Event(run_id=run_id, seq=seq, at=self.at, kind=self.kind, task_id=self.task_id, data=self.data)


def keep_events(new: Sequence[NewEvent]) -> list[KeptEvent]:
    """Return new events as they are kept. Known secrets are looked for in all at once: nearly always there is none."""
    kept = [_keep(one, _without_secrets(one.data), one.task_id) for one in new]
    if mentions_known(*(text for one in kept for text in one.texts())):
        kept = [
            _keep(one, hide_known_in(one.data), None if one.task_id is None else hide_known(one.task_id))
            for one in kept
        ]
    return kept


def _keep(new: NewEvent | KeptEvent, data: Mapping[str, Any], task_id: str | None) -> KeptEvent:
    text, blobs = take_apart(data)
    return KeptEvent(at=new.at, kind=new.kind, task_id=task_id, data=data, text=text, blobs=blobs)


def tell_events(new: Sequence[NewEvent], run_id: str, first: int) -> tuple[Event, ...]:
    """Return new events, from a place of their run on, as they are told where none is kept: without secrets, and
    nothing is made of them for a store."""
    if is_any_known():
        return tuple([one.as_event(run_id, seq) for seq, one in enumerate(keep_events(new), first)])
    return tuple(
        [
            Event(
                run_id=run_id, seq=seq, at=one.at, kind=one.kind, task_id=one.task_id, data=_without_secrets(one.data)
            )
            for seq, one in enumerate(new, first)
        ]
    )


def _without_secrets(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's data without what looks like a secret in its messages."""
    kept = dict(data)
    for name in _MESSAGES.intersection(kept):
        kept[name] = hide_secrets_in(kept[name])
    return kept


def keep_words(*words: str) -> tuple[str, ...]:
    """Return the words of an outcome as they are kept; the last of them are its features, as JSON text already."""
    if not mentions_known(*words):
        return words
    *plain, features = words
    return (*map(hide_known, plain), json.dumps(hide_known_in(json.loads(features))))


def keep_message(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person says to a run as it is kept."""
    return dict(hide_known_in(dict(data)))
