"""Public fakes, for users' own tests as for ours: no network, no key, no clock.

`ScriptedModel` stands in for a language model. It does what the real client does with a reply (streaming, reading
JSON against a schema, pricing), so that code which passes with the fake meets no surprise later.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kapelle.errors import ModelReplyInvalid
from kapelle.ledger import Usage
from kapelle.models import ModelReply, ModelRequest, PaidReplyInvalid, read_json_reply


class ScriptedModel:
    """A `ModelClient` that plays replies back, in order, and remembers what it was asked in `requests`.

    A reply is a text, a mapping (which becomes a JSON text and `data`), a whole `ModelReply`, or an exception, which
    is raised. Texts and mappings use the `usage` and cost the `cost_usd` given here; a `ModelReply` brings its own.

    >>> import asyncio
    >>> from kapelle.models import Message, ModelRequest
    >>> model = ScriptedModel(["Guten Tag", {"steps": 2}], cost_usd=0.01)
    >>> request = ModelRequest(messages=(Message(role="user", content="Hello"),))
    >>> asyncio.run(model.complete(request)).text
    'Guten Tag'
    >>> asyncio.run(model.complete(request)).data
    {'steps': 2}
    >>> model.calls, model.cost_usd
    (2, 0.02)
    """

    def __init__(
        self,
        replies: Iterable[str | ModelReply | Exception | Mapping[str, Any]],
        *,
        model: str = "scripted:model",
        cost_usd: float = 0.0,
        usage: Usage = Usage(input_tokens=10, output_tokens=10, calls=1),
    ) -> None:
        self.model = model
        self.requests: list[ModelRequest] = []
        """What was asked so far, in order."""
        self.cost_usd = 0.0
        """Dollars charged so far, unreadable replies included."""
        self._script = tuple(replies)
        self._cost_per_call_usd = cost_usd
        self._usage_per_call = usage

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self.requests)

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """Play the next reply; with `on_text` word by word.

        Raises:
            AssertionError: the script is used up: the code under test asked more often than the test expected.
            PaidReplyInvalid: the scripted text does not fit the request's `output_schema`.
        """
        self.requests.append(request)
        if self.calls > len(self._script):
            raise AssertionError(
                f"{self.model} was asked {self.calls} times, but its script has {len(self._script)} replies. "
                f"The last message was {request.messages[-1].content[:200]!r}."
            )
        # As with a real call, other tasks get a turn here.
        await asyncio.sleep(0)
        scripted = self._script[self.calls - 1]
        if isinstance(scripted, Exception):
            raise scripted

        reply = self._to_reply(scripted)
        self.cost_usd += reply.cost_usd
        if on_text is not None:
            for piece in _pieces(reply.text):
                on_text(piece)
                await asyncio.sleep(0)
        if request.output_schema is None or reply.tool_calls:
            return reply
        try:
            return dataclasses.replace(reply, data=read_json_reply(reply.text, request.output_schema))
        except ModelReplyInvalid as error:
            raise PaidReplyInvalid(str(error), reply=reply) from error

    def _to_reply(self, scripted: str | ModelReply | Mapping[str, Any]) -> ModelReply:
        if isinstance(scripted, ModelReply):
            return scripted if scripted.model else dataclasses.replace(scripted, model=self.model)
        text = scripted if isinstance(scripted, str) else json.dumps(scripted)
        return ModelReply(
            text=text,
            usage=self._usage_per_call,
            cost_usd=self._cost_per_call_usd,
            model=self.model,
            finish_reason="stop",
            data=None if isinstance(scripted, str) else json.loads(text),
        )


def _pieces(text: str) -> Iterable[str]:
    start = 0
    for index, character in enumerate(text):
        if character == " ":
            yield text[start : index + 1]
            start = index + 1
    if start < len(text):
        yield text[start:]
