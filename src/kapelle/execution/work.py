"""One task on its way to an answer: its strategy, what its agents gave so far, and the jobs that come next.

A job is what the executor can start: ask an agent, or examine an answer. A task with one agent has one job. What comes
next is decided by `next_move` of the strategy from the answers alone; nothing here starts, waits or writes. When the
strategy has come to nothing, another agent may be its fallback.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kapelle.agents import AgentResult
from kapelle.budget import Reservation
from kapelle.estimates import Estimate
from kapelle.failures import FailureKind
from kapelle.graph import Task
from kapelle.ledger import Usage
from kapelle.strategies import (
    Accept,
    Answer,
    Ask,
    Cascade,
    Check,
    Examine,
    GiveUp,
    Single,
    Strategy,
    Verdict,
    Vote,
    next_move,
    task_context,
)

GUARD = Check(kind="well_formed")
"""What every answer must pass where the user has given a validator for its type of task."""


@dataclass(kw_only=True, slots=True, eq=False)
class Job:
    """Something to start for a task: ask an agent, or examine what one gave."""

    work: Work
    agent: str | None
    """Who is asked; None for a check that no agent makes."""
    check: Check | None = None
    """What is examined for; None where the agent is asked for an answer."""
    attempt: int = 0
    """Which attempt of the task it is, or examines."""
    expected: Estimate | None = None
    """What it is expected to take; None for a check that no agent makes."""
    most_usd: float | None = None
    """What it costs at most, by the agent itself; None where it does not know."""
    reservation: Reservation | None = None
    doubted_usd: float = 0.0
    """The declared price of its agent, where nothing had confirmed that when it began."""
    has_place: bool = False
    """Whether it has one of its agent's places."""
    started: float = 0.0
    running: asyncio.Task[Any] | None = None
    seconds: float = math.inf
    """How long it may take."""
    due: float = math.inf
    """By the event loop's clock, when that is over."""
    late: asyncio.TimerHandle | None = None
    """When it is to have a rival: see HedgePolicy."""
    rival: Job | None = None
    """Another job for the same answer, under way or waiting: the first good one is taken."""
    judge_cost: tuple[float, bool] | None = None
    """What the agent that makes a check has cost, and whether that is only assumed; None until it has ended."""
    expired: str | None = None
    """Why its time was over, if it was; then what it still reports no longer counts."""

    @property
    def error(self) -> BaseException | None:
        """What it has ended with, if that was an error, and in time."""
        assert self.running is not None
        return None if self.expired is not None or self.running.cancelled() else self.running.exception()

    def part(self) -> None:
        """Two attempts at the same answer are rivals no more: one of them decides."""
        if self.rival is not None:
            self.rival.rival = None
            self.rival = None


@dataclass(kw_only=True, slots=True)
class Attempt:
    """What one agent gave."""

    agent: str
    step: str
    result: AgentResult | None = None
    reason: str | None = None
    """Why it failed."""
    refused: str | None = None
    """Why what it gave did not pass a check."""
    unmade: set[str] = field(default_factory=set)
    """Checks that it did not pass because they could not be made."""
    found_right: bool | None = None
    """What checks have found of its answer; None where none could tell whether it is right."""
    failure: FailureKind | None = None
    """What kind of failure that is."""
    traceback: str | None = None
    """Where it failed, if it raised an error."""
    readings: tuple[Mapping[str, str], ...] = ()
    """What it could have been asked, where it did not know which."""
    cost_usd: float = 0.0
    usage: Usage = Usage()
    cost_assumed: bool = False
    """Whether the cost is what was expected, because the agent told none."""
    unpriced_model: str | None = None
    """The model whose price nobody knows, if that is why."""
    seconds: float = 0.0
    ended: bool = False


@dataclass(kw_only=True, slots=True, eq=False)
class Work:
    """One task, from the moment that it is ready to the moment that it has an answer or none."""

    task: Task
    strategy: Strategy
    guarded: bool = False
    """Whether the answer must pass the user's own validator."""
    earlier: int = 0
    """Attempts of which an earlier part of the run has told; those here are counted on from there."""
    told_apart: bool = False
    """Whether the journal tells of each attempt, because one was made again, or has a rival."""
    attempts: list[Attempt] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    """By agent."""
    answered_by: dict[str, int] = field(default_factory=dict)
    """By agent, which of its attempts gave the answer."""
    begun: set[tuple[str, Check | None]] = field(default_factory=set)
    """Jobs that were handed out."""
    waiting: list[Job] = field(default_factory=list)
    """Jobs that were handed out and have not started."""
    fallbacks: dict[str, Estimate] = field(default_factory=dict)
    """Agents that were tried when the plan's own strategy had come to nothing, with what was expected of them."""
    started: float | None = None
    """When its first job started."""
    fault: str | None = None
    """Why no answer can be taken, if a check itself is at fault: to ask another agent would be paid for nothing."""
    remark: str = ""
    """What else is to be said of why it came to nothing."""

    @property
    def simple(self) -> bool:
        """Whether the end of its only attempt is the end of the task."""
        return isinstance(self.strategy, Single) and not self.guarded and not self.told_apart

    def key(self, run_id: str, agent: str) -> str:
        """Return the idempotency key of an agent's call: one for the task, unless several are to answer on their own.

        A retry, a rival and a fallback do the same thing once more, so they share it.
        """
        alone = isinstance(self.strategy, Single)
        return f"{run_id}/{self.task.task_id}" if alone else f"{run_id}/{self.task.task_id}/{agent}"

    def next(self) -> Ask | Examine | Accept | GiveUp:
        """Return what comes next, as far as is known."""
        if self.fault is not None:
            return GiveUp(reason=self.fault)
        move = next_move(self.strategy, self.answers)
        if isinstance(move, Accept) and self.guarded:
            passed = self.answers[move.agent].passed.get(str(GUARD))
            if passed is None:
                return Examine(agent=move.agent, check=GUARD)
            if not passed:
                return GiveUp(reason=f"what {move.agent} gave did not pass: {GUARD}")
        return move

    def new_jobs(self, move: Ask | Examine) -> Iterator[Job]:
        """Hand out the jobs of a move that were not handed out before."""
        wanted: list[tuple[str, Check | None]] = (
            [(agent, None) for agent in move.agents] if isinstance(move, Ask) else [(move.agent, move.check)]
        )
        for agent, check in wanted:
            if (agent, check) in self.begun:
                continue
            self.begun.add((agent, check))
            if check is None:
                job = Job(work=self, agent=agent)
            else:
                job = Job(work=self, agent=check.agent, check=check, attempt=self.attempt_of(agent))
            self.waiting.append(job)
            yield job

    def only_job(self) -> Job:
        """Hand out the job of a simple task."""
        assert isinstance(self.strategy, Single)
        job = Job(work=self, agent=self.strategy.agent)
        self.begun.add((self.strategy.agent, None))
        self.waiting.append(job)
        return job

    def attempt_of(self, agent: str) -> int:
        """Return which attempt gave an agent's answer."""
        return self.answered_by[agent]

    def take(self, job: Job, result: AgentResult | None, reason: str | None) -> None:
        """Take in what an agent gave, or why it gave nothing."""
        attempt = self.attempts[job.attempt]
        attempt.result, attempt.reason, attempt.ended = result, reason, True
        if reason is not None and not self.answers.get(attempt.agent, Answer()).failed:
            return  # its rival has answered in the same turn
        self.answered_by[attempt.agent] = job.attempt
        from kapelle.strategies import canonical_answer  # a task with one agent compares nothing

        output = None if result is None or reason is not None else result.output
        self.answers[attempt.agent] = Answer(
            canonical=None if output is None else canonical_answer(output, task_context(self.task))
        )

    def again(self, agent: str) -> Job:
        """Hand out another attempt of an agent: after a failure that can pass, or beside a straggler."""
        job = Job(work=self, agent=agent)
        self.waiting.append(job)
        return job

    def fall_back(self, agent: str, estimate: Estimate) -> None:
        """Let another agent do the task, whose strategy came to nothing."""
        self.strategy, self.told_apart = Single(agent=agent), True
        self.fallbacks[agent] = estimate

    def failures_of(self, agent: str) -> int:
        """Return how many attempts of an agent have ended; none of them was of use, or there were no more."""
        return sum(1 for attempt in self.attempts if attempt.agent == agent and attempt.ended)

    def failures(self) -> list[FailureKind]:
        """Return what its attempts failed for, each kind once; what a check refused was no failure of an attempt."""
        answered = any(attempt.ended and attempt.reason is None for attempt in self.attempts)
        kinds = dict.fromkeys(one.failure for one in self.attempts if one.failure is not None)
        return [] if answered else list(kinds)

    def refuse(self, job: Job, reason: str) -> None:
        """Take in that an agent cannot be asked at all."""
        assert job.agent is not None
        self.answered_by[job.agent] = len(self.attempts)
        step = self.step_of(job.agent)
        self.attempts.append(Attempt(agent=job.agent, step=step, reason=reason, failure="budget", ended=True))
        self.answers[job.agent] = Answer(canonical=None)

    def examined(self, job: Job, verdict: Verdict) -> None:
        """Take in what a check found."""
        attempt = self.attempts[job.attempt]
        answer = self.answers[attempt.agent]
        self.answers[attempt.agent] = replace(answer, passed={**answer.passed, str(job.check): verdict.passed})
        if verdict.measured:
            attempt.found_right = verdict.passed and attempt.found_right is not False
        if not verdict.passed:
            attempt.refused = verdict.note
            if not verdict.measured:
                attempt.unmade.add(str(job.check))
        if verdict.faulty:
            self.fault = verdict.note

    def step_of(self, agent: str) -> str:
        """Return which step of the strategy asks an agent."""
        return "fallback" if agent in self.fallbacks else _steps(self.strategy).get(agent, "single")

    def _is_shared(self, agent: str) -> bool:
        """Whether another agent gave the same answer."""
        mine = self.answers[agent].canonical
        return any(answer.canonical == mine for name, answer in self.answers.items() if name != agent)

    def found_by_checks(self, attempt: Attempt) -> dict[str, bool]:
        """Return what checks said of what an attempt gave, those left out that could not be made."""
        answer = self.answers.get(attempt.agent, Answer())
        return {check: passed for check, passed in answer.passed.items() if check not in attempt.unmade}

    def quality_of(self, attempt: Attempt, accepted: str | None) -> tuple[float | None, str | None]:
        """Return how good an answer was, as far as something measured it, and what did.

        What the agent says itself counts first; then a check; then whether voters agree with the answer taken.
        """
        if attempt.result is None or attempt.reason is not None:
            return None, None
        if attempt.result.quality is not None:
            return attempt.result.quality, "agent"
        answer = self.answers.get(attempt.agent)
        if answer is None:
            return None, None  # the task's only attempt: nothing was compared with it
        if attempt.found_right is not None:
            return float(attempt.found_right), "check"
        if accepted is not None and attempt.step == "vote":
            if not self._is_shared(accepted):
                return None, None  # it was taken for want of a better one, and nobody agrees with it
            return float(answer.canonical == self.answers[accepted].canonical), "agreement"
        return None, None


def _steps(strategy: Strategy) -> Mapping[str, Literal["single", "cheap", "vote", "strong"]]:
    """Return which step asks which agent; an agent that is asked in two keeps the first."""
    match strategy:
        case Single(agent=agent):
            return {agent: "single"}
        case Cascade(cheap=cheap, strong=strong):
            return {**_later(strong), cheap: "cheap"}
        case Vote(agents=agents, escalate_to=further):
            return {**(_later(further) if further is not None else {}), **dict.fromkeys(agents, "vote")}


def _later(strategy: Strategy) -> Mapping[str, Literal["single", "cheap", "vote", "strong"]]:
    return {strategy.agent: "strong"} if isinstance(strategy, Single) else _steps(strategy)
