"""Reads the files of a folder that nobody vouches for: in a process of its own, within limits of time, memory and size.

A file that is over a limit, or makes its reader fail or crash, costs that file and nothing else: `FileReader` says why,
and reads the next one. Knows nothing of indexes or SQL tables: it hands out passages and rows.
"""

from .folder_walk import FoundFile as FoundFile
from .folder_walk import Skipped as Skipped
from .folder_walk import look_through as look_through
from .folder_walk import printable_name as printable_name
from .process import FileReader as FileReader
from .process import ReadingLimits as ReadingLimits
from .process import Unreadable as Unreadable
from .sqlite_tables import authorize_reading as authorize_reading
