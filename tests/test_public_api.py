from __future__ import annotations

import subprocess
import sys

import pytest

import kapelle


def test_the_public_names_are_listed_and_sorted() -> None:
    assert kapelle.__all__ == sorted(kapelle.__all__)
    assert len(set(kapelle.__all__)) == len(kapelle.__all__)


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
