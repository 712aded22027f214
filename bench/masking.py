"""What masking tools saves: recorded conversations replayed, with tools removed, reordered, or masked by name alone.

    python -m bench.masking [--data FILE] [--seed N] [--json]        FILE as in recorded traces

The conversations are those of agents of an airline with fourteen tools (tau-bench); their schemas are built from the
calls that are seen. A call of the model is in a state by this rule: EXECUTING where its reply asks for a tool that
changes a booking, VERIFYING in the reply to such a tool's result, else PLANNING. PLANNING and VERIFYING allow the tools
that look, think or hand over; EXECUTING allows all. Beside the recorded ones stand *made* conversations of at least 50
calls: recorded ones of one kind (by the sort of change that they make, or none) joined, one instruction in front.

    removed     the list of tools holds what the state allows
    reordered   the list is whole, and what the state allows stands first
    masked      the list is whole and sorted; the names go beside it

A provider is taken to keep every earlier prompt of a conversation, and to read the longest beginning that it knows, of
1,024 tokens or more, tool by tool and message by message; the rest is written at the provider's price for that. Tokens
are counted by `bound_tokens`, about a third too many. `prefix_share` is of the tokens of the call before, which all
could be read: what is. Dollars are for all that was sent and answered, at the prices of the table. That a model
chooses another tool where it is not told of the mask is not in it: the replies are the recorded ones.

The exit code is 1 where `prefix_share.masked` is below 0.98.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.recorded import BadData, find_recorded
from kapelle.ledger import Usage
from kapelle.models import Message, ModelRequest, PriceTable, ToolCall, ToolDefinition, bound_tokens, read_prefix

FILE = Path("traces") / "taubench-airline.jsonl.gz"
LEAST_TOKENS = 1_024
"""Of a prompt that a provider keeps: OpenAI's; Anthropic's and Gemini's begin there, too, and go up to 4,096."""
MADE_CALLS = 50
TARGET = 0.98
MODELS = {
    "openai": "openai:gpt-6.1-sol",
    "anthropic": "anthropic:claude-sonnet-5-5",
    "gemini": "google:gemini-4-argon",
}
CHANGES = ("book_", "cancel_", "send_", "update_")
"""What tools that change a booking begin with."""

Way = Literal["removed", "reordered", "masked"]
State = Literal["PLANNING", "EXECUTING", "VERIFYING"]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One conversation."""

    name: str
    kind: str
    messages: tuple[Message, ...]
    is_made: bool = False

    def calls(self) -> Iterator[tuple[int, State]]:
        """Yield the place of every reply of the model, with the state that it was asked in."""
        acted = False
        for place, message in enumerate(self.messages):
            if message.role != "assistant":
                continue
            acts = any(changes(call.name) for call in message.tool_calls)
            yield place, "EXECUTING" if acts else "VERIFYING" if acted else "PLANNING"
            acted = acts


@dataclass(kw_only=True)
class Total:
    """What the calls of some conversations came to."""

    reusable: int = 0
    """Tokens of the calls before, all of which could be read from the cache."""
    reread: int = 0
    """What of that was the same."""
    sent: int = 0
    usd: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def share(self) -> float:
        return self.reread / self.reusable if self.reusable else 1.0


def changes(tool: str) -> bool:
    """Whether a tool changes a booking."""
    return tool.startswith(CHANGES)


def read_traces(path: Path) -> list[Trace]:
    """Return the recorded conversations.

    Raises:
        BadData: the file is missing or is something else.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [_read_trace(json.loads(line)) for line in file]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path} cannot be read: {error!r}") from error


def _read_trace(row: Mapping[str, Any]) -> Trace:
    messages = tuple(map(_read_message, row["traj"]))
    made = {call.name.split("_")[0] for message in messages for call in message.tool_calls if changes(call.name)}
    kind = "+".join(sorted(made)) or "none"
    return Trace(name=f"{row['task_id']}/{row['trial']}", kind=kind, messages=messages)


def _read_message(told: Mapping[str, Any]) -> Message:
    calls = tuple(
        ToolCall(
            call_id=call["id"],
            name=call["function"]["name"],
            arguments=json.loads(call["function"]["arguments"]),
            written=call["function"]["arguments"],
        )
        for call in told.get("tool_calls") or ()
    )
    return Message(
        role=told["role"], content=told["content"] or "", tool_calls=calls, tool_call_id=told.get("tool_call_id")
    )


def join_traces(traces: Sequence[Trace], chance: random.Random) -> list[Trace]:
    """Return conversations of `MADE_CALLS` calls or more, each joined of recorded ones of one kind."""
    by_kind: dict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        by_kind[trace.kind].append(trace)
    made: list[Trace] = []
    for kind, alike in sorted(by_kind.items()):
        waiting = chance.sample(alike, len(alike))
        messages: list[Message] = []
        for trace in waiting:
            messages += trace.messages if not messages else trace.messages[1:]
            if sum(message.role == "assistant" for message in messages) >= MADE_CALLS:
                made.append(Trace(name=f"made {len(made)}", kind=kind, messages=tuple(messages), is_made=True))
                messages = []
    return made


def build_tools(traces: Sequence[Trace]) -> tuple[ToolDefinition, ...]:
    """Return the tools that are called, sorted, with the arguments that are seen."""
    words = {str: "string", int: "integer", float: "number", list: "array", dict: "object", bool: "boolean"}
    seen: dict[str, dict[str, Any]] = defaultdict(dict)
    for trace in traces:
        for message in trace.messages:
            for call in message.tool_calls:
                arguments = seen[call.name]
                for name, value in call.arguments.items():
                    arguments[name] = {
                        "type": words[type(value)],
                        "description": f"The {name.replace('_', ' ')}.",
                    }
    definitions = [
        ToolDefinition(
            name=name,
            description=f"{name.replace('_', ' ').capitalize()}.",
            parameters={"type": "object", "properties": dict(sorted(arguments.items())), "required": sorted(arguments)},
        )
        for name, arguments in seen.items()
    ]
    return tuple(sorted(definitions, key=lambda tool: tool.name))


def list_tools(way: Way, state: State, tools: Sequence[ToolDefinition]) -> tuple[ToolDefinition, ...]:
    """Return what a call is sent as its list of tools."""
    allowed = [tool for tool in tools if state == "EXECUTING" or not changes(tool.name)]
    if way == "removed":
        return tuple(allowed)
    if way == "reordered":
        return (*allowed, *(tool for tool in tools if tool not in allowed))
    return tuple(tools)


def replay(traces: Sequence[Trace], tools: Sequence[ToolDefinition], way: Way, prices: PriceTable) -> Total:
    """Return what the conversations come to, when their tools are sent in this way."""
    total = Total()
    parts_of: Callable[[ToolDefinition], tuple[str, int]] = _remembering(_tool_part)
    for trace in traces:
        # The fingerprint of a message does not depend on what follows: it is read once.
        whole = read_prefix(ModelRequest(messages=trace.messages), model="bench")
        fixed = [(part.digest, part.tokens) for part in whole.parts]
        leading = len(fixed) - (len(trace.messages) - 1)
        known: list[list[tuple[str, int]]] = []
        for place, state in trace.calls():
            asked = [parts_of(tool) for tool in list_tools(way, state, tools)] + fixed[: leading + place - 1]
            size = _tokens(asked)
            read = max((_tokens(_shared(asked, earlier)) for earlier in known), default=0)
            read = read if read >= LEAST_TOKENS else 0
            if known:
                total.reusable += _tokens(known[-1])
                total.reread += min(read, _tokens(known[-1]))
            total.sent += size
            usage = Usage(input_tokens=size, cached_tokens=read, output_tokens=fixed[leading + place - 1][1])
            for provider, model in MODELS.items():
                total.usd[provider] += prices.cost_usd(model, usage, cache_written_tokens=size - read)
            known.append(asked)
    return total


def _tool_part(tool: ToolDefinition) -> tuple[str, int]:
    text = json.dumps([tool.name, tool.description, tool.parameters])
    return text, bound_tokens(text)


def _remembering(make: Callable[[ToolDefinition], tuple[str, int]]) -> Callable[[ToolDefinition], tuple[str, int]]:
    made: dict[str, tuple[str, int]] = {}

    def remembered(tool: ToolDefinition) -> tuple[str, int]:
        if tool.name not in made:
            made[tool.name] = make(tool)
        return made[tool.name]

    return remembered


def _shared(left: Sequence[tuple[str, int]], right: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return left[:count]


def _tokens(parts: Sequence[tuple[str, int]]) -> int:
    return sum(tokens for _, tokens in parts)


def measure(path: Path, *, seed: int) -> dict[str, Any]:
    """Return the figures."""
    recorded = read_traces(path)
    tools, prices = build_tools(recorded), PriceTable()
    made = join_traces(recorded, random.Random(seed))
    ways: tuple[Way, ...] = ("removed", "reordered", "masked")
    figures: dict[str, Any] = {"recorded": len(recorded), "made": len(made), "tools": len(tools), "models": MODELS}
    for name, traces in (("", recorded), ("made_", made)):
        totals = {way: replay(traces, tools, way, prices) for way in ways}
        figures[f"{name}calls"] = sum(len(list(trace.calls())) for trace in traces)
        figures[f"{name}prefix_share"] = {way: round(total.share, 4) for way, total in totals.items()}
        figures[f"{name}tokens"] = {way: total.sent for way, total in totals.items()}
        figures[f"{name}usd"] = {
            provider: {way: round(total.usd[provider], 4) for way, total in totals.items()} for provider in MODELS
        }
    return figures


def find_file() -> Path:
    """Return where the recorded conversations are."""
    return find_recorded(str(FILE))[0]


def show(figures: Mapping[str, Any]) -> None:
    """Print the figures for people."""
    for name, title in (("", f"{figures['recorded']} recorded"), ("made_", f"{figures['made']} made, joined of them")):
        print(f"{title}: {figures[f'{name}calls']:,} calls, {figures['tools']} tools")
        print(f"{'':30}{'removed':>12}{'reordered':>12}{'masked':>12}")
        shares = figures[f"{name}prefix_share"].values()
        print(f"{'share of the prefix':30}" + "".join(f"{share:12.1%}" for share in shares))
        for provider, model in MODELS.items():
            dollars = figures[f"{name}usd"][provider].values()
            print(f"{'$ ' + model:30}" + "".join(f"{usd:12.2f}" for usd in dollars))


def main() -> None:
    """Measure, print, and end with 1 where masking does not keep the prefix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="recorded conversations")
    parser.add_argument("--seed", type=int, default=0, help="which conversations are joined")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    try:
        figures = measure(options.data or find_file(), seed=options.seed)
    except BadData as error:
        print(f"bench.masking: {error}", file=sys.stderr)
        sys.exit(2)
    show(figures)
    if options.json:
        print(json.dumps(figures))
    sys.exit(0 if figures["prefix_share"]["masked"] >= TARGET else 1)


if __name__ == "__main__":
    main()
