"""What a model call costs: input, cached input and output tokens priced apart. Sends nothing and reads no network.

Where a price comes from, the first that knows it wins: the user's own table (`KAPELLE_PRICES`), the table of the
`genai-prices` package as it was installed, and zero for a model on the user's own machine or network. A model with none
of these has no price, and is refused before money is spent: a budget over an unknown price would hold nothing.
"""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.ledger import Usage

LOCAL_PROVIDERS = frozenset({"local", "ollama", "vllm"})
"""Servers that people run themselves. They cost nothing, unless a base URL says that they are elsewhere."""

_TOKENS_PER_PRICE = 1_000_000
_BYTES_PER_TOKEN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """Dollars per million tokens.

    Raises:
        InvalidInput: a price is negative or not a number.
    """

    input_usd: float
    cached_usd: float
    """For input tokens that come from the provider's cache."""
    output_usd: float
    cache_write_usd: float | None = None
    """For input tokens that the provider writes to its cache; None is `input_usd`."""

    def __post_init__(self) -> None:
        for name in ("input_usd", "cached_usd", "output_usd", "cache_write_usd"):
            value = getattr(self, name)
            if value is None and name == "cache_write_usd":
                continue
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise InvalidInput(f"A price has {name}={value!r}; give zero or more dollars per million tokens.")

    def cost_usd(self, usage: Usage, *, cache_written_tokens: int = 0) -> float:
        """Return the dollars for this usage, of whose input so many tokens were written to the cache."""
        fresh_tokens = usage.input_tokens - usage.cached_tokens
        written_tokens = max(0, min(cache_written_tokens, fresh_tokens))
        write_usd = self.input_usd if self.cache_write_usd is None else self.cache_write_usd
        dollars = (
            (fresh_tokens - written_tokens) * self.input_usd
            + written_tokens * write_usd
            + usage.cached_tokens * self.cached_usd
            + usage.output_tokens * self.output_usd
        )
        return dollars / _TOKENS_PER_PRICE


FREE = Price(input_usd=0.0, cached_usd=0.0, output_usd=0.0)


class PriceTable:
    """Prices by model name.

    `overrides` maps patterns (`*`, `?`, `[...]`, in any case) on `provider:name`, or on the name alone, to prices. A
    pattern without wildcards beats one with them; among the others the first one written wins.

    >>> table = PriceTable({"openai:gpt-house*": Price(input_usd=1.0, cached_usd=0.1, output_usd=4.0)})
    >>> table.cost_usd("openai:gpt-house-2", Usage(input_tokens=1000, cached_tokens=500, output_tokens=100))
    0.00095
    """

    def __init__(self, overrides: Mapping[str, Price] | None = None) -> None:
        self._overrides = {pattern.lower(): price for pattern, price in (overrides or {}).items()}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> PriceTable:
        """Read the file that `KAPELLE_PRICES` names; without that variable, have no overrides.

        Raises:
            InvalidInput: the file is missing or malformed; the message names variable, file and place.
        """
        path = (os.environ if environ is None else environ).get("KAPELLE_PRICES", "").strip()
        if not path:
            return cls()
        try:
            return cls.from_file(path)
        except (InvalidInput, ValueError) as error:
            raise InvalidInput(f"KAPELLE_PRICES: {error}") from error

    @classmethod
    def from_file(cls, path: Path | str) -> PriceTable:
        """Read prices from a YAML file, in dollars per million tokens. `cached` and `cache_write` are `input` where
        they are left out:

            prices:
              "openai:gpt-house-*": {input: 1.25, cached: 0.125, cache_write: 1.5625, output: 10}
              my-local-model: {input: 0, output: 0}

        Raises:
            InvalidInput: the file is missing or malformed; the message names the place.
        """
        from .price_file import read_prices

        return cls({pattern: Price(**fields) for pattern, fields in read_prices(path).items()})

    def cost_usd(
        self, model: str, usage: Usage, *, base_url: str | None = None, cache_written_tokens: int = 0
    ) -> float:
        """Return what one call cost, in dollars.

        Args:
            model: `provider:name`.
            usage: of a single call: some models charge more for every token of a long input, so that the sum of
                several calls has another price than the calls.
            base_url: where the model is served, if not at its provider.
            cache_written_tokens: the part of the input that the provider wrote to its cache, which some charge more
                for. The table knows that price; an override says it in `cache_write`, or charges them as input.

        Raises:
            UnknownPrice: nothing prices this model.
        """
        override = self._find_override(model)
        if override is not None:
            return override.cost_usd(usage, cache_written_tokens=cache_written_tokens)
        entry = _find_table_entry(model, base_url)
        if entry is not None:
            return _table_cost_usd(entry, usage, cache_written_tokens)
        if is_free_endpoint(model, base_url):
            return FREE.cost_usd(usage)
        raise UnknownPrice(model)

    def estimate_usd(
        self,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        cached_tokens: int = 0,
        base_url: str | None = None,
    ) -> float:
        """Return the most that such a call can cost: what is not read from the cache may be written to it.

        Raises:
            UnknownPrice: nothing prices this model.
        """
        usage = Usage(input_tokens=input_tokens, cached_tokens=cached_tokens, output_tokens=output_tokens)
        return max(
            self.cost_usd(model, usage, base_url=base_url, cache_written_tokens=written)
            for written in (0, input_tokens - cached_tokens)
        )

    def affordable_tokens(
        self, model: str, usd: float, *, input_tokens: int, most: int, base_url: str | None = None
    ) -> int:
        """Return how many output tokens, `most` at most, so many dollars pay for after the input; 0 for none.

        Raises:
            UnknownPrice: nothing prices this model.
        """

        def is_paid(output_tokens: int) -> bool:
            asked = {"input_tokens": input_tokens, "output_tokens": output_tokens}
            return self.estimate_usd(model, base_url=base_url, **asked) <= usd

        if is_paid(most):
            return most
        # Prices may have steps, so the limit is searched for and not computed.
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if is_paid(middle) else (low, middle)
        return low

    def find_source(self, model: str, *, base_url: str | None = None) -> str:
        """Return in words where the price of a model comes from, so that a price of zero is never a surprise.

        Raises:
            UnknownPrice: nothing prices this model.
        """
        kind = self.find_kind(model, base_url=base_url)
        if kind == "own":
            return "priced by your price file"
        if kind == "table":
            entry = _find_table_entry(model, base_url)
            assert entry is not None
            return f"priced as {entry[0].id}:{entry[1].id}"
        if kind == "free":
            return "priced at zero: it is served locally"
        raise UnknownPrice(model)

    def find_kind(self, model: str, *, base_url: str | None = None) -> Literal["own", "table", "free"] | None:
        """Return what prices a model: the user's own table, the installed one, or that it is served locally."""
        if self._find_override(model) is not None:
            return "own"
        if _find_table_entry(model, base_url) is not None:
            return "table"
        return "free" if is_free_endpoint(model, base_url) else None

    def _find_override(self, model: str) -> Price | None:
        full = model.lower()
        names = (full, full.partition(":")[2])
        for name in names:
            if name in self._overrides:
                return self._overrides[name]
        for pattern, price in self._overrides.items():
            if any(fnmatchcase(name, pattern) for name in names if name):
                return price
        return None


def bound_tokens(text: str) -> int:
    """Return about the most tokens that a text can have.

    English has four bytes to a token, code and figures about three, and letters of other scripts, of two to four bytes,
    a token each.

    >>> bound_tokens("How many people live in the capital of France?"), bound_tokens("\u65e5\u672c\u8a9e")
    (16, 4)
    """
    return len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN + 1


def is_free_endpoint(model: str, base_url: str | None) -> bool:
    """Whether the model is served on the user's own machine or network."""
    if base_url is not None:
        return is_local_url(base_url)
    return model.partition(":")[0].lower() in LOCAL_PROVIDERS


def is_local_url(url: str) -> bool:
    """Whether a URL names this machine or a private network. Names are not looked up.

    >>> [is_local_url(url) for url in ("http://127.0.0.1:8000/v1", "http://ollama:11434", "https://api.openai.com/v1")]
    [True, True, False]
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name without a dot cannot be on the internet: it is `localhost`, or a container's name.
        return bool(host) and ("." not in host or host.endswith((".localhost", ".local", ".internal")))
    return address.is_loopback or address.is_private or address.is_link_local


def _find_table_entry(model: str, base_url: str | None) -> tuple[Any, Any] | None:
    from genai_prices.data_snapshot import get_snapshot

    provider, _, name = model.partition(":")
    if not name or provider in LOCAL_PROVIDERS:
        return None
    compatible = provider == "openai-compatible"
    try:
        entry = get_snapshot().find_provider_model(
            name, None, None if compatible else provider, base_url if compatible else None
        )
    except LookupError:
        return None
    # The table lists models without a price too, and its own arithmetic then answers zero.
    return entry if _table_prices(entry).input_mtok is not None else None


def _table_prices(entry: tuple[Any, Any]) -> Any:
    from datetime import UTC, datetime

    return entry[1].get_prices(datetime.now(UTC))


def _table_cost_usd(entry: tuple[Any, Any], usage: Usage, cache_written_tokens: int) -> float:
    import genai_prices

    # Its input tokens include the cached ones, as ours do.
    priced = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=min(cache_written_tokens, usage.input_tokens - usage.cached_tokens),
        output_tokens=usage.output_tokens,
    )
    return float(_table_prices(entry).calc_price(priced)["total_price"])
