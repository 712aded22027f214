"""Takes a reply for an answer, or says why it is none: declined, broken off, cut, empty, or not what was asked for.

Whatever the reason, the reply is paid, and each of these errors says what it cost. Asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kapelle.errors import ModelReplyInvalid, ModelUnavailable

from .client import ModelReply, ModelRequest, PaidRefusal, PaidReplyCut, PaidReplyInvalid
from .finish_reasons import read_ending
from .reply_schema import read_json_reply
from .thoughts import ThoughtReader

_SHOWN_WORDS = 200
_CUT = "It was cut off: raise max_output_tokens, or ask for less."


def check_reply(reply: ModelReply, request: ModelRequest, *, details: Mapping[str, Any] | None = None) -> ModelReply:
    """Return the reply as the answer to the request: without thoughts, and with its `data` where a schema was given.

    Args:
        reply: As the provider sent it.
        details: What else the provider said: its own `finish_reason`, and the words of a `refusal`.

    Raises:
        PaidRefusal: the model declined, or a policy withheld the reply or its rest.
        ModelUnavailable: the provider broke off, as it says itself.
        PaidReplyCut: the limit of tokens was reached before the reply was whole.
        PaidReplyInvalid: the reply is empty, is nothing but thoughts, or does not fit the schema.
        InvalidInput: the schema is malformed.
    """
    details = details or {}
    thoughts = ThoughtReader(holds_back=True)
    reply = replace(reply, text=thoughts.take(reply.text) + thoughts.finish())
    ending = read_ending(reply.finish_reason, details)
    if ending == "withheld":
        words = str(details.get("refusal") or "")
        said = f" It said: {words[:_SHOWN_WORDS]!r}." if words else ""
        what = f"{reply.model} declined by the provider's policy.{said} Reword the request."
        raise PaidRefusal(what, reply=reply, words=words)
    if ending == "broken":
        why = str(details.get("finish_reason") or reply.finish_reason)
        raise ModelUnavailable(
            f"{reply.model}: the provider ended the reply with {why[:40]!r} before it was whole.",
            cost_usd=reply.cost_usd,
            usage=reply.usage,
            sent=True,
        )
    try:
        if not reply.text.strip() and not reply.tool_calls:
            raise ModelReplyInvalid(
                "The model thought, and answered nothing." if thoughts.thought else "The model's reply is empty."
            )
        if request.output_schema is not None and not reply.tool_calls:
            # What is whole and fits is not cut, whatever the server says.
            return replace(reply, data=read_json_reply(reply.text, request.output_schema))
    except ModelReplyInvalid as error:
        raise invalid_reply(error, reply, details=details) from error
    if ending == "cut":
        raise PaidReplyCut(f"{reply.model}: The reply ends before it is whole. {_CUT}", reply=reply)
    return reply


def invalid_reply(
    error: ModelReplyInvalid, reply: ModelReply, *, details: Mapping[str, Any] | None = None
) -> Exception:
    """Return the error of a reply that is paid and cannot be read, which may be because it was cut."""
    if read_ending(reply.finish_reason, details) == "cut":
        return PaidReplyCut(f"{reply.model}: {error} {_CUT}", reply=reply)
    return PaidReplyInvalid(f"{reply.model}: {error}", reply=reply)
