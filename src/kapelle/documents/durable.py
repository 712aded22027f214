"""Writes a file so that no reader ever sees half of it: beside it first, then renamed. Reads nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from kapelle.errors import InvalidInput


def write_beside_then_rename(path: Path, content: bytes) -> None:
    """Replace the file's content, making its folder where it is missing.

    Raises:
        InvalidInput: it cannot be written; the old file is still there.
    """
    beside: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)
        raise InvalidInput(f"Cannot write {str(path)!r}: {error.strerror or error}. Check the folder.") from error
