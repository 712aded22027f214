"""What a folder holds for the local agents, and what was left out of it, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kapelle.knowledge import FolderIndex, SkippedFile
from kapelle.tools import SkippedTable, Tables

from .table_questions import TableQuestions

MAX_NAMED_FILES = 3

LeftOut = SkippedFile | SkippedTable


class LocalFolder:
    """A folder as the local agents see it: its documents, its tables, and questions to those. Reads it once for all."""

    def __init__(self, folder: Path) -> None:
        self.index = FolderIndex(folder)
        self.tables = Tables(folder)
        self.questions = TableQuestions(self.tables)

    @classmethod
    def of(cls, folder: Path | LocalFolder | None) -> LocalFolder | None:
        """Return the folder, opened if it is not yet.

        Raises:
            NotFound: there is no such folder.
        """
        return cls(folder) if isinstance(folder, Path) else folder


def folder_files(folder: Path | LocalFolder | None) -> tuple[str, ...]:
    """Return the files that the local agents read, as paths inside the folder; a RulePlanner knows them by these."""
    if (local := LocalFolder.of(folder)) is None:
        return ()
    return tuple(sorted({*local.index.files, *(table.file for table in local.tables.tables)}))


def skipped_files(folder: Path | LocalFolder | None) -> tuple[LeftOut, ...]:
    """Return the files of a folder that no local agent reads although they look like texts or tables."""
    if (local := LocalFolder.of(folder)) is None:
        return ()
    return left_out(local.index, local.tables)


def table_notes(folder: Path | LocalFolder | None) -> tuple[str, ...]:
    """Return what is to be known of how the tables of a folder were read, each sentence with its place."""
    if (local := LocalFolder.of(folder)) is None:
        return ()
    return tuple(note for table in local.tables.tables for note in table.notes)


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
