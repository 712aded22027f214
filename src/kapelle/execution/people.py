"""What tasks ask of people, and what their answers mean. Pure: the executor asks, waits and goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from kapelle.errors import AskPerson
from kapelle.graph import Task
from kapelle.ledger import Question, make_question_id

MAX_QUESTION_CHARS = 4_000


class Questions:
    """The questions of a run, those of its earlier parts included."""

    def __init__(self, run_id: str, asked: Iterable[Question] = ()) -> None:
        self._run_id = run_id
        self._by_id = {question.question_id: question for question in asked}

    def open(self) -> list[Question]:
        """Return those that nobody has answered."""
        return [question for question in self._by_id.values() if question.is_open]

    def before_start(self, task: Task) -> Question | None:
        """Return the question whether a task may begin; None if it needs no approval, or was approved."""
        if not task.approval or any(one.about == "start" and one.answer is True for one in self._of(task)):
            return None
        what = f": {task.description}" if task.description else ""
        return self._new(task, f"May {task.task_id!r} ({task.task_type}) begin{what}?", about="start")

    def before_rerun(self, task: Task, why: str) -> Question:
        """Return the question whether a task of high risk may begin again; `why` says how it went before."""
        text = (
            f"It {why}, and may have taken effect. Approve to run it again, with the same idempotency key; reject if "
            f"it must not. {task.description or task.task_type}"
        )
        return self._new(task, text, about="rerun")

    def of_agent(self, task: Task, asked: AskPerson) -> Question:
        """Return the question of the agent that works on a task."""
        question = self._new(task, asked.question, about="agent")
        return replace(question, kind=asked.kind, options=asked.options)

    def answers_to(self, task: Task) -> tuple[Any, ...]:
        """Return what people have answered to a task's agent so far."""
        if not self._by_id:
            return ()
        return tuple(one.answer for one in self._of(task) if one.about == "agent" and not one.is_open)

    def add(self, question: Question) -> None:
        """A question was asked."""
        self._by_id[question.question_id] = question

    def answer(self, message: Mapping[str, Any], at: float) -> Question | None:
        """Take in a message to the run; return the question that it answers, answered; None if there is none."""
        question = self._by_id.get(str(message.get("question_id")))
        if question is None or not question.is_open:
            return None
        answered = replace(question, answer=message.get("answer"), note=str(message.get("note") or ""), answered_at=at)
        self._by_id[question.question_id] = answered
        return answered

    def _of(self, task: Task) -> list[Question]:
        return [one for one in self._by_id.values() if one.task_id == task.task_id]

    def _new(self, task: Task, text: str, *, about: Any) -> Question:
        number = len(self._of(task))
        return Question(
            question_id=make_question_id(self._run_id, task.task_id, number),
            run_id=self._run_id,
            task_id=task.task_id,
            kind="approval",
            text=text[:MAX_QUESTION_CHARS],
            about=about,
        )


def why_rejected(question: Question) -> str | None:
    """Return why a task must not go on, if the answer to an approval was no."""
    if question.kind != "approval" or question.answer is True:
        return None
    return "A person rejected it" + (f": {question.note}" if question.note else ".")
