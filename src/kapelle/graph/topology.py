"""Order, levels, cycles and longest paths of directed graphs given as adjacency lists.

The nodes are 0, 1, ..., n-1 and `predecessors[v]` lists the nodes that v waits for, each once. Knows nothing of tasks:
`dag` translates. No function recurses, so a chain of a million nodes is as good as any; all but `transitive_reduction`
and the heap of `topological_order` take linear time.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

Adjacency = Sequence[Sequence[int]]


def reverse_edges(predecessors: Adjacency) -> list[list[int]]:
    """Return the successors of every node, in ascending order."""
    successors: list[list[int]] = [[] for _ in predecessors]
    for node, before in enumerate(predecessors):
        for other in before:
            successors[other].append(node)
    return successors


def topological_order(predecessors: Adjacency) -> list[int]:
    """Return the nodes so that each comes after its predecessors; of those that could be next, the lowest comes first.

    So nodes that are numbered in a valid order already stay in that order. Nodes on a cycle, and all behind them, are
    left out: the result is shorter than the graph exactly when there is a cycle. (Kahn 1962, with a heap.)
    """
    successors = reverse_edges(predecessors)
    waiting = [len(before) for before in predecessors]
    heap = [node for node, count in enumerate(waiting) if count == 0]  # ascending, so it is a heap already
    order = []
    while heap:
        node = heapq.heappop(heap)
        order.append(node)
        for after in successors[node]:
            waiting[after] -= 1
            if waiting[after] == 0:
                heapq.heappush(heap, after)
    return order


def levels(predecessors: Adjacency, successors: Adjacency) -> list[list[int]]:
    """Return the nodes by the length of the longest path that leads to them, each level in ascending order.

    Nodes on a cycle, and all behind them, are left out. (Kahn 1962, a generation at a time.)
    """
    waiting = [len(before) for before in predecessors]
    level = [node for node, count in enumerate(waiting) if count == 0]
    found = []
    while level:
        found.append(level)
        following = []
        for node in level:
            for after in successors[node]:
                waiting[after] -= 1
                if waiting[after] == 0:
                    following.append(after)
        following.sort()
        level = following
    return found


def find_cycle(predecessors: Adjacency, successors: Adjacency) -> list[int] | None:
    """Return the nodes of one cycle along its edges, each once, or None.

    Strips all nodes that Kahn's algorithm can order; from any of the rest, walking back along predecessors that are in
    the rest too must come to a node a second time.
    """
    done = {node for level in levels(predecessors, successors) for node in level}
    start = next((node for node in range(len(predecessors)) if node not in done), None)
    if start is None:
        return None
    seen: dict[int, int] = {}
    path: list[int] = []
    node = start
    while node not in seen:
        seen[node] = len(path)
        path.append(node)
        node = next(before for before in predecessors[node] if before not in done)
    return path[seen[node] :][::-1]


def longest_paths(successors: Adjacency, order: Sequence[int], weights: Sequence[float]) -> list[float]:
    """Return for every node the weight of the heaviest path that starts with it, its own weight included.

    `order` is a topological order of all nodes; no weight is negative.
    """
    longest = list(weights)
    for node in reversed(order):
        rest = 0.0
        for after in successors[node]:
            if longest[after] > rest:
                rest = longest[after]
        longest[node] += rest
    return longest


def heaviest_path(successors: Adjacency, longest: Sequence[float]) -> list[int]:
    """Return the nodes of a heaviest path, given the `longest_paths`; among equals the lowest node wins."""
    path = []
    candidates: Sequence[int] = range(len(successors))
    while candidates:
        node = max(candidates, key=lambda other: (longest[other], -other))
        path.append(node)
        candidates = successors[node]
    return path


def transitive_reduction(predecessors: Adjacency, order: Sequence[int]) -> list[list[int]]:
    """Return the predecessors of every node without those that a longer path implies.

    For an acyclic graph the result is unique (Aho, Garey and Ullman 1972). The ancestors of each node are the bits of
    one integer, so the cost is one n-bit "or" an edge: milliseconds for a thousand nodes, n * n / 8 bytes at most.
    """
    ancestors = [0] * len(predecessors)
    reduced: list[list[int]] = [[] for _ in predecessors]
    for node in order:
        implied = 0
        direct = 0
        for before in predecessors[node]:
            implied |= ancestors[before]
            direct |= 1 << before
        reduced[node] = [before for before in predecessors[node] if not implied >> before & 1]
        ancestors[node] = implied | direct
    return reduced
