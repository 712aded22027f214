from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pydantic
import pytest
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel

from kapelle.agents import AgentResult, PydanticAIAgent, TaskContext
from kapelle.graph import Task

TASK = Task(task_id="a", task_type="lookup", description="Capital of France")
CONTEXT = TaskContext(run_id="r7", request="What is the capital of France?")


def run(agent: PydanticAIAgent, context: TaskContext = CONTEXT) -> AgentResult:
    return asyncio.run(agent.run(TASK, context))


class Desk:
    """What an agent's tools are given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, task: Task, context: TaskContext) -> Desk:
        raise AssertionError("a value that can be called is a value")


def make(task: Task, context: TaskContext) -> Desk:
    return Desk(f"{context.run_id}/{task.task_id}")


async def make_later(task: Task, context: TaskContext) -> Desk:
    return make(task, context)


@pytest.mark.parametrize(
    ("deps", "name"),
    [
        (Desk("fixed"), "fixed"),
        (make, "r7/a"),
        (make_later, "r7/a"),
        (functools.partial(make), "r7/a"),
        (lambda task, context: Desk(task.task_type), "lookup"),
    ],
    ids=["a value", "a function", "an async function", "a partial function", "a lambda"],
)
def test_tools_are_given_what_was_registered(deps: Any, name: str) -> None:
    library_agent = LibraryAgent(TestModel(), deps_type=Desk)

    @library_agent.tool
    def desk(run: RunContext[Desk]) -> str:
        return run.deps.name

    assert name in run(PydanticAIAgent(library_agent, deps=deps)).output


# Text that is written piece by piece


def streaming(*replies: list[Any]) -> FunctionModel:
    """A model that streams replies in turn: pieces of text, or a tool's name in a pair with its arguments."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        asked = sum(message.kind == "response" for message in messages)
        for piece in replies[min(asked, len(replies) - 1)]:
            if isinstance(piece, tuple):
                yield {0: DeltaToolCall(name=piece[0], json_args=piece[1], tool_call_id="1")}
            else:
                yield piece

    return FunctionModel(stream_function=stream)


def with_tool(model: Any) -> LibraryAgent[None, str]:
    library_agent: LibraryAgent[None, str] = LibraryAgent(model)

    @library_agent.tool_plain
    def look() -> str:
        return "France is a country."

    return library_agent


def answer(text: str) -> Callable[[list[ModelMessage], AgentInfo], ModelResponse]:
    return lambda messages, info: ModelResponse(parts=[TextPart(text)])


class Fact(pydantic.BaseModel):
    capital: str


# The agent, the pieces that are told, and its output.
STREAMS: dict[str, tuple[Callable[[], LibraryAgent[None, Any]], list[str], Any]] = {
    "text": (lambda: LibraryAgent(streaming(["Pa", "ris"])), ["Pa", "ris"], "Paris"),
    "text behind a wrapper": (lambda: LibraryAgent(WrapperModel(streaming(["Pa", "ris"]))), ["Pa", "ris"], "Paris"),
    "thoughts before it": (lambda: LibraryAgent(streaming(["<th", "ink>hm</think>", "Paris"])), ["Paris"], "Paris"),
    "a tool before it": (lambda: with_tool(streaming([("look", "{}")], ["Pa", "ris"])), ["Pa", "ris"], "Paris"),
    "words before a tool": (
        lambda: with_tool(streaming(["Let me look.", ("look", "{}")], ["Pa", "ris"])),
        ["Pa", "ris"],
        "Paris",
    ),
    "a model that cannot stream": (lambda: LibraryAgent(FunctionModel(answer("Paris"))), ["Paris"], "Paris"),
    "an output that is no text": (
        lambda: LibraryAgent(TestModel(custom_output_args={"capital": "Paris"}), output_type=Fact),
        [],
        {"capital": "Paris"},
    ),
}


@pytest.mark.parametrize("way", STREAMS)
def test_the_text_of_the_answer_is_told_as_it_is_written_and_nothing_else(way: str) -> None:
    make_agent, pieces, output = STREAMS[way]
    told: list[str] = []
    result = run(PydanticAIAgent(make_agent()), replace(CONTEXT, tell=told.append))
    assert ([piece for piece in told if piece], result.output) == (pieces, output)
