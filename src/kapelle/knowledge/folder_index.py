"""A full-text index over the documents of one folder: SQLite FTS5, BM25, headings count more than text.

The folder is untrusted as to size and content, the query as to everything: files that are too large, unreadable or not
text are skipped and listed, links that leave the folder are refused, and a query is only ever a set of quoted words.
Changed files (by time and size) are read again at the next search. Tables are not read here: see tools.
"""

from __future__ import annotations

import html.parser
import math
import os
import re
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kapelle.errors import NotFound

from .words import content_words

TEXT_ENDINGS = frozenset({".md", ".markdown", ".txt", ".rst", ".html", ".htm"})
MAX_FILE_BYTES = 5_000_000
MAX_FOLDER_BYTES = 200_000_000
MAX_FILES = 20_000
MAX_QUERY_WORDS = 32
MAX_PASSAGE_CHARS = 1_500
"""Paragraphs longer than this are cut at a line end, so that a passage stays quotable."""

# Column weights of BM25: a word in the file's name or in a heading says what the passage is about.
_RANK = "bm25(passages, 2.0, 3.0, 1.0, 0.0, 0.0)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A paragraph of a file."""

    file: str
    """Path inside the folder, with forward slashes."""
    first_line: int
    last_line: int
    heading: str
    """The headings that it stands under, outermost first, joined by ` > `."""
    text: str
    """The lines as they are in the file (HTML without its tags)."""
    score: float = 0.0
    """How well it fits the query; higher is better, comparable within one search only."""

    @property
    def citation(self) -> str:
        """Where to look it up: `notes/france.md:3`."""
        return f"{self.file}:{self.first_line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedFile:
    """A file that is not in the index, and why."""

    file: str
    reason: str


class FolderIndex:
    """A full-text index over the text documents of a folder, kept in memory or in the given database file.

    Safe to use from several threads, one search at a time.

    Raises:
        NotFound: there is no such folder.
    """

    def __init__(self, folder: Path | str, *, database: Path | None = None) -> None:
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise NotFound(f"There is no folder {str(folder)!r}. Check the path.")
        self.skipped: tuple[SkippedFile, ...] = ()
        """Files that were left out at the last look, with the reason."""
        self._lock = threading.Lock()
        self._store = sqlite3.connect(database or ":memory:", check_same_thread=False, isolation_level=None)
        weakref.finalize(self, self._store.close)
        self._store.executescript(
            """
            CREATE TABLE IF NOT EXISTS files(file TEXT PRIMARY KEY, mtime_ns INTEGER, size INTEGER);
            CREATE VIRTUAL TABLE IF NOT EXISTS passages USING fts5(
                file, heading, text, first_line UNINDEXED, last_line UNINDEXED,
                tokenize = 'porter unicode61 remove_diacritics 2');
            """
        )

    def search(self, query: str, *, limit: int = 5) -> tuple[Passage, ...]:
        """Return the passages that fit the query best, best first; none when no word of it occurs."""
        terms = _fts_terms(query)
        if not terms or limit < 1:
            return ()
        with self._lock:
            self._refresh()
            rows = self._store.execute(
                f"SELECT file, heading, text, first_line, last_line, -{_RANK} FROM passages "  # noqa: S608 - a constant
                "WHERE passages MATCH ? ORDER BY 6 DESC, file, first_line LIMIT ?",
                (" OR ".join(terms), min(limit, 1_000)),
            ).fetchall()
        return tuple(
            Passage(file=file, heading=heading, text=text, first_line=first, last_line=last, score=round(score, 6))
            for file, heading, text, first, last, score in rows
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files that hold passages, as paths inside the folder."""
        with self._lock:
            self._refresh()
            return tuple(row[0] for row in self._store.execute("SELECT DISTINCT file FROM passages ORDER BY file"))

    def passages_of(self, file: str) -> tuple[Passage, ...]:
        """Return the passages of one file in their order; none when it is not in the index.

        The file is named by its path inside the folder, or by its name alone if only one is called that.
        """
        with self._lock:
            self._refresh()
            known = [row[0] for row in self._store.execute("SELECT file FROM files ORDER BY file")]
            named = [path for path in known if path == file] or [
                path for path in known if Path(path).name.casefold() == file.casefold()
            ]
            if len(named) != 1:
                return ()
            rows = self._store.execute(
                "SELECT file, heading, text, first_line, last_line FROM passages WHERE file = ? ORDER BY rowid", named
            ).fetchall()
        return tuple(
            Passage(file=path, heading=heading, text=text, first_line=first, last_line=last)
            for path, heading, text, first, last in rows
        )

    def count_passages(self) -> int:
        """Return how many passages there are."""
        with self._lock:
            self._refresh()
            return int(self._store.execute("SELECT count(*) FROM passages").fetchone()[0])

    def weigh(self, text: str) -> dict[str, float]:
        """Return a weight for every word of a text that carries meaning: the rarer in the folder, the more it says."""
        with self._lock:
            self._refresh()
            total = self._store.execute("SELECT count(*) FROM passages").fetchone()[0]
            weights: dict[str, float] = {}
            for word in dict.fromkeys(content_words(text)[: 2 * MAX_QUERY_WORDS]):
                found = self._store.execute(
                    "SELECT count(*) FROM passages WHERE passages MATCH ?", (" ".join(_fts_terms(word)),)
                )
                weights[word] = math.log(1 + (total + 1) / (found.fetchone()[0] + 0.5))
            return weights

    def close(self) -> None:
        """Close the database. The index cannot be used afterwards."""
        with self._lock:
            self._store.close()

    def __enter__(self) -> FolderIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refresh(self) -> None:
        known = {row[0]: row[1:] for row in self._store.execute("SELECT file, mtime_ns, size FROM files")}
        there, skipped = _look_through(self.folder)
        self._store.execute("BEGIN")
        for file in known.keys() - there.keys():
            self._forget(file)
        for file, (mtime_ns, size) in there.items():
            if known.get(file) != (mtime_ns, size):
                self._forget(file)
                self._store.execute("INSERT INTO files VALUES (?, ?, ?)", (file, mtime_ns, size))
                self._read(file)
            # A file without passages was unreadable or empty; say so at every look, not only at the first.
        self._store.execute("COMMIT")
        unreadable = self._store.execute(
            "SELECT file FROM files WHERE size > 0 AND file NOT IN (SELECT file FROM passages) ORDER BY file"
        )
        skipped += [SkippedFile(file=row[0], reason="not readable as text, or without text") for row in unreadable]
        self.skipped = tuple(skipped)

    def _forget(self, file: str) -> None:
        self._store.execute("DELETE FROM passages WHERE file = ?", (file,))
        self._store.execute("DELETE FROM files WHERE file = ?", (file,))

    def _read(self, file: str) -> None:
        try:
            data = (self.folder / file).read_bytes()
            text = data.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return
        if "\0" in text:
            return
        self._store.executemany(
            "INSERT INTO passages VALUES (?, ?, ?, ?, ?)",
            ((file, heading, part, first, last) for heading, part, first, last in _split(file, text)),
        )


def _fts_terms(query: str) -> list[str]:
    # Only letters and digits survive `content_words`, so a quoted word cannot hold FTS5 syntax.
    return [f'"{word}"' for word in dict.fromkeys(content_words(query))][:MAX_QUERY_WORDS]


def _look_through(folder: Path) -> tuple[dict[str, tuple[int, int]], list[SkippedFile]]:
    """Return the files to index, with time and size, and the ones to skip."""
    there: dict[str, tuple[int, int]] = {}
    skipped: list[SkippedFile] = []
    total = 0
    for path in _walk(folder):
        file = path.relative_to(folder).as_posix()
        try:
            link = path.is_symlink()
            if link and not path.resolve().is_relative_to(folder):
                skipped.append(SkippedFile(file=file, reason="a link that leads out of the folder"))
                continue
            facts = path.stat()
        except (OSError, RuntimeError) as error:
            skipped.append(SkippedFile(file=file, reason=f"cannot be looked at: {error}"))
            continue
        if stat.S_ISDIR(facts.st_mode) or path.suffix.lower() not in TEXT_ENDINGS:
            continue
        if not stat.S_ISREG(facts.st_mode):
            skipped.append(SkippedFile(file=file, reason="not a plain file"))
        elif facts.st_size > MAX_FILE_BYTES:
            skipped.append(SkippedFile(file=file, reason=f"larger than {MAX_FILE_BYTES:,} bytes"))
        elif total + facts.st_size > MAX_FOLDER_BYTES or len(there) >= MAX_FILES:
            skipped.append(SkippedFile(file=file, reason="the folder is over its limit of files or bytes"))
        else:
            try:
                file.encode("utf-8")
            except UnicodeEncodeError:
                skipped.append(SkippedFile(file=ascii(file), reason="the name is not UTF-8"))
                continue
            total += facts.st_size
            there[file] = (facts.st_mtime_ns, facts.st_size)
    return there, skipped


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):  # links to folders are listed as such, never followed
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files) + [name for name in folders if os.path.islink(os.path.join(parent, name))]:
            if not name.startswith("."):
                yield Path(parent, name)


def _split(file: str, text: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield (headings, text, first line, last line) of every paragraph."""
    ending = Path(file).suffix.lower()
    lines = _lines_of_html(text) if ending in (".html", ".htm") else text.splitlines()
    headings: list[tuple[int, str]] = []
    start, size = 0, 0

    def passage(end: int) -> Iterator[tuple[str, str, int, int]]:
        part = lines[start:end]
        if any(line.strip() for line in part):
            yield " > ".join(title for _, title in headings), "\n".join(part), start + 1, end

    fenced = False
    for number, line in enumerate(lines):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        heading = None if fenced else _heading(lines, number, ending)
        if heading is not None:
            yield from passage(number)
            level, title, used = heading
            headings = [entry for entry in headings if entry[0] < level] + [(level, title)]
            start, size = number + used, 0
        elif number < start:  # the rule under a heading
            continue
        elif not line.strip() or size > MAX_PASSAGE_CHARS:
            yield from passage(number)
            start, size = (number + 1, 0) if not line.strip() else (number, len(line))
        else:
            size += len(line)
    yield from passage(len(lines))


_RULE = re.compile(r"(=+|-{3,}|~{3,})\s*")


def _heading(lines: list[str], number: int, ending: str) -> tuple[int, str, int] | None:
    """Return (level, title, lines used) if a heading begins at this line."""
    line = lines[number]
    match = re.fullmatch(r"(#{1,6})\s+(.+?)\s*#*\s*", line)
    if match and ending not in (".txt", ".rst"):
        return len(match[1]), match[2], 1
    if ending in (".md", ".markdown", ".rst", ".txt") and number + 1 < len(lines):
        rule = lines[number + 1]
        title = line.strip()
        if title and _RULE.fullmatch(rule) and len(rule.strip()) >= len(title) and not _RULE.fullmatch(line):
            return ("=-~".index(rule[0]) + 1), title, 2
    return None


class _TextOfHtml(html.parser.HTMLParser):
    """Keeps the text of a page on the lines that it stands on, headings marked as in Markdown."""

    def __init__(self, lines: int) -> None:
        super().__init__(convert_charrefs=True)
        self.lines = [""] * (lines + 1)
        self.hidden = 0
        self.mark = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in ("script", "style", "template")
        if re.fullmatch(r"h[1-6]", tag):
            self.mark = "#" * int(tag[1]) + " "

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in ("script", "style", "template")))

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        first = self.getpos()[0] - 1
        for offset, part in enumerate(data.split("\n")):
            if part.strip() and first + offset < len(self.lines):
                before = self.lines[first + offset]
                space = " " if before and not before.endswith(" ") else ""
                self.lines[first + offset] = before + space + self.mark + " ".join(part.split())
                self.mark = ""


def _lines_of_html(text: str) -> list[str]:
    reader = _TextOfHtml(text.count("\n") + 1)
    reader.feed(text)
    reader.close()
    return reader.lines
