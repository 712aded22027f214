"""Runs agents that were built with pydantic-ai, and keeps account of them: what each reply costs, and who is paid.

The library says what a run used, also when it fails; each reply is priced by our own table. Every request is limited to
what is left of what was set aside, so that a run of many requests stays within it. Not bounded: agents that a tool runs
on its own account. What they use counts only where the tool hands them `usage=ctx.usage`.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from typing import TYPE_CHECKING, Any, Self

from kapelle.errors import (
    ContentRefused,
    InvalidInput,
    KapelleError,
    ModelReplyInvalid,
    ModelUnavailable,
    ReplyCut,
    UnknownPrice,
)
from kapelle.failures import sort_failure
from kapelle.graph import Task, read_json_value
from kapelle.models import (
    PriceTable,
    RunCost,
    bound_tokens,
    explain_failure,
    find_price_name,
    find_unpriced,
    is_known_to_leave_tags_open,
    known_models,
    mend_model,
    read_run_cost,
    strip_thoughts,
)
from kapelle.redaction import remember_model

from .agent import AgentResult, TaskContext
from .capability import AgentCapability
from .on_model import OnModel
from .output_limit import MESSAGE_TOKENS, limit_within, usual_limit
from .paid_failure import add_paid, as_paid_failure
from .prompt import task_prompt

if TYPE_CHECKING:
    from pydantic_ai import RunContext
from .library_replies import Teller, can_stream, ending_of, is_cancelled, is_open_call, last_reply, next_input

_OF_SERVICES = frozenset({"provider", "timeout", "refused", "quota", "content", "reply"})
"""Kinds of failures that a service has, rather than somebody's code."""
_MORE_REQUESTS = 3
"""What is set aside for an agent that may ask more than once: it has tools, or an output that may have to be mended. It
is held to what was set aside, so that this is no promise of the library's but a choice."""


class PydanticAIAgent(OnModel):
    """Runs an agent that was built with pydantic-ai. Its tools, output type and model are its own.

    Args:
        deps: What its tools are given: a value, or a function `(task, context)`, plain or async, that returns it.
        prices: What replies cost; an Engine gives it its own table, and without either `KAPELLE_PRICES` is read.
        model: What it runs on, as `provider:name`, where the price of what a reply names is not known.
    """

    def __init__(
        self, agent: Any, *, deps: Any = None, prices: PriceTable | None = None, model: str | None = None
    ) -> None:
        self._agent = agent
        self._deps = deps
        self._prices = prices
        self._model = model
        self._agent_id: str | None = None
        self._is_declared = False
        """Whether its card declares what a task costs."""
        self._revealed: str | None = None
        """A model that a reply has named, and whose price nobody knows."""
        remember_model(getattr(agent, "model", None), owner=self)

    @property
    def is_model_alone(self) -> bool:
        return not self.has_tools

    def with_card(self, prices: PriceTable, card: AgentCapability) -> Self:
        told = copy.copy(self)
        told._prices = self._prices or prices
        told._model = self._model or card.model
        told._agent_id, told._is_declared = card.agent_id, card.cost_usd is not None
        remember_model(getattr(self._agent, "model", None), owner=told)
        return told

    def find_unpriced(self) -> str | None:
        return find_unpriced(known_models(self._own_model()), self._table(), model=self._model)

    def most_usd(self, task: Task, context: TaskContext) -> float | None:
        """Return the dollars that are set aside for a run, which keeps to that; None where no price is known."""
        priced = self._price_name(self._own_model())
        if priced is None:
            return None
        name, base_url = priced
        read = bound_tokens(task_prompt(task, context)) + MESSAGE_TOKENS + self._measure_tools()
        written = usual_limit(self._own_limit(), is_budgeted=True, is_free=False)
        one = self._table().estimate_usd(name, input_tokens=read, output_tokens=written, base_url=base_url)
        if self._is_text() and not self.has_tools:
            return one
        # Each request reads what the ones before it have written.
        grown = read + (_MORE_REQUESTS - 1) * written
        more = self._table().estimate_usd(name, input_tokens=grown, output_tokens=written, base_url=base_url)
        return one + (_MORE_REQUESTS - 1) * more

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        from pydantic_ai import capture_run_messages
        from pydantic_ai.usage import RunUsage

        used = RunUsage()
        options: dict[str, Any] = {"usage": used, "model_settings": functools.partial(self._settings, task, context)}
        if (model := self._mended_model()) is not None:
            options["model"] = model
        if self._deps is not None:
            options["deps"] = await self._deps_for(task, context)
        if context.tell is not None and self._can_stream():
            holds_back = is_known_to_leave_tags_open(self._name())
            options["event_stream_handler"] = Teller(context.tell, waits=self.has_tools, holds_back=holds_back)
        with capture_run_messages() as messages:
            try:
                result = await self._agent.run(task_prompt(task, context), **options)
            except GeneratorExit:
                raise
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and is_cancelled():
                    raise  # what it used until then nobody can ask for any more: all that was set aside is charged
                cost = self._note(read_run_cost(messages, used, self._table(), declared=self._declared()))
                failed = self._failure(error, cost, messages, context)
                if failed is error:
                    raise
                raise failed from error
        spent = result.new_messages()
        cost = self._note(read_run_cost(spent, used, self._table(), declared=self._declared()))
        return self._result(result.output, cost, spent, task, context)

    def _result(self, output: Any, cost: RunCost, messages: list[Any], task: Task, context: TaskContext) -> AgentResult:
        """Return what a run gave.

        Raises:
            AgentFailed: it is no whole answer, or cannot be written down. The error tells what it cost.
        """
        last = last_reply(messages)
        ending = None if last is None else ending_of(last)
        where = f"The model {(last.model_name if last is not None else None)!r}"
        if isinstance(output, str):
            output = strip_thoughts(output)
        error: KapelleError | None = None
        # What is whole and fits its type is not cut, whatever the server says.
        if ending == "cut" and isinstance(output, str):
            error = ReplyCut(
                f"{where} was cut off at its limit in task {task.task_id!r}. Raise max_tokens in the agent's "
                "model_settings, or ask for less."
            )
        elif last is not None and ending == "withheld":
            words = (last.provider_details or {}).get("refusal") or (output if isinstance(output, str) else "")
            said = f" It said: {str(words)[:200]!r}." if words else ""
            error = ContentRefused(f"{where} declined task {task.task_id!r} by its provider's policy.{said} Reword it.")
        elif ending == "broken":
            error = ModelUnavailable(f"{where} ended its reply for task {task.task_id!r} before it was whole.")
        elif isinstance(output, str) and not output.strip():
            error = ModelReplyInvalid(f"{where} returned no text for task {task.task_id!r}.")
        elif hasattr(type(output), "model_dump"):  # its class may not be known where the result goes
            try:
                output = read_json_value(output)
            except InvalidInput as problem:
                error = ModelReplyInvalid(f"The output cannot be written as JSON: {problem}")
        if error is not None:
            error.cost_usd, error.usage = cost.cost_usd, cost.usage
            raise error
        if context.tell is not None and isinstance(output, str) and not self._can_stream():
            context.tell(output)
        unpriced = ", ".join(cost.unpriced) or None
        return AgentResult(output=output, usage=cost.usage, cost_usd=cost.cost_usd, unpriced_model=unpriced)

    def _failure(self, error: BaseException, cost: RunCost, messages: list[Any], context: TaskContext) -> BaseException:
        """Return the error that a run ends with, which tells what the run used."""
        from pydantic_ai import exceptions as theirs

        if isinstance(error, KapelleError):  # a tool's own, a question to a person among them
            return add_paid(error, cost.cost_usd, cost.usage) if cost.usage.calls else error
        last = last_reply(messages)
        if isinstance(error, theirs.UnexpectedModelBehavior) and last is not None and ending_of(last) == "cut":
            words = f"{self._name()} was cut off at its limit: {error} Raise max_tokens in its model_settings."
            return add_paid(ReplyCut(words), cost.cost_usd, cost.usage)
        is_open = is_open_call(messages)
        if isinstance(error, Exception) and (
            isinstance(error, theirs.ModelAPIError | theirs.ContentFilterError)
            or (is_open and sort_failure(error).kind in _OF_SERVICES)
        ):
            told = explain_failure(self._name(), error)
            if isinstance(error, ExceptionGroup):  # models that stand in for each other, all of which failed
                told.sent = any(explain_failure(self._name(), one).sent for one in error.exceptions)
            if not cost.usage.calls:
                return told
            told.cost_usd, told.usage = cost.cost_usd, cost.usage
            if told.sent and is_open and cost.cost_usd is not None:
                # Its last request may be billed too, and nobody says how much: then all that was set aside counts.
                told.cost_usd = max(cost.cost_usd, context.reserved_usd or 0.0)
            return told
        if not cost.usage.calls and isinstance(error, Exception):
            return error  # nothing was asked yet
        own = isinstance(error, theirs.AgentRunError)
        if is_open and isinstance(error, asyncio.CancelledError):  # its model cancelled itself, and may be billed
            return as_paid_failure(error, None, cost.usage)
        return as_paid_failure(error, cost.cost_usd, cost.usage, by=self._name() if own else "")

    def _settings(self, task: Task, context: TaskContext, run: RunContext[Any]) -> dict[str, Any]:
        """Return the limit of the next request.

        Raises:
            CallTooDear: what is left of what was set aside does not pay for it.
            UnknownPrice: a reply has told that nobody knows what its model costs, and dollars are limited.
        """
        priced = self._price_name(run.model)
        left_usd, afford = context.reserved_usd, None
        is_free = False
        if priced is not None:
            name, base_url = priced
            is_free = self._table().estimate_usd(name, input_tokens=1, output_tokens=1, base_url=base_url) == 0
            read = next_input(run.messages) + self._measure_tools()

            def afford(usd: float, most: int) -> int:
                return self._table().affordable_tokens(
                    name, usd, input_tokens=read, most=most, base_url=base_url
                )  # fmt: skip

        if left_usd is not None:
            spent = self._note(read_run_cost(run.messages, run.usage, self._table(), declared=self._declared()))
            if self._revealed is not None and not self._is_declared:
                unknown = UnknownPrice(self._revealed, agent=self._agent_id)
                unknown.cost_usd, unknown.sent = 0.0, False
                raise unknown
            left_usd -= spent.cost_usd or 0.0
        own = (run.model_settings or {}).get("max_tokens", self._own_limit())
        usual = usual_limit(own, is_budgeted=left_usd is not None, is_free=is_free)
        limit = limit_within(left_usd, usual, task_id=task.task_id, model=self._name(), afford=afford)
        return {"max_tokens": limit}

    async def _deps_for(self, task: Task, context: TaskContext) -> Any:
        if not (inspect.isroutine(self._deps) or isinstance(self._deps, functools.partial)):
            return self._deps
        found = self._deps(task, context)
        return await found if inspect.isawaitable(found) else found

    def _note(self, cost: RunCost) -> RunCost:
        """Remember a model whose price nobody knows: only replies tell of some."""
        if cost.unpriced:
            self._revealed = cost.unpriced[0]
        return cost

    def _declared(self) -> tuple[str, ...]:
        """What it is said to run on: by its card, and by its own model's name."""
        names = [name for name, _ in known_models(self._own_model())]
        return ((self._model,) if self._model is not None else ()) + (tuple(names) if len(names) == 1 else ())

    def _table(self) -> PriceTable:
        if self._prices is None:
            self._prices = PriceTable.from_environment()
        return self._prices

    def _price_name(self, model: Any) -> tuple[str, str | None] | None:
        if model is None or isinstance(model, str):
            try:
                self._table().find_source(model or self._model or "")
            except UnknownPrice:
                return None
            return model or self._model or "", None
        return find_price_name(model, self._table(), declared=self._declared())

    def _mended_model(self) -> Any:
        """Return the agent's model as its replies are to be read; None where the agent chooses it in some other way."""
        from pydantic_ai import Agent as LibraryAgent
        from pydantic_ai.models import Model

        model = self._own_model()
        if type(self._agent) is not LibraryAgent or not isinstance(model, Model):
            return None
        try:
            chosen = self._agent._root_capability.get_model()
        except Exception:  # inner parts of the library, which may change
            return None
        return mend_model(model) if chosen is None else None

    def _own_model(self) -> Any:
        return getattr(self._agent, "model", None)

    def _name(self) -> str:
        model = self._own_model()
        return model if isinstance(model, str) else str(getattr(model, "model_name", None) or self._model or "a model")

    def _own_limit(self) -> int | None:
        """The limit that its user gave the agent, or its model."""
        for settings in (getattr(self._agent, "model_settings", None), getattr(self._own_model(), "settings", None)):
            limit = settings.get("max_tokens") if isinstance(settings, dict) else None
            if isinstance(limit, int) and limit > 0:
                return limit
        return None

    def _is_text(self) -> bool:
        return getattr(self._agent, "output_type", None) is str

    @property
    def has_tools(self) -> bool:
        """Whether it can ask more than its model: then a reply may call a tool, and its text not be the answer."""
        return any(getattr(tools, "tools", True) for tools in getattr(self._agent, "toolsets", ()))

    def _measure_tools(self) -> int:
        """About the most tokens that its tools, and its instructions before the first request, take in each."""
        texts = [str(text) for text in getattr(self._agent, "_instructions", ()) if isinstance(text, str)]
        for tools in getattr(self._agent, "toolsets", ()):
            for tool in getattr(tools, "tools", {}).values():
                schema = getattr(getattr(tool, "function_schema", None), "json_schema", "")
                texts.append(f"{getattr(tool, 'name', '')} {getattr(tool, 'description', '')} {schema}")
        if not self._is_text():
            try:
                texts.append(str(self._agent.output_json_schema()))
            except Exception:  # an output that has no schema
                texts.append("")
        return sum(bound_tokens(text) + MESSAGE_TOKENS for text in texts)

    def _can_stream(self) -> bool:
        """Whether the text of its answer can be shown as it is written."""
        if not self._is_text() or getattr(self._agent, "event_stream_handler", None) is not None:
            return False  # it has a listener of its own
        return can_stream(self._own_model())
