"""What a run of a pydantic-ai agent used and cost: read from its replies, one by one, and priced by our table.

A run makes several requests, perhaps to several models, and may fail after some of them. Each reply is priced by the
model that it names: some models charge more for every token of a long input, so a sum has another price than its parts.
Asks nobody anything, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kapelle.errors import UnknownPrice
from kapelle.ledger import Usage

from .prices import PriceTable, bound_tokens
from .providers import is_known_provider

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model
    from pydantic_ai.usage import RunUsage

_FAKE_MODEL = "test"
"""How pydantic-ai's TestModel calls itself, which asks nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCost:
    """What a run used and cost."""

    usage: Usage
    cost_usd: float | None
    """None where the price of a reply is not known."""
    unpriced: tuple[str, ...] = ()
    """The models whose price is not known."""
    is_estimated: bool = False
    """Whether a provider did not report what a reply used, so that its length was measured."""


def read_run_cost(
    messages: Sequence[ModelMessage], used: RunUsage | None, prices: PriceTable, *, declared: Sequence[str] = ()
) -> RunCost:
    """Return what a run's messages used and cost.

    Args:
        used: What the library counted: more than the messages tell where a tool ran an agent of its own with it.
        declared: What the agent is said to run on, as `provider:name`, where a reply's own name has no price.
    """
    usage, cost_usd, unpriced, is_estimated = Usage(), 0.0, [], False
    last = None
    for place, message in enumerate(messages):
        if message.kind != "response":
            continue
        told, is_told = _read_usage(message, messages[:place])
        usage, is_estimated, last = usage + told, is_estimated or not is_told, message
        try:
            cost_usd += _price(message, told, prices, declared)
        except UnknownPrice as error:
            unpriced.append(error.model)
    if used is not None and (rest := _beyond(used, usage)) is not None:
        usage += rest
        try:
            cost_usd += _price_rest(rest, last, prices, declared)
        except UnknownPrice as error:
            unpriced.append(error.model)
    return RunCost(
        usage=usage,
        cost_usd=None if unpriced else cost_usd,
        unpriced=tuple(dict.fromkeys(unpriced)),
        is_estimated=is_estimated,
    )


def known_models(model: object) -> tuple[tuple[str, str | None], ...]:
    """Return names and base URLs of the models that an agent's model is; none where only its replies will tell.

    A function in a model's place, and a model of somebody's own class, may ask whomever they like.
    """
    if isinstance(model, str):
        return ((model, None),)
    if model is None:
        return ()
    from pydantic_ai.models import Model
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.models.test import TestModel
    from pydantic_ai.models.wrapper import WrapperModel

    if isinstance(model, WrapperModel):
        return known_models(model.wrapped)
    if isinstance(model, FallbackModel):
        return tuple(known for one in model.models for known in known_models(one))
    if not isinstance(model, Model) or isinstance(model, (FunctionModel, TestModel)):
        return ()
    library = [kind for kind in type(model).__mro__ if kind.__module__.startswith("pydantic_ai.") and kind is not Model]
    if not any(issubclass(kind, Model) for kind in library):
        return ()
    return ((f"{model.system}:{model.model_name}", model.base_url),)


def find_unpriced(models: Iterable[tuple[str, str | None]], prices: PriceTable, *, model: str | None) -> str | None:
    """Return the first of these models that nothing prices, if there is one.

    Args:
        model: What the agent is said to run on: its price stands in for one that is not known.
    """
    declared = () if model is None else (model,)
    for told, base_url in tuple(models) or tuple((name, None) for name in declared):
        provider, name = told.split(":", 1) if ":" in told else (None, told)
        if _choose(provider, name, base_url, prices, declared) is None:
            return told
    return None


def measure_messages(messages: Iterable[ModelMessage]) -> int:
    """Return about the most tokens that these messages have, images and files not counted."""
    return sum(bound_tokens(text) + 4 for message in messages for text in _texts(message))


def find_price_name(model: Model[Any], prices: PriceTable, *, declared: Sequence[str]) -> tuple[str, str | None] | None:
    """Return by which name and base URL a model that is about to be asked is priced; None where nothing prices it."""
    try:
        provider, name, base_url = model.system, model.model_name, model.base_url
    except Exception:  # one that is put together from several has none
        provider, name, base_url = "", "", None
    return _choose(provider, name, base_url, prices, declared)


def _read_usage(response: ModelResponse, before: Sequence[ModelMessage]) -> tuple[Usage, bool]:
    """Return what a reply used, and whether its provider said so."""
    theirs = response.usage
    # A budget must not take silence for zero.
    read = theirs.input_tokens or measure_messages(before)
    says_nothing = not (theirs.input_tokens or theirs.output_tokens)
    written = measure_messages([response]) if says_nothing else theirs.output_tokens
    cached = min(theirs.cache_read_tokens, read)
    usage = Usage(input_tokens=read, cached_tokens=cached, output_tokens=written, calls=1)
    return usage, bool(theirs.input_tokens)


def _price(response: ModelResponse, usage: Usage, prices: PriceTable, declared: Sequence[str]) -> float:
    name, provider, base_url = response.model_name or "", response.provider_name, response.provider_url
    if name == _FAKE_MODEL and provider in (None, _FAKE_MODEL):
        return 0.0
    found = _choose(provider, name, base_url, prices, declared)
    if found is None:
        raise UnknownPrice(":".join(word for word in (provider, name) if word) or next(iter(declared), "unknown"))
    model, url = found
    return prices.cost_usd(model, usage, base_url=url, cache_written_tokens=response.usage.cache_write_tokens)


def _choose(
    provider: str | None, name: str, base_url: str | None, prices: PriceTable, declared: Sequence[str]
) -> tuple[str, str | None] | None:
    """Return by which name and base URL a model is priced; None where nothing prices it.

    The user's own prices come first, then the installed ones, and what is served locally is free where neither knows
    it. At each of these a reply's own name comes before what its agent is said to run on, for a router may ask anybody.
    """
    told = f"{provider}:{name}" if provider else name
    kind = prices.find_kind(told, base_url=base_url) if told else None
    own = [model for model in declared if prices.find_kind(model) == "own"]
    found: list[tuple[str | None, str | None]] = [(told if kind == "own" else None, base_url)]
    found += [(model, None) for model in own if _is_same(name, model)]
    found.append((told if kind == "table" else None, base_url))
    if base_url is not None:  # the table may know the server by its address, whatever the provider is called here
        there = f"openai-compatible:{name}"
        found.append((there if name and prices.find_kind(there, base_url=base_url) == "table" else None, base_url))
    if base_url is None and not is_known_provider(provider or ""):  # a name without a server, as FunctionModel's
        found += [(name if prices.find_kind(name) == "own" else None, None), (_anywhere(name), None)]
    found += [(model, None) for model in own]
    found.append((told if kind == "free" else None, base_url))
    found += [(model, None) for model in declared if prices.find_kind(model) is not None]
    return next(((model, url) for model, url in found if model), None)


def _is_same(name: str, declared: str) -> bool:
    """Whether a reply's model is the one that was declared: providers add a date to the name."""
    wanted = declared.partition(":")[2] or declared
    return not name or name == wanted or name.startswith(f"{wanted}-")


def _anywhere(name: str) -> str | None:
    """Return a model's name with the first provider that the table finds it at."""
    from genai_prices.data_snapshot import get_snapshot

    if not name:
        return None
    try:
        return f"{get_snapshot().find_provider_model(name, None, None, None)[0].id}:{name}"
    except LookupError:
        return None


def _beyond(used: RunUsage, told: Usage) -> Usage | None:
    """Return what was used beyond what the replies tell; None if nothing was."""
    read, written = max(0, used.input_tokens - told.input_tokens), max(0, used.output_tokens - told.output_tokens)
    calls = max(0, used.requests - told.calls)
    if not (read or written):
        return None
    return Usage(input_tokens=read, output_tokens=written, calls=calls)


def _price_rest(rest: Usage, response: ModelResponse | None, prices: PriceTable, declared: Sequence[str]) -> float:
    """Price what agents within tools used, whose replies nobody has shown: as if this agent's model had."""
    if response is not None:
        return _price(response, rest, prices, declared)
    if not declared:
        raise UnknownPrice("unknown")
    return prices.cost_usd(declared[0], rest)


def _texts(message: ModelMessage) -> Iterable[str]:
    if (instructions := getattr(message, "instructions", None)) is not None:
        yield str(instructions)
    for part in message.parts:
        for name in ("content", "args", "tool_name"):
            value = getattr(part, name, None)
            if isinstance(value, (list, tuple)):
                yield from (one for one in value if isinstance(one, str))
            elif isinstance(value, (str, int, float, dict)):
                yield str(value)
