"""A loop does every call once, says why it ends, goes on where it was cut off, and spends no more than it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kapelle.agents import AgentResult, HumanAnswer, TaskContext
from kapelle.agents.loop import (
    LoopAgent,
    LoopLimits,
    Tool,
    ToolAnswer,
    ToolContext,
    WorkPlace,
    browser_tools,
    make_tool,
    workspace_tools,
)
from kapelle.agents.step_log import StepEvent, StepsInMemory
from kapelle.errors import AgentFailed, AskPerson, InvalidInput, KapelleError, ModelUnavailable
from kapelle.graph import Task
from kapelle.ledger import Usage
from kapelle.models import ModelReply, ModelRequest, ToolCall, ToolDefinition
from kapelle.testing import ScriptedModel
from kapelle.tools import ALLOWED_UNPROTECTED, AgentState, Sandbox, Workspace

TASK = Task(task_id="t", task_type="work", description="Do it.")
CONTEXT = TaskContext(run_id="r", request="All of it.", idempotency_key="r/t")


class Killed(BaseException):
    """The process is gone."""


class Counter:
    """A tool that remembers what it was called with."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], object] = lambda given: "ok") -> None:
        self.calls: list[Mapping[str, Any]] = []
        self.keys: list[str] = []
        self._answer = answer

    async def __call__(self, given: Mapping[str, Any], context: ToolContext) -> object:
        self.calls.append(given)
        self.keys.append(context.idempotency_key)
        return self._answer(given)

    def tool(self, name: str = "count", **more: Any) -> Tool:
        async def run(given: Mapping[str, Any], context: ToolContext) -> object:
            return await self(given, context)

        return make_tool(ToolDefinition(name=name), run, **{"has_effects": False, **more})


def asks(*calls: tuple[str, dict[str, Any]], text: str = "", ids: Sequence[str] | None = None) -> ModelReply:
    named = [
        ToolCall(call_id=ids[place] if ids else f"c{place}", name=name, arguments=arguments)
        for place, (name, arguments) in enumerate(calls)
    ]
    return ModelReply(
        text=text, tool_calls=tuple(named), usage=Usage(input_tokens=10, output_tokens=5, calls=1), cost_usd=0.01
    )


def play(
    replies: Sequence[str | ModelReply | Exception],
    *tools: Tool,
    log: StepsInMemory | None = None,
    context: TaskContext = CONTEXT,
    model: ScriptedModel | None = None,
    **options: Any,
) -> AgentResult:
    agent = LoopAgent(model or ScriptedModel(replies, cost_usd=0.01), tools=tools, **options)
    return asyncio.run(agent.run(TASK, replace(context, steps=log or StepsInMemory())))


def test_a_tool_is_called_and_its_result_is_what_the_model_sees_next() -> None:
    model = ScriptedModel([asks(("count", {"n": 1})), "Done."])
    result = play((), Counter(lambda given: {"seen": given["n"]}).tool(), model=model)
    assert result.output == "Done."
    assert model.requests[1].messages[-1].content == '{"seen": 1}'
    assert model.requests[1].messages[: len(model.requests[0].messages)] == model.requests[0].messages


def test_what_all_calls_used_and_cost_is_told() -> None:
    paid = make_tool(ToolDefinition(name="paid"), lambda given, context: ToolAnswer(text="x", cost_usd=0.5))
    result = play([asks(("paid", {})), "Done."], paid)
    assert result.cost_usd == pytest.approx(0.52)
    assert result.usage.calls == 2


@pytest.mark.parametrize("ids", [("same", "same"), ("", ""), ("c0-1-0", "c0")])
def test_calls_with_the_same_id_each_run_once_and_in_order(ids: Sequence[str]) -> None:
    counter, model = Counter(), ScriptedModel([asks(("count", {"n": 1}), ("count", {"n": 2}), ids=ids), "Done."])
    play((), counter.tool(), model=model)
    assert counter.calls == [{"n": 1}, {"n": 2}]
    sent = [call.call_id for message in model.requests[1].messages for call in message.tool_calls]
    results = [message.tool_call_id for message in model.requests[1].messages if message.role == "tool"]
    assert sent == results
    assert len(set(sent)) == 2


def test_an_answer_beside_calls_does_not_end_the_task() -> None:
    counter = Counter()
    result = play([asks(("count", {}), text="The answer is 7, surely."), "It is ok."], counter.tool())
    assert (result.output, len(counter.calls)) == ("It is ok.", 1)


def test_a_batch_over_the_limit_is_cut_before_it_starts_and_the_rest_is_told() -> None:
    counter = Counter()
    model = ScriptedModel([asks(*(("count", {"n": n}) for n in range(8))), "Done."])
    play((), counter.tool(), model=model, limits=LoopLimits(tool_calls=6))
    assert [call["n"] for call in counter.calls] == list(range(6))
    results = [message.content for message in model.requests[1].messages if message.role == "tool"]
    assert [text.startswith("Error: Not done") for text in results] == [False] * 6 + [True] * 2


ODD_CALLS: dict[str, tuple[tuple[str, dict[str, Any]], str]] = {
    "no such tool": (("fly", {}), "There is no tool 'fly'. There are: strict."),
    "a wrong type": (("strict", {"n": "many"}), "The arguments do not fit"),
    "a missing argument": (("strict", {}), "The arguments do not fit"),
}


@pytest.mark.parametrize("what", ODD_CALLS)
def test_a_call_that_is_none_is_an_error_that_the_model_sees(what: str) -> None:
    call, said = ODD_CALLS[what]
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    strict = make_tool(ToolDefinition(name="strict", parameters=parameters), lambda given, context: "ran")
    model = ScriptedModel([asks(call), "Done."])
    play((), strict, model=model)
    assert said in model.requests[1].messages[-1].content


def raises(given: Mapping[str, Any], context: ToolContext) -> object:
    raise ValueError("broken inside")


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


async def ends(given: Mapping[str, Any], context: ToolContext) -> object:
    raise SystemExit(3)


async def cancels(given: Mapping[str, Any], context: ToolContext) -> object:
    raise asyncio.CancelledError


async def hangs(given: Mapping[str, Any], context: ToolContext) -> object:
    await asyncio.sleep(3_600)
    return "late"


ODD_TOOLS: dict[str, tuple[Callable[..., object], str]] = {
    "raises": (raises, "odd failed: ValueError: broken inside"),
    "hangs": (hangs, "did not end within 0.05 seconds"),
    "gives a great deal": (lambda given, context: "x" * 10_000_000, "9,992,000 characters left out"),
    "gives what has no text": (lambda given, context: {1: object()}, "object"),
    "gives nothing": (lambda given, context: None, "null"),
    "gives an answer that is none": (lambda given, context: ToolAnswer(text=None), "null"),  # type: ignore[arg-type]
    "gives what breaks when it is told": (lambda given, context: [Broken()], "odd failed: RuntimeError"),
    "ends the program": (ends, "odd failed: SystemExit"),
    "cancels itself": (cancels, "cancelled itself"),
    "costs no number": (lambda given, context: ToolAnswer(text="x", cost_usd=float("nan")), "cost"),
    "earns": (lambda given, context: ToolAnswer(text="x", cost_usd=-10.0), "cost"),
}


@pytest.mark.parametrize("what", ODD_TOOLS)
def test_whatever_a_tool_does_the_task_goes_on(what: str) -> None:
    run, said = ODD_TOOLS[what]
    seconds = 0.05 if what == "hangs" else 20
    model = ScriptedModel([asks(("odd", {})), "Done."])
    odd = make_tool(ToolDefinition(name="odd"), run)
    assert play((), odd, model=model, limits=LoopLimits(tool_seconds=seconds)).output == "Done."
    assert said in model.requests[1].messages[-1].content
    assert len(model.requests[1].messages[-1].content) < 10_000


def test_a_long_result_is_kept_whole_in_a_file(tmp_path: Path) -> None:
    with Workspace(tmp_path / "files", kept=tmp_path / "kept") as workspace:
        long = make_tool(ToolDefinition(name="long"), lambda given, context: "begin" + "x" * 20_000 + "end")
        model = ScriptedModel([asks(("long", {})), "Done."])
        play((), long, model=model, place=lambda context: WorkPlace(workspace=workspace))
        seen = model.requests[1].messages[-1].content
        path = seen.partition("in the file ")[2].partition(" ")[0]
        assert seen.startswith("begin")
        assert seen.endswith("end")
        assert workspace.read(path) == "begin" + "x" * 20_000 + "end"


def endless(limits: LoopLimits | None = None, **more: Any) -> pytest.ExceptionInfo[AgentFailed]:
    class Endless(ScriptedModel):
        async def complete(self, request: ModelRequest, **options: Any) -> ModelReply:
            self.requests.append(request)
            self.cost_usd += 0.01
            return asks(("count", {"n": self.calls}))

    with pytest.raises(AgentFailed) as failed:
        play((), Counter().tool(), model=Endless(()), limits=limits, **more)
    return failed


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (LoopLimits(steps=5), "The limit of 5 steps was reached"),
        (LoopLimits(tokens=60), "The limit of 60 tokens was reached"),
        (LoopLimits(steps=10**6, seconds=0.05), "Its time of 0.05 seconds was over"),
    ],
)
def test_a_model_that_never_stops_is_ended_by_each_limit(limits: LoopLimits, said: str) -> None:
    error = endless(limits).value
    assert said in str(error)
    assert error.cost_usd == pytest.approx(0.01 * error.usage.calls)


CIRCLES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "the same": [("a", {})] * 12,
    "in turn": [("a", {}), ("b", {})] * 8,
    "with a success beside it": [one for n in range(12) for one in (("a", {}), ("b", {"n": n}))],
}


@pytest.mark.parametrize("how", CIRCLES)
def test_a_circle_is_warned_of_once_and_then_ended(how: str) -> None:
    model = ScriptedModel([asks(call, text=f"Attempt {place}.") for place, call in enumerate(CIRCLES[how])])
    with pytest.raises(AgentFailed, match="It went in a circle"):
        play((), Counter().tool("a"), Counter().tool("b"), model=model)
    warned = [m.content for m in model.requests[-1].messages if m.content.startswith("This is a circle")]
    assert len(warned) == 1


def test_replies_that_are_neither_call_nor_answer_end_the_task() -> None:
    with pytest.raises(AgentFailed, match="neither a call nor an answer") as failed:
        play([""] * 10, Counter().tool())
    assert failed.value.cost_usd == pytest.approx(0.05)


def test_what_is_missing_is_told_and_done_before_the_task_ends() -> None:
    counter = Counter()

    async def has_counted(answer: str, state: Any) -> str | None:
        return None if state.tool_calls else "Count first."

    result = play(["Done.", asks(("count", {})), "Done now."], counter.tool(), finish=[has_counted])
    assert (result.output, len(counter.calls)) == ("Done now.", 1)


# Money


class Priced(ScriptedModel):
    """A model of $1 a thousand output tokens, input free."""

    def bound_usd(self, *, input_tokens: int, output_tokens: int) -> float:
        return output_tokens / 1_000

    def affordable_tokens(self, usd: float, *, input_tokens: int, most: int) -> int:
        return min(most, int(usd * 1_000))


def test_no_call_is_made_that_what_is_left_does_not_pay_for() -> None:
    model = Priced([replace(asks(("count", {"n": n})), cost_usd=0.4) for n in range(9)])
    with pytest.raises(AgentFailed, match="do not pay for its input") as failed:
        play((), Counter().tool(), model=model, context=replace(CONTEXT, reserved_usd=1.0), limits=LoopLimits(usd=5.0))
    assert failed.value.cost_usd == pytest.approx(0.8 + 0.4 * (model.calls - 2))
    limits = [request.max_output_tokens for request in model.requests]
    assert limits == pytest.approx([1_000, 600, 200], abs=1)


# Cut off and gone on with


class CutOff(StepsInMemory):
    """A log whose process is killed before or after a write."""

    def __init__(self, at: int, *, after: bool) -> None:
        super().__init__()
        self._left, self._after = at, after

    async def write(self, *events: StepEvent) -> None:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Killed
        await super().write(*events)
        if self._left < 0:
            raise Killed


SCRIPT = (asks(("look", {}), ("act", {"n": 1}), ("look", {})), asks(("act", {"n": 2})), "Done.")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(12))
def test_a_loop_that_is_killed_anywhere_goes_on_and_repeats_no_side_effect(at: int, after: bool) -> None:
    act, look = Counter(), Counter()
    tools = (act.tool("act", has_effects=True), look.tool("look"))
    log, asked = CutOff(at, after=after), None
    try:
        result = play(SCRIPT, *tools, log=log)
    except Killed:
        calls = sum(event.kind == "replied" for event in log.recorded)
        try:
            result = play(SCRIPT[calls:], *tools, log=StepsInMemory(log.recorded))
        except AskPerson as question:
            asked = question
    if asked is not None:  # what a person is asked about was not repeated
        assert asked.arguments is not None
        assert asked.arguments["tool"] == "act"
        assert act.calls in ([], [{"n": 1}], [{"n": 1}, {"n": 2}])
        return
    assert result.output == "Done."
    assert act.calls == [{"n": 1}, {"n": 2}]
    assert 2 <= len(look.calls) <= 3


@pytest.mark.parametrize(("said", "runs"), [("do it again", 2), ("it was done", 1), ("it failed", 1)])
def test_what_a_person_says_of_a_call_that_was_cut_off_is_done(said: str, runs: int) -> None:
    act = Counter()
    begun = [
        StepEvent(kind="began", step=0),
        StepEvent(kind="asked", step=1),
        StepEvent(kind="replied", step=1, data={"calls": [{"call_id": "c0", "name": "act", "arguments": {}}]}),
        StepEvent(kind="called", step=1, data={"call_id": "c0", "name": "act"}),
    ]
    tool = act.tool("act", has_effects=True)
    act.calls.append({})
    with pytest.raises(AskPerson) as asked:
        play(["Done."], tool, log=StepsInMemory(begun))
    answer = HumanAnswer(
        question=asked.value.question, value=said, options=asked.value.options, arguments=asked.value.arguments
    )
    model = ScriptedModel(["Done."])
    context = replace(CONTEXT, answers=(answer,))
    assert play((), tool, log=StepsInMemory(begun), model=model, context=context).output == "Done."
    assert len(act.calls) == runs


def test_a_failure_of_the_model_loses_no_step_and_is_paid_once() -> None:
    counter, log = Counter(), StepsInMemory()
    with pytest.raises(ModelUnavailable) as failed:
        play([asks(("count", {})), ModelUnavailable("away", sent=False)], counter.tool(), log=log)
    assert failed.value.cost_usd == pytest.approx(0.01)
    result = play(["Done."], counter.tool(), log=log)
    assert (result.output, len(counter.calls)) == ("Done.", 1)
    assert result.cost_usd == pytest.approx(0.01)


def test_after_an_end_a_loop_begins_anew() -> None:
    counter, log = Counter(), StepsInMemory()
    with pytest.raises(AgentFailed, match="limit of 1 steps"):
        play([asks(("count", {}))], counter.tool(), log=log, limits=LoopLimits(steps=1))
    model = ScriptedModel(["Again."])
    assert play((), counter.tool(), log=log, model=model).output == "Again."
    assert len(model.requests[0].messages) == 2


def test_a_call_that_needs_approval_waits_for_it_and_is_made_once() -> None:
    counter, log = Counter(), StepsInMemory()
    tool = counter.tool("pay", has_effects=True, needs_approval=True)
    with pytest.raises(AskPerson) as asked:
        play([asks(("pay", {"usd": 5}))], tool, log=log)
    assert asked.value.kind == "approval"
    assert counter.calls == []
    said = HumanAnswer(question=asked.value.question, value=True, kind="approval", arguments=asked.value.arguments)
    play(["Done."], tool, log=log, context=replace(CONTEXT, answers=(said,)))
    assert counter.calls == [{"usd": 5}]


# Long conversations


def talk(n: int) -> list[ModelReply]:
    return [asks(("look", {"n": place}), text="w" * 400) for place in range(n)]


def test_each_result_follows_its_call_after_any_number_of_compactions() -> None:
    look = Counter(lambda given: f"{given['n']}" + "r" * 800)

    class Talker(ScriptedModel):
        async def complete(self, request: ModelRequest, **options: Any) -> ModelReply:
            self.requests.append(request)
            if request.messages[-1].content.startswith("The conversation is long"):
                return ModelReply(text=f"Summary {self.calls}.", usage=Usage(calls=1), cost_usd=0.05)
            steps = sum(not one.messages[-1].content.startswith("The conversation") for one in self.requests)
            if steps >= 60:
                return ModelReply(text="Done.", usage=Usage(calls=1))
            return asks(("look", {"n": steps}), text="w" * 400)

    model, log = Talker(()), StepsInMemory()
    limits = LoopLimits(context_tokens=3_000, steps=200)
    result = play((), look.tool("look"), model=model, limits=limits, log=log)
    compacted = [event for event in log.recorded if event.kind == "compacted"]
    assert result.output == "Done."
    assert len(compacted) > 3
    assert all(event.data["cost_usd"] == 0.05 for event in compacted)
    for request in model.requests:
        waiting: list[str] = []
        for message in request.messages:
            if message.role == "tool":
                assert waiting.pop(0) == message.tool_call_id
            else:
                assert not waiting
                waiting = [call.call_id for call in message.tool_calls]


def test_a_compaction_that_would_free_too_little_is_not_made() -> None:
    with pytest.raises(AgentFailed, match="a summary would free too little") as failed:
        play(talk(3), Counter().tool("look"), limits=LoopLimits(context_tokens=20))
    assert failed.value.usage.calls <= 2


def test_the_list_of_what_is_to_do_is_shown_again() -> None:
    todo = make_tool(ToolDefinition(name="todo"), lambda given, context: ToolAnswer(text="noted", todo="1. act"))
    model = ScriptedModel([asks(("todo", {})), *talk(3), "Done."])
    play((), todo, Counter().tool("look"), model=model, limits=LoopLimits(recite_every=3))
    assert any(message.content.endswith("1. act") for message in model.requests[3].messages)


def test_two_tools_of_one_name_are_refused_when_the_agent_is_made() -> None:
    with pytest.raises(InvalidInput, match="have the same name"):
        LoopAgent(ScriptedModel(()), tools=[Counter().tool("a"), Counter().tool("a")])


def test_two_runs_of_one_agent_begin_the_same() -> None:
    first, second = ScriptedModel(["Done."]), ScriptedModel(["Done."])
    play((), Counter().tool("b"), Counter().tool("a"), model=first)
    play((), Counter().tool("a"), Counter().tool("b"), model=second, context=replace(CONTEXT, run_id="other"))
    assert first.requests[0].messages == second.requests[0].messages
    assert first.requests[0].tools == second.requests[0].tools


# States


def states_of(log: StepsInMemory) -> list[str]:
    return [event.data["state"] for event in log.recorded if event.kind in ("began", "entered")]


def act(*replies: str | ModelReply, files: Workspace, **more: Any) -> tuple[AgentResult, StepsInMemory, ScriptedModel]:
    log, model = StepsInMemory(), ScriptedModel(replies)
    place = WorkPlace(workspace=files, sandbox=Sandbox(walls=ALLOWED_UNPROTECTED))
    more = {"start": AgentState.PLANNING, "place": lambda _: place, **more}
    result = play((), *workspace_tools(), model=model, log=log, **more)
    return result, log, model


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path / "files", kept=tmp_path / "kept") as workspace:
        yield workspace


WRITE = asks(("file_create", {"path": "a.txt", "content": "1"}))
PLAN = asks(("todo_update", {"content": "1. write a.txt"}))


def test_a_task_goes_from_its_plan_to_its_work_and_its_check(files: Workspace) -> None:
    check = asks(("verify", {"command": "test -s a.txt"}))
    result, log, model = act(PLAN, WRITE, "Written.", check, "Written, and checked.", files=files)
    assert result.output == "Written, and checked."
    assert states_of(log) == ["planning", "executing", "verifying"]
    assert files.read("a.txt") == "1"
    assert all(request.tools == model.requests[0].tools for request in model.requests)


def test_what_a_state_forbids_is_not_done_and_the_error_names_what_is_allowed(files: Workspace) -> None:
    _, log, model = act(WRITE, "I could not.", files=files)
    refused = model.requests[1].messages[-1].content
    assert "file_create is not allowed while PLANNING" in refused
    assert "file_list" in refused
    assert files.list() == ()
    assert not any(event.kind == "called" for event in log.recorded)


def test_a_check_that_fails_leads_back_to_work(files: Workspace) -> None:
    bad, good = (asks(("verify", {"command": f"grep -q {word} a.txt"})) for word in ("2", "1"))
    result, log, _ = act(PLAN, WRITE, "Done.", bad, WRITE, "Done.", good, "Done.", files=files)
    assert result.output == "Done."
    assert states_of(log) == ["planning", "executing", "verifying", "executing", "verifying"]


def test_an_answer_that_changed_nothing_needs_no_check(files: Workspace) -> None:
    result, log, model = act(asks(("file_list", {})), "It is empty.", files=files)
    assert (result.output, model.calls) == ("It is empty.", 2)
    assert states_of(log)[-1] == "verifying"


def test_the_documented_text_protocol_does_the_same(files: Workspace) -> None:
    plan = "First.\nACTION: UPDATE_TODO\nCONTENT: 1. write\n---END---"
    write = "ACTION: CREATE_FILE\nPATH: a.txt\nCONTENT:\n1\n---END---"
    check = "ACTION: VERIFY\nCOMMAND: test -s a.txt\n---END---"
    result, log, model = act(plan, write, "Done.", check, "Done.", files=files, as_text=True)
    assert (result.output, files.read("a.txt")) == ("Done.", "1")
    assert states_of(log) == ["planning", "executing", "verifying"]
    assert model.requests[0].tools == ()
    assert "ACTION: CREATE_FILE" in model.requests[0].messages[0].content


def test_what_a_state_allows_goes_out_as_names_and_the_tools_stay_as_they_are(files: Workspace) -> None:
    _, _, model = act(PLAN, WRITE, asks(("verify", {"command": "true"})), "Done.", files=files)
    allowed = [request.allowed_tools or frozenset() for request in model.requests]
    assert "file_create" not in allowed[0]
    assert "file_create" in allowed[1]
    assert all(request.tools == model.requests[0].tools for request in model.requests)


def test_a_conversation_that_only_grows_breaks_no_prompt_cache() -> None:
    log = StepsInMemory()
    play([asks(("count", {"n": n})) for n in range(5)] + ["Done."], Counter().tool(), log=log)
    asked = [event for event in log.recorded if event.kind == "asked"]
    assert len({event.data["prefix"]["tools"] for event in asked}) == 1
    assert not any("broken" in event.data for event in asked)


def test_what_breaks_the_prompt_cache_is_written_down_before_the_call() -> None:
    log = StepsInMemory()
    with pytest.raises(ModelUnavailable):
        play([asks(("count", {})), ModelUnavailable("away", sent=False)], Counter().tool(), log=log)
    play(["Done."], Counter().tool(), log=log, instructions="Changed meanwhile.")
    broken = [event.data["broken"] for event in log.recorded if "broken" in event.data]
    assert [one["part"] for one in broken] == ["system"]
    assert broken[0]["lost_tokens"] > 0


def test_arguments_go_back_as_the_model_wrote_them() -> None:
    written = '{"b": 1,  "a": 2}'
    call = ToolCall(call_id="c", name="count", arguments={"b": 1, "a": 2}, written=written)
    log, model = StepsInMemory(), ScriptedModel([ModelReply(text="", tool_calls=(call,)), "Done."])
    play((), Counter().tool(), model=model, log=log)
    sent = [one for message in model.requests[1].messages for one in message.tool_calls]
    assert [one.written for one in sent] == [written]


class Pages:
    """A browser that has one page."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def open(self, url: str) -> str:
        self.done.append(f"open {url}")
        return "Prices \u27e61 link: Apples\u27e7"

    async def click(self, number: int) -> str:
        self.done.append(f"click {number}")
        return "Apples cost 3."


def test_who_browses_has_the_browser_alone_and_says_what_was_found(files: Workspace) -> None:
    pages, log = Pages(), StepsInMemory()
    browse, click = asks(("browser_open", {"url": "https://example.org"})), asks(("browser_click", {"number": 1}))
    model = ScriptedModel([PLAN, browse, WRITE, click, "Apples cost 3.", WRITE, "3.", "3."])
    place = WorkPlace(workspace=files, browser=pages)  # type: ignore[arg-type]  # as much of one as is used
    tools = (*workspace_tools(), *browser_tools())
    result = play((), *tools, model=model, log=log, start=AgentState.PLANNING, place=lambda _: place)
    assert result.output == "3."
    assert pages.done == ["open https://example.org", "click 1"]
    assert states_of(log) == ["planning", "executing", "browsing", "executing", "verifying"]
    assert "file_create is not allowed while BROWSING" in model.requests[3].messages[-1].content


# Once is once


def test_one_approval_allows_one_call() -> None:
    counter, log = Counter(), StepsInMemory()
    tool = counter.tool("pay", has_effects=True, needs_approval=True)
    answers: list[HumanAnswer] = []
    script: list[str | ModelReply | Exception] = [asks(("pay", {"usd": 5})), asks(("pay", {"usd": 5})), "Done."]
    for left in (script, script[1:], script[2:]):
        try:
            play(left, tool, log=log, context=replace(CONTEXT, answers=tuple(answers)))
        except AskPerson as asked:
            answers.append(HumanAnswer(question=asked.question, value=True, kind="approval", arguments=asked.arguments))
    assert len(answers) == 2
    assert len({str(one.arguments) for one in answers}) == 2
    assert len(counter.calls) == 2


def test_a_call_that_is_cut_off_again_is_asked_about_again() -> None:
    tool = Counter().tool("act", has_effects=True)
    called = StepEvent(kind="called", step=1, data={"call_id": "c0", "name": "act"})
    log = StepsInMemory(
        [
            StepEvent(kind="began", step=0, data={"loop": "x"}),
            StepEvent(kind="asked", step=1),
            StepEvent(kind="replied", step=1, data={"calls": [{"call_id": "c0", "name": "act", "arguments": {}}]}),
            called,
        ]
    )
    questions = []
    for _ in range(2):
        with pytest.raises(AskPerson) as asked:
            play(["Done."], tool, log=log)
        questions.append(asked.value.arguments)
        log.recorded += [StepEvent(kind="settled", step=1, data={"call_id": "c0", "said": "do it again"}), called]
    assert questions[0] != questions[1]


def test_calls_of_two_loops_at_one_task_never_share_a_key() -> None:
    counter, log = Counter(), StepsInMemory()
    for usd in (5, 7):
        with pytest.raises(AgentFailed):
            play([asks(("count", {"usd": usd}), ids=[""])], counter.tool(), log=log, limits=LoopLimits(steps=1))
    assert len(set(counter.keys)) == 2


def test_a_tool_that_asks_a_person_is_called_anew_with_the_answer() -> None:
    async def choose(given: Mapping[str, Any], context: ToolContext) -> object:
        return context.run.ask("Which?", options=["red", "blue"])

    log = StepsInMemory()
    tool = make_tool(ToolDefinition(name="choose"), choose)
    with pytest.raises(AskPerson, match="Which"):
        play([asks(("choose", {}))], tool, log=log)
    said = HumanAnswer(question="Which?", value="red", options=("red", "blue"))
    model = ScriptedModel(["Done."])
    play((), tool, log=log, model=model, context=replace(CONTEXT, answers=(said,)))
    assert model.requests[0].messages[-1].content == "red"


def test_an_agent_that_tests_after_each_change_is_in_no_circle() -> None:
    edit, test = Counter().tool("edit", has_effects=True), Counter().tool("test")
    steps = [one for n in range(12) for one in (asks(("edit", {"n": n})), asks(("test", {})))]
    assert play([*steps, "Done."], edit, test).output == "Done."


def test_what_tools_used_is_told() -> None:
    used = ToolAnswer(text="x", usage=Usage(input_tokens=7, calls=1))
    tool = make_tool(ToolDefinition(name="paid"), lambda given, context: used)
    assert play([asks(("paid", {})), "Done."], tool).usage.input_tokens == 10 + 7 + 10


def test_a_client_that_raises_an_error_of_its_own_loses_no_cost() -> None:
    log = StepsInMemory()
    with pytest.raises(KapelleError) as failed:
        play([asks(("count", {})), RuntimeError("odd")], Counter().tool(), log=log)
    assert failed.value.sent
    assert [event.kind for event in log.recorded][-1] == "unanswered"


@pytest.mark.parametrize("wrong", [{"result_chars": 8e3}, {"result_chars": 1}, {"steps": 1.5}, {"usd": float("nan")}])
def test_a_limit_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="The limit"):
        LoopLimits(**wrong)
