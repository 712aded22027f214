"""No key and no password is written, printed, logged or raised: every sink against every way a secret can come there.

A server on loopback quotes in its replies what it was sent, as some gateways do.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import pickle
import sqlite3
import sys
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle import AskPerson, Engine, Plan, SqliteLedger, Task, TaskDAG, agent, cli
from kapelle.agents import as_agent
from kapelle.errors import AgentFailed, InvalidInput, KapelleError, LedgerBusy, ModelUnavailable
from kapelle.execution import RetryPolicy
from kapelle.ledger import Outcome, PostgresLedger, has_ledger, ledger_path, open_ledger
from kapelle.models import Message, ModelRequest, PriceTable, PydanticAIClient, describe_model, find_model
from kapelle.redaction.known import hide_known, remember
from kapelle.redaction.secrets import get_logger, hide_secrets
from tests.ledger.conftest import postgres, postgres_store, store  # noqa: F401 - fixtures
from tests.ledger.stores import Store

KEYS = {
    "openai": "sk-proj-Zz81abcDEF2345ghiJKL6789",
    "plain hexadecimal": "9f86d081884c7d659a2feaa0c55ad015",
    "signs": "Zq7/with+signs==and&more%41",
    "quotes": "pa\"ss'wo\\rd-9000",
    "not ascii": "Schlüssel-größe-42",
    "short": "hunter2",
}
LOOKS = {
    "bearer": "Authorization: Bearer abc.def-0123",
    "bearer in a mapping": "{'authorization': 'Bearer abc.def-0123'}",
    "bearer in JSON in JSON": json.dumps({"e": json.dumps({"Authorization": "Bearer abc.def-0123"})}),
    "bearer in pairs": "[(b'Authorization', b'Bearer abc.def-0123'), (b'Host', b'x')]",
    "bearer in HTML": "<dt>Authorization</dt><dd>Bearer abc.def-0123</dd>",
    "basic": f"Authorization: Basic {base64.b64encode(b'ann:abc.def-0123').decode()}",
    "own header": "x-api-key: abc.def-0123",
    "cookie": "Set-Cookie: session=abc.def-0123; Path=/",
    "openai": "no such key sk-abcdef0123",
    "aws": "id AKIAABCDEF0123456789",
    "github": "ghp_abcdef0123456789abcdef0123456789abcd",
    "slack": "xoxb-123456789012-abcdef0123",
    "google": "AIzaSyAabcdef0123456789abcdef0123456789",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhYmMuZGVmIn0.abcdef0123",
    "user in a URL": "cannot reach https://ann:abc.def-0123@db.example/x",
    "user in a URL, @ in the password": "cannot reach https://ann:p@abc.def-0123@db.example/x",
    "token in a URL": "cannot clone https://abc.def-0123@github.example/x",
    "user without a scheme": "ann:abc.def-0123@db.example/x is no URL",
    "connection string": "host=db.example password=abc.def-0123 user=ann",
    "connection string in quotes": r"host=db.example password='abc.def-0123 \' x' user=ann",
    "query": "GET /v1?api_key=abc.def-0123&n=1",
    "signature": "GET /b?sv=1&sig=abc.def-0123&n=1",
    "JSON": '{"client_secret": "abc.def-0123", "n": 1}',
    "YAML": "password: abc.def-0123",
    "environment": "OPENAI_API_KEY=abc.def-0123",
    "told": "Incorrect API key provided: abc.def-0123.",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nabcdef0123\nabc.def-0123\n-----END RSA PRIVATE KEY-----",
    "private key, cut": "-----BEGIN OPENSSH PRIVATE KEY-----\nabcdef0123\nabc.def-0123",
}
BODIES = (
    "abc.def-0123",
    "abcdef0123",
    base64.b64encode(b"ann:abc.def-0123").decode(),
    "eyJzdWIi",
    "AKIAABCDEF",
    "SyAabc",
)
PLAIN = (
    "Task 'draft' depends on 'outline', which is not in the graph. Add it, or remove the edge.",
    "Basic authentication is needed; send a bearer token. The primary key of the table is missing.",
    "postgresql://ann@db.example/work and http://localhost:4873/@types/node and mailto:x, at 12:30:45",
    "model local:sk-learn-classifier-v2 at C:\\data\\keys; the token budget is 300",
)


def leaks(text: str, secret: str) -> bool:
    """Whether a text holds a secret in one of the forms that any reader can turn back."""
    forms = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    forms |= {json.dumps(secret, ensure_ascii=False)[1:-1], json.dumps(json.dumps(secret))[3:-3]}
    forms |= {base64.b64encode(f"{user}:{secret}".encode()).decode()[8:].rstrip("=") for user in ("a", "an", "ann")}
    return any(form in text for form in forms)


# ------------------------------------------------------------------ what looks like a secret


@pytest.mark.parametrize("text", LOOKS.values(), ids=list(LOOKS))
def test_what_looks_like_a_secret_is_hidden_in_messages(text: str) -> None:
    for message in (text, f"ValueError: {text}", f"{text!r}"[:-1], f"  {text}\n"):
        hidden = hide_secrets(message)
        assert "***" in hidden
        assert not [body for body in BODIES if body in hidden], hidden
        assert hide_secrets(hidden) == hidden


@pytest.mark.parametrize("text", PLAIN)
def test_messages_without_a_secret_are_as_they_were(text: str) -> None:
    assert hide_secrets(text) == text


@pytest.mark.parametrize("text", LOOKS.values(), ids=list(LOOKS))
def test_what_looks_like_a_secret_stays_in_data(text: str, store: Store) -> None:  # noqa: F811
    with store.open() as ledger:
        event = ledger.append("r", "run_started", {"request": text, "list": [text, {text: text}]})
        assert event.data["request"] == text
        assert ledger.events("r") == (event,)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_hiding_is_for_any_text(text: str) -> None:
    assert isinstance(hide_secrets(text), str)
    assert hide_known(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "://a:",
        "://",
        "eyJ",
        "-eyJ-eyJ.",
        "sk-",
        "password=",
        "password='",
        'key":',
        "a:b@",
        "x-",
        "Bearer ",
        "Bearer",
        "authorization:",
        "&key",
        "\\",
        " ",
        "token a ",
        "SG.",
        "-----BEGIN PRIVATE KEY-----",
        "a_",
        "x-api-",
        "'",
        '"',
    ],
)
def test_hiding_takes_time_linear_in_the_text(piece: str) -> None:
    steps = [count_lines_of_work(piece * (size // len(piece))) for size in (4_000, 32_000)]
    assert steps[1] < 40 * max(steps[0], 0.0005)


def count_lines_of_work(text: str) -> float:
    """Return the processor's time that it takes, at its least of three: it does not grow when the machine is busy."""
    import time

    took = []
    for _ in range(3):
        before = time.thread_time()
        hide_secrets(text)
        took.append(time.thread_time() - before)
    return min(took)


# ------------------------------------------------------------------ what is known


@pytest.fixture(params=KEYS.values(), ids=list(KEYS))
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key that is in the environment, under a name that says so."""
    monkeypatch.setenv("ACME_API_KEY", request.param)
    return str(request.param)


NAMES = (
    "OPENAI_API_KEY",
    "ACME_TOKEN",
    "ACME_CLIENT_SECRET",
    "PGPASSWORD",
    "DB_PASSWORD_2",
    "AWS_SECRET_ACCESS_KEY",
    "acme_key",
    "SMTP_PASS",
    "GITHUB_PAT",
    "MYSQL_PWD",
)


@pytest.mark.parametrize("name", NAMES)
def test_values_of_variables_that_say_so_are_known(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "k7-quite-distinct")
    assert hide_known("the k7-quite-distinct one") == "the *** one"
    monkeypatch.delenv(name)
    assert hide_known("the k7-quite-distinct one") == "the k7-quite-distinct one"


@pytest.mark.parametrize(
    "name", ["PWD", "OLDPWD", "MAX_TOKENS", "ACME_API_KEY_FILE", "TOKENIZERS_PARALLELISM", "KEYBOARD", "AUTHOR"]
)
def test_values_of_other_variables_are_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "k7-quite-distinct")
    assert hide_secrets("the k7-quite-distinct one") == "the k7-quite-distinct one"


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://ann:k7-distinct@h/db",
        "PostgreSQL://ann:k7-distinct@h/db",
        "host=h password=k7-distinct",
        "host=h password = 'k7-distinct'",
        "https://h/v1?api_key=k7-distinct",
        "https://k7-distinct@h/v1",
    ],
)
def test_passwords_in_locations_are_known(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPELLE_DB" if "h/v1" not in location else "KAPELLE_BASE_URL", location)
    assert hide_known("it was k7-distinct.") == "it was ***."


@pytest.mark.parametrize("value", ["none", "postgres", "abc", "12345", "mountain", "true"])
def test_a_key_that_might_be_a_word_of_the_data_spoils_no_data(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_API_KEY", value)
    text = f"the {value} of {value}, {{'n': {value}}}"
    assert hide_known(text) == text
    if value == "mountain":
        assert hide_secrets("wrong: mountain, mountains") == "wrong: ***, mountains"


def test_a_key_is_hidden_in_every_form(key: str) -> None:
    forms = [key, quote(key, safe=""), json.dumps(key), repr(key), json.dumps(json.dumps({"k": key}))]
    forms += [base64.b64encode(f"{user}:{key}".encode()).decode() for user in ("a", "an", "ann")]
    for form in forms:
        for hide in (hide_known, hide_secrets):
            assert not leaks(hide(f"it was {form}, or"), key), form


@pytest.mark.parametrize("cut", [12, 16, 20, 24])
def test_a_key_that_was_cut_is_hidden_in_messages(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = KEYS["plain hexadecimal"]
    monkeypatch.setenv("ACME_API_KEY", secret)
    assert hide_secrets(f"wrong: {secret[:cut]}...") == "wrong: ***..."
    assert hide_secrets(f"...{secret[-cut:]} is wrong") == "...*** is wrong"


def test_keys_of_clients_are_known_while_they_live() -> None:
    client = PydanticAIClient(
        "local:m", base_url="http://127.0.0.1:9/v1", api_key="k7-handed-over", prices=PriceTable()
    )
    assert hide_known("k7-handed-over") == "***"
    del client
    assert hide_known("k7-handed-over") == "k7-handed-over"


def test_keys_inside_of_pydantic_ai_models_are_known() -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url="http://127.0.0.1:9/v1", api_key="k7-inside-of-it")
    for holder in (PydanticAIClient(OpenAIChatModel("m", provider=provider), prices=PriceTable()),
                   as_agent(Agent(OpenAIChatModel("m", provider=provider)))):  # fmt: skip
        assert hide_known("k7-inside-of-it") == "***"
        del holder


@pytest.mark.parametrize(
    "value",
    ["caf\udce9-0815-not-utf8", "x" * 200_000, "a\nb\nc", "\ud800-lone-1234", "[](){}*+?.^$|\\-9"],
    ids=["bytes", "long", "lines", "surrogate", "signs"],
)
def test_any_value_can_be_known(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = PydanticAIClient("local:m", base_url="http://127.0.0.1:9/v1", prices=PriceTable())
    remember(value, owner=client)
    assert isinstance(hide_secrets(f"it was {value}"), str)
    assert len(value) > 10_000 or hide_secrets(f"it was {value}.") in ("it was ***.", f"it was {value}.")


@pytest.mark.slow
def test_keys_are_learned_and_forgotten_while_threads_ask() -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            while not stop.is_set():
                hide_secrets("the k7-some-key-1 one")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        client = PydanticAIClient(
            "local:m", base_url="http://127.0.0.1:9/v1", api_key=f"k7-some-key-{number}", prices=PriceTable()
        )
        os.environ["ACME_API_KEY"] = f"k7-other-key-{number}"
        assert hide_known(f"k7-some-key-{number} k7-other-key-{number}") == "*** ***"
        del client
    del os.environ["ACME_API_KEY"]
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []


# ------------------------------------------------------------------ errors, reprs, logs


@pytest.mark.parametrize("kind", [KapelleError, InvalidInput, AgentFailed, ModelUnavailable, LedgerBusy])
def test_errors_tell_no_key(kind: type[KapelleError], key: str) -> None:
    error = kind(f"It was {key}, as in Authorization: Bearer abc.def-0123")
    for told in (str(error), repr(error), str(error.args), f"{error}", str(pickle.loads(pickle.dumps(error)))):
        assert not leaks(told, key)
        assert "abc.def-0123" not in told


def test_logs_tell_no_key(key: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = get_logger("kapelle.test")
    with caplog.at_level(logging.DEBUG):
        logger.warning("It was %s, at %s", key, "https://ann:abc.def-0123@h/x")
        try:
            try:
                raise ValueError(f"inner {key}")
            except ValueError as error:
                raise RuntimeError(f"outer {key}") from error
        except RuntimeError:
            logger.exception("Failed: %r", {"key": key})
    assert len(caplog.records) == 2
    assert "Traceback" in caplog.text
    assert "ValueError: inner ***" in caplog.text
    assert not leaks(caplog.text, key)
    assert "abc.def-0123" not in caplog.text


def test_every_logger_of_kapelle_hides() -> None:
    source = Path(cli.__file__).parent.parent
    plain = [str(path) for path in source.rglob("*.py") if "getLogger(__name__)" in path.read_text(encoding="utf-8")]
    assert plain == []


def test_reprs_tell_no_key(key: str, tmp_path: Path) -> None:
    url = f"http://ann:{quote(key, safe='')}@127.0.0.1:9/v1?api_key={quote(key, safe='')}"
    client = PydanticAIClient("local:m", base_url=url, api_key=key if key.isascii() else None, prices=PriceTable())
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        engine = Engine(model=client, ledger=ledger)
        for told in (repr(client), repr(ledger), repr(engine), repr(engine.team), str(engine.team.model_note)):
            assert not leaks(told, key)
    assert repr(client) == "PydanticAIClient('local:m', base_url='http://127.0.0.1:9/v1')"


MALFORMED = (
    "http://ann:{}@host:99999999/v1",
    "htp://ann:{}@host/v1",
    "ann:{}@host/v1",
    "http:/ann:{}@host/v1",
    "http://ann:{}@",
    "http://ann:{} @host/v1",
    "http://ann:x@{}@a..b/v1",
    "http://ann:{}@host:0/v1",
    "http://host:x/v1?api_key={}",
    "//ann:{}@host",
    "http://[ann:{}@host/v1",
    "http://ann:{}/x@host:port/v1",
)


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("secret", ["s3", "abc.def-0123", "top"])
def test_a_malformed_server_is_named_without_credentials(url: str, secret: str) -> None:
    environ = {"KAPELLE_MODEL": "m", "KAPELLE_BASE_URL": url.format(secret)}
    with pytest.raises(InvalidInput, match="KAPELLE_BASE_URL") as raised:
        find_model(None, environ)
    for told in (str(raised.value), repr(raised.value)):
        assert secret not in told.replace("https", "")


def test_a_model_is_described_without_credentials() -> None:
    environ = {"KAPELLE_MODEL": "m", "KAPELLE_BASE_URL": "http://ann:s3@localhost/v1?key=s4"}
    assert "s3" not in describe_model(None, environ)
    assert "s4" not in describe_model(None, environ)


@pytest.mark.parametrize("model", ["http://ann:abc.def-0123@h/v1", "sk-abcdef0123456789", "x:sk-abcdef0123456789"])
def test_a_key_given_as_a_model_is_not_repeated(model: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        find_model(model, {})
    assert not [body for body in BODIES if body in str(raised.value)]


@pytest.mark.parametrize("server", ["http://ann:{}@h", "https://ann:{}@h/v1", "https://{}@h/v1", "http://:{}@h"])
@pytest.mark.parametrize("model", ["openai:gpt-4o", "ollama:llama3", "google-vertex:claude-3", "gpt-4o"])
@pytest.mark.parametrize("secret", ["s3", "abc.def-0123", "p@ss", "top/secret"])
@pytest.mark.parametrize("as_option", [True, False])
def test_of_a_model_with_a_server_only_the_credentials_are_hidden(
    model: str, server: str, secret: str, as_option: bool
) -> None:
    wanted = f"{model}@{server.format(secret)}"
    with pytest.raises(InvalidInput, match="KAPELLE_BASE_URL") as raised:
        find_model(wanted if as_option else None, {"KAPELLE_MODEL": wanted, "OPENAI_API_KEY": "k"})
    place = f"{server.partition(':')[0]}://{server.rpartition('@')[2]}"
    assert f"='{model}@{place}'" in str(raised.value)
    assert secret not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["google-vertex:claude-3@20240229", "a model google-vertex:claude-3@20240229, at last", "x:y@20250101"]
)
def test_the_version_of_a_model_is_no_host(name: str) -> None:
    assert hide_secrets(name) == name
    assert hide_secrets("ann:s3cret@20240229.example/x and ann:s3cret@20240229:80") == (
        "***@20240229.example/x and ***@20240229:80"
    )


# ------------------------------------------------------------------ the ledger


def contents(place: Store) -> str:
    """Return all that is in a ledger's tables."""
    tables = ("events", "outcomes", "blobs", "inbox", "leases")
    return "\n".join(str(row) for table in tables for row in place.rows(f"SELECT * FROM {table}"))


def test_a_ledger_keeps_no_known_key(key: str, store: Store) -> None:  # noqa: F811
    with store.open() as ledger:
        data = {"request": f"use {key}", "graph": {key: [key, 1, {"a": (key,)}]}, "settings": {"model": key}}
        ledger.append("r", "run_started", data, task_id=key, outcomes=[outcome(key)])
        ledger.append("r", "task_finished", {"output": f"{key} " * 20_000}, task_id="s1")
        ledger.append("r", "task_failed", {"reason": f"HTTP 401: {key}"}, task_id="s1")
        ledger.record(outcome(key))
        ledger.post("r", "q-1", {"answer": key, "note": key})
        assert not leaks(str(ledger.events("r")) + str(ledger.outcomes()) + str(ledger.inbox("r")), key)
    assert not leaks(contents(store), key)
    assert contents(store).count("***") > 8


@pytest.mark.parametrize("text", LOOKS.values(), ids=list(LOOKS))
def test_a_ledger_keeps_nothing_that_looks_like_a_key_in_reasons_and_settings(text: str, store: Store) -> None:  # noqa: F811
    with store.open() as ledger:
        settings = {"model": text, "origin": {"data": text}}
        ledger.append(
            "r", "run_started", {"settings": settings, "stop_reason": text}, outcomes=[outcome("x", error=text)]
        )
        ledger.append("r", "attempt_finished", {"reason": text}, task_id="s1")
    assert not [body for body in BODIES if body in contents(store)]


def outcome(text: str, error: str | None = None) -> Outcome:
    return Outcome(
        run_id="r", task_id="s1", task_type="x", agent="a", success=False, error=error or text, features={"text": text}
    )


# ------------------------------------------------------------------ whole runs, against a server that quotes


class Quoting(BaseHTTPRequestHandler):
    """Answers with what it was sent: its headers, the key among them."""

    manner = "json"
    status = 400

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = dict(self.headers.items())
        message = f"you sent {sent}"
        bodies = {
            "json": json.dumps({"error": {"message": message, "type": "x", "code": None}}),
            "detail": json.dumps({"detail": [{"headers": sent, "request": json.dumps(sent)}]}),
            "text": "x" * 250 + message,
            "html": f"<html><body>{message}</body></html>",
            "malformed": '{"choices": [' + message,
            "reply": json.dumps(completion(message)),
            "stream": f"data: {json.dumps(message)}\n\ndata: {{{message}",
            "broken": '{"error": {"message": "' + message,
        }
        body = bodies[self.manner].encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "text/event-stream" if self.manner == "stream" else "application/json")
        self.send_header("Content-Length", str(len(body) + (500 if self.manner == "broken" else 0)))
        self.send_header("X-Sent-Key", self.headers.get("Authorization", "").encode("ascii", "replace").decode())
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


def completion(text: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


WAYS = [(status, manner) for status in (400, 401, 500) for manner in ("json", "detail", "text", "html")]
WAYS += [(200, manner) for manner in ("malformed", "reply", "stream", "broken")]
SENT = "k7Distinct0Key9of/this+test=="


@pytest.fixture(params=WAYS, ids=str)
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server that quotes, for the environment; the key that it is sent is in the environment too."""
    status, manner = request.param
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Manner", (Quoting,), {"status": status, "manner": manner}))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    monkeypatch.setenv("KAPELLE_MODEL", "m")
    monkeypatch.setenv("KAPELLE_BASE_URL", url)
    monkeypatch.setenv("KAPELLE_API_KEY", SENT)
    monkeypatch.setattr(PydanticAIClient, "_choose_wait_s", lambda *_: 0.0)
    monkeypatch.setattr(RetryPolicy, "delay_s", lambda *_: 0.0)
    yield url
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.mark.parametrize("streams", [False, True])
def test_a_server_that_quotes_the_key_gets_it_into_no_error(server: str, streams: bool) -> None:
    client = PydanticAIClient(
        "local:m", base_url=server, api_key=SENT, prices=PriceTable(), max_retries=1, retry_delay_s=0
    )
    ask = ModelRequest(messages=(Message(role="user", content="hello"),), timeout_s=20)

    async def call() -> None:
        async with client:
            await client.complete(ask, on_text=(lambda _: None) if streams else None)

    raised: KapelleError | None = None
    try:
        asyncio.run(call())
    except KapelleError as error:
        raised = error
    if raised is None:  # the server's reply was one, and is the user's
        return
    told = "".join(traceback.format_exception(raised)) + repr(raised)
    assert not leaks(told, SENT)
    assert "Traceback" in told
    assert raised.__cause__ is not None


@pytest.mark.slow
def test_a_server_that_quotes_the_key_gets_it_into_no_ledger_and_no_output(
    server: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = ""
    for words in (
        ["run", "Write a poem about rain", "--output", str(tmp_path / "o.txt"), "--svg", str(tmp_path / "o.svg")],
        ["run", "Write a poem about snow", "--json"],
        ["explain", "last"],
        ["explain", "last", "--json"],
        ["runs"],
        ["agents"],
        ["questions"],
        ["resume", "last"],
    ):
        said += command(words, capfd, monkeypatch)
    assert "run " in said
    assert not leaks(said, SENT)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or not leaks(path.read_bytes().decode("latin-1"), SENT), path


def command(words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", ["kapelle", *words])
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capfd.readouterr()
    return f"{out}\n{err}\n"


# ------------------------------------------------------------------ whole runs, of agents that leak


@pytest.mark.slow
def test_agents_that_leak_get_a_key_into_nothing(
    key: str,
    store: Store,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    tmp_path: Path,
) -> None:
    @agent(task_types=["tell"], cost_usd=0.0)
    async def teller(task: Any) -> Any:
        return {"headers": {"Authorization": f"Bearer {key}"}, key: [key]}

    @agent(task_types=["fail"], cost_usd=0.0)
    async def failer(task: Any) -> Any:
        raise RuntimeError("x" * 1_990 + f" {key} is wrong")

    @agent(task_types=["ask"], cost_usd=0.0)
    async def asker(task: Any, context: Any) -> Any:
        if not context.answers:
            raise AskPerson(f"Is {key} right?", options=[key, "no"])
        return context.answers[0].value

    @agent(task_types=["use"], cost_usd=0.0)
    async def user(task: Any) -> Any:
        return f"used {task.inputs}"

    graph = TaskDAG(
        [
            Task(task_id="t", task_type="tell", description=f"Tell {key}"),
            Task(task_id="u", task_type="use", inputs={"what": "{t}", "more": key}),
            Task(task_id="f", task_type="fail", description="fail"),
            Task(task_id="a", task_type="ask", description="ask"),
        ]
    )
    heard: list[str] = []
    with store.open() as ledger:
        engine = Engine([teller, failer, asker, user], model="none", ledger=ledger, origin={"data": f"/x/{key}"})
        run = asyncio.run(
            engine.run(
                Plan(request=f"use {key}", graph=graph, planner="me"), on_event=lambda event: heard.append(str(event))
            )
        )
        assert run.state == "waiting"
        assert run.tasks["u"].state == "done"
        assert not leaks(str(run) + run.explain() + str(heard), key)
        assert ledger.run("last") == run
    assert not leaks(contents(store), key)
    assert not leaks(caplog.text, key)
    assert "***" in run.explain()
    monkeypatch.setenv("KAPELLE_DB", store.location)
    for words in (
        ["explain", "last", "--svg", str(tmp_path / "x.svg")],
        ["explain", "last", "--json"],
        ["questions"],
        ["questions", "--json"],
        ["runs"],
        ["runs", "--json"],
        ["answer", "last", key],
        ["stop", "last", "--json"],
        ["approve", key],
        ["explain", key],
    ):
        assert not leaks(command(words, capfd, monkeypatch), key), words
    assert not leaks((tmp_path / "x.svg").read_text(encoding="utf-8"), key)


@pytest.mark.parametrize("option", ["--xml", "--yaml", "--mermaid", "--json", "--frontier", ""])
def test_a_plan_is_shown_without_a_key(
    key: str, option: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = {
        "request": f"use {key}",
        "tasks": [{"id": "s1", "type": "answer", "description": f"Use {key} now", "inputs": {"k": key}}],
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    words = ["plan", str(tmp_path / "plan.json"), *([option] if option else []), "--svg", str(tmp_path / "p.svg")]
    assert not leaks(command(words, capfd, monkeypatch), key)
    assert not leaks((tmp_path / "p.svg").read_text(encoding="utf-8"), key)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "x", "--budget", "{}"],
        ["run", "{}.yaml"],
        ["run", "x", "--data", "/nowhere/{}"],
        ["{}"],
        ["run", "--{}"],
        ["explain", "{}"],
        ["approve", "{}"],
        ["run", "x", "--backend", "{}"],
        ["savings", "{}"],
        ["learn", "{}"],
        ["run", "x", "--model", "{}"],
        ["run", "x", "--agents", "{}"],
        ["gc", "--keep-days", "{}"],
        ["run", "x", "--svg", "/no/{}"],
        ["runs", "--db", "/nowhere/{}"],
        ["runs", "--limit", "{}"],
        ["answer", "q", "{}", "--json-value"],
        ["savings", "--column", "{}"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_usage_repeats_no_key(
    words: list[str], as_json: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for secret, written in ((SENT, SENT), ("abcdef0123", "sk-proj-abcdef0123"), ("abc.def", "http://ann:abc.def@h/v1")):
        if secret == SENT:
            monkeypatch.setenv("ACME_API_KEY", SENT)
        typed = [word.format(written) for word in words] + (["--json"] if as_json else [])
        said = command(typed, capfd, monkeypatch)
        assert said.strip()
        assert not leaks("".join(said.split()), secret), said


def test_what_agents_print_and_what_nobody_expected_tells_no_key(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACME_API_KEY", SENT)
    (tmp_path / "loud.py").write_text(
        "import logging, os\nfrom kapelle import agent\n"
        "@agent(task_types=['shout'], cost_usd=0.0)\n"
        "async def loud(task):\n"
        "    key = os.environ['ACME_API_KEY']\n"
        "    print('the key is', key)\n"
        "    print('no line end', key, end='')\n"
        "    logging.getLogger('third.party').warning('sending %s', key)\n"
        "    return 'ok'\n",
        encoding="utf-8",
    )
    (tmp_path / "agents.yaml").write_text(
        "agents:\n  - {agent_id: loud, task_types: [shout], run: 'loud:loud'}\n", encoding="utf-8"
    )
    plan = {"request": "r", "tasks": [{"id": "s1", "type": "shout"}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    said = command(["run", str(tmp_path / "plan.json"), "--agents", str(tmp_path / "agents.yaml")], capfd, monkeypatch)
    assert "the key is ***" in said
    assert "no line end ***" in said
    assert not leaks(said, SENT)

    def explode(*_: object, **__: object) -> None:
        raise ZeroDivisionError(f"with {SENT}")

    monkeypatch.setattr("kapelle.cli.reading.ledger_path", explode)
    said = command(["runs"], capfd, monkeypatch)
    assert "ZeroDivisionError: with ***" in said
    assert not leaks(said, SENT)


# ------------------------------------------------------------------ where a ledger is


@pytest.mark.parametrize(
    "spelt",
    [
        "PostgreSQL://{}",
        "POSTGRES://{}",
        "postgres://{}",
        " postgresql://{}",
        "postgresql+psycopg://{}",
        "Postgresql+asyncpg://{}",
    ],
)
def test_a_server_is_a_server_however_its_scheme_is_spelt(spelt: str, postgres_store: Store) -> None:  # noqa: F811
    location = spelt.format(postgres_store.location.partition("://")[2])
    with open_ledger(location) as ledger:
        assert isinstance(ledger, PostgresLedger)
        ledger.append("r", "run_started", {"request": "x", "settings": {}})
    assert has_ledger(location)
    assert ledger_path(location) == location


def test_a_connection_string_of_libpq_is_a_server(postgres_store: Store) -> None:  # noqa: F811
    database, _, host = postgres_store.location.rpartition("@/")[2].partition("?host=")
    for location in (
        f"host={host} dbname={database} user=postgres password='k7 \\'x'",
        f"  dbname = {database} host = {host} user=postgres",
        f"user=postgres host='{host}' dbname={database}",
    ):
        with open_ledger(location) as ledger:
            assert isinstance(ledger, PostgresLedger)
            assert "k7" not in ledger.path + repr(ledger)
            with open_ledger(ledger.path) as again:  # what a next command is told is good for it
                assert isinstance(again, PostgresLedger)


WRONG = (
    "mysql://ann:{}@h/db",
    "mongodb+srv://ann:{}@h/db",
    "postgresq://ann:{}@h/db",
    "postgresql:/ann:{}@h/db",
    "postgresql:ann:{}@h",
    "jdbc:postgresql://ann:{}@h/db",
    "ann:{}@h/db",
    "//ann:{}@h/db",
    "hots=h password={}",
    "host=h;password={}",
    "password={} x",
    "'postgresql://ann:{}@h/db'",
    '"host=h password={}"',
    "postgresql:\\\\ann:{}@h\\db",
    "pg://ann:{}@h",
    "redis://:{}@h",
    "s3://{}@b/k",
    "http://ann:{}@h/db",
    "ann:{}/x@h/db",
    "sqlite://ann:{}@h/db",
    "file://h/x?password={}",
    "dsn=postgresql://ann:{}@h/db",
    "PGPASSWORD={} psql",
    "Server=h;Password={};User=ann",
)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "way", ["--db", "KAPELLE_DB", "SqliteLedger", "SqliteLedger(Path)", "open_ledger", "has_ledger"]
)
def test_a_wrong_location_is_refused_and_makes_no_file(
    wrong: str, way: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAPELLE_DB")
    for secret in ("hunter2",) if way in ("--db", "KAPELLE_DB") else ("hunter2", "top", "p%40ss"):
        location = wrong.format(secret)
        if way in ("--db", "KAPELLE_DB"):
            if way == "KAPELLE_DB":
                monkeypatch.setenv("KAPELLE_DB", location)
            for words in (
                ["run", "x"],
                ["runs"],
                ["gc"],
                ["plan", "x"],
                ["learn"],
                ["savings"],
                ["run", "x", "--json"],
            ):
                said = command([*words, *(["--db", location] if way == "--db" else [])], capfd, monkeypatch)
                assert "error:" in said
                assert secret not in "".join(said.split()).replace("stop", ""), said
        else:
            makers: dict[str, Any] = {
                "SqliteLedger": SqliteLedger,
                "open_ledger": open_ledger,
                "has_ledger": has_ledger,
            }
            make = makers.get(way, lambda place: SqliteLedger(Path(place)))
            with pytest.raises((InvalidInput, LedgerBusy)) as raised:
                make(location)
            assert secret not in str(raised.value) + repr(raised.value)
        assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("location", "file"),
    [
        ("l.sqlite", "l.sqlite"),
        ("sqlite:///l.sqlite", "l.sqlite"),
        ("sqlite:///{}/l.sqlite", "l.sqlite"),
        ("file:l.sqlite", "l.sqlite"),
        ("SQLite:///l.sqlite", "l.sqlite"),
        ("file://{}/l.sqlite", "l.sqlite"),
        ("sub folder/ünder=1.db", "sub folder/ünder=1.db"),
        ("a@b.sqlite", "a@b.sqlite"),
        ("12:30.sqlite", "12:30.sqlite"),
        ("sqlite:///{}/l%20x.db", "l x.db"),
    ],
)
def test_a_file_is_a_file(location: str, file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with open_ledger(location.format(tmp_path)) as ledger:
        assert isinstance(ledger, SqliteLedger)
        ledger.append("r", "run_started", {"request": "x", "settings": {}})
    assert (tmp_path / file).is_file()
    assert has_ledger(location.format(tmp_path))
    assert os.path.samefile(ledger_path(location.format(tmp_path)), tmp_path / file)


@pytest.mark.slow
def test_the_password_of_a_server_that_is_away_is_told_nowhere(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for location in (
        "postgresql://ann:hunter2@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 user=ann password=hunter2",
        "PostgreSQL://ann:hunter2@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?password=hunter2&user=ann",
        "postgresql://ann:hun@ter2@127.0.0.1:1/db",
        "host=127.0.0.1 port=x password=hunter2",
        "postgresql://ann:hunter2@[::1/db",
        "host=127.0.0.1 port=1 password='hunter2 \\' x' dbname='postgresql://ann:hunter2@h/x'",
    ):
        for words in (["runs"], ["run", "x"], ["questions", "--json"]):
            said = command([*words, "--db", location], capfd, monkeypatch)
            assert "error:" in said
            assert "hunter2" not in said
            assert "ter2" not in said


def test_the_key_is_in_no_byte_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_API_KEY", SENT)
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        ledger.append("r", "run_started", {"request": SENT, "settings": {"model": SENT}})
        for path in tmp_path.iterdir():
            assert SENT.encode() not in path.read_bytes()
    assert sqlite3.connect(tmp_path / "l.sqlite").execute("SELECT count(*) FROM events").fetchone() == (1,)
