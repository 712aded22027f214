"""Writes what is derived from the source: docs/api.md from docstrings, `kapelle/__init__.pyi` from the list of names.

`make docs` runs it; a test says when it is due.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import kapelle

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "kapelle"
REFERENCE = ROOT / "docs" / "api.md"
STUB = SOURCE / "__init__.pyi"
APART = {"cli", "process", "terminal"}
"""Packages of the command line alone: what they promise is what it prints."""
LONGEST_VALUE = 60
INTRODUCTION = """# Reference

Every public name, in the package that it is imported from: `from kapelle.graph import topological_order`. Those marked
with ● are in `kapelle` itself too. Written by `make docs` from the docstrings; a class stands with what it is made of.
"""


def root_stub() -> str:
    """Return the root's names as imports, which type checkers and editors read in place of the root."""
    imports = [
        f"from kapelle.{home} import {name} as {name}"
        for home, names in vars(kapelle)["_HOMES"].items()
        for name in names.split()
    ]
    return "\n".join([*imports, "", "__version__: str", "__all__: list[str]", ""])


def reference() -> str:
    """Return the document that lists every public name of every package."""
    parts = [INTRODUCTION]
    for package in sorted(packages()):
        module = import_module(f"kapelle.{package}")
        names = sorted(public_names(package), key=str.lower)
        entries = [f"- {_describe(name, getattr(module, name))}" for name in names]
        about = _first_paragraph(module.__doc__)
        parts.append(f"## kapelle.{package}\n{about}\n\n" + "\n".join(entries) + "\n")
    return "\n".join(parts)


def packages() -> Iterator[str]:
    yield "errors"
    for folder in SOURCE.iterdir():
        if (folder / "__init__.py").is_file() and folder.name not in APART:
            yield folder.name


def public_names(package: str) -> list[str]:
    """Return what a package hands out: in its `__init__`, `from .task import Task as Task`."""
    folder = SOURCE / package
    if not folder.is_dir():
        tree = ast.parse(folder.with_suffix(".py").read_text(encoding="utf-8"))
        return [node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return [alias.name for node in found for alias in node.names if alias.name == alias.asname]


def _describe(name: str, value: Any) -> str:
    mark = " ●" if name in kapelle.__all__ else ""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return f"`{name}`" + (f" = `{said}`" if (said := _value(value)) != "..." else "") + mark
    return f"`{name}{_signature(value)}`{mark}: {_first_paragraph(value.__doc__)}"


def _signature(value: Any) -> str:
    if inspect.isclass(value) and (issubclass(value, BaseException) or getattr(value, "_is_protocol", False)):
        return ""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    said: list[str] = []
    for one in parameters:
        stars = "*" * (one.kind is one.VAR_POSITIONAL) + "**" * (one.kind is one.VAR_KEYWORD)
        if one.kind is one.KEYWORD_ONLY and not any(word.startswith("*") for word in said):
            said.append("*")
        kind = f": {one.annotation}" if isinstance(one.annotation, str) else ""
        default = "" if one.default is one.empty else f" = {_value(one.default)}"
        said.append(f"{stars}{one.name}{kind}{default}")
    return f"({', '.join(said)})"


def _value(value: object) -> str:
    """Return a short value as it is written; no set, which lists its items in another order each time."""
    said = repr(value)
    steady = len(said) <= LONGEST_VALUE and not said.startswith("<") and "{" not in said and " at 0x" not in said
    return said if steady else "..."


def _first_paragraph(text: str | None) -> str:
    return re.sub(r"\s+", " ", inspect.cleandoc(text or "").partition("\n\n")[0])


def main() -> None:
    for path, text in ((REFERENCE, reference()), (STUB, root_stub())):
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
