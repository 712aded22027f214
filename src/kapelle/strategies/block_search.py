"""Searches the tasks that the same agents tried: proposes on one half of them, measures on the other. See search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from .hull import upper_hull
from .replay import Floats, Ints, LoggedTable
from .strategy import Cascade, Check, Single, Strategy, Vote, agents_of
from .strategy_estimate import StrategyEstimate as StrategyEstimate

WELL_FORMED = Check(kind="well_formed")
HALVINGS = 12
"""How often the log is halved; each half proposes once."""
MIN_PICKED = 0.4
"""Share of the halves that must pick a strategy."""
MAX_VOTERS = 8
"""Agents that are tried as cheap ones; the pairs and triples of 8 are 84."""
MAX_STRONG = 6
"""Agents that are tried as the last resort."""
PICKS = 150
"""Strategies that a half may pick. Like ones share the picks: with few of them, none of a family is picked often."""
EXTENDED = 8
"""Of them, those that are extended by one more agent, twice."""
MAX_STEPS = 4
"""Strategies within a strategy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A strategy that one block of tasks kept, and the share of halves that picked it."""

    estimate: StrategyEstimate
    picked: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hull:
    """The upper hull of single agents in (cost, quality), from the cheapest to the best."""

    members: Ints
    cost: Floats
    quality: Floats

    def beside(self, cost: Floats) -> tuple[Ints, Ints, Floats, Floats]:
        """Return for every cost the agents at both sides, the share of the dearer one, and what a dollar buys there."""
        last = len(self.members) - 1
        right = np.clip(np.searchsorted(self.cost, cost), 0, last)
        left = np.where((cost >= self.cost[last]) | (cost <= self.cost[0]), right, right - 1)
        width = self.cost[right] - self.cost[left]
        safe = np.where(width > 0, width, 1.0)
        share = np.where(width > 0, (cost - self.cost[left]) / safe, 1.0)
        slope = np.where(width > 0, (self.quality[right] - self.quality[left]) / safe, 0.0)
        return self.members[left], self.members[right], share, slope


@dataclass(kw_only=True, slots=True)
class _Tally:
    """What a strategy came to on halves that did not pick it, summed up."""

    picked: int = 0
    quality: float = 0.0
    cost: float = 0.0
    seconds: float = 0.0
    gain: float = 0.0


class BlockSearch:
    """The search among agents that all tried the same tasks."""

    def __init__(
        self,
        table: LoggedTable,
        block: tuple[tuple[str, ...], npt.NDArray[np.bool_]],
        singles: Sequence[StrategyEstimate],
        checks: tuple[Check, ...],
        confidence: float,
    ) -> None:
        self._agents, rows = block
        self._table = table.rows(rows)
        self._confidence = confidence
        self._size = len(self._table)
        columns = [table.agents.index(agent) for agent in self._agents]
        inside = set(self._agents)
        # Agents that did not try these tasks count with what they came to on theirs.
        outside = [one for one in singles if one.strategy.agent not in inside]  # type: ignore[union-attr]  # singles
        constant = np.ones((self._size, 1))
        self._single_quality = np.hstack(
            [self._table.quality[:, columns], constant * np.array([one.quality for one in outside])]
        )
        self._single_cost = np.hstack(
            [self._table.cost_usd[:, columns], constant * np.array([one.cost_usd for one in outside])]
        )
        kept = (self._table.forms[:, columns] >= -1).mean(axis=0)
        self._checks = tuple(check for check in checks if check in table.passed and (table.passed[check] >= 0).any())
        self._voters, self._strong = self._cast(kept)
        self._place: dict[Strategy, int] = {}
        self._quality: list[Floats] = []
        self._cost: list[Floats] = []
        self._seconds: list[Floats] = []

    @property
    def tried(self) -> int:
        return len(self._place)

    def run(self, random: np.random.Generator) -> list[Kept]:
        if len(self._voters) == 0:
            return []
        first = self._replayed(self._candidates())
        tallies: dict[int, _Tally] = {}
        for _ in range(HALVINGS):
            order = random.permutation(self._size)
            for part in (order[: self._size // 2], order[self._size // 2 :]):
                proposing = np.zeros(self._size)
                proposing[part] = 1.0
                self._propose(first, proposing, tallies)
        return [kept for place, tally in tallies.items() if (kept := self._kept(place, tally)) is not None]

    def _propose(self, first: Ints, proposing: Floats, tallies: dict[int, _Tally]) -> None:
        """Pick on the one half, and add to the tallies what the other half says."""
        pool = first
        for _ in range(2):
            best = self._best(pool, proposing)[:EXTENDED]
            strategies = list(self._place)
            further = [new for place in best for new in self._extensions(strategies[place])]
            pool = np.unique(np.concatenate([pool, self._replayed(further)]))
        picked = self._best(pool, proposing)[:PICKS]
        if not len(picked):
            return
        hull = self._hull(proposing)
        other = 1.0 - proposing
        cost = self._mean(self._cost, picked, proposing)
        gains = self._gains(picked, hull, cost, other)
        means = [self._mean(values, picked, other) for values in (self._quality, self._cost, self._seconds)]
        for place, gain, quality, dollars, seconds in zip(picked.tolist(), gains, *means, strict=True):
            tally = tallies.setdefault(place, _Tally())
            tally.picked += 1
            tally.gain += float(gain)
            tally.quality += float(quality)
            tally.cost += float(dollars)
            tally.seconds += float(seconds)

    def _kept(self, place: int, tally: _Tally) -> Kept | None:
        share = tally.picked / (2 * HALVINGS)
        if share < MIN_PICKED:
            return None
        everything = np.ones(self._size)
        left, right, mix, slope = self._hull(everything).beside(np.array([self._cost[place].mean()]))
        reference = (1 - mix[0]) * self._value(left[0], slope[0]) + mix[0] * self._value(right[0], slope[0])
        differences = self._quality[place] - slope[0] * self._cost[place] - reference
        gain = tally.gain / tally.picked
        # Two imagined tasks, one won and one lost outright, keep a handful of equal tasks from proving anything.
        spread = math.sqrt((float(differences.var()) * self._size + 2.0) / (self._size + 2)) / math.sqrt(self._size + 2)
        if gain * self._size / (self._size + 2) - NormalDist().inv_cdf(self._confidence) * spread <= 0:
            return None
        whole = estimate_on(
            list(self._place)[place], self._quality[place], self._cost[place], self._seconds[place], self._confidence
        )
        quality = min(1.0, max(0.0, tally.quality / tally.picked))
        return Kept(
            estimate=replace(
                whole,
                quality=quality,
                quality_lower=max(0.0, min(quality, whole.quality_lower + quality - whole.quality)),
                cost_usd=tally.cost / tally.picked,
                seconds=tally.seconds / tally.picked,
                gain=gain,
            ),
            picked=share,
        )

    # Candidates

    def _cast(self, kept: Floats) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return who may be asked first, and who last."""
        everything = np.ones(self._size)
        hull = self._hull(everything)
        cost, quality = self._single_cost.mean(axis=0), self._single_quality.mean(axis=0)
        span = float(hull.cost[-1] - hull.cost[0])
        price = float(hull.quality[-1] - hull.quality[0]) / span if span > 0 else 0.0
        count = len(self._agents)
        worth = (quality - price * cost)[:count]
        # Half the price of the best agent: two of them that agree still cost less than it does.
        cheap = cost[:count] <= 0.5 * hull.cost[-1]
        ranked = sorted(range(count), key=lambda agent: (not cheap[agent], -worth[agent]))
        voters = tuple(self._agents[agent] for agent in ranked if kept[agent] >= 0.9)[:MAX_VOTERS]
        members = set(hull.members.tolist())
        ranked = sorted(range(count), key=lambda agent: (agent not in members, -worth[agent]))
        return voters, tuple(self._agents[agent] for agent in ranked[:MAX_STRONG])

    def _candidates(self) -> Iterator[Strategy]:
        last = [Single(agent=agent) for agent in self._strong]
        for cheap, check, strong in itertools.product(self._voters, self._checks, last):
            if strong.agent not in (cheap, check.agent):
                yield Cascade(cheap=cheap, check=check, strong=strong)
        for pair in itertools.combinations(self._voters, 2):
            yield from (Vote(agents=pair, escalate_to=strong) for strong in last if strong.agent not in pair)
        for triple in itertools.combinations(self._voters, 3):
            yield Vote(agents=triple)
            for strong, least in itertools.product(last, (2, 3)):
                if strong.agent not in triple:
                    yield Vote(agents=triple, escalate_to=strong, min_agreement=least)

    def _extensions(self, strategy: Strategy) -> Iterator[Strategy]:
        """Yield strategies that differ by one more agent or one more step."""
        if count_steps(strategy) >= MAX_STEPS:
            return
        used = agents_of(strategy)
        free = [agent for agent in self._voters if agent not in used]
        match strategy:
            case Vote(agents=agents, escalate_to=further, min_agreement=least):
                if len(agents) == 3 and least == 2:  # the third one is asked only if two do not agree already
                    for late in agents:
                        yield Vote(agents=tuple(agent for agent in agents if agent != late), escalate_to=strategy)
                if isinstance(further, Single):
                    joined = (*agents, further.agent)
                    if further.agent in self._voters or self._answers_are_kept(further.agent):
                        yield replace(strategy, escalate_to=Vote(agents=joined, escalate_to=further))
                for agent in free:
                    yield replace(strategy, escalate_to=Vote(agents=(*agents, agent), escalate_to=further))
        for agent, check in itertools.product(free, self._checks):
            if (longer := _with_last_resort(strategy, agent, check)) is not None:
                yield longer

    def _answers_are_kept(self, agent: str) -> bool:
        return bool((self._table.forms[:, self._table.agents.index(agent)] >= -1).mean() >= 0.9)

    def _replayed(self, strategies: Iterable[Strategy]) -> Ints:
        """Replay those that are new; return the places of those that every task says something of."""
        places = []
        for strategy in strategies:
            place = self._place.get(strategy)
            if place is None:
                found = self._table.replay(strategy)
                place = self._place[strategy] = len(self._quality)
                # Of a task that does not say what would have happened, the worst is assumed.
                known = found.known
                self._quality.append(np.where(known, found.quality, 0.0))
                full = self._table.cost_usd[:, [self._table.agents.index(one) for one in agents_of(strategy)]]
                self._cost.append(np.where(known, found.cost_usd, full.sum(axis=1)))
                self._seconds.append(np.where(known, found.seconds, np.nanmean(found.seconds) if known.any() else 0.0))
            places.append(place)
        return np.array(places, dtype=np.int64)

    # Figures

    def _mean(self, values: Sequence[Floats], places: Ints, weights: Floats) -> Floats:
        if not len(places):
            return np.zeros(0)
        means: Floats = np.stack([values[place] for place in places]) @ weights / weights.sum()
        return means

    def _value(self, agent: int, slope: float) -> Floats:
        values: Floats = self._single_quality[:, agent] - slope * self._single_cost[:, agent]
        return values

    def _hull(self, weights: Floats) -> _Hull:
        share = weights / weights.sum()
        cost, quality = share @ self._single_cost, share @ self._single_quality
        members = upper_hull(cost.tolist(), quality.tolist())
        return _Hull(members=np.array(members), cost=cost[members], quality=quality[members])

    def _gains(self, places: Ints, hull: _Hull, cost: Floats, weights: Floats) -> Floats:
        """Return the gains over the hull on some tasks; where on the hull to look was decided by `cost`."""
        left, right, mix, slope = hull.beside(cost)
        share = weights / weights.sum()
        single_quality, single_cost = share @ self._single_quality, share @ self._single_cost
        reference = (1 - mix) * (single_quality[left] - slope * single_cost[left]) + mix * (
            single_quality[right] - slope * single_cost[right]
        )
        own = self._mean(self._quality, places, weights) - slope * self._mean(self._cost, places, weights)
        gains: Floats = own - reference
        return gains

    def _best(self, places: Ints, proposing: Floats) -> Ints:
        """Return the strategies with a gain that lie on the front of cost and gain, then the rest of them by gain."""
        cost = self._mean(self._cost, places, proposing)
        gains = self._gains(places, self._hull(proposing), cost, proposing)
        quality = self._mean(self._quality, places, proposing)
        front: list[int] = []
        rest: list[int] = []
        highest = -math.inf
        for position in np.lexsort((-quality, cost)).tolist():
            if gains[position] > 0:
                (front if quality[position] > highest else rest).append(position)
            highest = max(highest, float(quality[position]))
        front.sort(key=lambda position: -gains[position])
        rest.sort(key=lambda position: -gains[position])
        return places[np.array(front + rest, dtype=np.int64)] if front or rest else np.zeros(0, dtype=np.int64)


def count_steps(strategy: Strategy) -> int:
    match strategy:
        case Single():
            return 1
        case Cascade(strong=strong):
            return 1 + count_steps(strong)
        case Vote(escalate_to=further):
            return 1 + (count_steps(further) if further is not None else 0)


def _with_last_resort(strategy: Strategy, agent: str, check: Check) -> Strategy | None:
    """Return the strategy with a checked agent before its last resort; None where it has none."""
    match strategy:
        case Single(agent=last):
            return Cascade(cheap=agent, check=check, strong=strategy) if check.agent not in (agent, last) else None
        case Cascade(strong=strong):
            longer = _with_last_resort(strong, agent, check)
            return None if longer is None else replace(strategy, strong=longer)
        case Vote(escalate_to=further):
            longer = None if further is None else _with_last_resort(further, agent, check)
            return None if longer is None else replace(strategy, escalate_to=longer)


def estimate_on(
    strategy: Strategy, quality: Floats, cost: Floats, seconds: Floats, confidence: float
) -> StrategyEstimate:
    count = len(quality)
    mean = float(quality.mean())
    # The bound of Agresti and Coull (1998): as if one more task had succeeded and one had failed.
    middle = (mean * count + 1.0) / (count + 2)
    spread = float(((quality - middle) ** 2).sum()) + (1 - middle) ** 2 + middle**2
    error = math.sqrt(spread / (count + 2)) / math.sqrt(count + 2)
    lower = middle - NormalDist().inv_cdf(confidence) * error
    return StrategyEstimate(
        strategy=strategy,
        cost_usd=float(cost.mean()),
        seconds=float(seconds.mean()),
        quality=min(1.0, mean),
        quality_lower=max(0.0, min(mean, lower)),
        quality_sd=error,
        samples=count,
    )
