"""Whether odd tables are read right, or refused with the place: two hundred small ones, and one of 500 MB.

    python -m bench.tables [--json] [--large-mb 500] [--seed 0]

Each table is of a kind of trouble (encodings, dialects, ragged rows, quotes, titles, totals, codes, decimal marks,
units, missing values, dates, duplicates, headers, no table at all), drawn by a seed, and is asked one plain question
whose answer is known, through an engine without a model. `right` is the true answer; `refused_with_place` no answer,
and a note that names the file and a reason; `refused_without_place` no answer and no such note;
`wrong_with_note` another answer beside a note about the file; `silently_wrong` one without. Half of the variants
(`held_out`) were written when the reader was done, and faults that they found were mended since.

The large file is read in a process of its own: seconds, peak memory of that process and of the one that it starts to
read, and whether its sum is right.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kapelle import Engine, SqliteLedger

TABLES = 200
WORDS = tuple(
    f"{word}{end}" for word in ("Am", "Bir", "Ced", "Dah", "El", "Fer", "Gin", "Haz") for end in ("ber", "ch")
)
QUESTION = "What is the total units?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A table and what its question should be answered with."""

    data: bytes
    truth: float | None
    """None where nothing is right but a refusal."""
    question: str = QUESTION
    ending: str = ".csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of trouble."""

    name: str
    make: Callable[[random.Random], Case]
    held_out: bool = False


def main() -> None:
    """Print a table, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--large-mb", type=int, default=500, help="size of the large file; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print every table that is not read right")
    arguments = parser.parse_args()
    tried = [(kind, *ask(kind, arguments.seed, number)) for number in range(TABLES) for kind in [_kind_of(number)]]
    if arguments.show:
        for kind, verdict, said in tried:
            if verdict != "right":
                print(f"{verdict:22} {kind.name}: {said}", file=sys.stderr)
    figures: dict[str, Any] = {**_count(tried), "tables": len(tried)}
    figures["tuned"] = _count([one for one in tried if not one[0].held_out])
    figures["held_out"] = _count([one for one in tried if one[0].held_out])
    figures["kinds"] = {kind.name: _count([one for one in tried if one[0] is kind]) for kind in KINDS}
    if arguments.large_mb:
        figures["large"] = measure_large(arguments.large_mb)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name in VERDICTS:
        print(
            f"{name:22} {figures[name]:4}   tuned {figures['tuned'][name]:4}   held out {figures['held_out'][name]:4}"
        )
    for name, counts in figures["kinds"].items():
        print(f"  {name:34} {', '.join(f'{key} {value}' for key, value in counts.items() if value)}")
    if arguments.large_mb:
        print(f"large file: {figures['large']}")


def _kind_of(number: int) -> Kind:
    return KINDS[number % len(KINDS)]


VERDICTS = ("right", "refused_with_place", "refused_without_place", "wrong_with_note", "silently_wrong")


def _count(tried: Sequence[tuple[Kind, str, str]]) -> dict[str, int]:
    counts = Counter(verdict for _, verdict, _ in tried)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def ask(kind: Kind, seed: int, number: int) -> tuple[str, str]:
    """Return the verdict on one table, and what was said."""
    case = kind.make(random.Random(f"{seed} {number} {kind.name}"))
    with tempfile.TemporaryDirectory() as folder:
        file = f"stock{case.ending}"
        Path(folder, file).write_bytes(case.data)
        engine = Engine(data=folder, model="none", ledger=SqliteLedger(":memory:"))
        run = asyncio.run(engine.run(case.question))
        engine.close()
    answer = (run.answer or "") if run.state == "done" else ""
    # A reason is about the file or one of its lines; a refusal may also say so itself.
    noted = any(note.startswith(file) or f"{file} was left out" in note for note in run.notes)
    numbers = [float(text.replace(",", "")) for text in re.findall(r"-?\d[\d,]*(?:\.\d+)?", answer.split("##")[0])]
    said = f"{answer.splitlines()[0] if answer else run.stop_reason} | {list(run.notes)}"[:400]
    if answer and case.truth is not None and numbers and abs(numbers[-1] - case.truth) < 0.005:
        return "right", said
    if answer and numbers:
        return "wrong_with_note" if noted else "silently_wrong", said
    if noted:
        return "refused_with_place", said
    return "refused_without_place", said


def _rows(chance: random.Random, count: int = 0, most: int = 90) -> list[list[str]]:
    names = chance.sample(WORDS, count or chance.randint(4, 8))
    return [[name, str(chance.randint(10, 99)), str(chance.randint(2, most))] for name in names]


def _write(
    rows: Sequence[Sequence[str]], mark: str = ",", *, header: str = "name,shelf,units", all_quoted: bool = False
) -> str:
    written = io.StringIO()
    quoting: Literal[0, 1] = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    csv.writer(written, delimiter=mark, lineterminator="\n", quoting=quoting).writerows([header.split(","), *rows])
    return written.getvalue()


def _sum(rows: Sequence[Sequence[str]], position: int = -1) -> float:
    return sum(float(row[position]) for row in rows)


def encoded(encoding: str, *, with_accents: bool = True, begin: bytes = b"") -> Callable[[random.Random], Case]:
    """A table in an encoding."""

    def make(chance: random.Random) -> Case:
        rows = _rows(chance)
        if with_accents:
            rows[1][0] = "Rosé"
        return Case(data=begin + _write(rows).encode(encoding), truth=_sum(rows))

    return make


def mixed_encodings(chance: random.Random) -> Case:
    """UTF-8 in one line, Windows-1252 in another."""
    rows = _rows(chance)
    text = _write(rows).encode()
    return Case(data=text + "Rosé,1,1\n".encode() + "Café,1,1\n".encode("cp1252"), truth=_sum(rows) + 2)


def dialect(
    mark: str, *, all_quoted: bool = False, end: str = "\n", before: str = ""
) -> Callable[[random.Random], Case]:
    """A table with another delimiter, line end or first line."""

    def make(chance: random.Random) -> Case:
        rows = _rows(chance)
        rows[0][0] += ", dried" if mark != "," else ""
        text = before + _write(rows, mark, all_quoted=all_quoted).replace("\n", end)
        return Case(data=text.encode(), truth=_sum(rows))

    return make


def changed(
    change: Callable[[str, list[list[str]], random.Random], str], *, truth: bool = True
) -> Callable[[random.Random], Case]:
    """A plain table whose text is changed; `truth`: whether its rows still add up to what they did."""

    def make(chance: random.Random) -> Case:
        rows = _rows(chance)
        return Case(data=change(_write(rows), rows, chance).encode(), truth=_sum(rows) if truth else None)

    return make


def cells(
    write: Callable[[float], str], *, whole: bool = False, mark: str = ",", other: str = "", truth: bool = True
) -> Callable[[random.Random], Case]:
    """Numbers written in some way. `other`: a second column that may show the decimal mark."""

    def make(chance: random.Random) -> Case:
        values = [
            float(chance.randint(1_000, 900_000) if whole else chance.randint(100_000, 900_000) / 100) for _ in range(5)
        ]
        rows = [[name, write(value), other] for name, value in zip(WORDS, values, strict=False)]
        header = "name,units,price" if other else "name,units"
        text = _write([row[: 3 if other else 2] for row in rows], mark, header=header)
        return Case(data=text.encode(), truth=sum(values) if truth else None)

    return make


def given(texts: Sequence[str], truth: float | None) -> Callable[[random.Random], Case]:
    """A column of given cells in any order."""

    def make(chance: random.Random) -> Case:
        order = chance.sample(list(texts), len(texts))
        return Case(
            data=_write([[n, c] for n, c in zip(WORDS, order, strict=False)], header="name,units").encode(), truth=truth
        )

    return make


def raw(data: bytes) -> Callable[[random.Random], Case]:
    """What is no table that could be asked."""
    return lambda _: Case(data=data, truth=None)


def _german(value: float, decimals: int = 2) -> str:
    return f"{value:,.{decimals}f}".replace(",", "_").replace(".", ",").replace("_", ".")


def _total(label: str, *, wrong: float = 0) -> Callable[[str, list[list[str]], random.Random], str]:
    return lambda text, rows, _: text + f"{label},,{_sum(rows) + wrong:.0f}\n"


def _subtotals(text: str, rows: list[list[str]], _: random.Random) -> str:
    half = len(rows) // 2
    lines = text.splitlines()
    first, second = _sum(rows[:half]), _sum(rows[half:])
    parts = [*lines[: half + 1], f"Subtotal,,{first:.0f}", *lines[half + 1 :], f"Subtotal,,{second:.0f}"]
    return "\n".join([*parts, f"Total,,{first + second:.0f}", ""])


def _open_quote(text: str, rows: list[list[str]], chance: random.Random) -> str:
    row = chance.choice(rows)
    return text.replace(f"{row[0]},{row[1]},", f'{row[0]},"{row[1]},')


def _line(text: str, number: int, change: Callable[[str], str]) -> str:
    lines = text.splitlines(keepends=True)
    lines[number] = change(lines[number].rstrip("\n")) + "\n"
    return "".join(lines)


def _single_quoted(text: str, rows: list[list[str]], _: random.Random) -> str:
    return text.replace(rows[0][0], f"'{rows[0][0]}, dried'").replace(rows[1][0], f"'{rows[1][0]}'")


def _escaped(line: str) -> str:
    name, shelf, units = line.split(",")
    return f'"{name} \\"best\\", dried",{shelf},{units}'


def _two_lines(line: str) -> str:
    name, shelf, units = line.split(",")
    return f'"{name}\nfresh, not dried",{shelf},{units}'


def _inches(text: str, rows: list[list[str]], _: random.Random) -> str:
    quoted = text.replace(f"{rows[0][0]},{rows[0][1]},", f'"{rows[0][0]}, wide",{rows[0][1]}",')
    return quoted.replace(f"{rows[2][0]},{rows[2][1]},", f'{rows[2][0]},"{rows[2][1]},')


def _swallowing(text: str, rows: list[list[str]], _: random.Random) -> str:
    return text.replace(f"{rows[0][0]},", f'"{rows[0][0]}, wide,').replace(f"{rows[2][0]},", f'{rows[2][0]}",')


TUNED = [
    Kind(name="UTF-8 with its mark", make=encoded("utf-8-sig")),
    Kind(name="UTF-16", make=encoded("utf-16")),
    Kind(name="Windows-1252", make=encoded("cp1252")),
    Kind(name="two encodings", make=mixed_encodings),
    Kind(name="semicolons", make=dialect(";")),
    Kind(name="tabs", make=dialect("\t")),
    Kind(name="bars", make=dialect("|", all_quoted=True)),
    Kind(name="sep= line", make=dialect(";", before="sep=;\n")),
    Kind(name="returns alone", make=dialect(",", end="\r")),
    Kind(name="an open quote", make=changed(_open_quote)),
    Kind(name="a wide row", make=changed(lambda text, rows, _: _line(text, 2, lambda one: one + ",9"), truth=False)),
    Kind(name="a short row", make=changed(lambda text, rows, _: text + "Quince,4\n")),
    Kind(name="a title", make=changed(lambda text, rows, _: "Stock of the shop\n\n" + text)),
    Kind(name="a source below", make=changed(lambda text, rows, _: text + "\nSource: the till\n")),
    Kind(name="a total", make=changed(_total("Total"))),
    Kind(name="subtotals", make=changed(_subtotals)),
    Kind(name="codes with zeros", make=given(["007", "012", "3"], None)),
    Kind(name="codes with an E", make=given(["1E5", "2E10", "31"], None)),
    Kind(name="German numbers", make=cells(_german, mark=";")),
    Kind(name="German thousands", make=cells(lambda v: _german(v, 0), whole=True, mark=";", other="0,05")),
    Kind(name="English thousands", make=cells(lambda v: f"{v:,.2f}")),
    Kind(name="dollars", make=cells(lambda v: f"${v:,.2f}")),
    Kind(name="mixed units", make=given(["12 kg", "5 lb", "7 kg"], None)),
    Kind(name="missing values", make=given(["12", "N/A", "-", "30"], 42)),
    Kind(name="dates in two ways", make=changed(lambda text, rows, _: text.replace(f",{rows[0][1]},", ",03/04/2024,"))),
    Kind(name="a row twice", make=changed(lambda text, rows, _: text + text.splitlines()[1] + "\n", truth=False)),
    Kind(name="two header rows", make=changed(lambda text, rows, _: ",2024,\n" + text, truth=False)),
    Kind(name="no header", make=changed(lambda text, rows, _: text.split("\n", 1)[1], truth=False)),
    Kind(name="an empty file", make=raw(b"")),
    Kind(name="a binary file", make=raw(bytes(range(1, 32)) * 40)),
]


HELD_OUT = [
    Kind(name="UTF-16 without its mark", held_out=True, make=encoded("utf-16-be", with_accents=False)),
    Kind(name="an old Macintosh", held_out=True, make=encoded("mac-roman")),
    Kind(name="single quotes", held_out=True, make=changed(_single_quoted)),
    Kind(name="escaped quotes", held_out=True, make=changed(lambda text, rows, _: _line(text, 2, _escaped))),
    Kind(name="cells of several lines", held_out=True, make=changed(lambda text, rows, _: _line(text, 1, _two_lines))),
    Kind(name="inches in front and behind", held_out=True, make=changed(_inches)),
    Kind(name="a quote that swallows rows", held_out=True, make=changed(_swallowing, truth=False)),
    Kind(name="comments", held_out=True, make=changed(lambda text, rows, _: "# till 3\n#\n" + text + "# end\n")),
    Kind(name="columns apart by spaces", held_out=True, make=changed(lambda text, rows, _: text.replace(",", "   "))),
    Kind(
        name="blank rows", held_out=True, make=changed(lambda text, rows, _: text.replace("\n", "\n,,\n\n", 3) + ",,\n")
    ),
    Kind(
        name="a narrow header",
        held_out=True,
        make=changed(lambda text, rows, _: _line(text, 0, lambda _: "name,units")),
    ),
    Kind(name="a total without a name", held_out=True, make=changed(_total(""))),
    Kind(name="a total in German", held_out=True, make=changed(_total("Gesamtsumme:"))),
    Kind(name="a total in a strange word", held_out=True, make=changed(_total("Altogether"))),
    Kind(name="a total that is wrong", held_out=True, make=changed(_total("Grand Total", wrong=3))),
    Kind(name="a mean", held_out=True, make=changed(lambda text, rows, _: text + f"Mean,,{_sum(rows) / len(rows)}\n")),
    Kind(name="long identifiers", held_out=True, make=given(["98765432109876543210", "98765432109876543211"], None)),
    Kind(name="telephones", held_out=True, make=given(["+44 20 7946 0958", "+44 20 7946 0959"], None)),
    Kind(name="Swiss numbers", held_out=True, make=cells(lambda v: f"{v:,.2f}".replace(",", "'"))),
    Kind(name="thin spaces", held_out=True, make=cells(lambda v: f"{v:,.0f}".replace(",", "\u2009"), whole=True)),
    Kind(name="three decimals", held_out=True, make=cells(lambda v: f"{v / 1000:.3f}", whole=True, truth=False)),
    Kind(name="parentheses", held_out=True, make=given(["(1,250)", "2,500", "3,750"], 5000)),
    Kind(name="both decimal marks", held_out=True, make=given(["1,5", "2.5", "4"], None)),
    Kind(name="per cent", held_out=True, make=given(["45 %", "30 %", "5 %"], 80)),
    Kind(name="thousands as k", held_out=True, make=given(["1.2k", "3k", "800"], None)),
    Kind(name="faults of a spreadsheet", held_out=True, make=given(["12", "#REF!", "#DIV/0!", "30"], 42)),
    Kind(name="a word among numbers", held_out=True, make=given(["12", "a dozen", "30", "7"], None)),
    Kind(
        name="a name twice in the header",
        held_out=True,
        make=changed(lambda text, rows, _: text.replace("shelf", "units")),
    ),
    Kind(name="a header alone", held_out=True, make=raw(b"name,units\n")),
    Kind(name="a page", held_out=True, make=raw(b"<!DOCTYPE html>\n<p>units, and more\n")),
]
KINDS: list[Kind] = [*TUNED, *HELD_OUT]


_LARGE = """
import json, resource, sys, threading, time
from kapelle.tools import Tables
began = time.monotonic()
with Tables(sys.argv[1]) as tables:
    read = tables.tables
    seconds = time.monotonic() - began
    total = tables.query("SELECT sum(units) FROM large", timeout_s=60).rows[0][0] if read else None
    reasons = [left.reason for left in tables.skipped]
print(json.dumps({"seconds": round(seconds, 1), "total": total, "left_out": reasons,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    "reader_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024}))
"""


def measure_large(size_mb: int) -> dict[str, object]:
    """Read a file of so many megabytes in a process of its own, and hold its sum against the true one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.csv")
        true = written = number = 0
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write("id,name,place,price,units\n")
            while written < size_mb * 1_000_000:
                lines = []
                for _ in range(10_000):
                    number += 1
                    true += number % 500
                    lines.append(
                        f"{number},a customer with a name {number},the hall of the {number % 97}th row,"
                        f"{number % 977}.{number % 89:02},{number % 500}\n"
                    )
                written += file.write("".join(lines))
        began = time.monotonic()
        ended = subprocess.run([sys.executable, "-c", _LARGE, str(path)], capture_output=True, text=True, check=False)
        if ended.returncode:
            return {"mb": size_mb, "failed": ended.stderr[-300:], "seconds": round(time.monotonic() - began, 1)}
        figures: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    total = figures.pop("total")
    return {"mb": size_mb, "rows": number, "is_right": total == true, **figures}


if __name__ == "__main__":
    main()
