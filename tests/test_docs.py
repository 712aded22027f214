"""Every example in README, docs and docstrings runs.

Python blocks of one document share a namespace and may await at the top; each document has its own ledger and runs in
the repository's root. `console` blocks are commands after `$`: `kapelle` and `python` really run (exit code 0, or what
a comment says: `# exits with 3`), `make` targets and files must exist. A block that cannot run says so:
```python skip: reason.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

import kapelle

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("README.md"),
    ]
)
BLOCK = re.compile(r"^```(?P<kind>[a-z]+)(?P<options>[^\n]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
MODULES = sorted(module.name for module in pkgutil.walk_packages(kapelle.__path__, "kapelle."))


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no model, an empty ledger, and the repository as the working directory."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name.startswith("KAPELLE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KAPELLE_DB", str(tmp_path / "ledger.sqlite"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(ROOT)


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_of_a_document_run(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__docs__"}
    with asyncio.Runner() as runner:
        for match in BLOCK.finditer(text):
            place = f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
            if match["options"].strip().startswith("skip:"):
                continue
            if match["kind"] == "python":
                # Blank lines before the code make tracebacks name the document's own lines.
                code = "\n" * (text.count("\n", 0, match.start()) + 1) + match["code"]
                _run_python(compile(code, place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names, runner)
            elif match["kind"] in ("console", "sh", "bash"):
                for line in match["code"].splitlines():
                    if line.startswith("$ "):
                        _run_command(line[2:], place)


def _run_python(code: CodeType, names: dict[str, Any], runner: asyncio.Runner) -> None:
    found = eval(code, names)
    if inspect.iscoroutine(found):
        runner.run(found)


def _run_command(line: str, place: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in words[1:]:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{place}: no target {target!r} in the Makefile"
    elif words[0] in ("kapelle", "python"):
        command = [sys.executable, *(["-m", "kapelle.cli"] if words[0] == "kapelle" else []), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        told = re.search(r"# exits with (\d+)", line)
        expected = int(told[1]) if told else 0
        assert done.returncode == expected, f"{place}: {line}\n{done.stdout}\n{done.stderr}"
    else:
        assert words[0] in ("git", "cd", "pip", "uv", "export"), f"{place}: {words[0]!r} is no command this test knows"


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0
