"""Encodes what is known of an attempt as a sparse row of numbers. Imported lazily, for it needs NumPy. Learns nothing.

The row has blocks, each with the penalty that its weights get:

    known      the rates from the past (overall, agent, type, pair), the given success rate, level and shift
    names      agent, task type and both, hashed ("hashing trick", Weinberger et al. 2009)
    numbers    complexity, dependencies, lengths, counts of digits and so on: once for all agents, once per agent
    words      words of the text, and words beside each other: once for all agents, once per agent

The prior mean of all weights is 0, but of `overall` and `pair` it is 1: a model that has learned nothing yet says the
shrunken rate of this agent at this type, and moves away from it only as far as outcomes ask for.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from kapelle.errors import InvalidInput

from .logistic import Floats, SparseRow
from .rates import Rates, logit, names_of, number_of

_KNOWN = 16
_NAMES, _NUMBERS, _WORDS, _AGENT_WORDS = 1 << 12, 1 << 13, 1 << 15, 1 << 17
_AT_NAMES = _KNOWN
_AT_NUMBERS = _AT_NAMES + _NAMES
_AT_WORDS = _AT_NUMBERS + _NUMBERS
_AT_AGENT_WORDS = _AT_WORDS + _WORDS
WIDTH = _AT_AGENT_WORDS + _AGENT_WORDS
"""Numbers in a row."""

# Chosen on half splits of the recorded routing data (see bench.reward), so the figures for it may flatter a little.
_NAME_PENALTY = 1.0
_NUMBER_PENALTY = 60.0
_AGENT_NUMBER_PENALTY = 30.0
_WORD_PENALTY = 8.0
_AGENT_WORD_PENALTY = 12.0
_HALF_NUMBERS = _NUMBERS // 2
"""The first half holds the numbers for all agents, the second those per agent."""

_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_MOST_CHARS = 8_000
_MOST_WORDS = 400
"""Of one text; the most frequent ones stay."""
_JOINS = re.compile(r"\b(?:and|also|then|both|each)\b|[,;]", re.IGNORECASE)


def penalties(looseness: float = 1.0) -> Floats:
    """Return the penalty of every weight; `looseness` divides those of numbers and words."""
    penalty = np.empty(WIDTH)
    penalty[:_KNOWN] = 1.0
    penalty[_AT_NAMES:_AT_NUMBERS] = _NAME_PENALTY
    penalty[_AT_NUMBERS : _AT_NUMBERS + _HALF_NUMBERS] = _NUMBER_PENALTY / looseness
    penalty[_AT_NUMBERS + _HALF_NUMBERS : _AT_WORDS] = _AGENT_NUMBER_PENALTY / looseness
    penalty[_AT_WORDS:_AT_AGENT_WORDS] = _WORD_PENALTY / looseness
    penalty[_AT_AGENT_WORDS:] = _AGENT_WORD_PENALTY / looseness
    return penalty


def prior_weights() -> Floats:
    """Return what the weights are while nothing was learned."""
    prior = np.zeros(WIDTH)
    prior[1] = prior[2] = 1.0
    return prior


def encode(features: Mapping[str, Any], rates: Rates) -> SparseRow:
    """Return the row of an attempt; `rates` are those of the past.

    Raises:
        InvalidInput: a feature is malformed; the message names it.
    """
    agent, task_type = names_of(features)
    text, context = (_text_of(features, name) for name in ("text", "context"))
    known = _known(features, rates, agent, task_type)
    numbers = _numbers(features) + list(_surface(text, context))
    salt = _hash(agent)
    names = [_hash("agent", agent), _hash("type", task_type), _hash("pair", agent, task_type)]
    named = np.array([_AT_NAMES + one % _NAMES for one in names])
    number_hash = np.array([_hash(name) for name, _ in numbers], dtype=np.int64)
    number_value = np.array([value for _, value in numbers])
    word_hash, word_value = _words(text, context)
    at = np.concatenate(
        [
            np.array([position for position, _ in known]),
            named,
            _AT_NUMBERS + number_hash % _HALF_NUMBERS,
            _AT_NUMBERS + _HALF_NUMBERS + _mix(number_hash, salt) % _HALF_NUMBERS,
            _AT_WORDS + word_hash % _WORDS,
            _AT_AGENT_WORDS + _mix(word_hash, salt) % _AGENT_WORDS,
        ]
    )
    values = np.concatenate(
        [
            np.array([value for _, value in known]),
            np.ones(len(names)),
            number_value,
            number_value,
            word_value,
            word_value,
        ]
    )
    return at.astype(np.int32), values.astype(np.float32)


def _known(features: Mapping[str, Any], rates: Rates, agent: str, task_type: str) -> list[tuple[int, float]]:
    view = rates.view(agent, task_type)
    known = [
        (0, 1.0),
        (1, view.overall),
        (2, view.pair - view.overall),
        (3, view.agent - view.overall),
        (4, view.task_type - view.overall),
    ]
    success = number_of(features, "success_rate", most=1.0)
    if success is not None:
        known += [(5, 1.0), (6, _clipped(logit(success) - view.pair))]
    level = number_of(features, "level", most=1.0)
    if level is not None:
        known += [(7, 1.0), (8, _clipped(-logit(level)))]
    shift = number_of(features, "shift", least=-math.inf)
    if shift is not None:
        known.append((9, _clipped(shift)))
    return known


def _numbers(features: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the numbers that are there, each brought to about -2..2 by a fixed rule."""
    numbers = []
    rules = (
        ("complexity", math.inf, lambda x: math.log(x + 0.1)),
        ("dependencies", math.inf, math.log1p),
        ("cost_usd", math.inf, lambda x: math.log10(x + 1e-7) / 2 + 2),
        ("seconds", math.inf, lambda x: math.log10(x + 1e-2)),
        ("cost_position", 1.0, lambda x: x),
        ("time_position", 1.0, lambda x: x),
    )
    for name, most, rule in rules:
        value = number_of(features, name, most=most)
        if value is not None:
            numbers.append((name, _clipped(rule(value))))
    return numbers


@lru_cache(maxsize=4096)
def _surface(text: str, context: str) -> tuple[tuple[str, float], ...]:
    if not text and not context:
        return ()
    counts = {
        "chars": len(text),
        "words": len(text.split()),
        "digits": sum(map(str.isdigit, text)),
        "lines": text.count("\n"),
        "capitals": sum(map(str.isupper, text)),
        "marks": sum(not (one.isalnum() or one.isspace()) for one in text),
        "questions": text.count("?"),
        "joins": len(_JOINS.findall(text)),
        "quotes": sum(map(text.count, "'\"`")),
    }
    if context:
        counts |= {
            "context": len(context),
            "context names": context.count('"name"'),
            "context types": context.count('"type"'),
            "context braces": context.count("{"),
        }
    # Logarithms of counts lie in 0..10: halved and shifted, about -2..3.
    return tuple((name, math.log1p(count) / 2 - 1) for name, count in counts.items())


@lru_cache(maxsize=4096)
def _words(text: str, context: str) -> tuple[npt.NDArray[np.int64], Floats]:
    tokens = ["0" if token.isdigit() else token for token in _TOKEN.findall(text[:_MOST_CHARS].lower())]
    counts = Counter([*tokens, *(f"{one} {other}" for one, other in itertools.pairwise(tokens))])
    counts.update(f"context {word}" for word in _TOKEN.findall(context[:_MOST_CHARS].lower()) if word.isalpha())
    chosen = counts.most_common(_MOST_WORDS)
    hashes = np.array([_hash(word) for word, _ in chosen], dtype=np.int64)
    values = 1 + np.log(np.array([count for _, count in chosen], dtype=np.float64))
    size = float(np.sqrt(np.sum(values**2)))
    return hashes, values / size if size > 0 else values


def _text_of(features: Mapping[str, Any], name: str) -> str:
    value = features.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"The features have a {name} that is no text and no JSON ({error}); give a text.") from error


def _hash(*words: str) -> int:
    return zlib.crc32("\0".join(words).encode("utf-8", "replace"))


def _mix(hashes: npt.NDArray[np.int64], salt: int) -> npt.NDArray[np.int64]:
    # Knuth's multiplicative hash: the high bits are the mixed ones
    return (((hashes ^ salt) * 2654435761) & 0xFFFFFFFF) >> 7


def _clipped(value: float) -> float:
    return min(max(value, -5.0), 5.0)
