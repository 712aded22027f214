"""Notices a model that goes in a circle: the same calls with the same results, alone or alternating.

What counts is calls with their results, over a window of the latest, whatever text or other call stands between: a
line of prose that differs, a harmless success beside the failing call, or two failing calls in turn do not hide it. It
warns once, and the task ends if the circle goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WINDOW = 24
"""Calls that are looked back on."""
MAX_REPEATS = 3
"""How often the same call may have the same result within the window."""
MAX_CYCLE = 3
MAX_ROUNDS = 3
"""How often a cycle of one to three steps may repeat itself, one after the other."""


@dataclass(frozen=True, slots=True)
class Circle:
    """What was found to repeat."""

    calls: tuple[str, ...]
    """Names of the tools, in order."""
    times: int

    @property
    def words(self) -> str:
        """In words, for the model and for people."""
        return f"{' and '.join(self.calls)} gave the same result {self.times} times for the same arguments"


def mark_of(name: str, arguments: Mapping[str, Any], result: str) -> str:
    """Return what tells a call with its result from all others; the order of arguments does not matter."""
    content = json.dumps([name, arguments, result], sort_keys=True, default=str, ensure_ascii=True)
    return f"{name}:{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def find_circle(marks: Sequence[str], *, since: int = 0) -> Circle | None:
    """Return the circle that the latest calls are in; None if they are in none.

    Args:
        marks: of all calls so far, by `mark_of`, oldest first.
        since: how many of them had been there when it was last warned of one: earlier ones do not count again.
    """
    latest = list(marks[max(since, len(marks) - WINDOW) :])
    if not latest:
        return None
    for length in range(1, MAX_CYCLE + 1):
        rounds = _rounds(latest, length)
        if rounds >= MAX_ROUNDS:
            return Circle(tuple(_name(mark) for mark in latest[-length:]), rounds)
    # Not one after the other: something else stands between.
    repeated = {mark: times for mark, times in Counter(latest).items() if times > MAX_REPEATS}
    if latest[-1] in repeated or len(repeated) > 1:
        worst = max(repeated, key=lambda mark: (repeated[mark], mark))
        return Circle((_name(worst),), repeated[worst])
    return None


def _rounds(marks: Sequence[str], length: int) -> int:
    """Return how often the last `length` marks follow each other at the end."""
    cycle, count = list(marks[-length:]), 0
    for end in range(len(marks), 0, -length):
        if list(marks[max(0, end - length) : end]) != cycle:
            break
        count += 1
    return count


def _name(mark: str) -> str:
    return mark.rpartition(":")[0]
