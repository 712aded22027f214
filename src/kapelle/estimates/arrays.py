"""Files of plain values and NumPy arrays: they appear whole or not at all, and reading one runs nothing in it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kapelle.documents import write_beside_then_rename
from kapelle.errors import InvalidInput

_FORMAT = 1
_MAX_BYTES = 500_000_000


def write_arrays(path: Path | str, about: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write plain values and arrays to one file, which appears whole or not at all.

    Raises:
        InvalidInput: it cannot be written.
    """
    head = np.frombuffer(json.dumps({"format": _FORMAT, **about}).encode(), dtype=np.uint8)
    written = io.BytesIO()
    np.savez_compressed(written, about=head, **arrays)  # type: ignore[arg-type]  # its stubs know fewer dtypes
    write_beside_then_rename(Path(path), written.getvalue())


def read_arrays(path: Path | str) -> tuple[dict[str, object], dict[str, NDArray[np.generic]]]:
    """Read what `write_arrays` wrote. Nothing in the file is run: it holds numbers and plain JSON.

    Raises:
        InvalidInput: there is no such file, or it is none of ours, damaged, or of a newer version.
    """
    try:
        if Path(path).stat().st_size > _MAX_BYTES:
            raise InvalidInput(f"{str(path)!r} is too large for a file of kapelle's. Learn it again from the log.")
        data = Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be read: {error.strerror or error}. Check its name.") from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            if sum(part.file_size for part in parts.infolist()) > _MAX_BYTES:
                raise ValueError("it is too large")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if any(array.dtype.kind not in "biuf" for array in arrays.values()):
            raise ValueError("there is something in it that is no number")
        about = json.loads(bytes(arrays.pop("about")))
        version = about.pop("format")
    except Exception as error:  # NumPy reads headers with a tokenizer, and what that raises may be anything
        raise InvalidInput(
            f"{str(path)!r} is damaged, or was not written by kapelle ({error}). Learn it again from the log."
        ) from error
    if version != _FORMAT:
        raise InvalidInput(
            f"{str(path)!r} is of format {version!r:.20}; this kapelle reads {_FORMAT}. Upgrade kapelle."
        )
    return about, arrays
