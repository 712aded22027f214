"""What an error of another library holds: status, codes, words, headers, and how long to wait."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

LONGEST_WAIT_S = 86_400.0
"""A wait that is asked for is cut to a day: a longer one is a clock that goes wrong, or a server that means "never"."""
_LONGEST_CHAIN = 8
MAX_MEMBERS = 100
_LONGEST_TEXT = 2_000


def read_retry_after(headers: object, *, now: datetime | None = None) -> float | None:
    """Return the seconds that a reply's headers ask to wait; None where they do not, or not in words that make sense.

    `retry-after-ms` in milliseconds, `Retry-After` in seconds or as a date. At most a day is asked for. A date that is
    over says nothing: one of the clocks goes wrong.

    >>> read_retry_after({"Retry-After": "1.5"}), read_retry_after({"Retry-After": "soon"})
    (1.5, None)
    """
    found: dict[str, str] = {}
    for name, value in pairs_of(headers):
        found.setdefault(name, value)
    milliseconds = _number(found.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000.0, LONGEST_WAIT_S)
    asked = found.get("retry-after")
    seconds = _number(asked)
    if seconds is not None or asked is None:
        return None if seconds is None else min(seconds, LONGEST_WAIT_S)
    try:
        from email.utils import parsedate_to_datetime  # where a date is told at all

        due = parsedate_to_datetime(asked[:100])
        due = due.replace(tzinfo=UTC) if due.tzinfo is None else due
        wait_s = (due - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):  # OSError: too many files are open
        return None
    return min(wait_s, LONGEST_WAIT_S) if wait_s >= 0 else None


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those it was raised from. What was merely being handled says nothing about it."""
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            return
        yield error
        reason = _look(error, "reason")  # urllib's URLError holds its cause there
        error = error.__cause__ or (reason if isinstance(reason, BaseException) else None)


def asked_wait_s(error: BaseException) -> float | None:
    told = (bounded(_look(error, name)) for name in ("retry_after_s", "retry_after"))
    found = (read_retry_after(find_headers(error)), *told, _google_wait_s(error))
    return next((wait_s for wait_s in found if wait_s is not None), None)


def _google_wait_s(error: BaseException) -> float | None:
    """Google asks in the body: `google.rpc.RetryInfo` with a `retryDelay` such as `37s`."""
    for body in _bodies(error):
        details = body.get("details")
        for detail in details[:50] if isinstance(details, list) else ():
            delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
            if isinstance(delay, str) and delay.endswith("s"):
                return bounded(_number(delay[:-1]))
    return None


def find_status(error: BaseException) -> int | None:
    response = _look(error, "response")
    places = [_look(error, "status_code"), _look(error, "code"), _look(error, "status"), _look(error, "http_status")]
    if isinstance(response, Mapping):  # botocore's
        metadata = response.get("ResponseMetadata")
        places.append(metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None)
    elif response is not None:
        places += [_look(response, "status_code"), _look(response, "status")]
    for value in places:
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600:
            return int(value)
    return None


def find_headers(error: BaseException) -> object:
    own = _look(error, "headers")
    return own if own is not None else _look(_look(error, "response"), "headers")


def find_codes(error: BaseException) -> set[str]:
    """The provider's words for what went wrong, in lower case: `insufficient_quota`, `RESOURCE_EXHAUSTED`."""
    found: list[object] = [
        _look(error, name) for name in ("code", "type", "status", "provider_error_code", "provider_error_type")
    ]
    for body in _bodies(error):
        found += [body.get(name) for name in ("code", "type", "status", "Code", "reason")]
        inner = body.get("innererror")
        found.append(inner.get("code") if isinstance(inner, Mapping) else None)
    return {value[:100].lower() for value in found if isinstance(value, str)}


def _bodies(error: BaseException) -> Iterator[Mapping[str, Any]]:
    for name in ("body", "details", "error", "response", "response_json"):
        body = _look(error, name)
        if isinstance(body, Mapping):
            yield body
            for key in ("error", "Error"):
                inner = body.get(key)
                if isinstance(inner, Mapping):
                    yield inner


def text_of(error: BaseException) -> str:
    try:
        parts = [str(error)[:_LONGEST_TEXT]]
    except BaseException:  # it has no words
        parts = []
    parts += [message[:_LONGEST_TEXT] for body in _bodies(error) if isinstance(message := body.get("message"), str)]
    return " ".join(parts).lower()


def class_names(error: BaseException) -> frozenset[str]:
    return frozenset(kind.__name__ for kind in type(error).__mro__)


def _look(thing: object, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except BaseException:  # a property of somebody's class
        return None


def pairs_of(headers: object) -> Iterator[tuple[str, str]]:
    """Yield headers as (name in lower case, value), whatever holds them."""
    items: Any = headers
    try:
        for name, value in items.items() if hasattr(items, "items") else items:
            name = name.decode("latin-1") if isinstance(name, bytes) else str(name)
            value = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            yield name.lower(), value
    except Exception:  # whatever holds them is somebody's own; what was read until then counts
        return


def _number(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) and len(text) < 40 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def bounded(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return min(float(value), LONGEST_WAIT_S)
