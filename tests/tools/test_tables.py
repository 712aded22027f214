import contextlib
import csv
import os
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import NotFound, RefusedQuery
from kapelle.knowledge.reading.number_text import MISSING, Mark, read_number
from kapelle.tools import Tables
from tests.scale import scaled

COUNTRIES = "Country,Population,Area (km2),Code\nFrance,68000000,644000.5,01\nPeru,34000000,,02\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "countries.csv").write_text(COUNTRIES)
    return folder


@pytest.fixture
def tables(folder: Path) -> Iterator[Tables]:
    with Tables(folder) as one:
        yield one


def test_headers_become_safe_names_and_types_are_inferred(tables: Tables) -> None:
    (table,) = tables.tables
    assert (table.name, table.file, table.rows) == ("countries", "countries.csv", 2)
    assert [(column.name, column.kind) for column in table.columns] == [
        ("country", "text"),
        ("population", "integer"),
        ("area_km2", "real"),
        ("code", "text"),  # a leading zero is no number
    ]
    assert tables.query("SELECT sum(population), max(code) FROM countries").rows == ((102000000, "02"),)
    assert tables.query("SELECT area_km2 FROM countries ORDER BY country").rows == ((644000.5,), (None,))


def test_thousands_separators_are_read_only_where_every_comma_is_one(folder: Path) -> None:
    (folder / "clean.csv").write_text('n,m\n"1,234",a\n"12",b\n')
    (folder / "unclean.csv").write_text('n,m\n"1,234",a\n"1,2x",b\n')
    with Tables(folder) as tables:
        assert tables.query("SELECT sum(n) FROM clean").rows == ((1246,),)
        assert tables.query("SELECT n FROM unclean").rows == (("1,234",), ("1,2x",))


def test_a_row_that_is_short_is_kept_with_a_note_and_one_that_is_wide_refuses_its_file(folder: Path) -> None:
    (folder / "tabs.tsv").write_text("a\tb\n1\t2\n3\n")
    (folder / "semicolons.csv").write_text("a;b\n1;2;3\n")
    with Tables(folder) as tables:
        assert tables.query("SELECT * FROM tabs").rows == ((1, 2), (3, None))
        (table,) = (table for table in tables.tables if table.name == "tabs")
        assert table.notes[0].startswith("tabs.tsv:3: 1 row with fewer cells than the header (2)")
        (left,) = tables.skipped
        assert left.file == "semicolons.csv"
        assert "line 2 has 3 cells" in left.reason


def test_a_row_knows_the_line_it_begins_on(folder: Path) -> None:
    (folder / "notes.csv").write_text('who,what\na,"two\nlines"\n\nb,one\n')
    with Tables(folder) as tables:
        assert tables.tables
        assert [tables.place_of("notes", row) for row in (1, 2)] == ["notes.csv:2", "notes.csv:5"]


def test_sqlite_files_are_read_and_never_written(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as store:
        store.executescript("CREATE TABLE sale(what TEXT, price REAL); INSERT INTO sale VALUES ('a', 2.5);")
    (folder / "broken.db").write_bytes(b"this is no database" * 100)
    before = (folder / "shop.db").read_bytes()
    with Tables(folder) as tables:
        assert tables.query("SELECT what, price FROM sale").rows == (("a", 2.5),)
        assert [skipped.file for skipped in tables.skipped] == ["broken.db"]
        with pytest.raises(RefusedQuery):
            tables.query("INSERT INTO sale VALUES ('b', 1)")
    assert (folder / "shop.db").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["broken.db", "countries.csv", "shop.db"]


def test_changed_files_are_read_again(folder: Path, tables: Tables) -> None:
    assert tables.query("SELECT count(*) FROM countries").rows == ((2,),)
    generation = tables.generation
    (folder / "countries.csv").write_text(COUNTRIES + "Chad,1,2,03\n")
    assert tables.query("SELECT count(*) FROM countries").rows == ((3,),)
    assert tables.generation > generation


def test_what_is_no_table_is_skipped_and_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    os.symlink(tmp_path / "secret.csv", folder / "link.csv")
    (folder / "latin.csv").write_bytes(b"a\n\xff\n")
    (folder / "empty.csv").write_text("")
    with Tables(folder) as tables:
        assert [table.name for table in tables.tables] == ["countries"]
        assert {skipped.file for skipped in tables.skipped} == {"link.csv", "latin.csv", "empty.csv"}


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        Tables(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO countries VALUES ('x', 1, 1, 'x')",
        "DROP TABLE countries",
        "ATTACH '/tmp/planted.db' AS other",
        "PRAGMA query_only = OFF",
        "SELECT * FROM pragma_database_list",
        "SELECT load_extension('evil')",
        "VACUUM INTO '/tmp/planted.db'",
        "BEGIN",
        "CREATE TEMP TABLE t(a)",
        "SELECT 1; DROP TABLE countries",
        "WITH x AS (SELECT 1) DELETE FROM countries",
        "SELECT printf('%.999999999c', 'x')",
        "SELECT zeroblob(1000000000)",
        "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t",
        "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x || x FROM t) SELECT max(x) FROM t",
        "",
        "-- nothing",
        "\0",
        "\ud800",
        "SELECT " + "(" * 1000 + "1" + ")" * 1000,
    ],
)
def test_anything_but_one_short_reading_statement_is_refused(tables: Tables, sql: str) -> None:
    with pytest.raises(RefusedQuery):
        tables.query(sql, timeout_s=0.1)
    assert tables.query("SELECT count(*) FROM countries").rows == ((2,),)


def test_a_query_that_eats_memory_is_stopped(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kapelle.tools.tables.MAX_MEMORY_GROWTH_BYTES", 20_000_000)
    with pytest.raises(RefusedQuery, match="memory"):
        tables.query(
            "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) "
            "SELECT hex(zeroblob(50000)) || x AS y FROM t ORDER BY y",
            timeout_s=30,
        )


def test_rows_over_the_limit_are_cut_and_said_to_be(tables: Tables) -> None:
    result = tables.query("WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT x FROM t", max_rows=3)
    assert result.rows == ((1,), (2,), (3,))
    assert result.truncated


def test_an_unknown_name_gets_a_suggestion_and_what_there_is(tables: Tables) -> None:
    with pytest.raises(RefusedQuery, match="Did you mean 'population'"):
        tables.query("SELECT populaton FROM countries")
    with pytest.raises(RefusedQuery, match=r"Did you mean 'countries'.*country, population"):
        tables.query("SELECT 1 FROM contries")


def test_threads_can_share_the_tables(tables: Tables) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: tables.query(f"SELECT {n}, count(*) FROM countries").rows[0], range(40)))
    assert found == [(n, 2) for n in range(40)]


SQL_WORDS = (
    "SELECT INSERT UPDATE DELETE DROP ATTACH PRAGMA FROM WHERE countries country population * , ; ( ) 1 'x' \" -- "
    "UNION ALL WITH RECURSIVE AS t INTO VALUES CREATE TABLE BEGIN COMMIT VACUUM zeroblob sqlite_schema ?"
)
WORDS = st.sampled_from(SQL_WORDS.split())


def test_no_query_text_changes_the_tables_or_raises_anything_but_a_refusal(tables: Tables) -> None:
    everything = "SELECT * FROM countries"
    before = tables.query(everything).rows
    schema = tables.query("SELECT count(*) FROM sqlite_schema").rows

    @settings(max_examples=scaled(250, least=15), deadline=None)
    @given(st.text(max_size=60) | st.lists(WORDS, max_size=12).map(" ".join))
    def ask(sql: str) -> None:
        with contextlib.suppress(RefusedQuery):
            tables.query(sql, timeout_s=0.2, max_rows=5)
        assert tables.query(everything).rows == before
        assert tables.query("SELECT count(*) FROM sqlite_schema").rows == schema

    ask()


CELLS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=6) | st.sampled_from(
    ["1", "-2", "3.5", "1,234", "007", "1e5", ' "x" ', "a\nb", ""]
)


@pytest.mark.slow
def test_loading_a_table_loses_no_row_and_no_text(tmp_path: Path) -> None:
    @settings(max_examples=scaled(120, least=15), deadline=None)
    @given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=6))
    def load(rows: list[list[str]]) -> None:
        path = tmp_path / "table.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["one", "two"], *rows])
        with Tables(path) as tables:
            if not tables.tables:
                assert re.search(r"line \d+|lines|two header rows", tables.skipped[0].reason)
                return
            notes = tables.tables[0].notes
            found = tables.query("SELECT * FROM 'table'").rows
        if any("left out" in note for note in notes):
            assert len(found) < len(rows)
            return
        assert len(found) == len(rows)
        for got, given_row in zip(found, rows, strict=True):
            for cell, text in zip(got, given_row, strict=False):
                if isinstance(cell, str) or cell is None:
                    assert (cell or "") == text.strip() or text.strip().casefold() in MISSING
                else:
                    number = read_number(text.strip())
                    assert number is not None
                    marks: list[Mark] = [mark for mark in (".", ",") if mark in number.marks]
                    assert cell in [pytest.approx(number.value(mark)) for mark in marks]

    load()


def test_decimal_commas_are_numbers_in_a_file_apart_by_semicolons(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("item;price;sold\nA;1,5;1.234,0\nB;2,25;7\n", encoding="utf-8")
    tables = Tables(tmp_path)
    assert tables.query("SELECT sum(price), sum(sold) FROM prices").rows == ((3.75, 1241.0),)


def test_a_comma_that_could_mean_thousands_is_not_guessed_to_be_a_decimal(tmp_path: Path) -> None:
    (tmp_path / "sold.csv").write_text("item;sold\nA;1,234\nB;5,678\n", encoding="utf-8")
    assert Tables(tmp_path).query("SELECT max(sold) FROM sold").rows == ((5678,),)


def test_a_file_that_is_not_utf_8_is_read_as_windows_text_with_a_note_or_left_out_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "latin1.csv").write_bytes("name\ncaf\u00e9\n".encode("latin-1"))
    (tmp_path / "mixed.csv").write_bytes("name\ncaf\u00e9\n".encode() + b"caf\xe9\n")
    tables = Tables(tmp_path)
    assert tables.query("SELECT name FROM latin1").rows == (("caf\u00e9",),)
    assert tables.tables[0].notes[0].startswith("latin1.csv:2: it is no UTF-8 text and was read as Windows-1252")
    assert "line 2 is UTF-8 text, line 3 is not" in tables.skipped[0].reason


def test_tables_of_one_name_in_several_files_are_all_there(folder: Path) -> None:
    for number, name in enumerate(("a", "b", "c"), start=1):
        with contextlib.closing(sqlite3.connect(folder / f"{name}.db")) as store:
            store.execute("CREATE TABLE countries (x INTEGER)")
            store.execute("INSERT INTO countries VALUES (?)", (number,))
            store.commit()
    with Tables(folder) as tables:
        names = [table.name for table in tables.tables]
        assert names == ["countries", "countries_2", "countries_3", "countries_4"]
        assert [tables.query(f"SELECT x FROM {name}").rows for name in names[1:]] == [((1,),), ((2,),), ((3,),)]
        assert tables.reads("SELECT x FROM countries_3") == {("countries_3", "x")}


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT country FROM countries", {("countries", "country")}),
        ("SELECT count(*) FROM countries", {("countries", "")}),
        (
            "WITH big AS (SELECT country AS name FROM countries WHERE population > 1) SELECT name FROM big",
            {("countries", "country"), ("countries", "population")},
        ),
        ("SELECT c.code FROM countries c JOIN countries d ON c.country = d.country", {("countries", "code")}),
    ],
)
def test_what_a_query_reads_is_told_by_sqlite(sql: str, reads: set[tuple[str, str]], tables: Tables) -> None:
    assert tables.reads(sql) >= reads
    assert {table for table, _ in tables.reads(sql)} == {"countries"}


@pytest.mark.parametrize(
    "sql",
    ["SELECT name FROM sqlite_master", "DELETE FROM countries", "SELECT 1; SELECT 2", "SELECT nothing FROM countries"],
)
def test_a_query_that_reads_something_else_is_refused_before_it_runs(sql: str, tables: Tables) -> None:
    with pytest.raises(RefusedQuery):
        tables.reads(sql)
    assert tables.query("SELECT count(*) FROM countries").rows == ((2,),)
