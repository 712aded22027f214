"""The figures and names of one row of a log, read strictly: what is missing, not finite or off the scale is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.ledger import Usage, printable
from kapelle.models import PriceTable

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
