"""Asks every question of a file as a user would, and counts what came of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kapelle import Engine, SqliteLedger
from kapelle.errors import KapelleError
from kapelle.tools import Tables

from .scoring import answered_rows, is_same, says

Outcome = Literal["right", "wrong", "unanswered"]
MOST_ROWS = 100_000


class BadQuestions(Exception):
    """A file or folder is missing or is not what it should be; the message is one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A question, and its truth."""

    question: str
    queries: tuple[str, ...] = ()
    """Any of their results is an answer."""
    texts: tuple[str, ...] = ()
    """The answer must hold one of them."""
    folder: Path

    @property
    def is_answerable(self) -> bool:
        """Whether the folder holds the answer."""
        return bool(self.queries or self.texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What came of a question."""

    asked: Asked
    outcome: Outcome
    said: str
    """The answer, or why there is none."""
    truth: str


def read_questions(file: Path, data: Path) -> list[Asked]:
    """Return the questions of a file, over folders below `data`.

    Raises:
        BadQuestions: the file is missing, or a line of it cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadQuestions(f"{file}: {error.strerror}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            queries, texts = row.get("sql"), row.get("answer")
            found.append(
                Asked(
                    question=row["question"],
                    queries=(queries,) if isinstance(queries, str) else tuple(queries or ()),
                    texts=(texts,) if isinstance(texts, str) else tuple(texts or ()),
                    folder=data / row.get("folder", ""),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadQuestions(f"{file}:{number} is not a question: {error!r}") from error
    return found


def ask_all(questions: Sequence[Asked]) -> list[Judged]:
    """Ask them, with one engine for each folder.

    Raises:
        BadQuestions: a folder is missing, or a query of the truth cannot be run.
    """
    by_folder: dict[Path, list[Asked]] = defaultdict(list)
    for asked in questions:
        by_folder[asked.folder].append(asked)
    judged = []
    for folder, of_folder in by_folder.items():
        if not folder.is_dir():
            raise BadQuestions(f"{folder} is not a folder")
        with Engine(data=folder, model="none", ledger=SqliteLedger(":memory:")) as engine, Tables(folder) as tables:
            judged += [judge(asked, engine, tables) for asked in of_folder]
    return judged


def judge(asked: Asked, engine: Engine, tables: Tables) -> Judged:
    """Ask one question, and compare the answer with the truth.

    Raises:
        BadQuestions: a query of the truth cannot be run.
    """
    truths = []
    for query in asked.queries:
        try:
            truths.append((query, tables.query(query, max_rows=MOST_ROWS, timeout_s=60).rows))
        except KapelleError as error:
            raise BadQuestions(f"{asked.question!r}: {error}") from error
    truth = " or ".join([*(str([list(row) for row in rows[:5]]) for _, rows in truths), *asked.texts]) or "none"
    try:
        run = asyncio.run(engine.run(asked.question))
    except KapelleError as error:
        return Judged(asked=asked, outcome="unanswered", said=str(error), truth=truth)
    if run.state != "done":
        return Judged(asked=asked, outcome="unanswered", said=run.stop_reason or run.state, truth=truth)
    rows = answered_rows(run)
    right = any(is_same(wanted, rows, ordered=_sorts(query)) for query, wanted in truths) or says(
        asked.texts, run.answer
    )
    return Judged(asked=asked, outcome="right" if right else "wrong", said=run.answer, truth=truth)


def _sorts(query: str) -> bool:
    return re.search(r"\border\s+by\b[^)]*$", query, re.IGNORECASE) is not None


def count(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return the counts and shares; a share of nothing is 0."""
    names = ("right", "wrong", "unanswered")
    number = {name: sum(1 for one in judged if one.outcome == name) for name in names}
    answerable = sum(1 for one in judged if one.asked.is_answerable)
    answered = number["right"] + number["wrong"]
    wrong_of_answerable = sum(1 for one in judged if one.outcome == "wrong" and one.asked.is_answerable)
    return {
        "questions": len(judged),
        "answerable": answerable,
        **number,
        "wrong_to_unanswerable": number["wrong"] - wrong_of_answerable,
        "wrong_share": round(number["wrong"] / answered, 4) if answered else 0.0,
        "right_share": round(number["right"] / answerable, 4) if answerable else 0.0,
    }
