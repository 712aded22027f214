"""What the model is sent: the same beginning in every call, and each entry of the loop once, in order, as it was.

Nothing here depends on the time, the run or the folder: two runs of one agent have the same beginning, so providers'
prompt caches hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kapelle.models import Message, ModelReply, ToolCall

from .state import Entry, LoopState, Noted, Returned, Spoken
from .text_protocol import ActionForm, TextError, read_actions

CHARS_PER_TOKEN = 4.0
"""About; for deciding when a conversation has become long. What calls may cost is bounded elsewhere."""
MESSAGE_TOKENS = 8


def render(opening: Sequence[Message], entries: Iterable[Entry], *, as_text: bool) -> tuple[Message, ...]:
    """Return the conversation.

    Args:
        opening: the instructions and the task.
        as_text: calls and results are text, for models without calls of tools.
    """
    messages = list(opening)
    for entry in entries:
        match entry:
            case Spoken(text=text, calls=calls):
                messages.append(Message(role="assistant", content=text, tool_calls=() if as_text else calls))
            case Returned(text=text, name=name, is_error=is_error) if as_text:
                messages.append(Message(role="user", content=f"{'ERROR' if is_error else 'RESULT'} of {name}:\n{text}"))
            case Returned(text=text, call_id=call_id, is_error=is_error):
                told = f"Error: {text}" if is_error else text
                messages.append(Message(role="tool", content=told, tool_call_id=call_id))
            case Noted(text=text):
                messages.append(Message(role="user", content=text))
    return tuple(messages)


def read_reply(
    reply: ModelReply, state: LoopState, forms: Sequence[ActionForm] | None
) -> tuple[tuple[ToolCall, ...], tuple[str, ...]]:
    """Return the calls of a reply, each with an id of its own, and what is wrong with those that are none.

    Servers give two calls the same id, or an empty one: calls are told apart by their place.

    Args:
        forms: how the text protocol writes the tools; None where the model calls them natively.
    """
    if forms is None:
        taken = {call.call_id for entry in state.entries if isinstance(entry, Spoken) for call in entry.calls}
        calls = []
        for place, call in enumerate(reply.tool_calls):
            own = call.call_id
            while not own or own in taken:
                own = f"{own or 'call'}-{state.step}-{place}"
            taken.add(own)
            calls.append(replace(call, call_id=own))
        return tuple(calls), ()
    found = read_actions(reply.text, forms).actions
    wrong = tuple(one.message for one in found if isinstance(one, TextError))
    right = [one for one in found if not isinstance(one, TextError)]
    return tuple(
        ToolCall(call_id=f"action-{state.step}-{place}", name=one.tool, arguments=one.arguments)
        for place, one in enumerate(right)
    ), wrong


def estimate_tokens(messages: Iterable[Message]) -> int:
    """Return about how many tokens messages have."""
    total = 0.0
    for message in messages:
        total += len(message.content) / CHARS_PER_TOKEN + MESSAGE_TOKENS
        total += sum(len(str(call.arguments)) / CHARS_PER_TOKEN + MESSAGE_TOKENS for call in message.tool_calls)
    return int(total)


def find_cut(entries: Sequence[Entry], keep_tokens: float) -> int:
    """Return how many entries a compaction takes away, so that about `keep_tokens` stay.

    It cuts before a reply of the model, so that each result follows its own call.
    """
    kept, cut = 0.0, len(entries)
    for place in range(len(entries) - 1, -1, -1):
        kept += estimate_tokens(render((), [entries[place]], as_text=False))
        if kept > keep_tokens and cut < len(entries):
            break
        if isinstance(entries[place], Spoken):
            cut = place
    return cut if cut < len(entries) else 0
