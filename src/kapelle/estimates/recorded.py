"""What the record of a run holds of estimates: plain values, of every task. Reads nothing back: see ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from .estimate import Estimate

_FIELDS = tuple(one.name for one in fields(Estimate))


def estimates_to_dict(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, Any]]:
    """Return estimates by task as plain values. Tasks that share an estimate share the values too."""
    # `asdict` copies every value in depth, which for a plan of a thousand tasks takes longer than routing it.
    known: dict[int, dict[str, Any]] = {}
    told: dict[str, dict[str, Any]] = {}
    for task_id, estimate in estimates.items():
        values = known.get(id(estimate))
        if values is None:
            values = known[id(estimate)] = {name: _plain(getattr(estimate, name)) for name in _FIELDS}
        told[task_id] = values
    return told


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
