"""What a task asks of a person, and what the person said. A question is an event; so is its answer.

A question is asked by an engine, and answered from wherever people are: the answer is put into the run's inbox, and
the engine that works on the run, now or after a year, takes it from there into the run's events. So a run's events are
written by one engine only, and an answer survives everything that the run survives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kapelle.errors import InvalidInput

QuestionKind = Literal["answer", "approval"]
About = Literal["start", "agent", "rerun"]
"""`start`: the task may begin. `agent`: the agent at work wants to know. `rerun`: it was interrupted, and is unsafe."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a task of a run waits for."""

    question_id: str
    """Its own, among all runs: short enough to type."""
    run_id: str
    task_id: str
    kind: QuestionKind
    text: str
    """The question in words. Untrusted: a model may have written it."""
    options: tuple[str, ...] = ()
    """The answers that there are; none leaves them open."""
    about: About = "agent"
    asked_at: float = 0.0
    """Seconds since the epoch."""
    answer: Any = None
    """What a person said; True or False where it was approved or rejected."""
    note: str = ""
    """Why, in the person's words."""
    answered_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody has answered yet."""
        return self.answered_at is None


def make_question_id(run_id: str, task_id: str, number: int) -> str:
    """Return the id of a task's question with this number: the same after a crash, and another for any other.

    >>> make_question_id("20260101-120000-abcdef", "pay", 0)
    'q-e148d054'
    """
    return "q-" + hashlib.sha256(f"{run_id}/{task_id}/{number}".encode()).hexdigest()[:8]


def already_said(run_id: str, key: str) -> InvalidInput:
    """Return the error for a message whose key is taken."""
    if key.startswith("q-"):
        return InvalidInput(f"Question {key} was answered already; the first answer counts. See `kapelle explain`.")
    return InvalidInput(f"Run {run_id} has been told {key!r} already, and its engine will come to it.")


def answer_message(question: Question, *, answer: Any, note: str = "", by: str = "") -> Mapping[str, Any]:
    """Return what the inbox holds of an answer."""
    return {"question_id": question.question_id, "task_id": question.task_id, "answer": answer, "note": note, "by": by}
