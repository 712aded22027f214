"""Numbers that describe a task's words, from NumPy alone: its form, and where its words stand among those seen before.

Two blocks, side by side, and a third where an embedding model is given:

    form      14 numbers: lengths of text and context, lines, shares of digits, capitals and signs, numbers, code
    words     single words and pairs, hashed, weighted by tf-idf, and folded to 32 dimensions (latent semantic
              analysis; randomised range finder of Halko, Martinsson and Tropp, arXiv:0909.4061)

Each block is centred on the texts that it was learned from, and has a mean square length of 1 there: so one variance
says how much a block may explain (see success), whatever its units.

Hashes are CRC-32 of the bytes: the same in every process, whatever PYTHONHASHSEED is. What a task cost or whether it
succeeded is never looked at here. Refuses nothing: any text has its numbers, none of them NaN.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]

DIMENSIONS = 32
"""Of each folded block. 15, 40 and 90 routed equally well on recorded data; 32 is quick."""
BUCKETS = 1 << 18
"""Of the hashes; a hundred thousand different words collide seldom."""
COLUMNS = 6000
"""Buckets that are kept: the ones that most tasks have."""
FOLD_ROWS = 4000
"""Tasks from which the folding is learned; more change it little."""
HEAD, TAIL = 6000, 2000
"""Letters that are read of a long text, at its beginning and its end; the lengths count them all."""
_LEAST = 1e-9
"""A spread below this is none: all texts are alike there."""
_LARGEST = 1e12
"""Of any figure that was saved; products of higher ones would overflow."""
_SAYS_NOTHING = 1e9
"""The spread of a number that was the same for all texts: whatever it is later, nothing was learned of it."""

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SIGN = re.compile(r"[^\w\s]|_")
_MATHEMATICS = "=+-*/^<>\\$%"
_MOST = 4.0
"""Standard deviations that a number of the form may lie from its mean; what lies further out counts as that."""

FORM = (
    "length of the text",
    "length of the text",
    "lines",
    "digits",
    "capitals",
    "punctuation",
    "long words",
    "numbers",
    "variety of words",
    "a question",
    "code",
    "formulas",
    "length of the context",
    "parts of the context",
)
"""What the numbers of `form_of` are called; several of one name belong together."""
WORDS = "words"
"""What a folded number is called."""
EMBEDDING = "meaning"
"""What a number of an embedding model is called."""


@dataclass(frozen=True, slots=True)
class Fold:
    """How hashed counts become a few numbers: which buckets count, for how much, and in which directions they go."""

    buckets: NDArray[np.int32]
    """The buckets that are kept, ascending."""
    weights: Floats
    """Of each: its inverse document frequency."""
    directions: Floats
    """Of each: its place in the folded space."""

    @classmethod
    def learn(cls, hashed: Sequence[NDArray[np.int64]], *, seed: int) -> Fold:
        """Return the fold of the tasks whose hashes these are."""
        rows = len(hashed)
        counts = np.zeros(BUCKETS, dtype=np.int64)
        for row in hashed:
            counts[np.unique(row)] += 1
        # What one task alone has says nothing of others, and what nearly all have tells none apart.
        counts[(counts < 2) | (counts > 0.95 * rows)] = 0
        order = np.argsort(-counts, kind="stable")[:COLUMNS]
        buckets = np.sort(order[counts[order] > 0]).astype(np.int32)
        weights = (np.log((1 + rows) / (1 + counts[buckets])) + 1).astype(np.float32)
        if not len(buckets):
            return cls(buckets, weights, np.zeros((0, DIMENSIONS), dtype=np.float32))
        unfolded = cls(buckets, weights, np.zeros((len(buckets), 0), dtype=np.float32))
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.permutation(rows)[:FOLD_ROWS])
        table = np.zeros((len(chosen), len(buckets)), dtype=np.float32)
        for at, row in enumerate(chosen):
            columns, values = unfolded.weigh(hashed[row])
            table[at, columns] = values
        wide = min(DIMENSIONS + 10, *table.shape)
        basis = table @ rng.standard_normal((len(buckets), wide), dtype=np.float32)
        for _ in range(3):
            basis, _ = np.linalg.qr(table @ (table.T @ basis))
        _, _, right = np.linalg.svd(basis.T @ table, full_matrices=False)
        directions = np.zeros((len(buckets), DIMENSIONS), dtype=np.float32)
        kept = right[:DIMENSIONS].T
        directions[:, : kept.shape[1]] = kept
        return cls(buckets, weights, directions)

    def weigh(self, hashes: NDArray[np.int64]) -> tuple[NDArray[np.intp], Floats]:
        """Return the columns that a task has, and its tf-idf weights there, of length 1."""
        found, counts = np.unique(hashes, return_counts=True)
        if not len(self.buckets) or not len(found):
            return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.float32)
        columns = np.minimum(np.searchsorted(self.buckets, found), len(self.buckets) - 1)
        known = self.buckets[columns] == found
        columns = columns[known]
        values = (1 + np.log(counts[known])).astype(np.float32) * self.weights[columns]
        length = float(np.sqrt(values @ values))
        return columns, values / length if length else values

    def place(self, hashes: NDArray[np.int64]) -> Floats:
        """Return where a task stands in the folded space."""
        columns, values = self.weigh(hashes)
        placed: Floats = values @ self.directions[columns]
        return placed


@dataclass(frozen=True, slots=True)
class Block:
    """How raw numbers become a block: less their means, and over one scale for all of them."""

    means: Doubles
    scale: float

    @classmethod
    def learn(cls, raw: Doubles) -> Block:
        """Return the block of these rows: centred, with a mean square length of 1."""
        if not raw.size:
            return cls(np.zeros(raw.shape[1]), 1.0)
        means = raw.mean(axis=0)
        return cls(means, max(float(np.sqrt(((raw - means) ** 2).sum(axis=1).mean())), _LEAST))

    def place(self, raw: Doubles) -> Doubles:
        """Return rows as the block has them."""
        placed: Doubles = (raw - self.means) / self.scale
        return placed


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Describes texts, and their contexts, by rows of numbers. Learned from texts alone."""

    words: Fold
    form_means: Doubles
    form_spreads: Doubles
    blocks: tuple[Block, ...]
    """Of form, words, and the embedding where there is one."""
    embed: Embed | None = None
    """Further numbers per text, from an embedding model; they are put beside the others."""

    @classmethod
    def fit(
        cls, texts: Sequence[str], contexts: Sequence[str] | None = None, *, seed: int = 0, embed: Embed | None = None
    ) -> TextFeatures:
        """Return the description that suits these texts."""
        forms, hashed = _forms(texts, contexts), [hash_words(text) for text in texts]
        means, spreads = np.zeros(len(FORM)), np.full(len(FORM), _SAYS_NOTHING)
        if len(forms):
            means, spreads = forms.mean(axis=0), forms.std(axis=0)
            spreads[spreads < _LEAST] = _SAYS_NOTHING
        words = Fold.learn(hashed, seed=seed)
        raw = cls(words, means, spreads, (), embed)._raw(texts, forms, hashed)
        return cls(words, means, spreads, tuple(Block.learn(block) for block in raw), embed)

    @property
    def names(self) -> tuple[str, ...]:
        """What each number is called in explanations; several of one name belong together."""
        return (*FORM, *[WORDS] * DIMENSIONS, *[EMBEDDING] * (len(self.blocks[2].means) if self.embed else 0))

    def describe(self, texts: Sequence[str], contexts: Sequence[str] | None = None) -> Doubles:
        """Return a row of numbers per text, one for each of `names`. All are finite."""
        raw = self._raw(texts, _forms(texts, contexts), [hash_words(text) for text in texts])
        return np.hstack([block.place(rows) for block, rows in zip(self.blocks, raw, strict=True)])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `from_arrays` needs; the embedding function is not among it."""
        arrays: dict[str, NDArray[np.generic]] = {
            f"words_{part}": getattr(self.words, part) for part in ("buckets", "weights", "directions")
        }
        arrays |= {"form_means": self.form_means, "form_spreads": self.form_spreads}
        for number, block in enumerate(self.blocks):
            arrays |= {f"block_{number}": np.append(block.means, block.scale)}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], *, embed: Embed | None = None) -> TextFeatures:
        """Return the description that was saved; give it the `embed` that it was learned with, if there was one.

        Raises:
            KeyError, ValueError: the arrays are not those of a description.
        """
        if arrays["words_buckets"].dtype.kind not in "iu":
            raise ValueError("the buckets of words are no whole numbers")
        buckets = np.asarray(arrays["words_buckets"], dtype=np.int32)
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            weights = np.asarray(arrays["words_weights"], dtype=np.float32)
            directions = np.asarray(arrays["words_directions"], dtype=np.float32)
        means = np.asarray(arrays["form_means"], dtype=np.float64)
        spreads = np.asarray(arrays["form_spreads"], dtype=np.float64)
        many = 3 if embed is not None else 2
        told = [np.asarray(arrays[f"block_{number}"], dtype=np.float64) for number in range(many)]
        rows = len(buckets)
        if buckets.ndim != 1 or weights.shape != (rows,) or directions.shape != (rows, DIMENSIONS):
            raise ValueError("the shapes of words do not fit")
        if means.shape != (len(FORM),) or spreads.shape != means.shape or bool((spreads < _LEAST).any()):
            raise ValueError("the numbers of the form do not fit")
        if [one.shape for one in told[:2]] != [(len(FORM) + 1,), (DIMENSIONS + 1,)] or told[-1].ndim != 1:
            raise ValueError("the blocks do not fit")
        numbers = np.concatenate([weights, directions.ravel(), means, spreads, *told])
        if (np.diff(buckets) <= 0).any() or not (np.abs(numbers) <= _LARGEST).all():
            raise ValueError("the numbers of words are damaged")
        if any(one[-1] < _LEAST for one in told):
            raise ValueError("a scale is damaged")
        blocks = tuple(Block(one[:-1], float(one[-1])) for one in told)
        return cls(Fold(buckets, weights, directions), means, spreads, blocks, embed)

    def _raw(self, texts: Sequence[str], forms: Doubles, hashed: Sequence[NDArray[np.int64]]) -> list[Doubles]:
        standard = (forms - self.form_means) / self.form_spreads
        folded = np.array([self.words.place(row) for row in hashed], dtype=np.float64)
        raw = [np.clip(standard, -_MOST, _MOST), folded.reshape(len(texts), DIMENSIONS)]
        if self.embed is not None:
            width = len(self.blocks[2].means) if self.blocks else 0
            further = np.asarray(self.embed(texts), dtype=np.float64) if len(texts) else np.zeros((0, width))
            raw.append(np.nan_to_num(further.reshape(len(texts), -1 if len(texts) else width), posinf=0.0, neginf=0.0))
        return raw


def shorten(text: str) -> str:
    """Return what is read of a text: all of it, or its beginning and its end."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]} {text[-TAIL:]}"


def hash_words(text: str) -> NDArray[np.int64]:
    """Return the buckets of a text's words and pairs of words. Repetitions stay."""
    words = _WORD.findall(shorten(text).lower())
    single = np.fromiter((zlib.crc32(word.encode()) for word in words), dtype=np.int64, count=len(words))
    pairs = (single[:-1] * 31 + single[1:] * 17 + 7) & 0xFFFFFFFF
    return np.concatenate([single, pairs]) % BUCKETS


def form_of(text: str, context: str = "") -> list[float]:
    """Return what a text's form says: a number for each of FORM."""
    read = shorten(text)
    log = math.log1p
    words = _WORD.findall(read.lower())
    count, length = max(len(words), 1), max(len(read), 1)
    digits = sum(map(str.isdigit, read))
    return [
        log(len(text)),
        log(len(words)),
        log(text.count("\n")),
        digits / length,
        sum(map(str.isupper, read)) / length,
        len(_SIGN.findall(read)) / length,
        sum(map(len, words)) / count,
        log(len(_NUMBER.findall(read))),
        len(set(words)) / count,
        float("?" in read),
        float("def " in read or "```" in read),
        log(sum(map(read.count, _MATHEMATICS))),
        log(len(context)),
        log(context.count("{")),
    ]


def _forms(texts: Sequence[str], contexts: Sequence[str] | None) -> Doubles:
    about = contexts if contexts is not None else [""] * len(texts)
    rows = [form_of(text, context) for text, context in zip(texts, about, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(texts), len(FORM))
