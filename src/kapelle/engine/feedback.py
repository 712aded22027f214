"""What a person says about answers: how good they were, and what an agent did that is to count no more.

Writes rows beside the outcomes and changes none of them: no event of a run, and no outcome, is touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kapelle.errors import InvalidInput, NotFound
from kapelle.estimates import CostProfiler, estimate_complexities
from kapelle.ledger import (
    Ledger,
    Outcome,
    RefusedFigure,
    Run,
    forget_row,
    is_forgotten,
    rating_row,
    read_share,
    read_told,
    show_figure,
)

if TYPE_CHECKING:
    from kapelle.learning import RewardFeed

MAX_OUTCOMES = 50_000
"""The newest outcomes, which estimates are learned from when an engine starts: half a second's worth."""
MAX_NAMES = 8


class Feedback:
    """The part of an engine that is told how good answers were."""

    ledger: Ledger
    profiler: CostProfiler
    rewards: RewardFeed | None
    """What teaches the engine's reward model, where it has one."""

    def rate(self, run_id: str, task_id: str | None = None, value: float | bool = 1.0, *, by: str = "") -> list[str]:
        """Say how good the answer to a task was, or the answer of a whole run: that of its last tasks. Also days later.

        It counts as measured: estimates learn from it how right the agent is whose answer was taken. Said again, the
        last word counts. No event of the run changes.

        Args:
            run_id: Its id, an unambiguous beginning of it, or `last`.
            task_id: None rates the run's last tasks, as far as they are done.
            value: 1, or True, for good; 0, or False, for bad; or what lies between.
            by: Who says so.

        Returns:
            The tasks that were rated.

        Raises:
            NotFound: there is no such run, or no such task in it.
            InvalidInput: the task is not done, or the value lies outside 0..1. Nothing is rated.
        """
        try:
            share = 1.0 if value is True else 0.0 if value is False else read_share(value, "value")
        except RefusedFigure:
            raise InvalidInput(f"{show_figure(value)} is no rating. Give a number from 0 (bad) to 1 (good).") from None
        run = read_told(self.ledger, run_id)
        rows = [
            rating_row(run.run_id, name, kind, agent, share, by=by[:200], at=self.ledger.now())
            for name, kind, agent in find_rated(run, task_id)
        ]
        for row in rows:
            self.ledger.record(row)
            self._reward(run, row)
        self._relearn()
        return [row.task_id for row in rows]

    def forget(
        self,
        agent: str,
        task_type: str | None = None,
        before: float | None = None,
        *,
        by: str = "",
        dry_run: bool = False,
    ) -> int:
        """Let what an agent did so far count no more, because it was mended for instance; return how many outcomes.

        No run changes, and nothing is deleted: estimates pass over these outcomes from now on. What `kapelle learn` has
        made of them stays until it is called again.

        Args:
            agent: Its id.
            task_type: Only this type of task; None means all.
            before: Only what ended before this time, in seconds since the epoch.
            by: Who says so.
            dry_run: Only count.

        Raises:
            NotFound: nothing that is meant is in the ledger.
            InvalidInput: `before` is no time.
        """
        if before is not None and (
            isinstance(before, bool) or not isinstance(before, (int, float)) or not math.isfinite(before)
        ):
            raise InvalidInput(f"before={before!r:.40} is no time. Give seconds since the epoch.")
        row = forget_row(agent, task_type, before, by=by[:200], at=self.ledger.now())
        known = self.ledger.outcomes(agent=agent, limit=MAX_OUTCOMES)
        count = sum(is_forgotten(outcome, row) for outcome in known)
        if not count:
            raise NotFound(_nothing_to_forget(agent, task_type, known, self.ledger.outcomes(limit=MAX_OUTCOMES)))
        if not dry_run:
            self.ledger.record(row)
            self._relearn()
        return count

    def _learn_from(self, outcome: Outcome) -> None:
        if self.rewards is not None:
            self.rewards.take(outcome)
        self.profiler.record_outcome(outcome)

    def _reward(self, run: Run, rating: Outcome) -> None:
        """Let the reward model learn from a rating, with what the answer took."""
        if self.rewards is not None and run.graph is not None:
            task = run.graph[rating.task_id]
            features = {
                **rating.features,
                "complexity": estimate_complexities(run.graph)[rating.task_id],
                "text": task.description,
            }
            done = run.tasks[rating.task_id]
            self.rewards.take(replace(rating, cost_usd=done.cost_usd, seconds=done.seconds, features=features))
            self.rewards.save()

    def _relearn(self) -> None:
        self.profiler.relearn(self.ledger.outcomes(limit=MAX_OUTCOMES))


def find_rated(run: Run, task_id: str | None) -> list[tuple[str, str, str]]:
    """Return the tasks that are rated, each with its type and the agent whose answer was taken.

    Raises:
        NotFound: the run has no such task.
        InvalidInput: the task, or none of the run's last ones, is done.
    """
    tasks = run.graph.tasks if run.graph is not None else {}
    if task_id is not None and task_id not in tasks:
        names = _listed(sorted(tasks))
        raise NotFound(f"Run {run.run_id} has no task {task_id!r}. It has: {names}." if names else _no_answer(run))
    if run.graph is None:
        raise InvalidInput(_no_answer(run))
    wanted = [task_id] if task_id is not None else _last_tasks(run)
    rated = []
    for name in wanted:
        state, agent = run.tasks[name].state, run.tasks[name].agent or run.assignments.get(name)
        if state == "done" and agent is not None:
            rated.append((name, tasks[name].task_type, agent))
        elif task_id is not None:
            raise InvalidInput(
                f"Task {name!r} of run {run.run_id} is {state}: there is no answer to rate. "
                f"`kapelle explain {run.run_id}` shows which tasks are done."
            )
    if not rated:
        raise InvalidInput(_no_answer(run))
    return rated


def _nothing_to_forget(agent: str, task_type: str | None, known: Sequence[Outcome], rows: Sequence[Outcome]) -> str:
    """Return why there is nothing to forget, and what there is instead."""
    if known:
        types = _listed(sorted({outcome.task_type for outcome in known}))
        what = "before that time" if task_type is None else f"at {task_type!r} that is meant"
        return f"Agent {agent!r} has done nothing {what}. What it has done: {types}."
    agents = _listed(sorted({outcome.agent for outcome in rows}))
    there = f"There are outcomes of: {agents}." if agents else "The ledger holds no outcomes."
    return f"No outcome of an agent {agent!r} counts. {there}"


def _last_tasks(run: Run) -> list[str]:
    assert run.graph is not None
    needed = {before for task in run.graph for before in run.graph.dependencies(task.task_id)}
    return [task.task_id for task in run.graph if task.task_id not in needed]


def _no_answer(run: Run) -> str:
    return (
        f"Run {run.run_id} is {run.state}, and none of its last tasks is done: there is no answer to rate. Rate a task "
        f"that is done; `kapelle explain {run.run_id}` shows them."
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
