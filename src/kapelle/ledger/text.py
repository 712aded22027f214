"""Text from outside, made safe to print: models, documents and plan files may hold what steers a terminal, or a key."""

from __future__ import annotations

from kapelle.redaction import hide_known, show_steering


def printable(text: str) -> str:
    r"""Return the text as it may be shown to people, whoever wrote it: it steers no terminal, and holds no known key.

    Line feeds and tabs stay; the line ends of Windows become line feeds. See `kapelle.redaction`.

    >>> printable("\x1b[2J gone?")
    '␛[2J gone?'
    """
    return show_steering(hide_known(text))
