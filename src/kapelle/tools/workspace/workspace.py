"""The folder of a run in which its agents read and write, and out of which they cannot."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kapelle.errors import InvalidInput

from .confined import (
    IS_SUPPORTED,
    is_being_written,
    look_at,
    open_file,
    open_folder,
    read_all,
    replace_file,
    split_path,
)
from .snapshots import Change, Snapshot, describe_changes, find_changes, take_back, take_snapshot
from .texts import decode, replace_once

MAX_FILE_BYTES = 20_000_000
MAX_LISTED = 1_000
MAX_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class WorkspaceFile:
    """One line of a listing."""

    path: str
    is_folder: bool
    size: int
    """Of a file, in bytes."""


class Workspace:
    """A folder whose files can be read, written, compared and taken back, and nothing outside of it.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp())
    >>> with Workspace(place / "files", kept=place / "kept") as files:
    ...     files.write("notes/a.txt", "one")
    ...     before = files.snapshot()
    ...     files.replace("notes/a.txt", "one", "two")
    ...     print(files.describe(files.changes(before)))
    ...     files.take_back(before)
    ...     files.read("notes/a.txt")
    --- a/notes/a.txt
    +++ b/notes/a.txt
    @@ -1 +1 @@
    -one
    +two
    ()
    'one'

    Args:
        folder: made if it is missing. It may be a folder of the user's own.
        kept: where contents are kept for `take_back`; outside of the folder, so that no command reaches it.

    Raises:
        InvalidInput: the system has no way to keep paths in, or `kept` lies in the folder.
    """

    def __init__(self, folder: Path, *, kept: Path) -> None:
        if not IS_SUPPORTED:
            raise InvalidInput("A workspace needs Linux or macOS: this system cannot keep its paths in.")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self._kept = kept.resolve()
        if self._kept.is_relative_to(self.folder):
            raise InvalidInput(f"The contents that are kept would lie in the workspace {folder}. Keep them elsewhere.")
        self._root = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._latest: Snapshot | None = None

    def read_bytes(self, path: str, *, most: int = MAX_FILE_BYTES) -> bytes:
        """Return a file's content.

        Raises:
            RefusedQuery: the path leads out of the workspace or over a link, or the file is larger than `most`.
            CannotAnswer: there is no such file.
        """
        names = self._split(path)
        with open_file(self._root, names) as opened:
            return read_all(opened, most, "/".join(names))

    def read(self, path: str, *, most: int = MAX_FILE_BYTES) -> str:
        """Return a file's text, with the ends of lines that it has; see `read_bytes`."""
        return decode(self.read_bytes(path, most=most)).text

    def write(self, path: str, content: str | bytes) -> None:
        """Put a file in place as a whole, with the folders on the way. One that is there keeps its permissions.

        Raises:
            RefusedQuery: the path leads out of the workspace or over a link, or the content is too large.
            CannotAnswer: it cannot be written there.
        """
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        if len(data) > MAX_FILE_BYTES:
            raise InvalidInput(
                f"The content of {path!r} is larger than {MAX_FILE_BYTES:,} bytes. Write it by a command."
            )
        replace_file(self._root, self._split(path), data)

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace the one place where `old` stands in a file; every other byte stays as it is.

        Raises:
            CannotAnswer: it stands there never, or more than once: the message names the lines.
        """
        found = decode(self.read_bytes(path))
        self.write(path, found.encode(replace_once(found.text, old, new, name=path)))

    def list(self, path: str = ".", *, depth: int = 1) -> tuple[WorkspaceFile, ...]:
        """Return what is in a folder, by path, down to a depth; `MAX_LISTED` at most. Links are not among it."""
        found: list[WorkspaceFile] = []
        waiting = [self._split(path)]
        start = len(waiting[0])
        while waiting:
            names = waiting.pop(0)
            with open_folder(self._root, names) as folder:
                for name in sorted(os.listdir(folder)):
                    seen = look_at(folder, name)
                    if seen is None or is_being_written(name, seen) or stat.S_ISLNK(seen.st_mode):
                        continue
                    is_folder = stat.S_ISDIR(seen.st_mode)
                    found.append(WorkspaceFile("/".join((*names, name)), is_folder, 0 if is_folder else seen.st_size))
                    if len(found) >= MAX_LISTED:
                        return tuple(sorted(found, key=lambda each: each.path))
                    if is_folder and len(names) - start + 1 < depth:
                        waiting.append((*names, name))
        return tuple(sorted(found, key=lambda each: each.path))

    def snapshot(self) -> Snapshot:
        """Return what it holds now, and keep it for `take_back`."""
        self._latest = take_snapshot(self._root, self._kept, self._latest)
        return self._latest

    def changes(self, since: Snapshot) -> tuple[Change, ...]:
        """Return what differs from an earlier snapshot."""
        return find_changes(since, self.snapshot())

    def describe(self, changes: tuple[Change, ...]) -> str:
        """Return changes as a diff for people. What could run code outside of the sandbox stands first."""
        return describe_changes(changes, self._kept)

    def take_back(self, to: Snapshot) -> tuple[str, ...]:
        """Make it what it was at a snapshot; return the paths where that was not possible.

        A folder that was locked meanwhile shows what is in it only once it is open again, so it is compared anew.
        """
        for _ in range(MAX_ROUNDS):
            changes = self.changes(to)
            if not changes:
                return ()
            take_back(self._root, self._kept, to, changes)
        return tuple(change.path for change in self.changes(to))

    def close(self) -> None:
        """Let go of the folder. Its files stay."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _split(self, path: str) -> tuple[str, ...]:
        return split_path(path, root=str(self.folder))
