"""Turns what people have into agents: a Python callable, a pydantic-ai Agent, a model with instructions."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, overload

from kapelle.errors import AgentFailed, InvalidAgents, InvalidInput
from kapelle.graph import Task, read_json_value, render_output
from kapelle.ledger import Usage
from kapelle.models import Message, ModelClient, ModelRequest
from kapelle.redaction import remember_model

from .agent import Agent, AgentResult, TaskContext
from .capability import AgentCapability, CostTier
from .threads import call_in_thread

AgentFunction = Callable[..., Any]
"""`(task)` or `(task, context)`, plain or async; returns the output, or an AgentResult."""


class CallableAgent:
    """Runs a Python function as an agent. A plain function runs on a thread, so that it cannot block the others."""

    def __init__(self, function: AgentFunction) -> None:
        self._function = function
        self._with_context = _counts_two_arguments(function)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        arguments = (task, context) if self._with_context else (task,)
        if _is_async(self._function):
            found = await self._function(*arguments)
        else:
            found = await call_in_thread(self._function, *arguments)
            if isinstance(found, Awaitable):  # a plain function that returned a coroutine
                found = await found
        return found if isinstance(found, AgentResult) else AgentResult(output=found)


def runs_on_thread(agent: Agent) -> bool:
    """Whether an agent is a plain function, which runs on a thread: what it gives may block as it does."""
    if isinstance(agent, RegisteredAgent):
        agent = agent._runner
    return isinstance(agent, CallableAgent) and not _is_async(agent._function)


class ModelAgent:
    """Does a task with one call to a model: the agent's instructions, the task, and what came before it."""

    def __init__(self, client: ModelClient, instructions: str = "", *, max_output_tokens: int | None = None) -> None:
        self._client = client
        self._instructions = instructions
        self._max_output_tokens = max_output_tokens

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        # The instructions and the user's request come first and never change within a run, so that providers' prompt
        # caches hold from task to task.
        reply = await self._client.complete(
            ModelRequest(
                messages=(
                    Message(
                        role="system", content=self._instructions or "Do the task you are given. Be brief and exact."
                    ),
                    Message(role="user", content=_task_prompt(task, context)),
                ),
                max_output_tokens=self._max_output_tokens,
            ),
            **({} if context.tell is None else {"on_text": context.tell}),
        )
        if not reply.text.strip():
            what = f"The model {reply.model!r} returned no text for task {task.task_id!r}."
            raise AgentFailed(what, cost_usd=reply.cost_usd, usage=reply.usage)
        return AgentResult(output=reply.text, usage=reply.usage, cost_usd=reply.cost_usd)


class PydanticAIAgent:
    """Runs an agent that was built with pydantic-ai. Its tools, output type and model are its own."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        remember_model(getattr(agent, "model", None), owner=self)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        result = await self._agent.run(_task_prompt(task, context))
        spent = result.usage
        usage = Usage(
            input_tokens=spent.input_tokens,
            cached_tokens=min(spent.cache_read_tokens, spent.input_tokens),
            output_tokens=spent.output_tokens,
            calls=spent.requests,
        )
        cost_usd = _library_cost_usd(result.new_messages())
        output = result.output
        if hasattr(type(output), "model_dump"):  # its class may not be known where the result goes
            try:
                output = read_json_value(output)
            except InvalidInput as error:
                raise AgentFailed(
                    f"The output cannot be written as JSON: {error}", cost_usd=cost_usd, usage=usage
                ) from error
        return AgentResult(output=output, usage=usage, cost_usd=cost_usd)


def as_agent(found: Any) -> Agent:
    """Return an Agent made of a callable, a pydantic-ai Agent, or an Agent as it is.

    Raises:
        InvalidAgents: it is none of these.
    """
    if type(found).__module__.partition(".")[0] == "pydantic_ai":
        return PydanticAIAgent(found)
    if inspect.isclass(found):
        raise InvalidAgents(f"{found.__name__} is a class. Give an object of it, or a function.")
    if isinstance(found, Agent):
        return found
    if callable(found):
        return CallableAgent(found)
    raise InvalidAgents(
        f"{found!r} is no agent. Give a function, an object with `async run(task, context)`, or a pydantic-ai Agent."
    )


class RegisteredAgent:
    """A function with its capability, as the `agent` decorator returns it. Still callable as the function it was."""

    def __init__(self, function: AgentFunction, capability: AgentCapability) -> None:
        self.capability = capability
        self._function = function
        self._runner = CallableAgent(function)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", capability.agent_id)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        return await self._runner.run(task, context)


@overload
def agent(function: AgentFunction, /) -> RegisteredAgent: ...


@overload
def agent(
    *,
    task_types: list[str] | tuple[str, ...] = ...,
    skills: list[str] | tuple[str, ...] = ...,
    cost_usd: float | None = ...,
    cost_tier: CostTier = ...,
    seconds: float | None = ...,
    success_rate: float = ...,
    max_concurrency: int = ...,
    timeout_s: float | None = ...,
    retries: int | None = ...,
    version: str | None = ...,
    agent_id: str | None = ...,
) -> Callable[[AgentFunction], RegisteredAgent]: ...


def agent(
    function: AgentFunction | None = None,
    /,
    *,
    task_types: list[str] | tuple[str, ...] = ("*",),
    skills: list[str] | tuple[str, ...] = (),
    cost_usd: float | None = None,
    cost_tier: CostTier = "free",
    seconds: float | None = None,
    success_rate: float = 0.85,
    max_concurrency: int = 10,
    timeout_s: float | None = None,
    retries: int | None = None,
    version: str | None = None,
    agent_id: str | None = None,
) -> RegisteredAgent | Callable[[AgentFunction], RegisteredAgent]:
    """Make an agent of a function `(task)` or `(task, context)`, plain or async. Its id is the function's name.

    What it costs per task is `cost_usd`; a function that declares nothing costs nothing.

    >>> @agent(task_types=["lookup"], cost_usd=0.001)
    ... async def atlas(task):
    ...     return {"France": "Paris"}[task.inputs["query"]]
    >>> atlas.capability.agent_id
    'atlas'
    """

    def register(function: AgentFunction) -> RegisteredAgent:
        if inspect.isclass(function) or not callable(function):
            raise InvalidAgents(f"@agent stands above a function, not above {function!r}.")
        capability = AgentCapability(
            agent_id=agent_id or str(getattr(function, "__name__", type(function).__name__)),
            task_types=tuple(task_types),
            skills=frozenset(skills),
            cost_usd=cost_usd,
            cost_tier=cost_tier,
            seconds=seconds,
            success_rate=success_rate,
            max_concurrency=max_concurrency,
            timeout_s=timeout_s,
            retries=retries,
            version=version,
            description=(inspect.getdoc(function) or "").partition("\n")[0],
        )
        return RegisteredAgent(function, capability)

    return register if function is None else register(function)


def _library_cost_usd(messages: Iterable[Any]) -> float | None:
    """Dollars for the model's replies, by the library's own table; None where it does not know one of them."""
    try:
        return float(sum(message.cost().total_price for message in messages if message.kind == "response"))
    except (LookupError, ValueError, AssertionError):  # what the library raises for an unknown model or usage
        return None


def _is_async(function: AgentFunction) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - the method itself is asked for


def _counts_two_arguments(function: AgentFunction) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins without a signature take the task alone
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) >= 2 and (
        positional[1].default is inspect.Parameter.empty or positional[1].name == "context"
    )


def _task_prompt(task: Task, context: TaskContext) -> str:
    parts = [f"The user's request, of which your task is a part:\n{context.request}"] if context.request else []
    parts.append(f"Your task ({task.task_type}): {task.description or task.task_type}")
    if task.inputs:
        parts.append(f"Inputs:\n{json.dumps(task.inputs, ensure_ascii=False, default=str, indent=1)}")
    for task_id, output in context.upstream.items():
        source = context.upstream_tasks.get(task_id)
        title = source.description if source and source.description else task_id
        parts.append(f"Result of an earlier task ({title}):\n{render_output(output)}")
    return "\n\n".join(parts)
