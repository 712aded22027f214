"""Reads what servers report of the tokens that a call used, and does not take their word where it contradicts itself.

What is known of them: OpenAI counts tokens from the cache among the input, Anthropic beside it (pydantic-ai adds them
up); thoughts are counted within the output by OpenAI, and beside it, or in the total alone, by others; a stream may
repeat a running total in every chunk, or say input and output in different ones; small servers say nothing, zero, or
half of it. Where two readings are possible the dearer one is taken, for a budget must not take a slip for a discount.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kapelle.ledger import RefusedFigure, Usage, read_count

from .client import ModelRequest
from .reported import Reported

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse

# Fewer than the three to four of English in the usual tokenisers, so that an estimate errs to the dear side.
_CHARACTERS_PER_TOKEN = 2.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenUsage:
    """What one call used."""

    usage: Usage
    cache_written_tokens: int = 0
    """The part of the input that was written to the provider's cache, at a price of its own."""
    is_estimated: bool = False
    """Whether some of it was not reported, and is estimated from the lengths of the texts."""


def read_usage(request: ModelRequest, response: ModelResponse, reported: Reported) -> TokenUsage:
    """Return what a reply used. Where nothing was reported it is estimated: a budget must not take silence for zero."""
    return _settle(_read_counts(response, reported), request, response)


def read_broken_usage(request: ModelRequest, reported: Reported) -> TokenUsage | None:
    """Return what a call has used of which no reply came; None where nothing was reported of it."""
    response = reported.response_so_far()
    counts = _read_counts(response, reported)
    return _settle(counts, request, response) if counts.says_anything else None


def _read_counts(response: ModelResponse | None, reported: Reported) -> _Counts:
    if reported.is_watched:
        return _merge(map(_read_report, reported.usages))
    return _Counts() if response is None else _read_library_usage(response.usage)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What servers said that a call used, once it adds up."""

    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0

    def beyond(self, before: Counted) -> Counted:
        """Return what was used since."""
        return Counted(
            input=max(0, self.input - before.input),
            cached=max(0, self.cached - before.cached),
            written=max(0, self.written - before.written),
            output=max(0, self.output - before.output),
        )


def count_reports(reports: Iterable[Mapping[str, Any]]) -> Counted | None:
    """Return what the reports of one call say, read in the dearer way; None where they do not tell input or output."""
    counts = _merge(map(_read_report, reports))
    if not (counts.input or counts.output):
        return None
    return _add_up(counts, most=None)


def estimate_most_tokens(request: ModelRequest) -> int:
    """Return how many tokens a call may use: what is asked, estimated, and the most that may be answered."""
    return _estimate_input(request) + (request.max_output_tokens or 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counts:
    """What was reported; None where nothing was, or what no count can be."""

    input: int | None = None
    cached: int | None = None
    written: int | None = None
    output: int | None = None
    reasoning: int | None = None
    total: int | None = None

    @property
    def says_anything(self) -> bool:
        return bool(self.input or self.output or self.cached or self.written or self.total)


def _read_report(report: Mapping[str, Any]) -> _Counts:
    """Read a usage as servers of the OpenAI protocol word it, gateways to other protocols among them."""
    of_input = _inner(report, "prompt_tokens_details", "input_tokens_details")
    of_output = _inner(report, "completion_tokens_details", "output_tokens_details")
    counts = _Counts(
        input=_first(report, "prompt_tokens", "input_tokens"),
        cached=_most(
            _first(of_input, "cached_tokens"),
            _first(report, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"),
        ),
        written=_most(
            _first(of_input, "cache_write_tokens", "cache_creation_tokens"),
            _first(report, "cache_creation_input_tokens", "cache_write_tokens"),
        ),
        output=_first(report, "completion_tokens", "output_tokens"),
        reasoning=_most(_first(of_output, "reasoning_tokens"), _first(report, "reasoning_tokens")),
        total=_first(report, "total_tokens"),
    )
    missed = _first(report, "prompt_cache_miss_tokens")
    if counts.input is None and missed is not None:
        return replace(counts, input=missed + (counts.cached or 0))
    if _first(report, "prompt_tokens") is None and "cache_read_input_tokens" in report:
        # Anthropic's own words, passed on as they are: its input is what neither was in the cache nor went there.
        return replace(counts, input=(counts.input or 0) + (counts.cached or 0) + (counts.written or 0))
    return counts


def _read_library_usage(usage: Any) -> _Counts:
    details = usage.details if isinstance(usage.details, Mapping) else {}
    return _Counts(
        input=_count(usage.input_tokens),
        cached=_count(usage.cache_read_tokens),
        written=_count(usage.cache_write_tokens),
        output=_count(usage.output_tokens),
        reasoning=_most(_count(usage.output_reasoning_tokens), _first(details, "reasoning_tokens")),
    )


def _merge(reports: Iterable[_Counts]) -> _Counts:
    """Return what several reports of one call say together: a running total is at its end the largest."""
    merged = _Counts()
    for report in reports:
        merged = _Counts(
            **{name: _most(getattr(merged, name), getattr(report, name)) for name in _Counts.__dataclass_fields__}
        )
    return merged


def _settle(counts: _Counts, request: ModelRequest, response: ModelResponse | None) -> TokenUsage:
    said = _estimate_output(response)
    is_estimated = False
    if not counts.input and not counts.output and (total := counts.total):
        # What cannot be input was written, if only as thoughts.
        most = total if request.max_output_tokens is None else request.max_output_tokens
        output = min(total, max(said, min(total - _estimate_input(request), most)))
        counts, is_estimated = replace(counts, output=output), True
    counted = _add_up(counts, most=request.max_output_tokens)
    read, output = counted.input, counted.output
    if not read:
        read, is_estimated = _estimate_input(request), True
    if not output and said:
        output, is_estimated = said, True
    return TokenUsage(
        usage=Usage(input_tokens=read, cached_tokens=counted.cached, output_tokens=output, calls=1),
        cache_written_tokens=counted.written,
        is_estimated=is_estimated,
    )


def _add_up(counts: _Counts, *, most: int | None) -> Counted:
    """Return counts that add up; `most` is what the call was allowed to write."""
    read, output, total = counts.input or 0, counts.output or 0, counts.total or 0
    cached, written, reasoning = counts.cached or 0, counts.written or 0, counts.reasoning or 0
    if not read and total > output:
        read = total - output  # cached tokens are in it
    if cached + written > read:
        if total and total < read + cached + written + output:
            # The total says that they are within the input, where they do not fit.
            cached = cached if cached <= read else 0
            written = min(written, read - cached)
        else:
            read += cached + written
    elif total and cached + written and total == read + cached + written + output:
        read += cached + written

    if reasoning > output or (reasoning and total == read + output + reasoning):
        output += reasoning
    if total > read + output:
        # Thoughts that only the total counts; more than the call was allowed is a total of something else.
        output = min(total - read, total if most is None else max(output, most))
    return Counted(input=read, cached=cached, written=written, output=output)


def _estimate_input(request: ModelRequest) -> int:
    asked = [message.content for message in request.messages]
    asked += [f"{call.name} {dict(call.arguments)}" for message in request.messages for call in message.tool_calls]
    asked += [f"{tool.name} {tool.description} {dict(tool.parameters)}" for tool in request.tools]
    asked += [str(dict(request.output_schema))] if request.output_schema else []
    return _estimate_tokens(" ".join(asked))


def _estimate_output(response: ModelResponse | None) -> int:
    if response is None:
        return 0
    said = [f"{getattr(part, 'content', '') or ''}{getattr(part, 'args', '') or ''}" for part in response.parts]
    return _estimate_tokens(" ".join(said))


def _estimate_tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _inner(report: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((found for name in names if isinstance(found := report.get(name), Mapping)), {})


def _first(report: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := _count(report.get(name))) is not None), None)


def _most(*counts: int | None) -> int | None:
    return max((count for count in counts if count is not None), default=None)


def _count(value: object) -> int | None:
    if isinstance(value, str) and len(value) < 16 and value.isascii() and value.isdigit():
        value = int(value)
    if value is None or isinstance(value, (bool, str)):
        return None
    try:
        return read_count(value, "tokens")
    except RefusedFigure:
        return None
