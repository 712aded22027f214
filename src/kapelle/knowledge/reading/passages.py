"""Cuts a document into passages: its paragraphs, each with the headings that it stands under. Every step is linear.

HTML is read by a scanner of our own: `html.parser` takes quadratic time on tags and comments that never end, and raises
on some declarations. The scanner keeps text on the line that it stands on, and knows only what that needs: tags,
comments, quoted attributes, and elements whose content is not shown.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

MAX_PASSAGE_CHARS = 1_500
"""Paragraphs longer than this are cut at a line end, so that a passage stays quotable."""
MAX_LINE_CHARS = 6_000
"""Lines longer than this are cut at a space. Many editors write a paragraph as one line."""
PIECES_AT_ONCE = 1_000
MAX_TITLE_CHARS = 200
"""Every passage carries the headings above it, so they must not be long."""

Earn = Callable[[int, int, int], None]
Passage = tuple[str, str, int, int]
"""Headings, text, first line, last line."""


def split_document(ending: str, text: str, *, earn: Earn | None = None) -> Iterator[Passage]:
    """Yield the passages of a document, whose notation its name's ending (`.md`) says.

    Args:
        earn: Is told of the pieces of text that a page gives, and their characters, before there is a passage.
    """
    lines = _lines_of_html(text, earn) if ending in (".html", ".htm") else text.splitlines()
    headings: list[tuple[int, str]] = []
    start, size = 0, 0

    def passages(end: int) -> Iterator[Passage]:
        part = lines[start:end]
        if any(line.strip() for line in part):
            above = " > ".join(title for _, title in headings)
            for piece, first, last in _pieces(part):
                yield above, piece, start + first + 1, start + last + 1

    fenced = False
    for number, line in enumerate(lines):
        if not line or line.isspace():
            if start < number:
                yield from passages(number)
            start, size = max(start, number + 1), 0
            continue
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        heading = None if fenced else _heading(lines, number, ending)
        if heading is not None:
            yield from passages(number)
            level, title, used = heading
            headings = [entry for entry in headings if entry[0] < level] + [(level, title)]
            start, size = number + used, 0
        elif number < start:  # the rule under a heading
            continue
        elif size > MAX_PASSAGE_CHARS:
            yield from passages(number)
            start, size = number, len(line)
        else:
            size += len(line)
    yield from passages(len(lines))


def _pieces(part: list[str]) -> Iterator[tuple[str, int, int]]:
    """Yield the lines as one text, and lines that are too long in pieces of their own, with their first and last."""
    start = 0
    for number, line in enumerate(part):
        if len(line) > MAX_LINE_CHARS:
            if any(before.strip() for before in part[start:number]):
                yield "\n".join(part[start:number]), start, number - 1
            at = 0
            while at < len(line):
                space = line.rfind(" ", at + 1, at + MAX_LINE_CHARS) if at + MAX_LINE_CHARS < len(line) else -1
                end = space + 1 if space > 0 else at + MAX_LINE_CHARS
                if line[at:end].strip():
                    yield line[at:end], number, number
                at = end
            start = number + 1
    if any(line.strip() for line in part[start:]):
        yield "\n".join(part[start:]), start, len(part) - 1


_MARKS = re.compile(r"#{1,6}(?=\s)")
_RULE = re.compile(r"(?:=+|-{3,}|~{3,})\s*")


def _heading(lines: list[str], number: int, ending: str) -> tuple[int, str, int] | None:
    """Return (level, title, lines used) if a heading begins at this line."""
    line = lines[number]
    if ending not in (".txt", ".rst") and (marks := _MARKS.match(line)) is not None:
        words = line[marks.end() :].strip()
        if words:
            return marks.end(), _shorten(words.rstrip("#").rstrip() or words), 1
    if ending in (".md", ".markdown", ".rst", ".txt") and number + 1 < len(lines):
        rule = lines[number + 1]
        if rule[:1] in "=-~" and _RULE.fullmatch(rule):
            title = line.strip()
            if title and len(rule.strip()) >= len(title) and not _RULE.fullmatch(line):
                return ("=-~".index(rule[0]) + 1), _shorten(title), 2
    return None


def _shorten(title: str) -> str:
    return title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1] + "…"


# Their content is no markup, and nothing that is shown.
_RAW = {tag: re.compile(f"</{tag}", re.IGNORECASE) for tag in ("script", "style")}
_TAG_NAME = re.compile(r"</?([A-Za-z][A-Za-z0-9]{0,20})(?![A-Za-z0-9])")
_PLAIN_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]{0,20})(?:\s[^<>\"']*)?>")
"""What most tags are: found in one step."""
_TAG_STOP = re.compile(r"[>\"']")
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")


class _Scanner:
    """Where a scan of a page is, and what it knows not to look for again: so no part is searched twice."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._gone: set[str] = set()

    def find(self, mark: str, start: int) -> int:
        """Return where the mark stands next, or -1; once it is nowhere, it is never looked for again."""
        at = -1 if mark in self._gone else self.text.find(mark, start)
        if at < 0:
            self._gone.add(mark)
        return at

    def tag_end(self, start: int) -> int:
        """Return the position after the tag that begins here, quoted attributes considered; -1 if it never ends."""
        at = start + 1
        while self.find(">", at) >= 0:
            stop = _TAG_STOP.search(self.text, at)
            assert stop is not None
            if stop[0] == ">":
                return stop.end()
            closing = self.find(stop[0], stop.end())
            at = stop.end() if closing < 0 else closing + 1
        return -1


def _lines_of_html(text: str, earn: Earn | None) -> list[str]:
    """Return the text of a page on the lines that it stands on, headings marked as in Markdown."""
    lines: list[list[str]] = [[] for _ in range(text.count("\n") + 1)]
    scanner = _Scanner(text)
    position, line, counted, mark = 0, 0, 0, ""
    hidden = pieces = chars = 0
    heading: list[str] | None = None
    ended: list[str] | None = None
    while position < len(text):
        opening = scanner.find("<", position)
        end = opening if opening >= 0 else len(text)
        if end > position and not hidden:
            line += text.count("\n", counted, position)
            counted = position
            for offset, part in enumerate(text[position:end].split("\n")):
                if "&" in part:
                    part = _REFERENCE.sub(lambda found: html.unescape(found[0]), part)
                words = " ".join(part.split())
                if words:
                    there = lines[line + offset]
                    if there is ended:  # more than a heading is on its line: then the line is text
                        there[0] = there[0].partition(" ")[2]
                        ended = None
                    elif mark and not there:
                        heading = there
                    there.append(mark + words)
                    mark = ""
                    pieces += 1
                    chars += len(words)
            if earn is not None and pieces >= PIECES_AT_ONCE:
                earn(pieces, 0, chars)
                pieces = chars = 0
        if opening < 0:
            break
        plain = _PLAIN_TAG.match(text, opening)
        if plain is not None:
            closing, tag = plain.end(), plain[1].lower()
        else:
            if text.startswith("<!--", opening):
                closing = scanner.find("-->", opening + 4)
                position = closing + 3 if closing >= 0 else len(text)
                continue
            name = _TAG_NAME.match(text, opening)
            if name is None and text[opening + 1 : opening + 2] not in ("!", "?", "/"):
                position = opening + 1  # "a < b": what is no tag is text
                if not hidden:
                    line += text.count("\n", counted, opening)
                    counted = opening
                    lines[line].append(mark + "<")
                    mark = ""
                continue
            closing = scanner.tag_end(opening)
            tag = name[1].lower() if name is not None else ""
            if closing < 0:  # a tag that never ends: it, and all behind it, is read as text
                closing, tag = opening + 1, ""
        position = closing
        closes = text[opening + 1] == "/"
        if tag == "template":
            hidden = max(0, hidden + (-1 if closes else 1))
        elif tag in _RAW and not closes:
            ending = _RAW[tag].search(text, position)
            position = ending.start() if ending is not None else len(text)
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            mark = "" if closes else "#" * int(tag[1]) + " "
            heading, ended = None, heading
    return [" ".join(parts) for parts in lines]
