"""Whether an answer tells where it comes from. What a model answered without a source is from its memory.

A source is what an output lists under `sources`. Only agents that are a model and nothing else are spoken of: what a
user's own function, or a model with tools, has looked at nobody here can know.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from kapelle.graph import Task, render_output

from .on_model import OnModel

ASKED_TYPES = frozenset({"lookup", "search", "sql", "query"})
"""Look-ups whose answer nothing before them holds."""
SOURCED_TYPES = ASKED_TYPES | {"research", "aggregate", "count"}
"""Types of task that ask for facts, whose answers should say where they stand. Those that are not ASKED_TYPES may also
work them out from what earlier tasks have found."""
ANSWER_TYPES = frozenset({"answer", "respond"})
"""Work that answers a person: from what earlier tasks have found, or else from memory."""
WRITTEN_TYPES = frozenset({"write", "report", "compare", "summarize", "answer"})
"""Work that puts together what others have found, and asks for a writer's judgement."""
_WORKED_OUT = {"content", "analyze", "combine", "join", "python", "compute", "calculate"}
MADE_TYPES = (WRITTEN_TYPES - ANSWER_TYPES) | _WORKED_OUT
"""Work on what is given: figures that it does not hold, a model has from memory."""
MEMORY_MARK = "(from the model's memory: no source in the folder)"
"""Stands after what a model said where a folder was given and holds no source for it."""


def has_sources(output: Any) -> bool:
    """Return whether an output lists where it comes from.

    >>> has_sources({"text": "Lima", "sources": ["cities.csv:3"]}), has_sources({"sources": [""]}), has_sources("Lima")
    (True, False, False)
    """
    listed = output.get("sources") if isinstance(output, Mapping) else None
    return isinstance(listed, (list, tuple)) and any(isinstance(one, str) and one.strip() for one in listed)


def is_from_memory(agent: object, task: Task, output: Any, upstream: Collection[Any] = ()) -> bool:
    """Return whether what an agent gave for a task comes from the memory of a model.

    Args:
        upstream: The outputs that the task was given.
    """
    kind = task.task_type
    if (
        not (isinstance(agent, OnModel) and agent.is_model_alone)
        or has_sources(output)
        or (kind not in ASKED_TYPES and any(map(has_sources, upstream)))
    ):
        return False
    if kind in SOURCED_TYPES | ANSWER_TYPES or (kind == "compare" and not upstream):
        return True
    given = " ".join((task.description, *map(render_output, (dict(task.inputs), *upstream))))
    return kind in MADE_TYPES and not _figures(render_output(output)) <= _figures(given)


def _figures(text: str) -> frozenset[str]:
    """The numbers of a text, however their digits are grouped."""
    return frozenset(re.sub(r"\D", "", found).strip("0") for found in re.findall(r"\d[\d.,' ]*", text))
