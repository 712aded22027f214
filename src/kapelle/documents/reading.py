"""Reads the texts and the JSON documents that come from outside, and says where they are wrong.

Every file and reply is untrusted: documents have a size limit, and only plain values are built. YAML is yaml_text's.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, BinaryIO

from kapelle.errors import InvalidPlan, NotFound

MAX_DOCUMENT_BYTES = 3_000_000
"""Larger than any plan a person or a model writes; smaller than what hurts to parse."""

STDIN = "standard input"


def read_text(path: Path | str, *, most_bytes: int = MAX_DOCUMENT_BYTES) -> str:
    """Return the text of a file.

    Raises:
        NotFound: there is no such file.
        InvalidPlan: it is too large, or not UTF-8.
    """
    path = Path(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise InvalidPlan("This is no plain file. Name one.", place=str(path))
        if facts.st_size > most_bytes:
            raise InvalidPlan(f"The file is larger than {most_bytes:,} bytes. Split it.", place=str(path))
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidPlan(f"The file is not UTF-8 text (byte {error.start}).", place=str(path)) from error
    except OSError as error:
        raise NotFound(f"Cannot read {str(path)!r}: {error.strerror or error}. Check the path.") from error


def read_stream(stream: BinaryIO, *, place: str = STDIN, most_bytes: int = MAX_DOCUMENT_BYTES) -> str:
    """Return the text that is piped in.

    Raises:
        InvalidPlan: nothing is, or it is too large, or not UTF-8.
    """
    try:
        if stream.isatty():
            raise InvalidPlan("Nothing is piped in. Write 'kapelle run - < plan.yaml', or name a file.", place=place)
        content = stream.read(most_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise InvalidPlan(f"Cannot be read: {error}. Name a file.", place=place) from error
    if len(content) > most_bytes:
        raise InvalidPlan(f"It is larger than {most_bytes:,} bytes. Split it.", place=place)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidPlan(f"It is not UTF-8 text (byte {error.start}).", place=place) from error
    if not text.strip():
        raise InvalidPlan("It is empty. Pipe a plan into it, or name a file.", place=place)
    return text


def parse_json(text: str, *, place: str = "") -> Any:
    """Return the plain values of a JSON document; the errors are those of `parse_yaml`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{place}, line {error.lineno}".lstrip(", ")
        raise InvalidPlan(f"Not readable as JSON: {error.msg}.", place=where) from error
    except (RecursionError, ValueError) as error:
        raise InvalidPlan(f"Not readable as JSON: {type(error).__name__}: {error}.", place=place) from error
