"""A task: one piece of work for one agent. Immutable, and valid once built. What a run made of it is in the ledger."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter
from typing import Any, Literal, get_args

from kapelle.errors import InvalidGraph

from .json_values import clone_json_value, copy_json_value
from .named_strategy import read_strategy
from .references import find_references, names_a_part, resolve_references

Risk = Literal["low", "medium", "high"]
RISKS: tuple[Risk, ...] = get_args(Risk)
OnFailure = Literal["skip", "fail", "continue"]
"""What becomes of a run when a task comes to nothing. `skip`: what needs it is skipped, the rest goes on. `fail`: the
run ends. `continue`: what needs it runs without its output."""
Needs = Literal["all", "some"]
_CHOICES = {"risk": RISKS, "on_failure": get_args(OnFailure), "needs": get_args(Needs)}

MAX_RETRIES = 1_000
"""Of one task. Who waits longer than that wants a longer pause between attempts."""

_TASK_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One piece of work for one agent.

    Raises:
        InvalidGraph: a field is malformed, or the task depends on itself.

    >>> Task(task_id="s2", task_type="search", description="", inputs={"query": "population of {s1}"}).dependencies
    ('s1',)
    """

    task_id: str
    """Unique in its graph: a letter or underscore, then letters, digits, underscores and dashes; no `x_from_y`."""
    task_type: str
    """What kind of work it is, in the words that agents use for what they can do: `search`, `sql`, `implement`."""
    description: str = ""
    """What is to be done, for people and models. Never interpolated: references belong in `inputs`."""
    depends_on: tuple[str, ...] = ()
    """Tasks that must be done first. Tasks that `inputs` refer to need not be listed."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments, plain JSON values; texts may hold references to outputs, `{s1}` (see references)."""
    requirements: frozenset[str] = frozenset()
    """Skills that the agent must have."""
    priority: int = 0
    """Higher runs first among tasks that are ready together."""
    deadline_s: float | None = None
    """Seconds from the start of the run by which the task should be done."""
    timeout_s: float | None = None
    """Seconds that one attempt may take; None takes what its agent declares, else what the run does."""
    retries: int | None = None
    """Further attempts after the first, for failures that may pass; 0 is none, None takes what its agent declares, else
    what the run does."""
    strategy: Any = None
    """How it is to be done, an order that nothing changes; None leaves that to routing. Given as an agent's id, a
    strategy of `kapelle.strategies`, or plain values; kept as a mapping in the one form of `named_strategy`."""
    risk: Risk = "low"
    """How much harm a wrong or repeated execution does."""
    on_failure: OnFailure = "skip"
    """What becomes of the others when it fails."""
    needs: Needs = "all"
    """`some` lets it run with what there is of the outputs it depends on, as a report does; it is told what is missing.
    Inputs may not refer to what may be missing; edges in `depends_on` may."""
    approval: bool = False
    """Whether a person must approve it before it starts."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Notes of whoever made the task, plain JSON values. Routing rules may read them."""
    written: Mapping[str, Any] = field(init=False, compare=False, repr=False)
    """The inputs as they were written. They differ from `inputs` once references are `resolved`: then they tell what in
    a text is an output, and with that data, from what whoever planned the task wrote."""
    references: frozenset[str] = field(init=False, compare=False, repr=False)
    """The tasks that `inputs` refer to."""
    dependencies: tuple[str, ...] = field(init=False, compare=False, repr=False)
    """`depends_on` and the tasks that `inputs` refer to, each once."""

    def __post_init__(self) -> None:
        _check_words(self.task_id, self.task_type, self.description)
        _check_numbers(self)
        put = object.__setattr__  # the documented way to normalise a frozen value while it is built
        put(self, "depends_on", tuple(dict.fromkeys(_texts(self, "depends_on"))))
        put(self, "requirements", frozenset(_texts(self, "requirements")))
        put(self, "deadline_s", None if self.deadline_s is None else float(self.deadline_s))
        put(self, "timeout_s", None if self.timeout_s is None else float(self.timeout_s))
        if self.strategy is not None:
            put(self, "strategy", read_strategy(self.strategy, place=f"Task {self.task_id!r}: strategy"))
        for name in ("inputs", "metadata"):
            value = getattr(self, name)
            if not isinstance(value, (dict, Mapping)):  # the one is told fast, and is what nearly all of them are
                raise InvalidGraph(f"Task {self.task_id!r}: {name} is a {type(value).__name__}; give a mapping.")
            put(self, name, copy_json_value(value, place=f"Task {self.task_id!r}: {name}") if value else {})
        if self.metadata.get("needs") == "some":  # how it was said before there was a field for it
            put(self, "needs", "some")
            put(self, "metadata", {name: value for name, value in self.metadata.items() if name != "needs"})
        put(self, "written", self.inputs)
        referred = _find_referred(self.task_id, self.inputs) if self.inputs else []
        put(self, "references", frozenset(referred))
        put(self, "dependencies", tuple(dict.fromkeys((*self.depends_on, *referred))))
        if self.task_id in self.dependencies:
            raise InvalidGraph(f"Task {self.task_id!r} depends on itself. Remove that edge or reference.")

    def resolved(self, outputs: Mapping[str, Any]) -> Task:
        """Return the task as its agent sees it: every reference in `inputs` replaced by the output it names.

        What an output holds is data: braces in it are no references.

        Raises:
            LookupError: an output, or the part of it that a reference names, does not exist.
        """
        # Not `replace`, which would read the outputs as references again.
        return self._with_values_of_its_own(resolve_references(self.inputs, outputs) if self.inputs else {})

    def copied(self) -> Task:
        """Return the task with values of its own: whoever gets it may change them."""
        return self._with_values_of_its_own(clone_json_value(self.inputs))

    def _with_values_of_its_own(self, inputs: Mapping[str, Any]) -> Task:
        # Every start of a task passes here, and `copy` takes several times as long. The slots' own setters take half
        # the time of `object.__setattr__`, which looks them up by name.
        seen = object.__new__(Task)
        for put, value in zip(_PUT_PLAIN, _get_plain(self), strict=True):
            put(seen, value)
        # Also where it has none of them: an empty mapping can be filled.
        put_inputs, put_metadata, put_strategy, put_written = _PUT_VALUES
        put_inputs(seen, inputs)
        put_metadata(seen, clone_json_value(self.metadata))
        put_strategy(seen, None if self.strategy is None else clone_json_value(self.strategy))
        put_written(seen, clone_json_value(self.written))
        return seen

    def to_dict(self) -> dict[str, Any]:
        """Return the task as plain JSON values; fields that hold their default are left out."""
        values: dict[str, Any] = {"task_id": self.task_id, "task_type": self.task_type}
        for (name, default), value in zip(_DEFAULTS.items(), _get_described(self), strict=True):
            if value != default:
                if isinstance(value, frozenset):
                    values[name] = sorted(value)
                elif isinstance(value, tuple):
                    values[name] = list(value)
                else:  # only what holds others could have been changed since it was checked
                    values[name] = copy_json_value(value, place=name) if isinstance(value, Mapping) else value
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Task:
        """Return the task that `to_dict` described.

        Raises:
            InvalidGraph: a field is missing, unknown or malformed.
        """
        if not isinstance(values, (dict, Mapping)):
            raise InvalidGraph(f"A task is a mapping of its fields, not {type(values).__name__}.")
        unknown = [name for name in values if name not in _GIVEN]
        if unknown:
            raise InvalidGraph(
                f"Task {values.get('task_id')!r} has no field {unknown[0]!r}. Use {', '.join(_DEFAULTS)}."
            )
        missing = [name for name in ("task_id", "task_type") if name not in values]
        if missing:
            raise InvalidGraph(f"Task {values.get('task_id')!r} has no {missing[0]}. Add it.")
        return cls(**values)


_VALUES = ("inputs", "metadata", "strategy", "written")
"""Fields that hold what others could change."""
_PLAIN = tuple(one.name for one in fields(Task) if one.name not in _VALUES)
_get_plain = attrgetter(*_PLAIN)
_PUT_PLAIN = tuple(vars(Task)[name].__set__ for name in _PLAIN)
_PUT_VALUES = tuple(vars(Task)[name].__set__ for name in _VALUES)
_DEFAULTS: dict[str, Any] = {
    one.name: one.default if one.default_factory is MISSING else one.default_factory()
    for one in fields(Task)
    if one.init and one.name not in ("task_id", "task_type")
}
"""What the fields hold that may be left out."""
_get_described = attrgetter(*_DEFAULTS)
_GIVEN = frozenset(("task_id", "task_type", *_DEFAULTS))


def _check_words(task_id: str, task_type: str, description: str) -> None:
    if not isinstance(task_id, str) or not _TASK_ID.fullmatch(task_id):
        raise InvalidGraph(f"{task_id!r} is no task id. Use a letter, then letters, digits, '_' and '-', at most 128.")
    if names_a_part(task_id):
        raise InvalidGraph(
            f"{task_id!r} is no task id: {{{task_id}}} means a part of another task's output. "
            f"Rename it, for example to {task_id.replace('_from_', '-from-')!r}."
        )
    if not isinstance(task_type, str) or not task_type.strip():
        raise InvalidGraph(f"Task {task_id!r} has no task type. Say what kind of work it is, such as 'search'.")
    if task_type != task_type.strip() or not task_type.isprintable():
        raise InvalidGraph(f"Task {task_id!r} has the task type {task_type!r}. Use printable words, no line breaks.")
    if not isinstance(description, str):
        raise InvalidGraph(f"Task {task_id!r} has the description {description!r}; give a text.")
    if not description.isascii():
        copy_json_value(description, place=f"Task {task_id!r}: description")


def _check_numbers(task: Task) -> None:
    if not isinstance(task.priority, int) or isinstance(task.priority, bool) or task.priority.bit_length() > 63:
        raise InvalidGraph(f"Task {task.task_id!r} has the priority {task.priority!r}; give a whole number.")
    for name, seconds in (("deadline", task.deadline_s), ("timeout", task.timeout_s)):
        if seconds is not None and not (
            isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds <= sys.float_info.max
        ):
            raise InvalidGraph(f"Task {task.task_id!r} has the {name} {seconds!r}; give positive seconds.")
    retries = task.retries
    if retries is not None and (
        not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= MAX_RETRIES
    ):
        raise InvalidGraph(
            f"Task {task.task_id!r} has {retries!r:.40} retries; give a whole number from 0 to {MAX_RETRIES:,}."
        )
    for name, choices in _CHOICES.items():
        value = getattr(task, name)
        if value not in choices:
            others = ", ".join(repr(choice) for choice in choices[:-1])
            raise InvalidGraph(f"Task {task.task_id!r} has the {name} {value!r}; use {others} or {choices[-1]!r}.")
    if not isinstance(task.approval, bool):
        raise InvalidGraph(f"Task {task.task_id!r} has the approval {task.approval!r}; use true or false.")


def _find_referred(task_id: str, inputs: Mapping[str, Any]) -> list[str]:
    try:
        return [reference.task_id for reference in find_references(inputs)]
    except InvalidGraph as error:
        raise InvalidGraph(f"Task {task_id!r}, inputs: {error}") from None


def _texts(task: Task, name: str) -> tuple[str, ...]:
    value = getattr(task, name)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidGraph(f"Task {task.task_id!r}: {name} is {value!r}; give a list of texts.")
    texts = tuple(value)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise InvalidGraph(f"Task {task.task_id!r}: {name} holds {text!r}; give texts that are not empty.")
        if not text.isascii():
            copy_json_value(text, place=f"Task {task.task_id!r}: {name}")
    return texts
