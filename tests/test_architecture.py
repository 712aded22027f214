"""Who may import whom. LAYERS is the rule, docs/architecture.md shows the same table, and every import is held to it.

Relative, plain, lazy and TYPE_CHECKING imports all count.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "kapelle"

# Left of a name stand those it may import; neighbours in one group do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("redaction",),
    ("errors",),
    ("failures",),
    ("documents",),
    ("limits", "language"),
    ("graph", "compute", "coordination", "release"),
    ("ledger",),
    ("tracing",),
    ("models",),
    ("knowledge", "diagnosis"),
    ("tools",),
    ("agents",),
    ("local",),
    ("planning", "routing"),
    ("budget",),
    ("estimates",),
    ("strategies",),
    ("allocation",),
    ("evaluation",),
    ("learning",),
    ("validation",),
    ("execution",),
    ("engine",),
    ("patterns",),
    ("testing",),
    ("views",),
    ("terminal", "process"),
    ("cli", "server", "gateway"),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


PYTHON = sorted(SOURCE.rglob("*.py"))
AT_THE_ROOT = {"__init__.py", "__init__.pyi", "__main__.py", "errors.py", "py.typed"}
MAX_LINES = 400
KEEPS_METADATA = {"graph", "patterns"}
"""Who may write what stands in a task's metadata: those are the user's own facts of it."""
FAKES = "kapelle.testing"
FIGURES = sorted(path for path in (ROOT / "bench").rglob("*.py") if not path.name.startswith("__"))


def module_name(path: Path) -> str:
    top = SOURCE.parent if path.is_relative_to(SOURCE) else ROOT
    parts = path.relative_to(top).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, module, name) for every import of kapelle in a file; `name` is empty for `import module`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "kapelle":
                    yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module_name(path if path.name == "__init__.py" else path.with_name("__init__.py"))
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            if base.partition(".")[0] == "kapelle":
                for alias in node.names:
                    yield node.lineno, base, alias.name


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_imports_only_what_stands_left_of_it(path: Path) -> None:
    own = layer_of(module_name(path))
    for line, module, name in imported_modules(path):
        target = layer_of(module) or (name if name in LEVEL else "")
        where = f"{path.relative_to(ROOT)}:{line} imports {module} {name}"
        if not target:
            assert own == "cli" or name == "later", f"{where}: only the command line needs the whole package"
        elif target != own:
            assert LEVEL[target] < LEVEL[own], f"{where}: {target!r} does not stand left of {own!r}"
            direct = module.count(".") <= 1
            assert direct, f"{where}: take names from the package kapelle.{target}, not from its files"


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
def test_the_files_of_a_folder_import_each_other_in_no_circle(folder: Path) -> None:
    files = {module_name(path): path for path in folder.glob("*.py") if path.name != "__init__.py"}
    waits = {
        module: {found for _, found, _ in imported_modules(path) if found in files} for module, path in files.items()
    }
    while free := [module for module, needed in waits.items() if not needed]:
        for module in free:
            del waits[module]
        waits = {module: needed - set(free) for module, needed in waits.items()}
    assert not waits, f"these import each other in a circle: {', '.join(waits)}"


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def handed_on() -> dict[str, dict[str, tuple[str, str]]]:
    """By package, the names that it hands on, with the module that each is imported from."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for path in PYTHON:
        if path.name == "__init__.py" and path.parent != SOURCE:
            found[module_name(path)] = {name: (module, name) for _, module, name in imported_modules(path) if name}
    homes: dict[str, str] = next(
        ast.literal_eval(node.value)
        for node in parsed(SOURCE / "__init__.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    )
    found["kapelle"] = {name: (f"kapelle.{home}", name) for home, names in homes.items() for name in names.split()}
    return found


@cache
def modules_by_name() -> dict[str, Path]:
    return {module_name(path): path for path in PYTHON}


def origin_of(module: str, name: str) -> str:
    """Return the module that a name is defined in."""
    while f"{module}.{name}" not in modules_by_name() and name in handed_on().get(module, {}):
        module, name = handed_on()[module][name]
    return f"{module}.{name}" if f"{module}.{name}" in modules_by_name() else module


def needed_by(path: Path) -> set[str]:
    return {origin_of(module, name) for _, module, name in imported_modules(path)}


@cache
def reached() -> frozenset[str]:
    """Return the modules that the engine and the command line need, in as many steps as it takes."""
    known = modules_by_name()
    found: set[str] = set()
    waiting = [name for name in known if name.split(".")[1:2] in (["cli"], ["engine"])]
    while waiting:
        if (module := waiting.pop()) not in found and module in known:
            found.add(module)
            if known[module].name != "__init__.py" or "cli" in module:
                waiting.extend(needed_by(known[module]))
    return frozenset(found)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: str(path.relative_to(ROOT / "bench")))
def test_what_makes_a_figure_is_what_users_reach(path: Path) -> None:
    apart = {one for one in needed_by(path) if one not in reached() and not one.startswith((FAKES, "kapelle.__"))}
    apart -= {one for one in apart if modules_by_name()[one].name == "__init__.py"}
    assert not apart, f"neither the engine nor the command line needs {', '.join(sorted(apart))}: wire it, or let it go"


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in PYTHON:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_file_is_too_long_to_read() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in PYTHON}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_what_there_is_stands_in_folders() -> None:
    assert {path.name for path in SOURCE.iterdir() if path.is_file()} <= AT_THE_ROOT


def test_stages_tell_each_other_nothing_by_metadata() -> None:
    """Typed values do that; the documented keys are derived from them."""
    written = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PYTHON
        if path.relative_to(SOURCE).parts[0] not in KEEPS_METADATA
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del))
        if (getattr(node.value, "attr", None) or getattr(node.value, "id", None)) == "metadata"
    ]
    assert not written


def test_every_folder_and_file_has_its_layer() -> None:
    names = {path.stem if path.is_file() else path.name for path in SOURCE.iterdir() if not path.name.startswith("_")}
    assert names - {"py.typed", "py"} <= LEVEL.keys()


@pytest.mark.slow
def test_every_package_says_what_it_is_for() -> None:
    for path in PYTHON:
        assert ast.get_docstring(parsed(path)), f"{path} has no docstring"


def test_the_document_shows_the_same_table() -> None:
    table = " <\n".join(" | ".join(names) for names in LAYERS)
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    flat = " ".join(text.replace("<", " < ").split())
    assert " ".join(table.replace("<", " < ").split()) in flat, f"docs/architecture.md must show:\n{table}"
