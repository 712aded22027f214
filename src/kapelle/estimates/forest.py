"""Extremely randomised trees in NumPy (Geurts, Ernst and Wehenkel, 2006): several numbers predicted at once.

A tree asks "is feature f at most t?" at every branch, with a few features drawn by chance, a threshold drawn by chance
for each, and of these the one that parts the targets best. Many such trees, averaged, are smooth and hard to fool:
exactly what a few thousand noisy outcomes need. All targets share their branches, so what is learned of one agent's
difficulty serves the others.

Cross-fitted. The rows are dealt into folds, and every tree grows without one of them; a row's honest prediction is the
mean of the trees that never saw it. So one forest gives both: predictions for new rows, and for its own rows
predictions as if they were new, from which prices and margins may be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]

FOLDS = 4
TREES = 240
"""Sixty that never saw a row suffice for its honest prediction; 100 give the same routes."""
DEEPEST = 16
"""Questions between a root and a leaf; bounds the time of a look-up."""
BLOCK = 128
"""Rows that are looked up at once; keeps the tables in the processor's cache."""


@dataclass(slots=True)
class Forest:
    """Trees over rows of features. Once grown they do not change."""

    feature: Ints
    """Of each node of all trees: the feature it asks for; -1 at a leaf."""
    threshold: Floats
    low: Ints
    """The node where rows at or below the threshold go; the other is the one after it."""
    roots: Ints
    """By tree: its first node. Tree t grew without fold t % FOLDS."""
    depth: int
    means: Floats
    """Of each node: the mean of its rows' targets."""

    @classmethod
    def grow(cls, rows: Floats, targets: Floats, folds: Ints, *, least: int, seed: int, trees: int = TREES) -> Forest:
        """Return a forest grown on these rows; every leaf holds `least` of them or more."""
        rng = np.random.default_rng(seed)
        width = rows.shape[1]
        nodes = _Nodes()
        roots = []
        flat = np.ascontiguousarray(rows).ravel()
        tried = max(1, width // 3)
        for tree in range(trees):
            used = np.flatnonzero(folds != tree % FOLDS).astype(np.int64)
            roots.append(nodes.add())
            pending = [(roots[-1], used, 0)]
            while pending:
                node, here, depth = pending.pop()
                own = targets[here]
                total = own.sum(axis=0)
                nodes.fill(node, len(here), total, depth)
                if len(here) < 2 * least or depth == DEEPEST:
                    continue
                drawn = rng.integers(width, size=tried)
                values = flat.take((here * width)[:, None] + drawn)
                lowest, highest = values.min(axis=0), values.max(axis=0)
                at = lowest + rng.random(tried, dtype=np.float32) * (highest - lowest)
                below = values <= at
                number = below.sum(axis=0)
                other = len(here) - number
                possible = (number >= least) & (other >= least)
                if not possible.any():
                    continue
                left = below.T.astype(np.float32) @ own
                # The variance that a split removes, up to what all splits of this node have in common.
                gain = (left**2).sum(axis=1) / np.maximum(number, 1)
                gain += ((total - left) ** 2).sum(axis=1) / np.maximum(other, 1)
                best = int(np.where(possible, gain, -np.inf).argmax())
                low = nodes.add()
                nodes.add()
                nodes.part(node, int(drawn[best]), float(at[best]), low)
                goes = below[:, best]
                pending += [(low, here[goes], depth + 1), (low + 1, here[~goes], depth + 1)]
        return nodes.forest(roots, targets.shape[1])

    def find_leaves(self, rows: Floats) -> Ints:
        """Return the leaf of every row in every tree: (rows, trees)."""
        found = np.empty((len(rows), len(self.roots)), dtype=np.int32)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            at = np.repeat(self.roots[None, :], len(block), axis=0)
            offsets = np.arange(len(block), dtype=np.int64)[:, None] * rows.shape[1]
            flat = np.ascontiguousarray(block).ravel()
            for _ in range(self.depth):
                asked = self.feature.take(at)
                if (asked < 0).all():
                    break
                value = flat.take(offsets + np.maximum(asked, 0))
                further = self.low.take(at) + (value > self.threshold.take(at))
                at = np.where(asked < 0, at, further).astype(np.int32)
            found[start : start + BLOCK] = at
        return found

    def predict(self, rows: Floats) -> Doubles:
        """Return the mean of all trees' leaves: (rows, targets)."""
        means = self.means
        leaves = self.find_leaves(rows)
        predicted = np.empty((len(rows), means.shape[1]))
        for start in range(0, len(rows), BLOCK):
            predicted[start : start + BLOCK] = means[leaves[start : start + BLOCK]].mean(axis=1)
        return predicted

    def predict_unseen(self, rows: Floats, folds: Ints) -> Doubles:
        """Return for each of the rows that it grew on the mean of the trees that did not see it."""
        means = self.means
        leaves = self.find_leaves(rows)
        predicted = np.empty((len(rows), means.shape[1]))
        owner = np.arange(len(self.roots)) % FOLDS
        for fold in range(FOLDS):
            for chosen in np.array_split(np.flatnonzero(folds == fold), 1 + len(rows) // BLOCK):
                predicted[chosen] = means[leaves[np.ix_(chosen, np.flatnonzero(owner == fold))]].mean(axis=1)
        return predicted


class _Nodes:
    """The nodes of a forest while it grows."""

    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.low: list[int] = []
        self.count: list[int] = []
        self.total: list[Floats | None] = []
        self.depth = 0

    def add(self) -> int:
        self.feature.append(-1)
        self.threshold.append(0.0)
        self.low.append(0)
        self.count.append(0)
        self.total.append(None)
        return len(self.feature) - 1

    def fill(self, node: int, count: int, total: Floats, depth: int) -> None:
        self.count[node], self.total[node] = count, total
        self.depth = max(self.depth, depth)

    def part(self, node: int, feature: int, threshold: float, low: int) -> None:
        self.feature[node], self.threshold[node], self.low[node] = feature, threshold, low

    def forest(self, roots: list[int], width: int) -> Forest:
        counts = np.asarray(self.count, dtype=np.float32)[:, None]
        totals = np.asarray(self.total, dtype=np.float32).reshape(len(self.feature), width)
        return Forest(
            feature=np.asarray(self.feature, dtype=np.int32),
            threshold=np.asarray(self.threshold, dtype=np.float32),
            low=np.asarray(self.low, dtype=np.int32),
            roots=np.asarray(roots, dtype=np.int32),
            depth=self.depth,
            means=totals / counts,
        )
