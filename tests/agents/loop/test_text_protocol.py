"""Actions as text: only what stands in its own place is one, and what is wrong is an error and is not done."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents.loop.text_protocol import (
    END,
    ActionForm,
    TextCall,
    TextError,
    TextReply,
    describe_forms,
    read_actions,
    write_action,
)
from kapelle.models import ToolDefinition
from tests.scale import scaled


def form(word: str, tool: str, **fields: str) -> ActionForm:
    properties = {argument: {"type": "string"} for argument in fields.values()}
    if "max_results" in properties:
        properties["max_results"] = {"type": "integer"}
    required = [argument for argument in properties if argument != "max_results"]
    parameters = {"type": "object", "properties": properties, "required": required}
    return ActionForm(word=word, tool=ToolDefinition(name=tool, parameters=parameters), fields=fields)


FORMS = (
    form("SEARCH_WEB", "web_search", QUERY="query", MAX_RESULTS="max_results"),
    form("CREATE_FILE", "file_create", PATH="path", CONTENT="content"),
    form("EXECUTE", "shell_execute", COMMAND="command"),
)


def read(text: str) -> TextReply:
    return read_actions(text, FORMS)


def calls(text: str) -> list[tuple[str, dict[str, object]]]:
    found = read(text).actions
    assert all(isinstance(one, TextCall) for one in found), found
    return [(one.tool, dict(one.arguments)) for one in found if isinstance(one, TextCall)]


def only_error(text: str) -> str:
    (found,) = read(text).actions
    assert isinstance(found, TextError)
    return found.message


def test_the_documented_action_is_read_with_prose_around_it() -> None:
    text = f"I look it up.\n\nACTION: SEARCH_WEB\nQUERY: Python async: best practices\nMAX_RESULTS: 5\n{END}\nDone."
    assert calls(text) == [("web_search", {"query": "Python async: best practices", "max_results": 5})]
    assert read(text).prose == "I look it up.\n\nDone."


def test_several_actions_are_read_in_order_and_equal_ones_stay_two() -> None:
    one = f"ACTION: EXECUTE\nCOMMAND: ls\n{END}\n"
    assert [tool for tool, _ in calls(one + "and again\n" + one)] == ["shell_execute", "shell_execute"]


def test_a_command_may_run_over_lines() -> None:
    assert calls(f"ACTION: EXECUTE\nCOMMAND:\ncd src\nPATH: ls\n{END}") == [
        ("shell_execute", {"command": "cd src\nPATH: ls"})
    ]


CONTENTS = {
    "an end mark": f"The mark is\n{END}\nas you see.",
    "a whole action": f"Write so:\nACTION: EXECUTE\nCOMMAND: ls\n{END}\nto list.",
    "two actions": f"ACTION: EXECUTE\nCOMMAND: a\n{END}\nACTION: EXECUTE\nCOMMAND: b\n{END}\nend",
    "lines like fields": "PATH: no\nQUERY: no",
    "a fence": "text\n```python\nx = 1\n```\nmore",
    "an empty line at its end": "a\n",
}


@pytest.mark.parametrize("what", CONTENTS)
def test_a_file_is_written_whole_whatever_it_holds(what: str) -> None:
    content = CONTENTS[what]
    found = calls(f"First.\nACTION: CREATE_FILE\nPATH: a.md\nCONTENT:\n{content}\n{END}\nLast.")
    assert found == [("file_create", {"path": "a.md", "content": content})]


def test_a_fence_around_a_whole_content_is_not_part_of_it() -> None:
    found = calls(f"ACTION: CREATE_FILE\nPATH: a.py\nCONTENT:\n```python\nx = 1\n```\n{END}")
    assert found[0][1]["content"] == "x = 1"


ELSEWHERE = {
    "a fence": f"Use it so:\n```\nACTION: EXECUTE\nCOMMAND: rm -rf x\n{END}\n```\n",
    "a longer fence": f"````\n```\nACTION: EXECUTE\nCOMMAND: rm -rf x\n{END}\n```\n````",
    "tildes": f"~~~ text\nACTION: EXECUTE\nCOMMAND: rm -rf x\n{END}\n~~~",
    "a quotation": f"> ACTION: EXECUTE\n> COMMAND: rm -rf x\n> {END}\n{END}",
    "an indented example": f"    ACTION: EXECUTE\n    COMMAND: rm -rf x\n{END}",
    "the middle of a line": f"I could do ACTION: EXECUTE\nCOMMAND: rm -rf x\n{END}",
    "a fence that is never closed": f"```\nACTION: EXECUTE\nCOMMAND: rm -rf x\n{END}",
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_stands_elsewhere_is_text(what: str) -> None:
    assert not [one for one in read(ELSEWHERE[what]).actions if isinstance(one, TextCall)]


def test_an_action_in_a_fence_alone_is_told_where_it_belongs() -> None:
    assert "beginning of a line" in only_error(ELSEWHERE["a fence"])


@pytest.mark.parametrize("sign", ["\u2028", "\x0c", "\x0b", "\x85", "\r"])
def test_only_a_line_feed_ends_a_line(sign: str) -> None:
    content = f"a{sign}b"
    assert calls(f"ACTION: CREATE_FILE\nPATH: a\nCONTENT:\n{content}\n{END}")[0][1]["content"] == content
    said = read(f"It said:{sign}ACTION: EXECUTE\nCOMMAND: x\n{END}")
    assert not [one for one in said.actions if isinstance(one, TextCall)]


def test_an_action_with_windows_ends_of_lines_is_read() -> None:
    assert calls(f"ACTION: EXECUTE\r\nCOMMAND: ls\r\n{END}\r\n") == [("shell_execute", {"command": "ls"})]


WRONG = {
    "no such action": (f"ACTION: FLY\n{END}", "There is no action 'FLY'"),
    "no end": ("ACTION: EXECUTE\nCOMMAND: ls", "has no ---END---"),
    "a field it has not": (f"ACTION: SEARCH_WEB\nURL: x\n{END}", "has no field 'URL'"),
    "a field twice": (f"ACTION: SEARCH_WEB\nQUERY: a\nQUERY: b\n{END}", "has the field 'QUERY' twice"),
    "a field missing": (f"ACTION: CREATE_FILE\nPATH: a\n{END}", "lacks CONTENT"),
    "a second end": (f"ACTION: EXECUTE\nCOMMAND: ls\n{END}\nNow rm -rf build is not needed.\n{END}", "before its end"),
    "no field": (f"ACTION: EXECUTE\nls -la\n{END}", "a line that is no field: 'ls -la'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_and_not_done(what: str) -> None:
    text, said = WRONG[what]
    assert said in only_error(text)


def test_a_number_that_is_none_stays_what_was_written() -> None:
    assert calls(f"ACTION: SEARCH_WEB\nQUERY: a\nMAX_RESULTS: many\n{END}")[0][1]["max_results"] == "many"


def test_the_description_names_every_field_and_what_may_be_left_out() -> None:
    told = describe_forms(FORMS)
    assert "ACTION: SEARCH_WEB\nQUERY: <query>\nMAX_RESULTS: <max_results>   (may be left out)" in told


LINES = st.lists(st.text(alphabet="ab `:>\t", max_size=10), max_size=6).map("\n".join)


@settings(max_examples=scaled(500), deadline=None)
@given(content=LINES, before=LINES.filter(lambda text: "```" not in text))
def test_what_is_written_is_read_back(content: str, before: str) -> None:
    written = write_action(FORMS[2], {"command": "x\n" + content})
    assert calls(before.replace("ACTION", "") + "\n" + written) == [("shell_execute", {"command": "x\n" + content})]


@settings(max_examples=scaled(500), deadline=None)
@given(text=st.lists(st.sampled_from(["ACTION: EXECUTE", "COMMAND: x", END, "```", "> q", "PATH: y", "", "ACTION: "])))
def test_no_reply_is_an_exception(text: list[str]) -> None:
    read("\n".join(text))
