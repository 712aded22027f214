"""What lies in a folder can freeze, exhaust or crash nothing: a bad file is left out and named, and the rest works.

The files come from the benchmark of hostile input, each beside a good one that must be found, now and again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
from pathlib import Path

import pytest

from bench import untrusted
from kapelle.knowledge import FileReader, FolderIndex, FoundFile, ReadingLimits, Unreadable
from kapelle.local import LocalFolder, skipped_files
from kapelle.tools import Tables

GOOD_TABLE = "name,height\nHuascaran,6768\n"


def hostile(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    untrusted.FOLDERS[name](folder, random.Random(name))
    (folder / "peru.md").write_text(untrusted.GOOD)
    (folder / "peaks.csv").write_text(GOOD_TABLE)
    return folder


# What these write is gigabytes long, or takes long to write; the benchmark has them.
SLOW = {
    *("huge_cell", "many_small_files", "deep_folders", "many_tables", "large_blank_lines", "large_empty_cells"),
    *("many_empty_tables", "many_empty_pages", "shared_pages"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(untrusted.FOLDERS) - SLOW))
def test_the_rest_of_a_folder_works_and_works_again(tmp_path: Path, name: str) -> None:
    folder = LocalFolder(hostile(tmp_path, name))
    for _ in range(2):
        assert "peru.md" in {found.file for found in folder.index.search("capital of Peru", limit=1_000)}
        peaks = next(table.name for table in folder.tables.tables if table.file == "peaks.csv")
        assert folder.tables.query(f"SELECT height FROM {peaks}").rows == ((6768,),)
        for left in skipped_files(folder):
            assert left.reason
            assert left.file.isprintable()
    folder.index.close()
    folder.tables.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "data", "reason"),
    [
        ("a.md", "x".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        ("a.html", b"\xff", "not UTF-8 text (line 1); save it as UTF-8"),
        ("a.txt", b"a\0b", "no text: it holds zero bytes"),
        ("a.txt", b"x\n\n" * 60_000, "more than 50,000 paragraphs"),
        ("a\x1b.md", b"x", "the name holds control characters"),
        ("a.csv", "a,b".encode("utf-32"), "UTF-32 text; save it as UTF-8"),
        ("a.csv", b"a," * 600, "it has more than 500 columns (line 1)"),
        ("a.csv", b"a\n" + b"x" * 2_000_000, "line 2 has more than 1,000,000 characters"),
        ("a.csv", b"a,b\n" + b"\n" * 10_000_001, "it has 10,000,002 lines; at most 10,000,000 are read"),
        ("a.csv", b"a\r1" + b"\r" * 11_000_000, "it has 11,000,001 lines; at most 10,000,000 are read"),
        ("a.csv", b"a,b\n" + b"\n" * 1_500_000, "it has more than 1,000,000 blank lines"),
        ("a.csv", b"a,b\n" + b",\n" * 5_000_000, "seconds to read, too long for what it holds"),
        ("a.csv", b"a,b\n" + b'"",""\n' * 3_000_000, "seconds to read, too long for what it holds"),
        ("a.csv", b"a\n1\0\n", "it holds zero bytes (line 2)"),
        ("a.db", b"no database" * 100, "not readable as SQLite"),
    ],
)
def test_what_is_left_out_is_named_with_the_reason(tmp_path: Path, file: str, data: bytes, reason: str) -> None:
    (tmp_path / file).write_bytes(data)
    (tmp_path / "peru.md").write_text(untrusted.GOOD)
    folder = LocalFolder(tmp_path)
    for _ in range(2):
        (left,) = skipped_files(folder)
        assert left.file == file.replace("\x1b", "\\x1b")
        assert reason in left.reason
        assert folder.index.search("capital")


def test_a_view_that_never_ends_is_left_out_and_the_other_tables_are_there(tmp_path: Path) -> None:
    store = sqlite3.connect(tmp_path / "a.db")
    store.executescript(
        "CREATE TABLE river(name TEXT); INSERT INTO river VALUES ('Amazon'); CREATE VIEW ok AS SELECT name FROM river;"
        "CREATE VIEW endless AS WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT x FROM t;"
    )
    store.close()
    with Tables(tmp_path) as tables:
        assert {table.name for table in tables.tables} == {"river", "ok"}
        assert tables.query("SELECT name FROM ok").rows == (("Amazon",),)
        assert [(left.file, left.reason) for left in tables.skipped] == [
            ("a.db: endless", "a view that takes too long to read")
        ]


def read_each(reader: FileReader, *files: tuple[Path, str]) -> list[str]:
    """Return what became of each file: how many parts it has, or why there are none."""
    found = [
        (FoundFile(path=str(path), name=path.name, mtime_ns=0, size=path.stat().st_size), what) for path, what in files
    ]
    said = []
    for _, parts in reader.read(found):
        try:
            said.append(str(len(list(parts))))
        except Unreadable as error:
            said.append(str(error))
    return said


EMPTY_CELLS = "a,b\n" + ",\n" * 1_500_000


def test_a_file_that_takes_too_long_ends_its_reader_and_not_the_next_file(tmp_path: Path) -> None:
    slow, good = tmp_path / "slow.csv", tmp_path / "good.csv"
    slow.write_text(EMPTY_CELLS)
    good.write_text(GOOD_TABLE)
    with FileReader(ReadingLimits(file_s=0.05, folder_s=5.0)) as reader:
        said = read_each(reader, (good, "csv"), (slow, "csv"), (good, "csv"))
    assert said[0] == said[2] == "2"
    assert said[1].endswith("seconds to read, too long for what it holds")


@pytest.mark.slow
def test_who_used_up_the_folders_time_is_said_and_good_files_are_read_all_the_same(tmp_path: Path) -> None:
    slow, good = tmp_path / "slow.csv", tmp_path / "good.csv"
    slow.write_text(EMPTY_CELLS)
    good.write_text("name,height\n" + "Huascaran,6768\n" * 20_000)
    with FileReader() as reader:
        said = read_each(reader, *[(slow, "csv"), (good, "csv")] * 4)
    assert all(one.isdigit() for one in said[1::2]), said
    assert said[0].endswith("too long for what it holds")
    assert all(one.endswith("the files before it used up the rest of the folder's time") for one in said[2::2]), said


@pytest.mark.slow
def test_a_folder_of_bad_files_alone_is_given_up(tmp_path: Path) -> None:
    slow = tmp_path / "slow.csv"
    slow.write_text(EMPTY_CELLS)
    with FileReader(ReadingLimits(folder_s=0.2)) as reader:
        said = read_each(reader, *[(slow, "csv")] * 40)
    assert said[-1] == "the files before it took all the time there is to read a folder"


def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    large, good = tmp_path / "large.md", tmp_path / "good.md"
    large.write_text("x " * 20_000_000)
    good.write_text(untrusted.GOOD)
    with FileReader(ReadingLimits(memory_bytes=80_000_000)) as reader:
        said = read_each(reader, (large, "document"), (good, "document"))
    assert "MB of memory" in said[0]
    assert said[1] == "1"


def test_a_reader_that_dies_takes_only_its_file_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tmp_path / "good.md"
    good.write_text(untrusted.GOOD)
    found = FoundFile(path=str(good), name="good.md", mtime_ns=0, size=10)
    with FileReader() as reader:
        said = []
        for number, (_, parts) in enumerate(reader.read([(found, "document")] * 3)):
            if number == 1:
                assert reader._worker is not None
                assert reader._worker._process.stdout is not None
                os.kill(reader._worker._process.pid, signal.SIGKILL)
                reader._worker._process.wait()
                reader._worker._process.stdout.read()  # what it had answered before
            try:
                said.append(str(len(list(parts))))
            except Unreadable as error:
                said.append(str(error))
    assert said == ["1", "its reader crashed (SIGKILL)", "1"]


def test_a_reader_that_is_stuck_is_ended(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.db"
    os.mkfifo(pipe)  # found as a file, and swapped before it is read
    with FileReader(ReadingLimits(stuck_s=0.2)) as reader:
        (said,) = read_each(reader, (pipe, "database"))
    assert said


def test_a_look_that_fails_leaves_the_index_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("Lima is a capital.")
    with FolderIndex(tmp_path) as index:
        assert index.search("capital")
        (tmp_path / "b.md").write_text("Quito is a capital.")
        with monkeypatch.context() as patch:
            patch.setattr(FileReader, "read", lambda *_: (_ for _ in ()).throw(RuntimeError("a fault of ours")))
            with pytest.raises(RuntimeError):
                index.search("capital")
        assert len(index.search("capital")) == 2


def test_an_index_of_an_older_layout_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.md").write_text("Lima is a capital.")
    store = sqlite3.connect(tmp_path / "index.sqlite")
    store.execute("CREATE TABLE files(file TEXT PRIMARY KEY, mtime_ns INTEGER, size INTEGER)")
    store.close()
    with FolderIndex(folder, database=tmp_path / "index.sqlite") as index:
        assert index.search("capital")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["folder/endless_views", "plan/json_lists", "reply/brackets", "program/deep_list"])
def test_the_benchmark_measures_a_case_and_gives_its_figures(case: str) -> None:
    kind = case.partition("/")[0]
    (took,) = untrusted.run_cases([kind], len(untrusted.KINDS[kind]), 0, f"{case}#0", idle_runs=1)
    assert not took.crash
    figures = untrusted.summarise([took], 0)
    assert json.loads(json.dumps(figures))["crashes"] == 0
    assert {"worst_seconds", "worst_mb", "slowest", "largest", "crashed"} <= figures.keys()
