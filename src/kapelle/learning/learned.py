"""What was learned from outcomes and is kept beside the ledger: how hard tasks are, and which strategies pay.

The ledger stays the one record; these files are made from it, may be deleted at any time, and are made again by
`kapelle learn`. A file that cannot be read is told of and left out: nobody's run fails for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedTask
from kapelle.ledger import Ledger, Outcome, is_postgres_url
from kapelle.redaction import get_logger
from kapelle.strategies import Checks, Single, StrategyBook, read_outcomes

if TYPE_CHECKING:
    from kapelle.estimates import Difficulty, DifficultyModel

logger = get_logger(__name__)

DIFFICULTY_FILE = "difficulty.npz"
STRATEGIES_FILE = "strategies.json"
_REMEMBERED = 4_096
"""Tasks whose difficulty is remembered: every agent's estimate asks for it."""


class RememberedDifficulty:
    """Assesses the difficulty of tasks by a model, each once. The model's file is read when it is first asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._model: DifficultyModel | None = None
        self._failed = False
        self._known: OrderedDict[tuple[str, str], Difficulty] = OrderedDict()

    def assess(self, text: str, task_type: str) -> Difficulty:
        """Return how hard a task is; every task is ordinary where the file cannot be read."""
        key = (text, task_type)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._assess(text, task_type)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _assess(self, text: str, task_type: str) -> Difficulty:
        from kapelle.estimates import (  # with NumPy, which a run without history does without
            Difficulty,
            DifficultyModel,
        )

        if self._model is None and not self._failed:
            try:
                self._model = DifficultyModel.load(self._path)
            except InvalidInput as error:
                logger.warning("Difficulty is not taken into account: %s", error)
                self._failed = True
        return Difficulty(level=0.5) if self._model is None else self._model.assess(text, task_type)


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What an engine starts with."""

    difficulty: RememberedDifficulty | None = None
    strategies: StrategyBook | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lessons:
    """What was learned, told in figures."""

    tasks: int
    agents: int
    types: int
    strategies: int
    """That pay, over all types."""
    notes: dict[str, str]
    """Task type to what came of the search for strategies."""


def learn(source: Iterable[Outcome] | Iterable[LoggedTask], folder: Path, *, seed: int = 0) -> Lessons:
    """Learn difficulty and strategies from outcomes of the ledger or from logged tasks, and write them to a folder.

    Raises:
        InvalidInput: there is nothing to learn from, or the folder cannot be written.
    """
    from kapelle.estimates import DifficultyModel

    rows = list(source)
    checks: Checks | None = None
    tasks = [row for row in rows if isinstance(row, LoggedTask)]
    if not tasks:
        found, checks = read_outcomes([row for row in rows if isinstance(row, Outcome)], None)
        tasks = list(found)
    tasks = [task for task in tasks if task.outcomes]
    if not tasks:
        unmeasured = (
            ": nothing has measured how good any answer was. Give validators, rate answers (kapelle rate RUN good)"
        )
        raise InvalidInput(
            f"There are no outcomes to learn from yet{unmeasured if rows else '. Run something first'}, or give a log."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{str(folder)!r} cannot be made: {error.strerror or error}. Name another folder."
        ) from error
    book = StrategyBook.from_tasks(tasks, checks=checks, seed=seed)
    DifficultyModel.fit([task for task in tasks if task.text], seed=seed).save(folder / DIFFICULTY_FILE)
    book.save(folder / STRATEGIES_FILE)
    return Lessons(
        tasks=len(tasks),
        agents=len({agent for task in tasks for agent in task.outcomes}),
        types=len({task.task_type for task in tasks}),
        strategies=sum(not isinstance(one.strategy, Single) for kept in book.entries.values() for one in kept),
        notes=dict(book.notes),
    )


def find_unreadable(folder: Path) -> tuple[str, ...]:
    """Return what `load_learned` would leave out of what a folder holds, each with the reason in words."""
    from kapelle.estimates import DifficultyModel

    problems: list[str] = []
    readers: tuple[tuple[str, Callable[[Path], object]], ...] = (
        (STRATEGIES_FILE, StrategyBook.load),
        (DIFFICULTY_FILE, DifficultyModel.load),
    )
    for name, read in readers:
        try:
            if (folder / name).exists():
                read(folder / name)
        except (InvalidInput, OSError) as error:
            problems.append(str(error))
    return tuple(problems)


def load_learned(folder: Path | None) -> Learned:
    """Return what a folder holds of it; what is not there or cannot be read is left out."""
    if folder is None:
        return Learned()
    book: StrategyBook | None = None
    strategies, difficulty = folder / STRATEGIES_FILE, folder / DIFFICULTY_FILE
    if strategies.is_file():
        try:
            book = StrategyBook.load(strategies)
        except InvalidInput as error:
            logger.warning("Strategies are not taken into account: %s", error)
    return Learned(difficulty=RememberedDifficulty(difficulty) if difficulty.is_file() else None, strategies=book)


def learned_folder(ledger: Ledger) -> Path | None:
    """Return the folder beside a ledger for what was learned from it; None for a ledger that is no file."""
    path = getattr(ledger, "path", ":memory:")
    return None if path == ":memory:" or is_postgres_url(path) else Path(f"{path}.learned")
