"""Text from outside, made safe to print: models, documents and plan files may hold what steers a terminal."""

from __future__ import annotations

_KEPT = frozenset("\n\t")
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Overrides, embeddings and isolates: they show text in another order than it is read (CVE-2021-42574)."""
_VISIBLE = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in _KEPT},  # the pictures of control characters
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),  # C1: 0x9B begins a command just as ESC [ does
    **dict.fromkeys(_BIDI, 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),  # lone surrogates: no terminal's encoding can write them
}


def printable(text: str) -> str:
    r"""Return the text with everything that would steer a terminal replaced by a sign that shows it was there.

    Line feeds and tabs stay; the line ends of Windows become line feeds.

    >>> printable("\x1b[2J gone?")
    '␛[2J gone?'
    """
    return text.replace("\r\n", "\n").translate(_VISIBLE)
