"""Assigns the unstarted rest of a run anew, when what agents took or how they did is not what was expected of them.

The graph stays, and so does all that is over or under way, what is pinned, and what a person has approved or answered.
When it is worth a look is decided by surprises, who does what then by a Reassigner. At most once a turn of the
executor's loop, and before that turn starts anything: the new plan is in the journal before the first task begins by
it. Where nobody finds a better one, the run goes on as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kapelle.allocation import VERIFY, SeenInRun, units_of
from kapelle.redaction import get_logger
from kapelle.strategies import Single
from kapelle.validation import ApprovedPlan

from .error_reports import MAX_REASON_CHARS
from .resume import ResumeState
from .surprises import Surprises, Took
from .tasks import Owners
from .work import Job, Work

logger = get_logger(__name__)
MAX_LOOKS = 16
"""A look at the plan takes time that grows with its tasks, so the next one waits until one in so many has ended since:
however large the plan and however odd its agents, all looks together take time in proportion to it."""
MAX_WORDS = 3
"""So many surprises are told of; who wants all of them reads the events."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ahead:
    """What a task that is under way is expected to take from now on."""

    cost_usd: float
    """Beyond what is set aside for it already."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rest:
    """What is left of a plan, and what is known by now."""

    over: frozenset[str]
    """Tasks of which nothing more will come."""
    under_way: Mapping[str, Ahead]
    """Tasks that run, or will be made again."""
    kept: frozenset[str]
    """Tasks that wait and keep their agents: a person has to do with them."""
    left_s: float | None
    """Seconds until the run's deadline; None where it has none."""
    seen: SeenInRun
    """What this run has seen agents take that were dearer or slower than expected."""
    why: str
    """What was not as expected, in sentences."""


class Reassigner(Protocol):
    """Assigns what is left of a plan anew."""

    async def reassign(self, current: ApprovedPlan, rest: Rest) -> ApprovedPlan | None:
        """Return the approved plan for the same graph in which other agents do some of what has not begun; None where
        none is better, or none is approved."""
        ...


class Reassignment:
    """Watches over one execution, and has its rest assigned anew."""

    def __init__(self, own: Owners, reassigner: Reassigner | None) -> None:
        self._tasks, self._writer, self._deadlines = own.tasks, own.writer, own.deadlines
        self._running = own.running
        self._reassigner = reassigner
        self._left = own.limits.max_reassignments if reassigner is not None else 0
        self._surprises = Surprises(heeds_time=own.limits.deadline_s is not None)
        self._ended_by_then: int | None = None
        """How many tasks had ended at the last look."""

    @property
    def is_due(self) -> bool:
        """Whether something was not as expected since the last look, and that is long enough ago."""
        if not self._surprises.is_due:
            return False
        before = self._ended_by_then
        return before is None or self._ended - before >= len(self._tasks.progress.graph) // MAX_LOOKS

    @property
    def _ended(self) -> int:
        progress = self._tasks.progress
        return len(progress.outputs) + len(progress.failed) + len(progress.skipped)

    def note(self, job: Job, cost_usd: float | None, seconds: float | None) -> None:
        """A job has ended; its cost is None where it is only assumed, its time where it was cut off."""
        expected = job.expected
        if not self._left or expected is None or job.agent is None:
            return
        task = job.work.task
        self._surprises.note(
            Took(
                task_id=task.task_id,
                agent=job.agent,
                task_type=task.task_type if job.check is None else VERIFY,
                expected=expected,
                units=self._units(task.task_id, job.agent),
                cost_usd=cost_usd,
                seconds=seconds,
            )
        )

    def judge(self, work: Work, accepted: str | None) -> None:
        """A task is over: it is known what each of its attempts was worth."""
        if not self._left:
            return
        for attempt in work.attempts:
            if not attempt.ended or attempt.failure == "budget":
                continue
            quality = 0.0 if attempt.reason is not None else work.quality_of(attempt, accepted)[0]
            if quality is not None:
                task = work.task
                expected = work.fallbacks.get(attempt.agent) or self._tasks.plan.step_estimate(
                    task.task_id, attempt.agent
                )
                self._surprises.judge(task.task_id, attempt.agent, task.task_type, expected, quality)

    def restore(self, earlier: ResumeState) -> None:
        """Take in what an earlier part of the run has seen; it may have been cut off before anything came of that."""
        if not self._left:
            return
        graph = self._tasks.progress.graph
        self._left = max(0, self._left - earlier.reassignments)
        for one in earlier.ended:
            if one.task_id not in graph:
                continue
            task_type = graph[one.task_id].task_type
            self._surprises.note(
                Took(
                    task_id=one.task_id,
                    agent=one.agent,
                    task_type=task_type,
                    expected=one.expected,
                    units=self._units(one.task_id, one.agent),
                    cost_usd=one.cost_usd,
                    seconds=one.seconds,
                )
            )
            if one.quality is not None:
                self._surprises.judge(one.task_id, one.agent, task_type, one.expected, one.quality)
            if one.is_settled:
                self._surprises.take()

    async def consider(self) -> None:
        """Assign the rest anew, if that is better; nothing starts meanwhile."""
        words = self._surprises.take()
        self._ended_by_then = self._ended
        tasks, reassigner = self._tasks, self._reassigner
        if not self._left or reassigner is None or not words:
            return
        rest = self._rest(words)
        if len(rest.over) + len(rest.under_way) + len(rest.kept) >= len(tasks.progress.graph):
            return
        before = tasks.plan
        try:
            plan = await reassigner.reassign(before, rest)
        except Exception:  # a strategy source, a policy, an optimiser of somebody's: the run was fine without them
            logger.exception("The rest of run %s could not be assigned anew.", self._writer.run_id)
            return
        if plan is None:
            return
        self._left -= 1
        self._writer.plan_reassigned(rest.why, plan)
        tasks.apply_plan(plan)

    def _rest(self, words: tuple[str, ...]) -> Rest:
        tasks, progress = self._tasks, self._tasks.progress
        more = f" And {len(words) - MAX_WORDS} more." if len(words) > MAX_WORDS else ""
        begun = {task_id: work for task_id, work in tasks.works.items() if work.attempts}
        over = frozenset(task_id for task_id in progress.graph.tasks if progress.is_over(task_id))
        concerned = (tasks.questions.about & progress.graph.tasks.keys()) - over - begun.keys()
        return Rest(
            over=over,
            under_way={task_id: self._ahead(work) for task_id, work in begun.items()},
            kept=concerned | progress.replanning,
            left_s=self._deadlines.run_left_s,
            seen=self._surprises.seen,
            why=(" ".join(words[:MAX_WORDS]) + more)[:MAX_REASON_CHARS],
        )

    def _ahead(self, work: Work) -> Ahead:
        estimate = self._tasks.plan.estimates[work.task.task_id]
        reserved_usd = sum(
            job.reservation.usd for job in self._running if job.work is work and job.reservation is not None
        )
        spent_usd = sum(attempt.cost_usd for attempt in work.attempts if attempt.ended)
        if isinstance(work.strategy, Single):  # what has failed is paid once more
            cost_usd = 0.0 if reserved_usd else estimate.cost_usd
        else:
            cost_usd = max(0.0, estimate.cost_usd - spent_usd - reserved_usd)
        seconds = estimate.seconds - self._deadlines.seconds_since(work.started)
        return Ahead(cost_usd=cost_usd, seconds=max(0.0, seconds))

    def _units(self, task_id: str, agent: str) -> tuple[float, float]:
        known = self._tasks.plan.plan_estimates
        complexity = known.complexities.get(task_id, 1.0)
        return units_of(known.agents[agent], complexity) if agent in known.agents else (complexity, complexity)
