"""Estimates a strategy from its parts, where no task was tried by all of them: each agent's own record is all there is.

Agents fail together, because hard tasks are hard for all. One hidden difficulty explains it (the one-factor model of
credit portfolios; Vasicek, 2002): given the difficulty, agents are right or wrong each for itself,

    P(agent i is right | u) = Phi((Phi^-1(p_i) + sqrt(r) u) / sqrt(1 - r))        u normal; r the correlation

Two wrong answers are the same one with the chance `same_mistake`. A check passes right and wrong answers at its own two
rates. From these the chance of every course of `next_move` follows, and so cost, time and quality.

`measure_dependence` takes r and the rest from whatever pairs a log has. Without any, the assumptions are the worst of a
range: an estimate must not promise what nobody saw. A replay of real pairs is better wherever there is one: see
strategies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from kapelle.errors import InvalidInput

from .strategy import Accept, Answer, Ask, Cascade, Check, Examine, GiveUp, Single, Strategy, Vote, agents_of, next_move
from .strategy_estimate import StrategyEstimate

if TYPE_CHECKING:
    from .replay import LoggedTable

ASSUMED_CORRELATIONS = (0.2, 0.5, 0.8)
"""Where no pair was seen. On recorded function calls (16 models, 695 tasks) the fitted correlation is 0.61."""
ASSUMED_SAME_MISTAKE = 0.6
"""Where no pair was seen. There, two wrong answers were the same in 46 % of cases; in 58 % for the closest tenth."""
MIN_PAIRS = 30
MAX_PARTS = 8
"""Agents of a strategy; the courses of 8 are 256 times those of their checks."""
_NODES = tuple(NormalDist().inv_cdf((place + 0.5) / 40) for place in range(40))
"""Forty difficulties, each as likely as the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckRates:
    """How often a check passes an answer. Without evidence it passes all, and so improves nothing."""

    right: float = 1.0
    wrong: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependence:
    """What agents have in common, and what checks are worth."""

    correlation: float
    """r above, 0..1; of hidden difficulties, so higher than that of successes."""
    same_mistake: float
    """Chance that two wrong answers are the same."""
    checks: Mapping[tuple[str, Check], CheckRates]
    """By agent whose answers are checked, and check."""
    pairs: int
    """Pairs of outcomes behind it."""


def measure_dependence(table: LoggedTable) -> Dependence | None:
    """Return what the pairs of a log say; None where there are fewer than 30."""
    import numpy as np

    right = table.quality >= 0.5
    tried = ~np.isnan(table.quality)
    kept = table.forms >= 0
    pairs = mistakes = same = 0
    seen: list[tuple[float, float, float, int]] = []
    for i, j in itertools.combinations(range(len(table.agents)), 2):
        rows = tried[:, i] & tried[:, j]
        count = int(rows.sum())
        if count == 0:
            continue
        pairs += count
        one, other = right[rows, i], right[rows, j]
        seen.append((float(one.mean()), float(other.mean()), float((one & other).mean()), count))
        wrong = rows & ~right[:, i] & ~right[:, j] & kept[:, i] & kept[:, j]
        mistakes += int(wrong.sum())
        same += int((table.forms[wrong, i] == table.forms[wrong, j]).sum())
    if pairs < MIN_PAIRS:
        return None
    # Like a coin: one more pair of each kind keeps one lucky pair from settling the matter.
    chance = (same + 2 * ASSUMED_SAME_MISTAKE) / (mistakes + 2)
    return Dependence(
        correlation=_fit_correlation(seen), same_mistake=chance, checks=_measure_checks(table), pairs=pairs
    )


def estimate_from_parts(
    strategy: Strategy, parts: Mapping[str, StrategyEstimate], dependence: Dependence | None = None
) -> StrategyEstimate:
    """Return what a strategy would come to by the records of its agents.

    Agents that are asked at once take as long as the slowest on average, which is a little less than the average of the
    slowest. Without a measured dependence the figures are those of the assumption under which it does worst.

    Args:
        strategy: Of at most eight agents.
        parts: Every agent alone, by its name.
        dependence: As measured on tasks like these.

    Raises:
        InvalidInput: an agent has no record, or there are too many.
    """
    agents = agents_of(strategy)
    missing = [agent for agent in agents if agent not in parts]
    if missing or len(agents) > MAX_PARTS:
        raise InvalidInput(
            f"{strategy} cannot be estimated from its parts: "
            + (f"{', '.join(missing)} has no record." if missing else f"it has more than {MAX_PARTS} agents.")
        )
    assumed = [dependence] if dependence is not None else [_assume(correlation) for correlation in ASSUMED_CORRELATIONS]
    records = [parts[agent] for agent in agents]
    expected = [
        _expect(strategy, agents, parts, [part.quality for part in records], assumption) for assumption in assumed
    ]
    lower = min(
        _expect(strategy, agents, parts, [part.quality_lower for part in records], assumption)[0]
        for assumption in assumed
    )
    quality, cost, seconds = min(expected, key=lambda one: (one[0], -one[1]))
    return StrategyEstimate(
        strategy=strategy,
        cost_usd=cost,
        seconds=seconds,
        quality=quality,
        quality_lower=min(quality, lower),
        # All parts at their bounds at once is further out than any bound of their sum.
        quality_sd=max(max(part.quality_sd for part in records), (quality - lower) / NormalDist().inv_cdf(0.95)),
        samples=min(part.samples for part in records),
        source="parts",
    )


def _assume(correlation: float) -> Dependence:
    return Dependence(correlation=correlation, same_mistake=ASSUMED_SAME_MISTAKE, checks={}, pairs=0)


def _expect(
    strategy: Strategy,
    agents: Sequence[str],
    parts: Mapping[str, StrategyEstimate],
    chances: Sequence[float],
    dependence: Dependence,
) -> tuple[float, float, float]:
    """Return quality, cost and seconds, over all courses that the strategy may take."""
    checked = _checked(strategy)
    quality = cost = seconds = 0.0
    for states in itertools.product((True, False), repeat=len(agents)):
        weight = _joint(chances, states, dependence.correlation)
        right = dict(zip(agents, states, strict=True))
        for alike, likely in ((True, dependence.same_mistake), (False, 1 - dependence.same_mistake)):
            for verdicts in itertools.product((True, False), repeat=len(checked)):
                share = weight * likely
                for (agent, check), passed in zip(checked, verdicts, strict=True):
                    rates = dependence.checks.get((agent, check), CheckRates())
                    rate = rates.right if right[agent] else rates.wrong
                    share *= rate if passed else 1 - rate
                if share > 0:
                    worth, dollars, time = _follow(
                        strategy, parts, right, alike, dict(zip(checked, verdicts, strict=True))
                    )
                    quality, cost, seconds = quality + share * worth, cost + share * dollars, seconds + share * time
    return min(1.0, quality), cost, seconds


def _follow(
    strategy: Strategy,
    parts: Mapping[str, StrategyEstimate],
    right: Mapping[str, bool],
    alike: bool,
    verdicts: Mapping[tuple[str, Check], bool],
) -> tuple[float, float, float]:
    answers: dict[str, Answer] = {}
    cost = seconds = 0.0
    while True:
        match next_move(strategy, answers):
            case Ask(agents=asked):
                for agent in asked:
                    form = "right" if right[agent] else "wrong" if alike else f"wrong, by {agent}"
                    answers[agent] = Answer(canonical=form)
                cost += math.fsum(parts[agent].cost_usd for agent in asked)
                seconds += max(parts[agent].seconds for agent in asked)
            case Examine(agent=agent, check=check):
                passed = {**answers[agent].passed, str(check): verdicts[agent, check]}
                answers[agent] = Answer(canonical=answers[agent].canonical, passed=passed)
                if check.agent is not None:
                    cost += parts[check.agent].cost_usd
                    seconds += parts[check.agent].seconds
            case Accept(agent=agent):
                return float(right[agent]), cost, seconds
            case GiveUp():
                return 0.0, cost, seconds


def _joint(chances: Sequence[float], states: Sequence[bool], correlation: float) -> float:
    """Return the chance that agents are right and wrong just so."""
    normal = NormalDist()
    places = [normal.inv_cdf(min(max(chance, 1e-9), 1 - 1e-9)) for chance in chances]
    # A correlation of one would divide by zero; 0.99 is as good as one.
    shared = min(max(correlation, 0.0), 0.99)
    total = 0.0
    for node in _NODES:
        product = 1.0
        for place, right in zip(places, states, strict=True):
            given = normal.cdf((place + math.sqrt(shared) * node) / math.sqrt(1 - shared))
            product *= given if right else 1 - given
        total += product
    return total / len(_NODES)


def _fit_correlation(seen: Sequence[tuple[float, float, float, int]]) -> float:
    """Return the correlation with which as many pairs are right together as were seen.

    Args:
        seen: For pairs of agents: the shares of tasks that the one, the other and both had right, and how many tasks.
    """
    # A few pairs of agents say as much as all of them.
    largest = sorted(seen, key=lambda pair: -pair[-1])[:100]
    low, high = 0.0, 0.99
    for _ in range(12):  # the chance of being right together grows with the correlation, so halving the range finds it
        middle = (low + high) / 2
        surplus = sum(count * (_joint((p, q), (True, True), middle) - both) for p, q, both, count in largest)
        low, high = (middle, high) if surplus < 0 else (low, middle)
    return (low + high) / 2


def _measure_checks(table: LoggedTable) -> dict[tuple[str, Check], CheckRates]:
    rates = {}
    for check, passed in table.passed.items():
        for column, agent in enumerate(table.agents):
            known = passed[:, column] >= 0
            if not known.any():
                continue
            right = table.quality[:, column] >= 0.5
            # Counted as if one more right answer had been refused and one more wrong one had passed.
            through, refused = passed[:, column] == 1, passed[:, column] == 0
            rates[agent, check] = CheckRates(
                right=float((known & right & through).sum() / ((known & right).sum() + 1)),
                wrong=float(1 - (known & ~right & refused).sum() / ((known & ~right).sum() + 1)),
            )
    return rates


def _checked(strategy: Strategy) -> tuple[tuple[str, Check], ...]:
    match strategy:
        case Single():
            return ()
        case Cascade(cheap=cheap, check=check, strong=strong):
            return tuple(dict.fromkeys(((cheap, check), *_checked(strong))))
        case Vote(escalate_to=further):
            return _checked(further) if further is not None else ()
