"""Splits the words of a request into tasks; see rule_planner for the shapes that are understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from kapelle.agents import AgentCapability
from kapelle.errors import CannotPlan
from kapelle.graph import TaskDAG

from . import request_shapes as shapes
from .draft import Draft
from .each import close_each, repeat_step
from .stand_ins import StandIns
from .steps import add_step, split_request, tasks_of

MAX_REQUEST_CHARS = 20_000
"""A request is what a person types. Longer material belongs into a file that an agent reads."""


def split(
    request: str,
    agents: Mapping[str, AgentCapability],
    *,
    answers_from_tables: Callable[[str], bool] | None,
    files: Sequence[str],
) -> TaskDAG:
    """Return the tasks of a request; the rest is as in RulePlanner.

    Raises:
        CannotPlan: it is not understood.
    """
    with _drafting(request, agents, StandIns(request), answers_from_tables, files) as draft:
        for step in split_request(draft):
            add_step(draft, step)
        close_each(draft)
        return draft.finish()


def split_each(
    items: Sequence[str],
    body: str,
    agents: Mapping[str, AgentCapability],
    stand_ins: StandIns | None,
    *,
    answers_from_tables: Callable[[str], bool] | None,
    files: Sequence[str],
) -> TaskDAG:
    """Return the tasks that do the body for each item; see `RulePlanner.plan_each`."""
    with _drafting(body, agents, stand_ins or StandIns(body), answers_from_tables, files) as draft:
        names = draft.take_items(items)
        for step in split_request(draft):
            repeat_step(draft, names, step)
        return TaskDAG(draft.filled())


@contextmanager
def _drafting(
    request: str,
    agents: Mapping[str, AgentCapability],
    stand_ins: StandIns,
    answers_from_tables: Callable[[str], bool] | None,
    files: Sequence[str],
) -> Iterator[Draft]:
    """Give the draft of a request; errors of its planning name what the request says, not the stand-ins."""
    _check_length(request)
    types = tuple(dict.fromkeys(kind for agent in agents.values() for kind in agent.task_types))
    words = stand_ins.hide_quoted(request, shapes.file_ending)
    try:
        yield Draft(words, types, answers_from_tables, stand_ins, tasks_of, tuple(files))
    except CannotPlan as error:
        raise CannotPlan(stand_ins.fill_message(str(error))) from None


def _check_length(request: str) -> None:
    text = request.strip()
    if not text:
        raise CannotPlan(
            "The request is empty. Say what you want, such as 'Compare the capitals of France and Germany'."
        )
    if len(text) > MAX_REQUEST_CHARS:
        raise CannotPlan(
            f"The request has {len(text):,} characters; at most {MAX_REQUEST_CHARS:,} are read. "
            "Put long material into a file, and name it in the request."
        )
