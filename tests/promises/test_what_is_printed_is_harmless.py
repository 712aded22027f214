"""Nothing that kapelle prints steers a terminal, or shows other than it reads; for programs it reads back the same."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import unicodedata
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kapelle import AskPerson, Engine, Plan, SqliteLedger, Task, TaskDAG, agent, cli, terminal
from kapelle.agents import PartialText
from kapelle.cli.printing import print_json
from kapelle.ledger import ledger_path, printable
from kapelle.planning import parse_plan, write_plan
from kapelle.redaction.characters import STEERS, escape_json, escape_xml, escape_yaml, show_steering

SHOWN_FORMATS = set(
    "\xad\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u200c\u200d\U000110bd\U000110cd"
) | {chr(code) for code in range(0x13430, 0x13440)}
"""Characters of category Cf that are seen, or that written language needs."""
HOSTILE = {
    "clears the screen": "a\x1b[2J\x1b[Hb",
    "sets the title": "a\x1b]0;owned\x07b",
    "writes the clipboard": "a\x1b]52;c;ZXZpbA==\x1b\\b",
    "C1 in one character": "a\x9b2Jb\x90q\x9c",
    "bidi override": "a\u202egnp.exe\u202cb",
    "bidi isolate": "a\u2066b\u2067c\u2068d\u2069e",
    "marks": "a\u200e\u200f\u061cb",
    "overwrites": "safe\revil\x08\x08",
    "invisible": "a\u200b\u2060\ufeff\U000e0041\U000e007fb",
    "line ends": "a\x85b\u2028c\u2029d\x0be\x0cf",
    "NUL and DEL": "a\x00b\x7fc",
    "Windows": "a\r\nb",
}
ANY = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from([*"".join(HOSTILE.values())])))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | ANY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY, inner, max_size=4),
    max_leaves=12,
)


def harmless(text: str) -> bool:
    """Whether none of the characters steers; a line feed and a tab may be anywhere."""
    return all(
        char in "\n\t" or char in SHOWN_FORMATS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        for char in text
    )


# ------------------------------------------------------------------ the characters


@pytest.mark.slow
def test_every_character_that_steers_is_known() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if STEERS.match(char) is None:
            assert harmless(char), hex(code)
        elif unicodedata.category(char) != "Cn":
            assert not harmless(char), hex(code)


@given(st.text(st.characters()))
def test_text_for_people_has_none(text: str) -> None:
    for shown in (printable(text), show_steering(text)):
        assert harmless(shown)
        assert printable(shown) == shown
    if harmless(text):
        assert printable(text) == text


@pytest.mark.parametrize(
    "text", ["naïve", "👩\u200d💻", "می\u200cخواهم", "日本語", "שלום, עולם", "co\xadoperate", "e\u0301", "🏳️\u200d🌈"]
)
def test_written_language_is_as_it_was(text: str) -> None:
    assert printable(text) == text


# ------------------------------------------------------------------ what programs read


@given(VALUES)
def test_json_reads_back(value: Any) -> None:
    for encoding in ("utf-8", "ascii", "latin-1"):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        with redirect_stdout(out):
            print_json({"value": value})
        out.seek(0)
        text = out.read()
        assert harmless(text)
        assert text.count("\n") == 1
        assert json.loads(text) == {"value": value}


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=5), st.integers(0, 250))
def test_what_is_large_is_printed_as_what_is_small(value: dict[str, Any], count: int) -> None:
    large = {"run": value, "tasks": {f"s{n}": value for n in range(count)}, "graph": {"tasks": [value] * count}}
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(out):
        print_json(large)
    out.seek(0)
    assert out.read() == escape_json(json.dumps(large, ensure_ascii=False)) + "\n"


def tasks_with(text: str, value: Any) -> TaskDAG:
    return TaskDAG(
        [
            Task(task_id="s1", task_type="search", description=text, inputs={"query": text, "more": value}),
            Task(task_id="s2", task_type="ask", description=text, metadata={"k": value, text or "x": text}),
            Task(
                task_id="s3", task_type="ask", inputs={text or "x": value}, requirements=frozenset({text or "x", "b"})
            ),
            Task(task_id="s4", task_type="ask", inputs={"x": [text, {"y": text}]}, depends_on=("s1",)),
        ]
    )


def without_references(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")


@given(ANY, VALUES)
def test_plans_read_back(text: str, value: Any) -> None:
    text = without_references(text)
    value = json.loads(without_references(json.dumps(json.dumps(value)))) if value is not None else None
    graph = tasks_with(text, value)
    as_yaml, as_xml = write_plan(text, graph), graph.to_xml()
    assert harmless(as_yaml)
    assert harmless(as_xml)
    assert parse_plan(as_yaml).graph == graph
    assert yaml.safe_load(as_yaml)["request"] == text
    assert TaskDAG.from_xml(as_xml) == graph
    for picture in (graph.to_mermaid(), graph.to_svg(notes={"s1": text}, status={"s1": text})):
        assert harmless(picture)


def test_escapes_are_those_of_each_format() -> None:
    assert escape_json('"\u202e\x9b\U000e0041"') == '"\\u202e\\u009b\\udb40\\udc41"'
    assert escape_yaml('"\u202e\x9b\U000e0041"') == '"\\u202E\\x9B\\U000E0041"'
    assert escape_xml("\u202e\U000e0041") == "&#x202E;&#xE0041;"


# ------------------------------------------------------------------ what commands print


def command(words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setattr(sys, "argv", ["kapelle", *words])
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capfd.readouterr()
    return out, err


@pytest.fixture(params=HOSTILE.values(), ids=list(HOSTILE))
def hostile(request: pytest.FixtureRequest) -> str:
    """A text that would steer, or show other than it reads."""
    return str(request.param)


OPTIONS = ("", "--json", "--yaml", "--xml", "--mermaid", "--frontier")


@pytest.mark.slow
def test_a_plan_is_printed_harmlessly_and_can_be_run_again(
    hostile: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph = tasks_with(hostile, [hostile])
    file = tmp_path / "plan.json"
    file.write_text(
        json.dumps({"request": hostile, "tasks": graph.to_dict()["tasks"], "notes": [hostile]}), encoding="utf-8"
    )
    for option in OPTIONS:
        out, err = command(
            ["plan", str(file), *([option] if option else []), "--svg", str(tmp_path / "p.svg")], capfd, monkeypatch
        )
        assert (out + err).strip()
        assert harmless(out), option
        assert harmless(err), option
        assert harmless((tmp_path / "p.svg").read_text(encoding="utf-8"))
        if option == "--json":
            assert TaskDAG.from_dict(json.loads(out)["graph"]) == graph
            assert json.loads(out)["request"] == hostile
        if option == "--yaml":
            assert parse_plan(out).graph == graph
            assert parse_plan(out).request == hostile
        if option == "--xml":
            assert TaskDAG.from_xml(out) == graph


@pytest.mark.slow
def test_a_run_is_shown_harmlessly_from_its_beginning_to_its_end(
    hostile: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @agent(task_types=["tell"], cost_usd=0.0)
    async def teller(task: Any) -> Any:
        return {hostile: [hostile]}

    @agent(task_types=["fail"], cost_usd=0.0)
    async def failer(task: Any) -> Any:
        raise RuntimeError(hostile)

    @agent(task_types=["ask"], cost_usd=0.0)
    async def asker(task: Any, context: Any) -> Any:
        raise AskPerson(f"Really {hostile}?", options=[hostile, "no"])

    graph = TaskDAG(
        [
            Task(task_id="t", task_type="tell", description=hostile, inputs={"x": hostile}),
            Task(task_id="f", task_type="fail", description=hostile, metadata={"m": hostile}),
            Task(task_id="a", task_type="ask", description=hostile),
        ]
    )
    with SqliteLedger(ledger_path()) as ledger:
        engine = Engine([teller, failer, asker], model="none", ledger=ledger, origin={"data": hostile})
        run = asyncio.run(engine.run(Plan(request=hostile, graph=graph, planner="me", notes=(hostile,))))
        assert run.state == "waiting"
        ledger.post(run.run_id, "x", {"note": hostile})
        assert run.tasks["t"].output == {hostile: [hostile]}
    for is_terminal in (False, True):
        out = io.StringIO()
        console = Console(file=out, width=80, force_terminal=is_terminal, color_system=None, legacy_windows=False)
        told_live = io.StringIO()
        progress = terminal.LiveProgress(Console(file=told_live, width=80, force_terminal=False))
        with progress:
            for event in run.events:
                progress.watch(event)
            progress.show_text(PartialText(run_id="r", task_id="t", agent=hostile, text=hostile))
        terminal.show_run(console, run, more=f" --db {hostile}")
        terminal.show_history(console, terminal.tell_history(run.events)[1])
        terminal.show_answer(console, hostile)
        assert harmless(out.getvalue()), ascii(out.getvalue())
        assert harmless(told_live.getvalue()), ascii(told_live.getvalue())
        Console(file=told_live, width=80, color_system=None).print(progress._table())
        assert harmless(told_live.getvalue()), ascii(told_live.getvalue())
    for words in (
        ["explain", "last"],
        ["explain", "last", "--json"],
        ["runs"],
        ["runs", "--json"],
        ["questions"],
        ["questions", "--json"],
        ["agents"],
        ["agents", "--json"],
        ["answer", "last", "no", "--note", hostile.replace("\x00", "")],
        ["explain", "last"],
    ):
        said, err = command(words, capfd, monkeypatch)
        assert harmless(said), words
        assert harmless(err), words
        if "--json" in words:
            json.loads(said)
    told = json.loads(command(["explain", "last", "--json"], capfd, monkeypatch)[0])
    assert told["tasks"]["t"]["output"] == {hostile: [hostile]}
    assert told["request"] == hostile


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "{}"],
        ["run", "{}.yaml"],
        ["run", "x", "--data", "{}"],
        ["run", "x", "--agents", "{}"],
        ["run", "x", "--budget", "{}"],
        ["{}"],
        ["run", "x", "--{}"],
        ["approve", "{}"],
        ["answer", "{}", "{}"],
        ["run", "x", "--model", "{}"],
        ["run", "x", "--backend", "{}"],
        ["runs", "--db", "{}"],
        ["run", "x", "--svg", "/no/{}"],
        ["savings", "{}"],
        ["learn", "{}"],
        ["savings", "--today", "{}"],
        ["plan", "say {}", "--json"],
        ["plan", "say {}", "--yaml"],
        ["plan", "say {}", "--xml"],
        ["plan", "say {}"],
        ["run", "say {}"],
    ],
    ids=" ".join,
)
def test_what_was_typed_is_repeated_harmlessly(
    words: list[str], hostile: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = command([word.format(hostile.replace("\x00", "")) for word in words], capfd, monkeypatch)
    assert (out + err).strip()
    assert harmless(out)
    assert harmless(err)


@pytest.mark.slow
def test_names_of_files_and_agents_are_shown_harmlessly(
    hostile: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = hostile.replace("\x00", "").replace("/", "")
    data = tmp_path / "data"
    data.mkdir()
    (data / f"{name}.csv").write_text(f"country,{name!r}\nPeru,1\nChile,2\n", encoding="utf-8")
    (data / f"{name}.md").write_text(f"# {hostile}\n\nThe capital of Peru is Lima. {hostile}\n", encoding="utf-8")
    (data / f"{name}.sqlite").write_bytes(b"SQLite format 3\x00 and then nothing of the sort")
    (tmp_path / "agents.yaml").write_text(
        json.dumps({"agents": [{"agent_id": f"x{name}", "task_types": ["tell"], "skills": [name], "cost_usd": 0.1}]}),
        encoding="utf-8",
    )
    (tmp_path / "log.csv").write_text(
        f"task,agent,success,cost\nt1,{name!r},1,0.1\nt2,{name!r},0,0.2\n", encoding="utf-8"
    )
    for words in (
        ["run", "What is the capital of Peru?", "--data", str(data)],
        ["explain", "last"],
        ["explain", "last", "--json"],
        ["plan", "What is the capital of Peru?", "--data", str(data), "--json"],
        ["agents", "--data", str(data)],
        ["agents", "--agents", str(tmp_path / "agents.yaml")],
        ["savings", str(tmp_path / "log.csv")],
        ["agents", "--agents", str(tmp_path / "agents.yaml"), "--json"],
        ["learn", str(tmp_path / "log.csv")],
    ):
        out, err = command(words, capfd, monkeypatch)
        assert harmless(out), words
        assert harmless(err), words
