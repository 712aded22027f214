"""Plans and patches in JSON, in the shapes that models give them; what a shape cannot mean is an error, never dropped.

{"tasks": [{"id": "s1", "type": "search", "inputs": {...}, "depends_on": [...]}]}      also nodes, steps, subtasks
{"nodes": [...], "edges": [["s1", "s2"], {"from": "s1", "to": "s2"}]}
{"tasks": {"s1": {...}, "s2": {...}}}      [{...}, {...}]      {"plan": {"tasks": ...}}      [{"tasks": ...}]
{"phases": [{"id": "p1", "subtasks": [...]}, {"id": "p2", "depends_on": ["p1"], "subtasks": [...]}]}
{"graph": "<graph>...</graph>"}            {"patch": {"add": [...], "replace": [...], "remove": [...]}}
{"id": "s1", ...}, alone or one after the other      {"name": "make_plan", "arguments": {"tasks": [...]}}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kapelle.errors import InvalidPlan

from .json_fields import EDGES, ID, INPUTS, LISTS, THOUGHTS, find_group, holds_tasks, looks_like_task
from .json_list import ListReader, is_in_words, json_object
from .loose_json import JsonObject, LooseJson
from .nodes import SECTIONS, FoundPatch, Node, Repairs

_IN_ORDER = ("phases", "stages", "levels")
"""Lists whose very name says that one follows the other."""
_LEVEL = re.compile(r"(?:phase|stage|level|step)[ _-]?\d+", re.IGNORECASE)
_ONE_TASK = re.compile(
    r"(?:final|last|first|next|additional|extra)_?(?:task|step|node|action)s?|then|finally", re.IGNORECASE
)
"""Fields beside the tasks that hold a task by their very name."""
_PATCH = ("add", "replace", "remove", "expand")
_ENVELOPES = (*INPUTS, "function", "function_call", "properties", "message")
"""Where a plan is the argument of a tool call, or the answer of a server."""
_START = re.compile(r"(?P<marker>\[\[\s*##[^\]\n]{0,80}##\s*\]\])|[\[{]")
_JSON_LIKE = re.compile(
    r"\{\s*(?:[\"'“”„‘}]|//|/\*|#|[A-Za-z_]\w*\s*:)|\[\s*(?:[\[{]|//|/\*|#|\"[^\"\n]{0,80}\"\s*,|\Z)"
)
_TALKS_OF_TASKS = re.compile(r"[\"'](?:id|task|tasks|type|depends_on|description)[\"']")
_LAST_COUNTS = re.compile(
    r"\b(?:final|finally|corrected|correct|revised|improved|updated|better|fixed|refined|instead)\b", re.IGNORECASE
)
_SEEN_BEFORE = 200
"""Characters before a plan, in which words may say that it is the final one."""


@dataclass(kw_only=True, slots=True)
class JsonPlan:
    """What one JSON value of a reply says."""

    line: int
    nodes: list[Node] | None = None
    xml: str = ""
    """A `<graph>` inside of the JSON."""
    patch: FoundPatch | None = None
    sections: dict[str, str] = field(default_factory=dict)
    lone: list[JsonObject] = field(default_factory=list)
    """The task that the value is, where it is one and no list of them."""
    is_open: bool = False
    """Whether nothing in it shows where it ends, as in JSON Lines: where a reply was cut off, tasks may be missing."""
    is_final: bool = False
    """Whether the words before it say that it replaces what came before."""

    @property
    def has_work(self) -> bool:
        """Whether it says what to do, and not only what was thought."""
        return self.nodes is not None or self.patch is not None or bool(self.xml or self.lone)


def find_json_plans(text: str, repairs: Repairs) -> list[JsonPlan]:
    """Return the plans and patches among the JSON values in a text, prose and fences around them left aside.

    Raises:
        InvalidPlan: what looks like a plan is malformed, ambiguous or cut off; the line is named.
    """
    found: list[JsonPlan] = []
    position, line, counted = 0, 1, 0
    while (start := _START.search(text, position)) is not None:
        line, counted = line + text.count("\n", counted, start.start()), start.start()
        if start["marker"] is not None or _JSON_LIKE.match(text, start.start()) is None:
            position = start.end()
            continue
        before = text[max(position, start.start() - _SEEN_BEFORE) : start.start()]
        try:
            value, position = LooseJson(text, start.start(), line, repairs).read()
        except InvalidPlan:
            if (
                any(plan.has_work for plan in found)
                and not any(plan.lone for plan in found)
                and not _TALKS_OF_TASKS.search(text, start.start())
            ):
                break  # brackets in the words after the plan
            raise
        plan = _Reader(repairs).read(value, line)
        if plan is not None:
            plan.is_final = _LAST_COUNTS.search(before) is not None
            found.append(plan)
    return _joined(found, repairs)


def read_plan_value(value: Any, repairs: Repairs) -> JsonPlan | None:
    """Return the plan in a value that was read from another notation, such as YAML; None if there is none."""
    plan = _Reader(repairs).read(value, 1)
    return None if plan is None else _joined([plan], repairs)[0]


def _joined(found: list[JsonPlan], repairs: Repairs) -> list[JsonPlan]:
    """Tasks that stand one after the other, as in JSON Lines, are one plan."""
    lone = [plan for plan in found if plan.lone]
    if not lone:
        return found
    items = [item for plan in lone for item in plan.lone]
    if len(items) > 1:
        repairs.note("Tasks that stood one after the other were taken for one plan")
    first = lone[0]
    first.nodes, first.lone = ListReader(repairs).read_nodes(items, f"line {first.line}"), []
    first.is_open = True
    return [plan for plan in found if plan is first or plan not in lone]


class _Reader:
    """Finds the plan in one JSON value."""

    def __init__(self, repairs: Repairs) -> None:
        self._repairs = repairs

    def _nodes(self, value: Any, place: str, around: JsonObject | None = None, *, in_order: bool = False) -> list[Node]:
        return ListReader(self._repairs).read_nodes(value, place, around, in_order=in_order)

    def read(self, value: Any, line: int) -> JsonPlan | None:
        """Return the plan that a value is or holds; None if it is none."""
        if isinstance(value, str):
            return self._read_text(value, line)
        if isinstance(value, list):
            if len(value) == 1 and isinstance(value[0], JsonObject):  # a list around the plan
                return self.read(value[0], line)
            if not any(isinstance(item, JsonObject) for item in value):
                return None
            return JsonPlan(line=line, nodes=self._nodes(value, f"line {line}"))
        return self._read_object(value, line) if isinstance(value, JsonObject) else None

    def _read_text(self, text: str, line: int) -> JsonPlan | None:
        """A plan that was written as a text inside of JSON."""
        if "<node" in text:
            return JsonPlan(line=line, xml=text)
        inner = _parsed(text, line, self._repairs)
        return None if inner is None else self.read(inner, line)

    def _read_object(self, value: JsonObject, line: int) -> JsonPlan | None:
        plan = JsonPlan(line=line)
        for name in (*SECTIONS, *THOUGHTS):
            if isinstance(value.get(name), str):
                plan.sections["think" if name in THOUGHTS else name] = value[name]
        if "patch" in value or any(name in value for name in _PATCH):
            plan.patch = _read_patch(value.get("patch", value), line, self._repairs)
            return plan
        held = {name: self._held(value[name], line) for name in LISTS if name in value}
        holders = [name for name, item in held.items() if isinstance(item, (list, JsonObject))]
        in_words = [name for name in holders if is_in_words(held[name])]
        if 0 < len(in_words) < len(holders):  # the plan as sentences, beside its tasks
            plan.sections.setdefault("think", "\n".join(str(said) for name in in_words for said in held[name]))
            holders = [name for name in holders if name not in in_words]
        texts = [name for name in (*LISTS, "xml") if isinstance(value.get(name), str) and "<node" in value[name]]
        if len(holders) + len(texts) > 1:
            both = " and ".join(map(repr, [*holders, *texts]))
            raise InvalidPlan(f"There are {both}. Put all tasks into one list 'tasks'.", place=f"line {value.line}")
        if texts:
            plan.xml = value[texts[0]]
            return plan
        if not holders:
            return self._read_other(value, line, plan)
        _refuse_more_work(value, holders[0])
        inner = held[holders[0]]
        if isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], JsonObject) and _holds_plan(inner[0]):
            inner = inner[0]  # a list around the plan
        if isinstance(inner, JsonObject) and _holds_plan(inner):
            nested = self.read(inner, inner.line)
            assert nested is not None
            nested.sections = {**plan.sections, **nested.sections}
            return nested
        plan.nodes = self._nodes(inner, repr(holders[0]), value, in_order=holders[0] in _IN_ORDER)
        return plan

    def _held(self, item: Any, line: int) -> Any:
        """A list of tasks may stand there as a text."""
        return (_parsed(item, line, self._repairs) or item) if isinstance(item, str) else item

    def _read_other(self, value: JsonObject, line: int, plan: JsonPlan) -> JsonPlan | None:
        """A mapping with no list of tasks: around a plan, a task by itself, or tasks by their names."""
        found = self._plans_in(value, line, [name for name in _ENVELOPES if name in value])
        for inner in found.values():
            if not inner.lone:
                return inner
        if looks_like_task(value):
            plan.lone = [value]
            return plan
        tasks = [item for item in value.values() if isinstance(item, JsonObject)]
        are_tasks = len(tasks) == len(value) and all(looks_like_task(task) or find_group(task) for task in tasks)
        if are_tasks and tasks and (len(tasks) > 1 or not find_group(tasks[0])):
            plan.nodes = self._nodes(value, f"line {line}", value, in_order=all(map(_LEVEL.fullmatch, value)))
            return plan
        lists = [item for item in value.values() if isinstance(item, list) and any(map(looks_like_task, item))]
        if len(lists) == len(value) > 1:
            groups = [json_object({"id": name, "tasks": item}, line) for name, item in value.items()]
            plan.nodes = self._nodes(groups, f"line {line}", value, in_order=all(map(_LEVEL.fullmatch, value)))
            return plan
        rest = [name for name in value if name not in _ENVELOPES and name not in THOUGHTS]
        found |= self._plans_in(value, line, rest)
        final = [name for name in found if _LAST_COUNTS.search(name.replace("_", " "))]
        if len(found) > 1 and len(final) != 1:
            both = " and ".join(map(repr, found))
            raise InvalidPlan(f"There are {both}. Put all tasks into one list 'tasks'.", place=f"line {value.line}")
        for name in final if len(found) > 1 else found:
            if len(found) > 1:
                self._repairs.note(f"Of several plans {name!r} was taken")
            found[name].sections = {**plan.sections, **found[name].sections}
            return found[name]
        return plan if plan.sections else None

    def _plans_in(self, value: JsonObject, line: int, names: Sequence[str]) -> dict[str, JsonPlan]:
        """The plans that these fields of a mapping hold."""
        found = {}
        for name in names:
            item = value[name]
            if isinstance(item, list) and not any(looks_like_task(part) or find_group(part) for part in item):
                item = item[0] if len(item) == 1 else None
            inner = self.read(item, line)
            if inner is not None and inner.has_work:
                found[name] = inner
        return found


def _parsed(text: str, line: int, repairs: Repairs) -> Any:
    """The value that a text holds as JSON; None if it holds none."""
    said = text.strip()
    if said[:1] + said[-1:] not in ("{}", "[]"):
        return None
    try:
        return LooseJson(said, 0, line, repairs).read()[0]
    except InvalidPlan:
        return None


def _holds_plan(value: JsonObject) -> bool:
    return any(isinstance(value.get(name), (list, JsonObject)) for name in LISTS) and not looks_like_task(value)


def _refuse_more_work(value: JsonObject, holder: str) -> None:
    """Tasks that stand beside the list of tasks would be lost."""
    for name, item in value.items():
        if name == holder or name in EDGES:
            continue
        if holds_tasks(item) or (_ONE_TASK.fullmatch(name) and item and not isinstance(item, bool)):
            raise InvalidPlan(
                f"There is {name!r} beside {holder!r}. Put all tasks into {holder!r}.", place=f"line {value.line}"
            )


def _read_patch(value: Any, line: int, repairs: Repairs) -> FoundPatch:
    patch = FoundPatch(line=line)
    if value is None:
        return patch
    if not isinstance(value, JsonObject):
        raise InvalidPlan(
            'A patch is a mapping with "add", "replace", "remove" and "expand", or null.', place=f"line {line}"
        )
    patch.line = value.line
    for name, item in value.items():
        if item is None or item == []:
            continue
        if name in ("add", "replace"):
            single = isinstance(item, JsonObject) and any(key in item for key in ID)
            getattr(patch, name).extend(ListReader(repairs).read_nodes([item] if single else item, repr(name)))
        elif name == "remove":
            patch.remove += [str(task_id) for task_id in (item if isinstance(item, list) else [item])]
        elif name == "expand" and isinstance(item, JsonObject):
            patch.expand.update({key: ListReader(repairs).read_nodes(nodes, repr(key)) for key, nodes in item.items()})
        elif not isinstance(item, (str, bool)) and name not in SECTIONS:
            raise InvalidPlan(
                f"A patch has no {name!r}. Use 'add', 'replace', 'remove', 'expand'.", place=f"line {value.line}"
            )
    return patch
