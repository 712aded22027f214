"""States: what each allows, which follows which, and what somebody is told who asks for something else."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.tools import (
    ALLOWED_ACTIONS,
    STATIC_TOOLS,
    TRANSITIONS,
    AgentState,
    ToolMasking,
    ToolTable,
    draw_states,
    find_way,
    read_state,
)

TABLE = ToolTable()
STATES = st.sampled_from(list(AgentState))


def test_planning_looks_and_changes_nothing() -> None:
    allowed = TABLE.allowed(AgentState.PLANNING)
    assert allowed == {"file_read", "file_list", "web_search", "todo_update"}
    assert not any(TABLE[name].has_effects for name in allowed)


def test_every_action_is_allowed_somewhere_and_no_other_word_is() -> None:
    assert set().union(*ALLOWED_ACTIONS.values()) == {row.action for row in STATIC_TOOLS}
    assert set(ALLOWED_ACTIONS) == set(TRANSITIONS) == set(AgentState)


def test_browsing_has_no_other_hands() -> None:
    assert {TABLE[name].action for name in TABLE.allowed(AgentState.BROWSING)} == {"BROWSER"}


@given(STATES, STATES)
def test_every_state_is_reached_by_its_way(start: AgentState, goal: AgentState) -> None:
    masking = ToolMasking(TABLE, state=start)
    for state in find_way(start, goal):
        masking.set_agent_state(state)
    assert masking.state is goal


@given(STATES, st.sampled_from([row.word for row in STATIC_TOOLS]))
def test_a_refusal_names_what_is_allowed_and_the_way_there(state: AgentState, word: str) -> None:
    masking = ToolMasking(TABLE, state=state)
    reason = masking.why_forbidden(word)
    native = TABLE[word].definition.name
    assert masking.why_forbidden(native) == "" if not reason else native in reason
    assert bool(reason) == (native not in masking.available_tools())
    if reason:
        assert all(name in reason for name in masking.available_tools())
        goal = read_state(reason.rstrip(".").rpartition(" -> ")[2])
        assert TABLE[word].allows(goal)


def test_an_illegal_change_of_state_says_the_way_and_changes_nothing() -> None:
    masking = ToolMasking()
    with pytest.raises(InvalidInput, match="the way is PLANNING -> EXECUTING -> VERIFYING -> LEARNING"):
        masking.set_agent_state(AgentState.LEARNING)
    assert masking.state is AgentState.PLANNING


@given(st.text())
def test_any_other_word_is_refused_and_told_what_there_is(word: str) -> None:
    if TABLE.find(word) is None:
        with pytest.raises(InvalidInput, match="Allowed now: file_list, file_read, todo_update, web_search"):
            ToolMasking(TABLE).validate_action(word)


def test_states_are_read_by_their_words() -> None:
    masking = ToolMasking()
    masking.set_agent_state(" Executing ")
    assert masking.state is AgentState.EXECUTING
    with pytest.raises(InvalidInput, match="There are: PLANNING, EXECUTING"):
        masking.set_agent_state("dreaming")


def test_the_diagram_in_the_documents_is_drawn_from_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "masking.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{draw_states()}\n```" in page


def test_the_documented_usage_plans_first_and_acts_then() -> None:
    masking = ToolMasking()
    set_agent_state = masking.set_agent_state
    planned = ("READ_FILE", "LIST_FILES", "SEARCH_WEB")
    acted = ("CREATE_FILE", "EXECUTE", "DELEGATE")

    set_agent_state(AgentState.PLANNING)
    assert all(masking.validate_action(word) for word in planned)
    assert all(masking.why_forbidden(word) for word in acted)
    set_agent_state(AgentState.EXECUTING)
    assert all(masking.validate_action(word) for word in (*planned, *acted))


@given(st.lists(st.tuples(st.sampled_from([None, *AgentState]), st.sampled_from(sorted(TABLE.names)))))
def test_whatever_is_asked_in_whatever_order_the_state_decides(choices: list[tuple[AgentState | None, str]]) -> None:
    masking = ToolMasking(TABLE)
    for state, name in choices:
        before = masking.state
        if state is not None:
            with contextlib.suppress(InvalidInput):
                masking.set_agent_state(state)
            assert masking.state in (before, *TRANSITIONS[before])
        is_allowed = TABLE[name].action in ALLOWED_ACTIONS[masking.state]
        assert (masking.why_forbidden(name) == "") == is_allowed
