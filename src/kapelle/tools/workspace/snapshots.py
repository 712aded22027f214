"""What a workspace held at a moment, how two moments differ, and the way back.

A snapshot lists every file with the hash of its content; contents are kept once each, in a folder beside the workspace.
A file whose inode, size and times are as they were is not read again, unless it changed so shortly before that its
times could not show another change. Nothing of the workspace is ever run or obeyed: no configuration, hook or filter of
a repository in it.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kapelle.documents import write_beside_then_rename
from kapelle.errors import KapelleError, RefusedQuery
from kapelle.ledger import printable

from .confined import is_being_written, look_at, open_file, open_folder, read_all, replace_file
from .texts import decode, is_binary

MAX_KEPT_BYTES = 50_000_000
"""A larger file is hashed and not kept: its change is told, and cannot be taken back."""
MAX_FILES = 200_000
MAX_DIFF_BYTES = 200_000
"""Of a file, beyond which a diff tells sizes alone."""
MAX_DIFF_LINES = 2_000
_RACY_NS = 50_000_000
"""File systems count time in steps of a few milliseconds: what changed within this of a look may change unseen."""

Kind = Literal["file", "link", "folder", "other"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at one path."""

    kind: Kind
    mode: int = 0
    size: int = 0
    digest: str = ""
    """SHA-256 of the content, in hexadecimal; empty where it could not be read. Of a link, of where it points."""
    target: str = ""
    """Where a link points."""
    stamp: tuple[int, ...] = field(default=(), compare=False)
    """Inode, size and times, by which an unchanged file is known."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A workspace at a moment."""

    entries: Mapping[str, Entry]
    """By path from the workspace, names joined by '/'."""
    taken_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How one path differs between two snapshots."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Entry | None
    after: Entry | None

    @property
    def shown(self) -> str:
        """Its path for people: on one line, and steering no terminal."""
        return printable(self.path.replace("\n", "\\n"))

    @property
    def starts_code(self) -> bool:
        """Whether a program outside may run what it holds without being asked: hooks and settings of repositories."""
        if self.after is None or self.after.kind == "folder":
            return False
        *above, name = self.path.split("/")
        in_repository = ".git" in above and not {"objects", "refs", "logs"} & set(above)
        return in_repository or "hooks" in above or name in _STARTING or name.endswith(".pth")


_STARTING = frozenset(
    {".git", "config.worktree", ".gitattributes", ".gitmodules", ".envrc", "pyvenv.cfg", "sitecustomize.py"}
    | {"usercustomize.py", ".bashrc", ".profile", ".pre-commit-config.yaml"}
)
"""Names of files that programs outside obey when they are pointed at their folder: a `.git` file names another."""


def take_snapshot(root: int, kept: Path, before: Snapshot | None = None) -> Snapshot:
    """Look at everything beneath an open folder, and keep the contents that are new.

    Args:
        kept: the folder of contents.
        before: an earlier snapshot, whose files are not read again where nothing shows a change.
    """
    known = before.entries if before is not None else {}
    checked = before.taken_ns if before is not None else 0
    taken_ns = time.time_ns()
    found: dict[str, Entry] = {}
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        names = waiting.pop()
        try:
            with open_folder(root, names) as folder:
                for name in os.listdir(folder):
                    path = "/".join((*names, name))
                    entry = _look(root, folder, (*names, name), known.get(path), checked, kept)
                    if entry is not None:
                        found[path] = entry
                        waiting += [(*names, name)] if entry.kind == "folder" else []
        except (KapelleError, OSError):  # locked: what was known of it still is all that is
            inside = "".join(f"{name}/" for name in names)
            found.update({path: entry for path, entry in known.items() if path.startswith(inside)})
        if len(found) > MAX_FILES:
            raise RefusedQuery(f"The workspace holds more than {MAX_FILES:,} files. Remove some.")
    return Snapshot(dict(sorted(found.items())), taken_ns)


def find_changes(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    """Return what differs, by path."""
    changes = []
    for path in sorted({*before.entries, *after.entries}):
        old, new = before.entries.get(path), after.entries.get(path)
        if old != new:
            kind: Literal["added", "removed", "changed"] = (
                "added" if old is None else "removed" if new is None else "changed"
            )
            changes.append(Change(path=path, kind=kind, before=old, after=new))
    return tuple(changes)


def describe_changes(changes: Iterable[Change], kept: Path) -> str:
    """Return a unified diff of texts, one line for what is none, and first what could run code outside."""
    changes = tuple(changes)
    warned = [f"! {change.shown} can start code outside of the sandbox" for change in changes if change.starts_code]
    parts = ["\n".join(warned)] if warned else []
    lines = 0
    for change in changes:
        if change.kind != "changed" and (change.after or change.before or Entry("other")).kind == "folder":
            continue
        told = list(_diff_of(change, kept))
        if lines + len(told) > MAX_DIFF_LINES:
            told = [f"{change.shown}: {change.kind}, not shown here"]
        lines += len(told)
        parts.append("\n".join(told))
    return "\n".join(parts)


def take_back(root: int, kept: Path, before: Snapshot, changes: Iterable[Change]) -> tuple[str, ...]:
    """Put back what stood at the paths of the changes, and return those where that is not possible."""
    failed = []
    changes = tuple(changes)
    for change in reversed(changes):  # what is in a folder before the folder
        is_other = change.after is not None and (change.before is None or change.before.kind != change.after.kind)
        if is_other and not _remove(root, change.path):
            failed.append(change.path)
    for change in changes:
        if change.before is not None and change.path not in failed and not _put(root, kept, change.path, change.before):
            failed.append(change.path)
    return tuple(failed)


def _look(root: int, folder: int, path: tuple[str, ...], known: Entry | None, checked: int, kept: Path) -> Entry | None:
    found = look_at(folder, path[-1])
    if found is None or is_being_written(path[-1], found):
        return None
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        return Entry("folder", mode)
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(path[-1], dir_fd=folder)
        return Entry("link", 0, len(target), _hash(os.fsencode(target)), target)
    if not stat.S_ISREG(found.st_mode):
        return Entry("other", mode)
    stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if known is not None and known.stamp == stamp and known.digest and found.st_ctime_ns < checked - _RACY_NS:
        return Entry("file", mode, found.st_size, known.digest, stamp=stamp)
    with suppress(KapelleError, OSError), open_file(root, path) as opened:
        if found.st_size > MAX_KEPT_BYTES:
            with os.fdopen(os.dup(opened), "rb") as file:
                return Entry("file", mode, found.st_size, hashlib.file_digest(file, "sha256").hexdigest(), stamp=stamp)
        content = read_all(opened, 2 * MAX_KEPT_BYTES, path[-1])
        digest = _hash(content)
        _keep(kept, digest, content)
        return Entry("file", mode, len(content), digest, stamp=stamp)
    return Entry("file", mode, found.st_size, stamp=stamp)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _kept_at(kept: Path, digest: str) -> Path:
    return kept / digest[:2] / digest


def _keep(kept: Path, digest: str, content: bytes) -> None:
    place = _kept_at(kept, digest)
    if not place.exists():
        write_beside_then_rename(place, content, make_folder=True)


def _content(kept: Path, entry: Entry | None) -> bytes | None:
    if entry is None or entry.kind == "folder":
        return b""
    if entry.kind == "link":
        return f"link to {entry.target}\n".encode(errors="replace")
    try:
        return _kept_at(kept, entry.digest).read_bytes()
    except OSError:
        return None


def _diff_of(change: Change, kept: Path) -> Iterable[str]:
    old, new = (_content(kept, entry) for entry in (change.before, change.after))
    sizes = f"{change.before.size if change.before else 0:,} -> {change.after.size if change.after else 0:,} bytes"
    if old is None or new is None or max(len(old), len(new)) > MAX_DIFF_BYTES:
        yield f"{change.shown}: {change.kind}, {sizes}"
    elif is_binary(old) or is_binary(new):
        yield f"{change.shown}: {change.kind}, no text, {sizes}"
    elif old == new:
        modes = [f"{entry.kind} {entry.mode:o}" for entry in (change.before, change.after) if entry is not None]
        yield f"{change.shown}: {change.kind}" + (f", {' -> '.join(modes)}" if len(modes) > 1 else ", empty")
    else:
        before, after = decode(old).text.splitlines(keepends=True), decode(new).text.splitlines(keepends=True)
        names = ("/dev/null" if change.before is None else f"a/{change.shown}",
                 "/dev/null" if change.after is None else f"b/{change.shown}")  # fmt: skip
        for line in difflib.unified_diff(before, after, *names):
            yield _shown(line)


def _shown(line: str) -> str:
    """Return a line of a diff with an unusual end of line made visible."""
    return printable(line.removesuffix("\n").replace("\r", "\\r"))


def _remove(root: int, path: str) -> bool:
    *above, name = path.split("/")
    try:
        with open_folder(root, tuple(above)) as folder:
            found = look_at(folder, name)
            if found is None:
                return True
            if stat.S_ISDIR(found.st_mode):
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
    except (OSError, KapelleError):
        return False
    return True


def _put(root: int, kept: Path, path: str, entry: Entry) -> bool:
    names = tuple(path.split("/"))
    try:
        if entry.kind == "folder":
            with open_folder(root, names, make=True) as folder:
                os.fchmod(folder, entry.mode & 0o3777)
        elif entry.kind == "file":
            content = _kept_at(kept, entry.digest).read_bytes()
            replace_file(root, names, content, mode=entry.mode)
        elif entry.kind == "link":
            with open_folder(root, names[:-1], make=True) as folder:
                with suppress(FileNotFoundError):
                    os.unlink(names[-1], dir_fd=folder)
                os.symlink(entry.target, names[-1], dir_fd=folder)
        else:
            return False
    except (OSError, KapelleError):
        return False
    return True
