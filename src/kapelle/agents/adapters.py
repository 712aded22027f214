"""Turns what people have into agents: a Python callable, or a pydantic-ai Agent (see library_agent)."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, overload

from kapelle.errors import AgentFailed, InvalidAgents, KapelleError
from kapelle.graph import Task
from kapelle.ledger import Usage

from .agent import Agent, AgentResult, TaskContext
from .capability import AgentCapability, CostTier
from .paid_failure import add_paid, as_paid_failure
from .threads import call_in_thread

AgentFunction = Callable[..., Any]
"""`(task)` or `(task, context)`, plain or async; returns the output, or an AgentResult. An async generator function
yields pieces of a text, which are shown as they come and joined, and last of all an AgentResult, if it has one."""


class CallableAgent:
    """Runs a Python function as an agent. A plain function runs on a thread, so that it cannot block the others."""

    def __init__(self, function: AgentFunction) -> None:
        self._function = function
        self._with_context = _counts_two_arguments(function)
        self._yields, self._is_async = _yields(function), _is_async(function)

    @property
    def runs_on_thread(self) -> bool:
        """Whether it is a plain function."""
        return not (self._is_async or self._yields)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        arguments = (task, context) if self._with_context else (task,)
        if self._yields:
            async with aclosing(self._function(*arguments)) as pieces:
                return await _join_pieces(pieces, context)
        if self._is_async:
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
    return isinstance(agent, CallableAgent) and agent.runs_on_thread


def as_agent(found: Any) -> Agent:
    """Return an Agent made of a callable, a pydantic-ai Agent, or an Agent as it is.

    Raises:
        InvalidAgents: it is none of these.
    """
    if type(found).__module__.partition(".")[0] == "pydantic_ai":
        from .library_agent import PydanticAIAgent  # with the models that it is priced by

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

    What it costs per task is what it reports (AgentResult.cost_usd), else `cost_usd`. Where it says neither, what it
    costs is not known: it counts with what its `cost_tier` is taken for, `free` with nothing, until a task of it has
    reported a cost; and where it used tokens or calls, the run says that their cost is only assumed.

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


def _is_async(function: AgentFunction) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - the method itself is asked for


def _yields(function: AgentFunction) -> bool:
    return inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(getattr(function, "__call__", None))  # noqa: B004 - as above


async def _join_pieces(pieces: AsyncIterator[Any], context: TaskContext) -> AgentResult:
    """Return the text that an agent yields in pieces, and tell each as it comes."""
    told: list[str] = []
    result = AgentResult(output=None)
    while True:
        try:
            piece = await anext(pieces)
        except StopAsyncIteration:
            break
        except Exception as error:
            if result.cost_usd is None and result.usage == Usage():
                raise
            raise _paid_failure(error, result) from error
        if isinstance(piece, AgentResult):
            result = piece
        elif not isinstance(piece, str):
            raise AgentFailed(
                f"The agent yielded a {type(piece).__name__}. Yield pieces of its text, or return the output whole.",
                cost_usd=result.cost_usd,
                usage=result.usage,
            )
        else:
            told.append(piece)
            if context.tell is not None:
                context.tell(piece)
    return result if result.output is not None else replace(result, output="".join(told))


def _paid_failure(error: Exception, result: AgentResult) -> KapelleError:
    """Return an error like this one that tells what was reported before it was raised."""
    if isinstance(error, KapelleError):
        return add_paid(error, result.cost_usd, result.usage)
    return as_paid_failure(error, result.cost_usd, result.usage)


def _counts_two_arguments(function: AgentFunction) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins without a signature take the task alone
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) >= 2 and (
        positional[1].default is inspect.Parameter.empty or positional[1].name == "context"
    )
