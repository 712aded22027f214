"""The file of a user's own prices: YAML, checked against its schema."""

from __future__ import annotations

from pathlib import Path

import pydantic

from kapelle.documents import describe_validation_error, parse_yaml, read_text
from kapelle.errors import InvalidInput


def read_prices(path: Path | str) -> dict[str, dict[str, float]]:
    """Return by pattern the fields of its `Price`, dollars per million tokens.

    Raises:
        InvalidInput: the file is missing or malformed; the message names the place.
    """
    try:
        document = _PriceDocument.model_validate(parse_yaml(read_text(path), place=str(path)))
    except pydantic.ValidationError as error:
        raise InvalidInput(f"{path}: {describe_validation_error(error)}.") from error
    return {pattern: entry.fields() for pattern, entry in document.prices.items()}


class _PriceEntry(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    input: float = pydantic.Field(ge=0, allow_inf_nan=False)
    cached: float | None = pydantic.Field(default=None, ge=0, allow_inf_nan=False)
    cache_write: float | None = pydantic.Field(default=None, ge=0, allow_inf_nan=False)
    output: float = pydantic.Field(ge=0, allow_inf_nan=False)

    def fields(self) -> dict[str, float]:
        cached = self.input if self.cached is None else self.cached
        fields = {"input_usd": self.input, "cached_usd": cached, "output_usd": self.output}
        return fields if self.cache_write is None else fields | {"cache_write_usd": self.cache_write}


class _PriceDocument(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    prices: dict[str, _PriceEntry]
