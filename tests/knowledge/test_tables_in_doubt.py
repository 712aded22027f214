"""A table is read right, or its file, row or column is named with the line: what does not fit is never made to fit.

Each case is a file with what must be read of it, or why not; a note is a part of a sentence that begins with the place.
"""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.local import table_notes
from kapelle.tools import Table, Tables

HEAD = "name,size,units\n"
BODY = "Alpha,24,5\nBravo,27,6\nCharlie,30,7\n"
PLAIN = HEAD + BODY


def read(folder: Path, data: str | bytes, name: str = "t.csv") -> tuple[Table | None, tuple[Any, ...], str]:
    """Return the table, its rows, and the reason for which it was left out."""
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    with Tables(folder) as tables:
        if not tables.tables:
            return None, (), tables.skipped[0].reason
        (table,) = tables.tables
        return table, tables.query(f'SELECT * FROM "{table.name}"').rows, ""


def column(*cells: str, mark: str = ",") -> str:
    written = io.StringIO()
    csv.writer(written, delimiter=mark, lineterminator="\n").writerows(
        [["name", "units"], *([f"row {number}", cell] for number, cell in enumerate(cells))]
    )
    return written.getvalue()


ROWS = (("Alpha", 24, 5), ("Bravo", 27, 6), ("Charlie", 30, 7))
READ: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "byte order mark": ("\ufeff" + PLAIN, ()),
    "UTF-16 with its mark": (PLAIN.encode("utf-16"), ()),
    "UTF-16, big end first": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), ()),
    "UTF-16 without a mark": (PLAIN.encode("utf-16-le"), ("t.csv: it has no mark of its encoding",)),
    "semicolons": (PLAIN.replace(",", ";"), ()),
    "tabs": (PLAIN.replace(",", "\t"), ()),
    "bars": (PLAIN.replace(",", "|"), ()),
    "colons": (PLAIN.replace(",", ":"), ()),
    "spaces around cells": (PLAIN.replace(",", " , "), ()),
    "spaces before quotes": (HEAD + 'Alpha, "24", "5"\n"Bravo" , 27 ,6\nCharlie,30,7\n', ()),
    "all quoted": ("".join(",".join(f'"{cell}"' for cell in row.split(",")) + "\n" for row in PLAIN.split()), ()),
    "single quotes": (
        PLAIN.replace("Alpha", "'Alpha'").replace("Bravo", "'Bravo'").replace("Charlie", "'Charlie'"),
        (),
    ),
    "returns alone": (PLAIN.replace("\n", "\r"), ()),
    "mixed line ends": (HEAD + "Alpha,24,5\r\nBravo,27,6\rCharlie,30,7", ()),
    "the delimiter in the first line": ("sep=;\n" + PLAIN.replace(",", ";"), ()),
    "comments": ("# from the till\n" + PLAIN, ("t.csv:1: a comment was left out: '# from the till'",)),
    "a comment between": (HEAD + "Alpha,24,5\n# new\nBravo,27,6\nCharlie,30,7\n", ("t.csv:3: left out",)),
    "delimiters at the end": (PLAIN.replace("\n", ",\n"), ()),
    "blank rows": (
        "\n" + HEAD + "\nAlpha,24,5\n,,\nBravo,27,6\n\nCharlie,30,7\n,,\n",
        ("t.csv:5: 2 rows without any",),
    ),
    "a title": ("Stock in May\n\n" + PLAIN, ("t.csv:1: left out, as it stands above the header: 'Stock in May'",)),
    "a title with its delimiters": ("Stock in May,,\n" + PLAIN, ("t.csv:1: left out, as it stands above",)),
    "a title with a comma": ("Stock, all shops\n" + PLAIN, ("t.csv:1: left out, as it stands above",)),
    "a source below": (PLAIN + "Source: the till\n", ("t.csv:5: left out, as it is no row of the table",)),
    "a source below, with commas": (PLAIN + "Source: the till, the shop, a b, c\n", ("t.csv:5: left out",)),
    "the header again": (HEAD + "Alpha,24,5\n" + HEAD + "Bravo,27,6\nCharlie,30,7\n", ("t.csv:3: left out, as it is",)),
    "a total": (PLAIN + "Total,81,18\n", ("t.csv:5: left out, as it is the sum",)),
    "a total of one column": (PLAIN + "TOTAL:,,18\n", ("t.csv:5: left out, as it is the sum",)),
    "a total that is wrong": (PLAIN + "Sum,81,20\n", ("t.csv:5: left out, as it is named like a total",)),
    "a total without a name": (PLAIN + ",81,18\n", ("t.csv:5: left out, as it has no name and is the sum",)),
    "a mean": (PLAIN + "Average,27,6\n", ("t.csv:5: left out, as it is the mean",)),
    "subtotals": (
        HEAD + "Alpha,24,5\nBravo,27,6\nSubtotal,51,11\nCharlie,30,7\nSubtotal,30,7\nGrand total,81,18\n",
        ("t.csv:4: left out", "t.csv:6: left out", "t.csv:7: left out"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", READ)
def test_what_stands_around_a_table_is_no_row_of_it_and_is_named(tmp_path: Path, name: str) -> None:
    data, notes = READ[name]
    table, rows, reason = read(tmp_path, data)
    assert (rows, reason) == (ROWS, "")
    assert table is not None
    assert len(table.notes) == len(notes), table.notes
    for note, begin in zip(table.notes, notes, strict=True):
        assert note.startswith(begin)
    assert table_notes(tmp_path) == table.notes


QUOTED: dict[str, tuple[str, str]] = {
    "a comma in quotes": ('n,v\n"a, b",5\nc,6\n', "a, b"),
    "doubled quotes": ('n,v\n"a ""b"", c",5\nc,6\n', 'a "b", c'),
    "escaped quotes": ('n,v\n"a \\"b\\", c",5\nc,6\n', 'a "b", c'),
    "an escaped comma": ("n,v\na\\, b,5\nc,6\n", "a, b"),
    "single quotes around a comma": ("n,v\n'a, b',5\n'c',6\n", "a, b"),
    "an apostrophe": ("n,v\nO'Brien,5\n'tis,6\n", "O'Brien"),
    "several lines": ('n,v\n"a\nb, 7",5\nc,6\n', "a\nb, 7"),
    "inches within": ('n,v\n27" flat,5\nc,6\n', '27" flat'),
    "inches in front": ('n,v\n"27 flat,5\nc,6\n', '"27 flat'),
    "inches in front, quoted cells elsewhere": ('n,v\n"27 flat,5\n"c, d",6\n', '"27 flat'),
    "a quoted word in front": ('n,v\n"Big" flat,5\nc,6\n', '"Big" flat'),
}


@pytest.mark.parametrize("name", QUOTED)
def test_a_quoted_cell_holds_what_was_written(tmp_path: Path, name: str) -> None:
    data, first = QUOTED[name]
    _, rows, reason = read(tmp_path, data)
    assert reason == ""
    assert (rows[0], rows[1][1], len(rows)) == ((first, 5), 6, 2)


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "two encodings": ("n\né\n".encode() + b"\xe9\n", "line 2 is UTF-8 text, line 3 is not"),
    "another alphabet": ("имя,units\nМир,5\n".encode("cp1251"), "not UTF-8 text (line 1)"),
    "an old Macintosh": ("name,units\nCafé du Nord,5\n".encode("mac-roman"), "not UTF-8 text (line 2)"),
    "UTF-32": (PLAIN.encode("utf-32"), "UTF-32"),
    "zero bytes": (b"a,b\n1\0,2\n", "zero bytes (line 2)"),
    "a binary file": (bytes(range(1, 32)) * 30, "as a binary file does"),
    "nothing": (b"", "it is empty"),
    "blank lines alone": (b"\n\n\n", "it is empty"),
    "JSON": (b'{"a": 1, "b": 2}\n', "like JSON"),
    "a row with a cell too many": (PLAIN + "Delta,1,2,3\n", "line 5 has 4 cells, the header 3"),
    "a decimal comma that was not quoted": ("n,v\na,1,5\nb,2,5\n", "line 2 has 3 cells, the header in line 1 2"),
    "an index without a name": ("n,v\n1,a,5\n2,b,6\n", "line 2 has 3 cells, the header in line 1 2"),
    "an open quote that swallows": (HEAD + '"Alpha, x,24,5\nBravo,27,6\n', "line 2 opens a quote that nothing closes"),
    "an open quote closed by another": (HEAD + 'Alpha,"24,5\nBravo,27",6\n', "line 2 opens a quote that line 3 closes"),
    "columns apart by spaces": ("name   units\nAlpha  5\nBravo  16\n", "apart by spaces"),
    "columns apart by one space": ("name units\nAlpha 5\nBravo 16\n", "apart by spaces"),
    "no header": ("Alpha,24,5\nBravo,27,6\n", "line 1 looks like data ('24')"),
    "no header, one row": ("Alpha,24,5\n", "line 1 looks like data"),
    "no header, dates": ("Alpha,2024-01-02\nBravo,2024-02-03\n", "line 1 looks like data ('2024-01-02')"),
    "two header rows": (",2023,,2024,\nname,q1,q2,q1,q2\nA,1,2,3,4\nB,2,3,4,5\n", "two header rows (line 1"),
    "many rows that are named like totals": (HEAD + "Sum,1,2\n" * 1_200, "more than 1,000 rows look like totals"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_right_is_left_out_with_the_line(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    table, _, said = read(tmp_path, data)
    assert table is None
    assert reason in said


NUMBERS: dict[str, tuple[list[str], str, list[float | None], str]] = {
    "plain": (["5", "-6", "7.5"], ",", [5, -6, 7.5], ""),
    "thousands": (["1,234", "56"], ",", [1234, 56], ""),
    "thousands and decimals": (["1,234.50", "56"], ",", [1234.5, 56], ""),
    "millions with points": (["1.234.567", "56"], ";", [1234567, 56], ""),
    "decimal commas": (["1.234,5", "56"], ";", [1234.5, 56], ""),
    "thousands where semicolons divide": (["1,234", "5,678"], ";", [1234, 5678], "t.csv:2: column 'units'"),
    "three decimals, or thousands": (["1.234", "2.500"], ",", [1.234, 2.5], "t.csv:2: column 'units': '1.234'"),
    "three decimals, and one that shows it": (["1.234", "2.5"], ",", [1.234, 2.5], ""),
    "Swiss": (["1'234.50", "12.25"], ",", [1234.5, 12.25], ""),
    "Indian": (["1,23,456", "99"], ",", [123456, 99], ""),
    "spaces": (["1 234", "12"], ",", [1234, 12], ""),
    "hard spaces": (["1\u00a0234,5", "2\u202f345,25"], ";", [1234.5, 2345.25], ""),
    "parentheses": (["(1,200)", "300"], ",", [-1200, 300], ""),
    "a minus behind": (["1200-", "300"], ",", [-1200, 300], ""),
    "a typographic minus": (["−5", "3"], ",", [-5, 3], ""),
    "dollars": (["$1,200", "-$300.50"], ",", [1200, -300.5], ""),
    "euros behind": (["1.200,50 €", "300,00 €"], ";", [1200.5, 300], ""),
    "kilograms": (["12 kg", "5.5 kg"], ",", [12, 5.5], ""),
    "per cent": (["45 %", "30%"], ",", [45, 30], ""),
    "with exponents": (["1.5e-05", "2.0E+03"], ",", [1.5e-05, 2000], ""),
    "missing": (["5", "N/A", "-", "7"], ",", [5, None, None, 7], "t.csv:3: column 'units': 2 cells hold no number"),
    "faults of a spreadsheet": (["5", "#DIV/0!", "", "7"], ",", [5, None, None, 7], "t.csv:3: column 'units': 1 cell"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_read_as_they_are_meant_and_a_doubt_is_said(tmp_path: Path, name: str) -> None:
    cells, mark, values, note = NUMBERS[name]
    table, rows, reason = read(tmp_path, column(*cells, mark=mark))
    assert reason == ""
    assert table is not None
    assert [row[1] for row in rows] == values
    assert table.columns[1].kind in ("integer", "real")
    assert (" ".join(table.notes)).startswith(note)
    assert bool(table.notes) == bool(note)


TEXTS: dict[str, tuple[list[str], str, str]] = {
    "leading zeros": (["01234", "90210"], ",", ""),
    "leading zeros of several lengths": (["007", "12"], ",", "t.csv:2: column 'units' is left as text: '007'"),
    "long identifiers": (["12345678901234567890", "2"], ",", "has more than 18 digits"),
    "long identifiers beside decimals": (["12345678901234567", "2.5"], ",", "more than 15 digits"),
    "codes with an E": (["12E4", "130"], ",", "'12E4' in line 2 may be a code"),
    "telephones": (["+4915112345678", "+4915112345679"], ",", "may be a telephone number"),
    "telephones of few digits": (["+351 911", "+90 555"], ",", "may be a telephone number"),
    "telephones in groups": (["555 123 456", "555 123 457"], ",", "may be a telephone number"),
    "two units": (["12 kg", "5 lb"], ",", "t.csv:3: column 'units' mixes units"),
    "a unit at some": (["12 kg", "5"], ",", "t.csv:3: column 'units' mixes units"),
    "two currencies": (["$1,200", "€300"], ",", "t.csv:3: column 'units' mixes units"),
    "a scale": (["1.2M", "3M"], ",", "a scale"),
    "boxes": (["5 boxes", "6 boxes"], ",", "'5 boxes' in line 2"),
    "about": (["5", "about 6", "7"], ",", "t.csv:3: column 'units' is left as text: 'about 6'"),
    "both decimal marks": (["1,5", "2.5"], ";", "t.csv:3: column 'units' is left as text"),
    "thousands marked here and not there": (["1,234", "5000"], ",", "t.csv:2: column 'units' is left as text"),
    "dates that can be read in two ways": (["03/04/2024", "05/06/2024"], ",", "day or month first"),
    "ISO dates": (["2024-01-05", "2024-02-06"], ",", ""),
    "yes and no": (["yes", "no"], ",", ""),
    "versions": (["1.2.3", "1.10.0"], ",", ""),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_column_in_doubt_stays_text_that_nothing_adds_up(tmp_path: Path, name: str) -> None:
    cells, mark, note = TEXTS[name]
    table, rows, reason = read(tmp_path, column(*cells, mark=mark))
    assert reason == ""
    assert table is not None
    assert [row[1] for row in rows] == cells
    assert table.columns[1].kind == "text"
    assert any(note in one for one in table.notes) if note else not table.notes


def test_the_file_decides_on_the_decimal_mark(tmp_path: Path) -> None:
    _, rows, _ = read(tmp_path, "a;b;c\nx;1.234;0,05\ny;2.500;1,50\n")
    assert rows == (("x", 1234, 0.05), ("y", 2500, 1.5))
    table, rows, _ = read(tmp_path, "a;b;c;d\nx;1.234;0,05;0.5\ny;2.500;1,50;0.7\n")
    assert rows == (("x", "1.234", 0.05, 0.5), ("y", "2.500", 1.5, 0.7))
    assert table is not None
    assert "the file has both decimal marks" in table.notes[0]


NOTED: dict[str, tuple[str, int, str]] = {
    "a short row": (HEAD + "Alpha,24,5\nBravo,27\n", 2, "t.csv:3: 1 row with fewer cells"),
    "a row that is there twice": (PLAIN + "Bravo,27,6\n", 4, "t.csv:5: 1 row there twice, word for word (line 5"),
    "an identifier that is there twice": (
        "id,name\n" + "".join(f"{number},row {number}\n" for number in range(8)) + "3,other\n",
        9,
        "t.csv:10: id '3' is there twice (line 5 and line 10)",
    ),
    "a name of a column that is there twice": ("n,v,v\na,1,2\n", 1, "t.csv:1: 1 name of columns"),
    "a column without a name": ("n,,v\na,x,2\n", 1, "t.csv:1: 1 column of the header without a name: 2"),
    "a header alone": ("n,v\n", 0, "t.csv:1: it holds a header and no rows"),
    "a name without values": (PLAIN + "Delta,,\n", 4, "t.csv:5: 1 row with a first cell alone"),
    "a last row that is a sum by another name": (PLAIN + "Alles,81,18\n", 3, "t.csv:5: left out, as it is the last"),
    "a last row that is a sum in one column of two": (PLAIN + "Alles,81,9\n", 4, ""),
    "a third row that is the sum of two": ("n,v\na,1\nb,2\nc,3\n", 3, ""),
    "a brand that is named like a total": ("n,v\nShell,5\nTotal Energies,7\nEsso,9\nAral,3\nJet,2\n", 5, ""),
    "Windows text": ("n,v\ncafé,1\n", 1, "t.csv:2: it is no UTF-8 text and was read as Windows-1252"),
}


@pytest.mark.parametrize("name", NOTED)
def test_a_doubt_about_rows_is_a_note_and_no_row_is_lost(tmp_path: Path, name: str) -> None:
    text, count, note = NOTED[name]
    table, rows, reason = read(tmp_path, text.encode("cp1252") if name == "Windows text" else text)
    assert (len(rows), reason) == (count, "")
    assert table is not None
    assert (" ".join(table.notes)).startswith(note)
    assert bool(table.notes) == bool(note)


@pytest.mark.parametrize("names", ["2020,2021", "1,2,3", "2024-01-01,2024-02-01"])
def test_years_and_dates_over_columns_are_a_header(tmp_path: Path, names: str) -> None:
    count = names.count(",") + 1
    table, rows, reason = read(
        tmp_path, f"country,{names}\n" + "".join(f"c{n}" + f",{n}7" * count + "\n" for n in "12")
    )
    assert (reason, len(rows)) == ("", 2)
    assert table is not None
    assert table.notes == ()


CELL = st.text("ab1 ,;|\t'\"\n.\\#", max_size=5)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(CELL, CELL), min_size=2, max_size=8), st.sampled_from(",;|\t"))
def test_a_table_that_a_program_wrote_comes_back_or_is_named(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], mark: str
) -> None:
    folder = tmp_path_factory.mktemp("written")
    written = io.StringIO(newline="")
    plain = [(f"k{number}", *row) for number, row in enumerate(rows)]
    csv.writer(written, delimiter=mark, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [("key", "x", "y"), *plain]
    )
    table, found, reason = read(folder, written.getvalue())
    if table is None:
        assert reason
        return
    if any("left out" in note for note in table.notes):
        return
    for position, one in enumerate(table.columns):
        if one.kind == "text":
            assert [row[position] or "" for row in found] == [row[position].strip() for row in plain]


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_table_has_no_notes_and_every_value(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rows = [(f"item {n}", chance.randrange(10_000), chance.randrange(1_000) / 4) for n in range(2_500)]
    table, found, _ = read(tmp_path, "name,units,price\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    assert table is not None
    assert (table.notes, list(found)) == ((), rows[:1000])
