"""How much a model may write in one call, so that the call cannot cost more than was set aside for it.

`max_tokens` is sent with every call. What a call costs at most is then known before it is made: its input, measured on
the dear side, and as much output as the limit lets through. Images and files in the input are not measured.
"""

from __future__ import annotations

from collections.abc import Callable

from kapelle.errors import CallTooDear

OUTPUT_TOKENS = 8_192
"""The limit of one call where no budget limits it. What the larger models of the last years write at least."""
BUDGETED_OUTPUT_TOKENS = 4_096
"""The limit within a budget, and of models that cost nothing: their servers often refuse more than fits beside a prompt
in a context of 8,192 tokens."""
MIN_OUTPUT_TOKENS = 16
"""A call for less is not worth its input. OpenAI's Responses API refuses a lower limit."""
MESSAGE_TOKENS = 16
"""What a message takes beside its text, on the dear side."""


def usual_limit(own: int | None, *, is_budgeted: bool, is_free: bool) -> int:
    """Return the limit of an agent's calls: its own, or what is usual."""
    if own is not None:
        return own
    return BUDGETED_OUTPUT_TOKENS if is_budgeted or is_free else OUTPUT_TOKENS


def limit_within(
    left_usd: float | None, usual: int, *, task_id: str, model: str, afford: Callable[[float, int], int] | None
) -> int:
    """Return the limit of the next call: the usual one, or what is left of the dollars pays for.

    Args:
        left_usd: None where no budget limits it.
        afford: Returns how many output tokens, at most so many, so many dollars pay for; None if nobody knows.

    Raises:
        CallTooDear: they do not pay for the input and a few words.
    """
    if left_usd is None or afford is None:
        return usual
    least = min(usual, MIN_OUTPUT_TOKENS)
    tokens = afford(max(0.0, left_usd), usual)
    if tokens < least:
        raise CallTooDear(
            f"${max(0.0, left_usd):.4g} are set aside for task {task_id!r}, and do not pay for its input and an answer "
            f"by {model!r}. Raise the budget, or shorten what the task is given.",
            cost_usd=0.0,
            sent=False,
        )
    return tokens
