"""Every error that kapelle raises, told apart by what the caller can do about it.

    KapelleError
    ├── InvalidInput            fix what you gave: nothing has run, nothing is spent
    │   ├── InvalidGraph        tasks or edges do not make a graph
    │   │   ├── CycleFound      tasks wait for each other (.tasks)
    │   │   └── UnknownTask     an edge or a {reference} names no task (.task_id, .missing)
    │   ├── InvalidPlan         a plan file or a model's plan is malformed (.place)
    │   ├── InvalidAgents       agent definitions are malformed or contradict each other
    │   ├── CannotPlan          no rule splits this request, and no model is configured
    │   ├── PlanRejected        the validator refused the plan (.issues)
    │   ├── UnknownPrice        a model has no known price (.model)
    │   ├── RefusedQuery        a query or a program asked for more than it may
    │   └── NotFound            a run, a file or a folder does not exist
    ├── TryAgain                the same call may succeed later
    │   ├── WorkerLost          the process or machine that an agent ran on is gone
    │   ├── ModelUnavailable    the provider is overloaded or unreachable
    │   ├── ModelTimeout        the provider did not answer in time
    │   ├── RunBusy             another engine works on the run (.owner, .wait_s)
    │   └── LedgerBusy          another process holds the database, or its server is gone
    ├── LimitReached            give more, or be content with the partial result
    │   └── BudgetExceeded      dollars, tokens, calls or seconds are used up (.resource)
    ├── AgentFailed             one task failed; its dependents are skipped, the rest goes on
    │   ├── CallTooDear         what is set aside does not pay for the call: it was not made (a LimitReached too)
    │   ├── CannotAnswer        the agent works, but what it was asked is not in what it knows
    │   ├── ModelRefused        the provider rejects the call for good (key, model name)
    │   │   ├── QuotaExceeded   the account's credit or quota is used up
    │   │   └── ContentRefused  the provider's policy, or the model itself, declines this content
    │   └── ModelReplyInvalid   the provider's reply cannot be read
    │       └── ReplyCut        the reply ends before it is whole
    ├── AskPerson               a task needs a person's answer or approval: no failure (.question)
    ├── LeaseLost               another engine took the run over: stop, this write was refused (.owner)
    └── LedgerCorrupt           report a bug: the ledger contradicts itself

A message says what happened, where, and the way out; the data of it are attributes too. No message holds a key or a
password: what is one, or looks like one, is hidden when the error is made (see `redaction`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

from kapelle.redaction import hide_secrets_in


def rebuild_error(kind: type[BaseException], arguments: Sequence[object], state: Mapping[str, Any]) -> BaseException:
    """Return an error as it was elsewhere, without its `__init__`: that may take other arguments than it has kept."""
    error = kind.__new__(kind, *arguments)
    error.args = tuple(arguments)
    vars(error).update(state)
    return error


class KapelleError(Exception):
    """The root of the tree. `exit_code` is what the command line returns for it."""

    exit_code = 1
    cost_usd: float | None = None
    """Dollars that the call behind it has cost, where that was reported."""
    usage: Any = None
    """What the call has used (a `ledger.Usage`), where that was reported."""
    sent: bool | None = None
    """Where `cost_usd` is None: True if the call reached somebody who may bill it, so that all that was set aside for
    it is charged; False if nobody can have billed anything; None if that is unknown: see execution's `spending`."""
    retry_after_s: float | None = None
    """Seconds that whoever is behind it asks to be left alone for."""
    run_id: str | None = None
    """The run that it ended or is about, where there is one; `cost_usd` is then what that run has cost."""

    def __init__(self, *args: object) -> None:
        super().__init__(*map(hide_secrets_in, args))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle every error of the tree, users' own among them, whatever their `__init__` takes."""
        return rebuild_error, (type(self), self.args, dict(vars(self)))


class InvalidInput(KapelleError, ValueError):
    """Something given to kapelle is wrong. Nothing has run and nothing is spent."""

    exit_code = 2


class InvalidGraph(InvalidInput):
    """Tasks or edges do not make a graph."""


class CycleFound(InvalidGraph):
    """Tasks wait for each other."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)
        circle = " -> ".join(repr(task) for task in (*self.tasks, *self.tasks[:1]))
        super().__init__(f"The tasks wait for each other: {circle}. Remove one of these edges.")


class UnknownTask(InvalidGraph):
    """A dependency or a {reference} names a task that is not in the graph."""

    def __init__(self, task_id: str, missing: str, *, hint: str = "Add it, or remove the edge.") -> None:
        self.task_id = task_id
        self.missing = missing
        super().__init__(f"Task {task_id!r} depends on {missing!r}, which is not in the graph. {hint}")


class InvalidPlan(InvalidInput):
    """A plan file or a model's plan is malformed; `place` says where (file, line, task)."""

    def __init__(self, message: str, *, place: str = "") -> None:
        self.place = place
        super().__init__(f"{place}: {message}" if place else message)


class InvalidAgents(InvalidInput):
    """Agent definitions are malformed or contradict each other."""


class CannotPlan(InvalidInput):
    """No rule splits this request, and no model is configured that could."""


class PlanRejected(InvalidInput):
    """The validator refused the plan; `issues` lists why, each with its task and the way out."""

    def __init__(self, issues: Sequence[object]) -> None:
        self.issues = tuple(issues)
        lines = "\n".join(f"  - {issue}" for issue in self.issues)
        super().__init__(f"The plan was not approved, so nothing has run:\n{lines}")


class UnknownPrice(InvalidInput):
    """A model has no known price, so no budget could hold."""

    def __init__(self, model: str, *, agent: str | None = None) -> None:
        self.model = model
        self.agent = agent
        who = "" if agent is None else f"Agent {agent!r}: "
        way_out = "." if agent is None else ", or give the agent's card a cost_usd: what a task of it costs."
        super().__init__(
            f"{who}No price is known for the model {model!r}, so no budget could hold. "
            f"Add it to a price file and name that file in KAPELLE_PRICES{way_out}"
        )


class RefusedQuery(InvalidInput):
    """A query or a program asked for more than it may (writing, another file, too much time)."""


class NotFound(InvalidInput):
    """A run, a file or a folder does not exist."""


class TryAgain(KapelleError):
    """The same call may succeed later: after `retry_after_s` seconds, where that is known.

    `cost_usd`, `usage` and `sent` say what the failed call used: see `KapelleError`.
    """

    def __init__(
        self,
        *message: object,
        cost_usd: float | None = None,
        usage: object | None = None,
        sent: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.cost_usd = cost_usd
        self.usage = usage
        self.sent = sent
        self.retry_after_s = retry_after_s
        super().__init__(*message)


class ModelUnavailable(TryAgain):
    """The provider is overloaded or unreachable, after the retries."""


class ModelTimeout(TryAgain):
    """The provider did not answer in time."""


class WorkerLost(TryAgain):
    """The process or machine that an agent ran on is gone, and its result with it."""


class RunBusy(TryAgain):
    """Another engine holds the lease of a run; it is free after `wait_s` seconds if its owner stops renewing it."""

    def __init__(self, run_id: str, *, owner: str, wait_s: float) -> None:
        self.run_id = run_id
        self.owner = owner
        self.wait_s = wait_s
        super().__init__(
            f"Run {run_id!r} is being worked on by {owner}. Stop that one, or try again: if it is dead, the run is "
            f"free in {math.ceil(wait_s)} s."
        )


class LedgerBusy(TryAgain):
    """Another process holds the ledger's database, or its server cannot be reached."""


class LimitReached(KapelleError):
    """A limit that the user set was reached. Give more, or be content with the partial result."""


class BudgetExceeded(LimitReached):
    """Dollars, tokens, calls or seconds are used up."""

    def __init__(self, resource: str, *, wanted: float, left: float, purpose: str = "") -> None:
        self.resource = resource
        self.wanted = wanted
        self.left = left
        self.purpose = purpose
        needed = f"{wanted:g} are needed{f' for {purpose}' if purpose else ''}"
        super().__init__(f"The budget has {left:g} {resource} left, and {needed}. Raise it to go on.")


class AgentFailed(KapelleError):
    """One task failed. Its dependents are skipped with the reason; the rest of the run goes on.

    `cost_usd` and `usage` say what the attempt used, where that is known; else its declared price is charged.
    """

    def __init__(
        self,
        message: str = "",
        *,
        cost_usd: float | None = None,
        usage: object | None = None,
        sent: bool | None = None,
    ) -> None:
        self.cost_usd = cost_usd
        self.usage = usage
        self.sent = sent
        super().__init__(message)


class CallTooDear(AgentFailed, LimitReached):
    """What is set aside for an attempt does not pay for its next call of a model, so that call was not made."""


class CannotAnswer(AgentFailed):
    """The agent works as it should, but what it was asked is not in what it knows: no passage, no row, no such figure.

    It says nothing against the agent, so nothing is learned against it.

    Args:
        readings: What it could have meant, where a few things are left and nothing says which: each with `understood`,
            a sentence for people, and `sql`. The run's task keeps them.
    """

    readings: tuple[Mapping[str, str], ...] = ()

    def __init__(
        self,
        message: str = "",
        *,
        readings: Iterable[Mapping[str, str]] = (),
        cost_usd: float | None = None,
        usage: object | None = None,
        sent: bool | None = None,
    ) -> None:
        self.readings = tuple(dict(one) for one in readings)
        super().__init__(message, cost_usd=cost_usd, usage=usage, sent=sent)


class ModelRefused(AgentFailed):
    """The provider rejects the call for good: the key, or the model's name."""


class QuotaExceeded(ModelRefused):
    """The account's credit or quota is used up: no further call succeeds until somebody tops it up."""


class ContentRefused(ModelRefused):
    """The provider's policy, or the model itself, declines this content. The same words will be declined again."""


class ModelReplyInvalid(AgentFailed):
    """The provider's reply cannot be read."""


class ReplyCut(ModelReplyInvalid):
    """The reply ends before it is whole: its limit of tokens was reached, or the stream broke off."""


MAX_OPTIONS = 1_000
"""The answers that one question offers: a person reads them."""


class AskPerson(KapelleError):
    """Raised by an agent that needs a person: its task waits, holding nothing, and runs anew once there is an answer.

    The way to ask is `TaskContext.ask`. It raises this, until exactly what is asked was answered; then it returns what
    the person said. An answer to anything else, or to another agent, never counts:

        account = context.ask("Which of the two accounts?", options=["savings", "current"])
        context.ask("May I pay?", kind="approval", arguments={"to": "ACME", "eur": 120})  # only what was approved

    Who raises it by hand looks in `TaskContext.answers` first for an answer to the very question.

    Args:
        question: What to ask, in the words that the person reads.
        options: The answers that there are; none leaves them open. An approval has none.
        kind: `answer`, or `approval`: then the task runs anew if the person approves, and fails if not.
        arguments: What exactly is asked about, such as the call that is to be approved: plain values, by name. They are
            shown to the person, and what was said holds for these alone.
        cost_usd, usage: What the attempt has used, where that is known.

    Raises:
        InvalidInput: there is no question, an approval has options, or the options or arguments are none.
    """

    def __init__(
        self,
        question: str,
        *,
        options: Sequence[str] = (),
        kind: Literal["answer", "approval"] = "answer",
        arguments: Mapping[str, Any] | None = None,
        cost_usd: float | None = None,
        usage: object | None = None,
    ) -> None:
        if not isinstance(question, str) or not question.strip():
            raise InvalidInput(f"AskPerson({question!r:.40}) asks nothing. Give the question in words.")
        if isinstance(options, (str, bytes)) or not isinstance(options, Iterable):
            raise InvalidInput(f"AskPerson(options={options!r:.80}): give a list of texts.")
        choices = tuple(str(option) for option in islice(options, MAX_OPTIONS + 1))  # a generator may never end
        if len(choices) > MAX_OPTIONS:
            raise InvalidInput(f"AskPerson offers more than {MAX_OPTIONS:,} options; nobody reads as many.")
        if kind not in ("answer", "approval") or (kind == "approval" and choices):
            raise InvalidInput(f"AskPerson(kind={kind!r:.40}, options={choices!r:.80}): ask for an answer or approval.")
        if arguments is not None and not isinstance(arguments, Mapping):
            raise InvalidInput(f"AskPerson(arguments={arguments!r:.80}): give a mapping of names to plain values.")
        self.question = question
        self.options = choices
        self.kind = kind
        self.arguments = arguments
        self.cost_usd = cost_usd
        self.usage = usage
        super().__init__(question)


class LeaseLost(KapelleError):
    """Another engine has taken the run over, so nothing was written. What this one still does is lost: stop it."""

    def __init__(self, run_id: str, *, fence: int, current: int, owner: str | None) -> None:
        self.run_id = run_id
        self.fence = fence
        self.current = current
        self.owner = owner
        what = "was released" if owner is None else f"was taken over by {owner} (fence {current})"
        super().__init__(
            f"The lease on run {run_id!r} with fence {fence} {what}, so nothing was written. Stop here; "
            "`kapelle explain` tells how the run goes on."
        )


class LedgerCorrupt(KapelleError):
    """The ledger contradicts itself: something changed it, the disk fails, or this is a bug. See `kapelle doctor`."""
