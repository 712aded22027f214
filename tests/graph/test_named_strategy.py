import json
from typing import Any

import pytest

from kapelle.agents import AgentCapability, agent
from kapelle.errors import InvalidAgents, InvalidGraph
from kapelle.graph import Task, TaskDAG
from kapelle.strategies import Cascade, Check, Single, Strategy, Vote, strategy_from_dict, strategy_to_dict

CASCADE = Cascade(cheap="a", check=Check(kind="well_formed"), strong=Single(agent="b"))
JUDGED = Cascade(cheap="a", check=Check(kind="verifier", agent="judge"), strong=CASCADE)
VOTE = Vote(agents=("a", "b", "c"), min_agreement=3, escalate_to=JUDGED)

SAME: list[tuple[Any, Strategy]] = [
    ("a", Single(agent="a")),
    ({"single": "a"}, Single(agent="a")),
    ({"cascade": {"cheap": "a", "check": "well_formed", "strong": "b"}}, CASCADE),
    ({"cascade": {"cheap": "a", "check": {"verifier": "judge"}, "strong": strategy_to_dict(CASCADE)}}, JUDGED),
    ({"cascade": {"cheap": "a", "check": "verifier", "agent": "judge", "strong": CASCADE}}, JUDGED),
    ({"vote": ["a", "b"]}, Vote(agents=("a", "b"))),
    ({"vote": ["a", "b", "c"], "escalate_to": "d"}, Vote(agents=("a", "b", "c"), escalate_to=Single(agent="d"))),
    ({"vote": ["a", "b", "c"], "min_agreement": 3, "escalate_to": JUDGED}, VOTE),
    ({"vote": {"agents": ["a", "b", "c"], "min_agreement": 3, "escalate_to": JUDGED}}, VOTE),
    (CASCADE, CASCADE),
    (VOTE, VOTE),
]


@pytest.mark.parametrize(("written", "meant"), SAME, ids=[str(number) for number in range(len(SAME))])
def test_a_task_keeps_its_strategy_in_the_one_form_that_every_reader_knows(written: Any, meant: Strategy) -> None:
    task = Task(task_id="t", task_type="ask", strategy=written)

    assert task.strategy == strategy_to_dict(meant)
    assert strategy_from_dict(task.strategy) == meant
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    assert TaskDAG.from_xml(TaskDAG([task]).to_xml()) == TaskDAG([task])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (True, "is a bool"),
        (5, "is a int"),
        ([], "is a list"),
        ({}, "is no strategy"),
        ("", "give an agent's id"),
        ({"best": "a"}, "is no strategy"),
        ({"single": 3}, "give an agent's id"),
        ({"single": "a", "vote": ["a", "b"]}, "both single and vote"),
        ({"single": "a", "retries": 2}, "no field 'retries'"),
        ({"vote": ["a"]}, "min_agreement"),
        ({"vote": ["a", "a"]}, "twice"),
        ({"vote": ["a", "b"], "min_agreement": True}, "min_agreement"),
        ({"vote": {"agents": ["a", "b"]}, "escalate_to": "c"}, "into the vote"),
        ({"vote": "a, b"}, "is a str"),
        ({"cascade": {"cheap": "a", "strong": "b"}}, "no 'check'"),
        ({"cascade": {"cheap": "a", "check": 3, "strong": "b"}}, "[check]"),
        ({"cascade": ["a", "b"]}, "is a list"),
    ],
)
def test_what_is_no_strategy_is_refused_with_its_task_and_the_place(written: Any, said: str) -> None:
    with pytest.raises(InvalidGraph) as caught:
        Task(task_id="t", task_type="ask", strategy=written)

    assert str(caught.value).startswith("Task 't': strategy")
    assert said in str(caught.value)


def test_a_strategy_without_end_is_refused() -> None:
    nested: Any = "a"
    for _ in range(200):
        nested = {"cascade": {"cheap": "a", "check": "well_formed", "strong": nested}}

    with pytest.raises(InvalidGraph, match="deeper than 8 levels"):
        Task(task_id="t", task_type="ask", strategy=nested)


def test_whoever_gets_a_copy_cannot_change_the_strategy_of_the_task() -> None:
    task = Task(task_id="t", task_type="ask", strategy=VOTE)
    for copy in (task.copied().strategy, task.resolved({}).strategy, task.to_dict()["strategy"]):
        copy["vote"]["agents"].append("mallory")

    assert task.strategy == strategy_to_dict(VOTE)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), True, "3", 10**400])
def test_a_timeout_that_is_none_is_refused(timeout_s: Any) -> None:
    with pytest.raises(InvalidGraph, match="timeout"):
        Task(task_id="t", task_type="ask", timeout_s=timeout_s)
    with pytest.raises(InvalidAgents, match="timeout_s"):
        AgentCapability(agent_id="a", task_types=("ask",), timeout_s=timeout_s)


@pytest.mark.parametrize("retries", [-1, 1.5, True, "3", 10**9, float("nan")])
def test_retries_that_are_none_are_refused(retries: Any) -> None:
    with pytest.raises(InvalidGraph, match="retries"):
        Task(task_id="t", task_type="ask", retries=retries)
    with pytest.raises(InvalidAgents, match="retries"):
        AgentCapability(agent_id="a", task_types=("ask",), retries=retries)


def test_a_function_declares_its_timeout_and_retries() -> None:
    @agent(task_types=["ask"], timeout_s=30, retries=0)
    def asked(task: Task) -> str:
        return ""

    assert (asked.capability.timeout_s, asked.capability.retries) == (30.0, 0)
