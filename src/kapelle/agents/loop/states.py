"""How an agent that works in states goes from one to the next: by what it calls and how that ends. Pure.

PLANNING ── it writes its list ──> EXECUTING ── it answers ──> VERIFYING ── the answer holds ──> done
                                      ^  └── it opens a page ──> BROWSING     │
                                      ├──── it says what it found ───┘        │
                                      └──── a check fails, or it writes its list anew
"""

from __future__ import annotations

from kapelle.tools import AgentState

HOW_STATES_WORK = (
    "You work in states, and each allows some of the tools; a call of another is refused and tells which are allowed. "
    "PLANNING: look around, then write your list of what is to be done; that begins EXECUTING. EXECUTING: do it. "
    "Opening a page begins BROWSING: use the page alone, then say in words what you found; that leads back. When all "
    "is done, answer in words: that begins VERIFYING. There you check what you did, and answer again; that ends the "
    "task. Writing your list anew leads back to EXECUTING."
)

CHECK_FIRST = (
    "You are VERIFYING now. Check that what you did holds, with a command that succeeds only if it does; then give "
    "your answer again."
)
BACK_TO_WORK = "You are EXECUTING again: what you found is noted. Go on, or answer if all is done."


def state_after_call(state: AgentState, action: str, *, is_error: bool) -> AgentState:
    """Return the state after a call, by its documented action."""
    if action == "UPDATE_TODO" and state in (AgentState.PLANNING, AgentState.VERIFYING):
        return AgentState.EXECUTING
    if action == "BROWSER" and state is AgentState.EXECUTING and not is_error:
        return AgentState.BROWSING
    if action == "VERIFY" and state is AgentState.VERIFYING and is_error:
        return AgentState.EXECUTING
    return state
