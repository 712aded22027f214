"""The decision by itself: who is chosen, and whether the explanation says why."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.graph import Task
from kapelle.routing import Choice, RoutingRule, choose_agent, choose_agents

KINDS = ("lookup", "sql", "write")
SKILLS = ("search", "maps", "python")


def agent(agent_id: str, *task_types: str, **fields: Any) -> AgentCapability:
    return AgentCapability(agent_id=agent_id, task_types=task_types or ("lookup",), **fields)


def task(task_id: str = "t", task_type: str = "lookup", **fields: Any) -> Task:
    return Task(task_id=task_id, task_type=task_type, **fields)


def choose(one: Task, *agents: AgentCapability, rules: tuple[RoutingRule, ...] = ()) -> Choice:
    registry = AgentRegistry(agents)
    return choose_agent(one, registry, rules, set(registry))


def test_an_agent_that_declares_the_type_beats_one_that_takes_any() -> None:
    choice = choose(task(), agent("any", "*", success_rate=1.0), agent("atlas"))
    assert choice.agent_id == "atlas"
    assert choice.explanation == (
        "atlas takes 'lookup' (declared). 1 other agent could: any takes any type, rather than this one."
    )


def test_required_skills_are_a_condition_not_a_preference() -> None:
    needs = task(requirements=frozenset({"search"}))
    choice = choose(needs, agent("cheap", cost_tier="free"), agent("atlas", skills=frozenset({"search"})))
    assert choice.agent_id == "atlas"
    assert choice.explanation == "atlas takes 'lookup' (declared) and has 'search'. No other agent could."


def test_skills_that_the_description_mentions_decide_next() -> None:
    mentions = task(description="Scraping the web for prices")
    scraper = agent("scraper", skills=frozenset({"web_scraping"}), success_rate=0.5)
    choice = choose(mentions, agent("atlas", success_rate=0.9), scraper)
    assert choice.agent_id == "scraper"
    assert "the task mentions 'web_scraping'" in choice.explanation
    assert "atlas lacks 'web_scraping'" in choice.explanation


def test_words_of_the_metadata_count_like_those_of_the_description() -> None:
    mentions = task(metadata={"hint": "needs maps"})
    assert choose(mentions, agent("plain"), agent("mapper", skills=frozenset({"maps"}))).agent_id == "mapper"


def test_the_better_success_rate_decides_before_the_price() -> None:
    choice = choose(task(), agent("cheap", cost_tier="free", success_rate=0.8), agent("good", success_rate=0.9))
    assert choice.agent_id == "good"
    assert "cheap succeeds less often (0.8, not 0.9)" in choice.explanation


def test_the_cheaper_tier_decides_among_equals() -> None:
    choice = choose(task(), agent("gazetteer", cost_tier="medium"), agent("atlas", cost_tier="cheap"))
    assert choice.agent_id == "atlas"
    assert "gazetteer costs more (medium, not cheap)" in choice.explanation


def test_the_lower_declared_price_decides_within_a_tier() -> None:
    choice = choose(task(), agent("unpriced"), agent("two", cost_usd=0.2), agent("one", cost_usd=0.1))
    assert choice.agent_id == "one"
    assert "2 other agents could: two costs more ($0.2, not $0.1)" in choice.explanation


def test_equal_agents_stay_in_the_order_of_the_registry() -> None:
    choice = choose(task(), agent("zeta"), agent("alpha"))
    assert choice.agent_id == "zeta"
    assert "alpha is as good by every criterion, but registered later" in choice.explanation


def test_the_first_rule_by_priority_decides_before_capabilities() -> None:
    low = RoutingRule(rule_id="low", task_types=("lookup",), agent_id="atlas")
    high = RoutingRule(rule_id="high", task_types=("lookup",), agent_id="gazetteer", priority=5, reason="it is local")
    choice = choose(task(), agent("atlas"), agent("gazetteer", success_rate=0.1), rules=(low, high))
    assert choice.agent_id == "gazetteer"
    assert choice.explanation == (
        "Rule 'high' sends 'lookup' tasks to gazetteer: it is local. atlas could too, but rules go first."
    )


def test_a_rule_cannot_give_a_task_to_an_agent_that_cannot_do_it() -> None:
    wrong = RoutingRule(rule_id="wrong", task_types=("*",), agent_id="writer", priority=9)
    assert choose(task(), agent("writer", "write"), agent("atlas"), rules=(wrong,)).agent_id == "atlas"


def test_an_unknown_type_names_the_closest_ones_and_the_way_out() -> None:
    choice = choose(task(task_type="deployment"), agent("ops", "deploy"), agent("atlas"))
    assert choice.agent_id is None
    assert choice.explanation == (
        "No agent takes 'deployment'; closest task types: deploy. Add an agent with task_types: [deployment]."
    )


def test_a_type_without_close_ones_lists_what_there_is() -> None:
    assert (
        "task types there are: lookup, sql" in choose(task(task_type="xyzzy"), agent("a", "lookup", "sql")).explanation
    )
    assert "there are no agents at all" in choose(task()).explanation


def test_missing_skills_are_named_agent_by_agent() -> None:
    needs = task(requirements=frozenset({"rust", "maps"}))
    choice = choose(needs, agent("atlas", skills=frozenset({"maps"})), agent("gazetteer"))
    assert choice.agent_id is None
    assert "atlas lacks 'rust'; gazetteer lacks 'maps', 'rust'" in choice.explanation
    assert "skills: [maps, rust]" in choice.explanation


def test_an_agent_that_is_not_available_is_named() -> None:
    choice = choose_agent(task(), AgentRegistry([agent("atlas"), agent("other", "write")]), (), {"other"})
    assert choice.agent_id is None
    assert "atlas could" in choice.explanation


def test_tasks_of_a_level_beyond_what_an_agent_does_at_once_are_shared() -> None:
    registry = AgentRegistry([agent("best", success_rate=0.9, max_concurrency=2), agent("next", max_concurrency=1)])
    choices = choose_agents([[task(f"t{n}") for n in range(4)]], registry, (), set(registry))
    assert [choice.agent_id for choice in choices] == ["best", "best", "next", "best"]
    assert "best has 2 tasks at this level already and does 2 at a time" in choices[2].explanation


def test_load_does_not_carry_over_to_the_next_level() -> None:
    registry = AgentRegistry([agent("best", success_rate=0.9, max_concurrency=1), agent("next")])
    choices = choose_agents([[task("a")], [task("b")]], registry, (), set(registry))
    assert [choice.agent_id for choice in choices] == ["best", "best"]


def test_load_does_not_hand_a_declared_type_to_an_agent_that_takes_any() -> None:
    registry = AgentRegistry([agent("declared", max_concurrency=1), agent("any", "*")])
    choices = choose_agents([[task("a"), task("b")]], registry, (), set(registry))
    assert [choice.agent_id for choice in choices] == ["declared", "declared"]


agents = st.lists(
    st.builds(
        AgentCapability,
        agent_id=st.sampled_from([f"a{n}" for n in range(6)]),
        task_types=st.lists(st.sampled_from([*KINDS, "*"]), min_size=1, max_size=3).map(tuple),
        skills=st.frozensets(st.sampled_from(SKILLS)),
        cost_tier=st.sampled_from(["free", "cheap", "medium", "expensive"]),
        cost_usd=st.none() | st.sampled_from([0.0, 0.01, 0.5]),
        success_rate=st.sampled_from([0.5, 0.85, 1.0]),
        max_concurrency=st.integers(1, 3),
    ),
    max_size=6,
    unique_by=lambda one: one.agent_id,
).map(AgentRegistry)
tasks = st.lists(
    st.builds(
        Task,
        task_id=st.sampled_from([f"t{n}" for n in range(8)]),
        task_type=st.sampled_from([*KINDS, "deploy"]),
        description=st.sampled_from(["", "Search the maps", "Write python"]),
        requirements=st.frozensets(st.sampled_from(SKILLS), max_size=2),
    ),
    max_size=8,
    unique_by=lambda one: one.task_id,
)


@given(registry=agents, level=tasks, data=st.data())
def test_routing_is_stable_under_task_order(registry: AgentRegistry, level: list[Task], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(level))
    assert choose_agents([level], registry, (), set(registry)) == choose_agents([shuffled], registry, (), set(registry))


@given(registry=agents, level=tasks)
def test_a_chosen_agent_can_do_the_task_and_one_is_chosen_if_any_can(
    registry: AgentRegistry, level: list[Task]
) -> None:
    by_id = {one.task_id: one for one in level}
    for choice in choose_agents([level], registry, (), set(registry)):
        able = [capability.agent_id for capability in registry.for_task(by_id[choice.task_id])]
        assert choice.agent_id in able if able else choice.agent_id is None
        assert choice.explanation.endswith(".")


@given(registry=agents, level=tasks)
def test_an_explanation_names_the_agent_and_the_number_of_others(registry: AgentRegistry, level: list[Task]) -> None:
    by_id = {one.task_id: one for one in level}
    for choice in choose_agents([level], registry, (), set(registry)):
        others = len(registry.for_task(by_id[choice.task_id])) - 1
        if choice.agent_id is not None:
            assert choice.explanation.startswith(f"{choice.agent_id} takes")
            said = {0: "No other agent", 1: "1 other agent could"}.get(others, f"{others} other agents could")
            assert said in choice.explanation
