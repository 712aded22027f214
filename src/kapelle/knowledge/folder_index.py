"""A full-text index over the documents of one folder: SQLite FTS5, BM25, headings count more than text.

The folder is untrusted as to size and content, the query as to everything: files are read in a process of their own
within limits (see reading), what cannot be read is skipped and listed, links that leave the folder are refused, and a
query is only ever a set of quoted words. Changed files (by time and size) are read again at the next search; a look
that fails leaves the index as it was. Tables are not read here: see tools.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from kapelle.errors import NotFound
from kapelle.language import content_words

from .reading import FileReader, FoundFile, ReadingLimits, Skipped, Unreadable, look_through

TEXT_ENDINGS = frozenset({".md", ".markdown", ".txt", ".rst", ".html", ".htm"})
MAX_FILE_BYTES = 5_000_000
MAX_FOLDER_BYTES = 200_000_000
MAX_FILES = 20_000
MAX_PASSAGES = 400_000
MAX_QUERY_WORDS = 32
MAX_QUERY_CHARS = 10_000
_VERSION = 1
"""Of the tables below; an index in a file of another version is made anew."""

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


SkippedFile = Skipped


class FolderIndex:
    """A full-text index over the text documents of a folder, in a file that nobody else sees, or in `database`.

    Safe to use from several threads, one search at a time.

    Raises:
        NotFound: there is no such folder.
    """

    def __init__(
        self, folder: Path | str, *, database: Path | None = None, limits: ReadingLimits | None = None
    ) -> None:
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise NotFound(f"There is no folder {str(folder)!r}. Check the path.")
        self.skipped: tuple[SkippedFile, ...] = ()
        """Files that were left out at the last look, with the reason."""
        self._limits = limits
        self._lock = threading.Lock()
        # "": a file without a name, which holds what the memory should not.
        self._store = sqlite3.connect(database or "", check_same_thread=False, isolation_level=None)
        weakref.finalize(self, self._store.close)
        if self._store.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            self._store.executescript(
                f"""
                DROP TABLE IF EXISTS files;
                DROP TABLE IF EXISTS passages;
                CREATE TABLE files(file TEXT PRIMARY KEY, mtime_ns INTEGER, size INTEGER, reason TEXT);
                CREATE VIRTUAL TABLE passages USING fts5(
                    file, heading, text, first_line UNINDEXED, last_line UNINDEXED,
                    tokenize = 'porter unicode61 remove_diacritics 2');
                PRAGMA user_version = {_VERSION};
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
        there, skipped = look_through(
            self.folder,
            TEXT_ENDINGS,
            max_file_bytes=MAX_FILE_BYTES,
            max_folder_bytes=MAX_FOLDER_BYTES,
            max_files=MAX_FILES,
        )
        gone = known.keys() - {found.name for found in there}
        changed = [found for found in there if known.get(found.name) != (found.mtime_ns, found.size)]
        if gone or changed:
            self._store.execute("BEGIN")
            try:
                self._forget([*gone, *(found.name for found in changed if found.name in known)])
                self._read(changed)
            except BaseException:
                self._store.execute("ROLLBACK")
                raise
            self._store.execute("COMMIT")
        unread = self._store.execute("SELECT file, reason FROM files WHERE reason IS NOT NULL ORDER BY file")
        self.skipped = (*skipped, *(SkippedFile(file=file, reason=reason) for file, reason in unread))

    def _forget(self, files: list[str]) -> None:
        if files:
            for table in ("passages", "files"):  # all at once: finding the passages of a file looks at every passage
                self._store.execute(
                    f"DELETE FROM {table} WHERE file IN (SELECT value FROM json_each(?))",  # noqa: S608 - constants
                    (json.dumps(files),),
                )

    def _read(self, files: list[FoundFile]) -> None:
        room = MAX_PASSAGES - int(self._store.execute("SELECT count(*) FROM passages").fetchone()[0])
        with FileReader(self._limits) as reader:
            # Small ones first: should some use up the time there is, they are likely the large ones.
            for found, parts in reader.read([(found, "document") for found in sorted(files, key=attrgetter("size"))]):
                reason: str | None = None
                count = 0
                self._store.execute("SAVEPOINT file")
                try:
                    for _, passages in parts:
                        count += len(passages)
                        if count > room:
                            raise Unreadable(f"the folder holds more than {MAX_PASSAGES:,} paragraphs")
                        self._store.executemany(
                            "INSERT INTO passages VALUES (?, ?, ?, ?, ?)",
                            ((found.name, heading, text, first, last) for heading, text, first, last in passages),
                        )
                    if not count and found.size:
                        reason = "without text"
                except Unreadable as error:
                    self._store.execute("ROLLBACK TO file")
                    reason, count = str(error), 0
                self._store.execute("RELEASE file")
                room -= count
                self._store.execute(
                    "INSERT INTO files VALUES (?, ?, ?, ?)", (found.name, found.mtime_ns, found.size, reason)
                )


def _fts_terms(query: str) -> list[str]:
    # Only letters and digits survive `content_words`, so a quoted word cannot hold FTS5 syntax.
    return [f'"{word}"' for word in dict.fromkeys(content_words(query[:MAX_QUERY_CHARS]))][:MAX_QUERY_WORDS]
