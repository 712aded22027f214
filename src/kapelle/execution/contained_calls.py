"""Calls what user code gives a run beside its agents (checks, planners, reflectors), and reads what that gives.

It may end its own work, not the program; what it returns may be anything, and what leaves here is plain.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeGuard, TypeVar

from kapelle.agents import AgentResult
from kapelle.errors import AgentFailed
from kapelle.graph import GraphPatch, Task, TaskDAG
from kapelle.ledger import read_usage, read_usd
from kapelle.strategies import Verdict, read_passed

from .error_texts import describe_error, read_text
from .growth import Reflection
from .results import ReadResult

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
        given = replace(given, expansion=TaskDAG.copied(given.expansion))
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
