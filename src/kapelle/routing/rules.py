"""Routing rules: what a user declares about who does what. Data, never code: they can be read, listed and checked.

HALO's paper (arXiv:2505.13516) has no rule-based routing; this declarative form is our own design. A rule speaks only
among agents that can do the task: it never gives a task to an agent that lacks the task type or a skill.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.errors import InvalidAgents
from kapelle.graph import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutingRule:
    """Sends tasks of some kind to one agent. Every condition that is given must hold.

    Raises:
        InvalidAgents: a field is malformed.

    >>> rule = RoutingRule(rule_id="figures", task_types=("summarize",), agent_id="analyst_agent", keywords=("data",))
    >>> rule.matches(Task(task_id="t1", task_type="summarize", description="Summarize the sales data"))
    True
    """

    rule_id: str
    task_types: tuple[str, ...]
    """Kinds of task it speaks about; `*` means any."""
    agent_id: str
    requires: frozenset[str] = frozenset()
    """Skills, all of which the task must ask for."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the task's metadata must hold: a value, or a list of values of which one must be there."""
    keywords: tuple[str, ...] = ()
    """Words or phrases, one of which the task's description must hold, whole and in any case."""
    priority: int = 0
    """Higher speaks first; among equals, the one that stands first."""
    reason: str = ""
    """Why, in words that end the sentence `... sends it to the agent: <reason>`."""
    firm: bool = False
    """Whether its agent is asked first, whatever others cost or declare: only outcomes that something measured move the
    task. Where the agent refuses, others are asked as usual."""

    def __post_init__(self) -> None:
        if not isinstance(self.rule_id, str) or not self.rule_id.strip():
            raise InvalidAgents(f"{self.rule_id!r} is no rule id. Give the rule a name; explanations use it.")
        where = f"Rule {self.rule_id!r}"
        for name in ("task_types", "requires", "keywords"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(item, str) and item.strip() for item in value):
                raise InvalidAgents(f"{where}: {name} is {value!r}; give a list of texts that are not empty.")
        if not self.task_types:
            raise InvalidAgents(f"{where} speaks about no task type. Name at least one, or '*' for any.")
        if not isinstance(self.agent_id, str) or not self.agent_id.strip():
            raise InvalidAgents(f"{where} names no agent. Give agent_id.")
        if not isinstance(self.priority, int) or isinstance(self.priority, bool):
            raise InvalidAgents(f"{where} has the priority {self.priority!r}; give a whole number.")
        if not isinstance(self.metadata, Mapping):
            raise InvalidAgents(f"{where}: metadata is {self.metadata!r}; give a mapping of keys to values.")
        put = object.__setattr__
        put(self, "task_types", tuple(dict.fromkeys(self.task_types)))
        put(self, "requires", frozenset(self.requires))
        put(self, "keywords", tuple(dict.fromkeys(self.keywords)))
        put(self, "metadata", dict(self.metadata))

    def matches(self, task: Task) -> bool:
        """Whether every condition holds for the task. Says nothing about the agent: see `choose_agent`."""
        return (
            (task.task_type in self.task_types or "*" in self.task_types)
            and self.requires <= task.requirements
            and all(_holds(task.metadata.get(key), wanted) for key, wanted in self.metadata.items())
            and (not self.keywords or self.found_keyword(task) is not None)
        )

    def found_keyword(self, task: Task) -> str | None:
        """Return the first keyword that the task's description holds, or None."""
        for keyword in self.keywords:
            if re.search(rf"(?<!\w){re.escape(keyword)}(?!\w)", task.description, re.IGNORECASE):
                return keyword
        return None


def check_rule_ids(rules: tuple[RoutingRule, ...]) -> None:
    """Raise InvalidAgents if two rules share an id: an explanation could not say which one spoke."""
    seen: set[str] = set()
    for rule in rules:
        if rule.rule_id in seen:
            raise InvalidAgents(f"Two rules have the id {rule.rule_id!r}. Rename one.")
        seen.add(rule.rule_id)


def _holds(found: Any, wanted: Any) -> bool:
    choices = wanted if isinstance(wanted, (list, tuple, set, frozenset)) else (wanted,)
    return any(found == choice and type(found) is type(choice) for choice in choices)
