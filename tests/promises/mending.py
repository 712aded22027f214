"""Promises that do not hold yet in some ways: what is wrong there, and who reads a test finds it in one place.

Each is expected to fail, strictly: where it holds again, its line has to go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from .ways import Way, ray_ways, sampled_ways

MENDING: dict[str, list[tuple[str, Callable[[Way], bool]]]] = {
    "a reason can be asked for": [
        (
            "an agent that cancels itself on a worker of Ray gives a traceback with control characters as its reason",
            lambda way: way.backend == "ray" and way.failure == "cancels itself",
        )
    ],
}
"""By promise: what is wrong, and in which ways."""


def params(promise: str, ways: Iterable[Way] | None = None) -> list[Any]:
    """Return the ways to hold a promise in, those that are being mended marked as expected to fail."""
    found = []
    for way in [*sampled_ways(), *ray_ways()] if ways is None else ways:
        reason = next((reason for reason, covers in MENDING.get(promise, ()) if covers(way)), None)
        marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
        if way.backend == "ray":
            marks.append(pytest.mark.slow)
        found.append(pytest.param(way, id=str(way), marks=marks))
    return found
