"""Reads an event's data as the types that they must have, and names the run, the event and the field otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kapelle.errors import LedgerCorrupt
from kapelle.graph import TaskDAG, apply_change

from .event import ENDED, Event, RunState
from .usage import NOTHING, Usage

_NEEDED = object()
"""Stands for the default of a field that has none."""
_EXPECTED = ("cost_usd", "seconds", "success_rate")
_READING = ("understood", "sql")
_ISSUE = ("severity", "message", "way_out")


class Fields:
    """The data of one event. A field with a default may be missing or null.

    Raises:
        LedgerCorrupt: by every method: the field is missing, or is something else.
    """

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    def text(self, name: str, default: object = _NEEDED) -> str:
        return str(self._get(name, str, "a text", default))

    def optional_text(self, name: str) -> str | None:
        if self._event.data.get(name) is None:  # as mostly: of every event of a large run several are asked for
            return None
        return str(self._get(name, str, "a text", None))

    def number(self, name: str, default: object = _NEEDED) -> float:
        found: float = self._get(name, (int, float), "a number", default)
        return found

    def optional_number(self, name: str) -> float | None:
        if self._event.data.get(name) is None:
            return None
        found: float = self._get(name, (int, float), "a number", None)
        return found

    def mapping(self, name: str, default: object = _NEEDED) -> dict[str, Any]:
        return dict(self._get(name, Mapping, "a mapping", default))

    def texts_by_task(self, name: str) -> dict[str, str]:
        found = self.mapping(name)
        self._check(all(isinstance(text, str) for text in found.values()), name, found, "texts by task")
        return found

    def mappings_by_task(self, name: str) -> dict[str, Mapping[str, Any]]:
        found = self.mapping(name, {})
        self._check(all(isinstance(one, Mapping) for one in found.values()), name, found, "mappings by task")
        return found

    def flag(self, name: str) -> bool:
        found = self._event.data.get(name)
        self._check(isinstance(found, bool), name, found, "true or false")
        return bool(found)

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._get(name, (list, tuple), "a list", ())
        self._check(all(isinstance(text, str) for text in found), name, found, "a list of texts")
        return tuple(found)

    def estimates(self, name: str) -> dict[str, Mapping[str, Any]]:
        found = self.mapping(name)
        # A dict is told from other mappings in a tenth of the time.
        fit = all(isinstance(one, (dict, Mapping)) and all(_is_number(one.get(key)) for key in _EXPECTED)
                  for one in found.values())  # fmt: skip
        self._check(fit, name, found, f"estimates with {', '.join(_EXPECTED)}")
        return found

    def issues(self, name: str) -> tuple[Mapping[str, Any], ...]:
        return self._listed(name, "issues", _ISSUE, _NEEDED)

    def readings(self, name: str) -> tuple[Mapping[str, str], ...]:
        return self._listed(name, "readings", _READING, ())

    def usage(self, name: str) -> Usage:
        if self._event.data.get(name) is None:
            return NOTHING
        return Usage(**self.mapping(name))

    def graph(self, name: str) -> TaskDAG:
        return TaskDAG.from_dict(self.mapping(name))

    def changed_graph(self, name: str, before: TaskDAG | None) -> TaskDAG:
        change = self.mapping(name)
        if before is None:
            raise self._problem(name, change, "a graph to change")
        return apply_change(before, change)

    def end_state(self, name: str) -> RunState:
        found = self.text(name)
        for state in ENDED:
            if state == found:
                return state
        raise self._problem(name, found, f"one of {', '.join(sorted(ENDED))}")

    def _listed(self, name: str, what: str, keys: Sequence[str], default: object) -> tuple[Mapping[str, Any], ...]:
        if self._event.data.get(name) is None and default == ():
            return ()
        found = self._get(name, (list, tuple), "a list", default)
        fit = all(isinstance(one, Mapping) and all(isinstance(one.get(key), str) for key in keys) for one in found)
        self._check(fit, name, found, f"{what} with {', '.join(keys)}")
        return tuple(found)

    def _get(self, name: str, kind: Any, what: str, default: object) -> Any:
        found = self._event.data.get(name)
        if found is None:
            if default is _NEEDED:
                raise LedgerCorrupt(f"{place_of(self._event)} lacks {name!r}.")
            return default
        if not isinstance(found, kind) or isinstance(found, bool):
            raise self._problem(name, found, what)
        return found

    def _check(self, fits: bool, name: str, found: object, what: str) -> None:
        if not fits:
            raise self._problem(name, found, what)

    def _problem(self, name: str, found: object, what: str) -> LedgerCorrupt:
        shown = repr(found)
        shown = shown if len(shown) <= 80 else shown[:79] + "…"
        return LedgerCorrupt(f"{place_of(self._event)} has {name}={shown}, where {what} must be.")


def place_of(event: Event) -> str:
    """Return how an error names an event."""
    return f"Run {event.run_id!r}, event {event.seq} ({event.kind!r}),"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
