"""Sorts failures, once, whoever raised them: what kind is it, may it pass, and how long is one asked to wait?

The executor decides by it whether an attempt is made again, learning whether the agent is to blame. Errors of kapelle
tell it by their class; those of other libraries (openai, anthropic, google, httpx, pydantic-ai, asyncio) by their
status, their headers and the names of their classes, so none of these is loaded here. Decides only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from kapelle.errors import (
    CannotAnswer,
    ContentRefused,
    InvalidInput,
    LimitReached,
    ModelRefused,
    ModelReplyInvalid,
    ModelTimeout,
    QuotaExceeded,
    TryAgain,
)

FailureKind = Literal[
    "cannot_answer", "bad_input", "bug", "provider", "refused", "quota", "content", "reply", "timeout", "budget"
]
"""`cannot_answer`: what was asked is not in what the agent knows. `bad_input`: what it was given is wrong. `provider`:
a service or a worker is overloaded, gone or out of reach. `refused`: a service rejects the call for good (key, model).
`quota`: the account is used up. `content`: declined for what it is about. `reply`: a reply that is empty, cut or cannot
be read. `timeout`: it took too long. `budget`: a limit of the user's. `bug`: everything else that code raises."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What a failure is."""

    kind: FailureKind
    may_pass: bool = False
    """Whether the same call may succeed later."""
    retry_after_s: float | None = None
    """Seconds to wait before, where the other side asked for that."""


def sort_failure(error: BaseException | None) -> Failure:
    """Return what a failure is; None is one of which nothing is known.

    >>> sort_failure(ConnectionResetError()).may_pass
    True
    """
    if isinstance(error, TryAgain):
        kind: FailureKind = "timeout" if isinstance(error, ModelTimeout) else "provider"
        return Failure(kind=kind, may_pass=True, retry_after_s=error.retry_after_s)
    for kind, classes in _KINDS.items():
        if isinstance(error, classes):
            return Failure(kind=kind)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return Failure(kind="timeout", may_pass=True)
    if isinstance(error, ConnectionError):
        return Failure(kind="provider", may_pass=True)
    return Failure(kind="bug")


_KINDS: dict[FailureKind, tuple[type[BaseException], ...]] = {
    "cannot_answer": (CannotAnswer,),
    "quota": (QuotaExceeded,),
    "content": (ContentRefused,),
    "refused": (ModelRefused,),
    "reply": (ModelReplyInvalid,),
    "budget": (LimitReached,),
    "bad_input": (InvalidInput,),
}
"""The first that fits counts."""
