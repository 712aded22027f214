"""A workspace: paths stay in, edits change what they say alone, and every change can be shown and taken back."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import CannotAnswer, InvalidInput, KapelleError, RefusedQuery
from kapelle.tools import Workspace
from kapelle.tools.workspace.texts import decode, replace_once
from tests.scale import scaled


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("KEPT")
    with Workspace(tmp_path / "files", kept=tmp_path / "kept") as workspace:
        yield workspace


def outside(files: Workspace) -> Path:
    return files.folder.parent / "outside"


def test_what_is_written_is_read(files: Workspace) -> None:
    files.write("notes/deep/a.md", "one\r\ntwo")
    assert files.read("notes/deep/a.md") == "one\r\ntwo"
    assert (files.folder / "notes/deep/a.md").read_bytes() == b"one\r\ntwo"


def test_an_absolute_path_in_the_workspace_is_one_of_it(files: Workspace) -> None:
    files.write(str(files.folder / "a"), "x")
    assert files.read("./b/../a") == "x"


WAYS_OUT = (
    "../outside/secret",
    "a/../../outside/secret",
    "/etc/passwd",
    "link",
    "folder/secret",
    "loop/loop/x",
    "~/../../outside/secret",
)


@pytest.mark.parametrize("path", WAYS_OUT)
def test_no_path_leads_out(path: str, files: Workspace) -> None:
    (files.folder / "link").symlink_to(outside(files) / "secret")
    (files.folder / "folder").symlink_to(outside(files))
    (files.folder / "loop").symlink_to("loop")
    for attempt in (
        lambda: files.read(path),
        lambda: files.write(path, "CHANGED"),
        lambda: files.replace(path, "KEPT", "CHANGED"),
        lambda: files.list(path),
    ):
        with pytest.raises(KapelleError):
            attempt()
    assert (outside(files) / "secret").read_text() == "KEPT"
    assert [path.name for path in outside(files).iterdir()] == ["secret"]


def test_a_new_file_behind_a_link_is_not_written(files: Workspace) -> None:
    (files.folder / "link").symlink_to(outside(files))
    with pytest.raises(RefusedQuery, match="links are not followed"):
        files.write("link/new.txt", "x")
    assert not (outside(files) / "new.txt").exists()


def test_a_folder_that_is_swapped_for_a_link_loses_the_race(files: Workspace) -> None:
    swapped, other = files.folder / "folder", files.folder / "other"
    swapped.mkdir()
    (swapped / "secret").write_text("harmless")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):  # the writer makes the folder anew in between
                swapped.rename(other)
                swapped.symlink_to(outside(files))
                swapped.unlink()
                other.rename(swapped)
            shutil.rmtree(other, ignore_errors=True)
            with suppress(OSError):
                swapped.unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(scaled(2_000)):
            for attempt in (lambda: files.read("folder/secret"), lambda: files.write("folder/new", "x")):
                try:
                    assert attempt() != "KEPT"
                except KapelleError:
                    continue
    finally:
        stop.set()
        thread.join()
    assert [path.name for path in outside(files).iterdir()] == ["secret"]


@pytest.mark.parametrize("path", ["", "  ", "a\0b", "x" * 5_000, "n" * 300, "\ud800"])
def test_a_path_that_is_none_is_refused(path: str, files: Workspace) -> None:
    with pytest.raises(InvalidInput):
        files.write(path, "x")


def test_what_would_wait_or_is_no_file_is_not_opened(files: Workspace) -> None:
    os.mkfifo(files.folder / "pipe")
    for path in ("pipe", "."):
        with pytest.raises(KapelleError):
            files.read(path)
        with pytest.raises(KapelleError):
            files.write(path, "x")


def test_a_file_that_is_too_large_is_not_read_into_memory(files: Workspace) -> None:
    with open(files.folder / "large", "wb") as file:
        file.truncate(10**12)
    with pytest.raises(RefusedQuery, match="larger than"):
        files.read("large")


def test_an_executable_stays_one_when_it_is_written_anew(files: Workspace) -> None:
    files.write("run.sh", "one")
    (files.folder / "run.sh").chmod(0o755)
    files.write("run.sh", "two")
    assert (files.folder / "run.sh").stat().st_mode & 0o777 == 0o755


def test_a_listing_has_what_is_there_and_no_links(files: Workspace) -> None:
    files.write("b/c.txt", "123")
    (files.folder / "link").symlink_to(outside(files))
    assert [(each.path, each.is_folder, each.size) for each in files.list(depth=2)] == [
        ("b", True, 0),
        ("b/c.txt", False, 3),
    ]
    assert [each.path for each in files.list("b")] == ["b/c.txt"]


ENDS = ("\n", "\r\n", "\r")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_an_edit_of_one_word_changes_one_word(end: str, encoding: str, files: Workspace) -> None:
    content = f"one é{end}two{end}\ffour\rodd\nlast".encode(encoding)
    files.write("a.txt", content)
    files.replace("a.txt", "two", "2")
    assert files.read_bytes("a.txt") == f"one é{end}2{end}\ffour\rodd\nlast".encode(encoding)


@pytest.mark.parametrize("end", ENDS)
def test_a_text_is_found_whatever_ends_its_lines(end: str, files: Workspace) -> None:
    files.write("a.txt", f"a{end}b{end}c".encode())
    files.replace("a.txt", "a\nb", "A\nB\nX")
    assert files.read_bytes("a.txt") == f"A{end}B{end}X{end}c".encode()


def test_a_text_that_stands_twice_is_refused_with_its_lines(files: Workspace) -> None:
    files.write("a.txt", "x\ny\r\nx\n")
    with pytest.raises(CannotAnswer, match=r"2 times in 'a\.txt', at the lines 1, 3"):
        files.replace("a.txt", "x", "z")
    with pytest.raises(CannotAnswer, match="Its first line does, at 2"):
        files.replace("a.txt", "y\n  x", "z")
    with pytest.raises(InvalidInput):
        files.replace("a.txt", "", "z")
    assert files.read("a.txt") == "x\ny\r\nx\n"


TEXT = st.text(alphabet="ab \n\r\té", max_size=30)


@settings(max_examples=scaled(500), deadline=None)
@given(before=TEXT, old=st.text(alphabet="xy\n", min_size=1, max_size=6), after=TEXT, new=TEXT)
def test_outside_of_the_replaced_place_nothing_changes(before: str, old: str, after: str, new: str) -> None:
    text = before + "<" + old + ">" + after
    found = replace_once(text, "<" + old + ">", new, name="a")
    assert found.startswith(before)
    assert found.endswith(after)


@settings(max_examples=scaled(500), deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_come_back_as_they_were(content: bytes) -> None:
    found = decode(content)
    assert found.encode(found.text) == content


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/c"])
STEPS = st.lists(st.tuples(NAMES, st.sampled_from(["write", "remove", "chmod", "link", "replace"])), max_size=8)


@settings(max_examples=scaled(200), deadline=None)
@given(first=STEPS, second=STEPS)
def test_whatever_was_done_can_be_taken_back(
    first: list[tuple[str, str]], second: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("any")
    with Workspace(place / "files", kept=place / "kept") as files:
        _carry_out(files, first, "first")
        before = files.snapshot()
        _carry_out(files, second, "second")
        assert files.take_back(before) == ()
        assert files.snapshot().entries == before.entries
        assert files.changes(before) == ()


def _carry_out(files: Workspace, steps: list[tuple[str, str]], word: str) -> None:
    for number, (name, what) in enumerate(steps):
        path = files.folder / name
        try:
            if what == "write":
                files.write(name, f"{word} {number}")
            elif what == "remove":
                path.unlink()
            elif what == "chmod":
                path.chmod(0o700)
            elif what == "link":
                path.symlink_to("a")
            else:
                files.replace(name, "first", "second")
        except (KapelleError, OSError):
            continue


def test_a_change_of_the_same_size_in_the_same_moment_is_seen(files: Workspace) -> None:
    files.write("a", "one")
    path = files.folder / "a"
    before = files.snapshot()
    told = path.stat()
    path.write_text("two")
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert [change.path for change in files.changes(before)] == ["a"]


def test_a_diff_shows_line_ends_and_what_is_no_text(files: Workspace) -> None:
    files.write("a.txt", "one\r\ntwo\n")
    files.write("b.bin", b"\0\1")
    before = files.snapshot()
    files.write("a.txt", "one\ntwo\n")
    files.write("b.bin", b"\0\2\3")
    told = files.describe(files.changes(before))
    assert "-one\\r\n+one\n" in told
    assert "b.bin: changed, no text, 2 -> 3 bytes" in told


STARTING = (
    *(".git/hooks/post-commit", "deep/er/.git/hooks/pre-push", "sub/.git/config", ".envrc", "sub/.git"),
    *("bare.git/hooks/post-update", "sub/.git/config.worktree", "venv/lib/site-packages/x.pth", ".gitmodules"),
)


@pytest.mark.parametrize("path", STARTING)
def test_what_could_run_outside_of_the_sandbox_stands_first_in_the_diff(path: str, files: Workspace) -> None:
    before = files.snapshot()
    files.write("a.txt", "harmless\n")
    files.write(path, "#!/bin/sh\ntouch /tmp/ran\n")
    told = files.describe(files.changes(before))
    assert told.startswith(f"! {path} can start code outside of the sandbox")


def test_a_repository_in_the_workspace_runs_nothing_when_it_is_compared(files: Workspace) -> None:
    ran = files.folder.parent / "ran"
    files.write(".git/config", f'[core]\n\tfsmonitor = touch {ran}\n[diff "x"]\n\ttextconv = touch {ran}\n')
    files.write(".gitattributes", "* diff=x filter=x\n")
    files.write("a.txt", "one\n")
    before = files.snapshot()
    files.write("a.txt", "two\n")
    files.describe(files.changes(before))
    files.take_back(before)
    assert not ran.exists()


def test_what_is_kept_may_not_lie_in_the_workspace(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Keep them elsewhere"):
        Workspace(tmp_path, kept=tmp_path / "kept")


def test_a_name_like_that_of_a_file_being_written_hides_nothing(files: Workspace) -> None:
    before = files.snapshot()
    files.write(".kapelle-writing-notes", "x")
    files.write(".kapelle-writing-folder/a", "x")
    assert {change.path for change in files.changes(before)} >= {".kapelle-writing-notes", ".kapelle-writing-folder/a"}


def test_a_folder_comes_back_with_all_of_its_mode(files: Workspace) -> None:
    folder = files.folder / "shared"
    folder.mkdir()
    folder.chmod(0o2755)
    before = files.snapshot()
    folder.rmdir()
    assert files.take_back(before) == ()
    assert folder.stat().st_mode & 0o7777 == 0o2755


def test_what_changes_are_called_steers_no_terminal_and_forges_no_line(files: Workspace) -> None:
    before = files.snapshot()
    files.write("n\n! ok\x1b[2J", "gone\x1b[2J\n")
    told = files.describe(files.changes(before))
    assert "\x1b" not in told
    assert not any(line.startswith("!") for line in told.split("\n"))
