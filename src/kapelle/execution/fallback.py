"""Who does a task when its strategy came to nothing: the protocol that the executor asks. The validator answers.

A fallback is looked for when it is needed, not before: in a good run that is never, and estimating every agent for
every task of a large graph takes longer than running it. Of pinned tasks it is never asked. What it finds is held to
what the plan was: the agent can do the task, and its cost is reserved before it starts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from kapelle.estimates import Estimate
from kapelle.graph import Task


class FallbackChooser(Protocol):
    """Chooses the next best agent for a task."""

    def choose_fallback(self, task: Task, tried: Collection[str]) -> tuple[str, Estimate] | None:
        """Return an agent that can do the task and was not tried, with what it is expected to take; None if none is."""
        ...
