"""A task: one piece of work for one agent. Immutable, and valid once built. What a run made of it is in the ledger."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kapelle.errors import InvalidGraph

from .references import find_references

Risk = Literal["low", "medium", "high"]

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
    """Unique in its graph: a letter or underscore, then letters, digits, underscores and dashes."""
    task_type: str
    """What kind of work it is, in the words that agents use for what they can do: `search`, `sql`, `implement`."""
    description: str = ""
    """What is to be done, for people and models. Never interpolated: references belong in `inputs`."""
    depends_on: tuple[str, ...] = ()
    """Tasks that must be done first. Tasks that `inputs` refer to need not be listed."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments; strings may hold references to outputs, `{s1}` (see references)."""
    requirements: frozenset[str] = frozenset()
    """Skills that the agent must have."""
    priority: int = 0
    """Higher runs first among tasks that are ready together."""
    deadline_s: float | None = None
    """Seconds from the start of the run by which the task should be done."""
    risk: Risk = "low"
    """How much harm a wrong or repeated execution does."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    dependencies: tuple[str, ...] = field(init=False, compare=False, repr=False)
    """`depends_on` and the tasks that `inputs` refer to, each once."""

    def __post_init__(self) -> None:
        if not isinstance(self.task_id, str) or not _TASK_ID.fullmatch(self.task_id):
            raise InvalidGraph(
                f"{self.task_id!r} is no task id. Use a letter, then letters, digits, '_' and '-', at most 128."
            )
        if not isinstance(self.task_type, str) or not self.task_type.strip():
            raise InvalidGraph(
                f"Task {self.task_id!r} has no task type. Say what kind of work it is, such as 'search'."
            )
        if self.deadline_s is not None and not (math.isfinite(self.deadline_s) and self.deadline_s > 0):
            raise InvalidGraph(f"Task {self.task_id!r} has the deadline {self.deadline_s!r}; give positive seconds.")
        if self.risk not in ("low", "medium", "high"):
            raise InvalidGraph(f"Task {self.task_id!r} has the risk {self.risk!r}; use 'low', 'medium' or 'high'.")
        for name in ("depends_on", "requirements"):
            if isinstance(getattr(self, name), str):
                raise InvalidGraph(f"Task {self.task_id!r}: {name} is a text; give a list of texts.")
        put = object.__setattr__  # the documented way to normalise a frozen value while it is built
        put(self, "depends_on", tuple(dict.fromkeys(self.depends_on)))
        put(self, "inputs", dict(self.inputs))
        put(self, "requirements", frozenset(self.requirements))
        put(self, "metadata", dict(self.metadata))
        referred = (reference.task_id for reference in find_references(self.inputs))
        put(self, "dependencies", tuple(dict.fromkeys((*self.depends_on, *referred))))
        if self.task_id in self.dependencies:
            raise InvalidGraph(f"Task {self.task_id!r} depends on itself. Remove that edge or reference.")
