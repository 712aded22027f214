"""What work costs, how long it takes and how often it succeeds, per agent and task type, learned from outcomes.

Theory. The parts have their files: distributions in `posterior`, what a pair of agent and type has done in `history`,
changes in `drift`, how right agents are in `correctness`, what they take in `amounts`; `experience` puts them together,
`estimator` and `estimate` make estimates of that, and `rows` reads the log.

    success   completion times correctness, each a Beta distribution; the older an outcome the less it counts (the
              effective window is 200 outcomes; by age it counts half after a week, or a month; none are older than a
              change that was noticed).
              completion: whether there is an answer, learned from every outcome that says something of the agent (see
              `ledger.BLAMELESS`); certain until something fails.
              correctness: whether the answer is right, learned from nothing but what something measured: a check, a
              person, agreement, the agent's own `quality`. One model believes it of all agents at all types (see
              success): what is declared, moved by how right declarations were here, by what the agent does elsewhere
              and by what it does at the type. An agent that nobody checks never rises above what it declares.
              Outcomes of another version of the agent count for neither.
    cost,     A mean of the last 64 outcomes, the older the less, pulled towards what is declared (worth PRIOR_WEIGHT
    seconds   outcomes), or else towards what agent and type are like elsewhere; not where outcomes, here or elsewhere,
              contradict that (see amounts). An undeclared one is a guess and no prior: the first outcome replaces it.
              Intervals hold 90 % of single outcomes.
    tokens    Means of input, cached and output tokens; an untried agent with a model pays its model's price for each.

So an agent that nobody has tried is uncertain: its expected success is what it declares, until others or its other work
say more, and its lower bound is far below.
Costs and times are kept per unit of complexity, so what was learned on a hard task does not overprice an easy one. What
is declared per task is meant per task: complexity changes neither a declared price nor declared seconds. Chooses
nothing: see optimizer. The ledger is its only store: `from_outcomes` reads 100,000 outcomes in less than a second.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.graph import Task
from kapelle.ledger import Outcome
from kapelle.models import PriceTable
from kapelle.redaction import get_logger

from .complexity import estimate_complexity
from .correctness import WordSource
from .drift import Drift
from .estimate import (
    DEFAULT_COST_USD,
    DEFAULT_SECONDS,
    DEFAULT_SUCCESS_RATE,
    DEFAULT_TOKENS,
    INPUT_SHARE,
    Estimate,
    usage_of,
)
from .estimator import Estimator
from .experience import PRIOR_WEIGHT, Experience
from .explanation import explain_success
from .history import Execution, TaskProfile, Tokens
from .rows import (
    MAX_COMPLEXITY,
    MAX_SECONDS,
    MAX_TOKENS,
    MAX_USD,
    MIN_COMPLEXITY,
    Observation,
    complexity_of,
    find_problem,
    is_complexity,
    read_outcome,
    require_amount,
)

logger = get_logger("kapelle.cost_profiler")

CONFIDENCE = 0.9
"""Of the lower bounds of success: nine of ten hold."""
KEPT_REJECTIONS = 20
"""Rows refused that are named; all are counted."""


class CostProfiler:
    """Learns costs, times and success rates from outcomes, and estimates them for plans.

    Args:
        words: Knows what was learned of tasks' words, if anything: estimates of success then follow them.
        confidence: Of the lower bounds of success, one-sided, between one half and one.
        agents: Cards of agents, for their versions.
        versions: Agent to its present version: whether another one succeeded does not count. By default the cards'.
        prices: Of models; by default the table that comes with kapelle.
        clock: What time it is, in seconds since the epoch: outcomes fade by their age. Without one they do not. No
            outcome is of later than that, or without one than `time.time`: one with a later date counts as of now.

    >>> profiler = CostProfiler()
    >>> profiler.record_execution("t1", "builder_agent", "implement", 850_000, 12.0, True, "medium")
    >>> profiler.estimate_cost("builder_agent", "implement")
    2.55
    """

    MODEL_PRICING: ClassVar[dict[str, float]] = {"free": 0.0, "cheap": 0.03, "medium": 3.0, "expensive": 15.0}
    """USD per million tokens, by cost tier, for agents that report no cost of their own. May be reassigned."""

    def __init__(
        self,
        words: WordSource | None = None,
        *,
        confidence: float = CONFIDENCE,
        agents: Iterable[AgentCapability] = (),
        prices: PriceTable | None = None,
        clock: Callable[[], float] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        if not 0.5 <= confidence < 1.0:
            raise InvalidInput(f"confidence is {confidence!r}; it must lie from 0.5 to below 1.")
        self.confidence = confidence
        self._prices = prices if prices is not None else PriceTable()
        self._versions = {agent.agent_id: agent.version for agent in agents if agent.version is not None}
        self._versions.update(versions or {})
        self._clock = clock
        self._words, self._experience = words, Experience(words)
        self._drifts: deque[Drift] = deque(maxlen=1000)
        self.revision = 0
        """Counts what was learned: while it stays, so do all estimates."""
        self._rejected = 0
        self._rejections: deque[str] = deque(maxlen=KEPT_REJECTIONS)
        self._estimator: Estimator | None = None
        self._made_for: tuple[float, dict[str, float]] | None = None
        """The hour and the prices that the estimator was made for."""
        self._lock = threading.Lock()

    @classmethod
    def from_outcomes(
        cls,
        outcomes: Iterable[Outcome],
        *,
        words: WordSource | None = None,
        confidence: float = CONFIDENCE,
        agents: Iterable[AgentCapability] = (),
        prices: PriceTable | None = None,
        clock: Callable[[], float] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Self:
        """Return a profiler that has learned from these outcomes, oldest first."""
        profiler = cls(words, confidence=confidence, agents=agents, prices=prices, clock=clock, versions=versions)
        profiler.relearn(outcomes)
        return profiler

    def relearn(self, outcomes: Iterable[Outcome]) -> None:
        """Forget everything, and learn from these outcomes instead, oldest first."""
        with self._lock:
            self._experience = Experience(self._words)
            self._drifts.clear()
            self._rejections.clear()
            self._rejected, self._estimator = 0, None
            self.revision += 1
        for outcome in outcomes:
            self.record_outcome(outcome)

    def record_execution(
        self,
        task_id: str,
        agent_name: str,
        task_type: str,
        tokens_used: int,
        execution_time_seconds: float,
        success: bool,
        cost_tier: str = "cheap",
        cost_usd: float | None = None,
        complexity: float = 1.0,
    ) -> None:
        """Learn from one attempt. Without `cost_usd` the tokens are priced by the tier.

        `success` is the caller's judgement of the answer, so it counts as measured.

        Raises:
            InvalidInput: a number is negative, not finite or absurdly large, or there is no such tier. The message
                names the task and the agent; nothing is learned then.
        """
        row = f"The execution of task {task_id!r} by {agent_name!r}: "
        require_amount(f"{row}tokens_used", tokens_used, MAX_TOKENS)
        require_amount(f"{row}execution_time_seconds", execution_time_seconds, MAX_SECONDS)
        if not is_complexity(complexity):
            raise InvalidInput(
                f"{row}complexity is {complexity!r}; it must be a number from {MIN_COMPLEXITY} to {MAX_COMPLEXITY}."
            )
        if cost_usd is None:
            cost_usd = self.price_tokens(tokens_used, cost_tier)
        require_amount(f"{row}cost_usd", cost_usd, MAX_USD)
        seen = Observation(
            completed=1.0,
            value=float(bool(success)),
            success=bool(success),
            cost_usd=float(cost_usd),
            seconds=float(execution_time_seconds),
            tokens=(tokens_used * INPUT_SHARE, 0.0, tokens_used * (1.0 - INPUT_SHARE)),
            complexity=float(complexity),
        )
        self._learn(agent_name, task_type, seen)
        logger.debug("Task %s: %s took $%.6f, %.3fs", task_id, agent_name, cost_usd, execution_time_seconds)

    def record_outcome(self, outcome: Outcome) -> None:
        """Learn from an outcome of the ledger. Its feature `complexity` counts, where it has one.

        What an attempt took is learned from each that began; whether the agent answers, from each that says so (see
        `Outcome.completed`); how right it is, where that was measured.

        A row that cannot be is left out, a feature that cannot be passed over; `get_statistics` counts and names both.
        """
        problem = find_problem(outcome)
        if problem:
            self._reject(outcome, f"{problem}; left out")
            return
        complexity = complexity_of(outcome.features)
        if complexity is None:
            self._reject(outcome, "its feature complexity is no number from 0.001 to 1000; passed over")
            complexity = 1.0
        if outcome.failure == "budget" and not outcome.seconds:
            return  # it never began
        seen = read_outcome(outcome, complexity, (self._clock or time.time)())
        mine = self._versions.get(outcome.agent)
        if mine is not None and outcome.agent_version is not None and mine != outcome.agent_version:
            seen = seen._replace(completed=None, value=None)
        pair = (outcome.agent, outcome.task_type)
        is_known = pair in self._experience.histories
        if outcome.failure == "timeout" and is_known:  # how long we waited is not how long the work takes
            seen = seen._replace(seconds=min(seen.seconds, self.estimate_time(*pair, complexity)))
        if not seen.cost_told and is_known:
            # Nobody measured it. What is set aside is more than is expected, so learning that would raise what is set
            # aside the next time, and so on without end.
            seen = seen._replace(cost_usd=min(seen.cost_usd, self.estimate_cost(*pair, complexity)))
        self._learn(*pair, seen)

    def estimate_cost(
        self, agent_name: str, task_type: str, task_complexity: float = 1.0, use_recent: bool = True
    ) -> float:
        """Return the dollars seen (of the last ten, or all), or $0.01, by complexity; plans ask `estimate`."""
        require_amount("task_complexity", task_complexity)
        profile = self.get_profile(agent_name, task_type)
        if profile is None:
            return DEFAULT_COST_USD * task_complexity
        recent = profile.mean_of_last(lambda seen: seen.cost_usd / seen.complexity)
        return (recent if use_recent else profile.avg_cost_usd) * task_complexity

    def estimate_time(
        self, agent_name: str, task_type: str, task_complexity: float = 1.0, use_recent: bool = True
    ) -> float:
        """Return the seconds that were seen (of the last ten, or all), or 10 s, by complexity; plans use `estimate`."""
        require_amount("task_complexity", task_complexity)
        profile = self.get_profile(agent_name, task_type)
        if profile is None:
            return DEFAULT_SECONDS * task_complexity
        recent = profile.mean_of_last(lambda seen: seen.seconds / seen.complexity)
        return (recent if use_recent else profile.avg_seconds) * task_complexity

    def estimate_success_rate(self, agent_name: str, task_type: str, use_recent: bool = True) -> float:
        """Return the share of successes, starting from 0.85 while little was seen: the documented figure.

        Answers that nothing measured count as 0.85. It knows no other agents and no bounds: plans use `estimate`.
        """
        profile = self.get_profile(agent_name, task_type)
        if profile is None:
            return DEFAULT_SUCCESS_RATE
        count = profile.total_executions
        seen = (profile.successes - (1.0 - DEFAULT_SUCCESS_RATE) * profile.unchecked) / count
        if use_recent:
            seen = (seen + profile.mean_of_last(_value_of)) / 2
        return (PRIOR_WEIGHT * DEFAULT_SUCCESS_RATE + count * seen) / (PRIOR_WEIGHT + count)

    def estimate(
        self, capability: AgentCapability, task: Task | str, complexity: float | None = None, *, text: str = ""
    ) -> Estimate:
        """Return what a task is expected to take from an agent: chance of success, cost and seconds, each with bounds.

        The task is given, or its type alone; unless they are given, a task tells its complexity and words, and that of
        a type is 1. Words count where something was learned of words.

        Where an agent declares no cost and has done nothing yet, the tokens and the time that others took for this type
        are the guess, or else the defaults, at its model's or tier's price; so who is untried is not taken for cheap.
        """
        if isinstance(task, Task):
            if complexity is None:
                complexity = estimate_complexity(task.task_type, dependencies=len(task.dependencies))
            text, task = text or task.description, task.task_type
        require_amount("complexity", complexity := 1.0 if complexity is None else complexity)
        with self._lock:
            estimator, asked = self._ready_estimator(), (task, complexity, self._read(text))
            return estimator.find(capability, asked) or estimator.estimate([capability], [asked])[0][0]

    def estimate_all(
        self, agents: Sequence[AgentCapability], tasks: Sequence[tuple[str, float, str]]
    ) -> list[list[Estimate]]:
        """Return what tasks of these types, complexities and words are expected to take of every agent, a list each."""
        for _, complexity, _ in tasks:
            require_amount("complexity", complexity)
        with self._lock:
            return self._ready_estimator().estimate(
                agents, [(kind, unit, self._read(text)) for kind, unit, text in tasks]
            )

    def explain(self, capability: AgentCapability, task_type: str, *, text: str = "") -> str:
        """Return in a few words what moved the chance of success from what the agent declares; "" where nothing did.

        >>> profiler = CostProfiler()
        >>> for number in range(40):
        ...     profiler.record_execution("t", "scout", "search", 100, 1.0, number % 10 > 0)
        >>> profiler.explain(AgentCapability(agent_id="scout", task_types=("search",)), "search")
        'search 36 of 40'
        """
        with self._lock:
            return explain_success(self._experience, capability, task_type, text=self._read(text), now=self._now())

    def get_profile(self, agent_name: str, task_type: str) -> TaskProfile | None:
        """Return what is known of this agent at this type of task; None where it has done none."""
        with self._lock:
            history = self._experience.histories.get((agent_name, task_type))
            return None if history is None else history.profile()

    def get_statistics(self) -> dict[str, Any]:
        """Return totals over all agents: executions, dollars, share of successes, agents, task types.

        Also `drifts` (see Drift), `rejected`, how many rows were bad, and `rejections`, which name the last of them.
        """
        with self._lock:
            executions, (cost_usd, successes) = self._experience.executions, self._experience.totals()
            return {
                "total_executions": executions,
                "total_cost_usd": cost_usd,
                "success_rate": successes / executions if executions else 0.0,
                "agents_tracked": len(self._experience.agents),
                "task_types_tracked": len(self._experience.types),
                "drifts": tuple(self._drifts),
                "rejected": self._rejected,
                "rejections": tuple(self._rejections),
            }

    def price_tokens(self, tokens: float, cost_tier: str) -> float:
        """Return a tier's dollars for so many tokens. `free` is free even where a reassigned table forgets it.

        Raises:
            InvalidInput: there is no such tier.
        """
        price = self.MODEL_PRICING.get(cost_tier, 0.0 if cost_tier == "free" else None)
        if price is None:
            raise InvalidInput(
                f"There is no cost_tier {cost_tier!r}. Use one of {', '.join(self.MODEL_PRICING)}, or add its price to "
                "CostProfiler.MODEL_PRICING."
            )
        return tokens * price / 1_000_000

    def _learn(self, agent: str, task_type: str, seen: Observation) -> None:
        with self._lock:
            changes = self._experience.record(agent, task_type, seen) or ()
            self.revision += 1
            self._estimator = None
            self._drifts.extend(changes)
        for change in changes:
            logger.info("%s", change)

    def _reject(self, outcome: Outcome, problem: str) -> None:
        name = f"task {outcome.task_id!r:.80} of run {outcome.run_id!r:.80} by {outcome.agent!r:.80}"
        with self._lock:
            self._rejected += 1
            self._rejections.append(f"{name}: {problem}")
        logger.warning("The outcome of %s: %s.", name, problem)

    def _now(self) -> float:
        """Return the time to the hour, so that estimates stay within a run; 0 without a clock."""
        return 0.0 if self._clock is None else self._clock() // 3600.0 * 3600.0

    @property
    def reads_words(self) -> bool:
        """Whether tasks that differ in their words alone may have different estimates."""
        return self._words is not None

    def _read(self, text: str) -> str:
        return text if self._words is not None else ""

    def _ready_estimator(self) -> Estimator:
        """Return what estimates by what is known now."""
        key = self._now(), self.MODEL_PRICING
        if self._estimator is None or self._made_for != key:
            self._made_for = key[0], dict(self.MODEL_PRICING)
            self._estimator = Estimator(self._experience, confidence=self.confidence, now=key[0], price_usd=self._price)
        return self._estimator

    def _price(self, capability: AgentCapability, known: Tokens | None) -> float:
        """Return the dollars that a task of complexity 1 costs with the agent's model, or else in its tier."""
        if capability.model is not None:
            with suppress(UnknownPrice):
                return self._prices.cost_usd(capability.model, usage_of(known, capability, 1.0))
        tokens = known.input + known.output if known is not None else DEFAULT_TOKENS
        return self.price_tokens(tokens, capability.cost_tier)


def _value_of(seen: Execution) -> float:
    return float(seen.success) if seen.is_checked else DEFAULT_SUCCESS_RATE
