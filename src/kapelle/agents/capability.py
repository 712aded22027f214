"""What an agent can do, for how much, and how well: the card that routing and cost read. Does no work itself."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from kapelle.errors import InvalidAgents
from kapelle.graph import MAX_RETRIES, Task
from kapelle.ledger import RefusedFigure, read_count, read_seconds, read_share, read_usd, show_figure

CostTier = Literal["free", "cheap", "medium", "expensive"]

_AGENT_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_OPTIONAL = ("cost_usd", "seconds", "timeout_s", "retries")


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentCapability:
    """What an agent can do, for how much, and how well.

    Raises:
        InvalidAgents: a field is malformed.
    """

    agent_id: str
    task_types: tuple[str, ...] = ()
    """Kinds of work it takes, dearest to it first; `*` takes any."""
    skills: frozenset[str] = frozenset()
    """What it can, in single words; a task's `requirements` must all be here."""
    cost_tier: CostTier = "cheap"
    """The price class where no better price is known: see `CostProfiler.MODEL_PRICING`."""
    model: str | None = None
    """The model it runs on, as `provider:name`, if it runs on one."""
    cost_usd: float | None = None
    """Declared dollars per task; beats the tier. What an agent reports beats this."""
    seconds: float | None = None
    """Declared seconds per task, where known."""
    success_rate: float = 0.85
    """Share of tasks done well before there are outcomes to learn from (the documented cold-start default)."""
    max_concurrency: int = 10
    """Tasks it takes at the same time, in one run."""
    timeout_s: float | None = None
    """Seconds that one attempt at a task may take; None takes what the run does. A task's own beats this."""
    retries: int | None = None
    """Further attempts after the first, for failures that may pass; None takes what the run does. A task's own beats
    this."""
    description: str = ""
    version: str | None = None
    """Which version of the agent this is: whether another one succeeded does not count for it. None takes a hash of the
    function, or of a model's name and instructions, where there is one (see `AgentRegistry.versions`)."""

    def __post_init__(self) -> None:
        if not isinstance(self.agent_id, str) or not _AGENT_ID.fullmatch(self.agent_id):
            raise InvalidAgents(f"{self.agent_id!r} is no agent id. Use a letter, then letters, digits, '_', '-', '.'.")
        where = f"Agent {self.agent_id!r}"
        for name in ("task_types", "skills"):
            if isinstance(getattr(self, name), str):
                raise InvalidAgents(f"{where}: {name} is a text; give a list of texts.")
        if not self.task_types:
            raise InvalidAgents(f"{where} takes no task types. Name at least one, or '*' for any.")
        if self.cost_tier not in get_args(CostTier):
            raise InvalidAgents(f"{where} has the cost tier {self.cost_tier!r}; use one of {get_args(CostTier)}.")
        self._take("cost_usd", read_usd, f"{where} has cost_usd=%s; give zero or more.")
        self._take("seconds", read_seconds, f"{where} has seconds=%s; give zero or more.")
        self._take("success_rate", _read_share, f"{where} has the success rate %s; it must lie in 0..1.")
        self._take("max_concurrency", _read_whole, f"{where} has max_concurrency=%s; give one or more.", least=1)
        self._take("timeout_s", read_seconds, f"{where} has timeout_s=%s; give positive seconds.", least=math.ulp(0.0))
        retries = f"{where} has retries=%s; give a whole number from 0 to {MAX_RETRIES:,}."
        self._take("retries", _read_whole, retries, most=MAX_RETRIES)
        if self.version is not None and not (isinstance(self.version, str) and self.version):
            raise InvalidAgents(f"{where} has version={self.version!r:.40}; give a text, such as '2', or leave it out.")
        object.__setattr__(self, "task_types", tuple(dict.fromkeys(self.task_types)))
        object.__setattr__(self, "skills", frozenset(self.skills))

    def _take(
        self, name: str, read: Callable[[object], float], problem: str, *, least: float = 0, most: float = math.inf
    ) -> None:
        """Take a figure as Python's own number: it may come from a table of NumPy's."""
        given = getattr(self, name)
        if given is None and name in _OPTIONAL:
            return
        try:
            found = read(given)
        except RefusedFigure:
            found = math.nan
        if not least <= found <= most:
            raise InvalidAgents(problem % show_figure(given))
        object.__setattr__(self, name, found)

    def takes(self, task: Task) -> bool:
        """Whether the agent takes this kind of task and has every skill that it requires."""
        return (task.task_type in self.task_types or "*" in self.task_types) and task.requirements <= self.skills


def _read_share(value: object) -> float:
    return read_share(value, "success_rate")


def _read_whole(value: object) -> int:
    return read_count(value, "a number")
