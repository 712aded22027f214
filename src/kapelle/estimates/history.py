"""What one agent's attempts at one type of task used and came to: totals, the last WINDOW rows, and what has changed.

2 to 6 KB for a pair of agent and type, however many outcomes: the rows are packed floats. Estimates nothing.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from .drift import MIN_KNOWN, AmountReference, Drift, ShiftDetector, What, reference

RECENT = 10
"""Outcomes that count as recent (documented)."""
WINDOW = 64
"""Outcomes from which costs and times are told: 3 of them lie beyond either end of a 90 % interval."""
MEMORY = 200.0
"""Outcomes that the share of successes remembers: each counts 1 - 1/200 of the one after it."""
COMPLETION_DAYS = 7.0
"""Days after which an outcome counts half as evidence of whether the agent answers at all. What breaks an agent (a bug,
a service, a key) is mended within days, and nothing but another try tells that it was."""
CORRECTNESS_DAYS = 30.0
"""Days after which an outcome counts half as evidence of how right the agent is."""
CARRIED = 2.0
"""Outcomes that all that was before a change of the agent still counts for."""
_HALF_LIFE = 32
_WEIGHTS = tuple(0.5 ** (age / _HALF_LIFE) for age in range(WINDOW))
_COST, _SECONDS, _TOKENS, _SUCCESS, _COMPLEXITY, _UNCHECKED, _FIELDS = 0, 1, 2, 3, 4, 5, 6
_DAY_S = 86_400.0
_KEPT = 1.0 - 1.0 / MEMORY
_LOG_KEPT = math.log(_KEPT)
_LEAST_KEPT = 1e-300
_REFRESH, _RATE_REFRESH = 16, 8

Effect = list[float]
"""See `posterior.Effects`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """What one attempt used, and whether it succeeded."""

    cost_usd: float
    seconds: float
    tokens: int
    success: bool
    complexity: float = 1.0
    is_checked: bool = True
    """Whether it failed, or something measured how right its answer was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskProfile:
    """What one agent's attempts at one type of task used. Means are as measured, whatever the complexity."""

    agent_name: str
    task_type: str
    total_executions: int = 0
    successes: int = 0
    total_cost_usd: float = 0.0
    total_seconds: float = 0.0
    total_tokens: int = 0
    recent: tuple[Execution, ...] = ()
    """The last ten, newest last."""
    unchecked: int = 0
    """Answers of which nothing measured how right they were."""

    @property
    def success_rate(self) -> float:
        """Share of the attempts that succeeded; 0 where there are none."""
        return self._mean(self.successes)

    @property
    def avg_cost_usd(self) -> float:
        """Dollars per attempt, failed ones included."""
        return self._mean(self.total_cost_usd)

    @property
    def avg_seconds(self) -> float:
        """Seconds per attempt."""
        return self._mean(self.total_seconds)

    @property
    def cost_per_success(self) -> float:
        """Dollars spent per success, failures paid for; infinite while nothing has succeeded."""
        return self.total_cost_usd / self.successes if self.successes else math.inf

    def mean_of_last(self, measure: Callable[[Execution], float]) -> float:
        """Return the mean of a figure over the last ten attempts, of which there is one at least."""
        return math.fsum(measure(seen) for seen in self.recent) / len(self.recent)

    def _mean(self, total: float) -> float:
        return total / self.total_executions if self.total_executions else 0.0


class Tokens:
    """Mean tokens per unit of complexity: all input, the cached part of it, output."""

    __slots__ = ("cached", "count", "input", "output")

    def __init__(self) -> None:
        self.count = 0
        self.input = self.cached = self.output = 0.0

    def add(self, tokens: tuple[float, float, float], complexity: float) -> None:
        """Count those of one attempt; beyond WINDOW attempts the older count less."""
        self.count += 1
        step = 1.0 / (self.count if self.count < WINDOW else WINDOW)
        self.input += (tokens[0] / complexity - self.input) * step
        self.cached += (tokens[1] / complexity - self.cached) * step
        self.output += (tokens[2] / complexity - self.output) * step


class PairAmounts:
    """Costs, or seconds, of one pair: how many of the last rows count, and whether they have changed."""

    __slots__ = ("detector", "effect", "kept", "reference")

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        self.kept = 0
        self.detector = ShiftDetector()
        self.reference: AmountReference | None = None


class Share:
    """A share of successes: the older an outcome the less it counts, and none that is older than a change.

    Args:
        half_life_s: Seconds after which an outcome counts half, where it is known when it was.
    """

    __slots__ = ("_downs", "_half_life_s", "_seen", "_ups", "at", "changes", "count", "detector", "faded", "known",
                 "right", "total")  # fmt: skip

    def __init__(self, half_life_s: float) -> None:
        self._half_life_s = half_life_s
        self.count = 0.0
        """Outcomes, discounted."""
        self.total = 0.0
        """What they sum up to, discounted."""
        self.at = 0.0
        """When the last one ended; 0 where that is not known."""
        self.known = 0
        """Outcomes since the last change, or of all time where there was none, however old."""
        self.right = 0.0
        """What these sum up to."""
        self.faded = 0.0
        """The logarithm of what the first of them counts by now. Another one counts e to what this fell since then."""
        self.changes = 0
        """That were noticed. What came before the last one counts next to nothing."""
        self.detector = ShiftDetector()
        self._seen = 0
        self._ups = self._downs = 0.0

    def add(self, value: float, at: float) -> tuple[float, float] | None:
        """Count an outcome, 0..1; return the shares before and after the change that it made evident, if any."""
        self._seen += 1
        self.known += 1
        self.right += value
        kept = self.kept_until(at)
        count, total = self.count * kept, self.total * kept
        if at > self.at:
            self.at = at
        self.faded += math.log(max(kept, _LEAST_KEPT)) + _LOG_KEPT
        if count >= MIN_KNOWN and (not self._ups or not self._seen % _RATE_REFRESH):
            self._ups, self._downs = reference(total / count, count)
        found = self.detector
        if count >= MIN_KNOWN and found.watch(value, self._ups, self._downs, at):
            before, carried = total / count, min(CARRIED, count)
            self.count = carried + found.outcomes
            self.total = carried * before + found.mean * found.outcomes
            self.known, self.right = found.outcomes, found.mean * found.outcomes
            self._ups = 0.0
            self.changes += 1
            return before, found.mean
        self.count = count * _KEPT + 1.0
        self.total = total * _KEPT + value
        return None

    def seen_at(self, now: float) -> tuple[float, float]:
        """Return the outcomes that count at a time, and what they sum up to; 0 is no matter when."""
        kept = self.kept_until(now)
        return self.count * kept, self.total * kept

    def kept_until(self, at: float) -> float:
        """Return what is left of each by a time, as a part of what it counts now."""
        passed = at - self.at
        return 0.5 ** (passed / self._half_life_s) if self.at > 0.0 and passed > 0.0 else 1.0


class PairHistory:
    """What one agent's attempts at one type of task used and came to."""

    __slots__ = ("_rows", "agent", "completion", "correctness", "cost", "cost_usd", "drift", "executions", "judged",
                 "seconds", "successes", "task_type", "tokens", "total_seconds", "total_tokens",
                 "tried", "unchecked", "used")  # fmt: skip

    def __init__(self, agent: str, task_type: str, *, cost: PairAmounts, seconds: PairAmounts) -> None:
        self.agent = agent
        self.task_type = task_type
        self.executions = 0
        self.successes = 0
        self.cost_usd = 0.0
        self.total_seconds = 0.0
        self.total_tokens = 0
        self.tried = 0
        """Attempts that say whether the agent answers at all."""
        self.judged = 0
        """Answers of which something measured how right they were."""
        self.unchecked = 0
        self.completion = Share(COMPLETION_DAYS * _DAY_S)
        """Of attempts that gave an answer."""
        self.correctness = Share(CORRECTNESS_DAYS * _DAY_S)
        """Of answers: how right they were, as far as something measured it."""
        self.used = 0
        """The number, among all executions, of the one that came last."""
        self.cost = cost
        self.seconds = seconds
        self.tokens = Tokens()
        self.drift: dict[What, tuple[Drift, int]] = {}
        """The last change of each kind, with the number of executions when it was noticed."""
        self._rows = array("d")

    def add(
        self,
        value: float | None,
        success: bool,
        cost_usd: float,
        seconds: float,
        tokens: tuple[float, float, float],
        complexity: float,
        at: float,
        completed: float | None = 1.0,
    ) -> list[Drift] | None:
        """Count one attempt, and return the changes that it made evident, if any.

        `value` is how right the answer was, and None where nothing measured it; `completed` is 1 for an answer, 0 for
        none, and None where that says nothing of the agent.
        """
        self.executions += 1
        self.successes += success
        self.cost_usd += cost_usd
        self.total_seconds += seconds
        total = tokens[0] + tokens[2]
        self.total_tokens += int(total)
        self.tokens.add(tokens, complexity)
        rows = self._rows
        is_unchecked = success and value is None
        self.unchecked += is_unchecked
        rows.extend((cost_usd, seconds, total, success, complexity, is_unchecked))
        if len(rows) >= 2 * WINDOW * _FIELDS:
            del rows[: -WINDOW * _FIELDS]
        changes: list[Drift] | None = None
        if completed is not None:
            self.tried += 1
            if shift := self.completion.add(completed, at):
                changes = [self._note("completion", *shift, self.completion.detector)]
        if value is not None:
            self.judged += 1
            if shift := self.correctness.add(value, at):
                changes = [*(changes or ()), self._note("success", *shift, self.correctness.detector)]
        if change := self._watch("cost", self.cost, cost_usd / complexity, at):
            changes = [*(changes or ()), change]
        if change := self._watch("seconds", self.seconds, seconds / complexity, at):
            changes = [*(changes or ()), change]
        return changes

    def _watch(self, what: What, amounts: PairAmounts, amount: float, at: float) -> Drift | None:
        amounts.kept = min(amounts.kept + 1, WINDOW)
        known = amounts.reference
        change = None
        if known is not None and amounts.detector.watch(known.place(amount), known.ups, known.downs, at):
            amounts.kept = min(amounts.detector.outcomes, WINDOW)
            amounts.reference = None
            after = sorted(self.amounts(what, per_unit=True))
            change = self._note(what, known.median, after[len(after) // 2], amounts.detector)
        if amounts.kept >= MIN_KNOWN and (amounts.reference is None or not self.executions % _REFRESH):
            amounts.reference = AmountReference(self.amounts(what, per_unit=True))
        return change

    def _note(self, what: What, before: float, after: float, found: ShiftDetector) -> Drift:
        change = Drift(
            agent=self.agent,
            task_type=self.task_type,
            what=what,
            before=before,
            after=after,
            outcomes=found.outcomes,
            since=found.since,
        )
        self.drift[what] = (change, self.executions)
        return change

    def effect(self, what: What) -> Effect:
        """Return what is peculiar to this pair in costs or in seconds."""
        return self.cost.effect if what == "cost" else self.seconds.effect

    def amounts(self, what: What, *, per_unit: bool) -> list[float]:
        """Return the costs or the seconds that count, oldest first; per unit of complexity, or as measured."""
        field, kept = (_COST, self.cost.kept) if what == "cost" else (_SECONDS, self.seconds.kept)
        rows = self._rows
        start = len(rows) - kept * _FIELDS
        values = rows[start + field :: _FIELDS]
        if not per_unit:
            return list(values)
        return [value / unit for value, unit in zip(values, rows[start + _COMPLEXITY :: _FIELDS], strict=True)]

    def profile(self) -> TaskProfile:
        """Return the totals and the last ten."""
        rows = self._rows
        last = [rows[at : at + _FIELDS] for at in range(max(len(rows) - RECENT * _FIELDS, 0), len(rows), _FIELDS)]
        return TaskProfile(
            agent_name=self.agent,
            task_type=self.task_type,
            total_executions=self.executions,
            successes=self.successes,
            total_cost_usd=self.cost_usd,
            total_seconds=self.total_seconds,
            total_tokens=self.total_tokens,
            unchecked=self.unchecked,
            recent=tuple(
                Execution(
                    cost_usd=row[_COST],
                    seconds=row[_SECONDS],
                    tokens=int(row[_TOKENS]),
                    success=bool(row[_SUCCESS]),
                    complexity=row[_COMPLEXITY],
                    is_checked=not row[_UNCHECKED],
                )
                for row in last
            ),
        )


def recent_mean(values: list[float]) -> float:
    """Return the mean, oldest first, in which a value counts half as much as the one 32 after it."""
    weights = _WEIGHTS[len(values) - 1 :: -1]
    return math.fsum(map(float.__mul__, values, weights)) / math.fsum(weights)
