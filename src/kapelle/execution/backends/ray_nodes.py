"""Says whether any node of a Ray cluster has what a task asks for: Ray itself would wait for such a node for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LOOK_S = 1.0
"""How old what is known of the nodes may be: all tasks share one look."""
_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}


class ClusterNodes:
    """The nodes of a cluster, as far as was looked.

    Args:
        look: Asks the cluster: `ray.nodes`.
        patience_s: For how long there may be no node that has what a task asks for.
    """

    def __init__(
        self,
        look: Callable[[], Sequence[Mapping[str, Any]]],
        patience_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._patience_s = patience_s
        self._clock = clock
        self._looked: float | None = None
        """When somebody last began to look."""
        self._nodes: list[Mapping[str, float]] | None = None
        self._since: dict[tuple[tuple[str, float], ...], float] = {}
        """Since when no node has these amounts."""

    async def find_lacking(self, options: Mapping[str, Any]) -> str | None:
        """Return in words what no node has of what a Ray task asks for, once that was so for long enough."""
        now = self._clock()
        # No lock: it would belong to one event loop, and a backend may serve several, one after the other.
        if self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            found = await asyncio.to_thread(self._look)
            self._nodes = [one.get("Resources", {}) for one in found if one.get("Alive")]
        if self._nodes is None:
            return None  # somebody else is looking
        wanted = amounts_of(options)
        key = tuple(sorted(wanted.items()))
        if any(all(node.get(name, 0.0) >= amount for name, amount in key) for node in self._nodes):
            self._since.pop(key, None)
            return None
        since = self._since.setdefault(key, now)
        if now - since < self._patience_s:
            return None
        most = {name: max((node.get(name, 0.0) for node in self._nodes), default=0.0) for name in wanted}
        too_much = [name for name, amount in wanted.items() if most[name] < amount]
        told = ", ".join(
            f"{wanted[name]:g} {name} (the most that one has: {most[name]:g})" for name in too_much or wanted
        )
        return told if too_much else f"{told}, all on one node"


def amounts_of(options: Mapping[str, Any]) -> dict[str, float]:
    """Return what the options of a Ray task ask for, by the names that nodes have for it; without none of a thing."""
    named = {_NAMES[name]: float(amount) for name, amount in options.items() if name in _NAMES}
    found = {"CPU": 1.0, **named, **{name: float(amount) for name, amount in options.get("resources", {}).items()}}
    return {name: amount for name, amount in found.items() if amount > 0}
