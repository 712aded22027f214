from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

import kapelle

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return run_path(str(ROOT / "docs" / "reference.py"))


def test_the_root_hands_out_few_names_each_once() -> None:
    assert kapelle.__all__ == sorted(set(kapelle.__all__))
    assert len(kapelle.__all__) <= 50
    assert set(kapelle.__all__) <= set(dir(kapelle))


def test_type_checkers_read_the_same_names(written: dict[str, Any]) -> None:
    assert written["STUB"].read_text(encoding="utf-8") == written["root_stub"](), "run: make docs"


@pytest.mark.slow
def test_the_reference_is_what_the_docstrings_say(written: dict[str, Any]) -> None:
    assert written["REFERENCE"].read_text(encoding="utf-8") == written["reference"](), "run: make docs"


@pytest.mark.slow
def test_every_public_name_of_every_package_exists_and_is_documented(written: dict[str, Any]) -> None:
    assert not [line for line in written["reference"]().splitlines() if line.endswith(": ")]


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("Budget", "kapelle.budget"),
        ("Price", "kapelle.models"),
        ("read_plan", "kapelle.planning"),
        ("LimitReached", "kapelle.errors"),
    ],
)
def test_a_name_that_the_root_does_not_have_tells_its_home(name: str, home: str) -> None:
    with pytest.raises(AttributeError, match=rf"{home}: from {home} import {name}$"):
        getattr(kapelle, name)


def test_every_public_name_exists_and_is_documented() -> None:
    for name in kapelle.__all__:
        assert getattr(kapelle, name).__doc__, f"kapelle.{name} has no docstring"


@pytest.mark.slow
def test_importing_kapelle_loads_no_provider_no_terminal_and_no_solver() -> None:
    heavy = ["pydantic_ai", "openai", "genai_prices", "highspy", "pydantic_monty", "rich", "typer"]
    code = f"import sys; from kapelle import Engine, agent; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_kapelle_alone_loads_nothing_of_it() -> None:
    code = "import sys, kapelle; print([name for name in sys.modules if name.startswith('kapelle.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(kapelle, "nothing")
    assert "Engine" in dir(kapelle)
