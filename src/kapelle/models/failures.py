"""Turns what a provider's library raises into kapelle's errors: may it be tried again, and what is the way out?

Decides only; it neither waits nor retries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from kapelle.errors import (
    InvalidInput,
    KapelleError,
    ModelRefused,
    ModelReplyInvalid,
    ModelTimeout,
    ModelUnavailable,
    TryAgain,
)
from kapelle.redaction import hide_secrets, scrub

_TRANSIENT_STATUSES = frozenset({408, 409, 425, 429})
"""Beside 5xx: timeout, conflict (OpenAI's lock timeout), too early, too many. The list is that of the OpenAI SDK."""

_LONGEST_BODY = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One failed attempt: the error it ends in, unless it may be tried again and then succeeds."""

    error: KapelleError
    may_retry: bool = False
    retry_after_s: float | None = None
    """How long the provider asks to wait."""


def explain_failure(model: str, error: Exception) -> Failure:
    """Return what an exception of a call to `model` means. Every exception means something: none is swallowed.

    Servers quote in their errors what they were sent, the key too. It is hidden before anything is cut off, and in the
    exception itself, which stays the cause of the error that is raised.
    """
    import httpx2
    from pydantic_ai import exceptions as theirs

    scrub(error)
    words = f"{model}: {_describe(error)}"
    if isinstance(error, KapelleError):
        return Failure(error=error, may_retry=isinstance(error, TryAgain))
    if isinstance(error, theirs.ModelTimeoutError) and error.phase not in ("connect", "pool"):
        return Failure(error=ModelTimeout(f"{words} Give it more time, or ask for less."))
    if isinstance(error, theirs.ModelRequestTimeout):
        return Failure(error=ModelTimeout(f"{words} Give it more time, or ask for less."))
    if isinstance(error, theirs.ModelConnectionError):
        hint = "Check the base URL, and that the server runs."
        return Failure(error=ModelUnavailable(f"{words} {hint}"), may_retry=True)
    if isinstance(error, httpx2.TimeoutException):
        return Failure(error=ModelTimeout(f"{words} Give it more time, or ask for less."))
    if isinstance(error, httpx2.TransportError):
        return Failure(error=ModelUnavailable(f"{words} The connection broke off."), may_retry=True)
    if isinstance(error, theirs.ModelAPIError):
        return _explain_api_error(words, error)
    if isinstance(error, theirs.ContentFilterError):
        return Failure(error=ModelRefused(f"{words} The provider's policy stopped the reply. Reword the request."))
    if isinstance(error, theirs.UserError):
        return Failure(error=InvalidInput(words))
    # What is left is the library stumbling over a body that it did not expect.
    return Failure(error=ModelReplyInvalid(f"{words} The provider's reply cannot be read."))


def _explain_api_error(words: str, error: Exception) -> Failure:
    from pydantic_ai import exceptions as theirs

    assert isinstance(error, theirs.ModelAPIError)
    status = error.status_code if isinstance(error, theirs.ModelHTTPError) else None
    if isinstance(error, theirs.ModelQuotaExceededError):
        return Failure(error=ModelRefused(f"{words} The account's credit or quota is used up. Top it up."))
    transient = isinstance(error, theirs.ModelRateLimitError | theirs.ModelUnavailableError | theirs.ModelServerError)
    if transient or (status is not None and (status in _TRANSIENT_STATUSES or status >= 500)):
        busy = ModelUnavailable(f"{words} Try again later.")
        return Failure(error=busy, may_retry=True, retry_after_s=error.retry_after)
    if isinstance(error, theirs.ModelRequestRejectedError) or status is not None:
        return Failure(error=ModelRefused(f"{words} {_way_out(error)}"))
    if isinstance(error.__cause__, json.JSONDecodeError | UnicodeDecodeError):
        return Failure(error=ModelReplyInvalid(words))
    # An error inside a stream, or a stream without an end.
    return Failure(error=ModelUnavailable(f"{words} The reply broke off."), may_retry=True)


def _way_out(error: Exception) -> str:
    from pydantic_ai import exceptions as theirs

    if isinstance(error, theirs.ModelAuthenticationError):
        return "Check the provider's key, and that it may use this model."
    if isinstance(error, theirs.ModelNotFoundError):
        suggestion = error.suggested_model_id if isinstance(error, theirs.ModelHTTPError) else None
        return f"Did you mean {suggestion!r}?" if suggestion else "Check the model's name and the base URL."
    if isinstance(error, theirs.ModelContextWindowExceededError):
        return "The request is too long for this model. Shorten it, or use a model with a larger context."
    return "The provider does not accept this request."


def _describe(error: Exception) -> str:
    from pydantic_ai.exceptions import ModelHTTPError

    if isinstance(error, ModelHTTPError):
        text = f"HTTP {error.status_code}: {_body_text(error.body)}"
    else:
        text = f"{type(error).__name__}: {_shorten(str(error))}" if str(error) else type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _body_text(body: object) -> str:
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    message = body.get("message") if isinstance(body, dict) else body
    return _shorten(str(message if message else body))


def _shorten(text: str) -> str:
    line = " ".join(hide_secrets(text).split())
    return line if len(line) <= _LONGEST_BODY else f"{line[:_LONGEST_BODY]}..."
