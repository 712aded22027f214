"""The tasks of one execution: which are at work, what has become of them, and what follows for the others.

Owns the plan as it is now. Every change is in the journal before it takes effect. What is done about a failure before
it is accepted, and how answers come about, is not known here: see attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kapelle.agents import AgentRegistry
from kapelle.graph import Task
from kapelle.ledger import Question
from kapelle.strategies import Ask, Checks
from kapelle.validation import ApprovedPlan

from .error_reports import MAX_REASON_CHARS
from .journal_writer import JournalWriter
from .limits import Deadlines, ExecutionLimits
from .progress import Consequences, Progress
from .questions import Given, Questions, why_rejected
from .ready import ReadyJobs
from .rests import Rests
from .resume import ResumeState
from .running import Reports, RunningJobs, StopRequested
from .spending import Spending
from .start_order import MAX_COMPARED, StartOrder, choose_start_order
from .work import Attempt, Work


class Tasks:
    """What has become of the tasks of a plan, and the work on those that are neither over nor waiting."""

    def __init__(
        self,
        plan: ApprovedPlan,
        *,
        earlier: ResumeState,
        questions: Questions,
        ready: ReadyJobs,
        checks: Checks,
        spending: Spending,
        writer: JournalWriter,
    ) -> None:
        self.plan = plan
        self.progress = Progress(graph=plan.dag)
        self.questions = questions
        self.works: dict[str, Work] = {}
        """Tasks that are ready or begun, and not over."""
        self.halt: StopRequested | None = None
        """Why the run is to end, if it is."""
        self.is_stopping = False
        """Whether nothing starts any more, and nothing follows from what ends."""
        self.replaced = set(earlier.replaced)
        """Tasks whose place others have taken: their names are used up."""
        self._told = dict(earlier.attempts)
        """Per task, how many attempts the journal tells of that belong to no work of now."""
        self._active_s = earlier.active_s
        self._may_rehearse = MAX_COMPARED
        """How many more tasks are rehearsed to find out in which order they start."""
        self._ready, self._checks, self._spending, self._writer = ready, checks, spending, writer

    def restore(self, earlier: ResumeState) -> None:
        """Go on where an earlier part of the run has stopped."""
        progress = self.progress
        progress.outputs.update(earlier.outputs)
        progress.from_memory.update(earlier.from_memory)
        progress.failed.update(earlier.failed)
        progress.skipped.update(earlier.skipped)
        progress.asking.update({one.task_id: one.question_id for one in self.questions.open()})
        for task_id, why in earlier.at_risk.items():  # they may have taken effect: nobody starts them unasked
            self.ask_person(self.questions.before_rerun(self.given(progress.graph[task_id]), why), None)

    def apply_plan(self, plan: ApprovedPlan) -> None:
        """Take on a plan: the first one, or one for a graph that has changed. What is over or runs stays so."""
        self.replaced.update(self.plan.dag.tasks.keys() - plan.dag.tasks.keys())
        self.plan = plan
        self._writer.apply_plan(plan)
        assigned = plan.assignments
        expected = [(assigned[task_id], one) for task_id, one in plan.estimates.items()]
        self._spending.expect([*expected, *(one for steps in plan.step_estimates.values() for one in steps.items())])
        found = self.progress.adopt(plan.dag)
        self.works = {task_id: work for task_id, work in self.works.items() if work.attempts}
        self._ready.rank(self._order_starts(plan).ranks)
        for work in self.works.values():
            for job in work.waiting:
                self._ready.push(job)
        self._apply(found)

    def _order_starts(self, plan: ApprovedPlan) -> StartOrder:
        """Return in which order the rest of a plan starts. A graph that grows again and again is rehearsed only so
        often: the first task that becomes ready is not to wait for that."""
        over = {task_id for task_id in plan.dag.tasks if self.progress.is_over(task_id)}
        order = choose_start_order(
            plan, over=over, begun=self.works.keys(), passed_s=self._active_s, most_compared=self._may_rehearse
        )
        self._may_rehearse = max(0, self._may_rehearse - len(plan.dag))
        return order

    def finish(self, work: Work, output: Any) -> None:
        """A task is done; what has waited for it alone begins."""
        self._begin(self.progress.finish(work.task.task_id, output))

    def fail(self, work: Work, reason: str, *, attempt: Attempt | None = None, seconds: float | None = None) -> None:
        """A task has failed: see `JournalWriter.task_failed`. Nothing follows yet."""
        self.drop(work)
        self._writer.task_failed(work, reason, attempt=attempt, seconds=seconds)
        self.progress.failed[work.task.task_id] = reason

    def skip(self, work: Work, reason: str) -> None:
        """A task cannot begin, for it cannot be paid."""
        task_id, progress = work.task.task_id, self.progress
        if task_id not in self.works:
            return  # all its first jobs are refused alike; one of them has said so
        self.drop(work)
        progress.unaffordable[task_id] = reason
        self._writer.task_skipped(task_id, reason)
        progress.skipped[task_id] = reason
        self._apply(progress.propagate_failure(task_id))

    def accept_failure(self, task: Task, what: str) -> None:
        """A task came to nothing for good: end the run, or let what needs it be skipped."""
        if task.on_failure == "fail":
            text = f"Task {task.task_id!r} {what} (its on_failure is 'fail', so the run ended there)"
            self.halt = StopRequested(reason=text[:MAX_REASON_CHARS], state="failed")
            return
        self._apply(self.progress.propagate_failure(task.task_id))

    def drop(self, work: Work) -> None:
        """A task is over, or begins anew later: nothing more of this work will start."""
        self.works.pop(work.task.task_id, None)
        self._ready.drop(work)

    def ask_person(self, question: Question, attempt: Attempt | None) -> None:
        """Let a task wait for a person. Nothing of it is under way meanwhile; `attempt` is its only one."""
        self._writer.task_asked(question, attempt)
        self.questions.add(question)
        self.progress.asking[question.task_id] = question.question_id

    def begins_anew(self, work: Work) -> None:
        """The attempts of a task are told of; those of its next work are counted on from there."""
        self._told[work.task.task_id] = work.earlier + len(work.attempts)

    def on_answer(self, message: Mapping[str, Any], at: float) -> None:
        """A message may answer what a task asked."""
        question = self.questions.answer(message, at)
        if question is None or self.progress.asking.get(question.task_id) != question.question_id:
            return
        task_id = question.task_id
        self._writer.question_answered(question)
        rejected = why_rejected(question)
        if rejected is None:
            self._apply(self.progress.answer(task_id))
            return
        del self.progress.asking[task_id]
        self._writer.task_rejected(task_id, rejected)
        self.progress.failed[task_id] = rejected
        self.accept_failure(self.progress.graph[task_id], rejected)

    def given(self, task: Task, agent: str = "") -> Given:
        """Return what a task is given now, for people to judge; without an agent, as whoever the plan says gets it."""
        outputs, estimate = self.progress.outputs, self.plan.estimates.get(task.task_id)
        upstream = {name: outputs[name] for name in task.dependencies if name in outputs}
        with suppress(LookupError):  # then it fails when it begins, with the reason
            task = task.resolved(upstream)
        return Given(
            task=task,
            upstream=upstream,
            agent=agent or str(self.plan.strategy_of(task.task_id)),
            expected_usd=None if estimate is None else estimate.cost_usd,
        )

    @property
    def begun(self) -> frozenset[str]:
        """Tasks that are over, run, or wait for a person."""
        progress = self.progress
        at_work = {task_id for task_id, work in self.works.items() if work.started is not None}
        return frozenset({*progress.outputs, *progress.failed, *progress.skipped, *progress.asking, *at_work})

    def still_to_pay(self) -> float:
        """Return what the tasks that have not begun are expected to cost."""
        begun = {task_id for task_id, work in self.works.items() if work.attempts}
        return sum(
            self.plan.estimates[task_id].cost_usd
            for task_id in self.progress.graph.tasks
            if task_id not in begun and not self.progress.is_over(task_id)
        )

    def _apply(self, found: Consequences) -> None:
        for task_id, reason in found.skipped.items():
            self._writer.task_skipped(task_id, reason)
        self._begin(found.ready)

    def _begin(self, ready: Iterable[str]) -> None:
        """Tasks are ready: hand out their first jobs, unless a person has to approve them first."""
        if self.is_stopping:
            return
        for task_id in ready:
            if task_id in self.works or task_id in self.progress.asking or task_id in self.progress.failed:
                continue
            task = self.progress.graph[task_id]
            if self.questions.concern(task):
                question = self.questions.before_start(self.given(task))
                if question is not None:
                    self.ask_person(question, None)
                    continue
            strategy, guarded = self.plan.strategy_of(task_id), self._checks.guards(task)
            work = Work(task=task, strategy=strategy, guarded=guarded, earlier=self._told.get(task_id, 0))
            self.works[task_id] = work
            if work.simple:
                self._ready.push(work.only_job())
                continue
            move = work.next()
            assert isinstance(move, Ask)  # nothing is known yet
            for job in work.new_jobs(move):
                self._ready.push(job)


@dataclass(frozen=True, kw_only=True, slots=True)
class Owners:
    """The state of one execution."""

    run_id: str
    agents: AgentRegistry
    limits: ExecutionLimits
    deadlines: Deadlines
    reports: Reports
    spending: Spending
    writer: JournalWriter
    ready: ReadyJobs
    running: RunningJobs
    rests: Rests
    tasks: Tasks
