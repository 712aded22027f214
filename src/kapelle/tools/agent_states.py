"""The states of an agent that acts, which state follows which, and what each allows.

Pure tables and the questions asked of them. It filters no list of tools: a state allows names, and the list that models
are told stays as it is, so that providers' prompt caches hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class AgentState(StrEnum):
    """What an agent is doing."""

    PLANNING = "planning"
    EXECUTING = "executing"
    VERIFYING = "verifying"
    BROWSING = "browsing"
    LEARNING = "learning"


_PLANNING, _EXECUTING, _VERIFYING, _BROWSING, _LEARNING = AgentState

TRANSITIONS: Mapping[AgentState, tuple[AgentState, ...]] = MappingProxyType(
    {
        _PLANNING: (_EXECUTING, _BROWSING),
        _EXECUTING: (_PLANNING, _VERIFYING, _BROWSING),
        # What fails its check is worked on again, or planned anew; what passes is learned from.
        _VERIFYING: (_PLANNING, _EXECUTING, _LEARNING),
        _BROWSING: (_PLANNING, _EXECUTING),
        _LEARNING: (_PLANNING,),
    }
)
"""The states that may follow each. Staying is always possible."""

ALLOWED_ACTIONS: Mapping[AgentState, frozenset[str]] = MappingProxyType(
    {
        # It looks and writes its list, and changes nothing else.
        _PLANNING: frozenset({"READ_FILE", "LIST_FILES", "SEARCH_WEB", "UPDATE_TODO"}),
        # All that acts; what is learned is not written down before it was checked.
        _EXECUTING: frozenset(
            {
                "CREATE_FILE",
                "READ_FILE",
                "LIST_FILES",
                "EXECUTE",
                "UPDATE_TODO",
                "VERIFY",
                "BROWSER",
                "SEARCH_WEB",
                "DELEGATE",
            }
        ),
        # What is being checked must not change: no file is written, and no command runs but the check.
        _VERIFYING: frozenset({"READ_FILE", "LIST_FILES", "VERIFY", "UPDATE_TODO"}),
        # A page that gives orders finds no other hands: neither files nor commands.
        _BROWSING: frozenset({"BROWSER"}),
        _LEARNING: frozenset({"REFLECT", "NOTE_LESSON"}),
    }
)
"""The documented actions that each state allows. Tools of users say so themselves, in their row of the table."""


def find_way(start: AgentState, goal: AgentState) -> tuple[AgentState, ...]:
    """Return the states from `start` to `goal`, both included, by the fewest changes.

    >>> [state.name for state in find_way(AgentState.PLANNING, AgentState.LEARNING)]
    ['PLANNING', 'EXECUTING', 'VERIFYING', 'LEARNING']
    """
    came_from: dict[AgentState, AgentState] = {start: start}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for following in TRANSITIONS[state]:
            if following not in came_from:
                came_from[following] = state
                waiting.append(following)
    # Every state can be reached from every other, so there is always a way; a test holds it.
    way = [goal]
    while way[-1] is not start:
        way.append(came_from[way[-1]])
    return tuple(reversed(way))


def draw_states() -> str:
    """Return the states as a Mermaid diagram, each with the actions that it allows."""
    lines = ["stateDiagram-v2", "    [*] --> PLANNING"]
    for state, following in TRANSITIONS.items():
        lines += [f"    {state.name} --> {one.name}" for one in following]
    for state, actions in ALLOWED_ACTIONS.items():
        lines.append(f"    {state.name} : {', '.join(sorted(actions))}")
    return "\n".join(lines)
