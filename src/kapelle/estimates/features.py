"""Numbers that describe a task's words, from NumPy alone: its form, and where its words stand among those seen before.

Three blocks, side by side:

    form      lengths, shares of digits, capitals and signs, lines, numbers, negations, question words; of the context
              (the schemas of the functions it may call, say) its size, its parts, and how far its words meet the text's
    words     single words and pairs, hashed, weighted by tf-idf, and folded to a few dimensions (latent semantic
              analysis; randomised range finder of Halko, Martinsson and Tropp, arXiv:0909.4061)
    letters   the same of runs of three to five letters, which see through word forms, formulas and code

Hashes are CRC-32 and a multiplicative hash of the bytes: the same in every process, whatever PYTHONHASHSEED is. What a
task cost or whether it succeeded is never looked at here. Refuses nothing: any text has its numbers, none of them NaN.
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

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_NAME = re.compile(r"[a-z,] [A-Z][a-z]")
_SPACES = re.compile(r"\s+")
_PART = re.compile(r"""["'](name|type|description|required|enum|items|properties|default|array|list|dict|object)["']""")
_PARTS = ("name", "type", "description", "required", "enum", "items", "properties", "default", "array", "list", "dict")
_NEGATIONS = frozenset(
    [
        "not",
        "no",
        "never",
        "none",
        "except",
        "least",
        "cannot",
        "without",
        "neither",
        "nor",
        "incorrect",
        "false",
        "unlikely",
        "don",
        "isn",
        "doesn",
    ]
)
_QUESTIONS = ("what", "which", "who", "how", "when", "where", "why", "if", "is", "the", "many", "write", "find")
_SIGNS = np.zeros(256, dtype=bool)
_SIGNS[[ord(sign) for sign in "=+-*/^<>\\$%{}[]()|~_"]] = True


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
class TextFeatures:
    """Describes texts, and their contexts, by rows of numbers. Learned from texts alone."""

    words: Fold
    letters: Fold
    embed: Embed | None = None
    """Further numbers per text, from an embedding model; they are put beside the others."""

    @classmethod
    def fit(
        cls, texts: Sequence[str], contexts: Sequence[str] | None = None, *, seed: int = 0, embed: Embed | None = None
    ) -> TextFeatures:
        """Return the description that suits these texts."""
        about = contexts if contexts is not None else [""] * len(texts)
        words = [hash_words(text, context) for text, context in zip(texts, about, strict=True)]
        letters = [hash_letters(text) for text in texts]
        return cls(Fold.learn(words, seed=seed), Fold.learn(letters, seed=seed + 1), embed)

    def describe(self, texts: Sequence[str], contexts: Sequence[str] | None = None) -> Floats:
        """Return a row of numbers per text. All are finite."""
        about = contexts if contexts is not None else [""] * len(texts)
        rows = np.zeros((len(texts), 2 * DIMENSIONS + FORM_WIDTH), dtype=np.float32)
        for at, (text, context) in enumerate(zip(texts, about, strict=True)):
            rows[at, :DIMENSIONS] = self.words.place(hash_words(text, context))
            rows[at, DIMENSIONS : 2 * DIMENSIONS] = self.letters.place(hash_letters(text))
            rows[at, 2 * DIMENSIONS :] = form_of(text, context)
        if self.embed is not None and len(texts):
            further = np.asarray(self.embed(texts), dtype=np.float32).reshape(len(texts), -1)
            rows = np.hstack([rows, np.nan_to_num(further, posinf=0.0, neginf=0.0)])
        return rows

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `from_arrays` needs; the embedding function is not among it."""
        return {
            f"{name}_{part}": getattr(fold, part)
            for name, fold in (("words", self.words), ("letters", self.letters))
            for part in ("buckets", "weights", "directions")
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], *, embed: Embed | None = None) -> TextFeatures:
        """Return the description that was saved.

        Raises:
            KeyError, ValueError: the arrays are not those of a description.
        """
        folds = []
        for name in ("words", "letters"):
            buckets = np.asarray(arrays[f"{name}_buckets"], dtype=np.int32)
            weights = np.asarray(arrays[f"{name}_weights"], dtype=np.float32)
            directions = np.asarray(arrays[f"{name}_directions"], dtype=np.float32)
            rows = len(buckets)
            if buckets.ndim != 1 or weights.shape != (rows,) or directions.shape != (rows, DIMENSIONS):
                raise ValueError(f"the shapes of {name} do not fit")
            if (np.diff(buckets) <= 0).any() or not (np.isfinite(weights).all() and np.isfinite(directions).all()):
                raise ValueError(f"the numbers of {name} are damaged")
            folds.append(Fold(buckets, weights, directions))
        return cls(folds[0], folds[1], embed)


def shorten(text: str) -> str:
    """Return what is read of a text: all of it, or its beginning and its end."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]} {text[-TAIL:]}"


def hash_words(text: str, context: str = "") -> NDArray[np.int64]:
    """Return the buckets of a text's words and pairs of words, and of its context's words. Repetitions stay."""
    words = _WORD.findall(shorten(text).lower())
    single = np.fromiter((zlib.crc32(word.encode()) for word in words), dtype=np.int64, count=len(words))
    pairs = (single[:-1] * 31 + single[1:] * 17 + 7) & 0xFFFFFFFF
    if not context:
        return np.concatenate([single, pairs]) % BUCKETS
    around = _WORD.findall(shorten(context).lower())
    beside = np.fromiter((zlib.crc32(word.encode(), 1) for word in around), dtype=np.int64, count=len(around))
    return np.concatenate([single, pairs, beside]) % BUCKETS


def hash_letters(text: str) -> NDArray[np.int64]:
    """Return the buckets of all runs of three, four and five letters. Repetitions stay."""
    plain = _SPACES.sub(" ", shorten(text).lower()).encode()
    codes = np.frombuffer(b" " + plain + b" ", dtype=np.uint8).astype(np.uint64)
    parts = []
    run = codes
    for length in range(2, 6):
        run = run[:-1] * np.uint64(257) + codes[length - 1 :] if len(run) > 1 else run[:0]
        if length >= 3:
            # Fibonacci hashing: the golden ratio's bits spread neighbouring codes over all buckets.
            parts.append((run * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - 18))
    return np.concatenate(parts).astype(np.int64)


def form_of(text: str, context: str = "") -> list[float]:
    """Return what a text's form says: `FORM_WIDTH` numbers."""
    read = shorten(text)
    log = math.log1p
    letters = np.bincount(np.frombuffer(read.encode("latin-1", "replace"), dtype=np.uint8), minlength=256)
    length = max(len(read), 1)
    digits, capitals = int(letters[48:58].sum()), int(letters[65:91].sum())
    signs, foreign = int(letters[_SIGNS].sum()), int(letters[128:].sum())
    lines = read.split("\n")
    words = _WORD.findall(read.lower())
    count = max(len(words), 1)
    sizes = [len(word) for word in words] or [0]
    mean_size = sum(sizes) / len(sizes)
    different = set(words)
    numbers = _NUMBER.findall(read)
    names = len(_NAME.findall(read))
    sentences = max(len(_SENTENCE.findall(read)), 1)
    later = [len(line) for line in lines[1:] if line] or [0]
    mean_later = sum(later) / len(later)
    negations = sum(word in _NEGATIONS for word in words)
    numeric = sum(not any(map(str.isalpha, line[2:])) for line in lines[1:])
    form = [
        log(len(text)),
        log(count),
        log(len(lines)),
        digits / length,
        log(digits),
        log(len(numbers)),
        log(max((min(float(number[:15]), 1e12) for number in numbers), default=0.0)),
        capitals / length,
        log(capitals),
        names / count,
        log(names),
        signs / length,
        log(signs),
        mean_size,
        float(max(sizes)),
        math.sqrt(sum((size - mean_size) ** 2 for size in sizes) / len(sizes)),
        sum(size <= 3 for size in sizes) / count,
        sum(size >= 8 for size in sizes) / count,
        len(different) / count,
        log(count / sentences),
        log(sentences),
        log(len(lines[0])),
        log(len(lines[-1])),
        log(mean_later),
        log(max(later)),
        log(min(later)),
        math.sqrt(sum((size - mean_later) ** 2 for size in later) / len(later)) / (mean_later + 1),
        float(min(letters[ord("?")], 9)),
        log(letters[ord(",")]),
        log(letters[ord('"')] + letters[ord("'")]),
        float("__" in read),
        log(letters[ord(":")]),
        log(letters[ord(";")]),
        log(letters[ord("(")]),
        float(negations),
        numeric / len(lines),
        foreign / length,
        float("```" in read or "def " in read),
    ]
    first = words[0] if words else ""
    form += [float(first == word) for word in _QUESTIONS]
    form += [float(word in different) for word in _QUESTIONS]
    return form + _form_of_context(different, context)


def _form_of_context(words: set[str], context: str) -> list[float]:
    if not context:
        return [0.0] * CONTEXT_WIDTH
    read = shorten(context)
    around = set(_WORD.findall(read.lower()))
    common = len(words & around)
    found = _PART.findall(read)
    form = [
        math.log1p(len(context)),
        math.log1p(read.count("{")),
        math.log1p(read.count("[")),
        math.log1p(len(around)),
        common / max(len(words), 1),
        common / max(len(around), 1),
    ]
    return form + [math.log1p(found.count(part)) for part in _PARTS]


CONTEXT_WIDTH = 6 + len(_PARTS)
FORM_WIDTH = len(form_of("", ""))
"""How many numbers `form_of` gives."""
