r"""Characters that change what a terminal or an editor shows, and how they are written so that they change nothing.

    text for people     a sign that shows that something was there          `show_steering`
    JSON, YAML, XML     an escape that reads back as the same character     `escape_json`, `escape_yaml`, `escape_xml`

They are the control characters (category Cc: ESC and, in one byte, C1 begin commands), what shows nothing or reorders
the rest of a line (Cf: bidi overrides and isolates, CVE-2021-42574; zero width spaces; tags), lone surrogates (Cs), and
the line ends of other scripts (Zl, Zp). Not among them, because written language needs them: the two joiners of letters
and emoji, the soft hyphen, and the marks of category Cf that are seen.
"""

from __future__ import annotations

import re

_STEERING = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
"""As a class of a pattern; without the tab and the line feed, which every text may hold."""
STEERS = re.compile(f"[{_STEERING}]")
"""Finds a character that changes what is shown."""
_REPLACED = "\ufffd"


def show_steering(text: str) -> str:
    r"""Return the text with everything that would steer a terminal replaced by a sign that shows it was there.

    Line feeds and tabs stay; the line ends of Windows become line feeds.

    >>> show_steering("\x1b[2J gone?")
    '␛[2J gone?'
    """
    return STEERS.sub(_show, text.replace("\r\n", "\n"))


def escape_json(text: str) -> str:
    r"""Return JSON text, in which such characters stand in texts only, with `\uXXXX` for each: the same value."""
    return STEERS.sub(_json_escape, text)


def escape_yaml(text: str) -> str:
    r"""Return YAML text with `\xXX`, `\uXXXX` or `\UXXXXXXXX` for each; they may stand in double quotes only."""
    return STEERS.sub(_yaml_escape, text)


def escape_xml(text: str) -> str:
    """Return XML text with a character reference for each that XML 1.0 can hold; the others stay as they are."""
    return STEERS.sub(_xml_escape, text)


def join_surrogates(text: str) -> str:
    """Return a text in which two halves of one character are that character, as any reader of JSON makes of them.

    Halves that stand alone stay as they are: file names that are not UTF-8 have them.

    >>> len(join_surrogates("\\ud83d\\ude00")), len(join_surrogates("\\ud83dx"))
    (1, 2)
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return text


def _show(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the pictures of control characters
    return "\u2421" if code == 0x7F else _REPLACED


def _json_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _yaml_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def _xml_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    held = (code >= 0x7F and not 0xD800 <= code < 0xE000) or code == 0x0D
    return f"&#x{code:X};" if held else found[0]
