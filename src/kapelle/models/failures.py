"""Turns what a provider's library raises into kapelle's errors: what happened, what is the way out, who may bill it?

What kind of failure it is, and whether it may pass, `kapelle.failures` decides. This neither waits nor retries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from kapelle.errors import (
    ContentRefused,
    InvalidInput,
    KapelleError,
    ModelRefused,
    ModelReplyInvalid,
    ModelTimeout,
    ModelUnavailable,
    QuotaExceeded,
)
from kapelle.failures import FailureKind, sort_failure
from kapelle.redaction import hide_secrets, scrub

_LONGEST_BODY = 300

_ERRORS: Mapping[FailureKind, Callable[[str], KapelleError]] = MappingProxyType(
    {
        "timeout": ModelTimeout,
        "provider": ModelUnavailable,
        "refused": ModelRefused,
        "quota": QuotaExceeded,
        "content": ContentRefused,
        "reply": ModelReplyInvalid,
        "bad_input": InvalidInput,
    }
)

_OVER_CONTEXT = re.compile(r"\b(?:exceed\w*|longer than|maximum)\b.{0,80}\bcontext\b", re.IGNORECASE)
"""In the words of llama.cpp, vLLM, SGLang and Ollama."""

_NEVER_SENT = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError", "InvalidURL"}
)
"""Of httpx and its like: raised before the request has left."""


def explain_failure(model: str, error: Exception) -> KapelleError:
    """Return the error that an exception of a call to `model` ends in. Every exception means something.

    It says whether the provider may bill the call (`sent`), and how long it asks to wait.

    Servers quote in their errors what they were sent, the key too. It is hidden before anything is cut off, and in the
    exception itself, which stays the cause of the error that is raised.
    """
    scrub(error)
    if isinstance(error, KapelleError):
        return error
    failure = sort_failure(error)
    words = f"{model}: {_describe(error)}"
    if failure.kind == "provider" and not failure.may_pass:
        explained: KapelleError = ModelRefused(f"{words} The server cannot do this.")
    elif failure.kind == "timeout" and not _may_be_billed(error):
        # It was not the model that took too long: there was no way to it, or its provider gave up.
        explained = ModelUnavailable(f"{words} {_way_out('provider', error)}")
    else:
        # What is left is the library stumbling over a body that it did not expect.
        kind = failure.kind if failure.kind in _ERRORS else "reply"
        explained = _ERRORS[kind](f"{words} {_way_out(kind, error)}".rstrip())
    explained.sent = _may_be_billed(error)
    explained.retry_after_s = failure.retry_after_s
    return explained


def _may_be_billed(error: Exception) -> bool:
    """Whether the request reached somebody who may bill it. A provider that refuses by a status bills nothing."""
    from pydantic_ai import exceptions as theirs

    if isinstance(error, theirs.UserError):
        return False
    if isinstance(error, theirs.ModelConnectionError):
        return error.phase not in ("connect", "pool")
    if isinstance(error, theirs.ModelAPIError):
        return error.in_stream or not _says_status(error)
    link: BaseException | None = error
    while link is not None:
        if any(kind.__name__ in _NEVER_SENT for kind in type(link).__mro__):
            return False
        link = link.__cause__
    return True


def _says_status(error: Exception) -> bool:
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and status >= 400


def _way_out(kind: FailureKind, error: Exception) -> str:
    from pydantic_ai import exceptions as theirs

    if kind == "timeout":
        return "Give it more time, or ask for less."
    if kind == "quota":
        return "The account's credit or quota is used up. Top it up."
    if kind == "content":
        return "The provider's policy stopped the reply. Reword the request."
    if kind == "reply":
        return "The provider's reply cannot be read."
    if kind == "bad_input":
        return ""
    if kind == "provider":
        if _says_status(error):
            return "Try again later."
        if _may_be_billed(error):
            return "The reply broke off."
        return "Check the base URL, and that the server runs."
    if isinstance(error, theirs.ModelAuthenticationError):
        return "Check the provider's key, and that it may use this model."
    if isinstance(error, theirs.ModelNotFoundError):
        suggestion = error.suggested_model_id if isinstance(error, theirs.ModelHTTPError) else None
        return f"Did you mean {suggestion!r}?" if suggestion else "Check the model's name and the base URL."
    if isinstance(error, theirs.ModelContextWindowExceededError) or _is_over_context(error):
        return "The request is too long for this model. Shorten it, or use a larger context: another model or setting."
    return "The provider does not accept this request."


def _is_over_context(error: Exception) -> bool:
    """Whether a server refused a prompt for its length. Those on one's own machine have codes of their own, or none."""
    from pydantic_ai.exceptions import ModelHTTPError

    is_refused = isinstance(error, ModelHTTPError) and error.status_code in (400, 413)
    return is_refused and _OVER_CONTEXT.search(_body_text(getattr(error, "body", ""))) is not None


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
