"""One task of an agent that acts: what is asked, done and written down next, until it is done or a limit ends it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from kapelle.agents.agent import AgentResult, TaskContext
from kapelle.agents.output_limit import limit_within
from kapelle.agents.paid_failure import as_paid_failure
from kapelle.agents.step_log import StepLog
from kapelle.errors import AgentFailed, KapelleError, ModelReplyInvalid
from kapelle.graph import Task
from kapelle.ledger import Usage
from kapelle.models import (
    Message,
    ModelReply,
    ModelRequest,
    PrefixBreak,
    compare_with_summary,
    read_prefix,
)
from kapelle.tools import AgentState

from .conversation import estimate_tokens, find_cut, read_reply, render
from .guard import WINDOW, find_circle
from .record import LoopRecord
from .setup import LoopSetup
from .state import Spoken, write_call
from .states import BACK_TO_WORK, CHECK_FIRST
from .tool_calls import ToolCalls

MAX_IN_VAIN = 5
"""Replies in a row that are neither a call nor an answer that holds, after which the task fails."""
KEEP_SHARE = 0.3
"""Of the longest conversation, what a compaction leaves as it was."""
MIN_FREED_SHARE = 0.2
"""Of a conversation, what a compaction has to take away to be worth its price."""
_SUMMARISE = (
    "The conversation is long, and what is before this will be removed. Write down, for yourself, all that is needed "
    "to go on: what was asked, what was found and where, which files were made or changed, what is done, what is left, "
    "and what failed and why. Call no tools."
)


class Loop:
    """Does one task; see `loop_agent`."""

    def __init__(
        self, setup: LoopSetup, task: Task, context: TaskContext, opening: tuple[Message, ...], log: StepLog
    ) -> None:
        self._setup, self._task, self._context, self._opening = setup, task, context, opening
        self._limits = setup.limits
        self._record = LoopRecord(log)
        self._state = self._record.state
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        seconds = self._limits.seconds
        self._due = self._clock() + (seconds if context.seconds_left is None else min(seconds, context.seconds_left))
        self._calls = ToolCalls(
            setup,
            task,
            context,
            self._record,
            setup.place(context),
            seconds_left=lambda: self._due - self._clock(),
            usd_left=self._left_usd,
        )

    async def run(self) -> AgentResult:
        """Go on from what was recorded until the task is done.

        Raises:
            AgentFailed: a limit, a circle or an answer that is none has ended it; the message says which, and what
                there is.
            AskPerson: a tool has to be allowed, or one that was cut off is asked about.
            KapelleError: the model failed; another attempt goes on from here.
        """
        try:
            if self._record.is_new:
                start = "" if self._setup.start is None else self._setup.start.value
                self._record.note("began", loop=secrets.token_hex(4), state=start)
            if self._state.awaited:
                self._record.settle_cut_off()
            await self._calls.recover()
            answer = await self._go_on()
            await self._record.flush()
        except AgentFailed as error:
            if not isinstance(error, _Ended):
                await self._record.flush()
                raise self._record.paid(error) from error
            await self._record.write("ended", reason=str(error))
            raise self._record.paid(AgentFailed(str(error))) from None
        except KapelleError as error:
            await self._record.flush()
            raise self._record.paid(error) from error
        except Exception as error:  # of a client, or a tool's asking, that is somebody's own
            await self._record.flush()
            if not self._record.cost_usd:
                raise
            raise as_paid_failure(error, None, self._record.usage) from error
        return AgentResult(output=answer, usage=self._record.usage, cost_usd=self._record.cost_usd)

    async def _go_on(self) -> str:
        while True:
            await self._calls.make()
            answer = await self._finished()
            if answer is not None:
                return answer
            self._stop_at_limits()
            self._stop_circles()
            await self._compact()
            self._recite()
            await self._ask()

    # The model

    async def _ask(self) -> None:
        """Call the model once, and write down what it says. A reply that cannot be read is told to the model."""
        state = self._state
        messages = render(self._opening, state.entries, as_text=self._setup.forms is not None)
        try:
            reply = await self._call_model(messages, step=state.step + 1)
        except ModelReplyInvalid as error:
            cut: ModelReply | None = getattr(error, "reply", None)
            if cut is None:
                self._note_failure(error)
                raise
            self._record.note("replied", **_used(cut), text=cut.text, calls=[])
            self._record.note("noted", text=f"{error} No call of it was made.")
            return
        calls, wrong = read_reply(reply, state, self._setup.forms)
        self._record.note("replied", **_used(reply), text=reply.text, calls=[write_call(call) for call in calls])
        for message in wrong:
            self._record.note("noted", text=message)

    async def _call_model(self, messages: tuple[Message, ...], *, step: int, purpose: str = "") -> ModelReply:
        """Set money aside, write down that the model is asked, and ask it."""
        limit, reserved_usd = self._output_limit(messages)
        left_s = max(1e-3, self._due - self._clock())
        request = ModelRequest(
            messages=messages,
            tools=self._setup.definitions,
            allowed_tools=self._allowed() if self._setup.definitions else None,
            max_output_tokens=limit,
            timeout_s=left_s,
        )
        self._record.note("asked", step=step, reserved_usd=reserved_usd, **self._describe(request, purpose))
        await self._record.flush()
        more: dict[str, Any] = {} if self._context.tell is None or purpose else {"on_text": self._context.tell}
        try:
            return await self._setup.client.complete(request, **more)
        except ModelReplyInvalid:
            raise
        except KapelleError as error:
            self._note_failure(error)
            raise
        except Exception as error:  # somebody's own client: what it has cost, nobody says
            self._record.is_unpriced = self._record.is_unpriced or not hasattr(self._setup.client, "bound_usd")
            self._record.note("unanswered", reason=type(error).__name__, cost_usd=reserved_usd)
            raise

    def _allowed(self) -> frozenset[str] | None:
        """Return the tools that the state allows; None for all."""
        return None if self._setup.start is None else self._setup.table.allowed(AgentState(self._state.agent_state))

    def _describe(self, request: ModelRequest, purpose: str) -> dict[str, Any]:
        """Return what a call is for, the fingerprint of what it sends, and where that breaks the prompt cache: before
        anybody bills it."""
        client = self._setup.client
        told: dict[str, Any] = {"purpose": purpose} if purpose else {}
        told["prefix"] = read_prefix(request, model=client.model).summary()
        broken = compare_with_summary(self._state.prefix, request, model=client.model) if self._state.prefix else None
        if broken is not None:
            price: Callable[[PrefixBreak], float] | None = getattr(client, "break_usd", None)
            told["broken"] = {"part": broken.part, "lost_tokens": broken.lost_tokens, "words": broken.words}
            if price is not None:
                told["broken"]["usd"] = price(broken)
        return told

    def _note_failure(self, error: KapelleError) -> None:
        """Write down that a call of the model has failed, and what it is taken to have cost."""
        reserved_usd = self._state.awaited_usd
        if error.cost_usd is None and error.sent is not False and not hasattr(self._setup.client, "bound_usd"):
            self._record.is_unpriced = True
        paid = error.cost_usd if error.cost_usd is not None else 0.0 if error.sent is False else reserved_usd
        usage = error.usage if isinstance(error.usage, Usage) else Usage()
        self._record.note("unanswered", reason=str(error)[:2_000], cost_usd=paid, usage=asdict(usage))

    def _output_limit(self, messages: tuple[Message, ...]) -> tuple[int, float]:
        """Return how much the next reply may have, and what is set aside for it.

        Raises:
            CallTooDear: what the task has left does not pay for it.
        """
        client = self._setup.client
        input_tokens = self._setup.measure(messages)
        afford: Callable[..., int] | None = getattr(client, "affordable_tokens", None)
        bound: Callable[..., float] | None = getattr(client, "bound_usd", None)
        limit = limit_within(
            self._left_usd(),
            self._limits.output_tokens,
            task_id=self._task.task_id,
            model=client.model,
            afford=None if afford is None else lambda usd, most: afford(usd, input_tokens=input_tokens, most=most),
        )
        return limit, 0.0 if bound is None else bound(input_tokens=input_tokens, output_tokens=limit)

    def _left_usd(self) -> float | None:
        reserved = self._context.reserved_usd
        left = self._limits.usd - self._state.cost_usd
        return left if reserved is None else min(left, reserved - self._record.cost_usd)

    # Ending

    async def _finished(self) -> str | None:
        """Return the answer, where the latest reply is one and everything holds that has to."""
        latest = self._state.entries[-1] if self._state.entries else None
        if not isinstance(latest, Spoken) or latest.calls:
            return None
        if self._setup.start is not None and not self._may_finish():
            return None
        for check in self._setup.finish:
            missing = await check(latest.text, self._state)
            if missing is not None:
                self._enter(AgentState.EXECUTING)
                self._record.note("noted", text=missing)
                return None
        return latest.text

    def _may_finish(self) -> bool:
        """Whether words without a call are the answer; elsewhere they lead to the next state."""
        state = AgentState(self._state.agent_state)
        if state is AgentState.BROWSING:
            self._enter(AgentState.EXECUTING)
            self._record.note("noted", text=BACK_TO_WORK)
            return False
        self._enter(AgentState.VERIFYING)
        can_check = any(row.action == "VERIFY" for row in self._setup.table.rows)
        if state is not AgentState.VERIFYING and can_check and self._state.unverified:
            self._record.note("noted", text=CHECK_FIRST)
            return False
        return True

    def _enter(self, state: AgentState) -> None:
        if self._setup.start is not None and self._state.agent_state != state:
            self._record.note("entered", state=state.value)

    def _stop_at_limits(self) -> None:
        state, limits = self._state, self._limits
        said = [entry for entry in state.entries if isinstance(entry, Spoken)][-MAX_IN_VAIN:]
        in_vain = len(said) == MAX_IN_VAIN and not any(entry.calls for entry in said)
        passed = [
            (in_vain, f"The model gave {MAX_IN_VAIN} replies in a row that were neither a call nor an answer"),
            (state.step >= limits.steps, f"The limit of {limits.steps:,} steps was reached"),
            (state.usage.tokens >= limits.tokens, f"The limit of {limits.tokens:,} tokens was reached"),
            (self._clock() >= self._due, f"Its time of {limits.seconds:g} seconds was over"),
        ]
        for is_passed, why in passed:
            if is_passed:
                raise self._end(why)

    def _stop_circles(self) -> None:
        """Warn the model once that it goes in a circle; end the task if it goes on."""
        state = self._state
        if len(state.marks) - state.warned_at > WINDOW:
            state.warned_at = 0  # it has gone on in other ways since
        circle = find_circle(state.marks, since=state.warned_at)
        if circle is None:
            return
        if state.warned_at:
            raise self._end(f"It went in a circle: {circle.words}, after it was warned")
        self._record.note(
            "noted",
            text=f"This is a circle: {circle.words}. Do something else, or say why the task cannot be done.",
            warns=True,
        )

    def _end(self, why: str) -> AgentFailed:
        said = next(
            (one.text for one in reversed(self._state.entries) if isinstance(one, Spoken) and one.text.strip()), ""
        )
        there = f" It had said: {said[:300]!r}." if said else ""
        done = f"{self._state.step:,} steps, {self._state.tool_calls:,} calls of tools, ${self._state.cost_usd:.4g}"
        return _Ended(f"{why}, after {done}.{there} Raise the limit, or split the task.")

    # Context

    async def _compact(self) -> None:
        """Replace what is old by a summary, where the conversation has become too long."""
        state, limits = self._state, self._limits
        as_text = self._setup.forms is not None
        messages = render(self._opening, state.entries, as_text=as_text)
        tokens = estimate_tokens(messages)
        if tokens <= limits.context_tokens:
            return
        dropped = find_cut(state.entries, KEEP_SHARE * limits.context_tokens)
        freed = estimate_tokens(render((), state.entries[:dropped], as_text=as_text))
        if freed < MIN_FREED_SHARE * tokens:
            opening, tools = estimate_tokens(self._opening), self._setup.measure(())
            raise self._end(
                f"The conversation is longer than {limits.context_tokens:,} tokens, and a summary would free too "
                f"little: instructions and task {opening:,}, tools {tools:,}, the latest {tokens - opening - freed:,}"
            )
        request = (*messages, Message(role="user", content=_SUMMARISE))
        try:
            reply = await self._call_model(request, step=state.step, purpose="compaction")
        except ModelReplyInvalid as error:
            self._note_failure(error)
            raise self._end(f"The conversation is long, and a summary of it could not be had: {error}") from error
        if not reply.text.strip():
            self._record.note(
                "unanswered", reason="The summary was empty.", usage=asdict(reply.usage), cost_usd=reply.cost_usd
            )
            raise self._end("The conversation is long, and the summary of it was empty")
        text = f"What was done before, as you wrote it down:\n{reply.text}"
        self._record.note("compacted", **_used(reply), text=text, dropped=dropped, freed_tokens=freed)

    def _recite(self) -> None:
        every = self._limits.recite_every
        if every and self._state.todo and self._state.step and self._state.step % every == 0:
            self._record.note("noted", text=f"Your list, as it stands:\n{self._state.todo}")


class _Ended(AgentFailed):
    """A limit of the loop, or a circle, has ended it: another attempt would go the same way."""


def _used(reply: ModelReply) -> dict[str, Any]:
    return {"usage": asdict(reply.usage), "cost_usd": reply.cost_usd, "model": reply.model}
