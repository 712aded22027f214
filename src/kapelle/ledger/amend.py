"""What people say of outcomes afterwards: forget those of an agent, or this is how good an answer was.

Outcomes are append-only, so both are rows of the same table, told apart by their step, and no event of a run changes.
Every reader of outcomes reads them through `amend`: what is forgotten is left out, and the last rating of an answer is
its measured quality.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .outcome import Outcome

FORGET = "forget"
"""The step of a row that says: what came before me counts no more."""
RATING = "rating"
"""The step of a row that says how good the answer to a task was."""
ANY_TYPE = "*"
BEFORE = "before"
"""The feature of a row that forgets only what ended before a time, in seconds since the epoch."""


def forget_row(agent: str, task_type: str | None, before: float | None, *, by: str, at: float) -> Outcome:
    """Return the row that forgets an agent's outcomes so far: of one type of task, or of all."""
    features = {**({} if before is None else {BEFORE: before}), "by": by}
    return Outcome(
        run_id="",
        task_id="",
        task_type=ANY_TYPE if task_type is None else task_type,
        agent=agent,
        success=False,
        step=FORGET,
        features=features,
        at=at,
    )


def rating_row(run_id: str, task_id: str, task_type: str, agent: str, value: float, *, by: str, at: float) -> Outcome:
    """Return the row that says how good an agent's answer to a task was.

    Raises:
        InvalidInput: the value lies outside 0..1.
    """
    return Outcome(
        run_id=run_id,
        task_id=task_id,
        task_type=task_type,
        agent=agent,
        success=True,
        step=RATING,
        quality=value,
        features={"measured_by": "person", "by": by},
        at=at,
    )


def is_forgotten(outcome: Outcome, mark: Outcome) -> bool:
    """Whether a row that forgets, and comes later, means an outcome."""
    before = mark.features.get(BEFORE)
    return (
        outcome.agent == mark.agent
        and mark.task_type in (ANY_TYPE, outcome.task_type)
        and (not isinstance(before, (int, float)) or outcome.at < before)
    )


def amend(rows: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return the outcomes that count, oldest first as they were given, each with the last word on its quality."""
    rows = tuple(rows)
    if not any(row.step in (FORGET, RATING) for row in rows):
        return rows
    kept: dict[int, Outcome] = {}
    of_agent: dict[str, set[int]] = {}
    """Where in `kept` an agent's outcomes are: who forgets often looks at these alone."""
    answers: dict[tuple[str, str, str], int] = {}
    for number, row in enumerate(rows):
        if row.step == FORGET:
            mine = of_agent.get(row.agent, set())
            gone = {place for place in mine if is_forgotten(kept[place], row)}
            mine -= gone
            for place in gone:
                del kept[place]
        elif row.step == RATING:
            answer = answers.get((row.run_id, row.task_id, row.agent))
            if answer in kept:
                rated = kept[answer]
                kept[answer] = replace(rated, quality=row.quality, features={**rated.features, **row.features})
        else:
            kept[number] = row
            of_agent.setdefault(row.agent, set()).add(number)
            if row.success and row.step != "verifier":
                answers[row.run_id, row.task_id, row.agent] = number
    return tuple(kept.values())
