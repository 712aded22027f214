"""Strategies: how a task gets its answer. One agent; a cheap one first and a check; or a few that must agree.

    Single(agent)                            ask it, take its answer
    Cascade(cheap, check, strong)            ask the cheap one; if its answer fails the check, go on with `strong`
    Vote(agents, escalate_to)                ask them all at once; if too few agree, go on with `escalate_to`

`strong` and `escalate_to` are strategies themselves, so a chain of three agents is two cascades. A strategy is a value
and decides nothing by itself: `next_move` says what to do next, given what has been seen. The executor follows it in a
run, and the estimates follow the very same function over logged answers; so what is promised is what is run.

Checks are named here, and made in checks. Knows nothing of prices: see strategies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.graph import CHECK_KINDS, CheckKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A test that an answer must pass before it is taken."""

    kind: CheckKind
    agent: str | None = None
    """Who judges, for a `verifier`."""

    def __post_init__(self) -> None:
        if self.kind not in CHECK_KINDS:
            raise InvalidInput(f"There is no check {self.kind!r}. Use one of {', '.join(CHECK_KINDS)}.")
        if (self.kind == "verifier") != (self.agent is not None):
            raise InvalidInput("A verifier needs the agent that judges, and no other check has one.")

    def __str__(self) -> str:
        return self.kind.replace("_", " ") if self.agent is None else f"verified by {self.agent}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Single:
    """One agent's answer."""

    agent: str

    def __str__(self) -> str:
        return self.agent

    def to_dict(self) -> dict[str, Any]:
        """See `strategy_to_dict`."""
        return strategy_to_dict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cascade:
    """The cheap agent's answer if it passes the check, else what `strong` answers."""

    cheap: str
    check: Check
    strong: Strategy

    def __str__(self) -> str:
        return f"{self.cheap}, {self.check}, else {self.strong}"

    def to_dict(self) -> dict[str, Any]:
        """See `strategy_to_dict`."""
        return strategy_to_dict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Vote:
    """The answer that enough of the agents give, else what `escalate_to` answers, else the most frequent one."""

    agents: tuple[str, ...]
    escalate_to: Strategy | None = None
    min_agreement: int = 2
    """How many agents must give the same canonical answer."""

    def __post_init__(self) -> None:
        if len(set(self.agents)) != len(self.agents) or not 2 <= self.min_agreement <= len(self.agents):
            raise InvalidInput(
                f"A vote needs two different agents or more, and an agreement of 2 to all of them; this one has "
                f"{', '.join(self.agents) or 'none'} and {self.min_agreement!r}."
            )

    def __str__(self) -> str:
        who = " + ".join(self.agents)
        many = "agree" if self.min_agreement == len(self.agents) else f"{self.min_agreement} agree"
        return f"{who} if {many}" + (f", else {self.escalate_to}" if self.escalate_to is not None else "")

    def to_dict(self) -> dict[str, Any]:
        """See `strategy_to_dict`."""
        return strategy_to_dict(self)


Strategy = Single | Cascade | Vote


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one agent gave, as far as a strategy looks at it."""

    canonical: str | None = None
    """The answer in the form in which equal answers are equal; None where the agent failed."""
    passed: Mapping[str, bool] = field(default_factory=dict)
    """By check (as a text): whether the answer passed. A check that was not made yet is not in it."""

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return self.canonical is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """Ask these agents, all at once."""

    agents: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Examine:
    """Make this check of that agent's answer."""

    agent: str
    check: Check


@dataclass(frozen=True, kw_only=True, slots=True)
class Accept:
    """Take this agent's answer."""

    agent: str
    reason: str
    agreement: int = 1
    """How many agents gave it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveUp:
    """Nobody had an answer that may be taken."""

    reason: str


Move = Ask | Examine | Accept | GiveUp


def next_move(strategy: Strategy, seen: Mapping[str, Answer]) -> Move:
    """Return what the strategy does next, given the answers so far by agent. Depends on nothing else.

    >>> cascade = Cascade(cheap="small", check=Check(kind="well_formed"), strong=Single(agent="large"))
    >>> next_move(cascade, {})
    Ask(agents=('small',))
    >>> next_move(cascade, {"small": Answer(canonical="4", passed={"well formed": True})})
    Accept(agent='small', reason='it passed: well formed', agreement=1)
    """
    match strategy:
        case Single(agent=agent):
            return _single(agent, seen)
        case Cascade(cheap=cheap, check=check, strong=strong):
            answer = seen.get(cheap)
            if answer is None:
                return Ask(agents=(cheap,))
            if not answer.failed:
                passed = answer.passed.get(str(check))
                if passed is None:
                    return Examine(agent=cheap, check=check)
                if passed:
                    return Accept(agent=cheap, reason=f"it passed: {check}")
            return next_move(strong, seen)
        case Vote(agents=agents, escalate_to=escalate_to, min_agreement=least):
            missing = tuple(agent for agent in agents if agent not in seen)
            if missing:
                return Ask(agents=missing)
            votes = Counter(seen[agent].canonical for agent in agents if not seen[agent].failed)
            # Among equals the answer of the agent that is named first.
            best, count = max(votes.items(), key=lambda vote: vote[1], default=(None, 0))
            if count < least and escalate_to is not None:
                return next_move(escalate_to, seen)
            if best is None:
                return GiveUp(reason=f"none of {', '.join(agents)} had an answer")
            first = next(agent for agent in agents if seen[agent].canonical == best)
            return Accept(agent=first, reason=f"{count} of {len(agents)} agreed", agreement=count)


def _single(agent: str, seen: Mapping[str, Answer]) -> Move:
    if agent not in seen:
        return Ask(agents=(agent,))
    if seen[agent].failed:
        return GiveUp(reason=f"{agent} had no answer")
    return Accept(agent=agent, reason="it was asked")


def agents_of(strategy: Strategy) -> tuple[str, ...]:
    """Return every agent that the strategy may ask, verifiers included, in the order in which it comes to them."""
    match strategy:
        case Single(agent=agent):
            names: tuple[str, ...] = (agent,)
        case Cascade(cheap=cheap, check=check, strong=strong):
            names = (cheap, *((check.agent,) if check.agent else ()), *agents_of(strong))
        case Vote(agents=agents, escalate_to=escalate_to):
            names = (*agents, *(agents_of(escalate_to) if escalate_to is not None else ()))
    return tuple(dict.fromkeys(names))


def strategy_to_dict(strategy: Strategy) -> dict[str, Any]:
    """Return the strategy as plain JSON values: {"single": ...}, {"cascade": ...} or {"vote": ...}."""
    match strategy:
        case Single(agent=agent):
            return {"single": agent}
        case Cascade(cheap=cheap, check=check, strong=strong):
            judge = {} if check.agent is None else {"agent": check.agent}
            return {"cascade": {"cheap": cheap, "check": check.kind, **judge, "strong": strategy_to_dict(strong)}}
        case Vote(agents=agents, escalate_to=escalate_to, min_agreement=least):
            further = {} if escalate_to is None else {"escalate_to": strategy_to_dict(escalate_to)}
            return {"vote": {"agents": list(agents), "min_agreement": least, **further}}


MAX_DEPTH = 8
"""Strategies within strategies; a file that nests deeper is no strategy but an attack."""


def strategy_from_dict(data: object, *, depth: int = 0) -> Strategy:
    """Return the strategy that `strategy_to_dict` wrote.

    Raises:
        InvalidInput: the data is none, with the part that is wrong.
    """
    if depth >= MAX_DEPTH or not isinstance(data, Mapping) or len(data) != 1:
        raise InvalidInput(f'{data!r:.80} is no strategy. Use {{"single": AGENT}}, {{"cascade": ...}} or a vote.')
    ((kind, inner),) = data.items()
    try:
        if kind == "single" and isinstance(inner, str):
            return Single(agent=inner)
        if kind == "cascade" and isinstance(inner["cheap"], str):
            check = Check(kind=inner["check"], agent=inner.get("agent"))
            return Cascade(
                cheap=inner["cheap"], check=check, strong=strategy_from_dict(inner["strong"], depth=depth + 1)
            )
        if kind == "vote" and all(isinstance(agent, str) for agent in inner["agents"]):
            further = inner.get("escalate_to")
            return Vote(
                agents=tuple(inner["agents"]),
                min_agreement=int(inner.get("min_agreement", 2)),
                escalate_to=None if further is None else strategy_from_dict(further, depth=depth + 1),
            )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidInput(f"The strategy {data!r:.200} lacks or has a wrong {error}.") from error
    raise InvalidInput(f"There is no strategy {kind!r:.40}. Use single, cascade or vote.")
