"""Finds the strategies that pay, and says what each is expected to cost, take and be worth: from logged tasks.

A strategy pays where it beats every mix of single agents that costs the same: send some tasks to the one agent, the
rest to the other, blindly, and any point on the line between them can be had. So the gain of a strategy is how far it
lies above the upper hull of the singles, in quality, measured task by task against the two agents beside it.

Of two thousand candidates the best on any log is partly lucky (the winner's curse). So the log is halved again and
again; candidates are proposed, extended and picked on one half, and measured on the other, which had no say. A strategy
is kept if it was picked often (stability selection: Meinshausen and Buehlmann, 2010), if its mean gain on halves that
did not pick it is positive with confidence, and if no agent and no other kept strategy is better and cheaper. Its
figures are the means over those other halves.

Everything rests on tasks that several agents tried. Where there are none nothing is found, and `Search.note` says so.
Tasks that only became pairs because the first answer failed are harder than most; a strategy then looks worse than it
is, never better. Chooses nothing per task: see policy. Imports NumPy; load it lazily.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedTask

from .block_search import WELL_FORMED, BlockSearch, Kept, count_steps, estimate_on
from .checks import Checks
from .replay import NOT_TRIED, LoggedTable, checks_of
from .strategy import Check, Single, Strategy, agents_of
from .strategy_estimate import CONFIDENCE as CONFIDENCE
from .strategy_estimate import StrategyEstimate as StrategyEstimate

MIN_TASKS = 30
"""Tasks with the same agents below which nothing is proposed: a gain of 10 points has a standard error of 8 there."""
MAX_BLOCKS = 6
"""Groups of agents that a partial log is searched by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What a search found, and how it went."""

    kept: tuple[StrategyEstimate, ...]
    """Those that pay, cheapest first."""
    singles: tuple[StrategyEstimate, ...]
    """Every agent alone, on the tasks that it tried."""
    tried: int
    """Strategies that were replayed."""
    note: str
    """What came of it, in a sentence; where nothing was found, why."""


def judge_strategy(
    strategy: Strategy,
    tasks: Sequence[LoggedTask] | LoggedTable,
    checks: Checks | None = None,
    *,
    confidence: float = CONFIDENCE,
) -> StrategyEstimate:
    """Return what a strategy came to on logged tasks: those that all its agents tried and whose log says enough.

    A strategy that was chosen because of these very tasks will do worse on others: see find_strategies.

    Raises:
        InvalidInput: no task says what it would have come to.
    """
    if isinstance(tasks, LoggedTable):
        table = tasks
    else:
        table = LoggedTable.build(tasks, checks=checks, examine=checks_of(strategy))
    found = table.replay(strategy)
    rows = found.known & _tried_by_all(table, agents_of(strategy))
    if not rows.any():
        raise InvalidInput(
            f"No logged task says what {strategy} comes to: it takes tasks that all of its agents tried, with their "
            "answers. Log some, or estimate it from its parts."
        )
    return estimate_on(strategy, found.quality[rows], found.cost_usd[rows], found.seconds[rows], confidence)


def find_strategies(
    tasks: Sequence[LoggedTask] | LoggedTable,
    agents: Sequence[str] | None = None,
    *,
    checks: Checks | None = None,
    examine: Sequence[Check] = (WELL_FORMED,),
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> list[StrategyEstimate]:
    """Return the strategies that pay, cheapest first; see search_strategies, which also says why there are none."""
    search = search_strategies(tasks, agents, checks=checks, examine=examine, seed=seed, confidence=confidence)
    return list(search.kept)


def search_strategies(
    tasks: Sequence[LoggedTask] | LoggedTable,
    agents: Sequence[str] | None = None,
    *,
    checks: Checks | None = None,
    examine: Sequence[Check] = (WELL_FORMED,),
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Search:
    """Search the strategies that pay on tasks of one kind.

    Args:
        tasks: The log. Give a LoggedTable where one was built already.
        agents: Who may be used; by default all that any task knows.
        checks: With the user's validators, and what is known of checks that cannot be repeated over a log.
        examine: The checks that cascades may make.
        seed: For the halving.
        confidence: One-sided, that a kept strategy gains at all.
    """
    if not 0.5 <= confidence < 1:
        raise InvalidInput(f"confidence={confidence!r} must lie from 0.5 to below 1.")
    table = tasks if isinstance(tasks, LoggedTable) else LoggedTable.build(tasks, checks=checks, examine=examine)
    names = [name for name in table.agents if agents is None or name in set(agents)]
    singles = tuple(
        judge_strategy(Single(agent=name), table, confidence=confidence)
        for name in names
        if (table.forms[:, table.agents.index(name)] != NOT_TRIED).any()
    )
    kept: list[Kept] = []
    tried = pairs = 0
    for block in _blocks(table, names):
        pairs += 1
        search = BlockSearch(table, block, singles, tuple(examine), confidence)
        kept += search.run(np.random.default_rng(seed))
        tried += search.tried
    best = tuple(_undominated(kept, singles))
    if not pairs:
        note = (
            f"No {MIN_TASKS} tasks were tried by the same two agents or more, so no strategy can be judged. Votes and "
            "exploration give such tasks."
        )
    elif not tried:
        note = "The log keeps no answers, so there is nothing to compare or to check. Log the agents' outputs."
    elif not best:
        note = f"Of {tried:,} strategies none beats single agents with confidence."
    else:
        note = f"Of {tried:,} strategies {len(best)} pay{'s' if len(best) == 1 else ''}."
    return Search(kept=best, singles=singles, tried=tried, note=note)


def _tried_by_all(table: LoggedTable, agents: Sequence[str]) -> npt.NDArray[np.bool_]:
    tried = np.ones(len(table), dtype=np.bool_)
    for agent in agents:
        tried &= table.forms[:, table.agents.index(agent)] != NOT_TRIED if agent in table.agents else False
    return tried


def _blocks(table: LoggedTable, agents: Sequence[str]) -> list[tuple[tuple[str, ...], npt.NDArray[np.bool_]]]:
    """Return groups of agents with the tasks that all of them tried, the most informative first."""
    columns = [table.agents.index(agent) for agent in agents]
    tried = table.forms[:, columns] != NOT_TRIED
    groups = Counter(map(bytes, np.unpackbits(np.packbits(tried, axis=1), axis=1)[:, : len(columns)]))
    found: list[tuple[int, tuple[str, ...], npt.NDArray[np.bool_]]] = []
    for key, _ in groups.most_common(20 * MAX_BLOCKS):
        members = np.frombuffer(key, dtype=np.uint8).astype(np.bool_)
        if members.sum() < 2:
            continue
        rows = tried[:, members].all(axis=1)
        if rows.sum() >= MIN_TASKS:
            names = tuple(agent for agent, member in zip(agents, members, strict=True) if member)
            found.append((int(rows.sum()) * len(names), names, rows))
    found.sort(key=lambda block: -block[0])
    return [(names, rows) for _, names, rows in found[:MAX_BLOCKS]]


def _undominated(kept: Sequence[Kept], singles: Sequence[StrategyEstimate]) -> Iterator[StrategyEstimate]:
    """Yield those that no agent and no other kept strategy beats in cost and quality, cheapest first."""
    best: dict[Strategy, StrategyEstimate] = {}
    for one in kept:
        before = best.get(one.estimate.strategy)
        if before is None or one.estimate.samples > before.samples:
            best[one.estimate.strategy] = one.estimate
    highest = -math.inf
    for estimate in sorted(
        (*best.values(), *singles), key=lambda one: (one.cost_usd, -one.quality, count_steps(one.strategy))
    ):
        if estimate.quality > highest:
            highest = estimate.quality
            if not isinstance(estimate.strategy, Single):
                yield estimate
