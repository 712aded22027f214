"""What stands in a file is what kapelle reads (YAML 1.2); what it writes, readers of any version read back.

A value is a number, a truth or nothing only where YAML 1.2 (core schema) says so, and a code with a leading zero is
never one. Whatever is wrong is named with file, line, column, the file's own words, and the way out.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle import cli
from kapelle.agents import AgentRegistry
from kapelle.documents import MAX_DOCUMENT_BYTES, MAX_YAML_CHARS, parse_yaml, write_yaml
from kapelle.errors import InvalidInput, InvalidPlan
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Usage
from kapelle.models import PriceTable
from kapelle.planning import parse_plan, read_plan_stream, write_plan
from kapelle.routing import load_rules

TEXTS = [
    *("01234", "007", "00", "-01", "+01", "01.5", "01e3", "0123.4", "0_1"),
    *("12:30", "22:22", "1:30.5", "190:20:30", "12:30:45"),
    *("NO", "no", "No", "YES", "yes", "on", "On", "ON", "off", "OFF", "y", "Y", "n", "N", "tRue", "nULL", "None"),
    *("2024-01-01", "2024-1-1", "2024-01-01T10:00:00Z", "2024-01-01 10:00:00", "20-12"),
    *("1_000", "1,000", "1.2.3", "0b1", "0b1010", "0o8", "0x", "0xg", "1e", "e3", ".", "..", ".e3", "--1", "1-2"),
    *("=", "<<", "NaN", "nan", "inf", "Infinity", ".infinity", "١٢", "½", "1 000", "5 %", "R&D", "a*b", "12:ab"),
]  # fmt: skip
VALUES: list[tuple[str, Any]] = [
    *[("~", None), ("null", None), ("Null", None), ("NULL", None), ("", None)],
    *[("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False)],
    *[("0", 0), ("-0", 0), ("12", 12), ("+12", 12), ("-12", -12), ("0o14", 12), ("0x1F", 31), ("0xff", 255)],
    *[(".5", 0.5), ("-.5", -0.5), ("0.10", 0.1), ("1.", 1.0), ("1e3", 1000.0), ("1E+3", 1000.0), ("-1.5e-3", -0.0015)],
    *[("123456789012345678901234567890", 123456789012345678901234567890), (".inf", math.inf), ("-.INF", -math.inf)],
    *[("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ("! 12", "12"), ("!!int 12", 12), ("!!float 1", 1.0)],
]


def meant(value: Any) -> tuple[type, Any]:
    """A value with its type: 1, 1.0 and True are three things."""
    return type(value), value


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("form", ["k: {}", "k: [{}]", "{{k: {}}}", "- {}", "k:\n  - {}\n"], ids=lambda form: str(form))
def test_what_looks_like_a_text_stays_the_text_that_was_written(text: str, form: str) -> None:
    if "," in text and form in ("k: [{}]", "{{k: {}}}"):
        return  # there a comma separates
    found = parse_yaml(form.format(text))
    while not isinstance(found, str):
        found = found["k"] if isinstance(found, dict) else found[0]

    assert found == text


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_numbers_truths_and_nothing_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert meant(parse_yaml(f"k: {text}")["k"]) == meant(value)


@pytest.mark.parametrize("key", [*TEXTS, "12", "true", "null", "~", "1.50", "0x10", "2024"])
def test_a_key_is_the_text_that_was_written(key: str) -> None:
    task = parse_plan(f"tasks:\n- id: a\n  type: x\n  inputs:\n    {key}: 1\n").graph["a"]

    assert task.inputs == {key: 1}


def test_every_file_of_the_project_is_read_alike(tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text("agents: [{id: off, task_types: [NO, 12:30], description: 2024-01-01}]")
    (tmp_path / "rules.yaml").write_text("rules: [{id: on, agent: off, task_types: [01234], reason: yes}]")
    (tmp_path / "prices.yaml").write_text("prices: {on: {input: 1, output: 2}, 01: {input: 1, output: 4}}")

    agent = AgentRegistry.from_yaml(tmp_path / "agents.yaml")["off"]
    (rule,) = load_rules(tmp_path / "rules.yaml")

    assert (agent.task_types, agent.description) == (("NO", "12:30"), "2024-01-01")
    assert (rule.rule_id, rule.agent_id, rule.task_types, rule.reason) == ("on", "off", ("01234",), "yes")
    prices = PriceTable.from_file(tmp_path / "prices.yaml")
    assert [prices.cost_usd(model, Usage(output_tokens=10**6, calls=1)) for model in ("on", "01")] == [2.0, 4.0]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**1024, 2**1024 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from([*TEXTS, *(text for text, _ in VALUES)]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | st.sampled_from(TEXTS), inner),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=400, deadline=None)
def test_whatever_is_written_readers_of_both_versions_read_back_as_the_same(value: Any) -> None:
    written = write_yaml(value)

    assert repr(parse_yaml(written)) == repr(value)  # by repr: 1, 1.0 and True are three things
    assert repr(yaml.safe_load(written)) == repr(value)


@given(st.text("yYnNoOfFtTrRuUeEsSaAlLinI.+-_:0123456789xXbB,~=<", max_size=7))
@settings(max_examples=1000, deadline=None)
def test_a_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    written = write_yaml({text: text})

    assert parse_yaml(written) == {text: text} == yaml.safe_load(written)


@pytest.mark.parametrize("text", TEXTS)
def test_a_plan_that_is_written_has_its_texts_again(text: str) -> None:
    graph = TaskDAG([Task(task_id="a", task_type=text, description=text, inputs={text: text})])

    assert parse_plan(write_plan(text, graph)).graph == graph
    assert parse_plan(write_plan(text, graph)).request == text


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("form", ["k: a{}b", "k: 'a{}b'", 'k: "a{}b"', "{k: a{}b}", "k: |-\n  a{}b", "k: a{}b # c{}d"])
def test_line_ends_of_other_scripts_are_characters_like_any_other(sign: str, form: str) -> None:
    assert parse_yaml(form.replace("{}", sign)) == {"k": f"a{sign}b"}


def test_a_character_in_two_halves_is_one_as_in_json() -> None:
    assert parse_yaml('k: "a\\ud83d\\ude00"') == {"k": "a\U0001f600"}


PROBLEMS = [
    ("tasks:\n- {id: a, type: x}\n- {id: a, type: y}\n", "line 3, column 3", "Two tasks have the id 'a'. Rename"),
    ("tasks:\n- id: a\n  type: x\n  depends_on: [b]\n", "line 2, column 3", "depends on 'b', which is not"),
    ("tasks:\n- id: a\n  type: x\n  depends_on: b\n", "line 4, column 3", "tasks[0].depends_on"),
    ("tasks:\n- id: a\n  type: x\n  on: b\n", "line 4, column 3", "tasks[0].on: extra inputs are not permitted. Use"),
    ("tasks:\n- type: x\n", "line 2, column 3", "tasks[0].id: field required"),
    ("tasks:\n- id: a\n", "line 2, column 3", "tasks[0].type: field required"),
    ("tasks:\n- id: 5\n  type: x\n", "line 2, column 3", "tasks[0].id: input should be a valid string (this reads as"),
    ("tasks:\n- id: a\n  type: true\n", "line 3, column 3", "tasks[0].type: input should be a valid string (this"),
    ("- id: a\n  type: x\n  requires: [1]\n", "line 3, column 14", "tasks[0].requires[0]"),
    ("- id: a\n  type: x\n  retries: -1\n", "line 1, column 3", "retries; give a whole number"),
    ("- id: a\n  type: x\n  inputs: {q: .nan}\n", "line 1, column 3", "which JSON cannot hold"),
    ("tasks: []\nsteps: []\n", "line 2, column 1", "Use request, tasks, notes."),
    ("tasks:\n- id: a\n  type: &x y\n", "line 3, column 9", "Put a text that begins with '&' in quotes"),
    ("tasks:\n- id: a\n  type: *x\n", "line 3, column 9", "Put a text that begins with '*' in quotes"),
    ("tasks:\n- id: a\n  type: !x y\n", "line 3, column 9", "Put a text that begins with '!' in quotes"),
    ("tasks:\n- id: a\n  type: @x\n", "line 3, column 9", "Put the text in quotes"),
    ("tasks:\n- id: a\n  type: x: y\n", "line 3, column 10", "in quotes"),
    ("tasks:\n- id: a\n  type: x\n  approval: yes\n", "line 4, column 3", 'the text "yes": write true or false'),
    ("tasks:\n- id: b\n  type: x\n  depends_on: a\n", "line 4, column 3", "(write [a])"),
    ("tasks:\n- {id: a, typ: x}\n", "line 2, column 3", "tasks[0].typ: extra inputs are not permitted. Use id, type,"),
    ("tasks:\n- id: a\n\ttype: x\n", "line 3, column 1", "Indent with spaces"),
    ("tasks:\n- id: a\n  inputs: {q: {{s1}}}\n", "line 3, column 16", "in quotes"),
    ("tasks:\n- id: a\n  id: b\n", "line 3, column 3", "the key 'id' stands twice"),
    ("tasks:\n- id: a\n  type: !!timestamp 2024-01-01\n", "line 3, column 9", "could not determine"),
    ("tasks:\n- id: a\n  priority: " + "9" * 400, "line 3, column 13", "is too long"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "said"), PROBLEMS)
def test_what_is_wrong_is_named_with_its_place_in_the_words_of_the_file(text: str, place: str, said: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        parse_plan(text, place="plan.yaml")

    assert str(caught.value).startswith(f"plan.yaml, {place}: ")
    assert said in str(caught.value)


def test_a_json_file_that_is_indented_by_tabs_names_the_place_too() -> None:
    text = json.dumps({"tasks": [{"id": "a", "type": "x", "when": 1}]}, indent="\t")

    with pytest.raises(InvalidPlan, match=r"plan\.json, line 6, column 4: tasks\[0\]\.when"):
        parse_plan(text, suffix=".json", place="plan.json")


@given(st.text(max_size=80) | st.text("{}[]:,-?&*!|>'\"%@`#\n\t \x85\u2028ab01~", max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        parse_yaml(text)
    except InvalidInput as error:
        assert str(error)  # noqa: PT017 - either outcome is right; no other exception is


PIPED = {
    "YAML": "request: r\ntasks: [{id: a, type: lookup, inputs: {zip: 01234}}]",
    "YAML in braces": "{request: r, tasks: [{id: a, type: lookup, inputs: {zip: 01234}}]}",
    "YAML as a list": "- {id: a, type: lookup, inputs: {zip: 01234}}",
    "JSON": '\ufeff\n{"tasks":\t[{"id": "a", "type": "lookup", "inputs": {"zip": "01234"}}]}',
    "JSON as a list": '[{"id": "a", "type": "lookup", "inputs": {"zip": "01234"}}]',
    "XML": '<graph><node id="a">lookup(zip="01234")</node></graph>',
}


@pytest.mark.parametrize("text", PIPED.values(), ids=PIPED)
def test_a_plan_that_is_piped_in_is_read_as_its_file_would_be(text: str) -> None:
    graph = read_plan_stream(io.BytesIO(text.encode())).graph

    assert graph == TaskDAG([Task(task_id="a", task_type="lookup", inputs={"zip": "01234"})])


class _Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def _closed() -> io.BytesIO:
    stream = io.BytesIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (io.BytesIO, "It is empty. Pipe a plan into it"),
        (lambda: io.BytesIO(b" \n\n"), "It is empty"),
        (_Terminal, "Nothing is piped in. Write 'kapelle run - < plan.yaml'"),
        (_closed, "Cannot be read"),
        (lambda: io.BytesIO(b"\xff\xfe\x00\x01"), "not UTF-8 text (byte 0)"),
        (lambda: io.BytesIO(b"\x7fELF\x02\x01\x01\x00"), "Not readable as YAML"),
        (lambda: io.BytesIO(b"a" * (MAX_DOCUMENT_BYTES + 1)), "larger than 3,000,000 bytes"),
        (lambda: io.BytesIO(b"{" + b" " * MAX_YAML_CHARS), "Not readable as JSON"),
        (lambda: io.BytesIO(b"Compare France and Germany"), "A plan is a mapping with a list of 'tasks'"),
        (lambda: io.BytesIO(b'{"tasks": [{"id": "a"}]}'), "line 1, column 12: tasks[0].type: field required"),
    ],
)
def test_what_is_piped_in_and_is_no_plan_is_refused_with_the_way_out(stream: Callable[[], Any], said: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        read_plan_stream(stream())

    assert str(caught.value).startswith("standard input")
    assert said in str(caught.value)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_the_command_line_reads_a_plan_from_a_pipe(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan = b"request: r\ntasks: [{id: a, type: calculate, inputs: {expression: 6 * 7}}]"
    monkeypatch.setattr(
        sys, "argv", ["kapelle", command, "-", "--json", "--model", "none", "--db", str(tmp_path / "l")]
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(plan)))

    with pytest.raises(SystemExit) as ended:
        cli.main()

    said = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert said["request"] == "r"
    assert "42" in str(said["tasks"]["a"]) if command == "run" else said["planner"] == "file standard input"
