"""All that is known of a loop: read from its events alone, and changed by nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kapelle.agents.step_log import StepEvent
from kapelle.ledger import Usage
from kapelle.models import ToolCall


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """What the model said in one step."""

    step: int
    text: str
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Returned:
    """What one call gave."""

    step: int
    call_id: str
    name: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """What the loop itself told the model."""

    step: int
    text: str


Entry = Spoken | Returned | Noted


@dataclass(kw_only=True, slots=True)
class LoopState:
    """All that is known of a loop: the fold of its events."""

    step: int = 0
    """Calls of the model that have begun."""
    entries: list[Entry] = field(default_factory=list)
    """What the model sees after its task, in order. Only a compaction changes what stands here already."""
    loop: str = ""
    """Tells this loop from every other at the same task: it is in the keys of what its tools do."""
    begun: dict[str, int] = field(default_factory=dict)
    """How often each call has begun."""
    open_calls: dict[str, str] = field(default_factory=dict)
    """Calls that have begun and have not returned: their id, and the name of the tool."""
    awaited: bool = False
    """Whether a call of the model has begun and not ended."""
    awaited_usd: float = 0.0
    """What was set aside for it."""
    agent_state: str = ""
    unverified: bool = False
    """Whether something was changed since a check last passed."""
    marks: list[str] = field(default_factory=list)
    """Of all calls with their results, for the guard against circles."""
    warned_at: int = 0
    """How many marks there were at the guard's last warning; 0 if it has given none."""
    tool_calls: int = 0
    compactions: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    """Of calls of the model and of tools, as far as it was told."""
    ended: str | None = None
    todo: str = ""
    """The model's own list, as it last wrote it."""
    prefix: Mapping[str, Any] = field(default_factory=dict)
    """The fingerprint of what was last sent."""

    def take(self, event: StepEvent) -> None:
        """Take one event in."""
        data = event.data
        match event.kind:
            case "began":
                self.agent_state = str(data.get("state", self.agent_state))
                self.loop = str(data.get("loop", self.loop))
            case "asked":
                self.step, self.awaited, self.awaited_usd = event.step, True, float(data.get("reserved_usd", 0.0))
                self.prefix = data.get("prefix", self.prefix)
            case "replied":
                self._settle(data)
                calls = tuple(_read_call(call) for call in data.get("calls", ()))
                self.entries.append(Spoken(step=event.step, text=str(data.get("text", "")), calls=calls))
            case "unanswered":
                self._settle(data)
            case "called":
                call_id = str(data["call_id"])
                self.open_calls[call_id] = str(data["name"])
                self.begun[call_id] = self.begun.get(call_id, 0) + 1
                self.tool_calls += 1
            case "settled":
                self.open_calls.pop(str(data["call_id"]), None)
            case "returned":
                self.open_calls.pop(str(data["call_id"]), None)
                self.cost_usd += float(data.get("cost_usd", 0.0))
                self.usage += Usage(**data.get("usage", {}))
                self.entries.append(
                    Returned(
                        step=event.step,
                        call_id=str(data["call_id"]),
                        name=str(data["name"]),
                        text=str(data.get("text", "")),
                        is_error=bool(data.get("is_error", False)),
                    )
                )
                if data.get("acted"):
                    self.unverified = True
                elif data.get("verified"):
                    self.unverified = False
                if "mark" in data:
                    self._mark(str(data["mark"]), is_progress=bool(data.get("acted")) and not data.get("is_error"))
                self.todo = str(data.get("todo", self.todo))
            case "noted":
                self.entries.append(Noted(step=event.step, text=str(data["text"])))
                if data.get("warns"):
                    self.warned_at = len(self.marks)
            case "entered":
                self.agent_state = str(data["state"])
            case "compacted":
                self._settle(data)
                kept = self.entries[int(data["dropped"]) :]
                self.entries = [Noted(step=event.step, text=str(data["text"])), *kept]
                self.compactions += 1
            case "ended":
                self.ended = str(data.get("reason", ""))

    def _mark(self, mark: str, *, is_progress: bool) -> None:
        """Remember a call with its result. After something was done that was not done before, the same look at it, or
        the same test, is no circle."""
        if is_progress and mark not in self.marks:
            self.marks, self.warned_at = [], 0
        self.marks.append(mark)

    def _settle(self, data: Mapping[str, Any]) -> None:
        self.awaited = False
        self.usage += Usage(**data.get("usage", {}))
        self.cost_usd += float(data.get("cost_usd", 0.0))

    def unanswered_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls of the latest reply that have no result yet, in order."""
        latest = next((entry for entry in reversed(self.entries) if isinstance(entry, Spoken)), None)
        if latest is None:
            return ()
        have = {entry.call_id for entry in self.entries if isinstance(entry, Returned) and entry.step == latest.step}
        return tuple(call for call in latest.calls if call.call_id not in have)


def going_on(recorded: Sequence[StepEvent]) -> LoopState:
    """Return the state of the loop that was cut off; a new one if none was."""
    start = max((place + 1 for place, event in enumerate(recorded) if event.kind == "ended"), default=0)
    state = LoopState()
    for event in recorded[start:]:
        state.take(event)
    return state


def write_call(call: ToolCall) -> dict[str, Any]:
    """Return a call as an event keeps it."""
    told: dict[str, Any] = {"call_id": call.call_id, "name": call.name, "arguments": dict(call.arguments)}
    return told if call.written is None else told | {"written": call.written}


def _read_call(told: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        call_id=str(told["call_id"]),
        name=str(told["name"]),
        arguments=told.get("arguments", {}),
        written=told.get("written"),
    )
