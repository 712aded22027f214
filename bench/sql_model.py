"""The part of bench.sql that asks a model: what it writes as it is, and what kapelle lets pass, by the same calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kapelle.agents import TaskContext
from kapelle.errors import CannotAnswer, RefusedQuery
from kapelle.graph import Task
from kapelle.ledger import NOTHING, Usage
from kapelle.local.question_check import DoesNotFit
from kapelle.local.sql import SqlAgent
from kapelle.local.sql_writer import MAX_OUTPUT_TOKENS, SQL_SCHEMA, SqlWritingAgent, read_sql_reply, write_prompt
from kapelle.local.table_questions import TableQuestions, link_schema
from kapelle.models import ModelClient, ModelReply, ModelRequest, PaidReplyInvalid
from kapelle.tools import Tables

MAX_ROWS = 10_000


@dataclass(slots=True)
class RememberingModel:
    """Asks a model, and never the same thing twice: at temperature 0 it would say the same."""

    client: ModelClient
    usage: Usage = NOTHING
    """Of all calls that were made."""
    _known: dict[tuple[Any, ...], ModelReply | Exception] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.client.model

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """Ask, or say again what was said."""
        if request.messages not in self._known:
            try:
                self._known[request.messages] = await self.client.complete(request, on_text=on_text)
                self.usage += self._known[request.messages].usage  # type: ignore[union-attr]  # a reply
            except PaidReplyInvalid as error:
                self._known[request.messages] = error
                self.usage += error.reply.usage
        found = self._known[request.messages]
        if isinstance(found, Exception):
            raise found
        return found


Shown = tuple[str, list[list[Any]]]
"""The query and its rows."""


def ask_bare(tables: Tables, client: ModelClient, runner: asyncio.Runner) -> Callable[[str], Shown | None]:
    """The model's first SELECT for every question, run as it is; None where it does not run."""
    links = link_schema(tables)

    def ask(question: str) -> Shown | None:
        request = ModelRequest(
            messages=write_prompt(tables, links, question),
            output_schema=SQL_SCHEMA,
            temperature=0.0,
            max_output_tokens=MAX_OUTPUT_TOKENS,
        )
        try:
            sql = read_sql_reply(runner.run(client.complete(request)))
        except PaidReplyInvalid:
            return None
        except DoesNotFit:
            return None
        try:
            return sql, [list(row) for row in tables.query(sql, max_rows=MAX_ROWS).rows]
        except RefusedQuery:
            return None

    return ask


def ask_checked(tables: Tables, client: ModelClient, runner: asyncio.Runner) -> Callable[[str], Shown | None]:
    """The rules and, where they do not understand, the model's SELECT as far as it passes the checks."""
    questions = TableQuestions(tables)
    agent = SqlWritingAgent(SqlAgent(tables, questions), client, tables, questions)

    def ask(question: str) -> Shown | None:
        task = Task(task_id="asked", task_type="aggregate", inputs={"question": question})
        try:
            output = runner.run(agent.run(task, TaskContext(run_id="bench", request=question))).output
        except CannotAnswer:
            return None
        return output["sql"], output["rows"]

    return ask
