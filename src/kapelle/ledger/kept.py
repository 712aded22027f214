"""What the ledger keeps of what it is given: everything but secrets. Both stores take everything in through here.

A secret that this process knows is hidden in all texts. In reasons and settings what looks like one is hidden too; in
outputs, requests and plans it stays, for those are the user's: see `kapelle.redaction`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kapelle.redaction import hide_known, hide_known_in, hide_secrets, hide_secrets_in, mentions_known

from .blobs import Blob, take_apart

_MESSAGES = ("reason", "stop_reason", "error", "traceback", "settings")
"""Fields of events that hold errors, or what was set: no data of the user's."""


def keep_event(data: Mapping[str, Any] | None) -> tuple[dict[str, Any], str, tuple[Blob, ...]]:
    """Return an event's data as it is kept, and as JSON text with its large fields apart: see `take_apart`."""
    kept = dict(data or {})
    for name in _MESSAGES:
        if name in kept:
            kept[name] = hide_secrets_in(kept[name])
    text, blobs = take_apart(kept)
    if mentions_known(text, *(blob.text for blob in blobs)):
        kept = hide_known_in(kept)
        text, blobs = take_apart(kept)
    return kept, text, blobs


def keep_name(name: str | None) -> str | None:
    """Return a task's id as it is kept."""
    return None if name is None else hide_known(name)


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
