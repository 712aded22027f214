"""The agents that look in a folder, and what its tables answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from kapelle.agents import Agent, AgentCapability, TaskContext
from kapelle.errors import CannotAnswer, KapelleError
from kapelle.graph import Task
from kapelle.models import ModelClient

from .cards import PYTHON_CARD, SEARCH_CARD, SQL_CARD
from .folder import LocalFolder
from .search import FolderSearchAgent
from .sql import SqlAgent
from .sql_writer import FolderAgent, SqlWritingAgent
from .table_questions import NotUnderstood, TablePlan


def folder_agents(
    folder: Path | LocalFolder, model: ModelClient | None, *, attended: bool
) -> list[tuple[AgentCapability, Agent]]:
    """Return search and SQL with their cards, as far as the folder holds texts or tables for them; see local_agents."""
    local = LocalFolder(folder) if isinstance(folder, Path) else folder
    agents: list[tuple[AgentCapability, Agent]] = []
    index, tables, questions = local.index, local.tables, local.questions
    has_tables = bool(tables.tables or tables.skipped)  # of files that were left out, an agent can say why
    if has_tables or index.count_passages() or index.skipped:
        search: FolderAgent = FolderSearchAgent(index, tables=tables, questions=questions, attended=attended)
        agents.append((SEARCH_CARD, search if model is None else SqlWritingAgent(search, model, tables, questions)))
    if has_tables:
        sql: FolderAgent = SqlAgent(tables, questions, attended=attended)
        agents.append((SQL_CARD, sql if model is None else SqlWritingAgent(sql, model, tables, questions)))
    return agents


def understands_table_questions(folder: Path | LocalFolder | None) -> Callable[[str], bool] | None:
    """Return a test of whether a question is one that the tables answer, in one way or in several; None without."""
    local = LocalFolder.of(folder)
    if local is None or not local.tables.tables:
        return None
    questions = local.questions

    def understands(question: str) -> bool:
        plan = questions.plan(question)
        return isinstance(plan, TablePlan) or bool(plan.readings)

    return understands


def folder_answers(folder: Path | LocalFolder | None) -> Callable[[Task], Awaitable[bool]] | None:
    """Return a test of whether a folder, or a program, does a task that waits for no other; None without a folder."""
    if (local := LocalFolder.of(folder)) is None:
        return None
    search = FolderSearchAgent(local.index, tables=local.tables, questions=local.questions)
    sql = SqlAgent(local.tables, local.questions)

    async def answers(task: Task) -> bool:
        if task.task_type in PYTHON_CARD.task_types:
            return True
        if task.task_type not in (*SEARCH_CARD.task_types, *SQL_CARD.task_types):
            return False
        agent: Agent = sql if task.task_type in SQL_CARD.task_types else search
        if agent is search:
            task = replace(task, task_type="lookup")  # which has an answer or fails: a search is content with passages
        try:
            await agent.run(task, TaskContext(run_id="", request=""))
        except CannotAnswer as error:
            return bool(error.readings)  # which of them is meant is a person's to say, not a model's
        except KapelleError:
            return False
        return True

    return answers


def refuses_table_questions(folder: Path | LocalFolder | None) -> Callable[[str], str]:
    """Return what says why the tables do not answer a question; nothing where there are none, or they do."""
    local = LocalFolder.of(folder)

    def why(question: str) -> str:
        plan = local.questions.plan(question) if local is not None and local.tables.tables else None
        return plan.reason if isinstance(plan, NotUnderstood) else ""

    return why
