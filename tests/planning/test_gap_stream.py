from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidPlan
from kapelle.graph import Task, TaskDAG
from kapelle.planning import read_reply, stream_tasks
from tests.strategies.graphs import full_graphs

PLAN = """<think>maybe <graph><node id="x">f()</node></graph></think>
<plan><graph>
  <node id="s1">search("capital of France | capital of Germany")</node>
  <node id="s2" depends="s1">search("population of {s1} & more")
  <node id="s3" depends="s4">compare({s2}, {s4})</node>
  <node id="s4" depends="s1">search("area of {city_2_from_s1}")</node>
</graph></plan>"""


def cut(text: str, seed: int) -> list[str]:
    rng, pieces = random.Random(seed), []
    while text:
        size = rng.choice([1, 2, 5, 30])
        pieces.append(text[:size])
        text = text[size:]
    return pieces


async def pieces_of(pieces: list[str], seen: list[int] | None = None) -> AsyncIterator[str]:
    for position, piece in enumerate(pieces):
        if seen is not None:
            seen.append(position)
        yield piece


def streamed(pieces: list[str]) -> list[Task]:
    async def collect() -> list[Task]:
        return [task async for task in stream_tasks(pieces_of(pieces))]

    return asyncio.run(collect())


def test_a_task_is_handed_on_the_moment_its_node_is_complete() -> None:
    async def watch() -> dict[str, str]:
        seen: list[int] = []
        pieces = list(PLAN)
        return {
            task.task_id: PLAN[: seen[-1] + 1].splitlines()[-1].strip()
            async for task in stream_tasks(pieces_of(pieces, seen))
        }

    when = asyncio.run(watch())
    assert list(when) == ["s1_1", "s1_2", "s2", "s4", "s3"]
    assert when["s1_1"].endswith('capital of Germany")</node>')
    assert when["s2"] == '<node id="s3" depends="s4">'  # which shows that s2 had ended
    assert when["s3"].endswith('area of {city_2_from_s1}")</node>')  # what it waits for came last


@pytest.mark.parametrize("seed", range(20))
def test_the_streamed_graph_is_that_of_the_whole_text(seed: int) -> None:
    whole = read_reply(PLAN).graph
    tasks = streamed(cut(PLAN, seed))
    dag = TaskDAG()
    for task in tasks:
        dag.add_task(task)  # so each comes after those that it waits for
    assert dag == whole


@given(full_graphs(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_any_graph_streams_to_itself(graph: TaskDAG, seed: int) -> None:
    if len(graph) > 0:
        assert TaskDAG(streamed(cut(f"So: {graph.to_xml()} Done.", seed))) == graph


def test_plans_in_other_notations_come_at_the_end() -> None:
    assert [task.task_id for task in streamed(cut('{"tasks": [{"id": 1, "tool": "f"}]}', 1))] == ["s1"]
    assert [task.task_id for task in streamed(cut("1. f()\n2. g($1)", 1))] == ["s1", "s2"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{PLAN} <graph><node id='s1'>f()</node></graph>", "2 different graphs"),
        (PLAN[:-40], "cut off"),
        ("<graph><node id='s1'>search('a|b')</node><node id='s1_1'>f()</node></graph>", "handed on"),
        ("<graph><node id='s1'>f()</node><node id='s1'>g()</node><node id='s2'>h({s1})</node></graph>", "has this id"),
        ("<answer>42</answer>", "no <graph>"),
        ("I cannot.", "no <graph>"),
    ],
)
def test_what_contradicts_the_tasks_that_were_handed_on_is_an_error(text: str, told: str) -> None:
    with pytest.raises(InvalidPlan, match=told):
        streamed(cut(text, 3))


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["<", ">", "<node id='a'>", "<!--", "x > y ", '<node id="', "<node id='a' b='>"])
def test_a_hostile_stream_comes_to_an_end(piece: str) -> None:
    with pytest.raises(InvalidPlan):
        streamed(["<graph>", *[piece] * (200_000 // len(piece))])
