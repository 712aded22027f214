"""Tells what happened in a run as short lines of text that are the same on every machine.

A line shows small values as they are and large ones as a digest; figures of money are never digested. What differs from
one process to the next is left out: who owned a run, tracebacks, addresses in memory. Judges nothing: see test_golden.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from kapelle.agents import THREAD_NAME

Story = list[str]

ROOT = Path(__file__).parent.parent.parent

LEFT_OUT = ("owner", "traceback")
"""Fields of events and tasks that name this very process, or lines of the source."""
MAX_SHOWN = 60
"""Characters of a value that is shown as it is."""
DIGITS = 9
"""Significant ones of every figure: in whose order sums are made is nobody's promise."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_OWNER = re.compile(r"[\w.-]+\[[^\]]*\]/\d+@\d*")


def tell_event(kind: str, task_id: str | None, data: Mapping[str, Any]) -> str:
    """Return a line about an event: its kind, its task, and its data."""
    return " ".join([kind, task_id or "-", *tell_fields(data)])


def tell_fields(data: Mapping[str, Any]) -> Iterator[str]:
    """Return each field with its value, by name. Estimates are added up as well, so that a digest tells of money."""
    for name in sorted(data):
        value = plain(data[name])
        if name in LEFT_OUT or value is None or value == {} or value == []:
            continue
        yield f"{name}={show(value)}"
        if name == "estimates":
            yield f"expected_usd={show(plain(sum(one['cost_usd'] for one in value.values())))}"


def tell_outcomes(outcomes: Iterable[Any]) -> str:
    """Return a line about what is learned from: how many outcomes, what they cost, and a digest of them all."""
    known = [asdict(one) for one in outcomes]
    usd = sum(one["cost_usd"] for one in known)
    return f"outcomes count={len(known)} cost_usd={show(plain(usd))} all={digest(known)}"


def tell_run(run: Any) -> Iterator[str]:
    """Return lines about how a run ended."""
    yield f"run state={run.state} cost_usd={show(plain(run.cost_usd))} overrun_usd={show(plain(run.overrun_usd))}"
    yield f"run stop_reason={show(run.stop_reason)}"
    yield f"run by_agent={show(plain(run.cost_by_agent))} assumed={run.cost_assumed}"
    yield f"run results={digest(run.results)} answer={digest(run.answer)} notes={digest(run.cost_notes)}"


def show(value: Any) -> str:
    """Return a plain value as text: as JSON where that is short, else its beginning and a digest."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    text = text.replace("\n", " / ").replace('"', "")
    if len(text) <= MAX_SHOWN:
        return text
    return f"{text[:24]}..#{digest(value)}" if isinstance(value, str) else f"#{digest(value)}"


def digest(value: Any) -> str:
    """Return eight characters that stand for a value."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it, with rounded figures and without what names this process."""
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return round_figure(value)
    if isinstance(value, str):
        return _steady(value)
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items() if name not in LEFT_OUT}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(one) for one in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    return _steady(repr(value))


def _steady(text: str) -> str:
    text = text.replace(str(ROOT), "ROOT")
    return _OWNER.sub("OWNER", _ADDRESS.sub(" at 0x", text))


def round_figure(value: float) -> float:
    """Return a figure with so many significant digits, and none where there is nothing but a rounding error."""
    rounded = float(f"{value:.{DIGITS}g}")
    return 0.0 if abs(rounded) < 1e-12 else rounded


def first_difference(name: str, recorded: Story, now: Story) -> str | None:
    """Return in words where two stories part, with the lines before; None where they are the same."""
    for place, (was, found) in enumerate(zip([*recorded, None], [*now, None], strict=False)):
        if was != found:
            before = "".join(f"      {line}\n" for line in recorded[max(0, place - 3) : place])
            return (
                f"{name}, line {place + 1} of {len(recorded)}:\n{before}"
                f"    - {'(it ends here)' if was is None else was}\n"
                f"    + {'(it ends here)' if found is None else found}\n"
            )
    return None


@contextmanager
def threads_are_done_at_once() -> Iterator[None]:
    """Let what runs on kapelle's threads be done where it is asked for: which of two ends first is then no matter."""
    start = threading.Thread.start

    def at_once(thread: threading.Thread) -> None:
        if thread.name == THREAD_NAME:
            thread.run()
        else:
            start(thread)

    with mock.patch.object(threading.Thread, "start", at_once):
        yield
