"""Places the nodes of a graph in columns so that few edges cross and none runs through a box.

The method is that of Sugiyama, Tagawa and Toda (1981): nodes stand in the column of their level; an edge that skips
columns gets a lane in each of them; columns are ordered by the barycentres of their neighbours; then every item moves
as near to its neighbours as the items above and below it allow. The last step is a least-squares problem with a fixed
order, which the pool-adjacent-violators algorithm (Barlow et al. 1972) solves exactly in linear time. All edges that
leave one node share its lanes, so what is drawn grows with the nodes, not with the edges.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from . import topology

MAX_LANES = 20_000
"""Beyond this the edges that skip most columns go straight: a chain of 1,000 could ask for half a million lanes."""

_ORDER_SWEEPS = 12
_PLACE_SWEEPS = 10
_LANE_WEIGHT = 4.0
"""How much more a bend in a long edge hurts than a box that is off its centre."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Measures of a picture, in pixels."""

    box_width: float
    box_height: float
    row_gap: float = 22.0
    lane_gap: float = 16.0
    column_gap: float = 64.0
    crowded_gap: float = 150.0
    """The widest gap between columns, for those with many edges between them."""
    margin: float = 24.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where everything is, in pixels from the top left."""

    width: float
    height: float
    boxes: Sequence[tuple[float, float]]
    """The top left corner of each node."""
    lanes: Sequence[Sequence[tuple[float, float]]]
    """For each node, the left ends of the lanes of its edges in the columns after its own; each is a box wide."""
    columns: Sequence[int]
    """The column of each node."""


@dataclass(kw_only=True, slots=True)
class _Items:
    """Nodes and lanes alike: items 0 to n-1 are the nodes."""

    columns: list[list[int]]
    before: list[list[int]]
    after: list[list[int]]
    lanes: list[list[int]]
    """For each node the items that are its lanes."""
    nodes: int


def lay_out(predecessors: topology.Adjacency, successors: topology.Adjacency, sizes: Sizes) -> Layout:
    """Return where the nodes of an acyclic graph stand and where their edges pass."""
    items = _split_long_edges(predecessors, successors)
    _order_columns(items)
    heights = _place_rows(items, sizes)
    column_of = [0] * len(items.before)
    for number, column in enumerate(items.columns):
        for item in column:
            column_of[item] = number
    lefts = _place_columns(items, sizes)
    halves = [sizes.box_height / 2 if item < items.nodes else 0.0 for item in range(len(heights))]
    top = min((at - half for at, half in zip(heights, halves, strict=True)), default=0.0) - sizes.margin
    bottom = max((at + half for at, half in zip(heights, halves, strict=True)), default=0.0) + sizes.margin
    return Layout(
        width=(lefts[-1] + sizes.box_width if lefts else sizes.margin) + sizes.margin,
        height=bottom - top,
        boxes=[(lefts[column_of[node]], heights[node] - sizes.box_height / 2 - top) for node in range(items.nodes)],
        lanes=[[(lefts[column_of[lane]], heights[lane] - top) for lane in lanes] for lanes in items.lanes],
        columns=column_of[: items.nodes],
    )


def _split_long_edges(predecessors: topology.Adjacency, successors: topology.Adjacency) -> _Items:
    columns = topology.levels(predecessors, successors)
    size = len(predecessors)
    column_of = [0] * size
    for number, column in enumerate(columns):
        for node in column:
            column_of[node] = number
    items = _Items(
        columns=[list(column) for column in columns],
        before=[[] for _ in range(size)],
        after=[[] for _ in range(size)],
        lanes=[[] for _ in range(size)],
        nodes=size,
    )
    spans = [
        max((column_of[other] for other in successors[node]), default=0) - column_of[node] - 1 for node in range(size)
    ]
    for node in sorted(range(size), key=spans.__getitem__):
        if len(items.before) - size + max(0, spans[node]) > MAX_LANES:
            break
        _add_lanes(items, node, column_of[node], spans[node])
    for node in range(size):
        for other in successors[node]:
            skipped = column_of[other] - column_of[node] - 1
            if skipped == 0:
                _link(items, node, other)
            elif items.lanes[node]:
                _link(items, items.lanes[node][skipped - 1], other)
    return items


def _add_lanes(items: _Items, node: int, column: int, count: int) -> None:
    last = node
    for number in range(column + 1, column + 1 + count):
        lane = len(items.before)
        items.before.append([])
        items.after.append([])
        items.columns[number].append(lane)
        items.lanes[node].append(lane)
        _link(items, last, lane)
        last = lane


def _link(items: _Items, left: int, right: int) -> None:
    items.after[left].append(right)
    items.before[right].append(left)


def _order_columns(items: _Items) -> None:
    """Order each column by the mean position of its neighbours, back and forth, and keep the best order seen."""
    best = [list(column) for column in items.columns]
    fewest = _count_crossings(items)
    for sweep in range(_ORDER_SWEEPS):
        if fewest == 0:
            break
        forth = sweep % 2 == 0
        neighbours = items.before if forth else items.after
        position = _relative_positions(items)
        for column in items.columns if forth else reversed(items.columns):
            keys = {item: _mean([position[other] for other in neighbours[item]], position[item]) for item in column}
            column.sort(key=keys.__getitem__)
            for at, item in enumerate(column):
                position[item] = (at + 0.5) / len(column)
        crossings = _count_crossings(items)
        if crossings < fewest:
            fewest = crossings
            best = [list(column) for column in items.columns]
    items.columns = best


def _relative_positions(items: _Items) -> list[float]:
    position = [0.0] * len(items.before)
    for column in items.columns:
        for at, item in enumerate(column):
            position[item] = (at + 0.5) / len(column)
    return position


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _count_crossings(items: _Items) -> int:
    crossings = 0
    for left, right in pairwise(items.columns):
        place = {item: at for at, item in enumerate(right)}
        seen: list[int] = []
        for item in left:
            ends = sorted(place[other] for other in items.after[item])
            crossings += sum(len(seen) - bisect_right(seen, end) for end in ends)
            seen = sorted(seen + ends)
    return crossings


def _place_rows(items: _Items, sizes: Sizes) -> list[float]:
    """Return the vertical centre of every item."""
    heights = [0.0] * len(items.before)
    offsets = [_stack(column, items, sizes) for column in items.columns]
    for column, offset in zip(items.columns, offsets, strict=True):
        for item, at in zip(column, offset, strict=True):
            heights[item] = at - offset[-1] / 2
    for sweep in range(_PLACE_SWEEPS):
        forth = sweep % 2 == 0
        pairs = list(zip(items.columns, offsets, strict=True))
        for column, offset in pairs if forth else reversed(pairs):
            wanted, weights = _wanted_heights(column, items, heights, forth=forth, last=sweep >= _PLACE_SWEEPS - 2)
            shifted = fit_ascending([want - at for want, at in zip(wanted, offset, strict=True)], weights)
            for item, shift, at in zip(column, shifted, offset, strict=True):
                heights[item] = shift + at
    return heights


def _stack(column: Sequence[int], items: _Items, sizes: Sizes) -> list[float]:
    """Return how far below the first item of a column each must be at least."""
    offsets = [0.0]
    for upper, lower in pairwise(column):
        halves = sum(sizes.box_height / 2 for item in (upper, lower) if item < items.nodes)
        both_lanes = upper >= items.nodes and lower >= items.nodes
        offsets.append(offsets[-1] + halves + (sizes.lane_gap if both_lanes else sizes.row_gap))
    return offsets


def _wanted_heights(
    column: Sequence[int], items: _Items, heights: Sequence[float], *, forth: bool, last: bool
) -> tuple[list[float], list[float]]:
    wanted, weights = [], []
    for item in column:
        near = items.before[item] if forth else items.after[item]
        if last or not near:
            near = items.before[item] + items.after[item]
        straight = [other for other in near if other >= items.nodes] if item >= items.nodes else []
        wanted.append(_mean([heights[other] for other in straight or near], heights[item]))
        weights.append(_LANE_WEIGHT if straight else 1.0 if near else 0.1)
    return wanted, weights


def fit_ascending(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the ascending numbers nearest to `values` in weighted least squares (pool adjacent violators).

    >>> fit_ascending([1.0, 4.0, 2.0, 5.0], [1.0, 1.0, 1.0, 1.0])
    [1.0, 3.0, 3.0, 5.0]
    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many values
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = value, weight, 1
        while pools and pools[-1][0] >= mean:
            upper_mean, upper_total, upper_count = pools.pop()
            mean = (mean * total + upper_mean * upper_total) / (total + upper_total)
            total += upper_total
            count += upper_count
        pools.append((mean, total, count))
    return [mean for mean, _, count in pools for _ in range(count)]


def _place_columns(items: _Items, sizes: Sizes) -> list[float]:
    """Return the left side of every column; gaps with many edges are wider."""
    lefts = [sizes.margin]
    for column in items.columns[:-1]:
        edges = sum(len(items.after[item]) for item in column)
        gap = min(sizes.crowded_gap, sizes.column_gap + 3 * max(0, edges - 4))
        lefts.append(lefts[-1] + sizes.box_width + gap)
    return lefts if items.columns else []
