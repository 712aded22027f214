"""What a schema finds wrong with a document, as one line for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pydantic
    from pydantic_core import ErrorDetails


def describe_validation_error(error: pydantic.ValidationError, *, most: int = 5) -> str:
    """Return pydantic's findings as one line a person can act on, at most `most` of them."""
    found = error.errors(include_url=False)
    parts = [f"{_path_text(item['loc'])}: {item['msg'].lower()}{_hint(item)}" for item in found[:most]]
    rest = f" (and {len(found) - most} more)" if len(found) > most else ""
    return "; ".join(parts) + rest


def _hint(finding: ErrorDetails) -> str:
    given = finding.get("input")
    if finding["type"] == "string_type" and isinstance(given, (bool, int, float)):
        return f" (this reads as {json.dumps(given)}: put it in quotes)"
    if finding["type"] == "bool_type" and isinstance(given, str):
        return f" (this reads as the text {json.dumps(given[:20], ensure_ascii=False)}: write true or false)"
    if finding["type"] == "list_type" and isinstance(given, str):
        return f" (write [{given[:40]}])"
    return ""


def _path_text(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "document"
