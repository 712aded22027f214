"""Does the plan end where the request wants to go: outputs that nobody uses, a question that no last task answers?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kapelle.graph import Task, escape_braces

from .coverage import TaskText, is_yes_no_question, stems_of
from .coverage.clauses import GENERIC
from .coverage.reading import split_name
from .edit import Edit
from .issue import Issue
from .schemas import ToolSignature, gives

_QUESTION = re.compile(
    r"^\W*(?:(?:in|of|at|on|by|for|to|from|during|with)\s+)?(?:what|which|who|whom|whose|when|where|how|why)\b", re.I
)
_INVERTED = re.compile(
    r"(?:^|[,;:.]|\b(?:and|then|but)(?=\s))\W{0,9}(?:is|are|was|were|am|do|does|did|has|have|had|can|could|would|will|should|shall|may|might|"
    r"must|s)(?:n['’]?t)?\s",
    re.IGNORECASE,
)
_WHETHER = re.compile(r"\b(?:whether|yes or no|true or false|or not)\b", re.IGNORECASE)


def find_goal_faults(texts: Sequence[TaskText], request: str, tools: Mapping[str, ToolSignature]) -> Iterator[Issue]:
    """Yield why the tasks, all done, would not give what was asked for."""
    if not texts or not request:
        return
    if not tools and is_yes_no_question(request):
        yield from _undecided(texts, request)
    if tools and any(text.task.references for text in texts):  # else nothing says what a step could be given
        yield from _tools_left_out(texts, request, tools)


def _undecided(texts: Sequence[TaskText], request: str) -> Iterator[Issue]:
    """Yield that a request asks whether something is so, and nothing at the end of the plan says so."""
    used = {other for text in texts for other in text.task.dependencies}
    ends = [text for text in texts if text.task.task_id not in used]
    if len(ends) > 1:
        some = ", ".join(repr(text.task.task_id) for text in ends[:5])
        message = f"The request is one question, and nothing brings together the outputs of {some}."
    elif ends and _asks_for_something(ends[0]):
        message = f"The request asks whether, and the last task, {ends[0].task.task_id!r}, asks for something else."
    else:
        return
    yield Issue(
        kind="goal",
        severity="error",
        message=message,
        way_out="Add a last task that decides, from these outputs.",
        edit=_conclude(texts, [text.task for text in ends], request),
    )


def _asks_for_something(text: TaskText) -> bool:
    """Whether a task asks what, who, when: surely no question that yes or no answers."""
    said = text.text.strip(" ;")
    return bool(_QUESTION.match(said)) and not _INVERTED.search(said) and not _WHETHER.search(said)


def _conclude(texts: Sequence[TaskText], ends: Sequence[Task], request: str) -> Edit:
    taken = {text.task.task_id for text in texts}
    kinds = [task.task_type for task in ends]
    given = "; ".join(f"{{{task.task_id}}}" for task in ends)
    task = Task(
        task_id=free_id("conclusion", taken),
        task_type=max(sorted(set(kinds)), key=kinds.count),
        description=request.strip(),
        inputs={"query": f"{escape_braces(request.strip())} Given: {given}"},
    )
    return Edit.of("Add a task that answers the request from the outputs that nobody uses.", add=[task])


def free_id(wish: str, taken: set[str]) -> str:
    """Return the wish, or the wish with a number, so that it is no id there is."""
    if wish not in taken:
        return wish
    return next(f"{wish}-{number}" for number in range(2, len(taken) + 3) if f"{wish}-{number}" not in taken)


def _tools_left_out(texts: Sequence[TaskText], request: str, tools: Mapping[str, ToolSignature]) -> Iterator[Issue]:
    """Yield words of the request that a tool is named for which no task calls, and nothing in the plan speaks of.

    Sure only where the plan holds all that the tool needs: then a step is missing, and this is it.
    """
    called = {text.task.task_type for text in texts}
    known = frozenset[str]().union(*(text.stems for text in texts))
    asked = stems_of(request) - GENERIC - known
    named: dict[str, list[ToolSignature]] = {}
    for tool in sorted(tools.values(), key=lambda one: one.name):
        for word in asked & stems_of(split_name(tool.name)) if tool.name not in called else ():
            named.setdefault(word, []).append(tool)
    for word in sorted(named):
        bound = [(tool, inputs) for tool in named[word] if (inputs := _bind(tool, texts, tools)) is not None]
        tool, inputs = bound[0] if bound else (named[word][0], None)
        edit = None
        if inputs is not None:
            new = Task(
                task_id=free_id("added", {text.task.task_id for text in texts}), task_type=tool.name, inputs=inputs
            )
            edit = Edit.of(f"Add a task that calls {tool.name!r}.", add=[new])
        yield Issue(
            kind="goal",
            severity="warning" if edit is None else "error",
            message=f"The request speaks of {word!r}, as {tool.name!r} does, and no task does.",
            way_out=f"Add a task that calls {tool.name!r}, if that is meant.",
            edit=edit,
        )


def _bind(tool: ToolSignature, texts: Sequence[TaskText], tools: Mapping[str, ToolSignature]) -> dict[str, Any] | None:
    """Return the tool's required arguments as the plan has them: outputs of tasks, or what others are given."""
    inputs: dict[str, Any] = {}
    for name in sorted(tool.required):
        giver = next(
            (text.task for text in texts if (known := tools.get(text.task.task_type)) and gives(known, name)), None
        )
        if giver is not None:
            inputs[name] = f"{{{giver.task_id}.{name}}}"
            continue
        same = next((text.task.inputs[name] for text in texts if name in text.task.inputs), None)
        if same is None:
            return None
        inputs[name] = same
    refers = any(isinstance(value, str) and value.startswith("{") for value in inputs.values())
    return inputs if refers else None
