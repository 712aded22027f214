"""What a folder holds for the local agents, and what was left out of it, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kapelle.knowledge import FolderIndex, SkippedFile
from kapelle.tools import SkippedTable, Tables

MAX_NAMED_FILES = 3

LeftOut = SkippedFile | SkippedTable


def folder_files(folder: Path | None) -> tuple[str, ...]:
    """Return the files that the local agents read, as paths inside the folder; a RulePlanner knows them by these."""
    if folder is None:
        return ()
    with FolderIndex(folder) as index, Tables(folder) as tables:
        return tuple(sorted({*index.files, *(table.file for table in tables.tables)}))


def skipped_files(folder: Path | None) -> tuple[LeftOut, ...]:
    """Return the files of a folder that no local agent reads although they look like texts or tables."""
    if folder is None:
        return ()
    with FolderIndex(folder) as index, Tables(folder) as tables:
        return left_out(index, tables)


def left_out(index: FolderIndex | None, tables: Tables | None) -> tuple[LeftOut, ...]:
    """Return what was left out at a look just now, each file once."""
    found: dict[str, LeftOut] = {}
    if tables is not None:
        tables.tables  # noqa: B018 - looks again
        found.update((skipped.file, skipped) for skipped in tables.skipped)
    if index is not None:
        index.files  # noqa: B018 - looks again
        for entry in index.skipped:
            found.setdefault(entry.file, entry)
    return tuple(found[file] for file in sorted(found))


def name_left_out(skipped: Iterable[LeftOut]) -> str:
    """Return a sentence on what was left out, with a space before it; empty when that is nothing."""
    files = list(skipped)
    if not files:
        return ""
    named = ", ".join(f"{entry.file} ({entry.reason})" for entry in files[:MAX_NAMED_FILES])
    more = f" and {len(files) - MAX_NAMED_FILES} more" if len(files) > MAX_NAMED_FILES else ""
    return f" {len(files)} file{'s were' if len(files) > 1 else ' was'} left out: {named}{more}."


def find_left_out(file: str, skipped: Iterable[LeftOut]) -> LeftOut | None:
    """Return the entry of a file that is named by its path or by its name alone, or None."""
    name = file.replace("\\", "/").rsplit("/", 1)[-1].casefold()
    return next((entry for entry in skipped if entry.file.rsplit("/", 1)[-1].casefold() == name), None)
