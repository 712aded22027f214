from __future__ import annotations

import pytest

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import InvalidPlan
from kapelle.graph import Task, TaskDAG
from kapelle.planning.fit import fit_to_agents, nearest_type

KINDS = [
    "lookup",
    "search",
    "sql",
    "aggregate",
    "compare",
    "summarize",
    "report",
    "write",
    "combine",
    "python",
    "for_each",
]


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("compare_values", "compare"),
        ("compareValues", "compare"),
        ("Compare", "compare"),
        ("COMPARE", "compare"),
        ("comparison", "compare"),
        ("comparing", "compare"),
        ("web_search", "search"),
        ("Web Search", "search"),
        ("searching", "search"),
        ("searcher", "search"),
        ("serach", "search"),
        ("look-up", "lookup"),
        ("look up", "lookup"),
        ("find_fact", "lookup"),
        ("retrieve", "lookup"),
        ("fetch_data", "lookup"),
        ("calculate", "python"),
        ("summary", "summarize"),
        ("summarization", "summarize"),
        ("summarise", "summarize"),
        ("sumarize", "summarize"),
        ("merge", "combine"),
        ("aggregation", "aggregate"),
        ("reporting", "report"),
        ("report_writing", "report"),
        ("sql_query", "sql"),
        ("draft", "write"),
        ("for-each", "for_each"),
        ("forEach", "for_each"),
        ("lookup|search", "lookup"),
        ("deploy", None),
        ("reach", None),
        ("walk_the_dog", None),
        ("??", None),
        ("", None),
    ],
)
def test_a_type_that_nobody_takes_is_the_nearest_that_somebody_does(kind: str, meant: str | None) -> None:
    assert nearest_type(kind, KINDS) == meant


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_that_somebody_takes_is_its_own_nearest(kind: str) -> None:
    assert nearest_type(kind, KINDS) == kind


TEAM = {
    "tables": AgentCapability(agent_id="tables", task_types=("sql", "aggregate"), skills=frozenset({"sql", "tables"})),
    "writer": AgentCapability(agent_id="writer", task_types=("write", "compare"), skills=frozenset({"writing"})),
    "editor": AgentCapability(agent_id="editor", task_types=("write",), skills=frozenset({"writing", "editing"})),
}


def graph(**fields: object) -> TaskDAG:
    return TaskDAG([Task(**{"task_id": "s1", "task_type": "write", **fields})])  # type: ignore[arg-type]  # any field


def test_a_skill_that_no_agent_of_the_type_has_is_left_out_with_a_note() -> None:
    fitted, notes = fit_to_agents(graph(task_type="sql", requirements=frozenset({"python", "tables"})), TEAM)
    assert fitted["s1"].requirements == {"tables"}
    assert notes == ("Task 's1' requires 'python', which no agent that takes 'sql' has; left out.",)


def test_of_skills_that_no_one_has_together_most_are_kept() -> None:
    fitted, notes = fit_to_agents(graph(requirements=frozenset({"writing", "editing", "sql"})), TEAM)
    assert fitted["s1"].requirements == {"writing", "editing"}
    assert "'sql'" in notes[0]


def test_a_plan_that_fits_is_the_same_one_and_needs_no_note() -> None:
    for agents in (TEAM, {}, {"any": AgentCapability(agent_id="any", task_types=("*",))}):
        plan = graph()
        assert fit_to_agents(plan, agents) == (plan, ())


def test_whoever_takes_anything_takes_an_unknown_type() -> None:
    plan = graph(task_type="juggle")
    assert fit_to_agents(plan, {**TEAM, "any": AgentCapability(agent_id="any", task_types=("*",))})[0] == plan


def test_a_task_without_a_type_has_that_of_its_first_word() -> None:
    fitted, notes = fit_to_agents(graph(task_type="task", description="Comparing both, say which is larger"), TEAM)
    assert fitted["s1"].task_type == "compare"
    assert notes == ("Task 's1' has no type; it was read as 'compare'.",)


def test_a_type_that_is_near_none_is_an_error_that_lists_them() -> None:
    with pytest.raises(InvalidPlan, match=r"type 'deploy'. Use one of: sql, aggregate, write, compare"):
        fit_to_agents(graph(task_type="deploy"), TEAM)


def test_the_documented_agents_take_what_graph_prompts_teach() -> None:
    kinds = [kind for agent in AgentRegistry.default().values() for kind in agent.task_types]
    assert [nearest_type(kind, kinds) for kind in ("search", "compare_values", "calculate_sum")] == [
        "search",
        "compare",
        "calculate",
    ]
