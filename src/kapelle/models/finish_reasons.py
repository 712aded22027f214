"""Reads why a reply ended, in the words of every server there is: is it whole, cut, withheld, or broken off?

pydantic-ai knows the words of the great providers. Small servers and gateways have their own, and a word that nobody
knows must not make a cut reply a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

Ending = Literal["whole", "cut", "withheld", "broken"]
"""`cut`: its limit of tokens was reached. `withheld`: by a policy, or the model declined. `broken`: the server failed.
"""

_WHOLE = frozenset(
    {
        "stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "stop_string", "complete", "completed",
        "tool_call", "tool_calls", "tool_use", "function_call", "done", "end", "finished", "end_of_text", "end_of_turn",
        "finish_reason_stop", "pause_turn", "success",
    }
)  # fmt: skip

# Looked for within a word that is not among those above; the first line that fits counts.
_PARTS: tuple[tuple[Ending, tuple[str, ...]], ...] = (
    ("withheld", ("filter", "safety", "polic", "prohibit", "refus", "guard", "moderat", "recit", "blocklist", "spii",
                  "sensitive", "blocked")),
    ("cut", ("length", "token", "limit", "max", "trunc", "context", "cut")),
    ("broken", ("error", "fail", "abort", "cancel", "time", "interrupt", "resource", "network", "disconnect", "load",
                "malformed", "unexpected", "incomplete", "unavailable", "preempt", "kill")),
)  # fmt: skip


def read_ending(finish_reason: str | None, details: Mapping[str, Any] | None = None) -> Ending:
    """Return how a reply ended.

    Args:
        finish_reason: As pydantic-ai has it; None where it does not know the provider's word, or there was none.
        details: What else the provider said: its own word, and the words of a refusal.

    >>> read_ending("stop"), read_ending(None), read_ending(None, {"finish_reason": "MAX_TOKENS"})
    ('whole', 'whole', 'cut')
    """
    details = details or {}
    if finish_reason == "content_filter" or details.get("refusal"):
        return "withheld"
    if finish_reason == "length":
        return "cut"
    own = details.get("finish_reason")
    word = re.sub(r"\W", "_", own[:100].strip().lower()) if isinstance(own, str) else ""
    if word and word not in _WHOLE:
        for ending, parts in _PARTS:
            if any(part in word for part in parts):
                return ending
    return "broken" if finish_reason == "error" else "whole"
