"""What calls of models cost stays with the error that ends them: paid is paid. Decides nothing about what follows."""

from __future__ import annotations

import copy
from dataclasses import replace

from kapelle.errors import AgentFailed, CallTooDear, KapelleError, ModelTimeout, TryAgain
from kapelle.failures import LASTING_ERRORS, sort_failure
from kapelle.ledger import Usage
from kapelle.redaction import scrub


def add_paid(error: KapelleError, cost_usd: float | None, usage: Usage) -> KapelleError:
    """Return an error like this one that also tells what was paid before it was raised.

    It is a copy: whoever raises the same object twice would be charged for both each time. What the error itself
    reports is added, or stays as it is where it is no figure: who reads it refuses it by its name.

    Args:
        cost_usd: None if it is not known; then all that was set aside is charged.
    """
    reply = getattr(error, "reply", None)
    own_usd, own_usage = (reply.cost_usd, reply.usage) if reply is not None else (error.cost_usd, error.usage)
    told = _copied(error)
    if cost_usd is None:
        told.cost_usd, told.sent = None, True
    elif own_usd is None:
        told.cost_usd = None if told.sent else cost_usd  # where this call may be billed too, all set aside counts
    elif isinstance(own_usd, (int, float)):
        told.cost_usd = cost_usd + own_usd
    if own_usage is None:
        told.usage = usage
    elif isinstance(own_usage, Usage):
        told.usage = usage + own_usage
    if reply is not None:
        changed = replace(reply, usage=told.usage, cost_usd=reply.cost_usd if told.cost_usd is None else told.cost_usd)
        told.reply = changed  # type: ignore[attr-defined]  # it has one
    return told


def as_paid_failure(error: BaseException, cost_usd: float | None, usage: Usage, *, by: str = "") -> KapelleError:
    """Return somebody's own error as one of ours that is sorted as it was and tells what was paid before it.

    Args:
        cost_usd: None if it is not known; then all that was set aside is charged.
        by: Who raised it, in words.
    """
    scrub(error)
    words = f"{by}: " * bool(by) + f"{type(error).__name__}: {_text(error)}".removesuffix(": ")
    failure = sort_failure(error)
    kind: type[KapelleError] = LASTING_ERRORS.get(failure.kind, AgentFailed)
    if failure.may_pass:
        kind = ModelTimeout if failure.kind == "timeout" else TryAgain
    elif failure.kind == "budget":
        kind = CallTooDear
    told = kind(words)
    told.cost_usd, told.usage, told.sent = cost_usd, usage, True if cost_usd is None else None
    told.retry_after_s = failure.retry_after_s
    return told


def _copied(error: KapelleError) -> KapelleError:
    try:
        told = copy.copy(error)
    except Exception:  # a class of somebody's own that cannot be: then the error itself has to tell
        return error
    return told if isinstance(told, type(error)) else error


def _text(error: BaseException) -> str:
    try:
        return str.__str__(str(error))
    except BaseException:  # its class is somebody's own
        return "its text cannot be shown"
