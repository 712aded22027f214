"""The questions in words: what counts as right, that the truth can be had, and that the benchmark gives its figures."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bench.words
from bench.words.measuring import ask_all, count, read_questions
from bench.words.scoring import is_same, says
from kapelle.tools import Tables

HERE = Path(bench.words.__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.parametrize(
    ("truth", "answered", "is_right"),
    [
        ([[3]], [[3]], True),
        ([[3]], [["3"]], True),
        ([[3]], [[4]], False),
        ([[3]], [], False),
        ([[2018]], [[2017]], False),
        ([[61234.5678]], [[61234.57]], True),
        ([[61234.5678]], [[62000.0]], False),
        ([["Anna"], ["Bo"]], [["Bo"], ["Anna"]], True),
        ([["Anna"], ["Bo"]], [["Bo", 2], ["Anna", 1]], True),
        ([["Anna"], ["Bo"]], [["Anna"]], False),
        ([["Anna"]], [["Anna"], ["Bo"]], False),
        ([["Oslo"]], [["Oslo"], ["Oslo"]], True),
        ([["Oslo"]], [["Oslo", 1], ["Oslo", 2]], False),
        ([[5]], [["Nordlys", 5], ["Miramar", 5]], False),
        ([["Anna", 3], ["Bo", 3]], [["Bo", 3], ["Anna", 3]], True),
        ([["a"], ["a"], ["b"]], [["a"], ["b"], ["a"]], True),
        ([["a"], ["a"], ["b"]], [["a"], ["b"], ["b"]], False),
        ([["a"], ["a"]], [["a"]], False),
        ([["no"]], [["No, it is not"]], True),
        ([["no"]], [["nothing"]], False),
        ([["yes"]], [["no"]], False),
        ([["yes"]], [[True]], True),
        ([[None]], [[0]], False),
        ([], [], True),
        ([], [["Anna"]], False),
    ],
)
def test_an_answer_is_right_with_all_rows_of_the_truth_and_no_others(
    truth: list[list[Any]], answered: list[list[Any]], is_right: bool
) -> None:
    assert is_same(truth, answered, ordered=False) is is_right


def test_the_order_counts_where_the_truth_has_one() -> None:
    assert is_same([["a"], ["b"]], [["a"], ["b"]], ordered=True)
    assert not is_same([["a"], ["b"]], [["b"], ["a"]], ordered=True)


def test_a_source_is_no_answer() -> None:
    assert says(["40 euros"], "It costs 40\neuros (a.md:3).")
    assert not says(["40 euros"], "It is free.\n\n## Sources\n\n1. 40 euros.md")


@pytest.mark.slow
def test_every_truth_of_both_halves_can_be_had_and_the_folders_are_read_whole() -> None:
    halves = {name: read_questions(HERE / f"{name}.jsonl", HERE / "data") for name in ("dev", "held")}
    questions = [asked for half in halves.values() for asked in half]
    assert len({(asked.folder, asked.question) for asked in questions}) == len(questions) == 300
    assert all(140 <= len(half) <= 160 for half in halves.values())
    for folder in {asked.folder for asked in questions}:
        tables = Tables(folder)
        assert not tables.skipped
        assert {(table.file, table.rows) for table in tables.tables} == {
            (file.name, len(list(csv.reader(file.read_text().splitlines()))) - 1) for file in folder.glob("*.csv")
        }
        for asked in questions:
            if asked.folder == folder:
                for query in asked.queries:
                    assert tables.query(query).rows, asked.question


def test_what_the_folder_does_not_hold_is_wrong_however_it_is_answered(tmp_path: Path) -> None:
    (tmp_path / "staff.csv").write_text("name,city,age\nAnna,Oslo,31\nBo,Rome,44\n")
    file = tmp_path / "asked.jsonl"
    rows = [
        {"question": "What is the age of Anna?", "sql": "SELECT age FROM staff WHERE name = 'Anna'"},
        {"question": "What is the age of Bo?", "sql": None},
        {"question": "What is the shoe size of Bo?", "sql": None},
        {"question": "What is the shoe size of Anna?", "sql": "SELECT 39"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = ask_all(read_questions(file, tmp_path))
    assert [one.outcome for one in judged] == ["right", "wrong", "unanswered", "unanswered"]
    found = count(judged)
    assert (found["wrong_share"], found["right_share"], found["wrong_to_unanswerable"]) == (0.5, 0.5, 1)


@pytest.mark.slow
def test_the_benchmark_prints_one_object_with_its_figures(tmp_path: Path) -> None:
    (tmp_path / "staff.csv").write_text("name,age\nAnna,31\nBo,44\n")
    file = tmp_path / "asked.jsonl"
    file.write_text('{"question": "What is the age of Bo?", "sql": "SELECT 44"}\n')
    words = ["--questions", str(file), "--data", str(tmp_path), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.words", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert {name: found[name] for name in ("right", "wrong", "unanswered", "wrong_share", "right_share")} == {
        "right": 1,
        "wrong": 0,
        "unanswered": 0,
        "wrong_share": 0.0,
        "right_share": 1.0,
    }


@pytest.mark.slow
def test_what_is_held_out_is_not_shown() -> None:
    command = [sys.executable, "-m", "bench.words", "--split", "held", "--misses", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "not looked at" in done.stderr
