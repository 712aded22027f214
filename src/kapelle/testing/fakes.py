"""Public fakes, for users' own tests as for ours: no network, no key, no waiting.

`ScriptedModel` stands in for a language model. It does what the real client does with a reply (streaming, reading
JSON against a schema, leaving thoughts out, telling a cut reply from a whole one), so that code which passes with the
fake meets no surprise later. `ScriptedAgent` stands in for an agent, and `VirtualClock` for time: an hour of a run
passes in a moment, and exactly.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from kapelle.agents import THREAD_NAME, AgentCapability, AgentResult, TaskContext
from kapelle.graph import Task
from kapelle.ledger import Usage
from kapelle.models import ModelReply, ModelRequest, check_reply, strip_thoughts

_T = TypeVar("_T")


class ScriptedModel:
    """A `ModelClient` that plays replies back, in order, and remembers what it was asked in `requests`.

    A reply is a text, a mapping (which becomes a JSON text and `data`), a whole `ModelReply`, or an exception, which
    is raised. Texts and mappings use the `usage` and cost the `cost_usd` given here; a `ModelReply` brings its own.

    >>> import asyncio
    >>> from kapelle.models import Message, ModelRequest
    >>> model = ScriptedModel(["Guten Tag", {"steps": 2}], cost_usd=0.01)
    >>> request = ModelRequest(messages=(Message(role="user", content="Hello"),))
    >>> asyncio.run(model.complete(request)).text
    'Guten Tag'
    >>> asyncio.run(model.complete(request)).data
    {'steps': 2}
    >>> model.calls, model.cost_usd
    (2, 0.02)
    """

    def __init__(
        self,
        replies: Iterable[str | ModelReply | Exception | Mapping[str, Any]],
        *,
        model: str = "scripted:model",
        cost_usd: float = 0.0,
        usage: Usage = Usage(input_tokens=10, output_tokens=10, calls=1),
    ) -> None:
        self.model = model
        self.takes_tuple_schemas = True
        self.requests: list[ModelRequest] = []
        """What was asked so far, in order."""
        self.cost_usd = 0.0
        """Dollars charged so far, unreadable replies included."""
        self._script = tuple(replies)
        self._cost_per_call_usd = cost_usd
        self._usage_per_call = usage

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self.requests)

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """Play the next reply; with `on_text` word by word.

        Raises:
            AssertionError: the script is used up: the code under test asked more often than the test expected.
            PaidReplyInvalid, PaidReplyCut, PaidRefusal: as from the real client: see `check_reply`.
        """
        self.requests.append(request)
        if self.calls > len(self._script):
            raise AssertionError(
                f"{self.model} was asked {self.calls} times, but its script has {len(self._script)} replies. "
                f"The last message was {request.messages[-1].content[:200]!r}."
            )
        scripted = self._script[self.calls - 1]
        # As with a real call, other tasks get a turn here. Each has its own reply by then.
        await asyncio.sleep(0)
        if isinstance(scripted, Exception):
            raise scripted

        reply = self._to_reply(scripted)
        self.cost_usd += reply.cost_usd
        if on_text is not None:
            for piece in _pieces(strip_thoughts(reply.text)):
                on_text(piece)
                await asyncio.sleep(0)
        return check_reply(reply, request)

    def _to_reply(self, scripted: str | ModelReply | Mapping[str, Any]) -> ModelReply:
        if isinstance(scripted, ModelReply):
            return scripted if scripted.model else dataclasses.replace(scripted, model=self.model)
        text = scripted if isinstance(scripted, str) else json.dumps(scripted)
        return ModelReply(
            text=text,
            usage=self._usage_per_call,
            cost_usd=self._cost_per_call_usd,
            model=self.model,
            finish_reason="stop",
            data=None if isinstance(scripted, str) else json.loads(text),
        )


class VirtualClock:
    """Time that passes only when everyone waits for it: `run` gives a coroutine an event loop on this clock.

    Durations are then exact, and waiting takes no time. Code on other threads does not see this clock; what runs there
    for the loop (`call_in_thread`) takes no time on it, unless it is still at work after `MAX_ON_THREAD_S` seconds.

    >>> clock = VirtualClock()
    >>> async def nap():
    ...     await asyncio.sleep(3600)
    ...     return clock()
    >>> clock.run(nap())
    3600.0
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def __call__(self) -> float:
        """Return the seconds that have passed."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self._now += max(0.0, seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait, on this clock, when run by it."""
        await asyncio.sleep(seconds)

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end, as `asyncio.run` does, in an event loop on this clock."""
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(coroutine)


class LoopHeartbeat:
    """A heartbeat in the event loop, and so on its clock: see `Engine(heartbeat=LoopHeartbeat)`.

    >>> clock = VirtualClock()
    >>> async def beats():
    ...     heartbeat, times = LoopHeartbeat(), []
    ...     heartbeat.start(lambda: times.append(clock()), 2.0)
    ...     await asyncio.sleep(5)
    ...     await heartbeat.stop()
    ...     return times
    >>> clock.run(beats())
    [2.0, 4.0]
    """

    def __init__(self) -> None:
        self._beat: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, beat: Callable[[], None], every_s: float) -> None:
        """Call `beat` every so many seconds."""
        self._beat = beat
        loop = asyncio.get_running_loop()

        def again() -> None:
            beat()
            self._timer = loop.call_later(every_s, again)

        self._timer = loop.call_later(every_s, again)

    async def beat_now(self) -> None:
        """Call it now; what it hands to the loop is done when this returns."""
        if self._beat is not None:
            self._beat()
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Call it no more."""
        if self._timer is not None:
            self._timer.cancel()


MAX_ON_THREAD_S = 5.0
"""A function that takes longer is taken for one that never ends."""
_LOOK_S = 0.02


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        return self._clock()


class _JumpingSelector(selectors.DefaultSelector):
    """Where an event loop would wait for the next timer, this lets the clock jump there."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._before = set(threading.enumerate())
        """Threads that are nothing to this loop."""
        self._since: dict[threading.Thread, float] = {}
        """Since when others are known to be at work."""

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        while not ready and timeout is not None and timeout > 0 and self._is_awaited():
            ready = super().select(_LOOK_S)  # a thread that ends wakes the loop
        if not ready and timeout is not None:
            self._clock.advance(timeout)
        return ready

    def _is_awaited(self) -> bool:
        """Whether a function on a thread is at work, and may yet end soon."""
        now = time.monotonic()
        alive = [one for one in threading.enumerate() if one.name == THREAD_NAME and one not in self._before]
        self._since = {thread: self._since.get(thread, now) for thread in alive}
        return any(now - since < MAX_ON_THREAD_S for since in self._since.values())


class ScriptedAgent:
    """An agent that plays outputs back, by task id or type, and remembers the tasks it was given in `tasks`.

    An output may be a value, an exception, which is raised, or a function of (task, context). Each task takes
    `seconds`, by the event loop's clock.

    >>> from kapelle.agents import TaskContext
    >>> from kapelle.graph import Task
    >>> agent = ScriptedAgent({"lookup": "Paris"})
    >>> context = TaskContext(run_id="r", request="")
    >>> asyncio.run(agent.run(Task(task_id="s1", task_type="lookup"), context)).output
    'Paris'
    """

    def __init__(
        self,
        outputs: Mapping[str, Any] | None = None,
        *,
        seconds: float | Mapping[str, float] = 0.0,
        cost_usd: float | None = None,
    ) -> None:
        self.tasks: list[Task] = []
        self.contexts: list[TaskContext] = []
        self.started: dict[str, float] = {}
        """When each task was started, by the event loop's clock."""
        self.most_at_once = 0
        self._at_once = 0
        self._outputs = outputs or {}
        self._seconds = seconds
        self._cost_usd = cost_usd

    def card(self, agent_id: str, *task_types: str, **options: Any) -> AgentCapability:
        """Return a capability for this agent; free unless the options say otherwise."""
        return AgentCapability(agent_id=agent_id, task_types=task_types, **{"cost_tier": "free", **options})

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Play the output of this task."""
        self.tasks.append(task)
        self.contexts.append(context)
        self.started[task.task_id] = asyncio.get_running_loop().time()
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            seconds = self._seconds.get(task.task_id, 0.0) if isinstance(self._seconds, Mapping) else self._seconds
            await asyncio.sleep(seconds)
        finally:
            self._at_once -= 1
        output = self._outputs.get(task.task_id, self._outputs.get(task.task_type, f"{task.task_id} done"))
        if callable(output):
            output = output(task, context)
        if isinstance(output, BaseException):
            raise output
        return output if isinstance(output, AgentResult) else AgentResult(output=output, cost_usd=self._cost_usd)


def _pieces(text: str) -> Iterable[str]:
    start = 0
    for index, character in enumerate(text):
        if character == " ":
            yield text[start : index + 1]
            start = index + 1
    if start < len(text):
        yield text[start:]
