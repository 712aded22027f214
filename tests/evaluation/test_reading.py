"""A log is read whole or refused with its line: columns guessed and mapped, bad rows counted, every shape one log."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, NotFound
from kapelle.evaluation import ColumnNames, Scale, read_log
from kapelle.ledger import Outcome, SqliteLedger, Usage
from kapelle.models import Price, PriceTable


def write_csv(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def nested(number: int, **outcomes: Any) -> str:
    return json.dumps({"id": f"t{number}", "text": f"question {number}", "task_type": "sums", "outcomes": outcomes})


def test_rows_of_one_task_and_several_agents_become_one_task(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "log.csv",
        "task_id,prompt,type,model,score,cost,latency_ms\n1,add,sums,small,0.5,$0.01,250\n1,add,sums,large,1,0.10,900\n",
    )
    log = read_log(path)
    (task,) = log.tasks
    assert (task.text, task.task_type, set(task.outcomes)) == ("add", "sums", {"small", "large"})
    assert task.outcomes["small"].cost_usd == 0.01
    assert task.outcomes["small"].seconds == 0.25
    assert log.columns["quality"] == "score"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_usual_delimiter_and_a_byte_order_mark_are_read(tmp_path: Path, delimiter: str) -> None:
    rows = [["id", "agent", "success", "cost_usd"], ["1", "a", "true", "1"], ["1", "b", "No", "2"]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (task,) = read_log(write_csv(tmp_path / "log.csv", text, "utf-8-sig")).tasks
    assert {name: outcome.quality for name, outcome in task.outcomes.items()} == {"a": 1.0, "b": 0.0}


def test_nested_rows_keep_context_and_output_and_take_no_category_unasked(tmp_path: Path) -> None:
    row = {
        "id": "x",
        "category": "java",
        "text": "t",
        "functions": {"name": "f"},
        "outcomes": {"a": {"quality": 1, "cost_usd": 0.1, "latency_s": 2, "output": "f()"}},
    }
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row).encode()))
    (task,) = read_log(path).tasks
    assert (task.task_type, task.context) == ("task", '{"name": "f"}')
    assert (task.outcomes["a"].seconds, task.outcomes["a"].output) == (2.0, "f()")
    (typed,) = read_log(path, columns=ColumnNames.parse(["task_type=category"])).tasks
    assert typed.task_type == "java"


@pytest.mark.parametrize(
    ("quality", "cost", "reason"),
    [
        (float("nan"), 1.0, "not finite"),
        (0.5, float("inf"), "not finite"),
        (0.5, -1.0, "negative"),
        (0.5, None, "no cost_usd"),
        (7, 1.0, "outside of 0 to 1"),
        ("great", 1.0, "no number"),
        (None, 1.0, "quality is missing"),
    ],
)
def test_a_bad_outcome_is_refused_with_its_line_and_agent(
    tmp_path: Path, quality: object, cost: object, reason: str
) -> None:
    good = nested(1, a={"quality": 1, "cost_usd": 1}, b={"quality": 1, "cost_usd": 1})
    bad = nested(2, a={"quality": quality, "cost_usd": cost}, b={"quality": 1, "cost_usd": 1})
    path = write_csv(tmp_path / "log.jsonl", f"{good}\n{bad}\n")
    log = read_log(path)
    assert (log.rows, log.refused, len(log.tasks)) == (4, 1, 2)
    (problem,) = log.problems
    assert problem.line == 2
    assert reason in problem.reason
    assert problem.reason.startswith("a:")


def test_unreadable_lines_are_refused_and_the_next_ones_read(tmp_path: Path) -> None:
    good = [nested(number, a={"quality": 1, "cost_usd": 1}) for number in range(4)]
    path = write_csv(tmp_path / "log.jsonl", "\n".join([good[0], "{broken", good[1], "[1]", *good[2:]]))
    log = read_log(path)
    assert [problem.line for problem in log.problems] == [2, 4]
    assert len(log.tasks) == 4


def test_a_csv_row_with_too_many_fields_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", 'id,agent,quality,cost\n1,a,1,1\n2,a,1,1,9\n3,"a\nb",1,1\n4,a,1,1\n')
    log = read_log(path)
    assert [(problem.line, problem.reason) for problem in log.problems] == [(3, "has 5 fields; the header has 4")]
    assert len(log.tasks) == 3


def test_mostly_bad_rows_are_an_error_that_names_the_scale(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "id,agent,rating,cost\n1,a,4,1\n2,a,5,1\n3,a,1,1\n")
    with pytest.raises(InvalidInput, match=r"2 of 3 rows are bad.*--quality-scale(?s:.)*line 2: quality is 4"):
        read_log(path)
    log = read_log(path, scale=Scale.parse("1-5"))
    assert [task.outcomes["a"].quality for task in log.tasks] == [0.75, 1.0, 0.0]


def test_columns_that_could_be_meant_twice_are_an_error_with_the_flag(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "id,agent,score,accuracy,cost\n1,a,1,0,1\n")
    with pytest.raises(InvalidInput, match=r"'score', 'accuracy'.*--column quality=score"):
        read_log(path)
    (task,) = read_log(path, columns=ColumnNames.parse(["quality=accuracy"])).tasks
    assert task.outcomes["a"].quality == 0.0


def test_a_missing_column_is_an_error_that_lists_what_is_there(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "id,who,score,cost\n1,a,1,1\n")
    with pytest.raises(InvalidInput, match=r"the agent.*'id', 'who', 'score', 'cost'.*--column agent=COLUMN"):
        read_log(path)


@pytest.mark.parametrize("pairs", [["quality"], ["quality=a", "quality=b"], ["colour=red"]])
def test_a_mapping_that_means_nothing_is_refused(pairs: list[str]) -> None:
    with pytest.raises(InvalidInput):
        ColumnNames.parse(pairs)


def test_tokens_are_priced_with_cached_ones_apart(tmp_path: Path) -> None:
    prices = PriceTable({"house": Price(input_usd=10.0, cached_usd=1.0, output_usd=100.0)})
    path = write_csv(
        tmp_path / "log.csv",
        "id,model,score,input_tokens,cached_tokens,output_tokens\n1,house,1,1000,400,100\n2,house,1,0,0,10\n3,unheard-of,1,5,0,5\n",
    )
    log = read_log(path, prices=prices)
    assert [task.outcomes["house"].cost_usd for task in log.tasks] == pytest.approx([0.0164, 0.001])
    assert "no price is known for the model 'unheard-of'" in log.problems[0].reason


def test_an_agent_that_repeats_a_task_counts_with_its_mean(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "id,agent,success,cost\n1,a,true,1\n1,a,false,3\n1,b,true,5\n")
    log = read_log(path)
    (task,) = log.tasks
    assert (task.outcomes["a"].quality, task.outcomes["a"].cost_usd) == (0.5, 2.0)
    assert any("repeat" in note for note in log.notes)


def test_without_ids_the_same_words_are_the_same_task(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "prompt,agent,success,cost\nadd,a,1,1\nadd,b,1,1\nsubtract,a,1,1\n")
    assert [set(task.outcomes) for task in read_log(path).tasks] == [{"a", "b"}, {"a"}]


def test_ids_of_rows_are_noticed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "id,prompt,agent,success,cost\n1,add,a,1,1\n2,add,b,1,1\n")
    assert any("--column task_id=" in note for note in read_log(path).notes)


def test_one_id_with_two_texts_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "id,prompt,agent,success,cost\n1,add,a,1,1\n1,other,b,1,1\n2,x,a,1,1\n")
    assert [problem.line for problem in read_log(path).problems] == [3]


def test_attempts_in_the_ledger_add_up_and_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    common: dict[str, Any] = {"run_id": "r", "task_type": "sums", "usage": Usage(), "features": {"text": "add"}}
    with SqliteLedger(path) as ledger:
        ledger.record(Outcome(**common, task_id="1", agent="small", success=False, cost_usd=0.1))
        ledger.record(Outcome(**common, task_id="1", agent="small", success=True, quality=1.0, cost_usd=0.2))
        ledger.record(Outcome(**common, task_id="2", agent="small", success=False, cost_usd=0.1))
        ledger.record(Outcome(**common, task_id="2", agent="large", success=True, quality=0.9, cost_usd=1.0))
    log = read_log(path)
    first, second = log.tasks
    assert (first.text, first.outcomes["small"].quality) == ("add", 1.0)
    assert first.outcomes["small"].cost_usd == pytest.approx(0.3)
    assert set(second.outcomes) == {"small", "large"}
    assert log.as_logged[1].cost_usd == pytest.approx(1.1)
    assert log.as_logged[1].quality == 0.9


def test_what_nothing_measured_in_the_ledger_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    common: dict[str, Any] = {"run_id": "r", "task_type": "sums", "usage": Usage(), "agent": "small", "success": True}
    with SqliteLedger(path) as ledger:
        ledger.record(Outcome(**common, task_id="1"))
    with pytest.raises(InvalidInput, match=r"nothing has measured.*kapelle rate"):
        read_log(path)
    with SqliteLedger(path) as ledger:
        ledger.record(Outcome(**common, task_id="2", quality=0.5))
    log = read_log(path)
    assert ([task.task_id for task in log.tasks], log.as_logged[0].quality) == (["r/2"], 0.5)
    assert any("1 of 2 outcomes were: those are left out" in note for note in log.notes)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        ("id,agent\n".encode("utf-16"), "UTF-16"),
        ("id,agent,success,cost\n1,Jos\xe9,1,1\n".encode("latin-1"), "not UTF-8"),
        (b"[{}]", "JSON array"),
        (b"\x1f\x8bbroken", "gzip"),
        (b"only words\n", "names no columns"),
        (b"id,agent,id\n", "stands twice"),
        (b"\x00\x01\x02\x03", "no text"),
    ],
)
def test_a_file_that_is_no_log_says_what_it_is(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=told):
        read_log(path)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Check the path"):
        read_log(tmp_path / "none.csv")


@pytest.mark.parametrize(("text", "ends"), [("0-100", (0, 100)), ("-1..1", (-1, 1)), ("5", (0, 5)), ("1 to 7", (1, 7))])
def test_scales_are_read_as_people_write_them(text: str, ends: tuple[float, float]) -> None:
    scale = Scale.parse(text)
    assert (scale.low, scale.high) == ends


@pytest.mark.parametrize("text", ["5-1", "", "nan", "good", "1-inf"])
def test_a_scale_without_order_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Scale.parse(text)


cells = st.text(st.characters(codec="utf-8"), max_size=12)


@given(rows=st.lists(st.lists(cells, min_size=5, max_size=5), min_size=1, max_size=8))
def test_whatever_is_in_the_cells_every_row_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "prompt", "agent", "success", "cost"])
        writer.writerows(rows)
    try:
        log = read_log(path)
    except InvalidInput:
        return
    assert log.rows == log.refused + sum(len(task.outcomes) for task in log.tasks) or "repeat" in " ".join(log.notes)
    assert log.refused * 2 <= log.rows
