"""Every failure is sorted in one place: what kind it is, whether it may pass, and how long one is asked to wait.

Libraries that are not installed are stood in for by classes of the same names and attributes, built here.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle import errors
from kapelle.failures.error_parts import LONGEST_WAIT_S, read_retry_after
from kapelle.failures.sorting import Failure, sort_failure
from kapelle.models import ModelReply, PaidRefusal, PaidReplyCut, PaidReplyInvalid

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
REPLY = ModelReply(text="x", cost_usd=0.01)


def make(path: str, *, message: str = "it failed", base: type[Exception] = Exception, **attributes: Any) -> Exception:
    """Return an error of a class with these bases' names, the last one the class itself."""
    kind: type[Exception] = base
    for name in path.split("/"):
        kind = type(name, (kind,), {})
    error = kind(message)
    vars(error).update(attributes)
    return error


class Response:
    """What errors of HTTP clients carry. Like that of `requests`, it is false where its status is an error."""

    def __init__(self, status_code: int, headers: Any = None) -> None:
        self.status_code = status_code
        self.headers = {} if headers is None else headers

    def __bool__(self) -> bool:
        return self.status_code < 400


def openai_error(status: int, *, code: str | None = None, headers: Any = None, message: str = "no") -> Exception:
    import httpx2
    import openai

    response = httpx2.Response(status, headers=headers, request=httpx2.Request("POST", "https://api.example.com"))
    kinds: dict[int, type[openai.APIStatusError]] = {429: openai.RateLimitError, 401: openai.AuthenticationError}
    kind = kinds.get(status, openai.InternalServerError if status >= 500 else openai.BadRequestError)
    return kind(message, response=response, body={"message": message, "code": code})


def anthropic_error(status: int, *, type_: str = "error", headers: Any = None, message: str = "no") -> Exception:
    return make(
        "AnthropicError/APIError/APIStatusError",
        message=message,
        status_code=status,
        response=Response(status, headers),
        body={"type": "error", "error": {"type": type_, "message": message}},
    )


def google_error(status: int, *, word: str = "", headers: Any = None, details: Any = ()) -> Exception:
    return make(
        f"APIError/{'ServerError' if status >= 500 else 'ClientError'}",
        code=status,
        status=word,
        response=Response(status, headers),
        details={"error": {"code": status, "status": word, "details": list(details)}},
    )


def httpx_error(status: int, *, headers: Any = None) -> Exception:
    import httpx2

    request = httpx2.Request("POST", "https://api.example.com")
    return httpx2.HTTPStatusError(
        "no", request=request, response=httpx2.Response(status, headers=headers, request=request)
    )


def requests_error(status: int, *, headers: Any = None) -> Exception:
    return make("RequestException/HTTPError", base=OSError, response=Response(status, headers))


def aiohttp_error(status: int, *, headers: Any = None) -> Exception:
    return make("ClientError/ClientResponseError", status=status, headers=headers or {})


def urllib_error(status: int, *, headers: Any = None) -> Exception:
    return make("URLError/HTTPError", base=OSError, code=status, headers=headers or {})


def pydantic_ai_error(status: int, *, headers: Any = None) -> Exception:
    from pydantic_ai.exceptions import ModelHTTPError

    return ModelHTTPError(status, "m", headers=headers)


def botocore_error(status: int, *, headers: Any = None) -> Exception:
    return make("ClientError", response={"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": "x"}})


WITH_A_STATUS: dict[str, Callable[..., Exception]] = {
    "openai": openai_error,
    "anthropic": anthropic_error,
    "google": google_error,
    "httpx2": httpx_error,
    "requests": requests_error,
    "aiohttp": aiohttp_error,
    "urllib": urllib_error,
    "pydantic-ai": pydantic_ai_error,
    "botocore": botocore_error,
}
STATUSES = {
    400: "refused", 401: "refused", 402: "quota", 403: "refused", 404: "refused", 413: "refused", 422: "refused",
    408: "passes", 409: "passes", 425: "passes", 429: "passes", 500: "passes", 502: "passes", 503: "passes",
    504: "passes", 529: "passes", 501: "lasts",
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("library", WITH_A_STATUS)
def test_a_status_means_the_same_whoever_raises_it(library: str, status: int) -> None:
    failure = sort_failure(WITH_A_STATUS[library](status))

    assert failure.may_pass == (STATUSES[status] == "passes")
    if STATUSES[status] in ("refused", "quota"):
        assert failure.kind == STATUSES[status]
    else:
        assert failure.kind in ("provider", "timeout")


WAITS: dict[str, tuple[Any, float | None]] = {
    "seconds": ({"Retry-After": "90"}, 90.0),
    "a part of a second": ({"retry-after": "0.5"}, 0.5),
    "at once": ({"Retry-After": "0"}, 0.0),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds before seconds": ({"Retry-After": "2", "Retry-After-Ms": "1500"}, 1.5),
    "milliseconds that are none": ({"Retry-After": "2", "Retry-After-Ms": "soon"}, 2.0),
    "a date": ({"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
    "a date elsewhere": ({"Retry-After": "Mon, 30 Nov 2026 13:01:00 +0100"}, 60.0),
    "a date without a zone": ({"Retry-After": "Mon Nov 30 12:01:00 2026"}, 60.0),
    "a date that is over": ({"Retry-After": "Mon, 30 Nov 2026 11:00:00 GMT"}, None),
    "longer than a day": ({"Retry-After": "9" * 20}, LONGEST_WAIT_S),
    "a date in a hundred years": ({"Retry-After": "Mon, 30 Nov 2126 11:00:00 GMT"}, LONGEST_WAIT_S),
    "negative": ({"Retry-After": "-5"}, None),
    "not finite": ({"Retry-After": "inf"}, None),
    "no number": ({"Retry-After": "NaN"}, None),
    "words": ({"Retry-After": "soon"}, None),
    "an odd date": ({"Retry-After": "Mon, 99 Nov 2026 99:99:99 GMT"}, None),
    "nothing": ({"Retry-After": ""}, None),
    "very much": ({"Retry-After": "1" * 100_000}, None),
    "bytes": ([(b"Retry-After", b"90")], 90.0),
    "pairs": ([("Content-Type", "x"), ("RETRY-AFTER", "90")], 90.0),
    "no headers": (None, None),
    "no headers at all": (3, None),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_that_is_asked_for_is_read(name: str) -> None:
    headers, right = WAITS[name]

    assert read_retry_after(headers, now=NOW) == right


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("library", [name for name in WITH_A_STATUS if name != "botocore"])
def test_a_wait_is_found_in_every_librarys_errors(library: str, status: int) -> None:
    error = WITH_A_STATUS[library](status, headers={"Retry-After": "90"})

    assert sort_failure(error) == Failure(kind="provider", may_pass=True, retry_after_s=90.0)


def test_google_asks_in_the_body() -> None:
    asked = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}

    error = google_error(429, word="RESOURCE_EXHAUSTED", details=[{"@type": "other"}, "odd", asked])

    assert sort_failure(error).retry_after_s == 37.5


def test_what_a_provider_says_of_trying_again_goes_before_its_status() -> None:
    assert not sort_failure(openai_error(429, headers={"x-should-retry": "false"})).may_pass
    assert sort_failure(openai_error(400, headers={"x-should-retry": "true"})).may_pass


def raised_from(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


PASSES = Failure(kind="provider", may_pass=True)
SLOW = Failure(kind="timeout", may_pass=True)
OTHERS: dict[str, tuple[BaseException, Failure]] = {
    # Quota, whatever the status.
    "openai, quota": (openai_error(429, code="insufficient_quota"), Failure(kind="quota")),
    "openai, quota in words": (
        openai_error(429, message="You exceeded your current quota, please check your plan and billing details."),
        Failure(kind="quota"),
    ),
    "anthropic, billing": (anthropic_error(403, type_="billing_error"), Failure(kind="quota")),
    "anthropic, credit": (
        anthropic_error(400, type_="invalid_request_error", message="Your credit balance is too low."),
        Failure(kind="quota"),
    ),
    "google, a limit by the minute": (
        google_error(429, word="RESOURCE_EXHAUSTED", details=[{"retryDelay": "7s"}]),
        Failure(kind="provider", may_pass=True, retry_after_s=7.0),
    ),
    "botocore, quota": (
        make("ClientError", response={"Error": {"Code": "ServiceQuotaExceededException"}}),
        Failure(kind="quota"),
    ),
    # Content.
    "openai, filter": (openai_error(400, code="content_filter"), Failure(kind="content")),
    "openai, policy": (openai_error(400, code="content_policy_violation"), Failure(kind="content")),
    "azure, filter": (
        make("APIError/BadRequestError", status_code=400,
             body={"error": {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
        Failure(kind="content"),
    ),
    "google, safety": (make("BlockedPromptException"), Failure(kind="content")),
    "openai's own helper, filter": (make("OpenAIError/ContentFilterFinishReasonError"), Failure(kind="content")),
    "openai's own helper, cut": (make("OpenAIError/LengthFinishReasonError"), Failure(kind="reply")),
    # Without a status.
    "openai, timeout": (make("OpenAIError/APIError/APIConnectionError/APITimeoutError", request=None), SLOW),
    "openai, connection": (make("OpenAIError/APIError/APIConnectionError", request=None), PASSES),
    "openai, no key": (make("OpenAIError"), Failure(kind="refused")),
    "openai, within a stream": (make("OpenAIError/APIError", body={"code": "server_error"}), PASSES),
    "openai, quota within a stream": (
        make("OpenAIError/APIError", body={"code": "insufficient_quota"}), Failure(kind="quota")),
    "anthropic, overloaded within a stream": (
        make("AnthropicError/APIError", body={"error": {"type": "overloaded_error"}}), PASSES),
    "anthropic, connection": (make("AnthropicError/APIError/APIConnectionError"), PASSES),
    "google, core": (make("GoogleAPIError/GoogleAPICallError/ServiceUnavailable", code=503), PASSES),
    "google, core, too late": (make("GoogleAPIError/GoogleAPICallError/DeadlineExceeded", code=504), SLOW),
    "httpx, timeout": (make("HTTPError/RequestError/TransportError/TimeoutException/ReadTimeout"), SLOW),
    "httpx, connection": (make("HTTPError/RequestError/TransportError/NetworkError/ConnectError"), PASSES),
    "httpx, broken off": (make("HTTPError/RequestError/TransportError/ProtocolError/RemoteProtocolError"), PASSES),
    "httpx, no protocol": (
        make("HTTPError/RequestError/TransportError/UnsupportedProtocol"), Failure(kind="bad_input")),
    "requests, connection": (make("RequestException/ConnectionError", base=OSError), PASSES),
    "requests, timeout": (make("RequestException/ConnectionError/ConnectTimeout/Timeout", base=OSError), SLOW),
    "requests, no address": (make("RequestException/InvalidURL", base=ValueError), Failure(kind="bad_input")),
    "aiohttp, connection": (make("ClientError/ClientConnectionError/ServerDisconnectedError"), PASSES),
    "urllib, in its reason": (make("URLError", base=OSError, reason=socket.gaierror(-2, "no such name")), PASSES),
    # Python's own.
    "timeout": (TimeoutError("slow"), SLOW),
    "connection reset": (ConnectionResetError(), PASSES),
    "broken pipe": (BrokenPipeError(), PASSES),
    "no such name": (socket.gaierror(-3, "try again"), PASSES),
    "no way there": (OSError(errno.EHOSTUNREACH, "no route"), PASSES),
    "a stream that ended": (asyncio.IncompleteReadError(b"", 4), PASSES),
    "a certificate": (ssl.SSLCertVerificationError("self-signed"), Failure(kind="refused")),
    "a file that is missing": (FileNotFoundError(errno.ENOENT, "no file"), Failure(kind="bug")),
    "a full disk": (OSError(errno.ENOSPC, "full"), Failure(kind="bug")),
    "a value": (ValueError("no"), Failure(kind="bug")),
    "a key": (KeyError("429"), Failure(kind="bug")),
    "words of another": (RuntimeError("HTTP 429: insufficient_quota, content_filter"), Failure(kind="bug")),
    "json": (json.JSONDecodeError("no", "{", 0), Failure(kind="bug")),
    # pydantic-ai.
    "pydantic-ai, connection": (make("AgentRunError/ModelAPIError/ModelConnectionError"), PASSES),
    "pydantic-ai, timeout": (make("AgentRunError/ModelAPIError/ModelConnectionError/ModelTimeoutError"), SLOW),
    "pydantic-ai, quota": (make("AgentRunError/ModelAPIError/ModelQuotaExceededError"), Failure(kind="quota")),
    "pydantic-ai, busy": (
        make("AgentRunError/ModelAPIError/ModelRateLimitError", retry_after=12.0),
        Failure(kind="provider", may_pass=True, retry_after_s=12.0),
    ),
    "pydantic-ai, no reply": (make("AgentRunError/UnexpectedModelBehavior"), Failure(kind="reply")),
    "pydantic-ai, filter": (make("AgentRunError/UnexpectedModelBehavior/ContentFilterError"), Failure(kind="content")),
    "pydantic-ai, limit": (make("AgentRunError/UsageLimitExceeded"), Failure(kind="budget")),
    "pydantic-ai, misused": (make("UserError", base=RuntimeError), Failure(kind="bad_input")),
    "pydantic-ai, body": (
        raised_from(make("AgentRunError/ModelAPIError"), json.JSONDecodeError("no", "{", 0)), Failure(kind="reply")),
    # Wrapped.
    "wrapped by a user": (
        raised_from(RuntimeError("my call failed"), openai_error(429, headers={"Retry-After": "3"})),
        Failure(kind="provider", may_pass=True, retry_after_s=3.0),
    ),
    "wrapped twice": (raised_from(ValueError("a"), raised_from(KeyError("b"), openai_error(401))),
                      Failure(kind="refused")),
    "wrapped, and the cause knows the wait": (
        raised_from(make("ModelAPIError/ModelRateLimitError"), openai_error(429, headers={"retry-after-ms": "250"})),
        Failure(kind="provider", may_pass=True, retry_after_s=0.25),
    ),
    "wrapping one of kapelle's": (
        raised_from(RuntimeError("x"), errors.ModelUnavailable("busy", retry_after_s=4)),
        Failure(kind="provider", may_pass=True, retry_after_s=4.0),
    ),
    # Groups.
    "all of a group pass": (ExceptionGroup("g", [ConnectionError(), TimeoutError()]), PASSES),
    "one of a group does not": (ExceptionGroup("g", [ConnectionError(), ValueError()]), Failure(kind="bug")),
    "one of several models is enough": (
        type("FallbackExceptionGroup", (ExceptionGroup,), {})("g", [openai_error(401), openai_error(503)]), PASSES),
    # kapelle's.
    "kapelle, busy": (errors.ModelUnavailable("x", retry_after_s=90),
                      Failure(kind="provider", may_pass=True, retry_after_s=90.0)),
    "kapelle, slow": (errors.ModelTimeout("x"), SLOW),
    "kapelle, worker": (errors.WorkerLost("x"), PASSES),
    "kapelle, refused": (errors.ModelRefused("x"), Failure(kind="refused")),
    "kapelle, quota": (errors.QuotaExceeded("x"), Failure(kind="quota")),
    "kapelle, content": (errors.ContentRefused("x"), Failure(kind="content")),
    "kapelle, refusal": (PaidRefusal("x", reply=REPLY), Failure(kind="content")),
    "kapelle, reply": (PaidReplyInvalid("x", reply=REPLY), Failure(kind="reply")),
    "kapelle, cut": (PaidReplyCut("x", reply=REPLY), Failure(kind="reply")),
    "kapelle, cannot answer": (errors.CannotAnswer("x"), Failure(kind="cannot_answer")),
    "kapelle, budget": (errors.BudgetExceeded("dollars", wanted=1, left=0), Failure(kind="budget")),
    "kapelle, input": (errors.InvalidInput("x"), Failure(kind="bad_input")),
    "kapelle, failed for a reason that could pass": (
        raised_from(errors.AgentFailed("I gave up"), openai_error(503)), Failure(kind="failed")),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_failure_is_sorted(name: str) -> None:
    error, right = OTHERS[name]

    assert sort_failure(error) == right


class Hostile(Exception):
    """Raises at every look."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} for you")

    def __str__(self) -> str:
        raise RuntimeError("no words for you")


class Endless(Exception):
    """Is its own cause."""

    @property
    def reason(self) -> BaseException:
        return self


def test_no_error_can_keep_itself_from_being_sorted() -> None:
    loop = ValueError("a")
    loop.__cause__ = RuntimeError("b")
    loop.__cause__.__cause__ = loop
    deep: Exception = ValueError("deep")
    for _ in range(2_000):
        deep = ExceptionGroup("g", [deep])
    odd_headers = make("APIError", status_code=429, headers={"Retry-After": object(), 3: None})

    assert sort_failure(Hostile()) == Failure(kind="bug")
    assert sort_failure(Endless()) == Failure(kind="bug")
    assert sort_failure(loop) == Failure(kind="bug")
    assert sort_failure(deep).kind == "bug"
    assert sort_failure(odd_headers) == PASSES
    assert sort_failure(make("APIError", status_code=True, code=10**9, body={"error": ["x"]})).kind == "provider"
    assert sort_failure(None) == Failure(kind="bug")


VALUES = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=8), st.booleans(), st.binary(max_size=4))
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["status_code", "code", "status", "headers", "response", "body", "details", "type", "retry_after"]),
    st.one_of(VALUES, st.dictionaries(st.sampled_from(["error", "code", "retry-after", "details"]), VALUES)),
)


@given(name=st.sampled_from(["APIError", "ModelAPIError", "Timeout", "Mine", "OpenAIError"]), attributes=ATTRIBUTES)
def test_whatever_an_error_carries_it_is_sorted_and_no_wait_is_odd(name: str, attributes: dict[str, Any]) -> None:
    failure = sort_failure(make(name, **attributes))

    assert failure.retry_after_s is None or 0 <= failure.retry_after_s <= LONGEST_WAIT_S
    assert not (failure.may_pass and failure.kind in ("quota", "content", "refused", "bad_input", "bug"))


def test_groups_that_share_their_members_are_sorted_in_no_time() -> None:
    group: Exception = ConnectionError()
    for _ in range(60):  # two to the power of sixty members, if each were looked at
        group = ExceptionGroup("twice", [group, group])
    assert sort_failure(group) == Failure(kind="bug")
    assert sort_failure(ExceptionGroup("wide", [ConnectionError()] * 90)).may_pass
