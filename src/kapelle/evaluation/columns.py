"""Which column of a log means what: guessed from common names, decided by the user. Reads no file.

Beside them the figures and names of one row, read strictly: what is missing, not finite or off the scale is refused.

A column that bears kapelle's own name for a thing wins. Among the other common names one may be there; two, or none of
what is needed, are refused with the columns that were found and the option that settles it. `category` is never taken
for the task type by itself: in many logs it is a label that is known only afterwards.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.ledger import Usage, printable
from kapelle.models import PriceTable

NAMES: Mapping[str, tuple[str, ...]] = {
    "task_id": ("task_id", "taskid", "id", "question_id", "request_id", "sample_id", "prompt_id", "query_id"),
    "text": ("text", "prompt", "question", "query", "input", "request", "instruction"),
    "context": ("context", "functions", "tools"),
    "task_type": ("task_type", "tasktype", "type"),
    "agent": ("agent", "agent_id", "agent_name", "model", "model_name", "model_id", "llm"),
    "model": ("model", "model_name", "model_id"),
    "quality": ("quality", "score", "success", "correct", "is_correct", "passed", "accuracy", "reward", "rating"),
    "cost_usd": ("cost_usd", "cost", "price", "price_usd", "total_cost", "cost_dollars", "usd"),
    "input_tokens": ("input_tokens", "prompt_tokens", "tokens_in"),
    "cached_tokens": ("cached_tokens", "cached_input_tokens", "cache_read_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "tokens_out"),
    "seconds": ("seconds", "latency_s", "latency", "duration_s", "duration", "latency_ms", "duration_ms"),
    "output": ("output", "response", "completion"),
}
"""What a column can be, and the names it is known by; the first is our own."""

_TOLD_APART = frozenset({"task_id", "text", "task_type", "quality", "cost_usd"})
"""Where the wrong column would give wrong figures. Elsewhere the names say the same, and the first that is there is
taken: an agent before its model, seconds before milliseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnNames:
    """Columns as the user named them: what it is (see NAMES) to the column's name in the log.

    Raises:
        InvalidInput: there is no such thing as one of the names says.
    """

    chosen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.chosen) - NAMES.keys())
        if unknown:
            raise InvalidInput(f"A log has no {unknown[0]!r}. Map one of these: {', '.join(NAMES)}.")

    @classmethod
    def parse(cls, pairs: Sequence[str]) -> ColumnNames:
        """Return the names from texts such as `quality=score`.

        Raises:
            InvalidInput: a text has not that form, names nothing known, or a thing is named twice.
        """
        chosen: dict[str, str] = {}
        for pair in pairs:
            name, equals, column = (part.strip() for part in pair.partition("="))
            if not (name and equals and column):
                raise InvalidInput(f"{pair!r:.80} maps no column. Write NAME=COLUMN, for instance quality=score.")
            if name in chosen:
                raise InvalidInput(f"{name!r} is mapped twice, to {chosen[name]!r} and {column!r}. Keep one.")
            chosen[name] = column
        return cls(chosen=chosen)


def find_columns(header: Sequence[str], names: ColumnNames, *, needed: Sequence[str]) -> dict[str, str]:
    """Return which column of the header is what.

    Raises:
        InvalidInput: a chosen column is not there, a needed one is missing, or two could be meant.
    """
    found: dict[str, str] = {}
    by_lower = {column.strip().lower(): column for column in header}
    taken = set(names.chosen.values())
    for name, known in NAMES.items():
        chosen = names.chosen.get(name)
        if chosen is not None:
            column = chosen if chosen in header else by_lower.get(chosen.lower())
            if column is None:
                raise InvalidInput(f"There is no column {chosen!r} for {name}. {_listed(header)}")
            found[name] = column
            continue
        there = [by_lower[word] for word in known if word in by_lower and by_lower[word] not in taken]
        if not there:
            continue
        if len(there) > 1 and there[0].lower() != known[0] and name in _TOLD_APART:
            raise InvalidInput(
                f"Several columns could be the {name}: {', '.join(map(repr, there))}. "
                f"Say which one it is: --column {name}={there[0]}."
            )
        found[name] = there[0]
    for name in needed:
        if name not in found:
            raise InvalidInput(
                f"No column is known to be the {name}. {_listed(header)} Say which one it is: --column {name}=COLUMN."
            )
    return found


def _listed(header: Sequence[str]) -> str:
    shown = ", ".join(repr(column[:60]) for column in header[:40]) or "none"
    return f"The log has these columns: {shown}{', ...' if len(header) > 40 else ''}."


_TRUE = frozenset({"true", "yes", "y", "pass", "passed", "correct", "success", "ok"})
_FALSE = frozenset({"false", "no", "n", "fail", "failed", "incorrect", "wrong", "failure", "error"})
_SCALE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(?:-|\.\.|:|to)\s*(-?\d+(?:\.\d+)?)\s*")
_NAME_CHARS = 200
_FEW, _MANY = 1_000, 1_000_000
"""Tokens, below and above every step at which providers raise their prices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """What the log's quality is measured on; it becomes 0..1.

    Raises:
        InvalidInput: the ends are not finite, or not in order.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InvalidInput(f"A scale goes from a smaller to a larger number, not from {self.low} to {self.high}.")

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Return the scale that `1-5`, `0..100` or `100` (from 0) tells.

        >>> Scale.parse("1-5")
        Scale(low=1.0, high=5.0)
        """
        match = _SCALE.fullmatch(text)
        if match:
            return cls(low=float(match[1]), high=float(match[2]))
        try:
            return cls(high=float(text))
        except ValueError:
            raise InvalidInput(f"{text!r:.40} is no scale. Write its ends, for instance 1-5 or 0-100.") from None


class BadRow(Exception):
    """Why a row is refused."""


def read_quality(value: object, scale: Scale) -> float:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return float(value.strip().lower() in _TRUE)
    number = read_number(value, "quality", least=-math.inf)
    if not scale.low <= number <= scale.high:
        raise BadRow(f"quality is {number:g}, outside of {scale.low:g} to {scale.high:g}")
    return (number - scale.low) / (scale.high - scale.low)


def read_number(value: object, name: str, *, least: float = 0.0) -> float:
    if value is None or value == "":
        raise BadRow(f"{name} is missing")
    try:
        if isinstance(value, str):
            number = float(value.strip().removeprefix("$"))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            number = float(value)
        else:
            raise ValueError
    except (ValueError, OverflowError):
        raise BadRow(f"{name} is {value!r:.40}, which is no number") from None
    if not math.isfinite(number):
        raise BadRow(f"{name} is {number}, which is not finite")
    if number < least:
        raise BadRow(f"{name} is {number:g}, which is negative")
    return number


def read_name(value: object, what: str) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"the {what} is missing")
    name = printable(" ".join(value.split()))
    if len(name) > _NAME_CHARS:
        raise BadRow(f"the {what} is longer than {_NAME_CHARS} characters: {name[:40]!r}...")
    return name


def read_words(fields: Mapping[str, Any], column: str | None) -> str:
    value = fields.get(column) if column is not None else None
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


class TokenPrices:
    """What a model's tokens cost. Most prices are per token, and then are asked for once and not for every row."""

    def __init__(self, prices: PriceTable, model: str) -> None:
        self._prices = prices
        # A bare name is looked up among all providers.
        self._model = model if ":" in model else f"openai-compatible:{model}"
        # Some prices rise with the length of the input; those are asked for row by row.
        kinds = ((1, 0, 0), (1, 1, 0), (1, 0, 1))
        few, many = ([self._ask(*(size * part for part in kind)) for kind in kinds] for size in (_FEW, _MANY))
        self._is_flat = all(
            math.isclose(one * _MANY, other * _FEW, rel_tol=1e-9) for one, other in zip(few, many, strict=True)
        )
        fresh, cached, both = (price / _MANY for price in many)
        self._per_token = (fresh, cached, both - fresh)

    def cost_usd(self, tokens: int, cached: int, output: int) -> float:
        """Return the dollars of a call."""
        if not self._is_flat or max(tokens, output) > _MANY:
            return self._ask(tokens, cached, output)
        fresh_usd, cached_usd, output_usd = self._per_token
        return (tokens - cached) * fresh_usd + cached * cached_usd + output * output_usd

    def _ask(self, tokens: int, cached: int, output: int) -> float:
        usage = Usage(input_tokens=tokens, cached_tokens=cached, output_tokens=output)
        return self._prices.cost_usd(self._model, usage)
