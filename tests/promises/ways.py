"""The ways that work can go: what every promise is held to. Each is one line of a table below.

    ADAPTERS    what turns somebody's code or model into an agent
    STRATEGIES  who is asked for a task's answer, and what follows when it does not come
    BACKENDS    where agents run
    FAILURES    how an attempt ends, as each kind of adapter shows it, and what is then to be charged
    PRICES      what is known of what an attempt costs, and what it really costs

`play(way)` runs one graph in one way, against a cap that does not pay for all of it, and returns what the run told and
what the agents really did; it is played once for all promises. `sampled_ways()` are so few that every two lines of two
tables meet (pairwise testing). A new adapter, strategy, backend or failure joins by its line, and inherits everything.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, LoopAgent, ModelAgent, TaskContext, make_tool
from kapelle.agents.loop.loop import MAX_IN_VAIN
from kapelle.budget import Budget
from kapelle.errors import (
    AgentFailed,
    AskPerson,
    ContentRefused,
    InvalidInput,
    KapelleError,
    ReplyCut,
    TryAgain,
)
from kapelle.execution import ExecutionLimits, HedgePolicy, RetryPolicy
from kapelle.ledger import Event, Outcome, Run, Usage
from kapelle.models import ModelReply, Price, PriceTable, PydanticAIClient, ToolCall, ToolDefinition
from kapelle.routing import RoutingPlan
from kapelle.strategies import Cascade, Check, Single, Strategy, Vote
from kapelle.testing import ScriptedModel
from tests.models.openai_server import OpenAIServer, ServerReply, ServerRequest, broken_stream, chat, failure, hang, raw

COST_USD = 0.01
"""What a call really costs, where it costs anything."""
USED = Usage(input_tokens=100, output_tokens=20, calls=1)
"""What a model's call uses. At PRICE that is COST_USD."""
PRICE = Price(input_usd=50.0, cached_usd=50.0, output_usd=250.0)
FREE = Price(input_usd=0.0, cached_usd=0.0, output_usd=0.0)
MODEL = "ways-model"
TASK_TIMEOUT_S = 0.4
"""Where an attempt is to last too long. No test asserts how long anything takes."""
HAS_RAY = importlib.util.find_spec("ray") is not None
RAY_WAYS = int(os.environ.get("KAPELLE_PROMISES_RAY", "4"))
"""How many ways are tried on Ray, whose workers take seconds to start; 0 leaves it out."""


class Way(NamedTuple):
    """One way that work can go: a line of each table."""

    adapter: str
    strategy: str
    backend: str
    failure: str
    price: str

    def __str__(self) -> str:
        return "; ".join(self)


# What is known of prices


@dataclass(frozen=True, kw_only=True)
class PriceKnowledge:
    """What is known of what an attempt costs."""

    declared_usd: float | None
    costs_usd: float = COST_USD
    """What it really costs."""
    reports: str = "always"
    """`always`, on `success` only, or `never`: of code. Models always report."""


PRICES: dict[str, PriceKnowledge] = {
    "declared": PriceKnowledge(declared_usd=COST_USD, reports="never"),
    "unknown": PriceKnowledge(declared_usd=None),
    "a tenth of it": PriceKnowledge(declared_usd=COST_USD / 10),
    "ten times it": PriceKnowledge(declared_usd=COST_USD * 10),
    "zero": PriceKnowledge(declared_usd=0.0, costs_usd=0.0),
    "wrongly zero": PriceKnowledge(declared_usd=0.0),
    "told on success": PriceKnowledge(declared_usd=None, reports="success"),
}

# How an attempt ends

REPORTED, RESERVED, UNSAID, NOTHING = "what it reported", "what was set aside", "price or set aside", "nothing"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of an agent: what is to happen in it."""

    task: str
    agent: str
    failure: str
    """`answers`, `stalls` (until it is cancelled), or one of FAILURES."""
    cost_usd: float
    """What it really costs."""
    told_usd: float | None
    """What code says that it costs, where it succeeds."""
    told_of_failure_usd: float | None
    """The same where it fails."""


Raises = Callable[[Call], BaseException]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How an attempt ends that comes to nothing: by the kind of adapter, and what is to be charged for it."""

    charged: str
    """REPORTED, RESERVED, UNSAID (the declared price, else what was set aside) or NOTHING."""
    code: Raises | Callable[[Call], AgentResult] | None = None
    """What code raises or returns."""
    scripted: Callable[[Call], Exception | ModelReply] | None = None
    served: Callable[[Call], ServerReply] | None = None
    library: Callable[[Call], Any] | None = None
    """What a pydantic-ai model raises or replies: finish reason and text."""
    streams: bool = False
    waits: bool = False
    """Whether it lasts until it is cut off."""
    asks: bool = False


def _reply(text: str, finish_reason: str) -> Callable[[Call], ModelReply]:
    return lambda call: ModelReply(
        text=text, usage=USED, cost_usd=call.cost_usd, model="scripted:model", finish_reason=finish_reason
    )


def _cut_short() -> ServerReply:
    """A body that ends before it is whole: the connection is closed after the request was taken."""
    return replace(raw('{"id": "x", "choices"'), headers={"Content-Length": "1000", "Connection": "close"})


STALLS: AgentResult = AgentResult(output="stalls")
"""Stands for a call that ends when it is cancelled."""

FAILURES: dict[str, Failure] = {
    "raises": Failure(
        charged=UNSAID,
        code=lambda call: ValueError("a bug"),
        scripted=lambda call: ValueError("a bug"),
        library=lambda call: ValueError("a bug"),
    ),
    "fails": Failure(
        charged=UNSAID,
        code=lambda call: AgentFailed("cannot"),
        scripted=lambda call: AgentFailed("cannot"),
        library=lambda call: AgentFailed("cannot"),
    ),
    "fails and is paid": Failure(
        charged=REPORTED,
        code=lambda call: AgentFailed("cannot", cost_usd=call.told_of_failure_usd),
        scripted=lambda call: AgentFailed("cannot", cost_usd=call.cost_usd),
    ),
    "may pass": Failure(
        charged=NOTHING,
        code=lambda call: TryAgain("busy", sent=False),
        scripted=lambda call: TryAgain("busy", sent=False),
        served=lambda call: failure(503, message="busy"),
    ),
    "may pass and is paid": Failure(
        charged=REPORTED,
        code=lambda call: TryAgain("busy", cost_usd=call.told_of_failure_usd),
        scripted=lambda call: TryAgain("busy", cost_usd=call.cost_usd),
    ),
    "may have been paid": Failure(
        charged=RESERVED,
        code=lambda call: TryAgain("busy", sent=True),
        scripted=lambda call: TryAgain("busy", sent=True),
        library=lambda call: TryAgain("busy", sent=True),
    ),
    "lasts too long": Failure(charged=RESERVED, code=lambda call: STALLS, served=lambda call: hang(), waits=True),
    "cancels itself": Failure(
        charged=UNSAID,
        code=lambda call: asyncio.CancelledError("I"),
        library=lambda call: asyncio.CancelledError("I"),
    ),
    "is cut": Failure(
        charged=REPORTED,
        code=lambda call: ReplyCut("half", cost_usd=call.told_of_failure_usd),
        scripted=_reply("First, never", "length"),
        served=lambda call: chat("First, never", finish_reason="length"),
        library=lambda call: ("First, never", "length"),
    ),
    "is empty": Failure(
        charged=REPORTED,
        scripted=_reply(" \n", "stop"),
        served=lambda call: chat(""),
        library=lambda call: ("", "stop"),
    ),
    "is refused": Failure(
        charged=REPORTED,
        code=lambda call: ContentRefused("not that", cost_usd=call.told_of_failure_usd),
        served=lambda call: chat(None, refusal="I will not do that."),
        library=lambda call: ("", "content_filter"),
    ),
    "breaks off": Failure(
        charged=RESERVED, served=lambda call: broken_stream(chat("one two three"), after=2), streams=True
    ),
    "is hung up on": Failure(
        charged=RESERVED,
        code=lambda call: TryAgain("the connection is gone", sent=True),
        served=lambda call: _cut_short(),
    ),
    "cannot be read": Failure(
        charged=REPORTED,
        code=lambda call: AgentResult(output=threading.Lock(), cost_usd=call.told_usd),
        served=lambda call: chat(None),
    ),
    "tells no figure": Failure(
        charged=RESERVED, code=lambda call: AgentFailed("cannot", cost_usd=float("nan")), scripted=None
    ),
    "is no reply": Failure(charged=RESERVED, served=lambda call: raw("<html>Bad gateway</html>")),
    "asks a person": Failure(
        charged=REPORTED,
        code=lambda call: AskPerson("Which?", cost_usd=call.told_of_failure_usd),
        scripted=lambda call: AskPerson("Which?", cost_usd=call.cost_usd),
        asks=True,
    ),
}


# What really happens


@dataclass(frozen=True, kw_only=True)
class Done:
    """One call as it really happened."""

    task: str
    agent: str
    failure: str
    cost_usd: float


@dataclass(frozen=True)
class Stage:
    """Says what happens in every call, and remembers it in a folder, so that workers in other processes can too."""

    folder: str
    way: Way
    failing: tuple[str, ...] = ()
    """Tasks whose first call fails."""
    hopeless: tuple[str, ...] = ()
    """Tasks of which every call fails."""
    stalling: tuple[str, ...] = ()
    """Tasks whose first call lasts until it is cancelled."""

    def begin(self, task: str, agent_id: str) -> Call:
        """Return what is to happen in a call that begins."""
        number = _claim(Path(self.folder), f"{task}~")
        price, is_model = PRICES[self.way.price], ADAPTERS[self.way.adapter].kind != "code"
        is_mended = (Path(self.folder) / "mended").exists()
        what = "answers"
        if not is_mended and ((number == 0 and task in self.failing) or task in self.hopeless):
            what = self.way.failure
        elif number == 0 and task in self.stalling and not is_mended:
            what = "stalls"
        cost_usd = 0.0 if what in FAILURES and FAILURES[what].charged == NOTHING else price.costs_usd
        told = None if price.reports == "never" and not is_model else price.costs_usd
        call = Call(
            task=task,
            agent=agent_id,
            failure=what,
            cost_usd=cost_usd,
            told_usd=told,
            told_of_failure_usd=None if price.reports != "always" else told,
        )
        place = _claim(Path(self.folder), "")
        content = {"task": task, "agent": agent_id, "failure": what, "cost_usd": cost_usd}
        beside = (
            Path(self.folder) / f"part{place:04}"
        )  # a thread may go on when its run has ended, and is read meanwhile
        beside.write_text(json.dumps(content))
        beside.replace(Path(self.folder) / f"call{place:04}")
        return call

    def mend(self) -> None:
        """From now on every call succeeds."""
        (Path(self.folder) / "mended").touch()

    def calls(self) -> list[Done]:
        """Return what was called, in order."""
        return [Done(**json.loads(path.read_text())) for path in sorted(Path(self.folder).glob("call*"))]


def _claim(folder: Path, name: str) -> int:
    """Return the first number that nobody has taken, in whatever process."""
    for number in itertools.count():
        with suppress(FileExistsError):
            os.close(os.open(folder / f"{name}#{number}", os.O_CREAT | os.O_EXCL))
            return number
    raise AssertionError


def _answer(task: str, upstream: Mapping[str, Any]) -> str:
    return " ".join([f"{task} done", *(f"after {upstream[name]}" for name in sorted(upstream))])


def _act(call: Call, context_upstream: Mapping[str, Any]) -> AgentResult:
    """Do in code what a call is to do."""
    if call.failure == "stalls":
        return STALLS
    if call.failure == "answers":
        return AgentResult(output=_answer(call.task, context_upstream), cost_usd=call.told_usd)
    make = FAILURES[call.failure].code
    assert make is not None
    found = make(call)
    if isinstance(found, BaseException):
        raise found
    return found


async def _act_async(stage: Stage, agent_id: str, task: Task, context: TaskContext) -> AgentResult:
    found = _act(stage.begin(task.task_id, agent_id), context.upstream)
    if found is STALLS:
        await asyncio.Event().wait()
    return found


# What turns code and models into agents


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What turns something into agents."""

    make: Callable[[Stage, Sequence[AgentCapability], ExitStack], AgentRegistry | list[Any]]
    kind: str = "code"
    """`code`, `scripted`, `served` or `library`: how it shows a failure, see Failure."""
    can_stall: bool = True
    needs_home: bool = False
    """Whether it cannot be sent to another process."""

    def shows(self, name: str) -> bool:
        """Whether there is such a failure with it."""
        found = FAILURES[name]
        return getattr(found, self.kind) is not None and (self.can_stall or not found.waits)


def _plain(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    ending = threading.Event()
    stack.callback(ending.set)  # a thread cannot be cancelled: it ends with the test

    def made(card: AgentCapability) -> Any:
        def work(task: Task, context: TaskContext) -> AgentResult:
            found = _act(stage.begin(task.task_id, card.agent_id), context.upstream)
            if found is STALLS:
                ending.wait()
            return found

        return card, work

    return [made(card) for card in cards]


def _plain_sent(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    """Plain functions that hold nothing of this process; they cannot stall."""

    def made(card: AgentCapability) -> Any:
        def work(task: Task, context: TaskContext) -> AgentResult:
            return _act(stage.begin(task.task_id, card.agent_id), context.upstream)

        return card, work

    return [made(card) for card in cards]


def _coroutines(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    def made(card: AgentCapability) -> Any:
        async def work(task: Task, context: TaskContext) -> AgentResult:
            return await _act_async(stage, card.agent_id, task, context)

        return card, work

    return [made(card) for card in cards]


def _decorated(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    def made(card: AgentCapability) -> Any:
        @agent(
            agent_id=card.agent_id,
            task_types=card.task_types,
            cost_usd=card.cost_usd,
            cost_tier=card.cost_tier,
            success_rate=card.success_rate,
        )
        async def work(task: Task, context: TaskContext) -> AgentResult:
            return await _act_async(stage, card.agent_id, task, context)

        return work

    return [made(card) for card in cards]


@dataclass(frozen=True)
class Own:
    """An object of the user's own."""

    stage: Stage
    agent_id: str

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        return await _act_async(self.stage, self.agent_id, task, context)


def _objects(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    return [(card, Own(stage, card.agent_id)) for card in cards]


def _from_yaml(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> AgentRegistry:
    module = types.ModuleType(f"promised_agents_{Path(stage.folder).name}")
    sys.modules[module.__name__] = module
    stack.callback(sys.modules.pop, module.__name__)
    entries = []
    for card in cards:
        setattr(module, card.agent_id, Own(stage, card.agent_id))
        entry: dict[str, Any] = {"agent_id": card.agent_id, "task_types": list(card.task_types)}
        entry |= {"cost_tier": card.cost_tier, "success_rate": card.success_rate}
        entry |= {"run": f"{module.__name__}:{card.agent_id}"}
        entries.append(entry | ({} if card.cost_usd is None else {"cost_usd": card.cost_usd}))
    path = Path(stage.folder) / "agents.yaml"
    path.write_text(yaml.safe_dump({"agents": entries}))
    return AgentRegistry.from_yaml(path)


@dataclass(frozen=True)
class OfScript:
    """A model agent whose model is scripted, call by call."""

    stage: Stage
    agent_id: str

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        call = self.stage.begin(task.task_id, self.agent_id)
        if call.failure == "stalls":
            await asyncio.Event().wait()
        make = FAILURES[call.failure].scripted if call.failure in FAILURES else None
        reply = _answer(task.task_id, context.upstream) if make is None else make(call)
        # A reply that is cut may be continued once. That comes to nothing either, and is free: the bill has one call.
        more = ModelReply(text="more", usage=USED, model="scripted:model", finish_reason="length")
        model = ScriptedModel([reply, more], cost_usd=call.cost_usd, usage=USED)
        return await ModelAgent(model).run(task, context)


def _scripted(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    return [(card, OfScript(stage, card.agent_id)) for card in cards]


@dataclass(frozen=True)
class OfLoop:
    """An agent that acts, whose model is scripted: it looks something up, and then does what a call is to do."""

    stage: Stage
    agent_id: str
    acts_in_steps = True

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        call = self.stage.begin(task.task_id, self.agent_id)
        if call.failure == "stalls":
            await asyncio.Event().wait()
        make = FAILURES[call.failure].scripted if call.failure in FAILURES else None
        reply = _answer(task.task_id, context.upstream) if make is None else make(call)
        looks = ModelReply(text="", tool_calls=(ToolCall(call_id="1", name="look", arguments={}),))
        # A reply that is cut or empty is told to the model, a few times. That comes to nothing here, and is free.
        more = ModelReply(text="", usage=Usage(), model="scripted:model", finish_reason="stop")
        model = ScriptedModel([looks, reply, *[more] * MAX_IN_VAIN], cost_usd=call.cost_usd, usage=USED)
        look = make_tool(ToolDefinition(name="look"), lambda given, context: "seen", has_effects=False)
        return await LoopAgent(model, tools=[look]).run(task, context)


def _loops(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    return [(card, OfLoop(stage, card.agent_id)) for card in cards]


class StageServer(OpenAIServer):
    """Answers each request by the task and the agent that its words name, in whatever order they come."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def __enter__(self) -> Self:
        super().__enter__()
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up are the point
        return self

    def take(self, request: ServerRequest) -> ServerReply:
        if "messages" not in request.body:  # its client hung up before it had sent it
            return failure(400)
        task, agent_id, upstream = _read_prompt(" ".join(str(one["content"]) for one in request.body["messages"]))
        call = self.stage.begin(task, agent_id)
        if call.failure == "stalls":
            return hang()
        make = FAILURES[call.failure].served if call.failure in FAILURES else None
        return chat(_answer(task, upstream)) if make is None else make(call)


def _read_prompt(words: str) -> tuple[str, str, dict[str, str]]:
    found = re.search(r"Your task \(work\): (\w+)", words)
    who = re.search(r"You are (\w+)\.", words)
    assert found is not None, words
    upstream = re.findall(r"Result of an earlier task \((\w+)\):\s*(.*)", words)
    return found[1], who[1] if who else "", dict(upstream)


def _prices(stage: Stage) -> PriceTable:
    return PriceTable({MODEL: FREE if PRICES[stage.way.price].costs_usd == 0 else PRICE})


def _served(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    server = stack.enter_context(StageServer(stage))
    client = PydanticAIClient(
        f"openai-compatible:{MODEL}", base_url=server.base_url, api_key="k", prices=_prices(stage), max_retries=0
    )
    return [(card, ModelAgent(client, f"You are {card.agent_id}.")) for card in cards]


def _library(stage: Stage, cards: Sequence[AgentCapability], stack: ExitStack) -> list[Any]:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel
    from pydantic_ai.usage import RequestUsage

    def made(card: AgentCapability) -> Any:
        async def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            words = " ".join(str(getattr(part, "content", "")) for message in messages for part in message.parts)
            task, _, upstream = _read_prompt(words)
            call = stage.begin(task, card.agent_id)
            if call.failure == "stalls":
                await asyncio.Event().wait()
            make = FAILURES[call.failure].library if call.failure in FAILURES else None
            found: Any = (_answer(task, upstream), "stop") if make is None else make(call)
            if isinstance(found, BaseException):
                raise found
            return ModelResponse(
                parts=[TextPart(found[0])] if found[0] else [],
                usage=RequestUsage(input_tokens=USED.input_tokens, output_tokens=USED.output_tokens),
                model_name=MODEL,
                finish_reason=found[1],
            )

        return card, Agent(FunctionModel(reply, model_name=MODEL), retries=0)

    return [made(card) for card in cards]


ADAPTERS: dict[str, Adapter] = {
    "function": Adapter(make=_plain),
    "async function": Adapter(make=_coroutines),
    "@agent": Adapter(make=_decorated),
    "object": Adapter(make=_objects),
    "YAML": Adapter(make=_from_yaml),
    "scripted model": Adapter(make=_scripted, kind="scripted"),
    "agent that acts": Adapter(make=_loops, kind="scripted"),
    "model": Adapter(make=_served, kind="served", needs_home=True),
    "pydantic-ai": Adapter(make=_library, kind="library"),
}

# Who is asked


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who is asked for a task's answer, and what follows when it does not come."""

    agents: tuple[str, ...] = ("a",)
    strategy: Strategy | None = None
    """None leaves it to routing."""
    limits: ExecutionLimits = field(
        default_factory=lambda: ExecutionLimits(retry=RetryPolicy(max_attempts=1), max_fallbacks=0)
    )
    stalls: bool = False
    """Whether a first call is to be so late that it has a rival."""


ONCE = RetryPolicy(max_attempts=1)
WELL_FORMED = Check(kind="well_formed")
STRATEGIES: dict[str, Asked] = {
    "single": Asked(),
    "retry": Asked(limits=ExecutionLimits(retry=RetryPolicy(max_attempts=3, first_delay_s=0.001), max_fallbacks=0)),
    "fallback": Asked(agents=("a", "b"), limits=ExecutionLimits(retry=ONCE, max_fallbacks=1)),
    "cascade": Asked(agents=("a", "b"), strategy=Cascade(cheap="a", check=WELL_FORMED, strong=Single(agent="b"))),
    "vote": Asked(agents=("a", "b", "c"), strategy=Vote(agents=("a", "b"), escalate_to=Single(agent="c"))),
    "hedge": Asked(
        limits=ExecutionLimits(retry=ONCE, max_fallbacks=0, hedge=HedgePolicy(after=1e-6, least_s=0.03)), stalls=True
    ),
}
BACKENDS: tuple[str, ...] = ("asyncio", "threads")
FACTORS: tuple[tuple[str, ...], ...] = (tuple(ADAPTERS), tuple(STRATEGIES), BACKENDS, tuple(FAILURES), tuple(PRICES))


class FixedRouter:
    """Gives every task the same strategy: what the optimiser would choose is not what is asked here."""

    def __init__(self, strategy: Strategy, first: str) -> None:
        self._strategy, self._first = strategy, first

    async def route_tasks(self, dag: TaskDAG, **_: Any) -> RoutingPlan:
        """Return the same for every task."""
        return RoutingPlan(
            assignments=dict.fromkeys(dag.tasks, self._first),
            explanations=dict.fromkeys(dag.tasks, "every way is tried"),
            strategies=dict.fromkeys(dag.tasks, self._strategy),
        )

    def find_pinned(self, *_: Any, **__: Any) -> frozenset[str]:
        """Return no task: nobody's word binds one to an agent."""
        return frozenset()


# Which ways there are


def why_not(way: Way) -> str | None:
    """Return why there is no such way, if there is none."""
    adapter = ADAPTERS[way.adapter]
    if not adapter.shows(way.failure):
        return f"{way.adapter}: nothing of the kind {way.failure!r} can happen"
    if adapter.kind != "code" and way.price == "told on success":
        return "a model tells what it used whenever it replies"
    if way.backend == "ray":
        if adapter.needs_home:
            return "a model's client belongs to its process"
        if way.adapter == "function" and (FAILURES[way.failure].waits or way.strategy == "hedge"):
            return "a function that blocks cannot be ended by its test"
        if way.adapter == "pydantic-ai":
            return "its model is a function of this process"
    return None


@cache
def sampled_ways(seed: int = 1) -> tuple[Way, ...]:
    """Return ways such that every two lines of different tables meet, where they can: the same ones every time."""
    chance = random.Random(seed)
    ways = [way for way in map(Way._make, itertools.product(*FACTORS)) if why_not(way) is None]
    meetings = {way: _meetings(way) for way in ways}
    wanted = set().union(*meetings.values())
    by_meeting: dict[Any, list[Way]] = {}
    for way, found in meetings.items():
        for one in found:
            by_meeting.setdefault(one, []).append(way)
    chosen: list[Way] = []
    while wanted:
        first = min(wanted)
        tried = chance.sample(by_meeting[first], min(40, len(by_meeting[first])))
        best = max(tried, key=lambda way: (len(meetings[way] & wanted), way))
        chosen.append(best)
        wanted -= meetings[best]
    return tuple(chosen)


@cache
def ray_ways(seed: int = 1) -> tuple[Way, ...]:
    """Return a few ways on Ray."""
    if not HAS_RAY:
        return ()
    ways = [way._replace(backend="ray") for way in sampled_ways(seed)]
    ways = [way for way in dict.fromkeys(ways) if why_not(way) is None]
    chosen: list[Way] = []
    seen: set[str] = set()
    for way in random.Random(seed).sample(ways, len(ways)):
        new = {way.adapter, way.strategy, way.failure} - seen
        if len(new) == 3 and len(chosen) < RAY_WAYS:
            chosen.append(way)
            seen |= new
    return tuple(chosen)


def _meetings(way: Way) -> set[tuple[int, str, int, str]]:
    lines = enumerate(way)
    return {(one, first, other, second) for (one, first), (other, second) in itertools.combinations(lines, 2)}


# Playing one


GRAPH: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("fine", ()),
    ("odd", ()),
    ("late", ()),
    ("lost", ()),
    ("more", ()),
    ("after_fine", ("fine",)),
    ("after_odd", ("odd",)),
    ("after_lost", ("lost",)),
)
"""Tasks by name, and what they wait for. `odd` fails once, `lost` always; `late` first stalls where that is asked."""


@dataclass(frozen=True, kw_only=True)
class Attempted:
    """One attempt, as the run's events tell of it."""

    task: str
    agent: str
    reserved_usd: float
    before_usd: float
    """What was spent and set aside when it began."""
    began: int
    """Which event that was."""
    ended: int | None = None
    """Which event told of its end; None where none did."""
    cost_usd: float = 0.0
    reason: str | None = None


@dataclass(kw_only=True)
class Played:
    """What came of one way."""

    way: Way
    cap_usd: float | None
    run: Run | None
    """None where it was refused."""
    read_back: Run | None
    error: Exception | None
    calls: list[Done]
    outcomes: tuple[Outcome, ...]
    budget: Budget | None
    heard: list[Event]

    def attempts(self) -> list[Attempted]:
        """Return the attempts that the run's events tell of."""
        return [] if self.run is None else read_attempts(self.run)


NOT_BEGUN = "The budget does not reach"
"""Begins the reason of an attempt that was never made, because it could not be paid for."""


def read_attempts(run: Run) -> list[Attempted]:
    """Return the attempts of a run in the order in which they began.

    A task's only attempt is told by `task_started` and the task's end; where there are several, each is told by events
    of its own, the first of them perhaps only once there is a second.
    """
    spent = 0.0
    found: list[Attempted] = []
    open_: dict[tuple[str, object], int] = {}
    reserved: dict[tuple[str, object], float] = {}

    def begin(place: tuple[str, object], agent_id: str, usd: float, event: Event) -> None:
        open_[place] = len(found)
        before_usd = spent + sum(reserved.values())
        found.append(Attempted(task=place[0], agent=agent_id, reserved_usd=usd, before_usd=before_usd, began=event.seq))
        reserved[place] = usd

    def end(place: tuple[str, object], event: Event) -> None:
        reserved.pop(place, None)
        number = open_.pop(place, None)
        if number is not None:
            cost_usd, reason = float(event.data.get("cost_usd", 0.0)), event.data.get("reason")
            found[number] = replace(found[number], ended=event.seq, cost_usd=cost_usd, reason=reason)

    for event in run.events:
        data, task = event.data, event.task_id or ""
        usd = float(data.get("reserved_usd", 0.0))
        match event.kind:
            case "task_started":
                begin((task, "only"), data.get("agent") or "", usd, event)
            case "attempt_started" if (task, "only") in open_:
                number = open_.pop((task, "only"))
                open_[task, data["attempt"]] = number  # it is the same one: it is told apart from here on
                reserved[task, data["attempt"]] = reserved.pop((task, "only"))
            case "attempt_started":
                begin((task, data["attempt"]), data["agent"], usd, event)
            case "attempt_finished":
                end((task, data["attempt"]), event)
            case "check_started":
                reserved[task, f"check {data['attempt']}"] = usd
            case "attempt_checked":
                reserved.pop((task, f"check {data['attempt']}"), None)
            case "task_finished" | "task_failed" | "task_cancelled" | "task_asked" | "task_interrupted":
                end((task, "only"), event)
        spent += float(data.get("cost_usd", 0.0)) + float(data.get("planning_cost_usd", 0.0))
    return [one for one in found if not (one.reason or "").startswith(NOT_BEGUN)]


def cap_of(way: Way) -> float:
    """Return a cap that the plan fits, as far as its prices are known, and that does not pay for all that happens."""
    price, asked = PRICES[way.price], STRATEGIES[way.strategy]
    if way.price == "zero":
        return 0.0
    calls = len(GRAPH) * (1 if asked.strategy is None else len(asked.agents))
    if price.declared_usd is None or price.declared_usd < COST_USD:
        return 0.6 * COST_USD * calls
    return price.declared_usd * calls


@dataclass(kw_only=True)
class Session:
    """An engine for one way, with the stage it plays on."""

    way: Way
    engine: Engine
    stage: Stage
    ledger: Any
    budgets: list[Budget]

    def plan(self, names: Iterable[tuple[str, tuple[str, ...]]] = GRAPH) -> Plan:
        """Return the graph to run."""
        return Plan(request="", graph=TaskDAG(make_task(name, after) for name, after in names), planner="ways")


def make_task(name: str, after: Sequence[str] = ()) -> Task:
    """Return a task whose words name it, for models know nothing else of it."""
    return Task(task_id=name, task_type="work", description=name, depends_on=tuple(after))


def open_session(
    way: Way,
    stack: ExitStack,
    *,
    ledger: Any = None,
    stage: Stage | None = None,
    failing: tuple[str, ...] = ("odd",),
    hopeless: tuple[str, ...] = ("lost",),
    **options: Any,
) -> Session:
    """Return an engine whose agents work in this way. What is made for it ends with the stack."""
    asked, price = STRATEGIES[way.strategy], PRICES[way.price]
    if stage is None:
        folder = tempfile.mkdtemp(prefix="ways")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stalling = ("late",) if asked.stalls else ()
        stage = Stage(folder, way, failing=failing, hopeless=hopeless, stalling=stalling)
    ledger = ledger if ledger is not None else stack.enter_context(SqliteLedger(":memory:"))
    cards = [
        AgentCapability(
            agent_id=name,
            task_types=("work",),
            cost_usd=price.declared_usd,
            # What would be asked for where nothing better is known; and the first is the one to ask first.
            cost_tier="cheap",
            success_rate=0.95 - 0.05 * number,
        )
        for number, name in enumerate(asked.agents)
    ]
    limits = asked.limits
    if FAILURES[way.failure].waits or asked.stalls:  # a straggler that nothing is left to race would last
        limits = replace(limits, task_timeout_s=TASK_TIMEOUT_S, grace_s=0.1)
    prices = Path(stage.folder) / "prices.yaml"
    per_token = FREE if price.costs_usd == 0 else PRICE
    prices.write_text(
        yaml.safe_dump({"prices": {f"*{MODEL}": {"input": per_token.input_usd, "output": per_token.output_usd}}})
    )
    make = ADAPTERS[way.adapter].make
    if way.backend == "ray" and make is _plain:
        make = _plain_sent
    engine = Engine(
        make(stage, cards, stack),
        model="none",
        ledger=ledger,
        environ={"KAPELLE_PRICES": str(prices)},
        backend=ray_backend() if way.backend == "ray" else way.backend,
        limits=limits,
        **options,
    )
    if asked.strategy is not None:
        engine.router = FixedRouter(asked.strategy, asked.agents[0])  # type: ignore[assignment]  # see there
    budgets: list[Budget] = []
    execute = engine.executor.execute

    async def watched(*arguments: Any, **more: Any) -> Any:
        budgets.append(more["budget"])
        return await execute(*arguments, **more)

    engine.executor.execute = watched  # type: ignore[method-assign]  # what the account says is asked for below
    return Session(way=way, engine=engine, stage=stage, ledger=ledger, budgets=budgets)


@cache
def ray_backend() -> Any:
    """Return the one backend on Ray that all tests share: a process takes one cluster."""
    import ray

    from kapelle.execution import make_backend

    # Started here, as what a thread of an event loop has started ends with that loop, and each way has one of its own.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    return make_backend("ray")


@cache
def play(way: Way, budgeted: bool = True) -> Played:
    """Run the graph in this way, against a cap unless it is not to be `budgeted`, and return what came of it."""
    with ExitStack() as stack:
        session = open_session(way, stack)
        cap = cap_of(way) if budgeted else None
        heard: list[Event] = []
        listens: dict[str, Any] = {"on_text": lambda piece: None} if FAILURES[way.failure].streams else {}
        run: Run | None = None
        error: Exception | None = None
        try:
            run = asyncio.run(session.engine.run(session.plan(), budget_usd=cap, on_event=heard.append, **listens))
        except (KapelleError, InvalidInput) as problem:
            error = problem
        return Played(
            way=way,
            cap_usd=cap,
            run=run,
            read_back=None if run is None else session.ledger.run(run.run_id),
            error=error,
            calls=session.stage.calls(),
            outcomes=session.ledger.outcomes(),
            budget=session.budgets[-1] if session.budgets else None,
            heard=heard,
        )
