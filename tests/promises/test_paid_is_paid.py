"""Paid is paid: an agent that fails after calls of a model is charged for them, whatever ended it.

Held for agents that run on a model: each way to fail is a line of a table, with the error it is sorted as and the
replies that were paid until then. The error tells their cost and usage, and the run adds them up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx2 as httpx
import pydantic
import pytest
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai import ModelRetry, NativeOutput, RunContext
from pydantic_ai.exceptions import FallbackExceptionGroup, ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from kapelle import AgentCapability, Engine, Plan, Run, SqliteLedger, Task, TaskDAG
from kapelle.agents import Agent, AgentResult, ModelAgent, PydanticAIAgent, TaskContext
from kapelle.errors import (
    AgentFailed,
    AskPerson,
    ContentRefused,
    KapelleError,
    ModelReplyInvalid,
    ModelTimeout,
    ReplyCut,
    TryAgain,
)
from kapelle.execution import ExecutionLimits, RetryPolicy, make_backend
from kapelle.failures.sorting import sort_failure
from kapelle.ledger import Usage
from kapelle.models import ModelReply, PaidRefusal, PaidReplyCut, PaidReplyInvalid, Price, PriceTable
from kapelle.testing import ScriptedModel

PRICES = PriceTable({"*house-model": Price(input_usd=2.0, cached_usd=1.0, output_usd=4.0)})
REPLY = RequestUsage(input_tokens=100_000, cache_read_tokens=40_000, output_tokens=5_000)
USED = Usage(input_tokens=100_000, cached_tokens=40_000, output_tokens=5_000, calls=1)
REPLY_USD = 0.18
"""60,000 fresh tokens at $2, 40,000 cached ones at $1, and 5,000 written at $4, a million."""
TASK = Task(task_id="a", task_type="t", description="Do it")
CONTEXT = TaskContext(run_id="r", request="Do it")
ASKED = AskPerson("Which account?", options=["savings", "current"])
"""Somebody's own object, which is raised again and again."""


class Count(pydantic.BaseModel):
    n: int


@dataclass(frozen=True)
class Script:
    """Replies of a model in turn, the last of them for ever; an exception is raised."""

    replies: tuple[Any, ...]

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked = sum(message.kind == "response" for message in messages)
        reply = self.replies[min(asked, len(self.replies) - 1)]
        if isinstance(reply, BaseException):
            raise reply
        parts, finish = reply if isinstance(reply, tuple) else (reply, "stop")
        parts = [TextPart(parts)] if isinstance(parts, str) else list(parts)
        return ModelResponse(parts=parts, usage=REPLY, finish_reason=finish)


USE_TOOL = ([ToolCallPart("look", {})], "tool_call")


def library_agent(*replies: Any, tool: Callable[[], Any] | None = None, **options: Any) -> PydanticAIAgent:
    made: LibraryAgent[None, Any] = LibraryAgent(FunctionModel(Script(replies), model_name="house-model"), **options)
    if tool is not None:

        @made.tool_plain(retries=1)
        def look() -> Any:
            return tool()

    return PydanticAIAgent(made, prices=PRICES)


def raises(error: BaseException) -> Callable[[], Any]:
    def tool() -> Any:
        raise error

    return tool


# How a run fails: the agent, the class of its error, and the replies that were paid.
LIBRARY_FAILURES: dict[str, tuple[Callable[[], PydanticAIAgent], type[KapelleError], int]] = {
    "its reply cannot be parsed": (lambda: library_agent("no json", output_type=Count), ModelReplyInvalid, 2),
    "its retries are used up": (
        lambda: library_agent(USE_TOOL, tool=raises(ModelRetry("once more"))),
        ModelReplyInvalid,
        2,
    ),
    "it is empty": (lambda: library_agent(""), ModelReplyInvalid, 2),
    "it is white space": (lambda: library_agent(" \n"), ModelReplyInvalid, 1),
    "it only thinks": (lambda: library_agent([ThinkingPart("hm")]), ModelReplyInvalid, 2),
    "it only thinks in its text": (lambda: library_agent("<think>hm</think>"), ModelReplyInvalid, 1),
    "it is cut": (lambda: library_agent(("First, never", "length")), ReplyCut, 1),
    "its JSON is cut": (
        lambda: library_agent(('{"n": ', "length"), output_type=NativeOutput(Count)),
        ReplyCut,
        1,
    ),
    "it is cut within thoughts": (lambda: library_agent(([ThinkingPart("hm")], "length")), ReplyCut, 1),
    "it is filtered": (lambda: library_agent(([], "content_filter")), ContentRefused, 1),
    "it is filtered halfway": (lambda: library_agent(("I cannot", "content_filter")), ContentRefused, 1),
    "the provider breaks it off": (lambda: library_agent(("Half", "error")), TryAgain, 1),
    "a tool raises": (lambda: library_agent(USE_TOOL, tool=raises(ValueError("bad"))), AgentFailed, 1),
    "a tool cannot connect": (lambda: library_agent(USE_TOOL, tool=raises(ConnectionResetError())), TryAgain, 1),
    "a tool takes too long": (lambda: library_agent(USE_TOOL, tool=raises(TimeoutError("slow"))), ModelTimeout, 1),
    "a tool cancels itself": (lambda: library_agent(USE_TOOL, tool=raises(asyncio.CancelledError())), AgentFailed, 1),
    "a tool asks a person": (lambda: library_agent(USE_TOOL, tool=raises(ASKED)), AskPerson, 1),
    "a tool asks to try again": (lambda: library_agent(USE_TOOL, tool=raises(TryAgain("later"))), TryAgain, 1),
    "the third request is refused": (
        lambda: library_agent(USE_TOOL, USE_TOOL, ModelHTTPError(429, "house-model", {}), tool=lambda: "seen"),
        TryAgain,
        2,
    ),
    "the second request is filtered": (
        lambda: library_agent(USE_TOOL, ([], "content_filter"), tool=lambda: "seen"),
        ContentRefused,
        2,
    ),
}


async def failure_of(agent: Agent, backend: str = "asyncio") -> KapelleError:
    with pytest.raises(KapelleError) as caught:
        await make_backend(backend).run("a", agent, TASK, CONTEXT)
    return caught.value


@pytest.mark.parametrize("backend", ["asyncio", "threads"])
@pytest.mark.parametrize("way", LIBRARY_FAILURES)
def test_an_agent_of_pydantic_ai_that_fails_tells_what_it_cost(way: str, backend: str) -> None:
    make, kind, replies = LIBRARY_FAILURES[way]
    error = asyncio.run(failure_of(make(), backend))
    assert isinstance(error, kind)
    assert error.cost_usd == pytest.approx(replies * REPLY_USD)
    assert error.usage == sum([USED] * replies, Usage())


@pytest.mark.parametrize("way", LIBRARY_FAILURES)
def test_and_its_run_adds_that_up(way: str) -> None:
    make, _, replies = LIBRARY_FAILURES[way]
    run = run_of(make())
    assert run.state in ("failed", "waiting")
    assert run.cost_usd == pytest.approx(replies * REPLY_USD)
    assert run.usage == sum([USED] * replies, Usage())
    assert not run.tasks["a"].cost_assumed


def run_of(agent: Any, *, budget_usd: float | None = None, attempts: int = 1) -> Run:
    card = AgentCapability(agent_id="house", task_types=("t",), cost_tier="free")
    limits = ExecutionLimits(retry=RetryPolicy(max_attempts=attempts, first_delay_s=0.0), max_fallbacks=0)
    with Engine([(card, agent)], model="none", ledger=SqliteLedger(":memory:"), limits=limits, environ={}) as engine:
        plan = Plan(request="x", graph=TaskDAG([TASK]), planner="me")
        return asyncio.run(engine.run(plan, budget_usd=budget_usd))


def test_every_attempt_that_is_made_again_is_paid() -> None:
    agent = library_agent(USE_TOOL, tool=raises(ConnectionResetError("gone")))
    assert run_of(agent, attempts=3).cost_usd == pytest.approx(3 * REPLY_USD)


def test_an_error_that_is_raised_again_and_again_is_charged_once_each_time() -> None:
    errors = [asyncio.run(failure_of(library_agent(USE_TOOL, tool=raises(ASKED)))) for _ in range(3)]
    assert [error.cost_usd for error in errors] == [pytest.approx(REPLY_USD)] * 3
    assert (ASKED.cost_usd, ASKED.usage) == (None, None)
    assert [error.question for error in errors if isinstance(error, AskPerson)] == [ASKED.question] * 3


def test_what_a_tool_paid_itself_is_added() -> None:
    own = AgentFailed("It did not work.", cost_usd=0.5, usage=Usage(input_tokens=7, calls=1))
    error = asyncio.run(failure_of(library_agent(USE_TOOL, tool=raises(own))))
    assert error.cost_usd == pytest.approx(REPLY_USD + 0.5)
    assert error.usage == USED + own.usage


def test_what_a_tool_paid_for_a_reply_that_cannot_be_read_is_added() -> None:
    own = PaidReplyInvalid("No JSON.", reply=ModelReply(text="?", usage=USED, cost_usd=0.5))
    assert run_of(library_agent(USE_TOOL, tool=raises(own))).cost_usd == pytest.approx(REPLY_USD + 0.5)


def test_a_cancelled_agent_is_cancelled() -> None:
    async def whole() -> None:
        begun = asyncio.Event()

        async def wait(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError("it waits for ever")

        agent = PydanticAIAgent(LibraryAgent(FunctionModel(wait, model_name="house-model")), prices=PRICES)
        job = asyncio.ensure_future(agent.run(TASK, CONTEXT))
        await begun.wait()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job

    asyncio.run(whole())


def test_before_the_first_call_an_error_is_as_it_was() -> None:
    async def broken(task: Task, context: TaskContext) -> Any:
        raise ValueError("no database")

    agent = PydanticAIAgent(LibraryAgent(FunctionModel(Script(("x",)))), deps=broken)
    with pytest.raises(ValueError, match="no database"):
        asyncio.run(agent.run(TASK, CONTEXT))


def test_an_agent_that_runs_another_one_pays_for_both() -> None:
    inner: LibraryAgent[None, str] = LibraryAgent(FunctionModel(Script(("inner",)), model_name="house-model"))
    outer: LibraryAgent[None, str] = LibraryAgent(
        FunctionModel(Script((USE_TOOL, "outer")), model_name="house-model"), name="outer"
    )

    @outer.tool
    async def look(run: RunContext[None]) -> str:
        return (await inner.run("look", usage=run.usage)).output

    result = asyncio.run(PydanticAIAgent(outer, prices=PRICES).run(TASK, CONTEXT))
    assert result.usage.tokens == 3 * USED.tokens
    assert result.cost_usd is not None
    assert result.cost_usd >= 3 * REPLY_USD - 1e-9


# ModelAgent: what its client gives back or raises in turn, the class of the error, and the replies that were paid.


def reply(text: str, finish: str | None = "stop") -> ModelReply:
    return ModelReply(text=text, usage=USED, cost_usd=REPLY_USD, model="house:model", finish_reason=finish)


CUT = PaidReplyCut("It was cut off.", reply=reply("First, never", "length"))
MODEL_FAILURES: dict[str, tuple[Sequence[Any], type[KapelleError], int]] = {
    "it is empty": ([reply("")], ModelReplyInvalid, 1),
    "it is white space": ([reply(" \n\t")], ModelReplyInvalid, 1),
    "it is filtered": ([reply("I cannot", "content_filter")], ContentRefused, 1),
    "its client says that it refused": ([PaidRefusal("No.", reply=reply(""))], ContentRefused, 1),
    "it cannot be read": ([PaidReplyInvalid("What?", reply=reply("{"))], ModelReplyInvalid, 1),
    "it stays cut": ([reply("One", "length"), reply("two", "length")], ReplyCut, 2),
    "its client says that it stays cut": ([CUT, CUT], ReplyCut, 2),
    "it is cut twice within thoughts": ([reply("", "length"), reply("", "length")], ReplyCut, 2),
    "its continuation is refused": ([CUT, PaidRefusal("No.", reply=reply(""))], ContentRefused, 2),
    "its continuation is empty": ([CUT, reply(" ")], ModelReplyInvalid, 2),
    "its continuation gets no answer": ([CUT, TryAgain("Busy.", sent=False)], TryAgain, 1),
    "it is cut and nobody knows its text": ([ReplyCut("Cut.", cost_usd=REPLY_USD, usage=USED)], ReplyCut, 1),
    "the stream breaks off": ([TryAgain("Gone.", cost_usd=REPLY_USD, usage=USED, sent=True)], TryAgain, 1),
}


@pytest.mark.parametrize("way", MODEL_FAILURES)
def test_a_models_agent_that_fails_tells_what_it_cost(way: str) -> None:
    replies, kind, paid = MODEL_FAILURES[way]
    error = asyncio.run(failure_of(ModelAgent(ScriptedModel(replies))))
    assert isinstance(error, kind)
    assert error.cost_usd == pytest.approx(paid * REPLY_USD)
    assert error.usage == sum([USED] * paid, Usage())
    run = run_of(ModelAgent(ScriptedModel(replies)))
    assert (run.state, run.usage) == ("failed", error.usage)
    assert run.cost_usd == pytest.approx(paid * REPLY_USD)


def test_a_continuation_that_may_be_billed_unsaid_is_charged_all_that_was_set_aside() -> None:
    for reserved_usd, dollars in ((None, REPLY_USD), (0.01, REPLY_USD), (10.0, 10.0)):
        model = ScriptedModel([CUT, TryAgain("The connection ended.", sent=True)])
        with pytest.raises(TryAgain) as caught:
            asyncio.run(ModelAgent(model).run(TASK, replace(CONTEXT, reserved_usd=reserved_usd)))
        assert (caught.value.cost_usd, caught.value.usage) == (dollars, USED)


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        ("First, never", " trust a cut reply.", "First, never trust a cut reply."),
        ("First, never trust", "First, never trust a cut reply.", "First, never trust a cut reply."),
        ("A list: a, b", ", c", "A list: a, b, c"),
        ("aaaa", "aaab", "aaaaaaab"),
    ],
)
@pytest.mark.parametrize("raised", [False, True], ids=["given back", "raised"])
def test_a_cut_reply_is_gone_on_with_once_and_both_calls_are_paid(
    first: str, second: str, whole: str, raised: bool
) -> None:
    begun = reply(first, "length")
    model = ScriptedModel([PaidReplyCut("Cut.", reply=begun) if raised else begun, reply(second)])
    run = run_of(ModelAgent(model))
    assert (run.results, run.usage.calls) == ({"a": whole}, 2)
    assert run.cost_usd == pytest.approx(2 * REPLY_USD)
    assert [message.role for message in model.requests[1].messages] == ["system", "user", "assistant", "user"]


def test_a_reply_cut_within_its_thoughts_is_asked_for_again_with_more_room() -> None:
    model = ScriptedModel([reply("", "length"), reply("done")])
    assert run_of(ModelAgent(model)).results == {"a": "done"}
    first, second = model.requests
    assert first.max_output_tokens is not None
    assert (second.messages, second.max_output_tokens) == (first.messages, 2 * first.max_output_tokens)


# A request that got no reply may be billed all the same, unless a status or the connection says that it was not taken.
# What it ends with, and what is charged beside the reply before it where ten dollars were set aside.
OPEN: dict[str, tuple[Exception, float]] = {
    "refused by a status": (ModelHTTPError(429, "house-model", {}), REPLY_USD),
    "an answer that cannot be read": (UnexpectedModelBehavior("Invalid response from the endpoint"), 10.0),
    "a connection that breaks off": (httpx.RemoteProtocolError("peer closed the connection"), 10.0),
    "a time that is over": (httpx.ReadTimeout("too slow"), 10.0),
    "a server that is not there": (httpx.ConnectError("no route"), REPLY_USD),
    "models that all refuse": (
        FallbackExceptionGroup("all failed", [ModelHTTPError(429, "a", {}), ModelHTTPError(503, "b", {})]),
        REPLY_USD,
    ),
    "models one of which breaks off": (
        FallbackExceptionGroup("all failed", [ModelHTTPError(429, "a", {}), httpx.ReadError("gone")]),
        10.0,
    ),
}


@pytest.mark.parametrize("way", OPEN)
def test_a_request_without_a_reply_is_charged_all_that_was_set_aside(way: str) -> None:
    error, dollars = OPEN[way]
    agent = library_agent(USE_TOOL, error, tool=lambda: "seen")
    with pytest.raises(KapelleError) as caught:
        asyncio.run(agent.run(TASK, replace(CONTEXT, reserved_usd=10.0)))
    assert caught.value.cost_usd == pytest.approx(dollars)
    assert caught.value.usage == USED
    first = asyncio.run(failure_of(library_agent(error)))
    assert (first.cost_usd, first.usage, bool(first.sent)) == (None, None, dollars == 10.0)


def test_a_failure_may_pass_as_it_did_before_it_was_paid() -> None:
    for error in (ConnectionResetError("gone"), TimeoutError("slow"), ValueError("bad"), TryAgain("later")):
        told = asyncio.run(failure_of(library_agent(USE_TOOL, tool=raises(error))))
        assert sort_failure(told).may_pass == sort_failure(error).may_pass
        assert str(error) in str(told)


SPENT = Usage(input_tokens=100, output_tokens=10, calls=1)


async def pays_then_raises(task: Task, context: TaskContext) -> AsyncIterator[Any]:
    yield "half"
    yield AgentResult(output=None, cost_usd=0.5, usage=SPENT)
    raise RuntimeError("and then it broke")


async def pays_then_is_refused(task: Task, context: TaskContext) -> AsyncIterator[Any]:
    yield AgentResult(output=None, cost_usd=0.2, usage=SPENT)
    raise ContentRefused("no", cost_usd=0.3)


async def pays_twice_at_once(task: Task, context: TaskContext) -> str:
    async def call(cost_usd: float) -> None:
        raise AgentFailed("no", cost_usd=cost_usd, usage=SPENT)

    async with asyncio.TaskGroup() as calls:
        calls.create_task(call(0.2))
        calls.create_task(call(0.3))
    return "never"


async def pays_in_groups(task: Task, context: TaskContext) -> str:
    paid = TryAgain("later", cost_usd=0.2, usage=SPENT)
    raise ExceptionGroup("all", [ExceptionGroup("some", [paid, ValueError("no")]), TryAgain("no", cost_usd=0.3), paid])


@pytest.mark.parametrize("backend", ["asyncio", "threads"])
@pytest.mark.parametrize("way", [pays_then_raises, pays_then_is_refused, pays_twice_at_once, pays_in_groups])
def test_code_that_fails_after_it_paid_is_charged_all_that_it_told(way: Callable[..., Any], backend: str) -> None:
    card = AgentCapability(agent_id="a", task_types=("t",))
    limits = ExecutionLimits(retry=RetryPolicy(max_attempts=1))
    engine = Engine([(card, way)], model="none", ledger=SqliteLedger(":memory:"), limits=limits, backend=backend)
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([TASK]), planner="me"), budget_usd=10.0))
    assert run.state == "failed"
    assert run.cost_usd == pytest.approx(0.5)
    assert run.usage.calls == (2 if way is pays_twice_at_once else 1)
