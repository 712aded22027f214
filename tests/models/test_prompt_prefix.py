"""What changed between two calls, and what it costs, is known before the second one is made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.ledger import Usage
from kapelle.models import (
    Message,
    ModelRequest,
    Price,
    PriceTable,
    PromptPrefix,
    ToolCall,
    ToolDefinition,
    compare_prefixes,
    compare_with_summary,
    price_break_usd,
    read_prefix,
)

MODEL = "openai:gpt-house"
TOOL = ToolDefinition(name="a", description="Does a.", parameters={"type": "object", "properties": {"x": {}, "y": {}}})
TEXTS = st.lists(st.text(max_size=60), min_size=2, max_size=8)


def conversation(*texts: str, system: str = "Be brief.") -> ModelRequest:
    messages = [Message(role="system", content=system)]
    messages += [Message(role="assistant" if place % 2 else "user", content=text) for place, text in enumerate(texts)]
    return ModelRequest(messages=tuple(messages), tools=(TOOL, replace(TOOL, name="b")))


def prefix(request: ModelRequest) -> PromptPrefix:
    return read_prefix(request, model=MODEL)


def called(*, written: str | None) -> ModelRequest:
    call = ToolCall(call_id="1", name="a", arguments={"x": 1, "y": 2}, written=written)
    answered = (
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="3", tool_call_id="1"),
    )
    return replace(conversation("Go."), messages=(*conversation("Go.").messages, *answered))


@given(TEXTS)
def test_a_conversation_that_goes_on_breaks_nothing(texts: list[str]) -> None:
    before, now = conversation(*texts[:-1]), conversation(*texts)
    assert compare_prefixes(prefix(before), prefix(now)) is None
    assert compare_with_summary(prefix(before).summary(), now, model=MODEL) is None


@given(TEXTS, st.data())
def test_the_first_message_that_changed_is_named_and_all_after_it_is_lost(
    texts: list[str], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(texts) - 1))
    changed = [*texts[:place], texts[place] + "!", *texts[place + 1 :]]
    before, now = prefix(conversation(*texts)), prefix(conversation(*changed))
    found = compare_prefixes(before, now)
    assert found is not None
    assert found.part == f"message {place + 1}"
    assert found.lost_tokens == sum(part.tokens for part in before.parts[3 + place :])
    assert found.kept_tokens + found.lost_tokens == before.tokens
    told = compare_with_summary(before.summary(), conversation(*changed), model=MODEL)
    assert told is not None
    assert told.part == "messages"


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("system", {"messages": conversation("Go.", "Yes.", system="It is 12:00:01.").messages}),
        ("tools", {"tools": (replace(TOOL, name="b"), TOOL)}),
        ("tools", {"tools": (TOOL,)}),
        ("tools", {"tools": (replace(TOOL, description="Does it."), replace(TOOL, name="b"))}),
        ("settings", {"output_schema": {"type": "object"}}),
    ],
)
def test_what_changed_first_is_named(part: str, change: dict[str, Any]) -> None:
    before = conversation("Go.", "Yes.")
    now = replace(before, **change)
    found = compare_prefixes(prefix(before), prefix(now))
    told = compare_with_summary(prefix(before).summary(), now, model=MODEL)
    assert found is not None
    assert told is not None
    assert (found.part, told.part) == (part, part)
    assert found == told


def test_what_is_allowed_breaks_nothing() -> None:
    before = conversation("Go.")
    for allowed in (frozenset(), frozenset({"a"}), frozenset({"a", "b"})):
        assert prefix(replace(before, allowed_tools=allowed)) == prefix(before)
    assert prefix(replace(before, max_output_tokens=7, temperature=0.5, timeout_s=1.0)) == prefix(before)


def test_another_model_has_another_cache() -> None:
    found = compare_prefixes(prefix(conversation("Go.")), read_prefix(conversation("Go."), model="openai:other"))
    assert found is not None
    assert (found.part, found.kept_tokens) == ("settings", 0)


def test_past_arguments_in_another_order_are_another_text() -> None:
    as_written, sorted_anew = called(written='{"y": 2, "x": 1}'), called(written=None)
    found = compare_prefixes(prefix(as_written), prefix(sorted_anew))
    assert found is not None
    assert found.part == "message 2"
    assert compare_prefixes(prefix(as_written), prefix(called(written='{"y": 2, "x": 1}'))) is None


def test_a_clock_in_the_instructions_is_named_before_it_is_paid_for() -> None:
    start = datetime(2026, 5, 1, 12, tzinfo=UTC)
    requests = [
        conversation("Go." * 500, system=f"It is {start + timedelta(minutes=late)}. Be brief.") for late in range(2)
    ]
    found = compare_prefixes(*map(prefix, requests))
    assert found is not None
    assert found.part == "system"
    assert found.words.startswith("system changed: 5")


def test_thoughts_that_are_stripped_later_are_a_break_with_its_dollars() -> None:
    told = ["Go.", "<thinks>" * 9_000 + "Done.", "And now?", "Yes."]
    before, now = conversation(*told), conversation("Go.", "Done.", *told[2:], "More.")
    found = compare_prefixes(prefix(before), prefix(now))
    assert found is not None
    assert found.part == "message 2"
    prices = PriceTable({MODEL: Price(input_usd=10, cached_usd=1, cache_write_usd=12.5, output_usd=40)})
    assert price_break_usd(prices, MODEL, found) == pytest.approx(found.lost_tokens * (12.5 - 1) / 1e6)


def test_a_model_without_a_price_has_no_price_of_a_break() -> None:
    found = compare_prefixes(prefix(conversation("Go.")), prefix(conversation("Come.")))
    assert found is not None
    with pytest.raises(UnknownPrice):
        price_break_usd(PriceTable(), "nobody:nothing", found)


def test_written_tokens_have_their_price_in_a_price_file(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(
        'prices:\n  "m": {input: 10, cached: 1, cache_write: 12.5, output: 40}\n  "n": {input: 10, output: 40}\n'
    )
    table, usage = PriceTable.from_file(file), Usage(input_tokens=1_000_000, cached_tokens=200_000)
    assert table.cost_usd("x:m", usage, cache_written_tokens=500_000) == pytest.approx(0.2 + 3.0 + 6.25)
    assert table.cost_usd("x:m", usage, cache_written_tokens=9_000_000) == pytest.approx(0.2 + 10.0)
    assert table.estimate_usd("x:m", input_tokens=1_000_000, output_tokens=0) == pytest.approx(12.5)
    assert table.cost_usd("x:n", usage, cache_written_tokens=500_000) == pytest.approx(10.0)


@pytest.mark.parametrize("wrong", ["-1", ".nan", ".inf", "many"])
def test_a_written_price_that_is_none_is_refused(wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(f'prices:\n  "m": {{input: 10, cache_write: {wrong}, output: 40}}\n')
    with pytest.raises(InvalidInput, match="cache_write"):
        PriceTable.from_file(file)


def test_two_processes_have_the_same_prefix() -> None:
    program = (
        "from kapelle.models import Message, ModelRequest, read_prefix\n"
        "from kapelle.tools import ToolTable\n"
        "asked = ModelRequest(messages=(Message(role='user', content='Go.'),), tools=ToolTable().definitions)\n"
        "print(read_prefix(asked, model='openai:m').summary())"
    )
    path = os.pathsep.join(sys.path)
    summaries = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(summaries) == 1


@pytest.mark.parametrize("odd", ["\ud800", "\x00", "🎻" * 1000, ""])
def test_odd_texts_have_a_fingerprint(odd: str) -> None:
    assert compare_prefixes(prefix(conversation(odd)), prefix(conversation(odd, "more"))) is None


def test_arguments_that_are_no_json_are_told() -> None:
    call = ToolCall(call_id="1", name="a", arguments={"x": object()})
    messages = (Message(role="user", content="Go."), Message(role="assistant", content="", tool_calls=(call,)))
    with pytest.raises(InvalidInput, match="cannot be written as JSON"):
        read_prefix(ModelRequest(messages=messages), model=MODEL)
