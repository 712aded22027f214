"""What the local agents say they can do. The success rates are guesses for the first runs, on the low side; outcomes
replace them."""

from __future__ import annotations

from kapelle.agents import AgentCapability

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
