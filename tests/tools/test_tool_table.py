"""The table of tools: the documented actions, names that stay apart, and a text that depends on nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.models import ToolDefinition
from kapelle.tools import STATIC_TOOLS, AgentState, ToolRow, ToolTable, clean_tool_name, legal_tool_name

DOCUMENTED = {"CREATE_FILE", "READ_FILE", "EXECUTE", "LIST_FILES", "UPDATE_TODO", "VERIFY", "BROWSER", "SEARCH_WEB"}
SOURCE = Path(__file__).parents[2] / "src"


def tool(name: str, **arguments: Any) -> ToolDefinition:
    return ToolDefinition(name=name, parameters={"type": "object", "properties": arguments})


def test_there_are_eleven_documented_actions_and_each_word_is_one_tool() -> None:
    assert {row.action for row in STATIC_TOOLS} == DOCUMENTED | {"DELEGATE", "REFLECT", "NOTE_LESSON"}
    assert len({row.word for row in STATIC_TOOLS}) == len({row.definition.name for row in STATIC_TOOLS})
    assert ToolTable()["SEARCH_WEB"].fields == {"QUERY": "query", "MAX_RESULTS": "max_results"}
    assert ToolTable()["BROWSER"].definition.name == "browser_open"


def test_rows_are_sorted_whatever_order_tools_come_in() -> None:
    tools = [tool("zebra"), tool("apple"), tool("mango")]
    tables = [ToolTable(tools), ToolTable(tools[::-1])]
    assert tables[0].serialised == tables[1].serialised
    names = [one.name for one in tables[0].definitions]
    assert names == sorted(names)


def test_a_table_is_written_the_same_in_every_process() -> None:
    program = (
        "from kapelle.models import ToolDefinition\n"
        "from kapelle.tools import ToolTable\n"
        "names = {'one', 'two', 'three', 'four'}\n"
        "schema = {'type': 'object', 'properties': {name: {'enum': {'x', 'y', 'z'}} for name in names},"
        " 'required': list(names)}\n"
        "print(ToolTable([ToolDefinition(name='mine', parameters=schema)]).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_what_changes_a_schema_later_does_not_change_the_table() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    table = ToolTable([ToolDefinition(name="mine", parameters=schema)])
    before = table.serialised
    schema["properties"]["b"] = {"type": "string"}
    assert table.serialised == before == ToolTable(table.rows, static=()).serialised


@pytest.mark.parametrize("pair", [("stock_read", "stock-read"), ("Stock", "stock"), ("same", "same")])
def test_names_that_become_one_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput, match=f"'{pair[0]}' and '{pair[1]}' have the same name"):
        ToolTable([tool(name) for name in pair])


@pytest.mark.parametrize("name", ["file_read", "FILE-READ", "read_file", "Browser"])
def test_no_tool_takes_the_name_or_the_word_of_a_static_one(name: str) -> None:
    with pytest.raises(InvalidInput, match="have the same name"):
        ToolTable([tool(name)])


@pytest.mark.parametrize("name", ["stock.read", "", "9lives", "a b", "über", "x" * 65, "a\n", "-a"])
def test_a_name_that_a_provider_refuses_is_refused_with_one_that_none_does(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ToolRow(definition=tool(name))
    assert legal_tool_name(name) in str(caught.value)
    assert len(ToolTable([tool(legal_tool_name(name))])) == len(STATIC_TOOLS) + 1


@given(st.lists(st.lists(st.text(max_size=80), min_size=1, max_size=2).map(tuple), unique=True, max_size=20))
def test_legal_names_of_servers_tools_stay_apart(full: list[tuple[str, ...]]) -> None:
    names = [legal_tool_name(*parts) for parts in full if len(parts) == 2 or not parts[0].isidentifier()]
    assert len(set(names)) == len(names)
    for name in names:
        assert ToolRow(definition=tool(name)).definition.name == name


def test_two_long_names_that_begin_alike_stay_two() -> None:
    long = "server" * 10
    names = {legal_tool_name(long, "read"), legal_tool_name(long, "write"), legal_tool_name(long + "r", "ead")}
    assert len(names) == 3
    assert all(len(name) <= 64 for name in names)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), object(), b"bytes"])
def test_a_schema_that_is_no_json_is_refused_by_name(odd: object) -> None:
    with pytest.raises(InvalidInput, match="schema of the tool 'mine'"):
        ToolRow(definition=tool("mine", a={"default": odd}))


def test_a_schema_that_holds_itself_is_refused() -> None:
    schema: dict[str, Any] = {}
    schema["again"] = schema
    with pytest.raises(InvalidInput, match="schema of the tool 'mine'"):
        ToolRow(definition=ToolDefinition(name="mine", parameters=schema))


def test_a_field_of_the_text_protocol_has_to_be_an_argument() -> None:
    with pytest.raises(InvalidInput, match="takes no such argument: a"):
        ToolRow(definition=tool("mine", a={}), fields={"B": "b"})


def test_tools_of_users_are_allowed_by_what_they_say() -> None:
    careless = ToolRow(definition=tool("careless"))
    reader = ToolRow(definition=tool("reader"), has_effects=False)
    learner = ToolRow(definition=tool("learner"), states=frozenset({AgentState.LEARNING}))
    table = ToolTable([careless, reader, learner])
    allowed = {state: table.allowed(state) & {"careless", "reader", "learner"} for state in AgentState}
    assert allowed == {
        AgentState.PLANNING: {"reader"},
        AgentState.EXECUTING: {"careless", "reader"},
        AgentState.VERIFYING: {"reader"},
        AgentState.BROWSING: set(),
        AgentState.LEARNING: {"learner"},
    }


def test_the_serialised_table_is_what_models_are_told() -> None:
    table = ToolTable()
    told = json.loads(table.serialised)
    assert [one["name"] for one in told] == [one.name for one in table.definitions]
    assert told[0]["parameters"] == table.definitions[0].parameters
    assert clean_tool_name(told[0]["name"]) == told[0]["name"]
