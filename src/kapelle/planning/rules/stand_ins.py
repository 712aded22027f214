"""Plain names that stand in a request for texts that are data, while rules take it apart.

An item of a table, an output or what a user puts in quotes may hold anything: "Peru, Chile and Bolivia", `notes.md`,
"divided by 3", `{s1}`. Rules that met it would read it as work, a file or a sum. So a request is taken apart with a
stand-in in the place of each such text, a name like any other, and the text is filled in when the tasks are there. What
the tasks are is so decided by the request alone.

    hidden = stand_ins.take("Peru, Chile and Bolivia")
    f"find the capital of {hidden}"         rules see one name
    stand_ins.fill("capital of " + hidden)  "capital of Peru, Chile and Bolivia"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kapelle.graph import escape_braces

# One capital, as names have, so that case tells it from a common noun; then small letters of a script that hardly any
# text is written in (Deseret), all names of the same length, so that none is a part of another. It ends in no "s".
_LETTERS = "".join(map(chr, range(0x10428, 0x10450)))
_LENGTH = 4
_STAND_IN = re.compile(f"[Pp][{_LETTERS}]{{{_LENGTH}}}")
_CUT_STAND_IN = re.compile(f"[Pp][{_LETTERS}]{{1,{_LENGTH - 1}}}…")

# A quote opens before a word and closes behind one: inches and apostrophes do neither. No kind may hold its own
# opening, so that a text full of them is read once.
_QUOTED = re.compile(
    r"(?<![\w\"])\"(?=\S)(?P<double>[^\"]+)(?<=\S)\"(?!\w)"
    r"|(?<![\w'])'(?=\S)(?P<single>(?:[^'\n]|(?<=\w)'(?=\w))+)(?<=\S)'(?!\w)"
    r"|“(?P<curly>[^“”]+)”|‘(?P<curly_single>[^‘’\n]+)’(?!\w)|«(?P<angled>[^«»]+)»|„(?P<low>[^„“”]+)[“”]"
)

MAX_CAPTION_CHARS = 200
"""Of a text that is filled into a task's description: it is for people, and the whole of it is among the inputs."""


class StandIns:
    """The texts that have a stand-in, and how to put them in.

    Args:
        around: The request. No stand-in is a word of it.

    >>> stand_ins = StandIns("find the capital of it")
    >>> name = stand_ins.take("Peru, Chile and {s1}")
    >>> stand_ins.fill(f"capital of {name}")
    'capital of Peru, Chile and {s1}'
    """

    def __init__(self, around: str) -> None:
        self._around = around
        self._number = 0
        self._texts: dict[str, str] = {}

    def take(self, text: str) -> str:
        """Return a new stand-in for a text."""
        name = self._next_name()
        self._texts[name] = text
        return name

    def hide_quoted(self, text: str, ending_of: Callable[[str], str]) -> str:
        """Return the text with stand-ins for what it has in quotes; the quotes stay.

        `ending_of` gives the ending of a quoted text that names a file, such as `.csv`, which stays too.
        """
        names: dict[str, str] = {}

        def hide(match: re.Match[str]) -> str:
            kind = match.lastgroup
            assert kind is not None
            quoted = match[kind]
            ending = ending_of(quoted)
            stem = quoted[: len(quoted) - len(ending)]
            if not stem.strip():
                return match[0]
            if quoted not in names:  # the same words twice are the same thing
                names[quoted] = self.take(stem) + ending
            return match[0][0] + names[quoted] + match[0][-1]

        return _QUOTED.sub(hide, text)

    def fill(self, text: str) -> str:
        """Return the text with what its stand-ins stand for."""
        return self._fill(text, lambda found: found)

    def fill_caption(self, text: str) -> str:
        """Return the text, for people, with the beginning of what its stand-ins stand for, on one line."""
        return self._fill(text, _caption)

    def fill_message(self, text: str) -> str:
        """Return a message, which may quote no more than the beginning of a text, with what stand-ins stand for."""
        return _CUT_STAND_IN.sub("…", self.fill_caption(text))

    def fill_inputs(self, value: Any) -> Any:
        """Return inputs of a task with what their stand-ins stand for; braces in that are no references."""
        if isinstance(value, str):
            return self._fill(value, escape_braces)
        if isinstance(value, Mapping):
            return {
                key: self._fill(item, lambda found: escape_braces(_caption(found)))
                if key == "title" and isinstance(item, str)  # a heading, for people
                else self.fill_inputs(item)
                for key, item in value.items()
            }
        if isinstance(value, Sequence):
            return [self.fill_inputs(item) for item in value]
        return value

    def _fill(self, text: str, form: Callable[[str], str]) -> str:
        def put_in(match: re.Match[str]) -> str:
            found = self._texts.get("P" + match[0][1:])
            return match[0] if found is None else form(found)

        return _STAND_IN.sub(put_in, text) if self._texts else text  # one pass: what is filled in is not read again

    def _next_name(self) -> str:
        while True:
            number, letters = self._number, []
            self._number += 1
            for _ in range(_LENGTH):
                number, letter = divmod(number, len(_LETTERS))
                letters.append(_LETTERS[letter])
            name = "P" + "".join(letters)
            if name not in self._around:
                return name


def cut_before_stand_in(text: str, most: int) -> str:
    """Return at most so many characters of a text, and no part of a stand-in.

    >>> cut_before_stand_in("capital of Peru", 7)
    'capital'
    """
    if len(text) <= most:
        return text
    over = next((match for match in _STAND_IN.finditer(text) if match.start() < most < match.end()), None)
    return text[: most if over is None else over.start()]


def _caption(text: str) -> str:
    flat = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * MAX_CAPTION_CHARS]).split())
    return flat if len(flat) <= MAX_CAPTION_CHARS else flat[: MAX_CAPTION_CHARS - 4] + " ..."
