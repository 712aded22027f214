from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, TaskContext
from kapelle.errors import AgentFailed, CannotPlan
from kapelle.graph import Task, TaskDAG
from kapelle.planning import ForEachAgent, HTDAGPlanner, Plan, RulePlanner, read_items

AGENTS = {"search": AgentCapability(agent_id="search", task_types=("lookup",))}
CONTEXT = TaskContext(
    run_id="r",
    request="Tell me about the capitals of South America",
    upstream={"s1": "Lima and Quito"},
    upstream_tasks={"s1": Task(task_id="s1", task_type="lookup", description="Find the capitals")},
)
COMPOUND = Task(task_id="s2", task_type="expand", description="Describe each capital", depends_on=("s1",))


class LevelPlanner:
    """Plans whatever it is asked as one lookup, or refuses; remembers what it was asked."""

    def __init__(self, refuses: bool = False) -> None:
        self.asked: list[str] = []
        self._refuses = refuses

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        self.asked.append(request)
        if self._refuses:
            raise CannotPlan("not understood")
        graph = TaskDAG([Task(task_id="s1", task_type="lookup", inputs={"query": "Lima"})])
        return Plan(request=request, graph=graph, planner="test", cost_usd=0.02)


def test_the_next_level_is_planned_with_the_results_of_the_one_before() -> None:
    level = LevelPlanner()
    result = asyncio.run(HTDAGPlanner(level, lambda: AGENTS).run(COMPOUND, CONTEXT))
    assert result.expansion is not None
    assert (len(result.expansion), result.cost_usd) == (1, 0.02)
    for words in ("Describe each capital", "Lima and Quito", "Find the capitals", CONTEXT.request):
        assert words in level.asked[0]


def test_a_level_that_cannot_be_planned_fails_its_task() -> None:
    with pytest.raises(AgentFailed, match="No plan was found for task 's2': not understood"):
        asyncio.run(HTDAGPlanner(LevelPlanner(refuses=True), lambda: AGENTS).run(COMPOUND, CONTEXT))


def test_failed_work_is_planned_anew_with_the_error() -> None:
    level = LevelPlanner()
    result = asyncio.run(HTDAGPlanner(level, lambda: AGENTS).replan(COMPOUND, "page not found", CONTEXT))
    assert result is not None
    assert result.expansion is not None
    assert "It failed with: page not found" in level.asked[0]


def test_the_same_task_again_is_no_other_way() -> None:
    same = Task(task_id="x", task_type="lookup", inputs={"query": "Lima"})
    result = asyncio.run(HTDAGPlanner(LevelPlanner(), lambda: AGENTS).replan(same, "no", CONTEXT))
    assert result is not None
    assert (result.expansion, result.cost_usd) == (None, 0.02)


def test_a_planner_that_refuses_leaves_the_failure() -> None:
    planner = HTDAGPlanner(LevelPlanner(refuses=True), lambda: AGENTS)
    assert asyncio.run(planner.replan(COMPOUND, "no", CONTEXT)) is None


def for_each(items: Any, body: str = "find its capital") -> TaskDAG:
    task = Task(task_id="s2", task_type="for_each", inputs={"items": items, "body": body})
    result = asyncio.run(ForEachAgent(RulePlanner(), lambda: AGENTS).run(task, CONTEXT))
    assert result.expansion is not None
    return result.expansion


def test_for_each_makes_a_task_per_item() -> None:
    graph = for_each({"columns": ["country", "area"], "rows": [["Peru", 1], ["Chile", 2]]})
    assert [task.inputs["query"] for task in graph] == ["capital of Peru", "capital of Chile"]


@pytest.mark.parametrize(
    ("items", "body", "words"),
    [
        ([], "find its capital", "found no items"),
        ([str(n) for n in range(200)], "find its capital", "at most 100"),
        (["Peru"], "sing", "No rule fits"),
    ],
)
def test_for_each_says_why_it_cannot(items: list[str], body: str, words: str) -> None:
    with pytest.raises(AgentFailed, match=words):
        for_each(items, body)


@pytest.mark.slow
@given(
    st.recursive(st.none() | st.text(max_size=9) | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
@settings(max_examples=300, deadline=None)
def test_items_are_read_from_any_output(output: Any) -> None:
    items = read_items(output)
    assert all(item.strip() for item in items)
    assert len(set(items)) == len(items)


@pytest.mark.parametrize(
    ("output", "items"),
    [
        ({"answer": "Germany is a country in Central Europe. (notes/germany.md:3)"}, ()),
        ("It borders France, Poland and Austria", ()),
        ("It borders two countries: Denmark and Poland. (notes/x.md:7)", ("Denmark", "Poland")),
        ("Peru\nChile (notes/x.md:7)", ("Peru", "Chile")),
        ([{"answer": "Lima"}, {"answer": "Washington, D.C."}], ("Lima", "Washington, D.C.")),
        ([{"answer": "Lima"}, {"answer": "Santiago is the capital of Chile"}], ()),
        ([{"answer": "3,400,000"}], ("3,400,000",)),
        ({"price": 3}, ()),
    ],
)
def test_items_are_names_and_never_parts_of_sentences(output: Any, items: tuple[str, ...]) -> None:
    assert read_items(output) == items
