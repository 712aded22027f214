"""Which local agents there are for a folder, and what they say they can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from kapelle.agents import MEMORY_MARK, Agent, AgentCapability, TaskContext
from kapelle.errors import CannotAnswer, KapelleError
from kapelle.graph import Task
from kapelle.models import ModelClient
from kapelle.tools import Sandbox

from .folder import LocalFolder
from .python import PythonAgent
from .search import FolderSearchAgent
from .sql import SqlAgent
from .sql_writer import FolderAgent, SqlWritingAgent
from .table_questions import NotUnderstood, TablePlan
from .writer import WriterAgent


def local_agents(
    folder: Path | LocalFolder | None, model: ModelClient | None = None, *, attended: bool = False
) -> list[tuple[AgentCapability, Agent]]:
    """Return the local agents with their cards; search and SQL only when the folder holds texts or tables for them.

    With a model, questions to the tables that no rule understands are turned into SQL by it (see SqlWritingAgent), and
    what only a reader can compare is left to it. Where somebody is there (`attended`), they are asked which of several
    readings of a question is meant. The success rates are guesses for the first runs, on the low side; outcomes replace
    them.

    Raises:
        NotFound: there is no such folder.
    """
    agents: list[tuple[AgentCapability, Agent]] = []
    if (local := LocalFolder.of(folder)) is not None:
        index, tables, questions = local.index, local.tables, local.questions
        has_tables = bool(tables.tables or tables.skipped)  # of files that were left out, an agent can say why
        if has_tables or index.count_passages() or index.skipped:
            search: FolderAgent = FolderSearchAgent(index, tables=tables, questions=questions, attended=attended)
            agents.append((SEARCH_CARD, search if model is None else SqlWritingAgent(search, model, tables, questions)))
        if has_tables:
            sql: FolderAgent = SqlAgent(tables, questions, attended=attended)
            agents.append((SQL_CARD, sql if model is None else SqlWritingAgent(sql, model, tables, questions)))
    agents.append((PYTHON_CARD, PythonAgent(Sandbox())))
    mark = MEMORY_MARK if folder is not None else ""
    agents.append((WRITER_CARD, WriterAgent(mark=mark, compares_prose=model is None)))
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


SEARCH_CARD = AgentCapability(
    agent_id="folder-search",
    task_types=("lookup", "search", "research"),
    skills=frozenset({"search", "lookup", "research", "documents", "facts", "citations", "local"}),
    cost_tier="free",
    cost_usd=0.0,
    seconds=0.05,
    success_rate=0.75,
    description="Finds facts in the folder's documents and tables, with their place, or says that there are none.",
)

SQL_CARD = AgentCapability(
    agent_id="folder-sql",
    task_types=("sql", "query", "aggregate", "count"),
    skills=frozenset({"sql", "tables", "csv", "aggregate", "count", "data", "local"}),
    cost_tier="free",
    cost_usd=0.0,
    seconds=0.05,
    success_rate=0.75,
    description="Answers SQL, and plain questions that its rules understand, from the folder's CSV and SQLite files.",
)

PYTHON_CARD = AgentCapability(
    agent_id="sandbox-python",
    task_types=("python", "compute", "calculate"),
    skills=frozenset({"python", "arithmetic", "compute", "local"}),
    cost_tier="free",
    cost_usd=0.0,
    seconds=0.05,
    success_rate=0.95,
    description="Runs Python, and arithmetic such as '12% of 340', in a sandbox without files or network.",
)

WRITER_CARD = AgentCapability(
    agent_id="local-writer",
    task_types=("write", "report", "compare", "summarize", "combine", "join", "answer"),
    skills=frozenset({"write", "report", "compare", "summarize", "markdown", "local"}),
    cost_tier="free",
    cost_usd=0.0,
    seconds=0.01,
    success_rate=0.85,
    description="Puts the results of other tasks together as Markdown: reports, comparisons, summaries. Adds no facts.",
)
