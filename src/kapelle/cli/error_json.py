"""What a command that failed answers to a program: `{"error": {...}}`. Text for people is beside it, and unchanged."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

from kapelle.errors import KapelleError
from kapelle.ledger import printable
from kapelle.redaction import hide_secrets, hide_secrets_in

from .printing import split_remedy


def error_to_json(
    error: BaseException, *, exit_code: int, message: str | None = None, remedy: str | None = None
) -> dict[str, Any]:
    """Return an error as an object: its class, what it says, the exit code and, where it is known, more.

    Args:
        message: What it says, where that is not its own text.
        remedy: What to do, where its text does not end with that.
    """
    text = printable(hide_secrets(words_of(error) if message is None else message))
    said: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": text,
        "exit_code": exit_code,
        "remedy": split_remedy(text)[1] if remedy is None else printable(hide_secrets(remedy)),
    }
    issues = getattr(error, "issues", None)
    if isinstance(issues, tuple):
        told = [asdict(one) if is_dataclass(one) and not isinstance(one, type) else str(one) for one in issues]
        said["issues"] = hide_secrets_in(told)
        said["remedy"] = " ".join(dict.fromkeys(one["way_out"] for one in told if isinstance(one, dict)))
    for name in ("place", "run_id", "cost_usd", "retry_after_s"):
        value = getattr(error, name, None) if isinstance(error, KapelleError) else vars(error).get(name)
        if isinstance(value, (str, int, float)) and value != "":
            said[name] = hide_secrets_in(value)
    return {"error": said}


def words_of(error: BaseException) -> str:
    """Return what an error says, or its class where it says nothing."""
    try:
        return str(error) or type(error).__name__
    except BaseException:  # an error of somebody's own class may fail even to say what it is
        return f"{type(error).__name__}, which cannot be shown"
