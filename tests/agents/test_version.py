"""An agent's version follows what its code says, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kapelle import agent
from kapelle.agents import AgentCapability, AgentRegistry, ModelAgent, as_agent
from kapelle.agents.version import version_of
from kapelle.errors import InvalidAgents
from kapelle.testing import ScriptedModel

PLAIN = "def work(task):\n    return {'a', 'b', task.task_id} and 1\n"
ALIKE = {
    "a comment": "def work(task):\n    # why\n    return {'a', 'b', task.task_id} and 1\n",
    "a docstring": "def work(task):\n    '''What it does.'''\n    return {'a', 'b', task.task_id} and 1\n",
    "another layout": "def work( task ):\n\n    return (\n        {'a', 'b', task.task_id} and 1)\n",
    "a decorator": "def same(f):\n    return f\n\n@same\ndef work(task):\n    return {'a', 'b', task.task_id} and 1\n",
    "elsewhere in the file": "x = 1\n\n\n" + PLAIN,
}
OTHER = {
    "another constant": PLAIN.replace("1", "2"),
    "another name": PLAIN.replace("task_id", "task_type"),
    "async": "async " + PLAIN,
}


def load(folder: Path, text: str) -> Any:
    path = folder / f"m{len(list(folder.iterdir()))}.py"
    path.write_text(text)
    space: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), space)
    return space["work"]


@pytest.mark.parametrize("change", ALIKE)
def test_what_changes_no_behaviour_changes_no_version(change: str, tmp_path: Path) -> None:
    assert version_of(as_agent(load(tmp_path, PLAIN))) == version_of(as_agent(load(tmp_path, ALIKE[change])))


@pytest.mark.parametrize("change", OTHER)
def test_other_code_is_another_version(change: str, tmp_path: Path) -> None:
    assert version_of(as_agent(load(tmp_path, PLAIN))) != version_of(as_agent(load(tmp_path, OTHER[change])))


@pytest.mark.parametrize(("change", "is_other"), [(ALIKE, False), (OTHER, True)])
def test_an_objects_version_is_that_of_its_run(change: dict[str, str], is_other: bool, tmp_path: Path) -> None:
    def built(text: str) -> str | None:
        method = load(tmp_path, text)
        card = AgentCapability(agent_id="one", task_types=("t",))
        return AgentRegistry([card], runners={"one": type("Mine", (), {"run": method})()}).versions().get("one")

    assert built(PLAIN) is not None
    for text in change.values():
        assert (built(text) != built(PLAIN)) is is_other


def test_a_function_without_its_source_has_a_version_by_its_bytecode() -> None:
    def made(text: str) -> str | None:
        space: dict[str, Any] = {}
        exec(text, space)
        return version_of(as_agent(space["work"]))

    assert made(PLAIN) == made(PLAIN) is not None
    assert made(PLAIN) != made(PLAIN.replace("1", "2"))


@pytest.mark.slow
@pytest.mark.parametrize("has_source", [True, False])
def test_a_version_is_the_same_in_every_process(has_source: bool, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def work(task):\n    return task.task_id in {'a', 'b', 'c', 'd'}\n")
    take = "from mine import work" if has_source else "s = {}; exec(open('mine.py').read(), s); work = s['work']"
    code = f"{take}\nfrom kapelle.agents import as_agent\nfrom kapelle.agents.version import version_of\n"
    code += "print(version_of(as_agent(work)))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}", "PYTHONHASHSEED": str(seed)},
        ).stdout.strip()
        for seed in (1, 2)
    }
    assert len(found) == 1
    assert len(found.pop()) == 12


def test_a_model_with_other_instructions_or_another_name_is_another_agent() -> None:
    one, two = ScriptedModel(["a"]), ScriptedModel(["a"])
    assert version_of(ModelAgent(one, "Be brief.")) == version_of(ModelAgent(two, "Be brief.")) is not None
    assert version_of(ModelAgent(one, "Be brief.")) != version_of(ModelAgent(one, "Be long."))


def test_the_users_own_version_counts_first() -> None:
    @agent(version="2026-01")
    def mine(task: Any) -> str:
        return "x"

    assert AgentRegistry([mine.capability], runners={"mine": mine}).versions() == {"mine": "2026-01"}


@pytest.mark.parametrize("odd", [print, partial(print, 1), object(), None])
def test_what_cannot_be_told_has_no_version_and_is_no_error(odd: Any) -> None:
    class Odd:
        _function = odd
        run: Any = print

    assert version_of(Odd()) is None


def test_a_version_is_a_text() -> None:
    with pytest.raises(InvalidAgents, match="version=2; give a text"):
        AgentCapability(agent_id="a", task_types=("*",), version=2)  # type: ignore[arg-type]  # what is refused


class Raises:
    """Is asked for anything in vain."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def looping() -> Any:
    def work(task: Any) -> int:
        return 1

    work.__wrapped__ = work  # type: ignore[attr-defined]  # a loop of wrappers
    return as_agent(agent(work))


@pytest.mark.parametrize("odd", [Raises(), looping()], ids=["raises", "is wrapped by itself"])
def test_who_raises_when_asked_for_a_version_has_none(odd: Any) -> None:
    assert version_of(odd) is None
