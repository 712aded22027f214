"""Calls agents, checks, planners and watchers: what each is given, and what is read of it. Settles and writes nothing.

User code may end its own work, not the program; what it returns may be anything, and what leaves here is plain. A
watcher only looks on: what it raises, be it a KeyboardInterrupt or a cancellation, is logged once, and it is not called
again. An async one is called in vain, for nobody awaits it: the same is said of it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeGuard, TypeVar

from kapelle.agents import (
    AgentResult,
    HumanAnswer,
    PartialText,
    StepLog,
    TaskContext,
    acts_in_steps,
    runs_on_thread,
)
from kapelle.errors import AgentFailed
from kapelle.graph import GraphPatch, Task, TaskDAG, clone_json_value
from kapelle.ledger import read_usage, read_usd
from kapelle.redaction import get_logger
from kapelle.strategies import Check, Checks, Verdict, read_passed

from .backends import AsyncioBackend, Backend
from .error_reports import describe_error, find_asked, read_failure, read_text
from .growth import Reflection
from .results import MAX_LOOP_S, Patience, ReadResult, is_read, read_given, read_on_thread, read_there
from .task_steps import TaskSteps
from .tasks import Owners
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
        steps: TaskSteps,
        on_text: Callable[[PartialText], None] | None,
    ) -> None:
        self.run_id, self._agents, self._tasks, self._running = own.run_id, own.agents, own.tasks, own.running
        self._deadlines, self._rests, self._spending = own.deadlines, own.rests, own.spending
        self._places = own.ready
        self._request, self._backend, self._checks, self._on_text = request, backend, checks, on_text
        self._in_loop = isinstance(backend, AsyncioBackend)
        self._steps = steps

    async def ask(self, agent: str, task: Task, context: TaskContext) -> AgentResult:
        """Return what an agent gives, read where its code may run.

        Raises:
            AgentFailed: it raised what ends programs; anything else is raised as it is.
        """
        try:
            runner = self._agents.runner(agent)
            with self._places.inside(agent):
                if self._in_loop or acts_in_steps(runner):  # its steps go into the journal, which is here
                    given = await runner.run(task, context)
                else:
                    given = await self._backend.run(agent, runner, task, context)
            if acts_in_steps(runner):
                self._steps.forget(task.task_id, agent)
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
            upstream_tasks=_TitledTasks({name: tasks[name] for name in task.dependencies}, outputs),
            from_memory=frozenset(progress.from_memory.intersection(task.dependencies)),
            missing=missing,
            idempotency_key=key,
            answers=answers,
            reserved_usd=reserved_usd,
            seconds_left=seconds_left,
            tell=tell,
            steps=self._steps_of(job),
        )

    def is_in_steps(self, job: Job) -> bool:
        """Whether the agent of a job tells of each step that it takes."""
        return job.check is None and job.agent is not None and self._agents.acts_in_steps(job.agent)

    def _steps_of(self, job: Job) -> StepLog | None:
        """Return where an agent that acts in steps keeps them; None for all others."""
        if not self.is_in_steps(job):
            return None
        assert job.agent is not None
        return self._steps.log(
            job.work.task.task_id, job.agent, is_at_work=lambda: job in self._running and job.expired is None
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


class _TitledTasks(Mapping[str, Task]):
    """Tasks for those who title what they gave, each a copy of its own that is made when it is looked at: every start
    of a task brings those it depends on, and most agents look at none."""

    def __init__(self, tasks: dict[str, Task], outputs: Mapping[str, Any]) -> None:
        self._tasks, self._outputs = tasks, outputs
        self._copies: dict[str, Task] = {}

    def __getitem__(self, name: str) -> Task:
        if name not in self._copies:
            self._copies.setdefault(name, _as_titled(self._tasks[name], self._outputs))
        return self._copies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # to another process goes what may be looked at, not all outputs of the run


def _as_titled(task: Task, outputs: Mapping[str, Any]) -> Task:
    """Return a task for those who title what it gave: where it has no description, its inputs say what it was."""
    if task.references and not task.description.strip():
        with suppress(LookupError):
            return task.resolved(outputs)
    return task.copied()


_T = TypeVar("_T")


async def call_contained(who: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what user code returns, or what it returns when awaited. It may end its own work, not the program.

    Raises:
        AgentFailed: it raised what ends programs (SystemExit, KeyboardInterrupt); anything else is raised as it is.
    """
    try:
        found = function(*arguments)
        return with_own_tasks(await found if inspect.isawaitable(found) else found)
    except (Exception, asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        raise AgentFailed(f"{who} raised {describe_error(error)}.") from error


def with_own_tasks(found: _T) -> _T:
    """Return what user code gave, with copies of the tasks in it: it may keep them, and change them at any time."""
    given: Any = found
    if type(given) in (AgentResult, ReadResult) and issubclass(type(given.expansion), TaskDAG):
        # Proven anew: a thread that goes on may add to the one that it gave.
        given = replace(given, expansion=TaskDAG([task.copied() for task in TaskDAG.__iter__(given.expansion)]))
    elif type(given) is Reflection and _is_patch(given.patch):
        given = replace(given, patch=_copied(given.patch))
    kept: _T = given
    return kept


def read_verdict(work: asyncio.Task[Verdict]) -> tuple[Verdict | None, str | None]:
    """Return what an ended check has found; or, where it found nothing that can be read, why."""
    found, why = _finished(work)
    if why is not None:
        return None, why
    if not isinstance(found, Verdict):
        return None, f"It gave a {type(found).__name__} instead of a Verdict."
    try:
        cost_usd, usage = read_usd(found.cost_usd), read_usage(found.usage)
        note, passed = read_text(found.note), read_passed(found.passed)
        if passed is None:
            return None, f"It gave a Verdict whose `passed` is a {type(found.passed).__name__}, no True or False."
        faulty = found.faulty is True and not passed
        return Verdict(
            passed=passed,
            note=note,
            cost_usd=cost_usd,
            usage=usage,
            faulty=faulty,
            measured=found.measured is not False and not faulty,
        ), None
    except BaseException as problem:  # its note, or what it calls passed, is somebody's own
        return None, describe_error(problem)


def read_reflection(work: asyncio.Task[Reflection | None]) -> tuple[Reflection | None, str | None]:
    """Return what a reflector has found; or, where that cannot be read, why. None of both: nothing is to change."""
    found, why = _finished(work)
    if why is not None or found is None:
        return None, why
    if not isinstance(found, Reflection):
        return None, f"It gave a {type(found).__name__} instead of a Reflection."
    try:
        cost_usd, usage = read_usd(found.cost_usd, by="The reflector"), read_usage(found.usage, by="The reflector")
        if found.patch is not None and not _is_patch(found.patch):
            return None, "Its patch is no GraphPatch of tasks."
        return Reflection(patch=found.patch, reason=read_text(found.reason), usage=usage, cost_usd=cost_usd), None
    except BaseException as problem:  # as above
        return None, describe_error(problem)


def read_new_plan(work: asyncio.Task[AgentResult | None]) -> tuple[AgentResult | None, str | None]:
    """Return what a replanner has found; or, where that cannot be read, why. None of both: there is no other way."""
    found, why = _finished(work)
    if why is not None or found is None:
        return None, why
    if not isinstance(found, AgentResult):
        return None, f"it gave a {type(found).__name__} instead of an AgentResult"
    try:
        cost_usd = None if found.cost_usd is None else read_usd(found.cost_usd, by="The replanner")
        usage = read_usage(found.usage, by="The replanner")
        return AgentResult(output=None, usage=usage, cost_usd=cost_usd, expansion=found.expansion), None
    except BaseException as problem:  # as above
        return None, describe_error(problem)


def _is_patch(patch: object) -> TypeGuard[GraphPatch]:
    if type(patch) is not GraphPatch:
        return False
    tasks = (*patch.add, *patch.replace, *(task for parts in patch.expand.values() for task in parts))
    return all(type(task) is Task for task in tasks)


def _copied(patch: GraphPatch) -> GraphPatch:
    return GraphPatch(
        add=tuple(task.copied() for task in patch.add),
        remove=patch.remove,
        replace=tuple(task.copied() for task in patch.replace),
        expand={name: tuple(task.copied() for task in parts) for name, parts in patch.expand.items()},
    )


def _finished(work: asyncio.Task[Any]) -> tuple[Any, str | None]:
    """Return what ended work has returned, or why it has returned nothing."""
    if work.cancelled():
        return None, "It cancelled itself."
    error = work.exception()
    return (None, describe_error(error)) if error is not None else (work.result(), None)


def contained(watcher: Callable[[_T], object], what: str) -> Callable[[_T], None]:
    """Return a function that calls a watcher, as long as it does no harm.

    Args:
        what: What it is, for the log: `on_text of run r1`.
    """
    is_wrong = False

    def watch(item: _T) -> None:
        nonlocal is_wrong
        if is_wrong:
            return
        try:
            found: Any = watcher(item)
            if inspect.isawaitable(found):
                _close(found)
                raise TypeError("it is async, and nobody awaits it")
        except BaseException:  # also what ends programs, and cancellations: neither is a watcher's to decide
            is_wrong = True
            logger.exception("%s failed; it is not called again.", what)

    return watch


def _close(found: Any) -> None:
    """End what nobody awaits, so that Python does not complain of it."""
    end = getattr(found, "close", None) or getattr(found, "cancel", None)
    if end is not None:
        end()
