"""Finds the files of a folder that may be read, and names the ones that may not. Opens none of them.

Links that lead out, what is no plain file, what is too large, and names that would write control characters on a
terminal are left out with the reason. The walk itself has limits of depth and entries, because every search looks
again.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

MAX_DEPTH = 64
"""Folders within folders; a path of 4,096 bytes can hold two thousand."""
MAX_ENTRIES = 100_000
MAX_NAMED = 1_000
"""So many files are named of those left out; the others are counted."""

# Categories of characters that can steer a terminal, and the marks that turn the order of text around.
_CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile:
    """A file that may be read."""

    path: str
    name: str
    """Path inside the folder, with forward slashes."""
    mtime_ns: int
    size: int

    @property
    def ending(self) -> str:
        """The end of its name, in lower case: `.csv`."""
        return os.path.splitext(self.name)[1].lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A file or folder that is left out, and why."""

    file: str
    """Its path inside the folder, fit to be shown."""
    reason: str


def look_through(
    root: Path, endings: Collection[str], *, max_file_bytes: int, max_folder_bytes: int, max_files: int
) -> tuple[list[FoundFile], list[Skipped]]:
    """Return the files with these endings that may be read, in order of their names, and what is left out.

    Args:
        root: A folder, or one file.
    """
    found: list[FoundFile] = []
    skipped: list[Skipped] = []
    total = 0
    above = len(str(root).rstrip(os.sep)) + 1
    for entry in _walk(root):
        name = entry.path[above:].replace(os.sep, "/") or root.name
        reason = entry.trouble
        if not reason:
            if not entry.is_link and os.path.splitext(name)[1].lower() not in endings:
                continue
            try:
                if entry.is_link and not Path(entry.path).resolve().is_relative_to(root):
                    reason = "a link that leads out of the folder"
                facts = os.stat(entry.path)
            except (OSError, RuntimeError) as error:
                reason = reason or f"cannot be looked at: {_describe(error)}"
        if not reason:
            if os.path.splitext(name)[1].lower() not in endings or stat.S_ISDIR(facts.st_mode):
                continue
            if not stat.S_ISREG(facts.st_mode):
                reason = "not a plain file"
            elif facts.st_size > max_file_bytes:
                reason = f"larger than {max_file_bytes:,} bytes"
            elif total + facts.st_size > max_folder_bytes or len(found) >= max_files:
                reason = f"the folder holds more than {max_files:,} such files or {max_folder_bytes:,} bytes"
            elif not is_printable(name):
                reason = "the name holds control characters"
        if reason:
            skipped.append(Skipped(file=printable_name(name), reason=reason))
        else:
            total += facts.st_size
            found.append(FoundFile(path=entry.path, name=name, mtime_ns=facts.st_mtime_ns, size=facts.st_size))
    if len(skipped) > MAX_NAMED:
        more = len(skipped) - MAX_NAMED
        skipped[MAX_NAMED:] = [Skipped(file=f"{more:,} others", reason="they are not named one by one")]
    return found, skipped


def is_printable(name: str) -> bool:
    """Whether a name shows as what it is: no control character, no lone surrogate, nothing that turns text around."""
    return name.isprintable() or not any(
        char in _TURNING or unicodedata.category(char) in _CONTROL_CATEGORIES for char in name
    )


def printable_name(name: str) -> str:
    """Return a name fit to be shown: with escapes for what is not printable.

    >>> printable_name("notes/a\\x1b[2J.md")
    'notes/a\\\\x1b[2J.md'
    """
    if is_printable(name):
        return name
    escaped = (char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in name)
    return "".join(char if is_printable(char) else code for char, code in zip(name, escaped, strict=True))


class _Entry(NamedTuple):
    path: str
    is_link: bool = False
    trouble: str = ""
    """Why it cannot be gone into."""


def _walk(root: Path) -> Iterator[_Entry]:
    """Yield every file, every link, and with the reason every folder that cannot be gone into."""
    if not root.is_dir():
        yield _Entry(str(root))
        return
    waiting = [(str(root), 0)]
    entries = 0
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as there:
                listed = list(islice(there, MAX_ENTRIES - entries + 1))
        except OSError as error:
            yield _Entry(folder, trouble=f"cannot be looked into: {_describe(error)}")
            continue
        entries += len(listed)
        inner: list[str] = []
        for one in sorted(listed, key=attrgetter("name")):
            if one.name.startswith("."):
                continue
            try:
                is_link, is_folder = one.is_symlink(), one.is_dir(follow_symlinks=False)
            except OSError:
                is_link = is_folder = False
            if is_folder:
                inner.append(one.path)
            else:
                yield _Entry(one.path, is_link)
        if entries > MAX_ENTRIES:
            trouble = f"more than {MAX_ENTRIES:,} files and folders; what comes after is not looked at"
            yield _Entry(folder, trouble=trouble)
            return
        if depth >= MAX_DEPTH:
            for path in inner:
                yield _Entry(path, trouble=f"more than {MAX_DEPTH} folders deep")
        else:
            waiting += [(path, depth + 1) for path in reversed(inner)]


def _describe(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
