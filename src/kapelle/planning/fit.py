"""Fits a model's plan to who is there: types that somebody takes, skills that somebody has. Each change has a note.

Knows nothing of prices or of who is best: see routing.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidPlan
from kapelle.graph import Task, TaskDAG
from kapelle.language import MIN_ROOT, root

UNTYPED = "task"
"""The type of a task of which no type was said."""
_TYPOS = 0.8
"""How alike two words are that differ by a slip: `serach` and `search` are 0.83 alike, `reach` and `search` 0.73."""
# Words for kinds of work that say the same, the plainest first.
_SAME = (
    ("lookup", "search", "research", "find", "get", "fetch", "retrieve", "look", "identify", "locate", "browse"),
    ("compute", "calculate", "python", "math", "arithmetic", "add", "sum", "multiply", "divide"),
    ("sql", "query", "aggregate", "count", "database"),
    ("write", "report", "content", "draft", "compose", "document"),
    ("summarize", "summarise", "recap"),
    ("combine", "join", "merge", "concatenate", "collect", "gather", "synthesize"),
    ("compare", "contrast", "rank"),
    ("analyze", "analyse", "analysis", "evaluate"),
    ("answer", "respond", "reply"),
)


def fit_to_agents(graph: TaskDAG, agents: Mapping[str, AgentCapability]) -> tuple[TaskDAG, tuple[str, ...]]:
    """Return the graph with types and skills that the agents have, and a note on each change.

    A type that nobody takes becomes the nearest that somebody does, by its words: `compare_values` is a comparison. A
    skill that no agent of the type has is no reason to lose the task.

    Raises:
        InvalidPlan: nobody takes a task's type, and no other is near; the message lists those that are taken.
    """
    if not agents:
        return graph, ()
    graph, notes = fit_types(graph, agents)
    tasks = []
    for task in graph:
        skills = _most_skills(task.requirements, task.task_type, agents)
        if skills != task.requirements:
            lost = ", ".join(repr(skill) for skill in sorted(task.requirements - skills))
            taken = f"no agent that takes {task.task_type!r} has"
            notes = (*notes, f"Task {task.task_id!r} requires {lost}, which {taken}; left out.")
            task = dataclasses.replace(task, requirements=skills)
        tasks.append(task)
    return (TaskDAG(tasks, version=graph.version) if notes else graph), notes


def fit_types(
    graph: TaskDAG, agents: Mapping[str, AgentCapability], *, among: Collection[str] | None = None
) -> tuple[TaskDAG, tuple[str, ...]]:
    """Return the graph with types that somebody takes, and a note on each change.

    Args:
        graph: The tasks.
        agents: Who is there.
        among: The types that a word may be read as. Given, it is a person's graph: a type that is near none of them is
            left as it is, for routing to say what it needs.

    Raises:
        InvalidPlan: a model's graph has a type that nobody takes and that is near none.
    """
    kinds = list(dict.fromkeys(kind for agent in agents.values() for kind in agent.task_types if kind != "*"))
    if any("*" in agent.task_types for agent in agents.values()):
        return graph, ()
    near_kinds = [kind for kind in kinds if among is None or kind in among]
    is_draft = among is None
    notes: list[str] = []
    tasks = []
    for task in graph:
        kind = task.task_type
        if kind in kinds or (task.strategy is not None and not is_draft):
            tasks.append(task)
            continue
        near = _type_of_agent(task, agents) if is_draft else None
        near = near or nearest_type(kind, near_kinds)
        if near is None and kind == UNTYPED and is_draft:
            near = _type_of_words(task, kinds)
        if near is not None:
            said = "has no type" if kind == UNTYPED else f"has the type {kind!r}, which nobody takes"
            notes.append(f"Task {task.task_id!r} {said}; it was read as {near!r}.")
            task = dataclasses.replace(task, task_type=near)
        elif is_draft:
            raise InvalidPlan(
                f"Nobody takes tasks of the type {kind!r}. Use one of: {', '.join(kinds)}.",
                place=f"task {task.task_id!r}",
            )
        tasks.append(task)
    return (TaskDAG(tasks, version=graph.version) if notes else graph), tuple(notes)


def nearest_type(kind: str, kinds: Sequence[str]) -> str | None:
    """Return the type of these that a word for a kind of work means; None if none is near.

    >>> kinds = ["lookup", "search", "compare", "report", "summarize", "python"]
    >>> [nearest_type(kind, kinds) for kind in ("compare_values", "Web Search", "comparison", "serach", "fetchData")]
    ['compare', 'search', 'compare', 'search', 'lookup']
    >>> nearest_type("deploy", kinds) is None
    True
    """
    words = _split(kind)
    for near in (_same_word, _same_stem, _same_meaning):
        for word in words:
            for known in near(word, kinds):
                return known
    for word in words:
        slips = difflib.get_close_matches(word, [known for known in kinds if len(known) > MIN_ROOT], n=1, cutoff=_TYPOS)
        if slips and len(word) > MIN_ROOT:
            return slips[0]
    return None


def _type_of_agent(task: Task, agents: Mapping[str, AgentCapability]) -> str | None:
    """The type for a task that names an agent instead of one: what its words say of those that the agent takes."""
    said = task.metadata.get("agent", task.metadata.get("agent_id", task.metadata.get("assigned_to")))
    name = task.task_type if task.task_type != UNTYPED else said
    agent = agents.get(name) if isinstance(name, str) else None
    if agent is None or "*" in agent.task_types or not agent.task_types:
        return None
    return _type_of_words(task, list(agent.task_types)) or agent.task_types[0]


def _type_of_words(task: Task, kinds: Sequence[str]) -> str | None:
    """The type that the first word of a description names, as in "Compare both"."""
    first = re.match(r"\W*([A-Za-z]+)", task.description)
    return nearest_type(first[1], kinds) if first is not None else None


def _split(kind: str) -> list[str]:
    """The words of a type, however they are joined: `web_search`, `webSearch`, `Web search`; first the whole."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", kind)
    words = [word for word in re.split(r"[^A-Za-z0-9]+", spaced.lower()) if word]
    return list(dict.fromkeys(["".join(words), *words])) if words else []


def _plain(kind: str) -> str:
    return re.sub(r"[^a-z0-9]", "", kind.lower())


def _same_word(word: str, kinds: Sequence[str]) -> Iterator[str]:
    yield from (known for known in kinds if _plain(known) == word)


def _same_stem(word: str, kinds: Sequence[str]) -> Iterator[str]:
    own = root(word)
    if len(own) >= MIN_ROOT:
        yield from (known for known in kinds if root(_plain(known)) == own)


def _same_meaning(word: str, kinds: Sequence[str]) -> Iterator[str]:
    for group in _SAME:
        if word in group or any(root(word) == root(other) for other in group if len(root(other)) >= MIN_ROOT):
            yield from (known for known in group if known in kinds)


def _most_skills(wanted: Collection[str], kind: str, agents: Mapping[str, AgentCapability]) -> frozenset[str]:
    """Of the skills that a task requires, the most that one agent of its type has together."""
    able = [agent.skills for agent in agents.values() if kind in agent.task_types or "*" in agent.task_types]
    return max((frozenset(wanted) & skills for skills in able), key=len, default=frozenset(wanted))
