"""Where recorded data lies: in the folder that KAPELLE_BENCH_DATA names, else in shared/data beside the checkout.

It is no part of the repository. A benchmark that finds none says which file it wants and how to name it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

VARIABLE = "KAPELLE_BENCH_DATA"
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


class BadData(Exception):
    """Recorded data that a benchmark wants is not there, or is something else."""


def data_folder() -> Path:
    """Return the folder in which recorded data is looked for; it may not exist."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else BESIDE


def find_recorded(*names: str, inside: str = "") -> list[Path]:
    """Return the files of these names, in a folder of the recorded data or in that itself.

    Raises:
        BadData: one of them is not there.
    """
    folder = data_folder()
    for place in (folder / inside, folder):
        if all((place / name).is_file() for name in names):
            return [place / name for name in names]
    raise BadData(_missing(folder / inside, names))


def find_any_recorded(*names: str, inside: str = "") -> list[Path]:
    """Return those of the files that are there.

    Raises:
        BadData: none of them is.
    """
    folder = data_folder()
    for place in (folder / inside, folder):
        if found := [place / name for name in names if (place / name).is_file()]:
            return found
    raise BadData(_missing(folder / inside, names))


def _missing(place: Path, names: Sequence[str]) -> str:
    return f"{place} has no {', '.join(names)}. Name a file with --data, or the folder of recorded data in {VARIABLE}."
