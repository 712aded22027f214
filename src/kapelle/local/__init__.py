"""Agents that need no model, key or network: search in a folder, SQL over its tables, sandboxed Python, writing.

They look up, count, compute and put together. They do not think: what they cannot do they refuse, with the reason.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faithful import FaithfulAgent as FaithfulAgent
    from .folder import LocalFolder as LocalFolder
    from .folder import folder_files as folder_files
    from .folder import skipped_files as skipped_files
    from .folder import table_notes as table_notes
    from .folder_agents import folder_answers as folder_answers
    from .folder_agents import refuses_table_questions as refuses_table_questions
    from .folder_agents import understands_table_questions as understands_table_questions
    from .python import PythonAgent as PythonAgent
    from .roster import local_agents as local_agents
    from .search import FolderSearchAgent as FolderSearchAgent
    from .sql import SqlAgent as SqlAgent
    from .writer import WriterAgent as WriterAgent
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "faithful": "FaithfulAgent",
            "folder": "LocalFolder folder_files skipped_files table_notes",
            "folder_agents": "folder_answers refuses_table_questions understands_table_questions",
            "python": "PythonAgent",
            "roster": "local_agents",
            "search": "FolderSearchAgent",
            "sql": "SqlAgent",
            "writer": "WriterAgent",
        },
    )
