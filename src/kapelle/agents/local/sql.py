"""Answers SQL, and plain questions that rules can turn into SQL, from the tables of a folder."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import AgentFailed
from kapelle.graph import Task
from kapelle.tools import NotUnderstood, Table, TablePlan, TableQuestions, TableResult, Tables, quote_name

from .inputs import read_text, require_text, show_number

MAX_SHOWN_ROWS = 50
MAX_LISTED_VALUES = 30
"""A single column of no more rows than this is a list in a sentence; more is a table."""


class SqlAgent:
    """Runs the input `sql`, or the SQL that the input `question` means.

    The output holds `text`, `answer`, `sql`, `understood`, `columns`, `rows`, `truncated` and `sources`.
    """

    def __init__(self, tables: Tables, questions: TableQuestions) -> None:
        self._tables = tables
        self._questions = questions

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Answer from the tables; see the class.

        Raises:
            RefusedQuery: the SQL is malformed, or does more than read.
            AgentFailed: the question is not understood.
        """
        return await asyncio.to_thread(self._run, task)

    def _run(self, task: Task) -> AgentResult:
        sql = read_text(task, "sql")
        if sql:
            words = set(re.findall(r"\w+", sql.lower()))
            read = [table for table in self._tables.tables if table.name.lower() in words]
            return AgentResult(output=self._answer(sql, "", read), cost_usd=0.0)
        question = require_text(task, "question", "query", "request")
        named = _table_of(self._tables.tables, read_text(task, "file"))
        plan: TablePlan | NotUnderstood = self._questions.plan(question)
        if named is not None and (isinstance(plan, NotUnderstood) or named.name not in plan.tables):
            if not question.lower().startswith(("list everything", "show everything", "read", "list all", "show all")):
                reason = plan.reason if isinstance(plan, NotUnderstood) else "The question is about another table."
                raise AgentFailed(f"{question!r} cannot be answered from {named.file}: {reason}")
            plan = TablePlan(
                sql=f"SELECT * FROM {quote_name(named.name)}",  # noqa: S608 - quoted
                understood=f"Everything in {named.file}.",
                tables=(named.name,),
            )
        if isinstance(plan, NotUnderstood):
            raise AgentFailed(f"{question!r} is not understood as a question to the tables: {plan.reason}")
        used = [table for table in self._tables.tables if table.name in plan.tables]
        return AgentResult(output=self._answer(plan.sql, plan.understood, used), cost_usd=0.0)

    def _answer(self, sql: str, understood: str, used: Iterable[Table]) -> dict[str, Any]:
        result = self._tables.query(sql)
        return describe_result(result, sql, understood, [table.file for table in used])


def describe_result(result: TableResult, sql: str, understood: str, files: list[str]) -> dict[str, Any]:
    """Return the output for a query's result: a sentence for one cell, a list for one column, otherwise a table."""
    lead = understood.rstrip(".")
    if not result.rows:
        text = f"{lead}: none." if lead else "The query returns no rows."
        answer: Any = ""
    elif len(result.rows) == 1 and len(result.columns) == 1:
        answer = result.rows[0][0]
        shown = show_number(answer) or "no value"
        text = f"{lead}: {shown}" if lead else shown
    elif len(result.rows) == 1 and lead:
        answer = result.rows[0][0]
        more = ", ".join(
            f"{name} {show_number(cell)}" for name, cell in zip(result.columns[1:], result.rows[0][1:], strict=True)
        )
        text = f"{lead}: {show_number(answer)} ({more})"
    elif len(result.columns) == 1 and lead and len(result.rows) <= MAX_LISTED_VALUES and not result.truncated:
        answer = ", ".join(show_number(row[0]) for row in result.rows)
        text = f"{lead} ({len(result.rows)}): {answer}"
    else:
        answer = ", ".join(show_number(row[0]) for row in result.rows)
        rows = f"{len(result.rows):,}{' or more' if result.truncated else ''} row{'s' if len(result.rows) != 1 else ''}"
        text = (f"{lead} ({rows}):\n\n" if lead else "") + markdown_table(result)
    return {
        "text": text,
        "answer": answer,
        "sql": sql,
        "understood": understood,
        "columns": list(result.columns),
        "rows": [list(row) for row in result.rows],
        "truncated": result.truncated,
        "sources": list(dict.fromkeys(files)),
    }


def markdown_table(result: TableResult) -> str:
    """Return the first rows as a Markdown table."""
    lines = [_line(result.columns), _line(["---"] * len(result.columns))]
    lines += [_line([show_number(value) for value in row]) for row in result.rows[:MAX_SHOWN_ROWS]]
    left = len(result.rows) - MAX_SHOWN_ROWS
    return "\n".join(lines) + (f"\n\n... and {left:,} more rows" if left > 0 else "")


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _table_of(tables: tuple[Table, ...], file: str) -> Table | None:
    if not file:
        return None
    name = file.replace("\\", "/").rsplit("/", 1)[-1]
    found = [table for table in tables if table.file == file] or [
        table for table in tables if table.file.rsplit("/", 1)[-1] == name
    ]
    if not found:
        raise AgentFailed(f"There is no table file {file!r} in the folder. There are: {_files(tables)}.")
    return found[0] if len(found) == 1 else None


def _files(tables: tuple[Table, ...]) -> str:
    return ", ".join(dict.fromkeys(table.file for table in tables)) or "none"
