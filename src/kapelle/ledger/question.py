"""What a task asks of a person, and what the person said. A question is an event; so is its answer.

A question is asked by an engine, and answered from wherever people are: the answer is put into the run's inbox, and
the engine that works on the run, now or after a year, takes it from there into the run's events. So a run's events are
written by one engine only, and an answer survives everything that the run survives.

An answer belongs to what was asked: by whom (`asker`), about what (`arguments_hash`: what the task was given), in which
words and of which arguments (`asked_hash`). Asked by another agent, of other inputs, or something else, it is another
question. So the row of a question holds all that a person is to judge: who would do what, with what, for how much.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kapelle.errors import InvalidInput
from kapelle.graph import read_json_value
from kapelle.redaction import join_surrogates

from .amounts import format_usd
from .event import Event
from .fields import Fields

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
    asker: str = ""
    """The agent that asks; empty where the engine does (`start`, `rerun`)."""
    arguments: Mapping[str, Any] | None = None
    """What exactly it asks about, as the agent put it: plain JSON values."""
    agent: str = ""
    """Who would do the task, or goes on with it: an agent's id, or a strategy in words."""
    task_type: str = ""
    description: str = ""
    """What the task is to do."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """The task's inputs as its agent gets them: references are replaced by outputs."""
    upstream: Mapping[str, Any] = field(default_factory=dict)
    """Outputs that it gets besides: of tasks that it depends on, and its inputs do not refer to."""
    expected_usd: float | None = None
    """Dollars that the task is expected to cost."""
    arguments_hash: str = ""
    """Of all that the task was given. An answer holds for as long as that is the same."""
    asked_hash: str = ""
    """Of what was asked: words, kind, options and arguments."""
    asked_at: float = 0.0
    """Seconds since the epoch."""
    answer: Any = None
    """What a person said; True or False where it was approved or rejected."""
    note: str = ""
    """Why, in the person's words."""
    by: str = ""
    """Who said it, as far as that is known."""
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


def hash_json(value: Any) -> str:
    """Return what tells plain JSON values from all others: the same for equal ones, whatever the order of their keys.

    >>> hash_json({"a": 1, "b": [2.0]}) == hash_json({"b": [2.0], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hash_asked(question: str, options: Sequence[str], kind: str, arguments: Mapping[str, Any] | None) -> str:
    """Return what tells a question from all that is not asked in the same words, of the same arguments.

    Raises:
        InvalidInput: the arguments have no plain form.
    """
    plain = None if arguments is None else read_json_value(arguments)
    return hash_json([kind, join_surrogates(question), sorted(map(join_surrogates, options)), plain])


MAX_SHOWN_CHARS = 600
"""Of each thing that a question is about, so much is shown unasked."""
MAX_SHOWN_WORDS = 2_000
"""The same of its own words."""


def describe_question(question: Question, *, full: bool = False, more: str = "") -> Iterator[str]:
    """Yield a question in lines for people: what is asked, and all that a person is to judge.

    Untrusted: who prints them makes them `printable`. What is long is cut, and says by how much, unless it is to be
    shown in full.

    Args:
        more: What the command that shows the whole has to say besides, such as ` --db FILE`.
    """
    way = f"kapelle questions {question.question_id} --full{more}"

    def cut(text: str, most: int = MAX_SHOWN_CHARS) -> str:
        left = len(text) - most
        return text if full or left <= 0 else f"{text[:most]} ... {left:,} characters more: {way}"

    # What an agent or a document wrote never begins a line: it might pass for one of ours.
    first, *others = cut(question.text, MAX_SHOWN_WORDS).split("\n")
    yield first
    yield from (f"  | {line}" for line in others)
    if question.agent or question.task_type:
        kind = f" ({question.task_type})" if question.task_type else ""
        price = "" if question.expected_usd is None else f", expected to cost {format_usd(question.expected_usd)}"
        yield f"  task: {question.task_id}{kind}, by {question.agent}{price}"
    if question.description and question.description not in question.text:
        yield f"  it does: {cut(_in_a_line(question.description))}"
    for title, values in (
        ("asked about", question.arguments or {}),
        ("input", question.inputs),
        ("output of", question.upstream),
    ):
        for name, value in values.items():
            yield f"  {title} {cut(_in_a_line(name))}: {cut(_in_a_line(value))}"


def is_cut(question: Question) -> bool:
    """Whether a question is longer than what is shown of it unasked."""
    return list(describe_question(question)) != list(describe_question(question, full=True))


def _in_a_line(value: Any) -> str:
    if isinstance(value, str) and "\n" not in value:
        return value
    return json.dumps(value, ensure_ascii=False)


def already_said(run_id: str, key: str) -> InvalidInput:
    """Return the error for a message whose key is taken."""
    if key.startswith("q-"):
        return InvalidInput(f"Question {key} was answered already; the first answer counts. See `kapelle explain`.")
    return InvalidInput(f"Run {run_id} has been told {key!r} already, and its engine will come to it.")


def answer_message(question: Question, *, answer: Any, note: str = "", by: str = "") -> Mapping[str, Any]:
    """Return what the inbox holds of an answer."""
    return {"question_id": question.question_id, "task_id": question.task_id, "answer": answer, "note": note, "by": by}


def read_question(event: Event) -> Question:
    """Return the question that a `task_asked` event asks.

    Raises:
        LedgerCorrupt, ValueError: it cannot be read.
    """
    data = Fields(event)
    kind, about = data.text("kind"), data.text("about")
    if kind not in ("answer", "approval") or about not in ("start", "agent", "rerun"):
        raise ValueError(f"there is no question of the kind {kind!r} about {about!r}")
    return Question(
        question_id=data.text("question_id"),
        run_id=event.run_id,
        task_id=event.task_id or "",
        kind="approval" if kind == "approval" else "answer",
        text=data.text("text"),
        options=data.texts("options"),
        about="start" if about == "start" else "rerun" if about == "rerun" else "agent",
        # A question of before these were kept has none of them, and what was said to it binds to nothing.
        asker=data.text("asker", ""),
        arguments=None if event.data.get("arguments") is None else data.mapping("arguments"),
        agent=data.text("agent", ""),
        task_type=data.text("task_type", ""),
        description=data.text("description", ""),
        inputs=data.mapping("inputs", {}),
        upstream=data.mapping("upstream", {}),
        expected_usd=data.optional_number("expected_usd"),
        arguments_hash=data.text("arguments_hash", ""),
        asked_hash=data.text("asked_hash", ""),
        asked_at=event.at,
    )
