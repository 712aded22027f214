"""Turns rows of the ledger's tables into values, and values into rows, for every store alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

from kapelle.errors import LedgerCorrupt
from kapelle.failures import FailureKind
from kapelle.redaction import hide_secrets

from .chain import DOCTOR
from .event import EVENT_KINDS, Event
from .fields import place_of
from .kept import keep_words
from .outcome import Outcome
from .usage import Usage

OUTCOME_COLUMNS = (
    "run_id", "task_id", "task_type", "agent", "step", "success", "quality", "input_tokens", "cached_tokens",
    "output_tokens", "calls", "cost_usd", "seconds", "error", "features", "at",
)  # fmt: skip
"""What the table of outcomes holds of an outcome; beside it the stores number their rows in `outcome_id`."""
_FAILURES = frozenset(get_args(FailureKind))
_KINDS = {kind.encode(): kind for kind in EVENT_KINDS}
"""One text for all events of a kind."""
_decode = json.JSONDecoder().decode


def outcome_to_row(outcome: Outcome) -> tuple[Any, ...]:
    """Return what the columns hold of an outcome; lone surrogates, which no store keeps as text, become `?`."""
    # Fields that came later lie beside the features, so that files of any version keep them and are read alike.
    features = {**outcome.features}
    if outcome.failure:
        features["failure"] = outcome.failure
    if outcome.agent_version:
        features["agent_version"] = outcome.agent_version
    words = keep_words(outcome.task_id, outcome.task_type, outcome.agent, outcome.step, json.dumps(features))
    # A lone surrogate comes in a file name that is not UTF-8.
    task_id, task_type, agent, step, told = map(storable, words)
    error = None if outcome.error is None else storable(hide_secrets(outcome.error))
    usage = outcome.usage
    return (
        storable(outcome.run_id), task_id, task_type, agent, step, outcome.success, outcome.quality,
        usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.calls,
        outcome.cost_usd, outcome.seconds, error, told, outcome.at,
    )  # fmt: skip


def outcome_from_row(row: Sequence[Any]) -> Outcome:
    """Return an outcome from its `outcome_id` and its columns.

    Raises:
        LedgerCorrupt: they are no outcome.
    """
    try:
        found = dict(zip(OUTCOME_COLUMNS, row[1:], strict=True))
        counts = {name: found.pop(name) for name in ("input_tokens", "cached_tokens", "output_tokens", "calls")}
        found["success"] = bool(found["success"])
        features = found["features"] = dict(json.loads(found["features"]))
        if isinstance(kind := features.get("failure"), str) and kind in _FAILURES:
            found["failure"] = features.pop("failure")
        if isinstance(features.get("agent_version"), str):
            found["agent_version"] = features.pop("agent_version")
        return Outcome(**found, usage=Usage(**counts))
    except (TypeError, ValueError, RecursionError) as problem:
        raise LedgerCorrupt(f"Outcome {row[0]} in the ledger cannot be read: {problem}") from problem


def event_from_row(
    run_id: str, seq: Any, at: Any, kind: Any, task_id: Any, text: Any, *, names: Sequence[str] | None = None
) -> Event:
    """Return an event from its row. With names, the text holds an array of these fields, or all data: see history.

    Texts may be bytes, as they lie in the store.

    Raises:
        LedgerCorrupt: they are no event.
    """
    if isinstance(kind, bytes):
        kind = _KINDS.get(kind) or kind.decode("utf-8", "replace")

    def problem(what: str) -> LedgerCorrupt:
        return LedgerCorrupt(f"{place_of(Event(run_id=run_id, seq=seq, at=at, kind=kind))} {what}. {DOCTOR}")

    try:
        if isinstance(task_id, bytes):
            task_id = task_id.decode()
        if isinstance(text, bytes):
            text = text.decode()
    except UnicodeDecodeError as error:
        raise problem(f"is no text: {error}") from error
    if not isinstance(at, (int, float)):
        raise problem(f"has no time but {at!r}")
    try:
        data = _decode(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise problem(f"is not JSON: {error}") from error
    if names is not None and isinstance(data, list):
        data = dict(zip(names, data, strict=False))
    if not isinstance(data, dict):
        raise problem("holds no mapping")
    return Event(run_id=run_id, seq=seq, at=at, kind=kind, task_id=task_id, data=data)


def storable(value: Any) -> Any:
    """Return a value as stores keep it: halves of characters, which none keeps as text, become `?`."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "replace").decode("utf-8")


def as_text(found: str | bytes) -> str:
    """Return a text that is compared with what was written: damaged bytes make it another."""
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else found
