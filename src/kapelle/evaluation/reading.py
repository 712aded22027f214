"""Reads a log of outcomes: CSV, JSON lines, or kapelle's own ledger. Every bad row is refused with its line and reason.

Two shapes of JSON lines are known. Nested: a row is a task, with `outcomes` by agent. Flat, as in CSV: a row is what
one agent made of one task; rows with the same task id are the same task. Where there is no id, the same text and type
are; where there is no text either, every row is a task of its own.

The same agent twice at the same task has measured that task twice: the mean of its outcomes counts, as two tasks they
could land on both sides of a split. In the ledger it is a retry instead: its cost is the sum, its quality the last.

Refused: figures that are missing, not finite, negative or off the scale. More than half of them bad is an error, since
then it is the columns or the scale that are wrong, and not the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.estimates import LoggedOutcome, LoggedTask
from kapelle.ledger import ledger_path, printable
from kapelle.models import PriceTable

from .columns import (
    NAMES,
    BadRow,
    ColumnNames,
    Scale,
    TokenPrices,
    find_columns,
    read_name,
    read_number,
    read_quality,
    read_words,
)
from .log import MAX_LISTED, Log, RowProblem, mean_outcome, read_ledger
from .records import Record, find_kind, read_csv, read_csv_header, read_json_lines

_TYPE = "task"
"""The type of every task in a log that tells none."""


def read_log(
    path: Path | str | None = None,
    *,
    columns: ColumnNames | None = None,
    scale: Scale | None = None,
    prices: PriceTable | None = None,
) -> Log:
    """Return the log.

    Args:
        path: CSV or JSON lines, plain or gzip, or a kapelle ledger; None is the default ledger.
        columns: what the user said of the columns; the others are guessed from their names.
        scale: what quality is measured on, 0 to 1 unless told.
        prices: for rows that tell tokens and no cost.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file or its columns cannot be understood, no row is usable, or more than half are not.
    """
    columns, scale = columns or ColumnNames(), scale or Scale()
    prices = PriceTable.from_environment() if prices is None else prices
    file = Path(ledger_path() if path is None else path).expanduser()
    kind = "ledger" if path is None else find_kind(file)
    if kind == "ledger":
        return read_ledger(file)
    reader = _Reader(source=str(path), columns=columns, scale=scale, prices=prices)
    if kind == "csv":
        header, _ = read_csv_header(file)
        reader.find(header, where=str(path))
        reader.read_flat(read_csv(file))
    else:
        reader.read_json(read_json_lines(file))
    return reader.finish()


@dataclass(slots=True)
class _Task:
    text: str
    task_type: str
    context: str
    seen: dict[str, list[LoggedOutcome]] = field(default_factory=dict)


class _Reader:
    """Gathers rows into tasks. Holds one task once, however many rows it has."""

    def __init__(self, *, source: str, columns: ColumnNames, scale: Scale, prices: PriceTable) -> None:
        self._source = source
        self._names = columns
        self._scale = scale
        self._prices = prices
        self._columns: dict[str, str] = {}
        self._tasks: dict[object, _Task] = {}
        self._problems: list[RowProblem] = []
        self._refused = 0
        self._rows = 0
        self._repeats = 0
        self._notes: list[str] = []
        self._rates: dict[str, TokenPrices] = {}

    def find(self, header: list[str], *, where: str, nested: bool = False) -> None:
        """Settle which column is what."""
        try:
            self._columns = find_columns(header, self._names, needed=() if nested else ("agent", "quality"))
            columns = self._columns
            if (
                not nested
                and "cost_usd" not in columns
                and not {"input_tokens", "output_tokens", "model"} <= columns.keys()
            ):
                find_columns(header, self._names, needed=("cost_usd",))  # tells what is there
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error}") from error
        for name, lost in (
            ("text", "routing can go by the task's type alone"),
            ("task_type", "all tasks are one type"),
        ):
            if name not in columns:
                self._notes.append(f"The log has no column for the {name}: {lost}. Name one: --column {name}=COLUMN.")

    def read_json(self, records: Iterable[Record | RowProblem]) -> None:
        """Read rows of whichever shape the first one has."""
        rows = iter(records)
        early: list[Record | RowProblem] = []
        for first in rows:
            early.append(first)
            if isinstance(first, Record):
                nested = isinstance(first.fields.get("outcomes"), dict)
                self.find([str(name) for name in first.fields], where=self._source, nested=nested)
                both = _chain(early, rows)
                self.read_nested(both) if nested else self.read_flat(both)
                return
        for problem in early:
            assert isinstance(problem, RowProblem)
            self._refuse(problem.line, problem.reason)

    def read_nested(self, records: Iterable[Record | RowProblem]) -> None:
        """Read rows that are a task with its `outcomes` by agent."""
        for record in records:
            if isinstance(record, RowProblem):
                self._refuse(record.line, record.reason)
                continue
            outcomes = record.fields.get("outcomes")
            if not isinstance(outcomes, dict) or not outcomes:
                self._refuse(record.line, "has no outcomes by agent")
                continue
            try:
                task = self._task(record)
            except BadRow as error:
                self._refuse(record.line, str(error), rows=len(outcomes))
                continue
            for agent, fields in outcomes.items():
                try:
                    if not isinstance(fields, dict):
                        raise BadRow("the outcome is no object")
                    self._add(task, read_name(agent, "agent"), self._outcome(fields, inner_columns(fields), agent))
                except BadRow as error:
                    self._refuse(record.line, f"{printable(str(agent))[:60]}: {error}")

    def read_flat(self, records: Iterable[Record | RowProblem]) -> None:
        """Read rows that are one outcome each."""
        columns = self._columns
        for record in records:
            if isinstance(record, RowProblem):
                self._refuse(record.line, record.reason)
                continue
            try:
                agent = read_name(record.fields.get(columns["agent"]), "agent")
                outcome = self._outcome(record.fields, columns, agent)
                self._add(self._task(record), agent, outcome)
            except BadRow as error:
                self._refuse(record.line, str(error))

    def finish(self) -> Log:
        """Return the log, or say why there is none."""
        tasks, logged = [], []
        for number, (key, task) in enumerate(self._tasks.items()):
            if not task.seen:
                continue
            outcomes = {agent: mean_outcome(seen) for agent, seen in task.seen.items()}
            tasks.append(
                LoggedTask(
                    task_id=key if isinstance(key, str) else f"row-{number + 1}",
                    text=task.text,
                    task_type=task.task_type,
                    context=task.context,
                    outcomes=outcomes,
                )
            )
            logged.append(mean_outcome(list(outcomes.values())))
        if self._refused * 2 > self._rows or not tasks:
            raise InvalidInput(_tell_bad(self._source, self._rows, self._refused, self._problems))
        if self._repeats:
            self._notes.append(
                f"{self._repeats:,} rows repeat an agent at a task it was seen at before; their means count."
            )
        self._notes += _tell_split(tasks)
        return Log(
            source=self._source,
            tasks=tuple(tasks),
            as_logged=tuple(logged),
            rows=self._rows,
            refused=self._refused,
            problems=tuple(self._problems),
            columns=self._columns,
            notes=tuple(self._notes),
        )

    def _refuse(self, line: int, reason: str, *, rows: int = 1) -> None:
        self._rows += rows
        self._refused += rows
        if len(self._problems) < MAX_LISTED:
            self._problems.append(RowProblem(line=line, reason=printable(reason)[:300]))

    def _add(self, task: _Task, agent: str, outcome: LoggedOutcome) -> None:
        self._rows += 1
        seen = task.seen.setdefault(agent, [])
        self._repeats += bool(seen)
        seen.append(outcome)

    def _task(self, record: Record) -> _Task:
        fields, columns = record.fields, self._columns
        text = read_words(fields, columns.get("text"))
        task_type = read_name(fields.get(columns["task_type"]), "task_type") if "task_type" in columns else _TYPE
        key: object
        if "task_id" in columns:
            key = read_name(fields.get(columns["task_id"]), "task_id")
        else:
            key = (task_type, text) if text else record.line
        known = self._tasks.get(key)
        if known is None:
            known = _Task(text=text, task_type=task_type, context=read_words(fields, columns.get("context")))
            self._tasks[key] = known
        elif known.task_type != task_type or (text and known.text and known.text != text):
            raise BadRow(
                f"task {key!r:.60} has another text or type here than in an earlier row; give every task its own id"
            )
        return known

    def _outcome(self, fields: Mapping[str, Any], columns: Mapping[str, str], agent: str) -> LoggedOutcome:
        quality = read_quality(fields.get(columns.get("quality", "quality")), self._scale)
        cost = fields.get(columns["cost_usd"]) if "cost_usd" in columns else None
        given = cost is not None and cost != ""
        cost_usd = read_number(cost, "cost_usd") if given else self._priced(fields, columns, agent)
        seconds = 0.0
        if "seconds" in columns and fields.get(columns["seconds"]) not in (None, ""):
            seconds = read_number(fields[columns["seconds"]], "seconds")
            seconds /= 1000.0 if columns["seconds"].lower().endswith("_ms") else 1.0
        output = fields.get(columns["output"]) if "output" in columns else None
        if output is not None and not isinstance(output, str):
            output = json.dumps(output, ensure_ascii=False, sort_keys=True)
        return LoggedOutcome(quality=quality, cost_usd=cost_usd, seconds=seconds, output=output)

    def _priced(self, fields: Mapping[str, Any], columns: Mapping[str, str], agent: str) -> float:
        counts = [
            int(read_number(fields.get(columns[name]), name)) if name in columns and fields.get(columns[name]) else 0
            for name in ("input_tokens", "cached_tokens", "output_tokens")
        ]
        if not any(counts):
            raise BadRow("has no cost_usd, and no tokens that a price table could price")
        model = str(fields.get(columns["model"]) or agent) if "model" in columns else agent
        if counts[1] > counts[0]:
            raise BadRow(f"{counts[1]} cached tokens are more than all input tokens, {counts[0]}")
        try:
            rate = self._rates.get(model)
            if rate is None:
                rate = self._rates[model] = TokenPrices(self._prices, model)
            return rate.cost_usd(*counts)
        except UnknownPrice:
            raise BadRow(
                f"no price is known for the model {model!r:.60}; add it to a price file named in KAPELLE_PRICES"
            ) from None


def inner_columns(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what the fields of a nested outcome are, by their common names; the first of them is taken."""
    found = {}
    for name in ("model", "quality", "cost_usd", "input_tokens", "cached_tokens", "output_tokens", "seconds", "output"):
        column = next((word for word in NAMES[name] if word in fields), None)
        if column is not None:
            found[name] = column
    return found


def _chain(early: list[Record | RowProblem], rest: Iterator[Record | RowProblem]) -> Iterator[Record | RowProblem]:
    yield from early
    yield from rest


def _tell_bad(source: str, rows: int, refused: int, problems: list[RowProblem]) -> str:
    shown = "".join(f"\n  line {problem.line}: {problem.reason}" for problem in problems[:5])
    off = sum("outside of" in problem.reason for problem in problems)
    way = (
        "If quality is measured on another scale, say so: --quality-scale 1-5."
        if off * 2 > len(problems)
        else "Check which column is what: --column quality=COLUMN."
    )
    told = "no row is usable" if refused == rows else f"{refused:,} of {rows:,} rows are bad"
    return f"{source}: {told}, so no figure could be trusted. {way}{shown}"


def _tell_split(tasks: list[LoggedTask]) -> list[str]:
    """Tell of ids that differ from agent to agent, so that what is one task looks like several."""
    if any(len(task.outcomes) > 1 for task in tasks):
        return []
    agents: dict[str, set[str]] = {}
    for task in tasks:
        if task.text:
            agents.setdefault(task.text, set()).update(task.outcomes)
    shared = sum(len(seen) > 1 for seen in agents.values())
    if shared * 2 <= len(agents) or not shared:
        return []
    told = (
        f"No task id is seen with two agents, yet {shared:,} texts are. If the ids are of rows and not of tasks, map "
        "the id to the text: --column task_id=TEXT_COLUMN."
    )
    return [told]
