"""The agent protocol: one async method. Everything that does work for a task is an Agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from kapelle.errors import AskPerson, InvalidInput
from kapelle.graph import Task, TaskDAG, clone_json_value
from kapelle.ledger import MAX_REPORTED_USD, NOTHING, RefusedFigure, Usage, hash_asked, read_share, read_usd

from .step_log import StepLog


@dataclass(frozen=True, kw_only=True, slots=True)
class HumanAnswer:
    """What a person said to one question of an agent, with the question that it belongs to."""

    question: str
    """The question in its words."""
    value: Any
    """What the person said; True where it was approved."""
    kind: Literal["answer", "approval"] = "answer"
    options: tuple[str, ...] = ()
    arguments: Mapping[str, Any] | None = None
    """What exactly was asked about."""
    question_id: str = ""
    note: str = ""
    """Why, in the person's words."""
    by: str = ""
    """Who said it, as far as that is known."""
    at: float | None = None
    """When, in seconds since the epoch."""
    asker: str = ""
    """The agent that asked."""
    arguments_hash: str = ""
    """Of what the task was given when it was asked: its resolved inputs, and the outputs that it depends on."""
    asked_hash: str = ""
    """Of the words, kind, options and arguments as they were asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskContext:
    """What an agent may know about the run that its task belongs to."""

    run_id: str
    request: str
    """The user's words, whole."""
    upstream: Mapping[str, Any] = field(default_factory=dict)
    """Outputs of the tasks that this one depends on, by task id."""
    upstream_tasks: Mapping[str, Task] = field(default_factory=dict)
    """Those tasks themselves, so that an agent can title and cite what it was given."""
    from_memory: frozenset[str] = frozenset()
    """Those of them whose output comes from a model's memory: nothing in it says where it stands."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Tasks it depends on that have no output, each with the reason; only where some of them are enough."""
    idempotency_key: str = ""
    """The same for every attempt at this task in this run, also after a crash: hand it to services that must not act
    twice. Where several agents are asked for an answer of their own, each has its own."""
    answers: tuple[HumanAnswer, ...] = ()
    """What people have answered to the questions of this agent, at this task, given what it is given now, in the order
    in which they were asked. Approvals that were refused are not among them. See `ask`."""
    reserved_usd: float | None = None
    """Dollars that are set aside for this attempt, which it must not exceed; None where no budget limits them."""
    seconds_left: float | None = None
    """Seconds that are left for this attempt when it starts, by the run's deadline and the limit of its time; None
    where nothing limits it. What an agent calls should be given no more."""
    tell: Callable[[str], None] | None = field(default=None, compare=False)
    """Shows a piece of text to whoever watches the run, as it is written; None where nobody does. It is not kept."""

    steps: StepLog | None = field(default=None, compare=False, repr=False)
    """Keeps what an agent does step by step, and what it did before it was cut off; None where nothing keeps it."""

    def ask(
        self,
        question: str,
        options: Sequence[str] = (),
        kind: Literal["answer", "approval"] = "answer",
        arguments: Mapping[str, Any] | None = None,
        *,
        cost_usd: float | None = None,
        usage: object | None = None,
    ) -> Any:
        """Return what a person said to exactly this; where nobody was asked it yet, ask, and run anew when it is said.

        What counts is the same words, options, kind and arguments, asked by the same agent at the same task, which was
        given the same. So a plan that changes before it is carried out is asked about anew. The arguments are the
        values that a person is to judge: a call that is to be approved, for instance. See AskPerson.

        >>> said = HumanAnswer(question="Which account?", value="savings", options=("savings", "current"))
        >>> context = TaskContext(run_id="r", request="Pay it", answers=(said,))
        >>> context.ask("Which account?", options=["savings", "current"])
        'savings'

        Returns:
            The person's answer; True for an approval. One that is refused fails the task, and is never returned.

        Raises:
            AskPerson: it was not answered yet. Let it pass.
            InvalidInput: nothing is asked, or the options or arguments are none.
        """
        asked = AskPerson(question, options=options, kind=kind, arguments=arguments, cost_usd=cost_usd, usage=usage)
        wanted = hash_asked(asked.question, asked.options, asked.kind, asked.arguments)
        for one in reversed(self.answers):
            known = one.asked_hash or hash_asked(one.question, one.options, one.kind, one.arguments)
            if known == wanted and (one.kind != "approval" or one.value is True):
                return clone_json_value(one.value)
        raise asked


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialText:
    """A piece of an answer that is still being written. Shown as it comes, and never kept."""

    run_id: str
    task_id: str
    agent: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentResult:
    """What an agent gives back: the output, and what it used.

    Raises:
        RefusedFigure: a figure is none: negative, not finite, more than any piece of work costs. Numbers of NumPy's, of
            `decimal` and the like are taken as Python's own.
        InvalidInput: the expansion is no graph.
    """

    output: Any
    """Plain JSON values, or what has a plain form: tuples, sets, dates, dataclasses, NumPy's arrays, and so on. A
    mapping with a `text` key is shown to people by that text."""
    usage: Usage = NOTHING
    cost_usd: float | None = None
    """What it really cost; None takes the price that the agent declared."""
    quality: float | None = None
    """The agent's own measure of the result in 0..1, where it has one."""
    unpriced_model: str | None = None
    """The model that was asked and whose price nobody knows, so that `cost_usd` is None: its tokens are all there is to
    count."""
    expansion: TaskDAG | None = None
    """Instead of an output: tasks that are to take this one's place. What depends on it then waits for their ends."""

    def __post_init__(self) -> None:
        cost_usd, quality = self.cost_usd, self.quality
        try:
            if cost_usd is not None and not (type(cost_usd) is float and 0.0 <= cost_usd <= MAX_REPORTED_USD):
                object.__setattr__(self, "cost_usd", read_usd(cost_usd))
            if not isinstance(self.usage, Usage):
                raise RefusedFigure(
                    f"An agent reported a {type(self.usage).__name__} as its usage; give a kapelle Usage."
                )
            if quality is not None:
                object.__setattr__(self, "quality", read_share(quality, "quality"))
        except RefusedFigure as error:
            # What else was reported still counts: the attempt fails, and is paid all the same.
            error.usage = self.usage
            error.cost_usd = None if error.field == "cost_usd" else self.cost_usd
            raise
        if self.expansion is not None and not isinstance(self.expansion, TaskDAG):
            raise InvalidInput(f"An agent expanded into {type(self.expansion).__name__}; give a TaskDAG.")


@runtime_checkable
class Agent(Protocol):
    """Does the work of one task."""

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Do the task, whose `inputs` are resolved: references are replaced by outputs.

        Raises:
            AgentFailed: the task cannot be done; anything else that is raised counts as the same.
            TryAgain: the same call may succeed later.
        """
        ...
