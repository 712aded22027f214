"""Files are whole or not there: a write that fails leaves the old one, and nothing beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kapelle.documents.durable import write_beside_then_rename
from kapelle.errors import InvalidInput


def test_it_writes_what_it_was_given_and_makes_the_folder_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with pytest.raises(InvalidInput, match="new"):
        write_beside_then_rename(path, b"one")
    write_beside_then_rename(path, b"one", make_folder=True)
    write_beside_then_rename(path, b"two")
    assert path.read_bytes() == b"two"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InvalidInput, match=r"file.*No space left"):
        write_beside_then_rename(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(InvalidInput, match="taken"):
        write_beside_then_rename(tmp_path / "taken" / "file", b"new", make_folder=True)


def test_who_may_read_a_file_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_beside_then_rename(path, b"one")
    path.chmod(0o640)
    write_beside_then_rename(path, b"two")
    assert path.stat().st_mode & 0o777 == 0o640
