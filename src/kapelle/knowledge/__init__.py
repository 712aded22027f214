"""Finds things out without a model: a full-text index over a folder, and the sentence in it that answers a question."""

from .answer import Answer as Answer
from .answer import find_answer as find_answer
from .folder_index import FolderIndex as FolderIndex
from .folder_index import Passage as Passage
from .folder_index import SkippedFile as SkippedFile
from .words import STOP_WORDS as STOP_WORDS
from .words import content_words as content_words
from .words import plain as plain
from .words import quote_text as quote_text
from .words import split_words as split_words
from .words import stem as stem
from .words import word_set as word_set
