"""What people say to runs: answers to their questions, and the wish that one stop. It is posted; the engine that works
on the run, wherever that is, hears it. Needs nothing but the ledger, and so no engine that could run anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from kapelle.errors import InvalidInput, NotFound
from kapelle.execution import STOP
from kapelle.graph import read_json_value
from kapelle.ledger import Event, Ledger, Question, answer_message


class People:
    """The part of an engine that people talk to."""

    ledger: Ledger

    def questions(self, run_id: str | None = None) -> tuple[Question, ...]:
        """Return what people have not answered yet, of one run or of all, oldest first."""
        return self.ledger.questions(None if run_id is None else self.ledger.find_run(run_id))

    def approve(self, question_id: str, note: str = "", *, by: str = "") -> Question:
        """Let a task go on that asks for approval. See `answer`."""
        return self._say(question_id, True, note, by, kind="approval")

    def reject(self, question_id: str, note: str = "", *, by: str = "") -> Question:
        """Refuse a task that asks for approval: it fails, for the reason in the note. See `answer`."""
        return self._say(question_id, False, note, by, kind="approval")

    def answer(self, question_id: str, value: Any, note: str = "", *, by: str = "") -> Question:
        """Answer what a task asks. An engine that works on the run goes on with it; else `resume` does.

        Args:
            question_id: The question's id, or an unambiguous beginning of it.
            value: Plain JSON values; one of the question's options, where it has any.
            note: Why, in words.
            by: Who says so.

        Raises:
            NotFound: no open question has such an id.
            InvalidInput: it was answered already, asks for approval instead, or has other options.
        """
        return self._say(question_id, value, note, by, kind="answer")

    def stop(self, run_id: str, *, by: str = "") -> None:
        """Ask the engine that works on a run, wherever that is, to stop it cleanly. It can be resumed.

        Raises:
            InvalidInput: nobody works on the run, or it was asked already.
        """
        run = self.ledger.outline(run_id)
        if run.ended or run.state == "waiting":
            raise InvalidInput(f"Run {run.run_id} is {run.state}: nobody works on it, so there is nothing to stop.")
        self.ledger.post(run.run_id, stop_key(run.events), {"by": by})

    def _say(self, question_id: str, value: Any, note: str, by: str, *, kind: str) -> Question:
        value = read_json_value(value)
        found = [one for one in self.ledger.questions() if question_id and one.question_id.startswith(question_id)]
        if len(found) != 1:
            what = "Several open questions have" if found else "No open question has"
            raise NotFound(f"{what} the id {question_id!r}. `kapelle questions` lists them.")
        question = found[0]
        if question.kind != kind:
            remedy = "approve or reject it" if kind == "answer" else "answer it"
            raise InvalidInput(f"Question {question.question_id} asks for an {question.kind}: {remedy}.")
        if question.options and value not in question.options:
            raise InvalidInput(f"Question {question.question_id} takes one of: {', '.join(question.options)}.")
        self.ledger.post(
            question.run_id, question.question_id, answer_message(question, answer=value, note=note, by=by)
        )
        return replace(question, answer=value, note=note, by=by)


def stop_key(events: Iterable[Event]) -> str:
    """Return the key of the message that stops a run in its present session: an earlier one's is void."""
    return f"{STOP}-{sum(1 for event in events if event.kind == 'run_resumed')}"
