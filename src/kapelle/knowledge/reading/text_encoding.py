"""In which encoding the text of a table is written: by its first bytes, and where it is no UTF-8, by all of them.

A file that is neither Unicode nor plainly Western European is refused with the line: a guess among the encodings of
other alphabets would be made to fit in silence.
"""

from __future__ import annotations

import io
import re

from .csv_dialect import NoTable
from .number_cells import Note

HEAD_BYTES = 4_096
MAX_FOREIGN = 0.3
"""Of the letters of a Western European text, so many have accents at most."""

_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
# Signs that Western texts hold; what is none of these, or a capital letter amid small ones, is of another encoding.
_UNUSUAL = re.compile(
    rb"[\x83\x86\x87\x88\x8b\x98\x9b\xa1\xa4\xa6\xa8\xac\xad\xaf\xb8\xbf\xd7\xf7\xfe\xde\xd0]|[a-z][\x8a\x8c\x8e\x9f\xc0-\xdd]"
)
_LETTERS = re.compile(rb"[A-Za-z]")
_HIGH = re.compile(rb"[\x80-\xff]")


def find_encoding(file: io.BufferedIOBase) -> tuple[str, tuple[Note, ...]]:
    """Return the encoding that a file's first bytes show, UTF-8 if they show none, and what is to be known about it.

    Raises:
        NoTable: it is UTF-32.
    """
    head = file.read(HEAD_BYTES)
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise NoTable("UTF-32 text; save it as UTF-8")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", ()
    pairs = len(head) // 2
    for encoding, zeros, letters in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if pairs >= 4 and zeros.count(0) > 0.6 * pairs and not letters.count(0):
            name = encoding.upper()
            return encoding, (
                (0, f"it has no mark of its encoding, and was read as {name}, which its bytes look like"),
            )
    return "utf-8-sig", ()


def find_other_encoding(file: io.BufferedIOBase) -> tuple[str, tuple[Note, ...]]:
    """Return the encoding of a file that is no UTF-8.

    Raises:
        NoTable: it is in several, or in none that can be told.
    """
    first = multi = letters = high = 0
    for number, line in enumerate(file, start=1):
        if line.isascii():
            letters += len(_LETTERS.findall(line)) if number <= 1_000 else 0
            continue
        try:
            line.decode("utf-8")
            multi = multi or number
        except UnicodeDecodeError:
            first = first or number
            if _UNDEFINED.search(line) or _UNUSUAL.search(line):
                raise NoTable(f"not UTF-8 text (line {number}); save it as UTF-8") from None
        high += len(_HIGH.findall(line))
        letters += len(_LETTERS.findall(line))
        if first and multi:
            raise NoTable(f"line {multi} is UTF-8 text, line {first} is not; save it as UTF-8")
    if high > MAX_FOREIGN * (high + letters):
        raise NoTable(f"not UTF-8 text (line {first}); save it as UTF-8")
    return "cp1252", ((first, "it is no UTF-8 text and was read as Windows-1252; look at its accents and signs"),)
