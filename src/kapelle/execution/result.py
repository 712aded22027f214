"""Reads what agents give back. Agents are untrusted: an output may be anything, an error may be of any class."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pydantic_core

from kapelle.agents import AgentResult
from kapelle.errors import AgentFailed, InvalidInput, KapelleError, ModelRefused, ModelUnavailable
from kapelle.ledger import Usage
from kapelle.models import PaidRefusal, PaidReplyInvalid
from kapelle.redaction import hide_known_in, hide_secrets, mentions_known

MAX_REASON_CHARS = 2_000
"""What the ledger keeps of an error's text: some libraries put whole replies into theirs."""
MAX_PLAIN_CHARS = 1_000_000
"""A text up to this length fits whatever JSON makes of its characters, so nobody need measure it."""
MAX_OUTPUT_CHARS = 10_000_000
"""What the ledger keeps of one output. More belongs into a file: every reader of the run would have to hold it."""


def read_result(work: asyncio.Task[AgentResult]) -> tuple[AgentResult | None, str | None]:
    """Return what an ended attempt gave and, if it failed, why; both where a failure was paid for."""
    if work.cancelled():
        return None, "The agent cancelled itself."
    error = work.exception()
    if error is not None:
        return _paid_failure(error), describe_error(error)[:MAX_REASON_CHARS]
    result = work.result()
    if not isinstance(result, AgentResult):
        return None, f"The agent returned {type(result).__name__} instead of an AgentResult."
    output = result.output
    kind = type(output)
    if (kind is str and len(output) <= MAX_PLAIN_CHARS) or kind is bool or output is None:
        return _without_keys(result), None
    try:
        # Plain JSON values only: what cannot be written down cannot be resumed, shown or learned from.
        output = pydantic_core.to_jsonable_python(result.output, inf_nan_mode="strings")
        size = len(text := json.dumps(output))
    except Exception as problem:  # conversion runs code of the output's own classes
        reason = f"The agent's output cannot be written as JSON: {describe_error(problem)}"
        return result, reason[:MAX_REASON_CHARS]
    if size > MAX_OUTPUT_CHARS:
        return result, (
            f"The agent's output has {size:,} characters; at most {MAX_OUTPUT_CHARS:,} are kept. "
            "Write it to a file, and return the file's name."
        )
    return replace(result, output=hide_known_in(output) if mentions_known(text) else output), None


def _without_keys(result: AgentResult) -> AgentResult:
    """Hide known keys here as well as in the ledger, so that later tasks get the same before and after a crash."""
    if isinstance(result.output, str) and mentions_known(result.output):
        return replace(result, output=hide_known_in(result.output))
    return result


def describe_error(error: BaseException) -> str:
    """Return an error as a sentence; errors of agents may be of any class, and even fail to say what they are."""
    try:
        # Hidden before anybody cuts it: of half a key nobody could tell what it is.
        return hide_secrets(str(error) if isinstance(error, KapelleError) else f"{type(error).__name__}: {error}")
    except Exception:
        return f"{type(error).__name__}, which cannot be shown"


def _paid_failure(error: BaseException) -> AgentResult | None:
    """What a failed attempt used, where the agent says so."""
    if isinstance(error, (PaidRefusal, PaidReplyInvalid)):
        return AgentResult(output=None, usage=error.reply.usage, cost_usd=error.reply.cost_usd)
    if isinstance(error, (ModelRefused, ModelUnavailable)):  # the provider did not take the call
        return AgentResult(output=None, cost_usd=0.0)
    if not isinstance(error, AgentFailed) or error.cost_usd is None:
        return None
    try:
        usage = error.usage if isinstance(error.usage, Usage) else Usage()
        return AgentResult(output=None, usage=usage, cost_usd=error.cost_usd)
    except InvalidInput:
        return None
