"""Who may import whom. LAYERS is the rule, docs/architecture.md shows the same table, and every import is held to it.

Relative, plain, lazy and TYPE_CHECKING imports all count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
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


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, module, name) for every import of kapelle in a file; `name` is empty for `import module`."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "kapelle":
                    yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
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


def test_every_folder_and_file_has_its_layer() -> None:
    names = {path.stem if path.is_file() else path.name for path in SOURCE.iterdir() if not path.name.startswith("_")}
    assert names - {"py.typed", "py"} <= LEVEL.keys()


@pytest.mark.slow
def test_every_package_says_what_it_is_for() -> None:
    for path in [*SOURCE.rglob("*.py")]:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


def test_the_document_shows_the_same_table() -> None:
    table = " <\n".join(" | ".join(names) for names in LAYERS)
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    flat = " ".join(text.replace("<", " < ").split())
    assert " ".join(table.replace("<", " < ").split()) in flat, f"docs/architecture.md must show:\n{table}"
