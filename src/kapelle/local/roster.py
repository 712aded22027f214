"""Which local agents there are for a folder, or without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kapelle.agents import MEMORY_MARK, Agent, AgentCapability

from .cards import PYTHON_CARD, WRITER_CARD
from .python import PythonAgent
from .writer import WriterAgent

if TYPE_CHECKING:
    from kapelle.models import ModelClient

    from .folder import LocalFolder


def local_agents(
    folder: Path | LocalFolder | None, model: ModelClient | None = None, *, attended: bool = False
) -> list[tuple[AgentCapability, Agent]]:
    """Return the local agents with their cards; search and SQL only when the folder holds texts or tables for them.

    With a model, questions to the tables that no rule understands are turned into SQL by it (see SqlWritingAgent), and
    what only a reader can compare is left to it. Where somebody is there (`attended`), they are asked which of several
    readings of a question is meant.

    Raises:
        NotFound: there is no such folder.
    """
    agents: list[tuple[AgentCapability, Agent]] = []
    if folder is not None:
        from .folder_agents import folder_agents  # with all that reads files, 40 ms

        agents += folder_agents(folder, model, attended=attended)
    agents.append((PYTHON_CARD, PythonAgent()))
    mark = MEMORY_MARK if folder is not None else ""
    agents.append((WRITER_CARD, WriterAgent(mark=mark, compares_prose=model is None)))
    return agents
