"""Finds things out without a model: a full-text index over a folder, and the sentence in it that answers a question.

`reading` reads files that nobody vouches for; tables are read by it too, and made SQL in tools.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answer import FoundAnswer as FoundAnswer
    from .answer import find_answer as find_answer
    from .answer import unsaid_words as unsaid_words
    from .folder_index import FolderIndex as FolderIndex
    from .folder_index import Passage as Passage
    from .folder_index import SkippedFile as SkippedFile
    from .reading import FileReader as FileReader
    from .reading import FoundFile as FoundFile
    from .reading import ReadingLimits as ReadingLimits
    from .reading import Skipped as Skipped
    from .reading import Unreadable as Unreadable
    from .reading import authorize_reading as authorize_reading
    from .reading import look_through as look_through
    from .reading import printable_name as printable_name
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "answer": "FoundAnswer find_answer unsaid_words",
            "folder_index": "FolderIndex Passage SkippedFile",
            "reading": "FileReader FoundFile ReadingLimits Skipped Unreadable authorize_reading look_through "
            "printable_name",
        },
    )
