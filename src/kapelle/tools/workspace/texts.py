"""Texts as they stand in files: encoding and ends of lines stay what they are when a part is replaced."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from kapelle.errors import CannotAnswer, InvalidInput

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_END = r"(?:\r\n|\n|\r)"
_ENDS = re.compile(_END)
_MAX_PLACES = 10


@dataclass(frozen=True, slots=True)
class FileText:
    """A file's text, and what it takes to write it back byte for byte."""

    text: str
    encoding: str
    mark: bytes = b""
    """The byte order mark that the file begins with."""

    def encode(self, text: str) -> bytes:
        """Return another text as the bytes of this file."""
        try:
            return self.mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            wrong = text[error.start : error.end]
            raise InvalidInput(f"The file is {self.encoding}, which has no {wrong!r}. Write the file anew.") from None


def decode(content: bytes) -> FileText:
    """Return the text of a file. Bytes that are no UTF-8 are taken as Latin-1, which gives every byte back."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return FileText(content[len(mark) :].decode(encoding), encoding, mark)
            except UnicodeDecodeError:
                break
    try:
        return FileText(content.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return FileText(content.decode("latin-1"), "latin-1")


def is_binary(content: bytes) -> bool:
    """Whether it is no text: it holds NUL bytes and no mark that explains them."""
    return b"\0" in content[:8_192] and not content.startswith(tuple(mark for mark, _ in _MARKS))


def replace_once(text: str, old: str, new: str, *, name: str) -> str:
    """Return a text with the one place of `old` replaced; an end of line in `old` stands for any.

    What is outside of that place stays as it is. Ends of lines in `new` become those of the place, or of the text.

    Raises:
        CannotAnswer: there is no such place, or more than one; the message names the lines.
        InvalidInput: nothing is searched for.
    """
    if not old:
        raise InvalidInput("There is nothing to replace. Give the text that stands in the file.")
    pattern = re.compile(_END.join(map(re.escape, _ENDS.split(old))))
    places = list(pattern.finditer(text))
    if len(places) != 1:
        raise CannotAnswer(_no_single_place(text, old, [place.start() for place in places], name))
    (place,) = places
    ends = _ENDS.search(place.group()) or _ENDS.search(text)
    return text[: place.start()] + _ENDS.sub(ends.group() if ends else "\n", new) + text[place.end() :]


def _no_single_place(text: str, old: str, starts: list[int], name: str) -> str:
    if starts:
        lines = [str(line_of(text, start)) for start in starts[:_MAX_PLACES]]
        more = ", ..." if len(starts) > _MAX_PLACES else ""
        return (
            f"The text stands {len(starts):,} times in {name!r}, at the lines {', '.join(lines)}{more}. "
            "Give more of what is around the place that you mean."
        )
    first = next((line.strip() for line in _ENDS.split(old) if line.strip()), "")
    near = [number for number, line in enumerate(_ENDS.split(text), 1) if first and first in line][:_MAX_PLACES]
    if near:
        return (
            f"The text does not stand in {name!r}. Its first line does, at {', '.join(map(str, near))}: what follows "
            "differs, in white space perhaps. Read the file, and give the text as it stands there."
        )
    return f"The text does not stand in {name!r}. Read the file, and give the text as it stands there."


def line_of(text: str, position: int) -> int:
    """Return the number of the line, from 1, in which a position lies."""
    return 1 + sum(1 for _ in _ENDS.finditer(text, 0, position))
