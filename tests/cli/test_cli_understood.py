"""What a run says of how it was understood: below its answer, with --sql and in JSON; and which reading is meant."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import Outcome, kapelle  # noqa: F401 - a fixture

PRICES = "product,net_price,gross_price,size\nTea,3.10,3.69,24\nRice,2.05,2.44,12\nOats,1.10,1.31,24\n"
NOTES = "# Shop\n\nThe shop opens at nine. The warehouse is in Leipzig.\n"
FOUR = "the net price of Tea, the net price of Rice, the net price of Oats and the size of Tea"
AMBIGUOUS = "What is the price of Tea?"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "the shop"
    folder.mkdir()
    (folder / "products.csv").write_text(PRICES)
    (folder / "notes.md").write_text(NOTES)
    monkeypatch.setenv("KAPELLE_DB", str(tmp_path / "l.sqlite"))
    return folder


def ask(kapelle: Any, shop: Path, request: str, *options: str) -> Outcome:  # noqa: F811 - the fixture
    found: Outcome = kapelle("run", request, "--data", str(shop), "--model", "none", *options)
    return found


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("products where size is 24", "understood as: The products where size = 24 · from products.csv"),
        ("What is the net price of Tea?", "understood as: The net_price of products where product is 'Tea' · from"),
        ("Where is the warehouse?", "in notes.md"),
    ],
)
def test_a_line_below_the_answer_says_how_it_was_understood(
    shop: Path,
    kapelle: Any,  # noqa: F811
    request_: str,
    said: str,
) -> None:
    done = ask(kapelle, shop, request_)
    (line,) = [line for line in done.err.splitlines() if "understood as: " in line]
    assert said in line
    assert (done.code, "understood as" in done.out) == (0, False), "standard output is the answer alone"
    assert "understood as: " in kapelle("explain", "last").out


def test_of_many_tasks_three_are_told_and_where_the_others_are(shop: Path, kapelle: Any) -> None:  # noqa: F811
    done = ask(kapelle, shop, FOUR)
    told = [line for line in done.err.splitlines() if "understood as: " in line]
    assert [line.split()[0] for line in told] == ["s1", "s2", "s3"]
    (left,) = [line for line in done.err.splitlines() if line.startswith("and 1 more (kapelle explain ")]
    command = left.removeprefix("and 1 more (").removesuffix(")")
    assert kapelle(*shlex.split(command)[1:]).out.count("understood as: ") == 4


@pytest.mark.slow
def test_the_query_is_shown_when_it_is_asked_for(shop: Path, kapelle: Any) -> None:  # noqa: F811
    query = """  SELECT "net_price" FROM "products" WHERE "product" = 'Tea'"""
    assert query not in ask(kapelle, shop, "What is the net price of Tea?").err
    done = ask(
        kapelle, shop, "the net price of Tea, the net price of Rice, the net price of Oats, the size of Tea", "--sql"
    )
    assert query in done.err.splitlines()
    assert sum(line.endswith(" sql:") for line in done.err.splitlines()) == 4
    own = "SELECT product FROM products LIMIT 1"
    assert f"sql:\n  {own}\n" in ask(kapelle, shop, own, "--sql").err


def test_json_has_how_each_task_was_understood_and_its_query(shop: Path, kapelle: Any) -> None:  # noqa: F811
    (task,) = ask(kapelle, shop, "What is the net price of Tea?", "--json").data["tasks"].values()
    assert task["understood"].startswith("The net_price of products where product is 'Tea'")
    assert task["sql"].startswith("SELECT")
    (task,) = ask(kapelle, shop, "Where is the warehouse?", "--json").data["tasks"].values()
    assert ("notes.md" in task["understood"], task["sql"]) == (True, "")


@pytest.mark.slow
def test_a_program_is_told_all_readings_and_each_can_be_asked_for(shop: Path, kapelle: Any) -> None:  # noqa: F811
    done = ask(kapelle, shop, AMBIGUOUS, "--json")
    (task,) = done.data["tasks"].values()
    assert (done.code, done.data["state"]) == (1, "failed")
    assert done.data["readings"] == task["readings"]
    assert ["net_price" in one["sql"] for one in task["readings"]] == [True, False]
    assert ["3.1" in ask(kapelle, shop, one["sql"]).out for one in task["readings"]] == [True, False]


@pytest.mark.slow
def test_without_a_terminal_a_run_says_how_to_ask_for_each_reading(shop: Path, kapelle: Any) -> None:  # noqa: F811
    done = ask(kapelle, shop, AMBIGUOUS)
    commands = [line.strip() for line in done.err.splitlines() if line.startswith("    kapelle run ")]
    assert (done.code, len(commands)) == (1, 2)
    answers = [kapelle(*shlex.split(command)[1:], "--model", "none").out for command in commands]
    assert ["3.1" in answers[0], "3.69" in answers[1]] == [True, True]


def at_a_terminal(shop: Path, typed: str) -> tuple[int, str, str]:
    above, below = pty.openpty()
    command = [sys.executable, "-m", "kapelle.cli", "run", AMBIGUOUS, "--data", str(shop), "--model", "none"]
    child = subprocess.Popen(
        command, stdin=below, stdout=subprocess.PIPE, stderr=below, env={**os.environ, "TERM": "xterm"}, text=True
    )
    os.close(below)
    seen, give_up, was_asked = "", time.monotonic() + 60, False
    while child.poll() is None and time.monotonic() < give_up:
        if not select.select([above], [], [], 0.2)[0]:
            continue
        try:
            seen += os.read(above, 4096).decode(errors="replace")
        except OSError:  # the terminal is closed
            break
        if "Answer, by its number" in seen and not was_asked:
            was_asked = True
            os.write(above, typed.encode())
    out, _ = child.communicate(timeout=30)
    os.close(above)
    return child.returncode, out, seen


@pytest.mark.slow
def test_at_a_terminal_the_run_asks_which_reading_is_meant(shop: Path) -> None:
    code, out, seen = at_a_terminal(shop, "2\n")
    assert (code, "3.69" in out) == (0, True)
    assert "can be read in 2 ways. Which is meant?" in seen
    assert "understood as: The gross_price of products where product is 'Tea'" in seen


@pytest.mark.slow
def test_a_reading_left_open_is_chosen_later_from_anywhere(shop: Path, kapelle: Any) -> None:  # noqa: F811
    assert at_a_terminal(shop, "\n")[0] == 3
    (question,) = kapelle("questions", "--json").data["questions"]
    assert kapelle("answer", question["question_id"], question["options"][0]).code == 0
    done = kapelle("resume", "last", "--json")
    assert (done.code, "3.1" in done.data["answer"]) == (0, True)
