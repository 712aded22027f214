"""Opens what lies beneath a folder, and nothing else, whatever happens to the folder meanwhile.

A path is walked name by name from an open folder, and no link is followed, the last name's neither. So a link that
points outside, one that is made between a check and its use, or a folder that is swapped for a link changes nothing:
what is opened lies beneath the folder, or is not opened. Nothing but files and folders is opened: a pipe would wait for
a writer, and a device may do anything.

Where a system cannot open beneath an open folder (Windows) there is no such walk, and a workspace cannot be used.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

from kapelle.errors import CannotAnswer, InvalidInput, KapelleError, RefusedQuery

MAX_PATH_CHARS = 4_000
MAX_NAME_BYTES = 255
MAX_WRITING_S = 60.0
IS_SUPPORTED = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_TEMPORARY = re.compile(r"\.kapelle-writing-[0-9a-f]{16}")
"""Names of files that are being written."""

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def split_path(path: str, *, root: str = "") -> tuple[str, ...]:
    """Return the names of a path beneath the workspace; none for the workspace itself.

    An absolute path is taken as well, where it begins with the workspace's own (`root`): commands print such.

    Raises:
        RefusedQuery: it leads out of the workspace.
        InvalidInput: it is no path: empty, too long, or with characters that no path has.
    """
    if not path.strip() or "\0" in path or len(path) > MAX_PATH_CHARS:
        raise InvalidInput(
            f"The path {path[:80]!r} is none. Give the path of a file in the workspace, like 'notes/a.md'."
        )
    told = PurePosixPath(path)
    if told.is_absolute():
        if not root or not told.is_relative_to(root):
            raise RefusedQuery(
                f"The path {path!r} is not in the workspace. Give one that begins in it, like 'notes/a.md'."
            )
        told = told.relative_to(root)
    names: list[str] = []
    for name in told.parts:
        if name == "..":
            if not names:
                raise RefusedQuery(f"The path {path!r} leads out of the workspace. Leave out '..'.")
            names.pop()  # no link is ever followed, so this is where it leads
        else:
            names.append(name)
    for name in names:
        try:
            size = len(os.fsencode(name))
        except UnicodeEncodeError:
            raise InvalidInput(f"The path {path!r} has characters that no file's name can have.") from None
        if size > MAX_NAME_BYTES:
            raise InvalidInput(f"The name {name[:40]!r}... is longer than {MAX_NAME_BYTES} bytes. Shorten it.")
    return tuple(names)


@contextmanager
def open_folder(root: int, names: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    """Open a folder beneath an open one, and close it afterwards.

    Args:
        make: make the folders on the way that are missing.
    """
    current = os.open(".", _FOLDER, dir_fd=root)
    try:
        for position, name in enumerate(names):
            if make:
                with suppress(FileExistsError), _explained(names[: position + 1], current):
                    os.mkdir(name, 0o755, dir_fd=current)
            with _explained(names[: position + 1], current):
                inner = os.open(name, _FOLDER, dir_fd=current)
            os.close(current)
            current = inner
        yield current
    finally:
        os.close(current)


@contextmanager
def open_file(root: int, names: tuple[str, ...]) -> Iterator[int]:
    """Open a file beneath an open folder for reading, and close it afterwards."""
    if not names:
        raise InvalidInput("The workspace itself is a folder. Name a file in it.")
    with open_folder(root, names[:-1]) as folder, _explained(names, folder):
        opened = os.open(names[-1], _READ, dir_fd=folder)
    try:
        _must_be_file(os.fstat(opened), names)
        yield opened
    finally:
        os.close(opened)


def read_all(descriptor: int, most: int, name: str) -> bytes:
    """Return the content of an open file of `most` bytes at most; it may grow while it is read."""
    parts, total = [], 0
    while chunk := os.read(descriptor, 1 << 20):
        total += len(chunk)
        if total > most:
            raise RefusedQuery(f"{name!r} is larger than {most:,} bytes. Read a part of it with a command.")
        parts.append(chunk)
    return b"".join(parts)


def replace_file(root: int, names: tuple[str, ...], content: bytes, *, mode: int | None = None) -> None:
    """Put a file in place as a whole: whoever reads it sees what was before or what is now, never a part.

    Args:
        mode: its permissions; those of the file that it replaces, or the usual ones, if None.
    """
    if not names:
        raise InvalidInput("The workspace itself is a folder. Name a file in it.")
    beside = f".kapelle-writing-{secrets.token_hex(8)}"
    with open_folder(root, names[:-1], make=True) as folder:
        before = look_at(folder, names[-1])
        if before is not None:
            _must_be_file(before, names)
        wanted = mode if mode is not None else stat.S_IMODE(before.st_mode) if before is not None else 0o644
        with _explained(names, folder):
            written = os.open(beside, _CREATE, 0o600, dir_fd=folder)
        try:
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(written, left) :]
                os.fchmod(written, wanted & 0o777)
            finally:
                os.close(written)
            with _explained(names, folder):
                os.rename(beside, names[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            if isinstance(error, OSError):
                raise CannotAnswer(f"{'/'.join(names)!r} could not be written: {error.strerror}.") from error
            raise


def is_being_written(name: str, found: os.stat_result) -> bool:
    """Whether this is a file that `replace_file` puts together at this moment: a new one each time, soon gone."""
    young = time.time() - found.st_ctime < MAX_WRITING_S
    return young and stat.S_ISREG(found.st_mode) and _TEMPORARY.fullmatch(name) is not None


def look_at(folder: int, name: str) -> os.stat_result | None:
    """Return what is known of a name in an open folder, of a link itself; None if there is none."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _must_be_file(found: os.stat_result, names: tuple[str, ...]) -> None:
    name = "/".join(names)
    if stat.S_ISDIR(found.st_mode):
        raise CannotAnswer(f"{name!r} is a folder. Name a file in it.")
    if stat.S_ISLNK(found.st_mode):
        raise RefusedQuery(f"{name!r} is a link, and links are not followed. Name the file itself.")
    if not stat.S_ISREG(found.st_mode):
        raise RefusedQuery(f"{name!r} is neither a file nor a folder, and is not opened.")


@contextmanager
def _explained(names: tuple[str, ...], folder: int) -> Iterator[None]:
    """Raise what went wrong with the last of the names, which stands in an open folder, in words."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise _in_words(error, names, folder) from error


def _in_words(error: OSError, names: tuple[str, ...], folder: int) -> KapelleError:
    name = "/".join(names)
    found = look_at(folder, names[-1])
    if found is not None and stat.S_ISLNK(found.st_mode):
        return RefusedQuery(f"{name!r} is a link, and links are not followed. Name what it points to.")
    if error.errno == errno.ENOENT:
        return CannotAnswer(f"There is no {name!r} in the workspace. List its files to see what is there.")
    if error.errno in (errno.ENOTDIR, errno.ENXIO):
        return CannotAnswer(f"{name!r} is no folder.")
    if error.errno == errno.EISDIR:
        return CannotAnswer(f"{name!r} is a folder. Name a file in it.")
    return CannotAnswer(f"{name!r} cannot be opened: {error.strerror}.")
