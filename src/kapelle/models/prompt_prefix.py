"""Fingerprints of what a model is sent, part by part, so that a break of the prompt cache is seen before it is billed.

Providers keep the beginning of a prompt, up to the first byte that differs from an earlier one: settings and tools,
then the instructions, then message after message. So two calls of one conversation share all parts before the first
that differs, and what comes after it is read or written anew. Which tools are *allowed* is no part of it.

It asks no provider: what that says itself is in `ModelReply.cache_diagnosis`. It does not know whether a cache has
outlived the time between two calls, nor the least length of a prompt that a provider keeps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from kapelle.errors import InvalidInput

from .client import Message, ModelRequest
from .prices import PriceTable, bound_tokens

_DIGEST_CHARS = 16
_PARTS_BEFORE_MESSAGES = ("settings", "tools", "system")


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixPart:
    """One part of a prompt."""

    name: str
    """`settings`, `tools`, `system`, or `message 1` and so on, from the first that is no instruction."""
    digest: str
    tokens: int
    """At most about so many; see `bound_tokens`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptPrefix:
    """What one call sends: its parts, in the order in which caches compare them."""

    parts: tuple[PrefixPart, ...]

    @property
    def tokens(self) -> int:
        """Of all parts."""
        return sum(part.tokens for part in self.parts)

    def summary(self) -> dict[str, Any]:
        """Return what an event keeps: the same few figures however long the conversation is."""
        messages = self.parts[len(_PARTS_BEFORE_MESSAGES) :]
        told: dict[str, Any] = {part.name: part.digest for part in self.parts[: len(_PARTS_BEFORE_MESSAGES)]}
        return told | {"messages": len(messages), "history": _chain(messages), "tokens": self.tokens}


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixBreak:
    """Where two calls of one conversation part, and what that loses."""

    part: str
    """The first that changed."""
    lost_tokens: int
    """What could have been read from the cache, and has to be read or written anew."""
    kept_tokens: int
    """What both begin with."""

    @property
    def words(self) -> str:
        """In words, for people."""
        return f"{self.part} changed: {self.lost_tokens:,} tokens are read anew, {self.kept_tokens:,} from the cache"


def read_prefix(request: ModelRequest, *, model: str) -> PromptPrefix:
    """Return the fingerprint of what a request sends to a model.

    Raises:
        InvalidInput: a schema or arguments cannot be written as JSON.
    """
    leading = 0
    while leading < len(request.messages) and request.messages[leading].role == "system":
        leading += 1
    tools = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
    # Temperature and limits of length are no part of a prompt; the shape of a reply is written into it.
    settings = [model, request.output_schema, request.schema_is_told]
    parts = [
        _part("settings", _write(settings), counted="" if request.output_schema is None else _write(settings[1])),
        _part("tools", _write(tools) if tools else ""),
        _part("system", "\n\n".join(message.content for message in request.messages[:leading])),
    ]
    for place, message in enumerate(request.messages[leading:], start=1):
        parts.append(_part(f"message {place}", _write_message(message)))
    return PromptPrefix(parts=tuple(parts))


def compare_prefixes(before: PromptPrefix, now: PromptPrefix) -> PrefixBreak | None:
    """Return where a call departs from the one before it; None where it only goes on, or stops earlier."""
    kept = 0
    for place, (old, new) in enumerate(zip_longest(before.parts, now.parts)):
        if old is None or new is None:
            return None
        if old.digest != new.digest:
            lost = min(_tokens(before.parts[place:]), _tokens(now.parts[place:]))
            return PrefixBreak(part=new.name, lost_tokens=lost, kept_tokens=kept)
        kept += new.tokens
    return None


def compare_with_summary(before: Mapping[str, Any], request: ModelRequest, *, model: str) -> PrefixBreak | None:
    """Return where a call departs from one of which only its `summary` is known, as after a restart.

    Which message changed is not known then: all of them count as lost.
    """
    now = read_prefix(request, model=model)
    first = len(_PARTS_BEFORE_MESSAGES)
    for place, part in enumerate(now.parts[:first]):
        if before.get(part.name) != part.digest:
            return _lost_from(place, now, part.name, before)
    count = int(before.get("messages", 0))
    old = now.parts[first : first + count]
    if len(old) == count and _chain(old) != before.get("history"):
        return _lost_from(first, now, "messages", before)
    return None


def price_break_usd(prices: PriceTable, model: str, found: PrefixBreak, *, base_url: str | None = None) -> float:
    """Return the most dollars that a break costs: what is read anew, or written, less what reading the cache costs.

    Raises:
        UnknownPrice: nothing prices this model.
    """
    total = found.kept_tokens + found.lost_tokens
    anew, read = (
        prices.estimate_usd(model, input_tokens=total, cached_tokens=cached, output_tokens=0, base_url=base_url)
        for cached in (found.kept_tokens, total)
    )
    return max(0.0, anew - read)


def _lost_from(place: int, now: PromptPrefix, name: str, before: Mapping[str, Any]) -> PrefixBreak:
    kept = _tokens(now.parts[:place])
    lost = min(_tokens(now.parts[place:]), max(0, int(before.get("tokens", 0)) - kept))
    return PrefixBreak(part=name, lost_tokens=lost, kept_tokens=kept)


def _tokens(parts: Sequence[PrefixPart]) -> int:
    return sum(part.tokens for part in parts)


def _part(name: str, text: str, *, counted: str | None = None) -> PrefixPart:
    told = text if counted is None else counted
    return PrefixPart(name=name, digest=_digest(text), tokens=bound_tokens(told) if told else 0)


def _write_message(message: Message) -> str:
    # The arguments of a call as they go out: another order of them is another text.
    calls = [
        [call.call_id, call.name, _write(call.arguments) if call.written is None else call.written]
        for call in message.tool_calls
    ]
    return _write([message.role, message.content, message.tool_call_id, calls])


def _write(value: Any) -> str:
    try:
        # Keys keep their order: that is how they are sent. Letters stay, for the count of tokens.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"A request cannot be written as JSON: {error}.") from error


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _digest(text: str) -> str:
    # A lone surrogate is no text, and is told apart all the same.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]


def _chain(parts: Sequence[PrefixPart]) -> str:
    return _digest("".join(part.digest for part in parts))
