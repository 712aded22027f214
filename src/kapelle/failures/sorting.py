"""Sorts failures, once, whoever raised them: what kind is it, may it pass, and how long is one asked to wait?

The executor decides by it whether an attempt is made again, learning whether the agent is to blame. Errors of kapelle
tell it by their class; those of other libraries (openai, anthropic, google, httpx, pydantic-ai, asyncio, and the HTTP
clients that people use) by their status, their headers, the provider's own codes, and the names of their classes, so
none of these is loaded here. What an error does not tell, the one it was raised from may. Decides only.

An error is somebody's own object: every look at it may raise, and none of that leaves this file.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Any, Literal

from kapelle.errors import (
    AgentFailed,
    CannotAnswer,
    ContentRefused,
    InvalidInput,
    KapelleError,
    LimitReached,
    ModelRefused,
    ModelReplyInvalid,
    ModelTimeout,
    QuotaExceeded,
    TryAgain,
)

from .error_parts import (
    MAX_MEMBERS,
    asked_wait_s,
    bounded,
    chain_of,
    class_names,
    find_codes,
    find_headers,
    find_status,
    pairs_of,
    text_of,
)

FailureKind = Literal[
    "cannot_answer",
    "failed",
    "bad_input",
    "bug",
    "provider",
    "refused",
    "quota",
    "content",
    "reply",
    "timeout",
    "budget",
]
"""`cannot_answer`: what was asked is not in what the agent knows. `failed`: the agent says itself that it could not do
it. `bad_input`: what it was given is wrong. `provider`: a service or a worker is overloaded, gone or out of reach.
`refused`: a service rejects the call for good (key, model). `quota`: the account is used up. `content`: declined for
what it is about. `reply`: a reply that is empty, cut or cannot be read. `timeout`: it took too long. `budget`: a limit
of the user's. `bug`: everything else that code raises."""

_PASSING_STATUSES = frozenset({408, 409, 425, 429})
"""Beside 5xx: timeout, conflict (OpenAI's lock timeout), too early, too many. The list is that of the OpenAI SDK."""

_LASTING_STATUSES = frozenset({501, 505})
"""The 5xx that say what a server cannot do, rather than how it is."""


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
    try:
        return _sort_foreign(error, _Looks())
    except BaseException:  # its class is somebody's own
        return Failure(kind="bug")


def _sort_own(error: KapelleError) -> Failure:
    wait_s = bounded(error.retry_after_s)
    if isinstance(error, TryAgain):
        kind: FailureKind = "timeout" if isinstance(error, ModelTimeout) else "provider"
        return Failure(kind=kind, may_pass=True, retry_after_s=wait_s)
    fitting = (kind for kind, own in LASTING_ERRORS.items() if isinstance(error, own))
    return Failure(kind=next(fitting, "bug"), retry_after_s=wait_s)


class _Looks:
    """How many errors of groups are still looked at: groups that share their members unfold without end."""

    def __init__(self) -> None:
        self.left = MAX_MEMBERS


def _sort_foreign(error: BaseException | None, looks: _Looks) -> Failure:
    vague: Failure | None = None
    for link in chain_of(error):
        if isinstance(link, KapelleError):
            return vague or _sort_own(link)
        if isinstance(link, BaseExceptionGroup):
            return vague or _sort_group(link, looks)
        # A class may say less than the cause that carries the headers.
        wait_s = next((wait for cause in chain_of(link) if (wait := asked_wait_s(cause)) is not None), None)
        found = _by_words(link, asked_to_wait=wait_s is not None) or _by_status(link) or _by_class(link)
        if found is None and vague is not None and isinstance(link, (json.JSONDecodeError, UnicodeDecodeError)):
            return Failure(kind="reply")
        if found is not None:
            return replace(found, retry_after_s=wait_s)
        if vague is None and class_names(link) & _VAGUE:
            vague = replace(_PASSES, retry_after_s=wait_s)
    return vague or Failure(kind="bug")


def _sort_group(group: BaseExceptionGroup[Any], looks: _Looks) -> Failure:
    failures: list[Failure] = []
    for error in group.exceptions:
        if not looks.left:
            failures.append(Failure(kind="bug"))
            break
        looks.left -= 1
        failures.append(_sort_foreign(error, looks))
    # Of models that stand in for each other one is enough; of tasks that belong together each has to end well.
    needs_all = "FallbackExceptionGroup" not in class_names(group)
    wanted = next((f for f in failures if f.may_pass != needs_all), None)
    if wanted is not None and needs_all:
        return wanted
    passing = [failure for failure in failures if failure.may_pass] or failures
    waits = [failure.retry_after_s for failure in passing if failure.retry_after_s is not None]
    return replace(passing[0], retry_after_s=(max(waits) if needs_all else min(waits)) if waits else None)


def _by_words(error: BaseException, *, asked_to_wait: bool) -> Failure | None:
    """What the provider's own code or words say, which is more than its status does: quotas are 429, 403 and 400."""
    status = find_status(error)
    names = class_names(error)
    if status is None and not (names & _WITH_A_BODY):
        return None
    codes = find_codes(error)
    if status == 402 or codes & _QUOTA_CODES:
        return Failure(kind="quota")
    if codes & _CONTENT_CODES:
        return Failure(kind="content")
    words = text_of(error)
    if status is None or 400 <= status < 500:
        if any(phrase in words for phrase in _QUOTA_PHRASES):
            return Failure(kind="quota")
        # Google says these words of limits by the minute too, and then how long to wait.
        if not asked_to_wait and any(phrase in words for phrase in _QUOTA_PHRASES_WITHOUT_A_WAIT):
            return Failure(kind="quota")
        if status != 429 and any(phrase in words for phrase in _CONTENT_PHRASES):
            return Failure(kind="content")
    if status is None and codes & _PASSING_CODES:
        return _PASSES
    return None


def _by_status(error: BaseException) -> Failure | None:
    status = find_status(error)
    if status is None or not 400 <= status < 600:
        return None
    passes = (status in _PASSING_STATUSES or status >= 500) and status not in _LASTING_STATUSES
    # OpenAI and Anthropic say it outright, and their libraries go by it.
    told = dict(pairs_of(find_headers(error))).get("x-should-retry", "").strip().lower()
    if told in ("true", "false"):
        passes = told == "true"
    if not passes:
        return Failure(kind="provider" if status >= 500 or status in _PASSING_STATUSES else "refused")
    return Failure(kind="timeout" if status in (408, 504) else "provider", may_pass=True)


def _by_class(error: BaseException) -> Failure | None:
    names = class_names(error)
    for known, failure in _CLASSES:
        if names & known:
            return failure
    if type(error).__name__ in ("OpenAIError", "AnthropicError"):
        # Nothing more special: raised before anything is sent, for want of a key or for a setting that is wrong.
        return Failure(kind="refused")
    if isinstance(error, TimeoutError):
        return _TAKES_LONG
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(kind="refused")
    if isinstance(error, (ConnectionError, socket.gaierror, ssl.SSLError, asyncio.IncompleteReadError)):
        return _PASSES
    return _PASSES if isinstance(error, OSError) and error.errno in _NETWORK_ERRORS else None


LASTING_ERRORS: dict[FailureKind, type[KapelleError]] = {
    "cannot_answer": CannotAnswer,
    "quota": QuotaExceeded,
    "content": ContentRefused,
    "refused": ModelRefused,
    "reply": ModelReplyInvalid,
    "budget": LimitReached,
    "bad_input": InvalidInput,
    "failed": AgentFailed,
}
"""The first that fits counts."""

_WITH_A_BODY = frozenset({"APIError", "AnthropicError", "ModelAPIError", "GoogleAPICallError", "ClientError"})
"""Errors that carry the provider's words also where no status came with them, as within a stream."""

_QUOTA_CODES = frozenset(
    {
        "insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded",
        "insufficient_balance", "exceeded_current_quota_error", "payment_required", "insufficient_credits",
        "servicequotaexceededexception", "account_suspended", "insufficient_funds",
    }
)  # fmt: skip
_QUOTA_PHRASES = (
    "insufficient_quota", "insufficient quota", "credit balance is too low", "insufficient balance",
    "insufficient credits", "billing hard limit", "billing details are missing", "enable billing",
    "requires more credits",
)  # fmt: skip
_QUOTA_PHRASES_WITHOUT_A_WAIT = ("exceeded your current quota",)

_CONTENT_CODES = frozenset(
    {
        "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "safety", "prohibited_content",
        "moderation_blocked", "content_filtered", "data_inspection_failed", "content_blocked", "policy_violation",
        "image_safety", "blocklist", "recitation", "content_moderation",
    }
)  # fmt: skip
_CONTENT_PHRASES = (
    "content_filter", "content management policy", "content policy", "usage policy", "safety system", "safety filter",
    "blocked by safety", "responsible ai",
)  # fmt: skip

_PASSING_CODES = frozenset(
    {
        "rate_limit_exceeded", "rate_limit_error", "rate_limit", "server_error", "overloaded_error", "api_error",
        "timeout_error", "internal_server_error", "service_unavailable", "unavailable", "overloaded", "internal_error",
        "throttlingexception", "resource_exhausted", "deadline_exceeded", "too_many_requests", "slow_down",
    }
)  # fmt: skip

_NETWORK_ERRORS = frozenset(
    {
        errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.ETIMEDOUT, errno.ECONNREFUSED,
        errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTDOWN, errno.EPIPE, errno.ENOTCONN,
    }
)  # fmt: skip

_PASSES = Failure(kind="provider", may_pass=True)
_TAKES_LONG = Failure(kind="timeout", may_pass=True)

_VAGUE = frozenset({"APIError", "ModelAPIError"})
"""An error inside a stream, or a stream without an end: its cause may tell more, and nothing says that it lasts."""

_CLASSES: tuple[tuple[frozenset[str], Failure], ...] = (
    # What no library should try again comes first: several of these are subclasses of a connection's error.
    (frozenset({"UnsupportedProtocol", "LocalProtocolError", "InvalidURL", "InvalidSchema", "MissingSchema",
                "InvalidHeader", "UserError", "InvalidUrlClientError", "LocationParseError"}),
     Failure(kind="bad_input")),
    (frozenset({"ClientConnectorCertificateError", "CertificateError"}), Failure(kind="refused")),
    (frozenset({"ModelQuotaExceededError"}), Failure(kind="quota")),
    (frozenset({"ContentFilterError", "ContentFilterFinishReasonError", "BlockedPromptException",
                "StopCandidateException"}), Failure(kind="content")),
    (frozenset({"UsageLimitExceeded"}), Failure(kind="budget")),
    (frozenset({"UnexpectedModelBehavior", "APIResponseValidationError", "LengthFinishReasonError", "ToolRetryError",
                "ResponseValidationError", "UnknownApiResponseError", "DecodingError", "ContentDecodingError",
                "TooManyRedirects"}), Failure(kind="reply")),
    (frozenset({"ModelRequestRejectedError", "AuthenticationError", "PermissionDeniedError",
                "BadRequestError", "UnprocessableEntityError", "RequestTooLargeError", "DefaultCredentialsError",
                "RefreshError", "NoCredentialsError"}), Failure(kind="refused")),
    # What took too long.
    (frozenset({"APITimeoutError", "ModelTimeoutError", "ModelRequestTimeout", "RunTimedOut", "TimeoutException",
                "Timeout", "ServerTimeoutError", "DeadlineExceeded", "DeadlineExceededError", "ReadTimeoutError",
                "ConnectTimeoutError", "TimeoutError"}), _TAKES_LONG),
    # What is overloaded, gone, or out of reach.
    (frozenset({"APIConnectionError", "RateLimitError", "InternalServerError", "OverloadedError",
                "ServiceUnavailableError", "ModelConnectionError", "ModelRateLimitError", "ModelUnavailableError",
                "ModelServerError", "ConcurrencyLimitExceeded", "TransportError", "ClientConnectionError",
                "ClientPayloadError", "ChunkedEncodingError", "ConnectionError", "ProtocolError", "MaxRetryError",
                "NewConnectionError", "NameResolutionError", "HTTPClientError", "EndpointConnectionError",
                "IncompleteRead", "RemoteDisconnected", "ResourceExhausted", "ServiceUnavailable", "TooManyRequests",
                "ServerError", "RetryError", "ConnectionClosed", "ConnectionClosedError"}), _PASSES),
)  # fmt: skip
"""By the names of an error's classes; the first line that fits counts."""
