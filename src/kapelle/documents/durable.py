"""Writes a file so that no reader ever sees half of it: beside it first, then renamed. Reads nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from kapelle.errors import InvalidInput


def write_beside_then_rename(path: Path, content: bytes, *, make_folder: bool = False) -> None:
    """Replace the file's content. Who may read it stays as it was.

    Args:
        make_folder: Whether a folder that is missing is made; else it is an error, as a name that was mistyped is.

    Raises:
        InvalidInput: it cannot be written; the old file is still there.
    """
    beside = path.with_name(f".{path.name[:200]}.{os.urandom(4).hex()}.part")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else None
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InvalidInput(f"Cannot write {str(path)!r}: {error.strerror or error}. Check the folder.") from error
        raise
