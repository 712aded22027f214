"""What hostile input costs: folders, plan files, replies of models and programs, each in a process of its own.

    python -m bench.untrusted [--seed N] [--cases N] [--only WORD] [--json]

Every case is made from the seed and a name. It runs in a fresh process, whose seconds (by the clock) and peak memory
(its own and that of its largest child together) are held against those of an idle process: one that does the same with
harmless input. A case that takes more than `WANTED_SECONDS` is run up to twice more and the lowest figure counts, as other
work of the machine only ever adds time. A crash is a process that dies, is stopped after `STOP_SECONDS`, raises what is no
error of kapelle, or loses what stands beside the hostile part: the good file of a folder must still be found, twice.
"""

# ruff: noqa: E501 - a case is a line of its table
from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WANTED_SECONDS = 2.0
WANTED_MB = 200.0
STOP_SECONDS = 30.0
MOST_ADDRESS_BYTES = 6_000_000_000
"""No case may take the machine down; one that hits this has crashed."""

GOOD = "# Peru\n\nLima is the capital of Peru.\n"
QUESTION = "What is the capital of Peru?"

Folder = Callable[[Path, random.Random], None]
Text = Callable[[random.Random], str]

# -- folders: each writes its hostile part beside the good file -------------------------------------------------------


def long_heading(folder: Path, rng: random.Random) -> None:
    (folder / "a.md").write_text("# a" + " " * rng.randrange(2_000, 200_000) + "b\n" + "# " * 50_000)


def bad_markup(folder: Path, rng: random.Random) -> None:
    pieces = ["<![foo[bar]]>", "<![if x]>", "<!DOCTYPE [ <!ELEMENT a (b)> ]>", "<?x", "&#xD800;", "</ a>", "<\x01a>"]
    pieces += ["&#" + "9" * 5_000 + ";", "<!--", "<script>", "<a '", '<a "']
    for number in range(20):
        (folder / f"{number}.html").write_text("".join(rng.choices(pieces, k=30)) + "<p>text</p>")


def unclosed_markup(folder: Path, rng: random.Random) -> None:
    piece = rng.choice(["<", "<a ", "<!--", "<!", "</", "<a b='", "&#", "<p><!-- -", "<script>", "<template>", "&"])
    (folder / "a.html").write_text(piece * (4_900_000 // len(piece)))


def one_line_page(folder: Path, rng: random.Random) -> None:
    (folder / "a.html").write_text("<b>x</b>" * rng.randrange(300_000, 600_000))


def dots(folder: Path, rng: random.Random) -> None:
    piece = rng.choice(["A. ", "a.b.", "! ", "1. ", '." ', "Peru. ", "capital of "])
    (folder / "capital of peru.md").write_text("capital Peru " + piece * 300_000)


def blanks(folder: Path, rng: random.Random) -> None:
    piece = rng.choice([" ", "\t", "\n", "\n\n", "\u00a0", " \n", "\r", "\u2028"])
    (folder / "blank.md").write_text("capital" + piece * (2_000_000 // len(piece)) + "Peru")


def many_paragraphs(folder: Path, rng: random.Random) -> None:
    for number in range(3):
        (folder / f"{number}.txt").write_text("capital Peru\n\n" * rng.randrange(40_000, 300_000))


def many_headings(folder: Path, rng: random.Random) -> None:
    (folder / "a.md").write_text("\n".join("#" * rng.randrange(1, 7) + " capital" * 100 + "\nx" for _ in range(6_000)))


def many_small_files(folder: Path, rng: random.Random) -> None:
    for number in range(rng.randrange(2_000, 4_000)):
        (folder / f"{number}.md").write_text(f"# T{number}\n\nThe capital of {number} is {number}.\n")


def odd_names(folder: Path, rng: random.Random) -> None:
    for name in (
        "a\x1b[2J.md",
        "b\nc.csv",
        "\u202egpj.md",
        "d\x07.html",
        "e" * 240 + ".md",
        "{x}.csv",
        "'; DROP--.csv",
    ):
        (folder / name).write_text("a,b\n1,2\n")
    with open(os.fsencode(folder) + b"/\xff\xfe.md", "wb") as file:
        file.write(b"x")


def no_plain_files(folder: Path, rng: random.Random) -> None:
    os.mkfifo(folder / "pipe.md")
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.db")
    for name, target in (
        ("zero.md", "/dev/zero"),
        ("all.csv", "/dev/urandom"),
        ("up", ".."),
        ("root", "/"),
        ("self", "."),
    ):
        os.symlink(target, folder / name)
    os.symlink("loop.md", folder / "loop.md")


def deep_folders(folder: Path, rng: random.Random) -> None:
    here = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(1_500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)


def wrong_bytes(folder: Path, rng: random.Random) -> None:
    text = "Lima is the capital of Peru.\n"
    (folder / "utf16.md").write_bytes(text.encode("utf-16"))
    (folder / "utf16.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    (folder / "nul.txt").write_bytes(b"a\0" * 100_000)
    (folder / "nul.csv").write_bytes(b"a,b\n1,\0\n")
    for ending in ("md", "html", "csv", "db", "tsv", "sqlite"):
        (folder / f"noise.{ending}").write_bytes(rng.randbytes(200_000))


def wide_table(folder: Path, rng: random.Random) -> None:
    (folder / "a.csv").write_text(",".join(f"c{number}" for number in range(500)) + "\n" + "1\n" * 20_000)


def full_wide_table(folder: Path, rng: random.Random) -> None:
    row = ",".join(str(rng.randrange(100)) for _ in range(500)) + "\n"
    (folder / "a.csv").write_text(",".join(f"c{number}" for number in range(500)) + "\n" + row * 2_000)


def same_columns(folder: Path, rng: random.Random) -> None:
    for number in range(rng.randrange(100, 400)):
        (folder / f"t{number}.csv").write_text(",".join(["name"] * 50) + "\n" + "a," * 49 + "a\n")


def too_many_columns(folder: Path, rng: random.Random) -> None:
    (folder / "a.csv").write_text("a," * 100_000 + "\n" + "1," * 100_000)
    (folder / "b.csv").write_text("a\n" + "," * 5_000_000)


def huge_cell(folder: Path, rng: random.Random) -> None:
    with open(folder / "a.csv", "wb") as file:
        file.write(b'a,b\n1,"')
        for _ in range(95):
            file.write(b"x" * 1_000_000)
    with open(folder / "lines.csv", "wb") as file:
        file.write(b'a,b\n1,"' + b"x\n" * 20_000_000)


def huge_file(folder: Path, rng: random.Random) -> None:
    for name in ("a.csv", "a.md", "a.db", "b.html"):
        with open(folder / name, "wb") as file:
            file.truncate(50_000_000_000)


def commas(folder: Path, rng: random.Random) -> None:
    (folder / "a.csv").write_text("a,b\n" + rng.choice([",\n", ";\n", "\n,", '"\n', '""\n', "'\n"]) * 1_000_000)


def numbers(folder: Path, rng: random.Random) -> None:
    cell = rng.choice(["1" * 100_000, "1," * 60_000, "9" * 18, "1e99", "-.5", "0" * 1_000])
    with open(folder / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], *([cell, cell] for _ in range(min(20, 2_000_000 // len(cell))))])


def many_values(folder: Path, rng: random.Random) -> None:
    (folder / "a.csv").write_text("name,x\n" + "".join(f"a{'!' * (n % 97)}{n},{n}\n" for n in range(60_000)))
    (folder / "b.csv").write_text("name,x\n" + "".join(f"a{'!' * n},{n}\n" for n in range(1_500)))


def endless_views(folder: Path, rng: random.Random) -> None:
    with contextlib.closing(sqlite3.connect(folder / "a.db")) as store:
        store.execute("CREATE TABLE good(name TEXT)")
        for number in range(rng.randrange(1, 60)):
            store.execute(
                f"CREATE VIEW v{number} AS WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) "
                + rng.choice(["SELECT x FROM t", "SELECT count(*) AS n FROM t", "SELECT sum(x) AS n FROM t ORDER BY 1"])
            )
        store.commit()


def heavy_views(folder: Path, rng: random.Random) -> None:
    with contextlib.closing(sqlite3.connect(folder / "a.db")) as store:
        store.execute("CREATE TABLE t(a TEXT)")
        store.executemany("INSERT INTO t VALUES (?)", [("x" * 100,)] * 500)
        store.execute("CREATE VIEW sorted AS SELECT a.a || b.a || c.a AS z FROM t a, t b, t c ORDER BY 1")
        store.execute("CREATE VIEW big AS SELECT hex(zeroblob(400000)) AS z FROM t")
        store.execute("CREATE VIEW bomb AS SELECT replace(hex(zeroblob(100000)), '00', hex(zeroblob(100000))) AS z")
        store.execute("CREATE VIEW v0 AS SELECT a AS c FROM t")
        for number in range(1, 25):
            store.execute(f"CREATE VIEW v{number} AS SELECT a.c FROM v{number - 1} a, v{number - 1} b")
        store.commit()


def many_tables(folder: Path, rng: random.Random) -> None:
    for file in range(3):
        with contextlib.closing(sqlite3.connect(folder / f"{file}.db")) as store:
            store.execute("BEGIN")
            for number in range(1_500):
                store.execute(f"CREATE TABLE t{number}({', '.join(f'c{column} TEXT' for column in range(20))})")
            store.commit()


def damaged_database(folder: Path, rng: random.Random) -> None:
    for number in range(8):
        path = folder / f"{number}.db"
        with contextlib.closing(sqlite3.connect(path)) as store:
            store.execute("CREATE TABLE t(a TEXT, b INTEGER)")
            store.execute("CREATE INDEX i ON t(a)")
            store.execute("CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; END")
            store.executemany("INSERT INTO t VALUES (?, ?)", [("x" * rng.randrange(300), n) for n in range(2_000)])
            with contextlib.suppress(sqlite3.Error):
                store.execute("CREATE VIRTUAL TABLE f USING fts5(a)")
                store.execute("INSERT INTO f SELECT a FROM t")
            store.commit()
        data = bytearray(path.read_bytes())
        for _ in range(rng.randrange(1, 200)):
            data[rng.randrange(20, len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(1_000, len(data))] if number % 2 else data)


def huge_values(folder: Path, rng: random.Random) -> None:
    with contextlib.closing(sqlite3.connect(folder / "a.db")) as store:
        store.execute("CREATE TABLE t(a BLOB, b TEXT, c)")
        store.execute("INSERT INTO t VALUES (zeroblob(40000000), hex(zeroblob(20000000)), 9e999)")
        store.commit()


def repeated(path: Path, head: str, piece: str, megabytes: int) -> None:
    block = piece * (1_000_000 // len(piece))
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(head)
        for _ in range(megabytes):
            file.write(block)


def large_blank_lines(folder: Path, rng: random.Random) -> None:
    repeated(
        folder / "a.csv", "a,b\n1,2\n", rng.choice(["\n", "\r\n", " \n", " " * rng.randrange(20, 2_000) + "\n"]), 90
    )


def large_empty_cells(folder: Path, rng: random.Random) -> None:
    piece = rng.choice([",\n", '"",""\n', "," * rng.randrange(5, 499) + "\n", " , \t,\n"])
    repeated(folder / "a.csv", "a,b\n1,2\n", piece, rng.randrange(10, 95))


def many_empty_tables(folder: Path, rng: random.Random) -> None:
    for number in range(30):
        repeated(folder / f"{number}.csv", "a,b\n", rng.choice([",\n", ",,,,,,\n", "\n"]), rng.randrange(1, 10))


def many_empty_pages(folder: Path, rng: random.Random) -> None:
    for number in range(30):
        piece = rng.choice(["<b></b>", "<p>\n", "<a b='c'>", "<!-- -->", "\n", " \n", "&", "<"])
        repeated(folder / f"{number}.html", "", piece, 4)


def shared_pages(folder: Path, rng: random.Random) -> None:
    """Two hundred tables that are all the same pages of 60 MB: counting each is counting all of it."""
    with contextlib.closing(sqlite3.connect(folder / "a.db")) as store:
        store.execute("CREATE TABLE t(a)")
        store.execute(
            "INSERT INTO t WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 5000000) SELECT x FROM n"
        )
        root = store.execute("SELECT rootpage FROM sqlite_schema").fetchone()[0]
        store.execute("PRAGMA writable_schema = ON")
        store.executemany(
            "INSERT INTO sqlite_schema VALUES ('table', ?, ?, ?, ?)",
            ((f"t{number}", f"t{number}", root, f"CREATE TABLE t{number}(a)") for number in range(200)),
        )
        store.commit()


FOLDERS: dict[str, Folder] = {
    one.__name__: one
    for one in (
        long_heading, bad_markup, unclosed_markup, one_line_page, dots, blanks, many_paragraphs, many_headings,
        many_small_files, odd_names, no_plain_files, deep_folders, wrong_bytes, wide_table, full_wide_table,
        same_columns, too_many_columns, huge_cell, huge_file, commas, numbers, many_values, endless_views, heavy_views,
        many_tables, damaged_database, huge_values, large_blank_lines, large_empty_cells, many_empty_tables,
        many_empty_pages, shared_pages,
    )
}  # fmt: skip

# -- plan files: (ending, text) -----------------------------------------------------------------------------------------

PLANS: dict[str, tuple[str, Text]] = {
    "json_lists": (".json", lambda rng: "[" * rng.randrange(100_000, 1_000_000)),
    "json_closed_lists": (".json", lambda rng: "[" * 50_000 + "]" * 50_000),
    "json_empty_lists": (".json", lambda rng: "[" + "[]," * 3_000_000 + "[]]"),
    "json_objects": (".json", lambda rng: '{"a":' * rng.randrange(1_000, 200_000)),
    "json_digits": (".json", lambda rng: '{"request": ' + "9" * rng.randrange(5_000, 5_000_000) + "}"),
    "json_spaces": (".json", lambda rng: " " * 9_000_000 + "x"),
    "json_tasks": (".json", lambda rng: _json_plan(rng.randrange(500, 1_500))),
    "json_edges": (".json", lambda rng: _json_plan(600, all_before=True)),
    "json_references": (".json", lambda rng: _json_plan(2, description="{t0} " * 50_000)),
    "json_braces": (".json", lambda rng: _json_plan(2, description=rng.choice(["{", "{{", "}", "{t0."]) * 200_000)),
    "json_long_description": (".json", lambda rng: _json_plan(2, description=rng.choice(["A. ", " ", "a, "]) * 200_000)),
    "json_deep_inputs": (".json", lambda rng: _json_plan(2, inputs='{"a": ' + "[" * 900 + "]" * 900 + "}")),
    "yaml_flow": (".yaml", lambda rng: "[" * rng.randrange(1_000, 900_000)),
    "yaml_flow_maps": (".yaml", lambda rng: "{a: " * rng.randrange(1_000, 200_000)),
    "yaml_nested": (".yaml", lambda rng: "\n".join(" " * n + "a:" for n in range(rng.randrange(300, 1_300)))),
    "yaml_laughs": (".yaml", lambda rng: "a: &a [x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a]\n" for n in range(30))),
    "yaml_keys": (".yaml", lambda rng: "\n".join(f"k{n}: 1" for n in range(rng.randrange(20_000, 100_000)))),
    "yaml_items": (".yaml", lambda rng: "- a\n" * rng.randrange(20_000, 240_000)),
    "yaml_spaces": (".yaml", lambda rng: "a:" + " " * 900_000 + "b"),
    "yaml_quotes": (".yaml", lambda rng: '"' + "\\n" * 400_000),
    "yaml_tags": (".yaml", lambda rng: "!!python/object/apply:os.system ['true']\n" * 10_000),
    "yaml_digits": (".yaml", lambda rng: f"request: {'9' * 900_000}"),
    "yaml_sexagesimal": (".yaml", lambda rng: "a: " + "1:" * 300_000 + "1"),
    "xml_entities": (".xml", lambda rng: "<!DOCTYPE g [" + "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 40)) + "]><graph>&e39;</graph>"),
    "xml_deep": (".xml", lambda rng: "<graph>" + "<node>" * rng.randrange(1_000, 500_000)),
    "xml_attributes": (".xml", lambda rng: "<graph><node " + "".join(f'a{n}="x" ' for n in range(100_000)) + "/></graph>"),
    "xml_nodes": (".xml", lambda rng: "<graph>" + "".join(f'<node id="{n}">x</node>' for n in range(30_000)) + "</graph>"),
    "xml_calls": (".xml", lambda rng: '<graph><node id="1">' + "f(" * 100_000 + "</node></graph>"),
    "xml_quotes": (".xml", lambda rng: "<graph><node id='" + '"' * 1_000_000),
    "xml_ampersands": (".xml", lambda rng: "<graph>" + "&" * 1_000_000 + "</graph>"),
    "noise": (".json", lambda rng: rng.randbytes(1_000_000).decode("latin-1")),
}  # fmt: skip


def _json_plan(tasks: int, *, all_before: bool = False, description: str = "x", inputs: str = "{}") -> str:
    rows = (
        f'{{"task_id": "t{n}", "task_type": "lookup", "description": {json.dumps(description if n else "x")}, '
        f'"depends_on": {json.dumps([f"t{before}" for before in range(n)] if all_before else [f"t{n - 1}"] if n else [])}, '
        f'"inputs": {inputs}}}'
        for n in range(tasks)
    )
    return '{"request": "x", "tasks": [' + ", ".join(rows) + "]}"


# -- replies of a model that plans --------------------------------------------------------------------------------------

REPLIES: dict[str, Text] = {
    "brackets": lambda rng: rng.choice("[{(<") * rng.randrange(50_000, 400_000),
    "spaces": lambda rng: "{" + " " * 400_000,
    "quotes": lambda rng: rng.choice(['"', "'", "`", "“", '\\"', "'\\"]) * 200_000,
    "open_texts": lambda rng: '{"a": "' + "x" * 300_000,
    "json_in_prose": lambda rng: "Here it is: {" * 30_000,
    "fences": lambda rng: "```json\n" * 30_000,
    "open_fence": lambda rng: "```json\n" + " \n" * 150_000,
    "thoughts": lambda rng: "<think>" * 40_000 + "</think>" * 39_000,
    "open_thought": lambda rng: "<think>" + "A. " * 100_000,
    "tags": lambda rng: "<graph>" * 30_000,
    "nodes": lambda rng: "<graph>" + "".join(f'<node id="n{n}">f(x=1)</node>' for n in range(10_000)) + "</graph>",
    "open_nodes": lambda rng: "<graph>" + '<node id="a" depends="' * 15_000,
    "bare_attributes": lambda rng: "<graph><node id=" + "a , " * 80_000 + "></graph>",
    "entities": lambda rng: "<graph><node id='1'>" + "&amp;" * 60_000 + "</node></graph>",
    "doctype": lambda rng: '<!DOCTYPE a [<!ENTITY a "' + "x" * 100_000 + '">]><graph>' + "&a;" * 20_000,
    "calls": lambda rng: "\n".join(f"{n}. search(query='$" + str(n - 1) + "')" for n in range(1, 8_000)),
    "nested_calls": lambda rng: "1. f(" + "g(" * 50_000,
    "long_call": lambda rng: "1. f(" + "a=1, " * 60_000 + ")",
    "call_quotes": lambda rng: "1. f('" + "\\'" * 100_000,
    "dollars": lambda rng: "1. f('" + "$1 ${2} " * 40_000 + "')",
    "comments": lambda rng: "[" + "/*" * 100_000,
    "line_comments": lambda rng: "[" + "// x\n" * 60_000,
    "cycle": lambda rng: '{"tasks": [' + ",".join(f'{{"id": "t{n}", "type": "x", "depends_on": ["t{(n + 1) % 900}"]}}' for n in range(900)) + "]}",
    "same_ids": lambda rng: '{"tasks": [' + ",".join('{"id": "t", "type": "x"}' for _ in range(9_000)) + "]}",
    "wide_edges": lambda rng: '{"tasks": [' + ",".join(f'{{"id": "t{n}", "type": "x", "depends_on": {json.dumps([f"t{b}" for b in range(n)])}}}' for n in range(250)) + "]}",
    "edge_dashes": lambda rng: '{"tasks": [], "edges": ["' + "-" * 200_000 + '"]}',
    "digits": lambda rng: '{"tasks": ' + "9" * 300_000 + "}",
    "long_id": lambda rng: '{"tasks": [{"id": "' + "a_from_" * 40_000 + '", "type": "x"}]}',
    "escapes": lambda rng: '"' + "\\u12" * 80_000,
    "noise": lambda rng: rng.randbytes(300_000).decode("latin-1"),
}  # fmt: skip

# -- programs -----------------------------------------------------------------------------------------------------------

PROGRAMS: dict[str, Text] = {
    "shared_lists": lambda rng: "x=[]\nfor i in range(22): x=[x,x]\nx",
    "shared_wide_lists": lambda rng: f"x=[1]*{rng.randrange(10, 100)}\nfor i in range(5): x=[x]*{rng.randrange(20, 100)}\nx",
    "shared_maps": lambda rng: "x={}\nfor i in range(22): x={'a': x, 'b': x}\nx",
    "shared_texts": lambda rng: f"s='x'*{rng.randrange(100_000, 1_000_000)}\n[s]*10000",
    "shared_tuples": lambda rng: "x=()\nfor i in range(24): x=(x,x)\nx",
    "itself": lambda rng: "x=[]\nx.append(x)\nx",
    "endless_loop": lambda rng: "while True: pass",
    "endless_list": lambda rng: "x=[]\nwhile True: x.append(1)",
    "endless_text": lambda rng: "s='x'\nwhile True: s=s+s",
    "endless_print": lambda rng: "while True: print('x'*1000)",
    "deep_list": lambda rng: "x=[]\nfor i in range(100000): x=[x]\nx",
    "deep_calls": lambda rng: "def f(n): return f(n+1)\nf(0)",
    "large_number": lambda rng: f"{rng.randrange(2, 9)}**{rng.randrange(10_000, 10_000_000)}",
    "tower": lambda rng: "9**9**9",
    "shift": lambda rng: "1 << 10000000000",
    "large_list": lambda rng: f"[0]*{rng.randrange(10**6, 10**10)}",
    "large_text": lambda rng: f"'x'*{rng.randrange(10**7, 10**11)}",
    "large_range": lambda rng: "list(range(10**12))",
    "large_sum": lambda rng: "sum(range(10**12))",
    "join": lambda rng: "','.join(['x'*1000]*1000000)",
    "format": lambda rng: "f'{1:999999999}'",
    "percent": lambda rng: "'%999999999d' % 1",
    "replace": lambda rng: "('a'*1000000).replace('a', 'b'*1000000)",
    "pattern": lambda rng: "import re\nre.match('(a+)+$', 'a'*40+'b')",
    "json_deep": lambda rng: "import json\njson.loads('['*100000)",
    "nested_code": lambda rng: "(" * rng.randrange(1_000, 90_000) + "1" + ")" * 10,
    "long_code": lambda rng: "x = 1\n" * 30_000,
    "long_expression": lambda rng: "+".join(["1"] * 90_000),
    "unary": lambda rng: "-" * 150_000 + "1",
    "reach_out": lambda rng: "import os\nos.system('true')",
    "open_file": lambda rng: "open('/etc/passwd').read()",
    "wide_map": lambda rng: "{str(i): i for i in range(400000)}",
    "sorting": lambda rng: "sorted([str(i) for i in range(10**7)])",
    "nothing": lambda rng: "\0",
}  # fmt: skip

KINDS: dict[str, tuple[str, ...]] = {
    "folder": tuple(FOLDERS),
    "plan": tuple(PLANS),
    "reply": tuple(REPLIES),
    "program": tuple(PROGRAMS),
}

# -- one case, in its own process ---------------------------------------------------------------------------------------


def run_folder(path: Path) -> str:
    """Ask an engine on the folder twice; the good file must answer each time."""
    from kapelle import Engine, SqliteLedger

    with Engine(data=path, model="none", ledger=SqliteLedger(":memory:")) as engine:
        for _ in range(2):
            run = asyncio.run(engine.run(QUESTION))
            if "Lima" not in str(run.answer):
                raise AssertionError(f"the good file was not found: {run.state} {str(run.answer)[:200]}")
        return f"{len(engine.team.notes)} left out"


def run_plan(path: Path) -> str:
    """Read a plan file and propose to run it; refusals are what is expected."""
    from kapelle import Engine, SqliteLedger
    from kapelle.errors import KapelleError

    with Engine(model="none", ledger=SqliteLedger(":memory:")) as engine:
        try:
            asyncio.run(engine.plan(path))
        except KapelleError as error:
            return type(error).__name__
    return "planned"


def run_reply(path: Path) -> str:
    """Read a reply as every planner does, a draft mended where it can be."""
    from kapelle.errors import KapelleError
    from kapelle.planning import read_reply
    from kapelle.validation import mend_draft

    try:
        read_reply(path.read_text(encoding="utf-8"), mend=mend_draft)
    except KapelleError as error:
        return type(error).__name__
    return "read"


def run_program(path: Path) -> str:
    """Run a program in the sandbox, as the agent does, and write down what it gave."""
    from kapelle.agents import TaskContext
    from kapelle.errors import KapelleError
    from kapelle.graph import Task, escape_braces
    from kapelle.local import PythonAgent
    from kapelle.tools import Sandbox

    code = path.read_text(encoding="utf-8")
    with Sandbox() as sandbox:
        task = Task(task_id="p", task_type="python", inputs={"code": escape_braces(code)}).resolved({})
        try:
            result = asyncio.run(PythonAgent(sandbox).run(task, TaskContext(run_id="r", request="")))
        except KapelleError as error:
            return type(error).__name__
        json.dumps(result.output)
    return "ran"


RUN: dict[str, Callable[[Path], str]] = {
    "folder": run_folder,
    "plan": run_plan,
    "reply": run_reply,
    "program": run_program,
}


def run_one(kind: str, path: Path) -> None:
    """Run a case here, and print what it took as one line of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESS_BYTES, MOST_ADDRESS_BYTES))
    found = RUN[kind](path)
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    print(json.dumps({"mb": own_peak_mb() + child, "found": found}))


def own_peak_mb() -> float:
    """Return the most memory that this process has had; `getrusage` counts that of the process that started it too."""
    try:
        facts = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(facts.partition("VmHWM:")[2].split()[0]) / 1e3
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


# -- measuring ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Took:
    """What a case took."""

    name: str
    seconds: float
    mb: float
    found: str
    crash: str = ""


def make(kind: str, name: str, rng: random.Random, home: Path) -> Path:
    """Write a case down, and return where it stands; `harmless` is what idle processes get."""
    if kind == "folder":
        folder = home / "data"
        folder.mkdir()
        if name != "harmless":
            FOLDERS[name](folder, rng)
        (folder / "peru.md").write_text(GOOD)
        return folder
    if kind == "plan":
        ending, text = PLANS[name] if name != "harmless" else (".json", lambda _: _json_plan(1))
        path = home / f"plan{ending}"
        path.write_text(text(rng), encoding="utf-8")
        return path
    texts = REPLIES if kind == "reply" else PROGRAMS
    harmless = '{"tasks": [{"id": "a", "type": "lookup"}]}' if kind == "reply" else "1 + 1"
    path = home / "text"
    path.write_text(harmless if name == "harmless" else texts[name](rng), encoding="utf-8")
    return path


def measure(kind: str, name: str, path: Path) -> Took:
    """Run a case in a fresh process. Its figures include those of an idle one."""
    command = [sys.executable, "-m", "bench.untrusted", "--run", kind, str(path)]
    started = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STOP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        seconds = time.perf_counter() - started
        return Took(name=name, seconds=seconds, mb=0.0, found="", crash=f"did not end in {STOP_SECONDS:g} seconds")
    seconds = time.perf_counter() - started
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        return Took(name=name, seconds=seconds, mb=0.0, found="", crash=last[:300])
    told = json.loads(lines[-1])
    return Took(name=name, seconds=seconds, mb=told["mb"], found=told["found"])


def above_idle(took: Took, idle: Took) -> Took:
    """Return what a case took more than an idle process."""
    return Took(
        name=took.name,
        seconds=max(0.0, took.seconds - idle.seconds),
        mb=max(0.0, took.mb - idle.mb),
        found=took.found,
        crash=took.crash,
    )


def run_cases(kinds: list[str], cases: int, seed: int, only: str = "", idle_runs: int = 3) -> list[Took]:
    """Return what every case took above an idle process of its kind, which is the median of so many runs."""
    found: list[Took] = []
    for kind in kinds:
        with tempfile.TemporaryDirectory() as home:
            path = make(kind, "harmless", random.Random(seed), Path(home))
            runs = [measure(kind, "harmless", path) for _ in range(idle_runs)]
        assert not any(run.crash for run in runs), runs
        idle = Took(
            name="harmless",
            seconds=statistics.median(run.seconds for run in runs),
            mb=statistics.median(run.mb for run in runs),
            found=runs[0].found,
        )
        for number in range(cases):
            generator = KINDS[kind][number % len(KINDS[kind])]
            name = f"{kind}/{generator}#{number // len(KINDS[kind])}"
            if only not in name:
                continue
            with tempfile.TemporaryDirectory() as home:
                path = make(kind, generator, random.Random(f"{seed} {name}"), Path(home))
                took = above_idle(measure(kind, name, path), idle)
                for _ in range(2):
                    if took.seconds < WANTED_SECONDS or took.crash:
                        break
                    took = min(took, above_idle(measure(kind, name, path), idle), key=lambda one: one.seconds)
                found.append(took)
                print(f"{name}: {took.seconds:.2f} s, {took.mb:.0f} MB {took.crash}", file=sys.stderr, flush=True)
                remove_deep(path)
    return found


def remove_deep(folder: Path) -> None:
    """Take apart folders within folders that are too deep for `rmtree`, which calls itself for each."""
    while (folder / "d" / "d").is_dir():  # lift what is within one level up: the chain gets shorter by one
        os.rename(folder / "d" / "d", folder / "e")
        os.rmdir(folder / "d")
        os.rename(folder / "e", folder / "d")


def summarise(found: list[Took], seed: int) -> dict[str, Any]:
    """Return the figures, with the worst cases by name."""
    slow = sorted(found, key=lambda one: -one.seconds)
    large = sorted(found, key=lambda one: -one.mb)
    return {
        "seed": seed,
        "cases": len(found),
        "worst_seconds": round(slow[0].seconds, 2) if slow else 0.0,
        "worst_mb": round(large[0].mb, 1) if large else 0.0,
        "crashes": sum(bool(one.crash) for one in found),
        "slowest": {one.name: round(one.seconds, 2) for one in slow[:5]},
        "largest": {one.name: round(one.mb, 1) for one in large[:5]},
        "crashed": {one.name: one.crash for one in found if one.crash},
        "wanted": {"worst_seconds": WANTED_SECONDS, "worst_mb": WANTED_MB, "crashes": 0},
    }


def holds(figures: dict[str, Any]) -> bool:
    """Whether every target is met."""
    return bool(
        figures["worst_seconds"] < WANTED_SECONDS and figures["worst_mb"] < WANTED_MB and not figures["crashes"]
    )


def main() -> None:
    """Measure, and print a table, or one JSON object and the table on stderr; exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=50, metavar="N", help="of each of the four kinds")
    parser.add_argument("--only", default="", metavar="WORD", help="only cases with this in their name")
    parser.add_argument("--json", action="store_true", help="print one JSON object; the table goes to stderr")
    parser.add_argument("--run", nargs=2, metavar=("KIND", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_one(options.run[0], Path(options.run[1]))
        return
    found = run_cases(list(KINDS), options.cases, options.seed, options.only)
    table = sys.stderr if options.json else sys.stdout
    print(f"{'case':<34} {'seconds':>8} {'MB':>8}  what came of it (above an idle process)", file=table)
    for one in sorted(found, key=lambda one: -one.seconds):
        came = f"CRASH: {one.crash}" if one.crash else one.found
        print(f"{one.name:<34} {one.seconds:>8.2f} {one.mb:>8.1f}  {came}", file=table)
    figures = summarise(found, options.seed)
    print(
        f"{figures['cases']} cases: at most {figures['worst_seconds']} s (wanted: under {WANTED_SECONDS:g}), "
        f"{figures['worst_mb']} MB (wanted: under {WANTED_MB:g}), {figures['crashes']} crashes (wanted: 0)",
        file=table,
    )
    if options.json:
        print(json.dumps(figures))
    sys.exit(0 if holds(figures) else 1)


if __name__ == "__main__":
    main()
