"""What was learned from outcomes and is kept beside the ledger: what words tell, what pays, and who does what.

The ledger stays the one record; these files are made from it, may be deleted at any time, and are made again by
`kapelle learn`. A file that cannot be read is told of and left out: nobody's run fails for it. The policy is the one
that `kapelle savings` judges (see evaluation); runs obey it where no limit and no order of the user's is against it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kapelle.errors import InvalidInput, NotFound
from kapelle.estimates import LoggedTask
from kapelle.graph import Task
from kapelle.ledger import Ledger, Outcome, is_postgres_url
from kapelle.redaction import get_logger
from kapelle.strategies import Checks, Single, Strategy, task_context

if TYPE_CHECKING:
    from kapelle.estimates import LearnedWords
    from kapelle.evaluation import LearnedPolicy, Log
    from kapelle.strategies import StrategyBook

logger = get_logger(__name__)

WORDS_FILE = "success.npz"
STRATEGIES_FILE = "strategies.json"
POLICY_FILE = "policy.npz"
MAX_KEEP = 1.5
"""As in `kapelle savings`: more than today's quality may be there to be had."""
_FORMER_FILE = "difficulty.npz"
"""What earlier versions kept in place of WORDS_FILE; it is not read any more."""


class RememberedWords:
    """What was learned about words. The file is read when it is first asked for: NumPy comes with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._words: LearnedWords | None = None
        self._is_read = False

    def load(self) -> LearnedWords | None:
        """Return it; None where the file cannot be read, which is told once."""
        if not self._is_read:
            from kapelle.estimates import LearnedWords  # with NumPy, which a run without history does without

            self._is_read = True
            try:
                self._words = LearnedWords.load(self._path)
            except InvalidInput as error:
                logger.warning("What words tell is not taken into account: %s", error)
        return self._words


@dataclass(frozen=True, kw_only=True, slots=True)
class ProposedChoice:
    """What the policy has a task done by, and why."""

    strategy: Strategy
    reason: str


class RememberedPolicy:
    """Proposes who does tasks, by the learned policy. Its file is read when it is first asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._policy: LearnedPolicy | None = None
        self._failed = False

    def propose(self, tasks: Sequence[Task], may: Callable[[Task, Strategy], bool]) -> Mapping[str, ProposedChoice]:
        """Return a choice by task id for those tasks of which the log knows enough; `may` says what can be used."""
        from kapelle.evaluation import LearnedPolicy  # with NumPy, as above

        if self._policy is None and not self._failed:
            try:
                self._policy = LearnedPolicy.load(self._path)
            except InvalidInput as error:
                logger.warning("The learned policy is not taken into account: %s", error)
                self._failed = True
        if self._policy is None:
            return {}
        asked = [
            LoggedTask(task_id=one.task_id, text=one.description, task_type=one.task_type, context=task_context(one))
            for one in tasks
        ]
        choices = self._policy.choose(asked, lambda number, strategy: may(tasks[number], strategy))
        return {
            task.task_id: ProposedChoice(
                strategy=choice.strategy,
                reason=f"Done by {choice.strategy}, as the learned policy has it: {choice.quality:.0%} right expected "
                f"for ${choice.cost_usd:.4g}, by the words of the task.",
            )
            for task, choice in zip(tasks, choices, strict=True)
            if choice is not None
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnedModels:
    """What an engine starts with."""

    words: RememberedWords | None = None
    strategies: StrategyBook | None = None
    policy: RememberedPolicy | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningReport:
    """What was learned, told in figures."""

    tasks: int
    agents: int
    types: int
    strategies: int
    """That pay, over all types."""
    notes: dict[str, str]
    """Task type to what came of the search for strategies."""
    policy: str
    """What runs do from now on, or why there is no policy, as a sentence."""


def learn(
    source: Log | Iterable[Outcome] | Iterable[LoggedTask],
    folder: Path,
    *,
    keep: float = 1.0,
    today: str | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.time,
) -> LearningReport:
    """Learn what words tell, strategies and the policy of runs from a log or from outcomes, and write them to a folder.

    Args:
        source: what `read_log` gave; or outcomes of a ledger, or logged tasks.
        folder: where the files go.
        keep: the share of today's quality that runs are to keep, as `kapelle savings` counts it.
        today: the agent to compare with, as for `kapelle savings`.
        seed: decides what is drawn.
        clock: what time it is, in seconds since the epoch: no outcome is of later than that.

    Raises:
        InvalidInput: there is nothing to learn from, `keep` is no share, nobody is called `today`, or the folder
            cannot be written.
    """
    from kapelle.estimates import LearnedWords
    from kapelle.evaluation import sample_tasks, settle_policy

    is_number = isinstance(keep, (int, float)) and not isinstance(keep, bool)
    if not (is_number and 0 < keep <= MAX_KEEP):
        raise InvalidInput(f"keep is {keep!r:.40}; give a share of today's quality, such as 0.98.")
    log, checks = _read(source)
    tasks = log.tasks
    known = sorted({agent for task in tasks for agent in task.outcomes})
    if today is not None and today not in known:  # a slip of the finger takes nobody's policy away
        raise InvalidInput(f"There is no agent {today!r:.60} to compare with. The log has {', '.join(known)}.")
    policy = settle_policy(log, share=keep, today=today, seed=seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{str(folder)!r} cannot be made: {error.strerror or error}. Name another folder."
        ) from error
    from kapelle.strategies import StrategyBook

    book = StrategyBook.from_tasks(tasks, checks=checks, seed=seed)
    words = LearnedWords.fit(sample_tasks(tasks, seed), learned_at=min(log.newest_at, clock()), seed=seed)
    (folder / _FORMER_FILE).unlink(missing_ok=True)
    if words is None:
        (folder / WORDS_FILE).unlink(missing_ok=True)
    else:
        words.save(folder / WORDS_FILE)
    book.save(folder / STRATEGIES_FILE)
    if isinstance(policy, str):
        (folder / POLICY_FILE).unlink(missing_ok=True)  # one of before would be of another log
    else:
        policy.save(folder / POLICY_FILE)
    return LearningReport(
        tasks=len(tasks),
        agents=len({agent for task in tasks for agent in task.outcomes}),
        types=len({task.task_type for task in tasks}),
        strategies=sum(not isinstance(one.strategy, Single) for kept in book.entries.values() for one in kept),
        notes=dict(book.notes),
        policy=f"There is no policy: {policy}"
        if isinstance(policy, str)
        else f"Runs choose as `kapelle savings` says for {100 * keep:.4g} % of today's quality.",
    )


def _read(source: Log | Iterable[Outcome] | Iterable[LoggedTask]) -> tuple[Log, Checks | None]:
    from kapelle.evaluation import Log, log_of_outcomes, log_of_tasks

    if isinstance(source, Log):
        return source, None
    rows = list(source)
    tasks = [row for row in rows if isinstance(row, LoggedTask)]
    if tasks:
        return log_of_tasks(tasks, source="The log"), None
    return log_of_outcomes([row for row in rows if isinstance(row, Outcome)], source="The ledger")


def find_unreadable(folder: Path) -> tuple[str, ...]:
    """Return what `load_learned` would leave out of what a folder holds, each with the reason in words."""
    from kapelle.estimates import LearnedWords
    from kapelle.evaluation import LearnedPolicy
    from kapelle.strategies import StrategyBook

    problems = [_tell_former(folder)] if (folder / _FORMER_FILE).exists() else []
    readers: tuple[tuple[str, Callable[[Path], object]], ...] = (
        (STRATEGIES_FILE, StrategyBook.load),
        (WORDS_FILE, LearnedWords.load),
        (POLICY_FILE, LearnedPolicy.load),
    )
    for name, read in readers:
        try:
            if (folder / name).exists():
                read(folder / name)
        except (InvalidInput, OSError) as error:
            problems.append(str(error))
    return tuple(problems)


def load_learned(place: Path | None) -> LearnedModels:
    """Return what a folder holds of it, or the policy that a file is; what is not there or cannot be read is left out.

    A file is what `kapelle savings --save` writes.

    Raises:
        NotFound: the name is that of such a file, and there is none.
    """
    if place is None:
        return LearnedModels()
    if place.suffix == Path(POLICY_FILE).suffix and not place.exists():
        raise NotFound(f"There is no policy {str(place)!r}. `kapelle savings LOG --save {place.name}` writes one.")
    if place.is_file():
        return LearnedModels(policy=RememberedPolicy(place))
    book: StrategyBook | None = None
    strategies, words, policy = place / STRATEGIES_FILE, place / WORDS_FILE, place / POLICY_FILE
    if (place / _FORMER_FILE).is_file():
        logger.warning("%s", _tell_former(place))
    if strategies.is_file():
        from kapelle.strategies import StrategyBook

        try:
            book = StrategyBook.load(strategies)
        except InvalidInput as error:
            logger.warning("Strategies are not taken into account: %s", error)
    return LearnedModels(
        words=RememberedWords(words) if words.is_file() else None,
        strategies=book,
        policy=RememberedPolicy(policy) if policy.is_file() else None,
    )


def _tell_former(folder: Path) -> str:
    return (
        f"{str(folder / _FORMER_FILE)!r} is of an earlier version and is not read. Learn again, which replaces it: "
        "kapelle learn."
    )


def learned_folder(ledger: Ledger) -> Path | None:
    """Return the folder beside a ledger for what was learned from it; None for a ledger that is no file."""
    path = getattr(ledger, "path", ":memory:")
    return None if path == ":memory:" or is_postgres_url(path) else Path(f"{path}.learned")
