"""What a user asks for, taken in and checked: words, a plan that somebody made, or a proposal. Runs nothing."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kapelle.errors import InvalidInput
from kapelle.ledger import read_usage, read_usd
from kapelle.limits import MAX_TASKS, RunLimits
from kapelle.planning import Plan, take_plan
from kapelle.routing import RoutedPlan

from .kinds_of_work import HARMLESS_TYPES
from .proposal import Proposal

if TYPE_CHECKING:
    from .team import Team


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked for."""

    words: str
    given: Plan | None = None
    """The plan that the user gave, or that a run has planned already; None where it is still to be planned."""
    routed: RoutedPlan | None = None
    """Who does what, where a proposal has decided that."""
    proposed: RunLimits | None = None
    """What that proposal was made for."""

    def held_to(self, asked: RunLimits) -> RunLimits:
        """Return the limits of its run: those asked for, and for the others what it was proposed within."""
        if self.proposed is None:
            return asked
        known = self.proposed
        return replace(
            asked,
            budget_usd=known.left_usd if asked.budget_usd is None else asked.budget_usd,
            deadline_s=known.deadline_s if asked.deadline_s is None else asked.deadline_s,
            min_quality=known.min_quality if asked.min_quality is None else asked.min_quality,
            max_tasks=known.max_tasks if asked.max_tasks is None else asked.max_tasks,
        )


def read_request(request: str | Path | Plan | Proposal, team: Team, *, max_tasks: int = MAX_TASKS) -> Request:
    """Return what a user asks for; a `<graph>` names functions, as models call them, and not types.

    Args:
        max_tasks: How many tasks a file may have.

    Raises:
        InvalidInput: it is none of these, or the plan is wrong.
    """
    if isinstance(request, Proposal):
        plan = read_request(request.plan, team)
        return replace(plan, routed=request.routing, proposed=request.limits)
    if isinstance(request, Plan):
        usage, cost_usd = read_usage(request.usage), read_usd(request.cost_usd)
        words = _check_words(request.request)
        return Request(words=words, given=take_plan(replace(request, request=words, usage=usage, cost_usd=cost_usd)))
    if not isinstance(request, Path):
        return Request(words=_check_words(request))
    from kapelle.planning import read_plan  # with what checks a file, which a plan from elsewhere does not need

    given = read_plan(request, max_tasks=max_tasks)
    if request.suffix.lower() == ".xml":
        from kapelle.planning import fit_types

        graph, notes = fit_types(given.graph, team.registry.runnable(), among=HARMLESS_TYPES)
        given = replace(given, graph=graph, notes=(*given.notes, *notes))
    return Request(words=given.request, given=given)


def check_watcher(on_event: object) -> None:
    """Check that events can be told to it: a plain function."""
    if on_event is not None and not callable(on_event):
        raise InvalidInput(f"on_event={on_event!r:.80} is no function.")
    if inspect.iscoroutinefunction(on_event) or inspect.iscoroutinefunction(getattr(on_event, "__call__", None)):  # noqa: B004 - the method itself is asked for
        raise InvalidInput("on_event is async, and nobody would await it. Give a plain function, or use engine.stream.")


def _check_words(request: object) -> str:
    if not isinstance(request, str):
        raise InvalidInput(f"A request is a text, a Path to a plan file or a Plan, not {type(request).__name__}.")
    return request.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate could not be stored or printed
