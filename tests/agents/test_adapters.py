from __future__ import annotations

import asyncio
import threading
from typing import Any

import pydantic
import pytest
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai.models.test import TestModel

from kapelle.agents import Agent, AgentResult, CallableAgent, ModelAgent, PydanticAIAgent, TaskContext, agent, as_agent
from kapelle.errors import AgentFailed, InvalidAgents
from kapelle.graph import Task
from kapelle.testing import ScriptedModel

TASK = Task(
    task_id="s2", task_type="lookup", description="Population of Paris", inputs={"query": "population of Paris"}
)
CONTEXT = TaskContext(
    run_id="r",
    request="How many people live in the capital of France?",
    upstream={"s1": "Paris"},
    upstream_tasks={"s1": Task(task_id="s1", task_type="lookup", description="Capital of France")},
)


def run(runner: Agent) -> AgentResult:
    return asyncio.run(runner.run(TASK, CONTEXT))


def test_an_async_function_is_an_agent() -> None:
    async def find(task: Task) -> str:
        return str(task.inputs["query"])

    assert run(CallableAgent(find)).output == "population of Paris"


def test_a_plain_function_runs_on_a_thread_so_that_it_blocks_nobody() -> None:
    assert run(CallableAgent(lambda task: threading.current_thread() is threading.main_thread())).output is False


def test_a_function_of_two_arguments_is_given_the_context() -> None:
    assert run(CallableAgent(lambda task, context: context.upstream["s1"])).output == "Paris"


def test_a_result_with_its_own_cost_is_passed_on() -> None:
    assert run(CallableAgent(lambda task: AgentResult(output=1, cost_usd=0.5))).cost_usd == 0.5


def test_an_object_that_is_called_asynchronously_is_an_agent() -> None:
    class Finder:
        async def __call__(self, task: Task) -> str:
            return "found"

    assert run(as_agent(Finder())).output == "found"


def test_the_decorator_leaves_the_function_callable() -> None:
    @agent(task_types=["lookup"], cost_usd=0.001, skills=["maps"])
    def atlas(task: Any) -> str:
        """Finds places."""
        return "Paris"

    assert atlas(TASK) == "Paris"
    assert (atlas.capability.agent_id, atlas.capability.description) == ("atlas", "Finds places.")
    assert run(atlas).output == "Paris"


def test_the_bare_decorator_takes_any_task_and_costs_nothing() -> None:
    @agent
    async def anything(task: Any) -> str:
        return "done"

    assert (anything.capability.task_types, anything.capability.cost_tier) == (("*",), "free")


def test_a_model_is_told_request_task_and_earlier_results_and_its_cost_counts() -> None:
    model = ScriptedModel(["2.1 million"], cost_usd=0.02)
    result = run(ModelAgent(model, "You are an atlas."))
    system, user = model.requests[0].messages
    assert (system.content, result.output, result.cost_usd) == ("You are an atlas.", "2.1 million", 0.02)
    for words in (CONTEXT.request, "Population of Paris", "Capital of France", "Paris"):
        assert words in user.content


def test_a_model_that_says_nothing_fails_the_task() -> None:
    with pytest.raises(AgentFailed, match="is empty"):
        run(ModelAgent(ScriptedModel(["  "])))


def test_an_agent_of_pydantic_ai_is_an_agent() -> None:
    class Fact(pydantic.BaseModel):
        answer: str

    library_agent = LibraryAgent(TestModel(custom_output_args={"answer": "Paris"}), output_type=Fact)
    runner = as_agent(library_agent)
    result = run(runner)
    assert isinstance(runner, PydanticAIAgent)
    assert result.output == {"answer": "Paris"}
    assert (result.usage.calls, result.usage.input_tokens > 0) == (1, True)


@pytest.mark.parametrize("thing", [3, "text", None, object()])
def test_what_is_no_agent_is_refused(thing: Any) -> None:
    with pytest.raises(InvalidAgents, match="is no agent"):
        as_agent(thing)
