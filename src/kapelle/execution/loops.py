"""Stops a runaway: tasks made at run time that ask the same agent the same thing again and again.

A planner that plans the same step anew after every failure, an agent that expands into itself: each round is a valid
graph, costs money, and differs from the last in nothing but its ids. What is told apart here is the call: the agent,
the type of task, its words, and its inputs with all references filled. The tasks of the first plan are not counted:
whoever plans ten samples of one question wants ten.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field

from kapelle.graph import Task


def call_of(agent: str, task: Task) -> str:
    """Return what tells the call of a task, its inputs resolved, from all others."""
    content = (agent, task.task_type, task.description, task.inputs)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(slots=True)
class LoopGuard:
    """Counts calls."""

    limit: int
    """How often the same call may be made."""
    calls: Counter[str] = field(default_factory=Counter)

    def admit(self, agent: str, task: Task) -> str | None:
        """Count a call; return why it must not be made, if it must not."""
        call = call_of(agent, task)
        if self.calls[call] >= self.limit:
            return (
                f"This is a loop: {agent} was asked the same thing with the same inputs {self.limit} times by tasks "
                "that were made at run time. Plan it differently, or allow a greater max_same_calls."
            )
        self.calls[call] += 1
        return None
