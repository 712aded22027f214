"""Agents that need no model, key or network: search in a folder, SQL over its tables, sandboxed Python, writing.

They look up, count, compute and put together. They do not think: what they cannot do they refuse, with the reason.
"""

from .faithful import FaithfulAgent as FaithfulAgent
from .folder import LocalFolder as LocalFolder
from .folder import folder_files as folder_files
from .folder import skipped_files as skipped_files
from .folder import table_notes as table_notes
from .python import PythonAgent as PythonAgent
from .roster import folder_answers as folder_answers
from .roster import local_agents as local_agents
from .roster import refuses_table_questions as refuses_table_questions
from .roster import understands_table_questions as understands_table_questions
from .search import FolderSearchAgent as FolderSearchAgent
from .sql import SqlAgent as SqlAgent
from .writer import WriterAgent as WriterAgent
