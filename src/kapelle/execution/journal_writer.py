"""All that an execution writes: every change to a task or its graph, and with a task's end what became of each attempt.

The journal is written before the change takes effect. Fields that hold nothing are left out: a reader takes an absent
cost for none, and the journal stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any

from kapelle.agents import StepEvent
from kapelle.allocation import VERIFY
from kapelle.estimates import estimates_to_dict
from kapelle.graph import describe_change
from kapelle.ledger import EventKind, Journal, Outcome, Question, Usage
from kapelle.routing import RoutedTask
from kapelle.strategies import Accept, Verdict, strategy_to_dict, task_context
from kapelle.validation import ApprovedPlan

from .error_reports import MAX_REASON_CHARS
from .growth import mode_of
from .spending import no_usage
from .work import Attempt, Job, Work

MAX_TEXT_CHARS = 2_000
"""What an outcome keeps of its task's words: how hard a task is, is learned from them."""
_ASKED_ABOUT = (
    "asker", "arguments", "agent", "task_type", "description", "inputs", "upstream", "expected_usd", "arguments_hash",
    "asked_hash",
)  # fmt: skip
"""Fields of a question that say what it is about, and are left out where they are empty."""


class JournalWriter:
    """Writes what happens in a run into its journal.

    Args:
        clock: What time it is, in seconds since the epoch.
        find_versions: Finds out which version of each agent there is; asked once there is an outcome to tell.
    """

    def __init__(
        self,
        journal: Journal,
        plan: ApprovedPlan,
        clock: Callable[[], float],
        find_versions: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self.run_id = journal.run_id
        self._is_off, self._keeps_outcomes = journal.is_off, journal.keeps_outcomes
        self._plan = plan
        self._find_versions = find_versions
        self._versions: Mapping[str, str] | None = None

    def held(self) -> AbstractContextManager[None]:
        """Hold what is written until it is committed: see Journal."""
        return self._journal.held()

    def commit(self) -> None:
        """Write down a turn of the executor's loop. Until then no effect of what it tells has begun."""
        self._journal.commit()

    def apply_plan(self, plan: ApprovedPlan) -> None:
        """Tell of another plan from now on."""
        self._plan = plan

    def task_started(self, job: Job, reserved_usd: float, *, in_steps: bool = False) -> None:
        """Tell that a task begins, with its first job; and whether its agent tells of each step that costs."""
        if self._is_off:
            return
        data = {"agent": job.agent, **_money(reserved_usd=reserved_usd), **_in_steps(in_steps)}
        self._write("task_started", data, job.work.task.task_id)

    def attempt_started(
        self, work: Work, number: int, agent: str, reserved_usd: float, *, in_steps: bool = False
    ) -> None:
        """Tell that an agent is asked: one of several, or once more."""
        data = {"attempt": work.earlier + number, "agent": agent, "step": work.step_of(agent), **_in_steps(in_steps)}
        self._write("attempt_started", {**data, **_money(reserved_usd=reserved_usd)}, work.task.task_id)

    def attempt_finished(self, work: Work, number: int, **more: Any) -> None:
        """Tell what an attempt gave, or why it gave nothing."""
        attempt = work.attempts[number]
        data = {"attempt": work.earlier + number, **_used(attempt), **more}
        if attempt.reason is None:
            data["output"] = None if attempt.result is None else attempt.result.output
        else:
            data["reason"] = attempt.reason
        self._write("attempt_finished", data, work.task.task_id)

    def check_started(self, job: Job, reserved_usd: float) -> None:
        """Tell that an agent is asked to examine what another gave."""
        data = {"attempt": job.work.earlier + job.attempt, "check": str(job.check), "reserved_usd": reserved_usd}
        self._write("check_started", data, job.work.task.task_id)

    def attempt_checked(self, job: Job, verdict: Verdict, seconds: float) -> None:
        """Tell what a check found; an agent that was paid for it is judged as a verifier."""
        data = {
            "attempt": job.work.earlier + job.attempt,
            "check": str(job.check),
            "passed": verdict.passed,
            "note": verdict.note[:MAX_REASON_CHARS],
            **_money(cost_usd=verdict.cost_usd),
            **_usage(verdict.usage),
            "seconds": seconds,
        }
        is_assumed = job.judge_cost is not None and job.judge_cost[1]
        if is_assumed:
            data["cost_assumed"] = True
        outcomes: list[Outcome] = []
        if job.agent is not None and job.reservation is not None and self._keeps_outcomes:
            judge = Attempt(
                agent=job.agent,
                step="verifier",
                reason=None if verdict.passed or verdict.measured else verdict.note,
                cost_usd=verdict.cost_usd,
                usage=verdict.usage,
                cost_assumed=is_assumed,
                seconds=seconds,
            )
            outcomes.append(replace(self._outcome(job.work, judge, None), task_type=VERIFY))
        self._write("attempt_checked", data, job.work.task.task_id, outcomes)

    def task_steps(self, task_id: str, agent: str, events: Sequence[StepEvent]) -> None:
        """Tell what an agent that acts in steps has done, and write it down at once."""
        for one in events:
            data = {"agent": agent, "what": one.kind, "number": one.step, "data": dict(one.data)}
            self._write("task_step", data, task_id)
        self._journal.commit()

    def task_finished(
        self, work: Work, attempt: Attempt, accepted: Accept | None, seconds: float, *, by_heart: bool
    ) -> None:
        """Tell that a task is done: with what its strategy has accepted or, where that is None, its only attempt."""
        if not self._keeps_outcomes:
            return
        assert attempt.result is not None
        if accepted is None:
            by, quality = None, attempt.result.quality
            data, decision = ({} if self._is_off else _used(attempt)), {}
        else:
            by, quality = accepted.agent, work.quality_of(attempt, accepted.agent)[0]
            data, decision = {"agent": by}, {"decision": accepted.reason, "seconds": seconds}
        data["output"] = attempt.result.output
        if quality is not None:
            data["quality"] = quality
        if by_heart:
            data["from_memory"] = True
        self._write("task_finished", {**data, **decision}, work.task.task_id, self._outcomes(work, by))

    def task_failed(
        self, work: Work, reason: str, *, attempt: Attempt | None = None, seconds: float | None = None
    ) -> None:
        """Tell that a task has failed: with its only attempt, after so many seconds of several, or before it began."""
        data: dict[str, Any] = {} if attempt is None else _used(attempt)
        data["reason"] = reason
        if seconds is not None:
            data["seconds"] = seconds
        if kinds := work.failures():
            data["failures"] = kinds
        self._write("task_failed", data, work.task.task_id, self._outcomes(work, None))

    def task_rejected(self, task_id: str, reason: str) -> None:
        """Tell that a person has said no to a task."""
        self._write("task_failed", {"reason": reason}, task_id)

    def task_skipped(self, task_id: str, reason: str, **by_stop: bool) -> None:
        """Tell that a task will not begin."""
        self._write("task_skipped", {"reason": reason, **by_stop}, task_id)

    def task_cancelled(
        self, work: Work, reason: str, *, attempt: Attempt | None = None, seconds: float | None = None
    ) -> None:
        """Tell that a task was stopped: in its only attempt, or after so many seconds of several."""
        data = {"reason": reason, **({} if seconds is None else {"seconds": seconds}), "by_stop": True}
        if attempt is not None:
            self._write("task_cancelled", {**data, **_used(attempt)}, work.task.task_id)
        else:
            self._write("task_cancelled", data, work.task.task_id, self._outcomes(work, None))

    def task_asked(self, question: Question, attempt: Attempt | None) -> None:
        """Tell that a task waits for a person, and what its agent had used until then."""
        data = {
            "question_id": question.question_id,
            "kind": question.kind,
            "about": question.about,
            "text": question.text,
            **({"options": list(question.options)} if question.options else {}),
            **{name: value for name in _ASKED_ABOUT if (value := getattr(question, name)) not in (None, "", {})},
            **({} if attempt is None else _used(attempt)),
        }
        self._write("task_asked", data, question.task_id)

    def question_answered(self, question: Question) -> None:
        """Tell what a person has answered."""
        data = {"question_id": question.question_id, "answer": question.answer, "note": question.note}
        self._write("question_answered", {**data, "by": question.by}, question.task_id)

    def task_expanded(self, work: Work, plan: ApprovedPlan, *, attempt: Attempt | None) -> None:
        """Tell that other tasks take the place of one, in another plan; `attempt` is its only one."""
        data = {**({} if attempt is None else _used(attempt)), **_describe_growth(self._plan, plan)}
        self._write("task_expanded", data, work.task.task_id, self._outcomes(work, None))

    def planning_started(self, task_id: str, reserved_usd: float) -> None:
        """Tell that the work of a task is planned anew, or what it gave is looked at."""
        self._journal.write("planning_started", {"replaces": task_id, "reserved_usd": reserved_usd})

    def planning_ended(self, task_id: str, reason: str, cost_usd: float, usage: Usage) -> None:
        """Tell what that has cost, where nothing has come of it."""
        data = {"replaces": task_id, "reason": reason, **_planning(cost_usd, usage)}
        self._journal.write("planning_spent", data)

    def planning_stopped(self, task_id: str, reason: str, cost_usd: float) -> None:
        """Tell that it was cut off, and what is charged for it."""
        data = {"replaces": task_id, "reason": reason, "by_stop": True, "planning_cost_usd": cost_usd}
        self._journal.write("planning_spent", data)

    def graph_patched(self, task_id: str, reason: str, plan: ApprovedPlan, cost_usd: float, usage: Usage) -> None:
        """Tell that it has given another plan."""
        data = {"replaces": task_id, "reason": reason, **_describe_growth(self._plan, plan)}
        self._journal.write("graph_patched", {**data, **_planning(cost_usd, usage)})

    def plan_reassigned(self, why: str, plan: ApprovedPlan) -> None:
        """Tell which tasks other agents do from now on, or the same in other ways, and why."""
        before = self._plan.routed.tasks
        moved = {name: one for name, one in plan.routed.tasks.items() if not one.is_done_like(before[name])}
        self._journal.write("plan_reassigned", {"reason": why, **_describe_routing(plan, moved)})

    def _write(self, kind: EventKind, data: dict[str, Any], task_id: str, outcomes: Sequence[Outcome] = ()) -> None:
        self._journal.write(kind, data, task_id=task_id, outcomes=outcomes)

    def _outcomes(self, work: Work, accepted: str | None) -> list[Outcome]:
        """Return what became of every attempt of a task, now that it is known what each was worth."""
        if not self._keeps_outcomes:
            return []
        return [self._outcome(work, attempt, accepted) for attempt in work.attempts if attempt.ended]

    def _outcome(self, work: Work, attempt: Attempt, accepted: str | None) -> Outcome:
        task = work.task
        if self._versions is None:
            self._versions = self._find_versions()
        quality, measured_by = work.quality_of(attempt, accepted)
        features = {
            "complexity": self._plan.plan_estimates.complexities[task.task_id],
            "dependencies": len(task.dependencies),
            "text": task.description[:MAX_TEXT_CHARS],
            **_told(work, attempt),
            **mode_of(task),
            **self._plan.routed.tasks[task.task_id].features,
        }
        if measured_by is not None:
            features["measured_by"] = measured_by
        if attempt.cost_assumed:
            features["cost_assumed"] = True
        return Outcome(
            run_id=self._journal.run_id,
            task_id=task.task_id,
            task_type=task.task_type,
            agent=attempt.agent,
            step=attempt.step,
            success=attempt.reason is None and attempt.found_right is not False,
            quality=quality,
            usage=attempt.usage,
            cost_usd=attempt.cost_usd,
            seconds=attempt.seconds,
            error=attempt.reason,
            failure=None if attempt.reason is None else attempt.failure,
            agent_version=self._versions.get(attempt.agent),
            features=features,
            at=self._clock(),
        )


def _used(attempt: Attempt) -> dict[str, Any]:
    """Return what an event says of what an attempt used, and of where it failed."""
    data = {**_money(cost_usd=attempt.cost_usd), **_usage(attempt.usage), "seconds": attempt.seconds}
    if attempt.cost_assumed:
        data["cost_assumed"] = True
    if attempt.unpriced_model is not None:
        data["unpriced_model"] = attempt.unpriced_model
    if attempt.traceback is not None:
        data["traceback"] = attempt.traceback
    if attempt.readings:
        data["readings"] = [dict(one) for one in attempt.readings]
    return data


def _describe_growth(before: ApprovedPlan, plan: ApprovedPlan) -> dict[str, Any]:
    """Return what the journal needs to know of a graph that has changed: what is new."""
    change = describe_change(before.dag, plan.dag)
    new = {task["task_id"]: plan.routed.tasks[task["task_id"]] for task in change["tasks"]}
    return {"change": change, **_describe_routing(plan, new)}


def _describe_routing(plan: ApprovedPlan, tasks: Mapping[str, RoutedTask]) -> dict[str, Any]:
    """Return who does some tasks of a plan, why, and what that is expected to take."""
    return {
        "assignments": {task_id: one.agent for task_id, one in tasks.items()},
        "explanations": {task_id: one.reason for task_id, one in tasks.items()},
        "strategies": {
            task_id: strategy_to_dict(one.strategy) for task_id, one in tasks.items() if one.strategy is not None
        },
        "estimates": estimates_to_dict({task_id: plan.estimates[task_id] for task_id in tasks}),
    }


def _told(work: Work, attempt: Attempt) -> dict[str, Any]:
    """What an outcome says of an answer that was compared or checked: strategies are found by it."""
    answer = work.answers.get(attempt.agent)
    if answer is None:
        return {}
    told: dict[str, Any] = {"answer": (answer.canonical or "")[:MAX_TEXT_CHARS]}
    if found := work.found_by_checks(attempt):
        told["checks"] = found
    if context := task_context(work.task)[:MAX_TEXT_CHARS]:
        told["context"] = context
    return told


def _in_steps(in_steps: bool) -> dict[str, bool]:
    return {"in_steps": True} if in_steps else {}


def _planning(cost_usd: float, usage: Usage) -> dict[str, Any]:
    return {"planning_cost_usd": cost_usd, "planning_usage": asdict(usage)}


def _money(**amounts: float) -> dict[str, float]:
    return {name: amount for name, amount in amounts.items() if amount}


def _usage(usage: Usage) -> dict[str, Any]:
    return {} if no_usage(usage) else {"usage": {name: count for name, count in asdict(usage).items() if count}}
