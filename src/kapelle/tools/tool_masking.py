"""Which tools an agent may call now: its state over the table of tools.

The list of tools is never filtered. A state masks names; `validate_action` is the mask that holds whatever a provider
does, and it is asked before a tool runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from kapelle.errors import InvalidInput

from .agent_states import TRANSITIONS, AgentState, find_way
from .tool_table import ToolRow, ToolTable


class ToolMasking:
    """The state of one agent, and what it allows.

    >>> masking = ToolMasking()
    >>> masking.why_forbidden("EXECUTE")[:54]
    'EXECUTE (shell_execute) is not allowed while PLANNING.'
    >>> masking.set_agent_state(AgentState.EXECUTING)
    >>> masking.validate_action("EXECUTE").definition.name
    'shell_execute'
    """

    def __init__(self, table: ToolTable | None = None, *, state: AgentState = AgentState.PLANNING) -> None:
        self.table = table or ToolTable()
        self._state = state

    @property
    def state(self) -> AgentState:
        """What the agent is doing."""
        return self._state

    def set_agent_state(self, state: AgentState | str) -> None:
        """Go over to a state; staying is no change.

        Raises:
            InvalidInput: there is no such state, or it cannot follow the present one; the message says the way.
        """
        goal = read_state(state)
        if goal is not self._state and goal not in TRANSITIONS[self._state]:
            raise InvalidInput(
                f"{goal.name} cannot follow {self._state.name}. From {self._state.name} an agent goes to "
                f"{_names(TRANSITIONS[self._state])}; the way is {_way(self._state, goal)}."
            )
        self._state = goal

    def available_tools(self) -> frozenset[str]:
        """Return the native names that may be called now."""
        return self.table.allowed(self._state)

    def validate_action(self, name: str) -> ToolRow:
        """Return the tool of a native name or documented word.

        Raises:
            InvalidInput: there is none, or the state forbids it; the message says what is allowed.
        """
        reason = self.why_forbidden(name)
        if reason:
            raise InvalidInput(reason)
        return self.table[name]

    def why_forbidden(self, name: str) -> str:
        """Return why a tool may not be called now, for whoever called it; empty where it may."""
        return explain_mask(self.table, self._state, name)


def explain_mask(table: ToolTable, state: AgentState, name: str) -> str:
    """Return why a state forbids a tool, what it allows, and where the tool is allowed; empty where it is allowed."""
    row = table.find(name)
    allowed = table.allowed(state)
    if row is not None and row.definition.name in allowed:
        return ""
    choice = f"Allowed now: {', '.join(sorted(allowed)) or 'no tool'}."
    if row is None:
        return f"There is no tool {name!r}. {choice}"
    native = row.definition.name
    shown = native if name == native else f"{name} ({native})"
    there = [other for other in AgentState if row.allows(other)]
    if not there:
        way_out = "No state allows it."
    else:
        nearest = min(there, key=lambda other: len(find_way(state, other)))
        way_out = f"It is allowed while {_names(there)}; the way is {_way(state, nearest)}."
    return f"{shown} is not allowed while {state.name}. {choice} {way_out}"


def read_state(state: AgentState | str) -> AgentState:
    """Return a state by its word, in any case.

    Raises:
        InvalidInput: there is no such state.
    """
    try:
        return AgentState(str(state).strip().lower())
    except ValueError:
        raise InvalidInput(f"There is no state {str(state)!r}. There are: {_names(AgentState)}.") from None


def _names(states: Iterable[AgentState]) -> str:
    return ", ".join(state.name for state in states)


def _way(start: AgentState, goal: AgentState) -> str:
    return " -> ".join(state.name for state in find_way(start, goal))
