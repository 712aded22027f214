"""Files that hold something are loaded however many and large they are: limits are for what gives little.

What a file may take grows with the cells and texts that it gives (see knowledge/reading/worker), on any machine.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.knowledge import FileReader, FolderIndex, FoundFile, ReadingLimits
from kapelle.local import LocalFolder, skipped_files
from kapelle.tools import Tables

ROW = ",".join("7" if number % 10 == 0 else "" for number in range(200)) + "\n"
PARAGRAPH = "The river of Peru is the longest of the continent, and its delta the widest. " * 5 + "\n\n"


def customers(rows: int) -> str:
    return "id,name,city,amount\n" + "".join(f"{n},customer {n},Lima,{n % 977}.{n % 89:02}\n" for n in range(rows))


def write_many(folder: Path, count: int, name: str, text: str) -> None:
    for number in range(count):
        (folder / name.format(number)).write_text(text, encoding="utf-8", newline="")


ROW = ",".join("7" if number % 10 == 0 else "" for number in range(200)) + "\n"
FOLDERS: dict[str, tuple[Callable[[Path], None], int]] = {
    "30 tables of 80 KB": (lambda folder: write_many(folder, 30, "{}.csv", customers(2_600)), 30 * 2_600),
    "60 tables of 80 KB": (lambda folder: write_many(folder, 60, "{}.csv", customers(2_600)), 60 * 2_600),
    "100 tables of 100 KB": (lambda folder: write_many(folder, 100, "{}.tsv", customers(3_200)), 100 * 3_200),
    "500 tables of a row": (lambda folder: write_many(folder, 500, "{}.csv", customers(1)), 500),
    "300 notes of 20 KB": (lambda folder: write_many(folder, 300, "{}.md", "# Peru\n\n" + PARAGRAPH * 50), 0),
    "4,000 notes of a line": (lambda folder: write_many(folder, 4_000, "{}.md", "# Peru\n\nLima is its capital.\n"), 0),
    "10 pages that are tables": (
        lambda folder: write_many(folder, 10, "{}.html", "<tr><td>Lima</td><td>4</td></tr>\n" * 20_000),
        0,
    ),
    "a million rows of two digits": (
        lambda folder: write_many(folder, 1, "a.csv", "a,b\n" + "1,2\n" * 1_000_000),
        10**6,
    ),
    "one table of 12 MB": (lambda folder: write_many(folder, 1, "a.csv", customers(350_000)), 350_000),
    "a wide table": (
        lambda folder: write_many(folder, 1, "a.csv", (",".join(map(str, range(400))) + "\n") * 3_001),
        3_000,
    ),
    "a survey with one answer in ten": (
        lambda folder: write_many(folder, 1, "a.csv", "q" + ",q" * 199 + "\n" + ROW * 20_000),
        20_000,
    ),
    "a table with blank lines between": (
        lambda folder: write_many(folder, 1, "a.csv", "a,b\n" + "1,2\n\n" * 100_000),
        100_000,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_ordinary_files_loads_whole(tmp_path: Path, name: str) -> None:
    write, rows = FOLDERS[name]
    write(tmp_path)
    with FolderIndex(tmp_path) as index, Tables(tmp_path) as tables:
        index.search("Peru")
        assert sum(table.rows for table in tables.tables) == rows
        assert (*index.skipped, *tables.skipped) == ()


@pytest.mark.slow
def test_no_limit_of_a_folder_counts_what_its_files_earn(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(customers(5_000))
    found = FoundFile(path=str(path), name="a.csv", mtime_ns=0, size=path.stat().st_size)
    with FileReader(ReadingLimits(folder_s=0.3)) as reader:
        for _, parts in reader.read([(found, "csv")] * 100):
            assert sum(len(part[1]) for part in parts if part[0] == "rows") == 5_000


def test_a_page_on_one_line_is_text_and_no_heading(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<html><body><h1>Peru</h1><p>Lima is the <b>capital</b>.</p></body></html>")
    (tmp_path / "b.html").write_text("<h1>Chile</h1>\n<p>Santiago is the capital.</p>")
    with FolderIndex(tmp_path) as index:
        found = {one.file: (one.heading, one.text) for one in index.search("capital")}
        assert index.skipped == ()
    assert found == {"a.html": ("", "Peru Lima is the capital ."), "b.html": ("Chile", "Santiago is the capital.")}


@pytest.mark.slow
def test_a_large_file_that_there_is_no_room_for_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(customers(100_000))
    found = FoundFile(path=str(path), name="a.csv", mtime_ns=0, size=path.stat().st_size)
    rows = 0
    with FileReader() as reader:
        for number, (_, parts) in enumerate(reader.read([(found, "csv")] * 3)):
            assert next(parts)[0] == "shape"
            if number == 2:
                rows = sum(len(part[1]) for part in parts)
    assert rows == 100_000


@pytest.mark.slow
def test_small_notes_are_read_before_large_ones_that_take_the_time(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"a{number}.html").write_text("<b></b>" * 600_000)
    (tmp_path / "z.md").write_text("Lima is the capital of Peru.")
    folder = LocalFolder(tmp_path)
    assert [found.file for found in folder.index.search("capital of Peru")] == ["z.md"]
    assert len(skipped_files(folder)) == 12
    folder.index.close()


@pytest.mark.slow
@given(
    st.lists(st.lists(st.text("ab \n\r,\"'", max_size=6), min_size=1, max_size=4), min_size=1, max_size=120),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_row_is_found_on_the_line_that_it_begins_on(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], end: str
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL)
    begins = []
    for row in [["name"] * 4, *rows]:
        before = written.getvalue()
        if any(map(str.strip, row)):  # rows without any value are none
            begins.append(1 + before.count("\n") + before.count("\r") - before.count("\r\n"))
        writer.writerow(row)
        if len(row) == 2:
            written.write(end)
    path = tmp_path_factory.mktemp("rows") / "a.csv"
    path.write_text(written.getvalue(), encoding="utf-8", newline="")
    with Tables(path) as tables:
        if not tables.tables:
            # One cell in most rows of four columns, or lines in quotes that look like rows: refused, with the reason.
            assert re.search("could be rows|have no ',' in common|opens a quote", tables.skipped[0].reason)
            return
        (table,) = tables.tables
        if any("read as a sign like others" in note for note in table.notes):
            return  # a cell in quotes that looks like the end of one row and the beginning of another: it is said
        assert [tables.place_of("a", row + 1) for row in range(table.rows)] == [f"a.csv:{line}" for line in begins[1:]]
