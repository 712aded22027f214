"""Replays strategies over logged tasks: what each would have answered there, at which cost, in which time.

`next_move` decides here as it does in a run, so what a strategy is said to cost is what it does. It is asked once for
every pattern - who agrees with whom, whose answer passes - and not once for every task: tasks with the same pattern go
the same way, and there are a few dozen patterns in a log of a million rows. What agents have in common, such as failing
together, needs no model: it is in the rows.

    quality   that of the answer that was taken
    cost      of everybody who was asked, and of the checks
    seconds   agents that are asked at once take as long as the slowest; one step comes after another

A task whose log does not say what would have happened (an agent that was not tried, an answer that was not kept) has
NaN in all three. Imports NumPy; load it lazily. Chooses nothing: see strategies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from kapelle.estimates import LoggedTask

from .canonical import canonical_answer
from .checks import Checks
from .strategy import (
    Accept,
    Answer,
    Ask,
    Cascade,
    Check,
    Examine,
    GiveUp,
    Single,
    Strategy,
    Vote,
    agents_of,
    next_move,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NO_ANSWER, NOT_KEPT, NOT_TRIED = -1, -2, -3
"""Instead of the number of a form: the agent failed; its answer is not in the log; it did not have this task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What a strategy made of every task, in their order; NaN where the log does not say."""

    quality: Floats
    cost_usd: Floats
    seconds: Floats

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """For which tasks the log says it."""
        return ~np.isnan(self.quality)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoggedTable:
    """Logged tasks as arrays of (task, agent), with the answers' forms numbered, so that a replay takes under 1 ms.

    Build it once and replay many strategies; `rows` takes a part of the tasks without reading any answer again.
    """

    agents: tuple[str, ...]
    quality: Floats
    cost_usd: Floats
    seconds: Floats
    forms: Ints
    """Equal numbers in a row are equal answers; see NO_ANSWER for the negative ones."""
    passed: Mapping[Check, Ints]
    """1 or 0; -1 where it is not known whether the answer passes the check."""
    check_cost_usd: Mapping[Check, Floats] = field(default_factory=dict)
    """Of checks that cost something."""
    check_seconds: Mapping[Check, Floats] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        tasks: Sequence[LoggedTask],
        *,
        checks: Checks | None = None,
        agents: Sequence[str] | None = None,
        examine: Sequence[Check] = (Check(kind="well_formed"),),
    ) -> Self:
        """Read the logged tasks.

        Args:
            tasks: In the order that all arrays keep.
            checks: With the user's validators, and the verdicts that are known.
            agents: By default all that any task knows, by name.
            examine: Checks whose verdicts strategies will ask for.
        """
        checks = checks or Checks()
        names = tuple(agents if agents is not None else sorted({name for task in tasks for name in task.outcomes}))
        shape = (len(tasks), len(names))
        quality, cost, seconds = (np.full(shape, np.nan) for _ in range(3))
        forms = np.full(shape, NOT_TRIED, dtype=np.int64)
        passed = {check: np.full(shape, -1, dtype=np.int64) for check in examine}
        prices = {check: np.zeros(shape) for check in examine}
        times = {check: np.zeros(shape) for check in examine}
        for row, task in enumerate(tasks):
            numbers: dict[str, int] = {}
            for column, name in enumerate(names):
                outcome = task.outcomes.get(name)
                if outcome is None:
                    continue
                place = row, column
                quality[place], cost[place], seconds[place] = outcome.quality, outcome.cost_usd, outcome.seconds
                if outcome.output is None:
                    forms[place] = NOT_KEPT
                    continue
                form = canonical_answer(outcome.output, task.context)
                forms[place] = NO_ANSWER if form is None else numbers.setdefault(form, len(numbers))
                for check in examine:
                    verdict = checks.examine_logged(check, task, name)
                    if verdict is not None:
                        passed[check][place] = verdict.passed
                        prices[check][place], times[check][place] = verdict.cost_usd, verdict.seconds
        return cls(
            agents=names,
            quality=quality,
            cost_usd=cost,
            seconds=seconds,
            forms=forms,
            passed=passed,
            check_cost_usd={check: price for check, price in prices.items() if price.any()},
            check_seconds={check: time for check, time in times.items() if time.any()},
        )

    def rows(self, index: Ints | npt.NDArray[np.bool_] | Sequence[int]) -> LoggedTable:
        """Return the table of some of the tasks."""
        return LoggedTable(
            agents=self.agents,
            quality=self.quality[index],
            cost_usd=self.cost_usd[index],
            seconds=self.seconds[index],
            forms=self.forms[index],
            passed={check: values[index] for check, values in self.passed.items()},
            check_cost_usd={check: values[index] for check, values in self.check_cost_usd.items()},
            check_seconds={check: values[index] for check, values in self.check_seconds.items()},
        )

    def __len__(self) -> int:
        return len(self.quality)

    def replay(self, strategy: Strategy) -> Replay:
        """Return what the strategy would have made of every task."""
        asked = tuple(agent for agent in agents_of(strategy) if agent in self.agents)
        columns = {agent: self.agents.index(agent) for agent in asked}
        compared = _compared(strategy)
        wanted = _examined(strategy)
        patterns, members = _group(self, columns, compared, wanted)
        out = Replay(
            quality=np.full(len(self), np.nan),
            cost_usd=np.full(len(self), np.nan),
            seconds=np.full(len(self), np.nan),
        )
        for pattern, rows in zip(patterns, members, strict=True):
            course = _follow(strategy, columns, compared, wanted, pattern)
            if course is None:
                continue
            out.quality[rows] = self.quality[rows, course.taken]
            cost, seconds = np.zeros(len(rows)), np.zeros(len(rows))
            for together in course.asked:
                block = (rows[:, None], np.array(together))
                cost += self.cost_usd[block].sum(axis=1)
                seconds += self.seconds[block].max(axis=1)
            for column, check in course.examined:
                if check in self.check_cost_usd:
                    cost += self.check_cost_usd[check][rows, column]
                if check in self.check_seconds:
                    seconds += self.check_seconds[check][rows, column]
            out.cost_usd[rows], out.seconds[rows] = cost, seconds
        return out


def replay(
    strategy: Strategy, tasks: Sequence[LoggedTask] | LoggedTable, checks: Checks | None = None
) -> tuple[Floats, Floats, Floats]:
    """Return (quality, cost in dollars, seconds) of a strategy for every task; NaN where the log does not say.

    A strategy is one more column beside the agents: whoever chooses per task may predict its quality and cost as those
    of any agent. For more than a few strategies build one table and give that instead of the tasks:

        table = LoggedTable.build(tasks, checks=checks)
        columns = [replay(estimate.strategy, table) for estimate in find_strategies(tasks)]
    """
    table = (
        tasks
        if isinstance(tasks, LoggedTable)
        else LoggedTable.build(tasks, checks=checks, examine=checks_of(strategy))
    )
    found = table.replay(strategy)
    return found.quality, found.cost_usd, found.seconds


def checks_of(strategy: Strategy) -> tuple[Check, ...]:
    """Return the checks that a strategy may make, each once."""
    return tuple(dict.fromkeys(check for _, check in _examined(strategy)))


@dataclass(frozen=True, slots=True)
class _Course:
    """How a strategy goes for one pattern, in columns of the table."""

    taken: int
    asked: list[list[int]]
    examined: list[tuple[int, Check]]


def _group(
    table: LoggedTable,
    columns: Mapping[str, int],
    compared: frozenset[str],
    examined: Sequence[tuple[str, Check]],
) -> tuple[list[tuple[int, ...]], list[Ints]]:
    """Return the patterns in the table, and the rows of each.

    A pattern holds for every agent: the place of the first compared agent with the same answer (its own place where
    nobody before it has it), or what is instead of an answer; then for every check its verdict.
    """
    parts = []
    seen: list[tuple[int, Ints]] = []
    for place, (agent, column) in enumerate(columns.items()):
        form = table.forms[:, column]
        first = np.where(form < 0, form, place)
        if agent in compared:
            for earlier, other in reversed(seen):
                first = np.where((form >= 0) & (form == other), earlier, first)
            seen.append((place, form))
        parts.append(first)
    for agent, check in examined:
        if agent in columns and check in table.passed:
            parts.append(table.passed[check][:, columns[agent]])
        else:
            parts.append(np.full(len(table), -1, dtype=np.int64))
    matrix = np.stack(parts, axis=1) if parts else np.zeros((len(table), 0), dtype=np.int64)
    # One number a pattern while it fits in 63 bits: sorting numbers is ten times as fast as sorting rows.
    size = matrix.shape[1] + 4
    if size ** matrix.shape[1] < 2**62:
        keys = (matrix + 3) @ (size ** np.arange(matrix.shape[1], dtype=np.int64))
        _, first_rows, inverse = np.unique(keys, return_index=True, return_inverse=True)
    else:
        _, first_rows, inverse = np.unique(matrix, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    counts = np.bincount(inverse.reshape(-1), minlength=len(first_rows))
    members = np.split(order, np.cumsum(counts)[:-1]) if len(first_rows) else []
    return [tuple(map(int, matrix[row])) for row in first_rows], list(members)


def _follow(
    strategy: Strategy,
    columns: Mapping[str, int],
    compared: frozenset[str],
    examined: Sequence[tuple[str, Check]],
    pattern: tuple[int, ...],
) -> _Course | None:
    """Follow `next_move` to its end; None where the log does not say what it wants to know."""
    states = dict(zip(columns, pattern, strict=False))
    verdicts = dict(zip(examined, pattern[len(columns) :], strict=True))
    answers: dict[str, Answer] = {}
    asked: list[list[int]] = []
    checked: list[tuple[int, Check]] = []
    while True:
        match next_move(strategy, answers):
            case Ask(agents=agents):
                for agent in agents:
                    state = states.get(agent, NOT_TRIED)
                    if state == NOT_TRIED or (state == NOT_KEPT and agent in compared):
                        return None
                    # An answer that was not kept can still be taken: the log knows what it was worth.
                    form = None if state == NO_ANSWER else f"form {state}" if state >= 0 else f"answer of {agent}"
                    answers[agent] = Answer(canonical=form)
                asked.append([columns[agent] for agent in agents])
            case Examine(agent=agent, check=check):
                verdict = verdicts.get((agent, check), -1)
                if verdict < 0:
                    return None
                before = answers[agent]
                answers[agent] = Answer(canonical=before.canonical, passed={**before.passed, str(check): bool(verdict)})
                checked.append((columns[agent], check))
            case Accept(agent=agent):
                return _Course(columns[agent], asked, checked)
            case GiveUp():
                # The log says what having no answer was worth there, which is nothing wherever it is sound.
                return _Course(asked[-1][0], asked, checked)


def _compared(strategy: Strategy) -> frozenset[str]:
    """Return the agents whose answers the strategy compares or checks, and that have to be in the log therefore."""
    match strategy:
        case Single():
            return frozenset()
        case Cascade(cheap=cheap, strong=strong):
            return frozenset((cheap,)) | _compared(strong)
        case Vote(agents=agents, escalate_to=further):
            return frozenset(agents) | (_compared(further) if further is not None else frozenset())


def _examined(strategy: Strategy) -> tuple[tuple[str, Check], ...]:
    match strategy:
        case Single():
            return ()
        case Cascade(cheap=cheap, check=check, strong=strong):
            return tuple(dict.fromkeys(((cheap, check), *_examined(strong))))
        case Vote(escalate_to=further):
            return _examined(further) if further is not None else ()
