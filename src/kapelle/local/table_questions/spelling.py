"""Tells which name of the tables a word may have been meant as, by its letters alone."""

from __future__ import annotations

import difflib

from kapelle.language import split_words

from .schema_links import SchemaLinks

MAX_COMPARED_CHARS = 60
MAX_COMPARED_WORDS = 20_000


def nearest_name(word: str, links: SchemaLinks) -> str:
    """Return the name of the tables that has this word, else the word of theirs that is spelt most like it.

    Empty when none is, or too many would have to be compared.
    """
    names = (name for table in links.tables.values() for name in (table.name, *(one.name for one in table.columns)))
    whole = {one: name for name in names for one in split_words(name.replace("_", " "))}
    if word in whole:
        return whole[word]  # "fee": fee_in_chf
    words = set(whole) | {words[0] for words in links.values if len(words) == 1}
    # What differs by more letters cannot be alike enough.
    alike = [one for one in words if 2 * min(len(one), len(word)) >= 0.8 * (len(one) + len(word))]
    is_short = len(word) <= MAX_COMPARED_CHARS and len(alike) <= MAX_COMPARED_WORDS
    return next(iter(difflib.get_close_matches(word, sorted(alike), n=1, cutoff=0.8) if is_short else ()), "")
