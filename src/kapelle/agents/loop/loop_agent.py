"""An agent that acts: a model that calls tools, sees what they give, and goes on until its task is done.

    LoopSetup      what it is made of: the model, its instructions, its tools, its limits
    Loop           one task: reads what happened before, and goes on from there

Every call of the model and of a tool is written down before it happens and when it has ended (see `step_log`), so a
loop that was killed goes on at the step where it was. A tool that may have acted when it was cut off is not called
again: a person is asked. What the model sees only ever grows, so providers' prompt caches hold; a compaction is a step
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from kapelle.agents.agent import AgentResult, TaskContext
from kapelle.agents.on_model import OnModel
from kapelle.agents.prompt import task_prompt
from kapelle.agents.step_log import StepsInMemory
from kapelle.graph import Task
from kapelle.models import Message, ModelClient
from kapelle.tools import AgentState, ToolTable

from .limits import LoopLimits
from .loop import Loop
from .setup import FinishCheck, LoopSetup, WorkPlace
from .states import HOW_STATES_WORK
from .text_protocol import ActionForm, describe_forms
from .tool_kit import Tool

if TYPE_CHECKING:
    from kapelle.agents.capability import AgentCapability
    from kapelle.models import PriceTable

HOW_TO_ACT = (
    "Work step by step. Call tools to look at things and to change them; never say that something was done which no "
    "result shows. When the task is done, answer in words without any call: that ends it."
)
HOW_TO_WRITE_ACTIONS = (
    "You act by writing actions. Each begins with a line ACTION: and ends with a line ---END---; both stand at the "
    "beginning of a line, never in a fence. After your actions stop: their results are sent to you. These are all:"
)


class LoopAgent(OnModel):
    """Does a task in a loop: the model calls tools until it answers without a call.

    >>> import asyncio
    >>> from kapelle.models import ModelReply, ToolCall, ToolDefinition
    >>> from kapelle.agents.loop import make_tool
    >>> from kapelle.testing import ScriptedModel
    >>> add = make_tool(ToolDefinition(name="add"), lambda given, context: given["a"] + given["b"])
    >>> asks = ModelReply(text="", tool_calls=(ToolCall(call_id="1", name="add", arguments={"a": 2, "b": 3}),))
    >>> agent = LoopAgent(ScriptedModel([asks, "It is 5."]), tools=[add])
    >>> context = TaskContext(run_id="r", request="")
    >>> asyncio.run(agent.run(Task(task_id="t", task_type="add"), context)).output
    'It is 5.'

    Args:
        tools: what it may call; frozen from here on.
        instructions: who it is; the same in every call.
        as_text: whether the model writes its actions as text (`ACTION: ...`), as one that has no calls of tools does.
        start: the state in which a task begins, for an agent that works in states: each allows some of the tools, see
            docs/masking.md. None has no states, and allows every tool at any time.
        limits: how far it may go.
        place: the workspace and the sandbox of the run that it works in, asked once for each task.
        finish: what has to hold before an answer ends the task.

    Raises:
        InvalidInput: two tools share a name.
    """

    def __init__(
        self,
        client: ModelClient,
        *,
        tools: Sequence[Tool],
        instructions: str = "",
        as_text: bool = False,
        start: AgentState | None = None,
        limits: LoopLimits | None = None,
        place: Callable[[TaskContext], WorkPlace] = lambda context: WorkPlace(),
        finish: Sequence[FinishCheck] = (),
    ) -> None:
        table = ToolTable(static=[tool.row for tool in tools])
        forms = [ActionForm(word=row.word, tool=row.definition, fields=row.fields) for row in table.rows]
        parts = [instructions, HOW_TO_ACT]
        if start is not None:
            parts.append(HOW_STATES_WORK)
        if as_text:
            parts += [HOW_TO_WRITE_ACTIONS, describe_forms(forms)]
        self._setup = LoopSetup(
            client=client,
            system="\n\n".join(part for part in parts if part),
            tools={tool.name: tool for tool in tools},
            table=table,
            forms=tuple(forms) if as_text else None,
            start=start,
            limits=limits or LoopLimits(),
            place=place,
            finish=tuple(finish),
        )

    acts_in_steps = True

    @property
    def is_model_alone(self) -> bool:
        return False

    def with_card(self, prices: PriceTable, card: AgentCapability) -> Self:
        return self

    def find_unpriced(self) -> str | None:
        return None  # its client prices its calls itself

    def most_usd(self, task: Task, context: TaskContext) -> float | None:
        """Return the dollars that a task costs at most: its limit, as every call is held to what is left of it."""
        return self._setup.limits.usd if hasattr(self._setup.client, "bound_usd") else None

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        opening = (
            Message(role="system", content=self._setup.system),
            Message(role="user", content=task_prompt(task, context)),
        )
        return await Loop(self._setup, task, context, opening, context.steps or StepsInMemory()).run()
