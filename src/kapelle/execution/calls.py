"""Calls agents and checks: what each is given, and what is read of it where it ran. Settles and writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kapelle.agents import AgentResult, HumanAnswer, PartialText, TaskContext, runs_on_thread
from kapelle.errors import AgentFailed
from kapelle.graph import Task, clone_json_value
from kapelle.ledger import read_usd
from kapelle.redaction import get_logger
from kapelle.strategies import Check, Checks, Verdict

from .backends import AsyncioBackend, Backend
from .contained_calls import call_contained, with_own_tasks
from .error_reports import find_asked, read_failure
from .error_texts import describe_error
from .owners import Owners
from .results import MAX_LOOP_S, Patience, is_read, read_given, read_on_thread, read_there
from .work import Job

logger = get_logger(__name__)


class Calls:
    """Makes the calls of one execution."""

    def __init__(
        self,
        own: Owners,
        *,
        request: str,
        backend: Backend,
        checks: Checks,
        on_text: Callable[[PartialText], None] | None,
    ) -> None:
        self.run_id, self._agents, self._tasks, self._running = own.run_id, own.agents, own.tasks, own.running
        self._deadlines, self._rests, self._spending = own.deadlines, own.rests, own.spending
        self._places = own.ready
        self._request, self._backend, self._checks, self._on_text = request, backend, checks, on_text
        self._in_loop = isinstance(backend, AsyncioBackend)

    async def ask(self, agent: str, task: Task, context: TaskContext) -> AgentResult:
        """Return what an agent gives, read where its code may run.

        Raises:
            AgentFailed: it raised what ends programs; anything else is raised as it is.
        """
        try:
            runner = self._agents.runner(agent)
            with self._places.inside(agent):
                if self._in_loop:
                    given = await runner.run(task, context)
                else:
                    given = await self._backend.run(agent, runner, task, context)
            given = with_own_tasks(given)
            if is_read(given):
                return given
            if self._in_loop and runs_on_thread(runner):
                return await read_on_thread(given)
            limit_s = self._deadlines.seconds_for(task, agent)
            patience = Patience(MAX_LOOP_S if limit_s is None else min(limit_s, MAX_LOOP_S), self._deadlines.now)
            return read_there(given, patience)
        except (Exception, asyncio.CancelledError, GeneratorExit) as error:
            if (asked := find_asked(error)) is not None:
                raise asked from None
            raise
        except BaseException as error:  # an agent may end its own task, not the program
            raise AgentFailed(f"The agent raised {describe_error(error)}.") from error

    async def examine(self, job: Job, check: Check, task: Task, context: TaskContext) -> Verdict:
        """Return what a check finds; what its agent has cost is noted at the job."""
        result = job.work.attempts[job.attempt].result
        assert result is not None

        async def ask(agent: str, question: Task) -> AgentResult:
            if agent != job.agent:
                raise AgentFailed(f"The check asks {agent!r}, but was to ask {job.agent!r} only.")
            try:
                given, why = read_given(await self.ask(agent, question, context))
            except Exception as error:
                self._rests.heed(job, error)
                job.judge_cost = self._spending.cost_of(job, read_failure(error)[0])
                raise
            job.judge_cost = self._spending.cost_of(job, given)
            if given is None or why is not None:
                raise AgentFailed(why or "")
            return given

        output = clone_json_value(result.output)
        found: Verdict = await call_contained("The check", lambda: self._checks.examine(check, task, output, ask=ask))
        return found

    def most_usd(self, job: Job) -> float | None:
        """Return what an agent says that a job costs at most; None where it does not know."""
        if job.agent is None or job.check is not None:
            return None
        bound = getattr(self._agents.runner(job.agent), "most_usd", None)
        if bound is None:
            return None
        context, task = self.context(job), job.work.task
        try:
            found = bound(task.resolved(context.upstream), context)
            return None if found is None else read_usd(found)
        except LookupError:
            return None  # an input cannot be filled, as its start will say
        except Exception as error:
            logger.warning("What %r costs at most cannot be told: %s", job.agent, describe_error(error))
            return None

    def context(self, job: Job, reserved_usd: float | None = None) -> TaskContext:
        """Return what is given with the task of a job."""
        work, task = job.work, job.work.task
        progress = self._tasks.progress
        outputs, tasks = progress.outputs, progress.graph.tasks
        if job.check is None:
            assert job.agent is not None
            key, tell = work.key(self.run_id, job.agent), self._emitter(job)
        else:
            key, tell = f"{self.run_id}/{task.task_id}/{job.attempt}/check", None
        answers, seconds_left = self._answers_for(job), self._deadlines.seconds_left(task, job.agent)
        # Copies: a dependent may change what it was given, and no other one, nor the ledger, sees that.
        upstream = {name: clone_json_value(outputs[name]) for name in task.dependencies if name in outputs}
        missing = {}
        if len(upstream) < len(task.dependencies):
            missing = {name: progress.reason_of(name) for name in task.dependencies if name not in outputs}
        return TaskContext(
            run_id=self.run_id,
            request=self._request,
            upstream=upstream,
            upstream_tasks={name: _as_titled(tasks[name], outputs) for name in task.dependencies},
            from_memory=frozenset(name for name in task.dependencies if name in progress.from_memory),
            missing=missing,
            idempotency_key=key,
            answers=answers,
            reserved_usd=reserved_usd,
            seconds_left=seconds_left,
            tell=tell,
        )

    def _answers_for(self, job: Job) -> tuple[HumanAnswer, ...]:
        """Return what people have said to the agent of a job. Who judges answers, or plans anew, has asked nothing."""
        task, tasks = job.work.task, self._tasks
        is_asked = job.check is None and tasks.works.get(task.task_id) is job.work
        if not is_asked or not tasks.questions.concern(task):
            return ()
        return tasks.questions.answers_to(tasks.given(task, job.agent or ""))

    def _emitter(self, job: Job) -> Callable[[str], None] | None:
        on_text = self._on_text
        if on_text is None:
            return None
        task_id, agent = job.work.task.task_id, job.agent or ""

        def emit_text(text: str) -> None:
            if job in self._running and job.expired is None:
                on_text(PartialText(run_id=self.run_id, task_id=task_id, agent=agent, text=text))

        return emit_text


def _as_titled(task: Task, outputs: Mapping[str, Any]) -> Task:
    """Return a task for those who title what it gave: where it has no description, its inputs say what it was."""
    if task.references and not task.description.strip():
        with suppress(LookupError):
            return task.resolved(outputs)
    return task.copied()
