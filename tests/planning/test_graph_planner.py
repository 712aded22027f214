from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle.agents import AgentRegistry
from kapelle.errors import ModelUnavailable
from kapelle.graph import Task, TaskDAG
from kapelle.models import ModelReply, PaidRefusal, PaidReplyInvalid
from kapelle.planning import (
    FUNCTION_TYPES,
    GAP_SYSTEM_PROMPT,
    GAP_USER_PROMPT,
    GraphPlanner,
    PaidInvalidPlan,
    Plan,
    Reflection,
    read_reply,
)
from kapelle.planning.graph_replies.prompts import fill
from kapelle.testing import ScriptedModel

GOOD = """<think>Two hops.</think><plan><graph>
<node id="s1">search("capital of France")</node>
<node id="s2" depends="s1">search("population of {s1}")</node>
</graph></plan>"""
GDP = """<plan><graph>
  <node id="s1">search("top 3 most populous countries in Asia")</node>
  <node id="s2" depends="s1">search("GDP growth rate {country_1_from_s1}")</node>
  <node id="s3" depends="s1">search("GDP growth rate {country_2_from_s1}")</node>
  <node id="s4" depends="s1">search("GDP growth rate {country_3_from_s1}")</node>
  <node id="s5" depends="s2,s3,s4">compare_values({s2}, {s3}, {s4})</node>
</graph></plan>"""


def plan(model: ScriptedModel, request: str = "Population of {the} capital of France", **options: Any) -> Plan:
    return asyncio.run(GraphPlanner(model, **options).plan(request, AgentRegistry.default()))


def reflect(model: ScriptedModel, observations: dict[str, Any], **options: Any) -> Reflection:
    current = Plan(
        request="How many live there?", graph=TaskDAG.from_xml(GOOD[GOOD.index("<graph>") : -7]), planner="p"
    )
    return asyncio.run(GraphPlanner(model).reflect(current, observations, **options))


def patch_reply(parts: str) -> str:
    return f"<reflection>Because.\n<patch>{parts}</patch></reflection>"


def test_one_call_with_the_documented_prompts_becomes_a_graph() -> None:
    model = ScriptedModel([GOOD], cost_usd=0.01)
    made = plan(model)
    system, user = model.requests[0].messages
    assert system.content.startswith(GAP_SYSTEM_PROMPT)
    assert "implement" in system.content  # what the team can do
    assert user.content == GAP_USER_PROMPT.replace("{query}", "Population of {the} capital of France")
    assert made.graph.levels() == (("s1",), ("s2",))
    assert (made.planner, made.cost_usd, made.notes) == ("graph planning, model scripted:model", 0.01, ())


def test_the_documented_words_are_there() -> None:
    assert list(FUNCTION_TYPES) == ["think", "plan", "search", "observation", "reflection", "answer"]
    assert all(f"{function}(" in GAP_SYSTEM_PROMPT for function in FUNCTION_TYPES)
    assert "{query}" in GAP_USER_PROMPT
    example = read_reply(GAP_SYSTEM_PROMPT[GAP_SYSTEM_PROMPT.index("<think>") :]).graph
    assert example is not None
    assert example.levels() == (("s1", "s2"), ("s3", "s4"))
    assert fill("{a} {b} {s1}", a="{b}", b="2") == "{b} 2 {s1}"


def test_the_gdp_example_reads_as_documented() -> None:
    graph = plan(ScriptedModel([GDP])).graph
    assert graph.levels() == (("s1",), ("s2", "s3", "s4"), ("s5",))
    assert graph["s5"].inputs == {"arg1": "{s2}", "arg2": "{s3}", "arg3": "{s4}"}


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("I would rather not", "There is no <graph>"),
        (GOOD.replace('depends="s1"', 'depends="s7"'), "line 3, node 's2': Task 's2' depends on 's7'"),
        (ModelReply(text=GOOD[:150], finish_reason="length", cost_usd=0.01), "cut off"),
        (ModelReply(text=GOOD[:-15], finish_reason="length", cost_usd=0.01), "cut off"),
        ("<answer>2 million</answer>", "Nothing has run yet"),
        (f"<graph>{''.join(f'<node id=n{n}>f()</node>' for n in range(51))}</graph>", "at most 50"),
        (PaidReplyInvalid("unreadable", reply=ModelReply(text="?", cost_usd=0.01)), "unreadable"),
    ],
)
def test_a_reply_that_cannot_be_used_is_asked_for_once_more_with_the_error(bad: Any, told: str) -> None:
    model = ScriptedModel([bad, GOOD], cost_usd=0.01)
    made = plan(model)
    assert told in model.requests[1].messages[-1].content
    assert (len(made.graph), made.cost_usd, made.usage.calls) == (2, 0.02, 2)


def test_the_second_failure_says_what_was_paid() -> None:
    with pytest.raises(PaidInvalidPlan, match="no usable <graph> in 2 attempts: There is no <graph>") as caught:
        plan(ScriptedModel(["no", "no"], cost_usd=0.01))
    assert (caught.value.cost_usd, caught.value.usage.calls) == (0.02, 2)


def test_a_refusal_brings_the_sum_of_all_calls() -> None:
    refusal = PaidRefusal("policy", reply=ModelReply(text="", cost_usd=0.03))
    with pytest.raises(PaidRefusal) as caught:
        plan(ScriptedModel(["no", refusal], cost_usd=0.01))
    assert caught.value.reply.cost_usd == pytest.approx(0.04)


def test_an_error_brings_what_an_earlier_call_was_paid() -> None:
    model = ScriptedModel(["no", ModelUnavailable("overloaded")], cost_usd=0.01)
    with pytest.raises(ModelUnavailable) as caught:
        plan(model)
    assert caught.value.cost_usd == 0.01


def test_invented_answers_are_left_out_and_repairs_are_told() -> None:
    made = plan(ScriptedModel([f"{GOOD.replace('</node>', '', 1)}<answer>2 million</answer>"]))
    assert made.notes == (
        "A missing </node> was added (s1).",
        "The model also wrote observations or an answer before anything had run; they were left out.",
    )


def test_a_reflection_becomes_a_patch_that_fits_the_plan() -> None:
    model = ScriptedModel(
        [patch_reply('<add><node id="s3" depends=#s1>search("area of {s1}")</node></add>')], cost_usd=0.01
    )
    made = reflect(model, {"s1": "Paris"}, agents=AgentRegistry.default())
    assert made.patch is not None
    assert made.patch.add == (
        Task(task_id="s3", task_type="search", inputs={"query": "area of {s1}"}, depends_on=("s1",)),
    )
    assert made.reason.startswith("Because.")
    assert (made.cost_usd, made.usage.calls) == (0.01, 1)
    assert '"s1": "Paris"' in model.requests[0].messages[-1].content


@pytest.mark.parametrize(
    "reply", [patch_reply("<keep/>"), patch_reply(""), '{"reflection": "fine", "patch": null}', '{"add": []}', GOOD]
)
def test_a_reflection_may_leave_the_plan_alone(reply: str) -> None:
    assert reflect(ScriptedModel([reply]), {"s1": "Paris"}).patch is None


@pytest.mark.parametrize(
    "reply",
    [
        patch_reply('<replace><node id="s2">search("population of Lyon")</node></replace>'),
        '{"patch": {"replace": [{"id": "s2", "type": "search", "inputs": {"query": "population of Lyon"}}]}}',
        '<graph><node id=s1>search("capital of France")<node id=s2>search("population of Lyon")</graph>',
        '<graph><node id="s2">search("population of Lyon")</node></graph>',
    ],
)
def test_a_task_is_replaced_by_a_patch_or_by_a_new_graph(reply: str) -> None:
    patch = reflect(ScriptedModel([reply]), {"s1": "Lyon"}).patch
    assert patch is not None
    assert [task.inputs["query"] for task in patch.replace] == ["population of Lyon"]
    assert (patch.add, patch.remove) == ((), ())


def test_tasks_are_removed_and_split_up() -> None:
    removed = reflect(ScriptedModel([patch_reply("<remove>s2</remove>")]), {"s1": "Paris"}).patch
    split = reflect(ScriptedModel([patch_reply("<replace><node id=s2>search('a | b')</node></replace>")]), {}).patch
    assert removed is not None
    assert removed.remove == ("s2",)
    assert split is not None
    assert [task.task_id for task in split.expand["s2"]] == ["s2_1", "s2_2"]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (patch_reply('<replace><node id="s1">search("x")</node></replace>'), "'s1', which already ran"),
        (patch_reply('<remove id="s9"/>'), "'s9', which the graph does not have"),
        (patch_reply('<add><node id="s2">search("x")</node></add>'), "'s2', which the graph already has"),
        (patch_reply('<add><node id="s3" depends="s8">search("x")</node></add>'), "depends on 's8'"),
        (patch_reply('<node id="s3">search("x")</node>'), "in no part of the patch"),
        ('<graph><node id="s3">search("x")</node></graph>', "leaves out 's2', which has not run"),
        (f"{patch_reply('<keep/>')[:-22]}", "cut off"),
        ("Looks good to me.", "There is no <patch>"),
    ],
)
def test_a_patch_that_does_not_fit_is_asked_for_once_more(bad: str, told: str) -> None:
    model = ScriptedModel([bad, patch_reply("<keep/>")])
    assert reflect(model, {"s1": "Paris"}).patch is None
    assert told in model.requests[1].messages[-1].content


def test_failed_tasks_are_told_and_protected() -> None:
    model = ScriptedModel([patch_reply('<remove id="s2"/>'), patch_reply("<keep/>")])
    made = reflect(model, {"s1": "Paris"}, failures={"s2": "not found"})
    assert made.patch is None
    assert '"s2": "not found"' in model.requests[0].messages[-1].content
    assert "'s2', which already ran" in model.requests[1].messages[-1].content
