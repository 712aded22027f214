"""Each kind of walls for commands. One that this machine does not have is skipped, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from kapelle.tools import Walls
from kapelle.tools.sandbox import walls

KINDS = (walls.BUBBLEWRAP, walls.LANDLOCK)


@pytest.fixture(params=KINDS)
def kept_in(request: pytest.FixtureRequest) -> Walls:
    failure = walls._try_out(request.param)
    if failure:
        pytest.skip(f"{request.param}: {failure}")
    return Walls(kind=request.param, reason="")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder
