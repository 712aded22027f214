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
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.estimates import LoggedOutcome, LoggedTask
from kapelle.ledger import SqliteLedger, Usage, ledger_path, printable
from kapelle.models import PriceTable

from .columns import NAMES, ColumnNames, find_columns
from .log import MOST_LISTED, Log, RowProblem
from .records import Record, find_kind, read_csv, read_csv_header, read_json_lines

MOST_LEDGER_ROWS = 1_000_000
"""Outcomes that are read from a ledger, the newest."""
_TRUE = frozenset({"true", "yes", "y", "pass", "passed", "correct", "success", "ok"})
_FALSE = frozenset({"false", "no", "n", "fail", "failed", "incorrect", "wrong", "failure", "error"})
_SCALE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(?:-|\.\.|:|to)\s*(-?\d+(?:\.\d+)?)\s*")
_TYPE = "task"
"""The type of every task in a log that tells none."""
_NAME_CHARS = 200
_FEW, _MANY = 1_000, 1_000_000
"""Tokens, below and above every step at which providers raise their prices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """What the log's quality is measured on; it becomes 0..1.

    Raises:
        InvalidInput: the ends are not finite, or not in order.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InvalidInput(f"A scale goes from a smaller to a larger number, not from {self.low} to {self.high}.")

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Return the scale that `1-5`, `0..100` or `100` (from 0) tells.

        >>> Scale.parse("1-5")
        Scale(low=1.0, high=5.0)
        """
        match = _SCALE.fullmatch(text)
        if match:
            return cls(low=float(match[1]), high=float(match[2]))
        try:
            return cls(high=float(text))
        except ValueError:
            raise InvalidInput(f"{text!r:.40} is no scale. Write its ends, for instance 1-5 or 0-100.") from None


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
        return _read_ledger(file)
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


class _BadRow(Exception):
    """Why a row is refused."""


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
        self._rates: dict[str, _Rate] = {}

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
            except _BadRow as error:
                self._refuse(record.line, str(error), rows=len(outcomes))
                continue
            for agent, fields in outcomes.items():
                try:
                    if not isinstance(fields, dict):
                        raise _BadRow("the outcome is no object")
                    self._add(task, _name(agent, "agent"), self._outcome(fields, inner_columns(fields), agent))
                except _BadRow as error:
                    self._refuse(record.line, f"{printable(str(agent))[:60]}: {error}")

    def read_flat(self, records: Iterable[Record | RowProblem]) -> None:
        """Read rows that are one outcome each."""
        columns = self._columns
        for record in records:
            if isinstance(record, RowProblem):
                self._refuse(record.line, record.reason)
                continue
            try:
                agent = _name(record.fields.get(columns["agent"]), "agent")
                outcome = self._outcome(record.fields, columns, agent)
                self._add(self._task(record), agent, outcome)
            except _BadRow as error:
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
            raise InvalidInput(_tell_bad(self._source, self._rows, self._refused, self._problems, self._scale))
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
        if len(self._problems) < MOST_LISTED:
            self._problems.append(RowProblem(line=line, reason=printable(reason)[:300]))

    def _add(self, task: _Task, agent: str, outcome: LoggedOutcome) -> None:
        self._rows += 1
        seen = task.seen.setdefault(agent, [])
        self._repeats += bool(seen)
        seen.append(outcome)

    def _task(self, record: Record) -> _Task:
        fields, columns = record.fields, self._columns
        text = _words(fields, columns.get("text"))
        task_type = _name(fields.get(columns["task_type"]), "task_type") if "task_type" in columns else _TYPE
        key: object
        if "task_id" in columns:
            key = _name(fields.get(columns["task_id"]), "task_id")
        else:
            key = (task_type, text) if text else record.line
        known = self._tasks.get(key)
        if known is None:
            known = _Task(text=text, task_type=task_type, context=_words(fields, columns.get("context")))
            self._tasks[key] = known
        elif known.task_type != task_type or (text and known.text and known.text != text):
            raise _BadRow(
                f"task {key!r:.60} has another text or type here than in an earlier row; give every task its own id"
            )
        return known

    def _outcome(self, fields: Mapping[str, Any], columns: Mapping[str, str], agent: str) -> LoggedOutcome:
        quality = _quality(fields.get(columns.get("quality", "quality")), self._scale)
        cost = fields.get(columns["cost_usd"]) if "cost_usd" in columns else None
        given = cost is not None and cost != ""
        cost_usd = _number(cost, "cost_usd") if given else self._priced(fields, columns, agent)
        seconds = 0.0
        if "seconds" in columns and fields.get(columns["seconds"]) not in (None, ""):
            seconds = _number(fields[columns["seconds"]], "seconds")
            seconds /= 1000.0 if columns["seconds"].lower().endswith("_ms") else 1.0
        output = fields.get(columns["output"]) if "output" in columns else None
        if output is not None and not isinstance(output, str):
            output = json.dumps(output, ensure_ascii=False, sort_keys=True)
        return LoggedOutcome(quality=quality, cost_usd=cost_usd, seconds=seconds, output=output)

    def _priced(self, fields: Mapping[str, Any], columns: Mapping[str, str], agent: str) -> float:
        counts = [
            int(_number(fields.get(columns[name]), name)) if name in columns and fields.get(columns[name]) else 0
            for name in ("input_tokens", "cached_tokens", "output_tokens")
        ]
        if not any(counts):
            raise _BadRow("has no cost_usd, and no tokens that a price table could price")
        model = str(fields.get(columns["model"]) or agent) if "model" in columns else agent
        if counts[1] > counts[0]:
            raise _BadRow(f"{counts[1]} cached tokens are more than all input tokens, {counts[0]}")
        try:
            rate = self._rates.get(model)
            if rate is None:
                rate = self._rates[model] = _Rate(self._prices, model)
            return rate.cost_usd(*counts)
        except UnknownPrice:
            raise _BadRow(
                f"no price is known for the model {model!r:.60}; add it to a price file named in KAPELLE_PRICES"
            ) from None


class _Rate:
    """What a model's tokens cost. Most prices are per token, and then are asked for once and not for every row."""

    def __init__(self, prices: PriceTable, model: str) -> None:
        self._prices = prices
        # A bare name is looked up among all providers.
        self._model = model if ":" in model else f"openai-compatible:{model}"
        # Some prices rise with the length of the input; those are asked for row by row.
        kinds = ((1, 0, 0), (1, 1, 0), (1, 0, 1))
        few, many = ([self._ask(*(size * part for part in kind)) for kind in kinds] for size in (_FEW, _MANY))
        self._is_flat = all(
            math.isclose(one * _MANY, other * _FEW, rel_tol=1e-9) for one, other in zip(few, many, strict=True)
        )
        fresh, cached, both = (price / _MANY for price in many)
        self._per_token = (fresh, cached, both - fresh)

    def cost_usd(self, tokens: int, cached: int, output: int) -> float:
        """Return the dollars of a call."""
        if not self._is_flat or max(tokens, output) > _MANY:
            return self._ask(tokens, cached, output)
        fresh_usd, cached_usd, output_usd = self._per_token
        return (tokens - cached) * fresh_usd + cached * cached_usd + output * output_usd

    def _ask(self, tokens: int, cached: int, output: int) -> float:
        usage = Usage(input_tokens=tokens, cached_tokens=cached, output_tokens=output)
        return self._prices.cost_usd(self._model, usage)


def inner_columns(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what the fields of a nested outcome are, by their common names; the first of them is taken."""
    found = {}
    for name in ("model", "quality", "cost_usd", "input_tokens", "cached_tokens", "output_tokens", "seconds", "output"):
        column = next((word for word in NAMES[name] if word in fields), None)
        if column is not None:
            found[name] = column
    return found


def mean_outcome(seen: list[LoggedOutcome]) -> LoggedOutcome:
    """Return the mean of several outcomes, with the first answer that there is."""
    if len(seen) == 1:
        return seen[0]
    count = len(seen)
    return LoggedOutcome(
        quality=min(1.0, math.fsum(one.quality for one in seen) / count),
        cost_usd=math.fsum(one.cost_usd for one in seen) / count,
        seconds=math.fsum(one.seconds for one in seen) / count,
        output=next((one.output for one in seen if one.output is not None), None),
    )


def _read_ledger(file: Path) -> Log:
    with SqliteLedger(file, read_only=True) as ledger:
        outcomes = ledger.outcomes(limit=MOST_LEDGER_ROWS)
    if not outcomes:
        raise InvalidInput(f"The ledger {str(file)!r} has no outcomes yet. Run something first, or name a log.")
    attempts: dict[tuple[str, str], list[Any]] = {}
    for outcome in outcomes:
        attempts.setdefault((outcome.run_id, outcome.task_id), []).append(outcome)
    tasks, logged = [], []
    for (run_id, task_id), tried in attempts.items():
        by_agent: dict[str, list[Any]] = {}
        for outcome in tried:
            by_agent.setdefault(outcome.agent, []).append(outcome)
        tasks.append(
            LoggedTask(
                task_id=f"{run_id}/{task_id}",
                text=_words(tried[0].features, "text"),
                task_type=tried[0].task_type,
                context=_words(tried[0].features, "context"),
                outcomes={agent: _added_up(of) for agent, of in by_agent.items()},
            )
        )
        logged.append(_added_up(tried))
    notes = [] if any(task.text for task in tasks) else ["The ledger keeps no texts: routing can go by type alone."]
    unchecked = sum(one.success and one.quality is None for one in outcomes)
    if unchecked:
        notes.append(
            f"Nothing measured how right {unchecked:,} of {len(outcomes):,} outcomes were: those count as right. Give "
            "validators, or rate answers with `kapelle rate`."
        )
    return Log(source=str(file), tasks=tuple(tasks), as_logged=tuple(logged), rows=len(outcomes), notes=tuple(notes))


def _added_up(tried: list[Any]) -> LoggedOutcome:
    last = tried[-1]
    return LoggedOutcome(
        quality=float(last.success) if last.quality is None else last.quality,
        cost_usd=math.fsum(one.cost_usd for one in tried),
        seconds=math.fsum(one.seconds for one in tried),
    )


def _quality(value: object, scale: Scale) -> float:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return float(value.strip().lower() in _TRUE)
    number = _number(value, "quality", least=-math.inf)
    if not scale.low <= number <= scale.high:
        raise _BadRow(f"quality is {number:g}, outside of {scale.low:g} to {scale.high:g}")
    return (number - scale.low) / (scale.high - scale.low)


def _number(value: object, name: str, *, least: float = 0.0) -> float:
    if value is None or value == "":
        raise _BadRow(f"{name} is missing")
    try:
        if isinstance(value, str):
            number = float(value.strip().removeprefix("$"))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            number = float(value)
        else:
            raise ValueError
    except (ValueError, OverflowError):
        raise _BadRow(f"{name} is {value!r:.40}, which is no number") from None
    if not math.isfinite(number):
        raise _BadRow(f"{name} is {number}, which is not finite")
    if number < least:
        raise _BadRow(f"{name} is {number:g}, which is negative")
    return number


def _name(value: object, what: str) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise _BadRow(f"the {what} is missing")
    name = printable(" ".join(value.split()))
    if len(name) > _NAME_CHARS:
        raise _BadRow(f"the {what} is longer than {_NAME_CHARS} characters: {name[:40]!r}...")
    return name


def _words(fields: Mapping[str, Any], column: str | None) -> str:
    value = fields.get(column) if column is not None else None
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _chain(early: list[Record | RowProblem], rest: Iterator[Record | RowProblem]) -> Iterator[Record | RowProblem]:
    yield from early
    yield from rest


def _tell_bad(source: str, rows: int, refused: int, problems: list[RowProblem], scale: Scale) -> str:
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
