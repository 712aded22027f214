from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.models import Message, ModelRequest, PydanticAIClient, describe_model, find_model
from tests.models.openai_server import OpenAIServer, chat

LOCAL = "http://127.0.0.1:9/v1"


def found(name: str | None = None, **environ: str) -> PydanticAIClient:
    client = find_model(name, environ)
    assert isinstance(client, PydanticAIClient)
    return client


def test_nothing_set_finds_nothing() -> None:
    assert find_model(None, {}) is None
    assert "KAPELLE_MODEL" in describe_model(None, {})


@pytest.mark.parametrize("nothing", ["", "  "])
def test_a_variable_that_is_empty_is_not_set(nothing: str) -> None:
    assert find_model(None, {"KAPELLE_MODEL": nothing, "OPENAI_API_KEY": nothing, "KAPELLE_BASE_URL": nothing}) is None


def test_the_given_name_beats_the_environment() -> None:
    assert found("openai:gpt-5", KAPELLE_MODEL="openai:gpt-5-mini", OPENAI_API_KEY="k").model == "openai:gpt-5"


def test_the_environment_names_provider_and_model() -> None:
    client = found(KAPELLE_MODEL="openai:gpt-5-mini", OPENAI_API_KEY="k")

    assert (client.model, client.base_url) == ("openai:gpt-5-mini", None)


@pytest.mark.parametrize("variable", ["KAPELLE_BASE_URL", "OPENAI_BASE_URL"])
@pytest.mark.parametrize("name", ["llama3", "llama3:8b", "org/model"])
def test_a_bare_name_is_a_model_of_the_local_server(variable: str, name: str) -> None:
    client = found(KAPELLE_MODEL=name, **{variable: LOCAL})

    assert (client.model, client.base_url) == (f"local:{name}", LOCAL)


def test_a_bare_name_at_a_remote_server_needs_a_price(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text('prices: {"openai-compatible:house": {input: 1, output: 2}}')
    environ = {"KAPELLE_MODEL": "house", "KAPELLE_BASE_URL": "https://gateway.example.com/v1"}

    with pytest.raises(UnknownPrice):
        find_model(None, environ)
    assert found(**environ, KAPELLE_PRICES=str(prices)).model == "openai-compatible:house"


def test_a_known_gateway_brings_its_prices() -> None:
    client = found(KAPELLE_MODEL="openai/gpt-5", KAPELLE_BASE_URL="https://openrouter.ai/api/v1", KAPELLE_API_KEY="k")

    assert client.price_source == "priced as openrouter:openai/gpt-5"


def test_ollama_is_looked_for_where_it_listens() -> None:
    assert found(KAPELLE_MODEL="ollama:llama3").base_url == "http://localhost:11434/v1"
    assert found(KAPELLE_MODEL="ollama:llama3", OLLAMA_BASE_URL=LOCAL).base_url == LOCAL


def test_a_key_alone_finds_the_cheap_model_of_its_provider() -> None:
    assert found(OPENAI_API_KEY="k").model == "openai:gpt-6-luna"
    assert "anthropic:claude-haiku-5-5" in describe_model(None, {"ANTHROPIC_API_KEY": "k"})
    assert "google:gemini-3.5-flash-lite" in describe_model(None, {"GOOGLE_API_KEY": "k"})


def test_none_turns_models_off() -> None:
    assert find_model(None, {"KAPELLE_MODEL": "none", "OPENAI_API_KEY": "k"}) is None
    assert find_model("none", {"OPENAI_API_KEY": "k"}) is None


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai.providers.anthropic", None)

    with pytest.raises(InvalidInput, match=r"pip install 'kapelle\[anthropic\]'"):
        find_model(None, {"ANTHROPIC_API_KEY": "k"})


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"KAPELLE_MODEL": "gpt-5-mini"}, "KAPELLE_MODEL='gpt-5-mini'.*openai:gpt-5-mini"),
        ({"KAPELLE_MODEL": "nobody:gpt-5"}, "KAPELLE_MODEL='nobody:gpt-5'"),
        ({"KAPELLE_MODEL": "two words"}, "KAPELLE_MODEL"),
        ({"KAPELLE_MODEL": "x" * 999}, "KAPELLE_MODEL"),
        ({"KAPELLE_MODEL": "openai:gpt-5"}, "OPENAI_API_KEY"),
        ({"KAPELLE_MODEL": "anthropic:claude-haiku-5-5"}, "ANTHROPIC_API_KEY"),
        ({"KAPELLE_MODEL": "google:gemini-3.5-flash-lite"}, "GEMINI_API_KEY or GOOGLE_API_KEY"),
        ({"KAPELLE_MODEL": "local:any"}, "KAPELLE_BASE_URL"),
        ({"KAPELLE_MODEL": "any", "KAPELLE_BASE_URL": "localhost:8000"}, "KAPELLE_BASE_URL='localhost:8000'"),
        ({"KAPELLE_MODEL": "any", "KAPELLE_BASE_URL": "http://:99999"}, "KAPELLE_BASE_URL"),
        ({"KAPELLE_MODEL": "any", "OPENAI_BASE_URL": "file:///etc"}, "OPENAI_BASE_URL"),
        ({"KAPELLE_BASE_URL": LOCAL}, "KAPELLE_MODEL"),
        ({"OPENAI_API_KEY": "two words"}, "OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "k", "KAPELLE_PRICES": "/nowhere"}, "KAPELLE_PRICES"),
    ],
)
def test_a_malformed_variable_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        find_model(None, environ)


def test_a_malformed_key_is_not_shown() -> None:
    with pytest.raises(InvalidInput) as caught:
        find_model(None, {"OPENAI_API_KEY": "sk-secret\nvalue"})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "environ", "line"),
    [
        (
            None,
            {"KAPELLE_MODEL": "openai:gpt-5-mini", "OPENAI_API_KEY": "k"},
            "model openai:gpt-5-mini from KAPELLE_MODEL; priced as openai:gpt-5-mini",
        ),
        (
            "llama3",
            {"KAPELLE_BASE_URL": "http://me:secret@localhost:8000/v1"},
            "model local:llama3 at http://localhost:8000/v1 from --model; priced at zero: it is served locally",
        ),
        (
            None,
            {"OPENAI_API_KEY": "k"},
            (
                "model openai:gpt-6-luna from OPENAI_API_KEY (its default; KAPELLE_MODEL chooses another); "
                "priced as openai:gpt-6-luna"
            ),
        ),
    ],
)
def test_one_line_says_what_was_found_and_from_where(name: str | None, environ: dict[str, str], line: str) -> None:
    assert describe_model(name, environ) == line


@pytest.mark.parametrize(
    ("environ", "sent"),
    [
        ({"KAPELLE_MODEL": "any", "KAPELLE_API_KEY": "mine", "OPENAI_API_KEY": "theirs"}, "Bearer mine"),
        ({"KAPELLE_MODEL": "any", "OPENAI_API_KEY": "theirs"}, "Bearer no-key"),
        ({"KAPELLE_MODEL": "openai:any", "OPENAI_API_KEY": "theirs"}, "Bearer no-key"),
    ],
)
def test_a_key_goes_to_its_own_server_only(environ: dict[str, str], sent: str) -> None:
    with OpenAIServer([chat("ok")]) as server:
        client = found(**environ, KAPELLE_BASE_URL=server.base_url)
        reply = asyncio.run(client.complete(ModelRequest(messages=(Message(role="user", content="Hello"),))))

    assert reply.text == "ok"
    assert server.requests[0].headers["authorization"] == sent


_TELLING_WORDS = [
    *("openai:gpt-5", "openai:", ":x", "none", "local:x", "ollama:x", "test", "openai-chat:y", "gateway/openai:x"),
    *("azure:x", "bedrock:x", "anthropic:claude-haiku-5-5", LOCAL, "http://", "https://[", "http://a..b/", "k"),
]

_VARIABLES = [
    *("KAPELLE_MODEL", "KAPELLE_BASE_URL", "KAPELLE_API_KEY", "KAPELLE_PRICES", "OPENAI_BASE_URL", "OPENAI_API_KEY"),
    *("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OLLAMA_BASE_URL"),
]

words = st.text(max_size=20) | st.sampled_from(_TELLING_WORDS)


@settings(max_examples=100, deadline=None)
@given(st.none() | words, st.dictionaries(st.sampled_from(_VARIABLES), words))
def test_whatever_the_environment_holds_is_a_client_or_nothing_or_invalid_input(
    name: str | None, environ: dict[str, str]
) -> None:
    for look in (find_model, describe_model):
        with contextlib.suppress(InvalidInput):
            look(name, environ)
