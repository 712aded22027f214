"""What outcomes add up to: the sums from which the belief of success is solved, and nothing else of them.

    per agent and type    how many, their qualities, and the descriptions of their words, each summed
    per agent             products of the descriptions with each other, and with the qualities

An outcome is one addition to these, whatever went before, and 10 outcomes take as much memory as 10 million. The number
of types with sums of their own, of agents, and of agents with words is bounded: what comes later is counted without
(see MAX_TYPES). So made-up names fill no memory here; histories of pairs have a bound of their own (see experience).
Solves nothing: see success.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

MAX_TYPES = 256
"""Types with an effect of their own; outcomes of later ones tell of their agent alone."""
MAX_AGENTS = 4096
"""Agents with sums of their own; later ones are what they declare, corrected by what is known of all."""
MAX_AGENTS_WITH_WORDS = 256
"""Agents whose words count; of later ones the types do."""
MAX_COORDINATE = 8.0
"""Of a described text: a standardised number beyond this is a slip, and would decide alone."""


class Moments:
    """Sums of outcomes. Row 0 is the agent, and column 0 the type, of which nothing is kept apart.

    Args:
        width: How many numbers describe a text; 0 where words do not count.
    """

    def __init__(self, width: int = 0) -> None:
        self.width = width
        self.rows: dict[str, int] = {}
        """Agent to row, from 1."""
        self.columns: dict[str, int] = {}
        """Type to column, from 1."""
        self.counts: Doubles = np.zeros((8, 8))
        """(rows, columns): outcomes; of an outcome that counts in part, that part."""
        self.totals: Doubles = np.zeros((8, 8))
        """(rows, columns): their qualities."""
        self.words: Doubles = np.zeros((8, 8, width))
        """(rows with words, columns, width): the descriptions of their texts."""
        self.grams: Doubles = np.zeros((8, width, width))
        """(rows with words, width, width): products of the descriptions."""
        self.products: Doubles = np.zeros((8, width))
        """(rows with words, width): descriptions times quality."""

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """Return the sums over parts that know the same agents and types, in the same order."""
        first = parts[0]
        assert all(part.rows == first.rows and part.columns == first.columns for part in parts)
        found = cls(first.width)
        found.rows, found.columns = dict(first.rows), dict(first.columns)
        found.counts = np.sum([part.counts for part in parts], axis=0)
        found.totals = np.sum([part.totals for part in parts], axis=0)
        found.words = np.sum([part.words for part in parts], axis=0)
        found.grams = np.sum([part.grams for part in parts], axis=0)
        found.products = np.sum([part.products for part in parts], axis=0)
        return found

    def keeping(self, types: Sequence[str]) -> Moments:
        """Return the same sums, in which the outcomes of all other types tell of their agent alone.

        Args:
            types: Each has a column here; they are columns 1, 2, 3 there.
        """
        found = Moments(self.width)
        found.rows, found.columns = dict(self.rows), {name: at for at, name in enumerate(types, start=1)}
        kept = np.array([self.columns[name] for name in types], dtype=np.intp)
        rest = np.setdiff1d(np.arange(1 + self.types), kept)
        found.counts, found.totals, found.words = (
            np.concatenate([table[:, rest].sum(axis=1, keepdims=True), table[:, kept]], axis=1)
            for table in (self.counts, self.totals, self.words)
        )
        found.grams, found.products = self.grams, self.products
        return found

    @property
    def agents(self) -> int:
        """How many agents have a row."""
        return len(self.rows)

    @property
    def types(self) -> int:
        """How many types have a column."""
        return len(self.columns)

    def row_of(self, agent: str) -> int:
        """Return an agent's row, a new one where there is room; else 0."""
        row = self.rows.get(agent)
        if row is None:
            if len(self.rows) >= MAX_AGENTS:
                return 0
            row = self.rows[agent] = len(self.rows) + 1
            if row >= len(self.counts):
                self.counts = _double(self.counts, 0, MAX_AGENTS)
                self.totals = _double(self.totals, 0, MAX_AGENTS)
            if len(self.grams) <= row <= MAX_AGENTS_WITH_WORDS:
                self.words, self.grams, self.products = (
                    _double(table, 0, MAX_AGENTS_WITH_WORDS) for table in (self.words, self.grams, self.products)
                )
        return row

    def column_of(self, task_type: str) -> int:
        """Return a type's column, a new one where there is room; else 0."""
        column = self.columns.get(task_type)
        if column is None:
            if len(self.columns) >= MAX_TYPES:
                return 0
            column = self.columns[task_type] = len(self.columns) + 1
            if column >= self.counts.shape[1]:
                self.counts, self.totals, self.words = (
                    _double(table, 1, MAX_TYPES) for table in (self.counts, self.totals, self.words)
                )
        return column

    def has_words(self, row: int) -> bool:
        """Return whether an agent's words are summed."""
        return 0 < row <= MAX_AGENTS_WITH_WORDS and self.width > 0

    def add(
        self, agent: str, task_type: str, quality: float, words: Doubles | None = None, *, weight: float = 1.0
    ) -> int:
        """Add one outcome, and return the agent's row; 0 where it has none and nothing was added."""
        row = self.row_of(agent)
        if row:
            column = self.column_of(task_type)
            self.counts[row, column] += weight
            self.totals[row, column] += weight * quality
            if words is not None and self.has_words(row):
                seen = tame(words)
                self.words[row, column] += weight * seen
                self.grams[row] += np.outer(weight * seen, seen)
                self.products[row] += (weight * quality) * seen
        return row

    def add_many(self, agent: str, types: Sequence[str], quality: Doubles, words: Doubles | None = None) -> int:
        """Add many outcomes of one agent, and return its row; see `add`."""
        row = self.row_of(agent)
        if row:
            columns = np.array([self.column_of(task_type) for task_type in types], dtype=np.intp)
            np.add.at(self.counts[row], columns, 1.0)
            np.add.at(self.totals[row], columns, quality)
            if words is not None and self.has_words(row):
                seen = tame(words)
                np.add.at(self.words[row], columns, seen)
                self.grams[row] += seen.T @ seen
                self.products[row] += seen.T @ quality
        return row

    def fade(self, agent: str, task_type: str, kept: float) -> int:
        """Keep a part of what an agent's outcomes at a type say of its level there; return its row, or 0.

        What they say of words stays: how texts of a pair differ from each other, and how quality differs with them.
        """
        row, column = self.rows.get(agent, 0), self.columns.get(task_type, 0)
        count = self.counts[row, column]
        if not row or count <= 0.0 or kept >= 1.0:
            return 0
        if self.has_words(row):
            sums = self.words[row, column]
            gone = (1.0 - kept) / count
            self.grams[row] -= np.outer(gone * sums, sums)
            self.products[row] -= gone * self.totals[row, column] * sums
            self.words[row, column] *= kept
        self.counts[row, column] *= kept
        self.totals[row, column] *= kept
        return row

    def add_slopes(self, agent: str, gram: Doubles, products: Doubles) -> int:
        """Add what was learned earlier of how an agent's quality differs with words; return its row, or 0.

        Args:
            agent: Its levels are learned elsewhere.
            gram: (width, width): products of descriptions, each less the mean of its agent and type.
            products: (width): the same descriptions, times quality.
        """
        row = self.row_of(agent)
        if not self.has_words(row):
            return 0
        self.grams[row] += gram
        self.products[row] += products
        return row

    def slopes_of(self, agent: str) -> tuple[Doubles, Doubles]:
        """Return what `add_slopes` takes: an agent's sums without what they say of levels."""
        row = self.rows.get(agent, 0)
        if not self.has_words(row):
            return np.zeros((self.width, self.width)), np.zeros(self.width)
        counts = self.counts[row]
        inverse = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0.0)
        sums = self.words[row]
        gram = self.grams[row] - (sums * inverse[:, None]).T @ sums
        return gram, self.products[row] - (self.totals[row] * inverse) @ sums


def tame(words: Doubles) -> Doubles:
    """Return descriptions with nothing in them that is not finite or that would decide alone."""
    wild = np.nan_to_num(np.asarray(words, dtype=np.float64), nan=0.0, posinf=MAX_COORDINATE, neginf=-MAX_COORDINATE)
    return np.clip(wild, -MAX_COORDINATE, MAX_COORDINATE)


def _double(table: Doubles, axis: int, most: int) -> Doubles:
    """Return a table of twice the length, or of what `most` rows take beside row 0."""
    shape = list(table.shape)
    shape[axis] = min(shape[axis], most + 1 - shape[axis])
    return np.concatenate([table, np.zeros(shape)], axis=axis)
