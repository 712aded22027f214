from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.ledger import Usage
from kapelle.models import DEFAULT_MODELS, Price, PriceTable
from kapelle.models.prices import is_local_url

HOUSE = Price(input_usd=2.0, cached_usd=0.5, output_usd=8.0)

dollars = st.floats(min_value=0, max_value=1000)
tokens = st.integers(min_value=0, max_value=10_000_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    input_tokens = draw(tokens)
    cached_tokens = draw(st.integers(min_value=0, max_value=input_tokens))
    return Usage(input_tokens=input_tokens, cached_tokens=cached_tokens, output_tokens=draw(tokens), calls=1)


prices = st.builds(Price, input_usd=dollars, cached_usd=dollars, output_usd=dollars)


@given(prices, usages(), usages())
def test_a_price_is_linear_in_what_was_used(price: Price, one: Usage, other: Usage) -> None:
    assert price.cost_usd(one + other) == pytest.approx(price.cost_usd(one) + price.cost_usd(other))


@given(prices, usages())
def test_a_cache_saves_money_exactly_where_it_is_cheaper(price: Price, usage: Usage) -> None:
    uncached = Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    saved = price.cost_usd(uncached) - price.cost_usd(usage)

    assert saved == pytest.approx(usage.cached_tokens * (price.input_usd - price.cached_usd) / 1e6, abs=1e-6)


@given(usages(), st.sampled_from(sorted(set(DEFAULT_MODELS.values()))))
def test_an_estimate_is_never_below_the_cost(usage: Usage, model: str) -> None:
    table = PriceTable()
    estimate = table.estimate_usd(
        model,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
    )
    for written in (0, (usage.input_tokens - usage.cached_tokens) // 2, usage.input_tokens - usage.cached_tokens):
        assert table.cost_usd(model, usage, cache_written_tokens=written) <= estimate + 1e-12


@pytest.mark.parametrize("model", sorted(set(DEFAULT_MODELS.values())))
def test_every_default_model_is_in_both_tables(model: str) -> None:
    from pydantic_ai.models import known_model_names

    assert PriceTable().find_source(model) == f"priced as {model}"
    assert model in known_model_names()


def test_the_table_counts_cached_tokens_as_a_part_of_the_input() -> None:
    table = PriceTable()
    part = table.cost_usd("openai:gpt-5-mini", Usage(input_tokens=1000, cached_tokens=400))
    fresh = table.cost_usd("openai:gpt-5-mini", Usage(input_tokens=600))
    cached = table.cost_usd("openai:gpt-5-mini", Usage(input_tokens=400, cached_tokens=400))

    assert part == pytest.approx(fresh + cached)
    assert cached < table.cost_usd("openai:gpt-5-mini", Usage(input_tokens=400))


def test_an_override_beats_the_table_and_the_exact_name_beats_the_pattern() -> None:
    exact = Price(input_usd=5.0, cached_usd=5.0, output_usd=5.0)
    table = PriceTable({"openai:gpt-*": HOUSE, "gpt-5-mini": exact})
    usage = Usage(input_tokens=1_000_000)

    assert table.cost_usd("openai:gpt-5-mini", usage) == 5.0
    assert table.cost_usd("openai:gpt-5", usage) == 2.0
    assert table.cost_usd("OpenAI:GPT-5", usage) == 2.0
    assert table.find_source("openai:gpt-5") == "priced by your price file"


@pytest.mark.parametrize("model", ["", ":", "gpt-5-mini", "openai:gpt-nobody-knows", "nobody:gpt-5", "openai:"])
def test_a_model_that_nothing_prices_is_refused(model: str) -> None:
    table = PriceTable()

    with pytest.raises(UnknownPrice):
        table.cost_usd(model, Usage())
    with pytest.raises(UnknownPrice):
        table.find_source(model)


def test_a_listed_model_without_a_price_is_not_free() -> None:
    """The table lists it, and its own arithmetic answers zero dollars."""
    with pytest.raises(UnknownPrice):
        PriceTable().cost_usd("cerebras:qwen-3-coder-480b", Usage(input_tokens=1000))


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("local:any", None),
        ("ollama:llama3:8b", None),
        ("local:any", "http://10.1.2.3:8000/v1"),
        ("openai:gpt-nobody-knows", "http://localhost:8000/v1"),
    ],
)
def test_a_local_model_is_free_and_says_so(model: str, base_url: str | None) -> None:
    table = PriceTable()

    assert table.cost_usd(model, Usage(input_tokens=1000, output_tokens=1000), base_url=base_url) == 0
    assert "locally" in table.find_source(model, base_url=base_url)


def test_a_local_name_at_a_remote_server_is_not_free() -> None:
    with pytest.raises(UnknownPrice):
        PriceTable().cost_usd("ollama:any", Usage(), base_url="https://gateway.example.com/v1")


def test_a_hosted_model_behind_a_local_proxy_keeps_its_price() -> None:
    usage = Usage(input_tokens=1000, output_tokens=1000)
    table = PriceTable()

    assert table.cost_usd("openai:gpt-5-mini", usage, base_url="http://localhost:4000/v1") == table.cost_usd(
        "openai:gpt-5-mini", usage
    )


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://192.168.1.4", True),
        ("http://ollama:11434", True),
        ("http://box.local/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://8.8.8.8/v1", False),
        ("https://localhost.example.com/v1", False),
        ("http://localhost@evil.example.com/v1", False),
        ("", False),
        ("http://[broken", False),
    ],
)
def test_local_urls_are_told_apart_without_looking_them_up(url: str, local: bool) -> None:
    assert is_local_url(url) is local


def test_prices_are_read_from_the_file_that_the_environment_names(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text('prices:\n  "house:*": {input: 2, cached: 0.5, output: 8}\n  plain: {input: 3, output: 4}\n')
    table = PriceTable.from_environment({"KAPELLE_PRICES": str(path)})
    usage = Usage(input_tokens=1_000_000, cached_tokens=500_000)

    assert table.cost_usd("house:any", usage) == 1.25
    assert table.cost_usd("any:plain", usage) == 3.0


def test_without_the_variable_there_are_no_overrides() -> None:
    assert PriceTable.from_environment({}).find_source("openai:gpt-5-mini") == "priced as openai:gpt-5-mini"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("prices: {a: {input: -1, output: 1}}", "prices.a.input"),
        ("prices: {a: {input: .nan, output: 1}}", "prices.a.input"),
        ("prices: {a: {input: '1', output: 1}}", "prices.a.input"),
        ("prices: {a: {input: 1}}", "prices.a.output"),
        ("prices: {a: {input: 1, output: 1, cache: 1}}", "prices.a.cache"),
        ("a: {input: 1, output: 1}", "prices"),
        ("[1, 2]", "prices.yaml"),
        ("", "prices.yaml"),
        ("prices: {", "line 1"),
    ],
)
def test_a_malformed_price_file_is_named_with_the_place(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)

    with pytest.raises(InvalidInput, match=wrong) as caught:
        PriceTable.from_environment({"KAPELLE_PRICES": str(path)})

    assert str(caught.value).startswith("KAPELLE_PRICES: ")


@pytest.mark.parametrize("path", ["/nowhere/prices.yaml", "a\x00b", "."])
def test_a_missing_price_file_is_named(path: str) -> None:
    with pytest.raises(InvalidInput, match="KAPELLE_PRICES"):
        PriceTable.from_environment({"KAPELLE_PRICES": path})


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_a_price_is_zero_or_more(wrong: float) -> None:
    with pytest.raises(InvalidInput, match="cached_usd"):
        Price(input_usd=1.0, cached_usd=wrong, output_usd=1.0)
