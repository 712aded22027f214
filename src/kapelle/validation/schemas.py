"""Do tasks fit the tools that they call: names, arguments, the parts of outputs that references name?

A tool's documentation is often behind the tool, so what only contradicts it is a warning. An error is a tool that does
not exist, and a call that fits another tool at hand better in a way that no outdated line explains.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from kapelle.errors import InvalidInput
from kapelle.graph import Task, find_references
from kapelle.language import split_name, stems_of

from .edit import Edit, redirect
from .issue import Issue

if TYPE_CHECKING:
    from kapelle.models import ToolDefinition
    from kapelle.planning import TaskText

FAR_BETTER = 2.0
"""How many times better another tool must fit a task's words before the named one is refused."""
BETTER = 1.4
"""The same, for a tool that no task calls."""
FITS = 0.25
"""Share of a tool's words that a task has to have for the tool to count as one that fits."""
_GIVERS = 4
"""Tasks that are kept of those that give a part: whether there is just one besides the two at hand needs no more."""

Tools: TypeAlias = "Iterable[ToolDefinition] | Mapping[str, ToolDefinition]"
"""Tools, in the forms that they come in."""


def as_tools(tools: Tools) -> dict[str, ToolDefinition]:
    """Return tools by name, whatever form they come in."""
    return {tool.name: tool for tool in (tools.values() if isinstance(tools, Mapping) else tools)}


def tool_words(tool: ToolDefinition) -> str:
    """Return a tool's name and description, as words."""
    return f"{split_name(tool.name)} {tool.description}"


def find_tool_faults(
    texts: Sequence[TaskText], tools: Mapping[str, ToolDefinition], other_types: frozenset[str] = frozenset()
) -> Iterator[Issue]:
    """Yield tasks whose tool does not exist or does not fit; `other_types` are kinds of work that need no tool."""
    if not tools:
        return
    lexicon = _Lexicon(tools)
    idle = frozenset(tools).difference(text.task.task_type for text in texts)
    for text in texts:
        task = text.task
        tool = tools.get(task.task_type)
        if tool is None and task.task_type not in other_types:
            yield _unknown_tool(text, tools, lexicon)
        elif tool is not None:
            better = _better_by_arguments(task, tool, tools) or lexicon.better_by_words(text, tool, tools, idle)
            if better is not None:
                yield Issue(
                    kind="schema",
                    severity="error",
                    task_id=task.task_id,
                    message=f"Task {task.task_id!r} calls {tool.name!r}, and does not read as a call of it.",
                    way_out=f"Call {better.name!r}, which fits far better.",
                    edit=_call_instead(task, better),
                )
            else:
                yield from _argument_doubts(task, tool)
    yield from _reference_doubts(texts, tools)


def _unknown_tool(text: TaskText, tools: Mapping[str, ToolDefinition], lexicon: _Lexicon) -> Issue:
    from difflib import SequenceMatcher  # only plans with a fault pay for it

    task = text.task
    ranked = sorted(
        tools.values(),
        key=lambda tool: (
            -argument_fit(task, tool),
            -lexicon.fit(text, tool),
            -SequenceMatcher(None, tool.name, task.task_type).ratio(),
            tool.name,
        ),
    )
    best = ranked[0]
    return Issue(
        kind="schema",
        severity="error",
        task_id=task.task_id,
        message=f"Task {task.task_id!r} calls {task.task_type!r}, and there is no such tool.",
        way_out=f"Call {best.name!r}, which fits best, or add the tool.",
        edit=_call_instead(task, best) if argument_fit(task, best) >= 0 else None,
    )


def _call_instead(task: Task, tool: ToolDefinition) -> Edit:
    return Edit.of(
        f"Let {task.task_id!r} call {tool.name!r} instead of {task.task_type!r}.",
        {task.task_id: [replace(task, task_type=tool.name)]},
    )


def argument_fit(task: Task, tool: ToolDefinition) -> float:
    """Return how well a task's inputs fit a tool's parameters, at most 1; 0 where nothing can be said."""
    if not task.inputs or not tool.properties:
        return 0.0
    known = sum(name in tool.properties for name in task.inputs)
    missing = len(tool.required.difference(task.inputs))
    return (known - (len(task.inputs) - known) - 2 * missing) / len(task.inputs)


def _better_by_arguments(
    task: Task, tool: ToolDefinition, tools: Mapping[str, ToolDefinition]
) -> ToolDefinition | None:
    """Return a tool that takes all that is given, where this one lacks a required argument or knows next to none."""
    if not task.inputs or not tool.properties:
        return None
    mine = argument_fit(task, tool)
    if mine >= 0.5 or (tool.required <= task.inputs.keys() and mine > 0):
        return None
    others = [(argument_fit(task, other), other) for other in tools.values() if other is not tool]
    best = max(others, key=lambda pair: (pair[0], pair[1].name), default=(0.0, tool))
    return best[1] if best[0] >= 0.5 and best[0] > mine + 0.5 else None


class _Lexicon:
    """Which words tell the tools apart."""

    def __init__(self, tools: Mapping[str, ToolDefinition]) -> None:
        self._stems = {name: (stems_of(split_name(name)), stems_of(tool.description)) for name, tool in tools.items()}
        self._counts = Counter(stem for names, words in self._stems.values() for stem in names | words)
        self._total = len(tools)

    def fit(self, text: TaskText, tool: ToolDefinition) -> float:
        """Return the share of a tool's telling words that a task has; words of its name count twice."""
        names, words = self._stems[tool.name]
        weights = {stem: self._weight(stem) * (2.0 if stem in names else 1.0) for stem in names | words}
        total = math.fsum(weights.values())
        return math.fsum(weight for stem, weight in weights.items() if stem in text.own) / total if total else 0.0

    def better_by_words(
        self, text: TaskText, tool: ToolDefinition, tools: Mapping[str, ToolDefinition], idle: frozenset[str]
    ) -> ToolDefinition | None:
        """Return a tool that fits what a task says better than the one it names; only where it says something.

        A tool that no task calls need not fit as much better as one that has its task already.
        """
        if text.task.inputs or len(text.own) < 3:
            return None
        mine = self.fit(text, tool)
        others = [(self.fit(text, other), other) for other in tools.values() if other is not tool]
        better = [
            (theirs, other.name)
            for theirs, other in others
            if theirs >= FITS and theirs > (BETTER if other.name in idle else FAR_BETTER) * mine
        ]
        return tools[max(better)[1]] if better else None

    def _weight(self, stem: str) -> float:
        return math.log((1 + self._total) / self._counts[stem])


def _argument_doubts(task: Task, tool: ToolDefinition) -> Iterator[Issue]:
    if not task.inputs or not tool.properties:
        return
    from kapelle.models import find_schema_problems  # for who has tools

    missing = sorted(tool.required.difference(task.inputs))
    unknown = [name for name in task.inputs if name not in tool.properties]
    literal = {
        name: value for name, value in task.inputs.items() if name in tool.properties and not find_references(value)
    }
    faults = [f"lacks {', '.join(map(repr, missing))}"] if missing else []
    faults += [f"has {', '.join(map(repr, unknown))}, which the tool does not take"] if unknown else []
    try:
        schema = {**tool.parameters, "required": [], "type": "object"}
        faults += find_schema_problems(literal, schema)[:3]
    except (InvalidInput, RecursionError, TypeError):
        pass  # the tool's own schema is broken, which is no fault of the plan
    if faults:
        yield Issue(
            kind="schema",
            severity="warning",
            task_id=task.task_id,
            message=f"Task {task.task_id!r} calls {tool.name!r} and {'; '.join(faults)}.",
            way_out="Give the arguments that the tool declares, or bring its description up to date.",
        )


def _reference_doubts(texts: Sequence[TaskText], tools: Mapping[str, ToolDefinition]) -> Iterator[Issue]:
    """References to parts that the other task's tool is not said to give."""
    by_id = {text.task.task_id: text.task for text in texts}
    givers: dict[str, list[Task]] = {}
    """By the part, in small letters, the first tasks whose tools give it."""
    from difflib import get_close_matches  # as above

    for one in by_id.values():
        known = tools.get(one.task_type)
        for output in dict.fromkeys(map(_plain_part, () if known is None else known.outputs)):
            some = givers.setdefault(output, [])
            if len(some) < _GIVERS:
                some.append(one)
    for text in texts:
        for reference in find_references(text.task.inputs):
            giver = by_id.get(reference.task_id)
            tool = tools.get(giver.task_type) if giver is not None else None
            part = next((step for step in reference.path if isinstance(step, str)), None)
            if giver is None or tool is None or not tool.outputs or part is None or gives(tool, part):
                continue
            some = givers.get(_plain_part(part), [])
            others = [other for other in some if other.task_id not in (giver.task_id, text.task.task_id)]
            close = get_close_matches(part, [*tool.outputs], n=1, cutoff=0.8)
            edit = None
            if len(others) == 1 and text.task.task_id not in others[0].dependencies:
                edit = Edit.of(
                    f"Let {text.task.task_id!r} take {part!r} from {others[0].task_id!r}, which gives it.",
                    {text.task.task_id: [redirect(text.task, {giver.task_id: others[0].task_id})]},
                )
            yield Issue(
                kind="schema",
                severity="warning",
                task_id=text.task.task_id,
                message=f"Task {text.task.task_id!r} refers to {reference}, and {tool.name!r} is not said to give it.",
                way_out=f"Did you mean {close[0]!r}?" if close else f"It gives {', '.join([*tool.outputs][:8])}.",
                edit=edit,
            )


def gives(tool: ToolDefinition, part: str) -> bool:
    """Whether a tool is said to give this part, directly or inside another."""
    return _plain_part(part) in map(_plain_part, tool.outputs)


def _plain_part(part: str) -> str:
    return part.replace("_", "").casefold()
