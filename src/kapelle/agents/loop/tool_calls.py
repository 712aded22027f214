"""Makes the calls of tools that a reply asks for: in order, each written down before it begins and when it ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from kapelle.agents.agent import TaskContext
from kapelle.errors import AskPerson, KapelleError
from kapelle.graph import Task
from kapelle.ledger import NOTHING
from kapelle.models import ToolCall
from kapelle.tools import AgentState, explain_mask

from .guard import mark_of
from .record import LoopRecord
from .setup import LoopSetup, WorkPlace
from .state import Spoken
from .states import state_after_call
from .tool_kit import ToolAnswer, ToolContext, call_tool

RESULTS = ".kapelle/results"
"""Where the workspace keeps results that were too long to be shown."""

_AGAIN, _DONE, _FAILED = "do it again", "it was done", "it failed"


class ToolCalls:
    """The calls of one loop.

    Args:
        seconds_left: how long the task may still take.
        usd_left: what it has left; None where nothing limits it.
    """

    def __init__(
        self,
        setup: LoopSetup,
        task: Task,
        context: TaskContext,
        record: LoopRecord,
        place: WorkPlace,
        *,
        seconds_left: Callable[[], float],
        usd_left: Callable[[], float | None],
    ) -> None:
        self._setup, self._task, self._context, self._record = setup, task, context, record
        self._limits = setup.limits
        self._place, self._seconds_left, self._usd_left = place, seconds_left, usd_left

    async def make(self) -> None:
        """Make the calls of the latest reply that have no result yet, in order."""
        waiting = self._record.state.unanswered_calls()
        place = len(self._latest_calls()) - len(waiting)
        for offset, call in enumerate(waiting):
            refused = self._why_refused(call, place + offset)
            if refused:
                self._return(call, ToolAnswer(text=refused, is_error=True), was_made=False)
                continue
            tool = self._setup.tools[call.name]
            context = self._tool_context(call)
            if tool.row.needs_approval:
                await self._record.flush()
                self._context.ask(
                    f"May {call.name} be called?",
                    kind="approval",
                    arguments={"tool": call.name, "arguments": dict(call.arguments), "call": self._name(call)},
                    cost_usd=self._record.cost_usd,
                    usage=self._record.usage,
                )
            await self._record.write("called", call_id=call.call_id, name=call.name, has_effects=tool.row.has_effects)
            try:
                answer = await call_tool(tool, call.arguments, context)
            except AskPerson:
                await self._record.write("settled", call_id=call.call_id, said="it asks a person")
                raise
            self._return(call, answer)
        await self._record.flush()

    def _latest_calls(self) -> tuple[ToolCall, ...]:
        latest = next((entry for entry in reversed(self._record.state.entries) if isinstance(entry, Spoken)), None)
        return () if latest is None else latest.calls

    def _why_refused(self, call: ToolCall, place: int) -> str:
        """Return why a call is not made at all; empty if it is."""
        if call.name not in self._setup.tools:
            there = ", ".join(sorted(self._setup.tools))
            return f"There is no tool {call.name!r}. There are: {there}. Nothing was done."
        if self._setup.start is not None:
            forbidden = explain_mask(self._setup.table, AgentState(self._record.state.agent_state), call.name)
            if forbidden:
                return f"{forbidden} Nothing was done."
        if place >= self._limits.calls_per_reply:
            return f"Not done: more than {self._limits.calls_per_reply} calls in one reply. Call it again if needed."
        if self._record.state.tool_calls >= self._limits.tool_calls:
            return f"Not done: the limit of {self._limits.tool_calls} calls of tools is reached. Answer now."
        return ""

    def _tool_context(self, call: ToolCall) -> ToolContext:
        return ToolContext(
            task=self._task,
            run=self._context,
            idempotency_key=f"{self._context.idempotency_key}/{self._name(call)}",
            seconds=max(1e-3, min(self._limits.tool_seconds, self._seconds_left())),
            workspace=self._place.workspace,
            sandbox=self._place.sandbox,
            browser=self._place.browser,
            left_usd=self._usd_left(),
        )

    def _name(self, call: ToolCall) -> str:
        """Return what tells a call from every other of the task, those of its other loops among them."""
        return f"{self._record.state.loop}/{call.call_id}"

    def _return(self, call: ToolCall, answer: ToolAnswer, *, was_made: bool = True) -> None:
        mark = mark_of(call.name, call.arguments, answer.text)
        shown = self._shortened(answer.text, call)
        data: dict[str, Any] = {"call_id": call.call_id, "name": call.name, "text": shown, "mark": mark}
        if answer.is_error:
            data["is_error"] = True
        if answer.cost_usd:
            data["cost_usd"] = answer.cost_usd
        if answer.usage != NOTHING:
            data["usage"] = asdict(answer.usage)
        if answer.todo is not None:
            data["todo"] = answer.todo
        row = self._setup.table.find(call.name)
        if was_made and row is not None:
            if row.action == "VERIFY" and not answer.is_error:
                data["verified"] = True
            elif row.has_effects:
                data["acted"] = True
        self._record.note("returned", **data)
        if was_made and row is not None and self._setup.start is not None:
            state = AgentState(self._record.state.agent_state)
            after = state_after_call(state, row.action, is_error=answer.is_error)
            if after is not state:
                self._record.note("entered", state=after.value)

    def _shortened(self, text: str, call: ToolCall) -> str:
        """Return what the model is shown of a result; all of a long one goes into a file."""
        most = self._limits.result_chars
        if len(text) <= most:
            return text
        where = "the rest is lost"
        if self._place.workspace is not None:
            state, task = self._record.state, re.sub(r"[^\w.-]", "_", self._task.task_id)[:80]
            path = f"{RESULTS}/{task}-{state.loop}-{state.step}-{state.tool_calls}.txt"
            try:
                self._place.workspace.write(path, text)
                where = f"all of it is in the file {path}"
            except KapelleError as error:
                where = f"the rest could not be kept: {error}"
        half = most // 2
        return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out; {where} ...]\n{text[-half:]}"

    async def recover(self) -> None:
        """Settle the calls that were under way when an earlier attempt was cut off."""
        state = self._record.state
        for call in state.unanswered_calls():
            if call.call_id not in state.open_calls:
                continue
            tool = self._setup.tools.get(call.name)
            if tool is None or not tool.row.has_effects:
                self._record.note("settled", call_id=call.call_id, said="it has no effects")
                continue
            await self._record.flush()
            self._settle_cut_off(call, self._ask_about(call))

    def _ask_about(self, call: ToolCall) -> str:
        """Return what a person says of a call that may have acted when it was cut off."""
        return str(
            self._context.ask(
                f"{call.name} was under way when the work was cut off, and may have been done. What is true?",
                options=[_AGAIN, _DONE, _FAILED],
                arguments={
                    "tool": call.name,
                    "arguments": dict(call.arguments),
                    "call": self._name(call),
                    "begun": self._record.state.begun.get(call.call_id, 1),
                },
                cost_usd=self._record.cost_usd,
                usage=self._record.usage,
            )
        )

    def _settle_cut_off(self, call: ToolCall, said: str) -> None:
        self._record.note("settled", call_id=call.call_id, said=said)
        if said == _AGAIN:
            return
        words = "It was done" if said == _DONE else "It failed"
        text = f"{words}, a person says; the work was cut off before its result came."
        self._return(call, ToolAnswer(text=text, is_error=said != _DONE))
