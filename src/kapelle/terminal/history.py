"""What happened to a run beside its tasks' own work: versions of its graph, questions, interruptions, new attempts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console

from kapelle.ledger import MAX_SHOWN_WORDS, Event, EventKind, Run, RunBuilder, TaskRun

from .cells import shorten, styled

MAX_HISTORY = 400
"""Lines of a run's history; of a longer one its beginning and its end are shown."""
_WAYS = frozenset({"backend", "hedge", "reflect", "replan", "explore"})
"""Settings of a run that are no limits."""


class Told(NamedTuple):
    """A line of a run's history."""

    at: float
    """Seconds since the epoch."""
    kind: EventKind
    """Of the event that it tells."""
    words: str


def tell_history(events: Iterable[Event]) -> tuple[Run, list[Told]]:
    """Return the run that these events tell, and what happened to it beside its tasks' own work: versions of its graph,
    questions, interruptions. Both are made in one go; of the events, the run has what RunBuilder leaves it.

    Raises:
        LedgerCorrupt: the events are not a run.
    """
    builder = RunBuilder(keeps_events=False)
    told = [Told(event.at, event.kind, words) for event, words in _tell_history(events, builder)]
    return builder.run(), told


def show_history(console: Console, told: Sequence[Told]) -> None:
    """Print what happened to a run, as `tell_history` tells it.

    A run that went through in one go has no such story, and nothing is printed.
    """
    if {one.kind for one in told} <= {"run_planned", "run_finished"}:
        return
    console.print("\nHistory:")
    left = max(0, len(told) - MAX_HISTORY)
    # How it ended is told last.
    shown = [*told[: MAX_HISTORY // 2], *told[-(MAX_HISTORY // 2) :]] if left else told
    for number, (at, _, words) in enumerate(shown):
        if left and number == MAX_HISTORY // 2:
            console.print(styled(f"  and {left:,} more, left out here"))
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
        console.print(styled(f"  {moment}  {' '.join(words.split())}"), soft_wrap=True)


def _tell_history(events: Iterable[Event], builder: RunBuilder) -> Iterator[tuple[Event, str]]:
    for event in events:
        before = builder.run() if event.kind == "run_resumed" else None
        builder.add(event)
        data = event.data
        match event.kind:
            case "run_planned" | "task_expanded" | "graph_patched":
                now = builder.now
                assert now is not None
                what = f"version {now.graph_version} of the graph, {_count(len(now.tasks), 'task')}"
                yield event, f"{what}: {_why_changed(event)}"
            case "plan_reassigned":
                yield event, tell_reassignment(event)
            case "run_resumed" if before is not None:
                yield event, tell_resumption(before, builder.run())
            case "run_waiting":
                yield event, "waits for a person"
            case "task_interrupted":
                yield event, f"{event.task_id} was cut off: {data['reason']}"
            case "task_asked":
                yield event, f"{event.task_id} asks ({data['question_id']}): {cut_words(data)}"
            case "question_answered":
                who = f" by {data['by']}" if data.get("by") else ""
                note = f" ({data['note']})" if data.get("note") else ""
                yield event, f"{event.task_id} was answered{who}: {_tell_answer(data.get('answer'))}{note}"
            case "attempt_finished" if data.get("retry_in_s") is not None:
                yield event, f"{event.task_id} is tried again: {data['reason']}"
            case "attempt_started" if data["attempt"] and data["step"] in ("fallback", "single"):
                now = builder.now
                assert now is not None
                yield event, f"{event.task_id}: {tell_attempt(now.tasks[event.task_id or ''])}"
            case "run_finished":
                yield event, f"{data['state']}{': ' + data['stop_reason'] if data.get('stop_reason') else ''}"
            case _:
                pass


def _why_changed(event: Event) -> str:
    match event.kind:
        case "task_expanded":
            return f"{event.task_id} was expanded"
        case "graph_patched":
            return f"{event.data['replaces']} was planned anew: {event.data['reason']}"
        case _:
            return f"planned ({event.data['planner']})"


def tell_reassignment(event: Event) -> str:
    """Say which tasks go to whom from then on, and why."""
    by_agent: dict[str, list[str]] = {}
    for task_id, agent in event.data["assignments"].items():
        by_agent.setdefault(agent, []).append(task_id)
    moves = "; ".join(f"{_list(names)} to {agent}" for agent, names in by_agent.items())
    return f"assigned anew: {moves}. {event.data['reason']}"


def tell_resumption(before: Run, after: Run) -> str:
    """Say where a run goes on: what is done, what was cut off, what is tried again, which limits are new."""
    states: dict[str, list[str]] = {}
    for task_id, task in before.tasks.items():
        states.setdefault(task.state, []).append(task_id)
    words = f"going on; {len(states.get('done', []))} of {_count(len(before.tasks), 'task')} are done already"
    if not before.tasks:
        words = "going on; nothing was planned yet"
    if cut_off := states.get("running"):
        words += f"; cut off: {_list(cut_off)}"
    if again := [name for name, task in after.tasks.items() if task.state != before.tasks[name].state]:
        words += f"; tried again: {_list(again)}"
    new = {name: value for name, value in after.settings.items() if before.settings.get(name) != value}
    for what, named in (("new limits", new.keys() - _WAYS), ("now with", new.keys() & _WAYS)):
        if named:
            words += f"; {what}: {', '.join(f'{name} {value}' for name, value in new.items() if name in named)}"
    return words


def tell_attempt(task: TaskRun) -> str:
    """Say what the newest attempt at a task is: a rival, a fallback, the same again, or a strategy's next step."""
    newest, earlier = task.attempts[-1], task.attempts[:-1]
    if newest.step == "fallback":
        return f"falls back to {newest.agent}"
    same = [one for one in earlier if one.agent == newest.agent]
    if any(one.state == "running" for one in same):
        return f"{newest.agent} is late and gets a rival"
    if same:
        return f"{newest.agent} tries again, attempt {len(same) + 1}"
    return f"{newest.step} {newest.agent}"


def _tell_answer(answer: object) -> str:
    words = {True: "yes", False: "no"}.get(answer) if isinstance(answer, bool) else None
    return words or shorten(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False), 200)


def cut_words(data: Mapping[str, Any]) -> str:
    """Return the words of a question, cut where they are long: `kapelle questions` shows the whole."""
    words = data["text"]
    left = len(words) - MAX_SHOWN_WORDS
    return words if left <= 0 else f"{words[:MAX_SHOWN_WORDS]} ... {left:,} characters more"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _list(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
