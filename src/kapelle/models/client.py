"""The model protocol: one async method. Messages go in; a reply comes back, with what it used and what it cost.

These values belong to kapelle and to no provider's library; `pydantic_ai_client` translates them, and
`kapelle.testing.ScriptedModel` plays them back. Nothing here knows of keys, prices or the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from kapelle.errors import ContentRefused, InvalidInput, ModelReplyInvalid, ReplyCut
from kapelle.ledger import Usage

Role = Literal["system", "user", "assistant", "tool"]
ToolChoice = Literal["auto", "required"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolDefinition:
    """What a tool is called, takes and gives, as far as it is known: the one signature that all parts read."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The JSON schema of the arguments: an object; empty where it is not known."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Parts of its result to their JSON schemas; empty where they are not known. Models are not told them."""

    @property
    def properties(self) -> Mapping[str, Any]:
        """The JSON schemas of its arguments, in their order."""
        found = self.parameters.get("properties")
        return found if isinstance(found, Mapping) else {}

    @property
    def required(self) -> frozenset[str]:
        """The arguments that it cannot do without."""
        found = self.parameters.get("required")
        return frozenset(map(str, found)) if isinstance(found, (list, tuple)) else frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """The model asks for a tool. Nothing has run yet: check name and arguments before it does."""

    call_id: str
    """Ties the call to the `tool` message that answers it."""
    name: str
    arguments: Mapping[str, Any]
    """Parsed, but not checked against the tool's schema."""
    written: str | None = field(default=None, compare=False, repr=False)
    """The arguments as the model wrote them, where it wrote JSON: they go back so, since another text of the same value
    empties the prompt cache from there on. None writes them anew; two calls are compared by `arguments`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of a conversation.

    Raises:
        InvalidInput: the role is unknown, a `tool` message does not say which call it answers, or a message that is
            not the assistant's carries tool calls.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """What the assistant asked for in this message."""
    tool_call_id: str | None = None
    """Which call this `tool` message answers."""

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise InvalidInput(f"A message has the role {self.role!r}; use one of {get_args(Role)}.")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise InvalidInput(
                f"A {self.role!r} message has tool_call_id={self.tool_call_id!r}: only tools answer calls."
            )
        if self.tool_calls and self.role != "assistant":
            raise InvalidInput(f"A {self.role!r} message carries tool calls; only the assistant asks for tools.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """What to ask a model.

    Raises:
        InvalidInput: there are no messages, two tools share a name, a tool is allowed or required that is not there,
            the output schema is not an object's, or a number makes no sense.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...] = ()
    """Keep these the same, in the same order, from call to call: a change empties the provider's prompt cache."""
    allowed_tools: frozenset[str] | None = None
    """Names of the tools that may be called now; None is all. It goes out as the provider can be told (`find_mask`),
    and `tools` are sent whole all the same. Whoever runs tools refuses the others: not every provider can be told."""
    tool_choice: ToolChoice = "auto"
    """Whether the model may answer in text, or has to call a tool, where the provider can be told."""
    output_schema: Mapping[str, Any] | None = None
    """The JSON schema of an object that the reply's text has to fit; then `ModelReply.data` is the parsed value."""
    schema_is_told: bool = False
    """Whether the messages say the shape of the reply already. A server that is held to the schema then gets it as the
    schema alone, where it would be shown it in the prompt as well."""
    temperature: float | None = None
    """Models that reason before they answer take none, and are then asked without it."""
    max_output_tokens: int | None = None
    """None leaves it to the provider. Budgets need a number: it bounds what the call can cost."""
    timeout_s: float | None = None
    """For the whole call: from sending it to the last byte of the reply, retries and their waits included. None takes
    the client's limit: on the whole call, or, while the reply streams, on its silence."""

    def __post_init__(self) -> None:
        if not self.messages:
            raise InvalidInput("A model request has no messages. Give at least one.")
        names = [tool.name for tool in self.tools]
        if len(set(names)) != len(names):
            raise InvalidInput(f"Two tools share a name: {names!r}. Rename one.")
        if self.allowed_tools is not None and not self.allowed_tools <= set(names):
            unknown = sorted(self.allowed_tools - set(names))
            raise InvalidInput(f"Tools are allowed that the request does not have: {unknown!r}. It has {names!r}.")
        if self.tool_choice not in get_args(ToolChoice):
            raise InvalidInput(
                f"A model request has tool_choice={self.tool_choice!r}; use one of {get_args(ToolChoice)}."
            )
        if self.tool_choice == "required" and not (names if self.allowed_tools is None else self.allowed_tools):
            raise InvalidInput("A tool has to be called, and none is allowed. Allow one, or use tool_choice='auto'.")
        if self.timeout_s is not None and not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise InvalidInput(f"A model request has timeout_s={self.timeout_s!r}; give more than zero seconds.")
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InvalidInput(f"A model request has temperature={self.temperature!r}; give zero or more.")
        if self.output_schema is not None and self.output_schema.get("type", "object") != "object":
            # OpenAI and its like refuse anything else at the top, so that it would fail only where it costs.
            raise InvalidInput("An output schema has to be of the type 'object'. Wrap the value in one.")
        if self.max_output_tokens is not None and self.max_output_tokens < 1:
            raise InvalidInput(f"A model request has max_output_tokens={self.max_output_tokens!r}; give one or more.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelReply:
    """What a model answered, with what it used and what it cost."""

    text: str
    """What the model answered. Its thoughts are not in it."""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(calls=1))
    cost_usd: float = 0.0
    """By the price table, from `usage`; attempts that the provider refused cost nothing."""
    usage_estimated: bool = False
    """Whether the server left out what the call used, or a part of it, so that `usage` is partly an estimate."""
    model: str = ""
    """`provider:name` of the model that was asked."""
    finish_reason: str | None = None
    """`stop`, `length`, `tool_call`, `content_filter` or `error`, where the provider says so."""
    cache_diagnosis: Mapping[str, Any] | None = None
    """What the provider itself says of its prompt cache, in its own words, such as a `cache_miss_reason`; None where it
    says nothing. `compare_prefixes` says beforehand what kapelle sees."""
    data: Any = None
    """The parsed JSON when the request had an `output_schema`; None when the model asked for tools instead."""


class PaidReplyInvalid(ModelReplyInvalid):
    """The provider answered, and is paid, but the answer does not read as asked for.

    `reply` is that answer: its `usage` and `cost_usd` are the error's too; show its `text` when asking again.
    """

    def __init__(self, message: str, *, reply: ModelReply) -> None:
        self.reply = reply
        super().__init__(message, cost_usd=reply.cost_usd, usage=reply.usage, sent=True)


class PaidReplyCut(ReplyCut, PaidReplyInvalid):
    """The reply ends before it is whole, and is paid: `reply.text` is the part that came, which is no answer."""


class PaidRefusal(ContentRefused):
    """The model or the provider's policy declined, and the tokens are paid all the same: see `reply`.

    `words` are what the model said to it; empty where it said nothing. `reply.text` is what had been written before.
    """

    def __init__(self, message: str, *, reply: ModelReply, words: str = "") -> None:
        self.reply = reply
        self.words = words
        super().__init__(message, cost_usd=reply.cost_usd, usage=reply.usage, sent=True)


@runtime_checkable
class ModelClient(Protocol):
    """Asks one model."""

    @property
    def model(self) -> str:
        """The model's name as `provider:name`."""
        ...

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """Ask the model. With `on_text` the reply streams: it is called with every new piece of the text, in order.

        What `on_text` raises ends the call and reaches the caller as it is. After the first piece nothing is retried,
        for no piece may come twice.

        Every error says what the call has cost (`cost_usd`, `usage`), as far as that was reported, and whether somebody
        may bill it all the same (`sent`). What may be billed is not tried again here: whoever asks decides, and pays.

        Raises:
            UnknownPrice: the model has no known price. Nothing was sent.
            ModelUnavailable: overloaded or unreachable, after the retries; or the stream broke off.
            ModelTimeout: no whole reply within the time.
            ModelRefused: the provider rejects the call for good: `QuotaExceeded`, `ContentRefused`, or its key or name;
                a `PaidRefusal` when the model itself declined.
            ModelReplyInvalid: the reply cannot be read, is empty, or does not fit the `output_schema`. It is a
                `PaidReplyInvalid` when there was a reply to pay for, and a `PaidReplyCut` when that was cut off.
        """
        ...
