"""List scheduling: how long a graph takes if what stands first in a list starts first, and how a list becomes better.

The nodes are 0, 1, ..., n-1, as in `topology`. Each needs a machine of its kind for its seconds, and starts at the
first moment at which all before it have ended and such a machine is free; among those that could start then, the one
that stands first in the list does. No machine is ever kept free for what comes later, so that with one kind of them any
list takes at most twice as long as the best (Graham, "Bounds on multiprocessing timing anomalies", SIAM 1969). Pure,
and linear but for a heap. Knows nothing of tasks, nor of what is urgent.

A list becomes better by justification (Li and Willis, "An iterative scheduling technique", EJOR 1992; Valls, Ballestin
and Quintanilla, "Justification and RCPSP", EJOR 2005): its schedule is packed from the end, each node as late as it can
be, the last to end first, and then again from the start, the first to start first. What could have waited goes to the
back, and what that held up moves to the front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from .topology import Adjacency


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """What nodes need to go on, each one machine of its kind, and how many of these there are."""

    kind: Sequence[int]
    """By node, the number of its kind."""
    count: Sequence[int]
    """By kind, one or more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When each node starts and ends, by node, and when all have ended."""

    starts: Sequence[float]
    ends: Sequence[float]
    seconds: float
    has_waited: bool
    """Whether a node that could have started had no machine: only then is another list another schedule."""


def schedule_list(
    order: Sequence[int], predecessors: Adjacency, successors: Adjacency, seconds: Sequence[float], machines: Machines
) -> Schedule:
    """Return what becomes of a list of all nodes, each of which takes so many seconds.

    What ends at the same moment sets its machines free together, before anything starts.

    >>> two = Machines(kind=[0, 0, 0], count=[2])
    >>> schedule_list([2, 0, 1], [[], [], []], [[], [], []], [1.0, 1.0, 2.0], two).seconds
    2.0
    >>> schedule_list([0, 1, 2], [[], [], []], [[], [], []], [1.0, 1.0, 2.0], two).seconds
    3.0
    """
    count = len(order)
    rank = [0] * count
    for position, node in enumerate(order):
        rank[node] = position
    kind, free = machines.kind, list(machines.count)
    waits = [len(before) for before in predecessors]
    ready: list[list[int]] = [[] for _ in free]
    """By kind, the ranks of what could start."""
    for node in range(count):
        if not waits[node]:
            ready[kind[node]].append(rank[node])
    for heap in ready:
        heapify(heap)
    starts, ends = [0.0] * count, [0.0] * count
    going: list[tuple[float, int]] = []
    now, has_waited = 0.0, False
    touched: set[int] | range = range(len(free))
    while True:
        for one in touched:
            heap = ready[one]
            while heap and free[one]:
                node = order[heappop(heap)]
                free[one] -= 1
                starts[node] = now
                ends[node] = end = now + seconds[node]
                heappush(going, (end, node))
            has_waited = has_waited or bool(heap)
        if not going:
            return Schedule(starts=starts, ends=ends, seconds=now, has_waited=has_waited)
        now, touched = going[0][0], set()
        while going and going[0][0] <= now:
            node = heappop(going)[1]
            free[kind[node]] += 1
            touched.add(kind[node])
            for after in successors[node]:
                waits[after] -= 1
                if not waits[after]:
                    heappush(ready[kind[after]], rank[after])
                    touched.add(kind[after])


def justify_list(
    found: Schedule, predecessors: Adjacency, successors: Adjacency, seconds: Sequence[float], machines: Machines
) -> list[int]:
    """Return the list by which a schedule is packed from its end, and then from its start: two schedules' work."""
    nodes = range(len(seconds))
    backward = sorted(nodes, key=lambda node: (-found.ends[node], -node))
    late = schedule_list(backward, successors, predecessors, seconds, machines)
    return sorted(nodes, key=lambda node: (-late.ends[node], node))


def least_seconds(
    before: Sequence[float], after: Sequence[float], seconds: Sequence[float], machines: Machines
) -> float:
    """Return what no list can be faster than.

    Whichever nodes of one kind are looked at: the first of them starts when what leads there has ended, then their
    machines have all of their work to do, and after the last of them comes what it leads to (Fernandez and Bussell,
    "Bounds on the number of processors and time for multiprocessor optimal schedules", 1973, look at all of them). Here
    it is those that are furthest from the end, from the start, and from both.

    Args:
        before: By node, the longest path that leads to it, its own seconds not among them.
        after: By node, the longest path that follows it, as above.
    """
    nodes = range(len(seconds))
    least = max((before[node] + seconds[node] + after[node] for node in nodes), default=0.0)
    far = [min(one, other) for one, other in zip(before, after, strict=True)]
    for distance in (before, after, far):
        work, start, rest = (
            [0.0] * len(machines.count),
            [math.inf] * len(machines.count),
            [math.inf] * len(machines.count),
        )
        for node in sorted(nodes, key=distance.__getitem__, reverse=True):
            kind = machines.kind[node]
            work[kind] += seconds[node]
            start[kind] = min(start[kind], before[node])
            rest[kind] = min(rest[kind], after[node])
            least = max(least, start[kind] + work[kind] / machines.count[kind] + rest[kind])
    return least
