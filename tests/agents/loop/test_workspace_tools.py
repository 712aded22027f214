"""What the tools of a workspace tell the model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kapelle.agents import TaskContext
from kapelle.agents.loop import ToolAnswer, ToolContext, make_tool
from kapelle.agents.loop.tool_kit import call_tool
from kapelle.agents.loop.workspace_tools import FUNCTIONS
from kapelle.graph import Task
from kapelle.models import ToolDefinition
from kapelle.tools import ALLOWED_UNPROTECTED, Sandbox, Walls, Workspace


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path / "files", kept=tmp_path / "kept") as workspace:
        yield workspace


def call(name: str, files: Workspace | None, walls: Walls = ALLOWED_UNPROTECTED, **given: Any) -> ToolAnswer:
    context = ToolContext(
        task=Task(task_id="t", task_type="work"),
        run=TaskContext(run_id="r", request=""),
        idempotency_key="k",
        seconds=20,
        workspace=files,
        sandbox=Sandbox(walls=walls),
    )
    tool = make_tool(ToolDefinition(name=name), FUNCTIONS[name])
    return asyncio.run(call_tool(tool, given, context))


def test_a_file_is_written_listed_read_and_changed(files: Workspace) -> None:
    assert call("file_create", files, path="a/b.txt", content="one\ntwo\n").text == "Written: a/b.txt, 8 bytes."
    assert call("file_list", files, depth=2).text == "a/\na/b.txt  8 bytes"
    assert call("file_create", files, path="a/b.txt", content="2", replaces="two").text == "Replaced in a/b.txt."
    assert call("file_read", files, path="a/b.txt").text == "one\n2\n"


def test_a_part_of_a_file_says_which_it_is(files: Workspace) -> None:
    files.write("a", "".join(f"{n}\n" for n in range(1, 10)))
    assert call("file_read", files, path="a", start=3, lines=2).text == "[lines 3 to 4 of 9]\n3\n4\n"
    assert "has 9 lines" in call("file_read", files, path="a", start=30).text


def test_a_command_says_how_it_ended(files: Workspace) -> None:
    assert call("shell_execute", files, command="echo hello") == ToolAnswer(text="exit code 0\nhello")
    failed = call("shell_execute", files, command="echo no >&2; exit 3")
    assert (failed.text, failed.is_error) == ("exit code 3\nno", True)


def test_a_check_says_whether_it_passed(files: Workspace) -> None:
    assert call("verify", files, command="true").text == "PASSED: exit code 0"
    assert call("verify", files, command="false").is_error


WRONG = [("file_read", {"path": "../x"}), ("file_read", {"path": "none"}), ("file_list", {"path": "none"})]


@pytest.mark.parametrize(("name", "given"), WRONG)
def test_what_cannot_be_is_an_error_for_the_model(name: str, given: dict[str, Any], files: Workspace) -> None:
    assert call(name, files, **given).is_error


def test_without_a_workspace_or_walls_nothing_is_done(files: Workspace) -> None:
    assert "no workspace" in call("file_read", None, path="a").text
    refused = call("shell_execute", files, Walls(kind="none", reason="No walls here."), command="touch ran")
    assert "No walls here." in refused.text
    assert files.list() == ()


def test_a_command_that_is_cancelled_by_its_time_leaves_nothing_running(files: Workspace) -> None:
    tool = make_tool(ToolDefinition(name="shell_execute"), FUNCTIONS["shell_execute"])
    context = ToolContext(
        task=Task(task_id="t", task_type="work"),
        run=TaskContext(run_id="r", request=""),
        idempotency_key="k",
        seconds=0.3,
        workspace=files,
        sandbox=Sandbox(walls=ALLOWED_UNPROTECTED),
    )
    answer = asyncio.run(call_tool(tool, {"command": "echo $$ > pid; sleep 60"}, context))
    assert "did not end within 0.3 seconds" in answer.text
    assert not Path(f"/proc/{files.read('pid').strip()}").exists()
