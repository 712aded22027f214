"""Looks things up in a folder: an exact cell of a table first, then a sentence of a document, with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kapelle.agents import AgentResult, TaskContext, call_in_thread
from kapelle.errors import CannotAnswer, RefusedQuery
from kapelle.graph import Task
from kapelle.knowledge import FolderIndex, Passage, find_answer, quote_text
from kapelle.tools import Cell, NotUnderstood, Row, TablePlan, TableQuestions, Tables, quote_name, quote_value

from .folder import find_left_out, left_out, name_left_out
from .inputs import find_data, read_text, require_text, show_number
from .sql import describe_result

_ASKED = ("query", "question", "request")
PASSAGES = 8
MAX_READ_CHARS = 4_000
MAX_LISTED_ROWS = 100


class FolderSearchAgent:
    """Answers the input `query` from the tables and documents of a folder; the input `file` keeps to one document.

    The output holds `text`, `answer` (the bare value or sentence), `passages`, `sources`, and for a cell of a table
    `fact` (subject, attribute, value, unit). For a bare name that is a row of a table, the answer is the name and
    `facts` are of that row. A `lookup` needs an answer; `search` and `research` are content with
    passages.
    """

    def __init__(
        self, index: FolderIndex, *, tables: Tables | None = None, questions: TableQuestions | None = None
    ) -> None:
        self._index = index
        self._tables = tables
        self._questions = questions

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Look it up; see the class.

        Raises:
            CannotAnswer: nothing that fits is in the folder.
        """
        return await call_in_thread(self.answer, task, context)

    def answer(self, task: Task, context: TaskContext) -> AgentResult:
        """Do what `run` does, at once."""
        query = require_text(task, *_ASKED)
        file = read_text(task, "file")
        if file:
            return AgentResult(output=self._from_file(query, file), cost_usd=0.0)
        data = find_data(task, context, *_ASKED)
        return AgentResult(output=self._from_folder(query, task.task_type, data), cost_usd=0.0)

    def _from_folder(self, query: str, task_type: str, data: Sequence[str]) -> dict[str, Any]:
        plan = self._questions.plan(query, values=data) if self._questions is not None else None
        if isinstance(plan, TablePlan) and plan.cell is not None:
            exact = self._from_cell(plan.cell)
            if exact is not None:
                return exact
        passages = self._index.search(query, limit=PASSAGES)
        said = self._from_passages(query, passages)
        row = self._questions.find_row(query) if self._questions is not None else None
        if row is not None and (known := self._from_row(row)) is not None:
            return _described(known, said) if said is not None else known
        if said is not None:
            return said
        if isinstance(plan, TablePlan):
            listed = self._from_tables(plan)
            if listed is not None:
                return listed
        if task_type in ("search", "research") and passages:
            return _only_passages(passages)
        raise CannotAnswer(self._not_found(query, passages, plan))

    def _from_cell(self, cell: Cell) -> dict[str, Any] | None:
        row = Row(table=cell.table, label=cell.label, value=cell.value)
        facts, place = self._facts_of(row, [cell.column])
        if not facts:
            return None
        return {
            "text": f"{_upper_first(facts[0]['attribute'])} of {cell.value}: {_show_fact(facts[0])} ({place})",
            "answer": facts[0]["value"],
            "fact": facts[0],
            "passages": [],
            "sources": [place],
        }

    def _from_row(self, row: Row) -> dict[str, Any] | None:
        assert self._tables is not None
        table = next(table for table in self._tables.tables if table.name == row.table)
        facts, place = self._facts_of(row, [column.name for column in table.columns if column.name != row.label])
        if not facts:
            return None
        listed = "; ".join(f"{fact['attribute']} {_show_fact(fact)}" for fact in facts)
        return {
            "text": f"{row.value}: {listed} ({place})",
            "answer": row.value,
            "facts": facts,
            "passages": [],
            "sources": [place],
        }

    def _facts_of(self, row: Row, columns: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
        """Return the filled cells of these columns and where the row stands; no facts when two rows share the name."""
        assert self._tables is not None
        table = next(table for table in self._tables.tables if table.name == row.table)
        sql = (
            f"SELECT rowid, {', '.join(map(quote_name, columns))} FROM {quote_name(row.table)} "  # noqa: S608 - quoted
            f"WHERE {quote_name(row.label)} = {quote_value(row.value)}"
        )
        try:
            rows = self._tables.query(sql, max_rows=2).rows
        except RefusedQuery:  # a view of an SQLite file may have no row numbers
            rows = self._tables.query(sql.replace("rowid,", "NULL,", 1), max_rows=2).rows
        if len(rows) != 1:
            return [], ""
        place = table.file if rows[0][0] is None else self._tables.place_of(row.table, rows[0][0])
        facts = []
        for column, value in zip(columns, rows[0][1:], strict=True):
            name, unit = _name_and_unit(column)
            if value is not None:
                facts.append({"subject": row.value, "attribute": name, "value": value, "unit": unit})
        return facts, place

    def _from_passages(self, query: str, passages: tuple[Passage, ...]) -> dict[str, Any] | None:
        weights = self._index.weigh(query)
        found = find_answer(query, passages, rarity=lambda word: weights.get(word, 1.0))
        if found is None:
            return None
        subject = found.subject if found.subject.casefold() not in found.sentence.casefold() else ""
        return {
            "text": (f"{subject}: " if subject else "") + f"{found.sentence} ({found.citation})",
            "answer": found.value,
            "passages": [_as_json(passage) for passage in passages],
            "sources": [found.citation],
        }

    def _from_tables(self, plan: TablePlan) -> dict[str, Any] | None:
        assert self._tables is not None
        result = self._tables.query(plan.sql, max_rows=MAX_LISTED_ROWS)
        if not result.rows:
            return None
        files = [table.file for table in self._tables.tables if table.name in plan.tables]
        return {**describe_result(result, plan.sql, plan.understood, files, claim=plan.claim), "passages": []}

    def _from_file(self, query: str, file: str) -> dict[str, Any]:
        passages = self._index.passages_of(file)
        if not passages:
            skipped = left_out(self._index, self._tables)
            if (found := find_left_out(file, skipped)) is not None:
                raise CannotAnswer(f"The file {found.file!r} was left out: {found.reason}.")
            raise CannotAnswer(
                f"There is no document {quote_text(file)} in the folder. Check the name.{name_left_out(skipped)}"
            )
        said = self._from_passages(query.replace(file, " ").strip(), passages) if query.strip() != file else None
        if said is not None:
            return said
        text = "\n\n".join(passage.text for passage in passages)
        cut = text[:MAX_READ_CHARS] + (" ..." if len(text) > MAX_READ_CHARS else "")
        return {
            "text": cut,
            "answer": cut,
            "passages": [_as_json(passage) for passage in passages],
            "sources": [passages[0].file],
        }

    def _not_found(self, query: str, passages: tuple[Passage, ...], plan: object) -> str:
        meant = re.search(r" Did you mean '.*?'\?", plan.reason) if isinstance(plan, NotUnderstood) else None
        missing = name_left_out(left_out(self._index, self._tables))
        near = f" The nearest passage is {passages[0].citation}." if passages else ""
        return (
            f"Nothing in the folder answers {quote_text(query)}.{meant[0] if meant else ''}{near}{missing} "
            "Ask in the words of the documents, add one that says it, or configure a model (KAPELLE_MODEL)."
        )


def _described(known: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """A row's facts, after a sentence that says what the thing is; other sentences about it are left out."""
    name = re.escape(known["answer"])
    if not re.match(rf"(?:The )?{name} (?:is|was) (?:an?|the|one)\b", said["text"], re.IGNORECASE):
        return known
    return {
        **known,
        "text": f"{said['text']} {known['text']}",
        "passages": said["passages"],
        "sources": [*said["sources"], *known["sources"]],
    }


def _show_fact(fact: Mapping[str, Any]) -> str:
    return show_number(fact["value"]) + (f" {fact['unit']}" if fact["unit"] else "")


def _only_passages(passages: tuple[Passage, ...]) -> dict[str, Any]:
    lines = [f"- {' '.join(passage.text.split())} ({passage.citation})" for passage in passages[:3]]
    return {
        "text": "\n".join(lines),
        "answer": " ".join(passages[0].text.split()),
        "passages": [_as_json(passage) for passage in passages],
        "sources": [passage.citation for passage in passages[:3]],
    }


def _as_json(passage: Passage) -> dict[str, Any]:
    lines = f"{passage.first_line}-{passage.last_line}"
    return {"file": passage.file, "lines": lines, "text": passage.text, "score": passage.score}


_UNITS = {
    "km2": "km²",
    "m2": "m²",
    "km": "km",
    "m": "m",
    "kg": "kg",
    "usd": "USD",
    "eur": "EUR",
    "mi": "mi",
    "ft": "ft",
}


def _name_and_unit(column: str) -> tuple[str, str]:
    name, _, last = column.rpartition("_")
    if name and last in _UNITS:
        return name.replace("_", " "), _UNITS[last]
    return column.replace("_", " "), ""


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]
