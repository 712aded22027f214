"""How questions about a database are answered: right, wrong or not at all, held against gold SQL.

    python -m bench.sql [--data FILE.jsonl.gz] [--sqlite FILE] [--split dev|test] [--limit N] [--misses N] [--json]
        [--base-url URL --model NAME]

Every line of the file is `{"id", "question", "sql"}`; the database stands beside it under the same name, or is given.
Every question counts, repeated ones too. Rules are tuned on the half `dev` only (by a hash of the id), `test` is kept
for the report. A gold query that does not run is left out and counted.

An answer is right when its rows, cut to as many of its columns as gold selects, are gold's rows in any order: the
answer may show a name or the compared figure beside what was asked, and no row more or less. One column is compared as
a set, since gold often lists a thing once for each row it stands in; several are compared with their repetitions.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import itertools
import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.recorded import data_folder
from kapelle import Engine, SqliteLedger
from kapelle.errors import KapelleError
from kapelle.local.table_questions import TablePlan, TableQuestions
from kapelle.models import ModelClient, find_model
from kapelle.tools import Tables

from .sql_model import RememberingModel, ask_bare, ask_checked

WANTED_WRONG_SHARE = 0.03
ENGINE_SAMPLE = 10
"""So many of the answered questions also go the whole way: planned, routed and run."""
MAX_ROWS = 10_000

RECORDED = data_folder() / "sql/geography.jsonl.gz"
"""GeoQuery, where recorded public data lies."""

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A question, and the query that answers it."""

    id: str
    question: str
    sql: str

    @property
    def split(self) -> str:
        """The half it belongs to."""
        return "dev" if hashlib.sha256(self.id.encode()).digest()[0] % 2 else "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a system answered."""

    sql: str
    rows: Rows


Ask = Callable[[str], Answered | None]
"""Answers a question, or returns None where it is not answered."""


def read_cases(path: Path) -> list[Case]:
    """Return the questions of a file of JSON lines, packed or not."""
    packed = path.suffix == ".gz"
    text = gzip.decompress(path.read_bytes()).decode() if packed else path.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [Case(id=str(line["id"]), question=line["question"], sql=line["sql"]) for line in lines]


def ask_rules(tables: Tables) -> Ask:
    """The rules of kapelle, without a model."""
    questions = TableQuestions(tables)

    def ask(question: str) -> Answered | None:
        plan = questions.plan(question)
        if not isinstance(plan, TablePlan):
            return None
        return Answered(sql=plan.sql, rows=tables.query(plan.sql, max_rows=MAX_ROWS).rows)

    return ask


def make_systems(tables: Tables, model: ModelClient | None, runner: asyncio.Runner) -> dict[str, Ask]:
    """Return who is asked, by name: with a model also what it writes with kapelle's checks, and without any."""
    systems = {"rules": ask_rules(tables)}
    if model is not None:
        systems["rules and model, checked"] = _as_ask(ask_checked(tables, model, runner))
        systems["model, unchecked"] = _as_ask(ask_bare(tables, model, runner))
    return systems


def _as_ask(asked: Callable[[str], tuple[str, Rows] | None]) -> Ask:
    def ask(question: str) -> Answered | None:
        found = asked(question)
        return None if found is None else Answered(sql=found[0], rows=found[1])

    return ask


def find_server(base_url: str | None, name: str | None) -> RememberingModel | None:
    """Return the model of an OpenAI-compatible server; None where none is named."""
    if not base_url:
        return None
    client = find_model(None, {"KAPELLE_MODEL": name or "local", "KAPELLE_BASE_URL": base_url})
    return None if client is None else RememberingModel(client)


def is_right(answer: Rows, gold: Rows) -> bool:
    """Return whether these are gold's rows; the rule stands on top of the file.

    >>> is_right([("Nile", 6650)], [("Nile",)]), is_right([("Nile",), ("Don",)], [("Nile",)])
    (True, False)
    """
    if not gold or not answer:
        return not gold and not answer
    width = len(gold[0])
    return any(
        _same([[row[place] for place in places] for row in answer], gold)
        for places in itertools.permutations(range(len(answer[0])), width)
    )


def _same(rows: Rows, gold: Rows) -> bool:
    one, other = (Counter(tuple(map(_comparable, row)) for row in given) for given in (rows, gold))
    return set(one) == set(other) if len(gold[0]) == 1 else one == other


def _comparable(value: Any) -> Any:
    try:
        return round(float(value), 6)  # a figure that a column of texts holds is that figure
    except (TypeError, ValueError):
        return value


def measure(cases: Sequence[Case], ask: Ask, truth: dict[str, Rows]) -> dict[str, Any]:
    """Return the counts and shares of one system, and where it was wrong."""
    right, wrong, unanswered = 0, [], []
    for case in cases:
        answered = ask(case.question)
        if answered is None:
            unanswered.append(case.question)
        elif is_right(answered.rows, truth[case.id]):
            right += 1
        else:
            wrong.append(_miss(case, answered, truth[case.id]))
    answers = right + len(wrong)
    return {
        "questions": len(cases),
        "answered_share": answers / max(1, len(cases)),
        "right": right,
        "right_share": right / max(1, len(cases)),
        "wrong": len(wrong),
        "wrong_share": len(wrong) / max(1, answers),
        "unanswered": len(unanswered),
        "misses": wrong,
        "not_answered": unanswered,
    }


def _miss(case: Case, answered: Answered, gold: Rows) -> dict[str, Any]:
    rows, wanted = [list(row) for row in answered.rows[:5]], [list(row) for row in gold[:5]]
    return {"question": case.question, "sql": answered.sql, "rows": rows, "gold_sql": case.sql, "gold": wanted}


def run_gold(cases: Iterable[Case], database: Path) -> dict[str, Rows]:
    """Return the rows of the gold queries by the ids of their questions; those that do not run are left out."""
    found: dict[str, Rows] = {}
    store = sqlite3.connect(f"file:{database.resolve()}?mode=ro", uri=True)
    for case in cases:
        try:
            found[case.id] = store.execute(case.sql).fetchall()
        except sqlite3.Error:
            continue
    store.close()
    return found


def check_engine(cases: Iterable[Case], ask: Ask, tables: Path) -> dict[str, int]:
    """Count how often a run of the whole engine over a folder with this database shows the rows that `ask` gives."""
    asked = [(case.question, answered.rows) for case in cases if (answered := ask(case.question)) is not None]
    sample = asked[:: max(1, len(asked) // ENGINE_SAMPLE)][:ENGINE_SAMPLE]
    counts = {"asked": len(sample), "same": 0, "other": 0, "not_answered": 0}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tables.sqlite").write_bytes(tables.read_bytes())
        with Engine(data=folder, model="none", ledger=SqliteLedger(":memory:"), environ={}) as engine:
            for question, rows in sample:
                counts[_through_engine(engine, question, rows)] += 1
    return counts


def _through_engine(engine: Engine, question: str, rows: Rows) -> str:
    try:
        run = engine.run_sync(question)
    except KapelleError:
        return "not_answered"
    output = next((task.output for task in reversed(list(run.tasks.values()))), None) if run.state == "done" else None
    if not isinstance(output, dict) or "answer" not in output:
        return "not_answered"
    shown = output.get("rows") or [[output["answer"]]]
    return "same" if is_right(rows, shown) or is_right(shown, rows) else "other"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=RECORDED, help="questions as JSON lines, maybe packed with gzip")
    parser.add_argument("--sqlite", type=Path, help="the database; without it, the one beside the questions")
    parser.add_argument("--split", choices=("dev", "test"), help="one half of the questions; without it, all")
    parser.add_argument("--limit", type=int, help="so many questions of the file, evenly spread")
    parser.add_argument("--base-url", help="an OpenAI-compatible server whose model writes SQL too")
    parser.add_argument("--model", help="the name of its model")
    parser.add_argument("--misses", type=int, default=0, help="show so many wrong answers, and questions not answered")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    database = arguments.sqlite or arguments.data.with_name(arguments.data.name.split(".")[0] + ".sqlite")
    given = [case for case in read_cases(arguments.data) if arguments.split in (None, case.split)]
    if arguments.limit:
        given = [given[place * len(given) // arguments.limit] for place in range(min(arguments.limit, len(given)))]
    truth = run_gold(given, database)
    cases = [case for case in given if case.id in truth]
    model = find_server(arguments.base_url, arguments.model)
    with Tables(database) as tables, asyncio.Runner() as runner:
        systems = make_systems(tables, model, runner)
        found = {name: measure(cases, ask, truth) for name, ask in systems.items()}
        halves = {
            half: measure([case for case in cases if case.split == half], systems["rules"], truth)
            for half in ("dev", "test")
        }
        engine = check_engine(cases, systems["rules"], database)
    report = {
        **{key: value for key, value in found["rules"].items() if key not in ("misses", "not_answered")},
        "wanted_wrong_share": WANTED_WRONG_SHARE,
        "gold_failed": len(given) - len(cases),
        "halves": {half: _figures(figures) for half, figures in halves.items()},
        "systems": {name: _figures(figures) for name, figures in found.items()},
        "engine": engine,
        "misses": {name: figures["misses"][: arguments.misses] for name, figures in found.items()},
        "not_answered": {name: figures["not_answered"][: arguments.misses] for name, figures in found.items()},
    }
    if model is not None:
        used = model.usage
        report["model"] = {
            "name": model.model,
            "calls": used.calls,
            "prompt_tokens": used.input_tokens,
            "computed_prompt_tokens": used.input_tokens - used.cached_tokens,
            "output_tokens": used.output_tokens,
        }
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False))
        return
    for name, figures in {**found, **{f"rules, {half}": figures for half, figures in halves.items()}}.items():
        print(f"{name}: " + ", ".join(f"{key} {_shown(value)}" for key, value in _figures(figures).items()))
    if model is not None:
        print("model: " + ", ".join(f"{key} {value}" for key, value in report["model"].items()))
    print(f"wanted: wrong_share <= {WANTED_WRONG_SHARE}; gold queries that do not run: {report['gold_failed']}")
    print("the whole engine: " + ", ".join(f"{key} {value}" for key, value in engine.items()))
    for name, misses in report["misses"].items():
        for miss in misses:
            print(f"\n{name}: {miss['question']}\n  {miss['sql']}\n  {miss['rows']}\n  {miss['gold_sql']}")
            print(f"  {miss['gold']}")
        for question in report["not_answered"][name]:
            print(f"{name}, not answered: {question}")


def _figures(measured: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in measured.items() if key not in ("misses", "not_answered")}


def _shown(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
