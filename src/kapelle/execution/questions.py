"""What tasks ask of people, and what their answers mean. Pure: the executor asks, waits and goes on.

An answer belongs to what was asked. What was said to one agent no other one is told: it asks for itself. What was said
of some inputs holds for these: where an output that the task depends on is another one by now, it is asked anew. And
what was refused is told to nobody: who runs the task once more asks once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from kapelle.agents import HumanAnswer
from kapelle.errors import AskPerson
from kapelle.graph import Task, clone_json_value
from kapelle.ledger import Question, hash_asked, hash_json, make_question_id
from kapelle.redaction import hide_known_in


@dataclass(frozen=True, kw_only=True)
class Given:
    """A task with all that it is given, who would do it, and what that is expected to cost: what people judge."""

    task: Task
    """With its inputs resolved."""
    upstream: Mapping[str, Any]
    """Outputs of the tasks that it depends on."""
    agent: str
    """Who asks, or is to begin: an agent, or a strategy in words."""
    expected_usd: float | None = None

    @cached_property
    def hash(self) -> str:
        """What tells this task, given this, from any other."""
        task = self.task
        given = [task.task_id, task.task_type, task.description, task.inputs, task.metadata, self.upstream]
        # As the ledger keeps it, so that it is the same after a resume.
        return hash_json(hide_known_in(given))


class Questions:
    """The questions of a run, those of its earlier parts included."""

    def __init__(self, run_id: str, asked: Iterable[Question] = ()) -> None:
        self._run_id = run_id
        self._by_id: dict[str, Question] = {}
        self._by_task: dict[str, list[str]] = {}
        for question in asked:
            self.add(question)

    def open(self) -> list[Question]:
        """Return those that nobody has answered."""
        return [question for question in self._by_id.values() if question.is_open]

    @property
    def about(self) -> frozenset[str]:
        """The tasks that people were asked about."""
        return frozenset(self._by_task)

    def concern(self, task: Task) -> bool:
        """Whether a person has to do with a task: it needs approval, or has asked before."""
        return task.approval or task.task_id in self._by_task

    def before_start(self, given: Given) -> Question | None:
        """Return the question whether a task may begin; None if it needs no approval, or was approved as it is now."""
        task = given.task
        mine = [one for one in self._of(task) if one.about != "agent" and one.answer is True]
        if any(one.arguments_hash == given.hash for one in mine):
            return None
        rerun = any(one.about == "rerun" for one in mine)
        if not task.approval and not rerun:
            return None
        changed = " What it is given is not what was approved before." if mine else ""
        if any(not one.arguments_hash for one in mine):  # by a version that did not keep it
            changed = " It was approved before, but not what it is given was kept with that."
        what = f": {task.description}" if task.description else ""
        words = f"May {task.task_id!r} ({task.task_type}) begin{what}?{changed}"
        return self._new(given, words, about="start" if task.approval else "rerun")

    def before_rerun(self, given: Given, why: str) -> Question:
        """Return the question whether a task of high risk may begin again; `why` says how it went before."""
        text = (
            f"It {why}, and may have taken effect. Approve to run it again, with the same idempotency key; reject if "
            f"it must not. {given.task.description or given.task.task_type}"
        )
        return self._new(given, text, about="rerun")

    def of_agent(self, given: Given, asked: AskPerson) -> Question:
        """Return the question of the agent that works on a task."""
        return replace(
            self._new(given, asked.question, about="agent"),
            kind=asked.kind,
            options=asked.options,
            asker=given.agent,
            arguments=asked.arguments,
            asked_hash=hash_asked(asked.question, asked.options, asked.kind, asked.arguments),
        )

    def answers_to(self, given: Given) -> tuple[HumanAnswer, ...]:
        """Return what people have answered to this agent, at this task, given what it is given now."""
        return tuple(
            HumanAnswer(
                question=one.text,
                value=clone_json_value(one.answer),
                kind=one.kind,
                options=one.options,
                arguments=clone_json_value(one.arguments),
                question_id=one.question_id,
                note=one.note,
                by=one.by,
                at=one.answered_at,
                asker=one.asker,
                arguments_hash=one.arguments_hash,
                asked_hash=one.asked_hash,
            )
            for one in self._of(given.task)
            if one.about == "agent"
            and not one.is_open
            and one.asker == given.agent
            and one.arguments_hash == given.hash
            and why_rejected(one) is None
        )

    def add(self, question: Question) -> None:
        """A question was asked."""
        self._by_id[question.question_id] = question
        self._by_task.setdefault(question.task_id, []).append(question.question_id)

    def answer(self, message: Mapping[str, Any], at: float) -> Question | None:
        """Take in a message to the run; return the question that it answers, answered; None if there is none."""
        question = self._by_id.get(str(message.get("question_id")))
        if question is None or not question.is_open:
            return None
        answered = replace(
            question,
            answer=message.get("answer"),
            note=str(message.get("note") or ""),
            by=str(message.get("by") or "")[:200],
            answered_at=at,
        )
        self._by_id[question.question_id] = answered
        return answered

    def _of(self, task: Task) -> list[Question]:
        return [self._by_id[question_id] for question_id in self._by_task.get(task.task_id, ())]

    def _new(self, given: Given, text: str, *, about: Any) -> Question:
        task = given.task
        number = len(self._by_task.get(task.task_id, ()))
        return Question(
            question_id=make_question_id(self._run_id, task.task_id, number),
            run_id=self._run_id,
            task_id=task.task_id,
            kind="approval",
            text=text,
            about=about,
            agent=given.agent,
            task_type=task.task_type,
            description=task.description,
            inputs=clone_json_value(task.inputs),
            upstream={
                name: clone_json_value(output) for name, output in given.upstream.items() if name not in task.references
            },
            expected_usd=given.expected_usd,
            arguments_hash=given.hash,
        )


def why_rejected(question: Question) -> str | None:
    """Return why a task must not go on, if the answer to an approval was no."""
    if question.kind != "approval" or question.answer is True:
        return None
    return "A person rejected it" + (f": {question.note}" if question.note else ".")
