"""Plans and patches in JSON, in the shapes that models give them; what a shape cannot mean is an error, never dropped.

    {"tasks": [{"id": "s1", "type": "search", "inputs": {...}, "depends_on": [...]}]}      also nodes, steps, subtasks
    {"nodes": [...], "edges": [["s1", "s2"], {"from": "s1", "to": "s2"}]}
    {"tasks": {"s1": {...}, "s2": {...}}}      [{...}, {...}]      {"plan": {"tasks": ...}}      [{"tasks": ...}]
    {"phases": [{"id": "p1", "subtasks": [...]}, {"id": "p2", "depends_on": ["p1"], "subtasks": [...]}]}
    {"graph": "<graph>...</graph>"}            {"patch": {"add": [...], "replace": [...], "remove": [...]}}
    {"id": "s1", ...}, alone or one after the other      {"name": "make_plan", "arguments": {"tasks": [...]}}

A task may say its work as a call: `"function": "search(\\"capital of France\\")"`. What stands beside its inputs is an
input too; remarks about a task (why, status) are kept in its metadata. Both leave a note.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from kapelle.errors import InvalidPlan
from kapelle.graph import names_a_part

from .found import SECTIONS, FoundPatch
from .loose_json import JsonObject, LooseJson
from .nodes import Node, Repairs, is_whole_call

_LISTS = (
    "tasks", "nodes", "steps", "subtasks", "sub_tasks", "graph", "plan", "dag", "task_graph", "phases", "stages",
    "sub_steps", "substeps", "children", "actions", "workflow", "task_list", "levels",
)  # fmt: skip
_IN_ORDER = ("phases", "stages", "levels")
"""Lists whose very name says that one follows the other."""
_ORDERS = (
    "execution_order", "order", "sequence", "schedule", "batches", "waves", "parallel_groups", "execution_levels",
)  # fmt: skip
"""Lists of ids beside the tasks: what runs together, and what after it."""
_LEVEL = re.compile(r"(?:phase|stage|level|step)[ _-]?\d+", re.IGNORECASE)
_GROUPS = ("parallel", "branches", "sequence")
"""Where a step of a list holds tasks of its own, beside the names of lists."""
_LEVELS_OF = {"priority": re.compile(r"-?\d+"), "risk": re.compile("low|medium|high"),
    "on_failure": re.compile("skip|fail|continue"), "approval": re.compile("true|false"),
    "deadline": re.compile(r"\d+(?:\.\d+)?")}  # fmt: skip
"""What these fields of a task may say; other words are no setting."""
_EDGES = ("edges", "links", "dependencies", "dependency_graph", "graph_edges", "task_dependencies")
_ONE_TASK = re.compile(
    r"(?:final|last|first|next|additional|extra)_?(?:task|step|node|action)s?|then|finally", re.IGNORECASE
)
"""Fields beside the tasks that hold a task by their very name."""
_PATCH = ("add", "replace", "remove", "expand")
_THOUGHTS = ("think", "thought", "thoughts", "reasoning", "analysis")
_ID = ("id", "task_id", "node_id", "step_id", "taskId", "ID", "Id")
_TYPE = ("type", "task_type", "tool", "tool_name", "function", "action", "operation", "call", "kind")
_DESCRIPTION = ("description", "task", "text", "content", "instruction", "instructions", "desc", "title", "goal")
_INPUTS = ("inputs", "input", "args", "arguments", "parameters", "params", "action_input", "tool_input", "kwargs")
_DEPENDS = (
    "depends_on", "depends", "dependencies", "deps", "dependsOn", "dep", "after", "dependency", "prerequisites",
    "predecessors", "needs", "blocked_by", "blockedBy", "wait_for", "waits_for", "parents", "upstream",
)  # fmt: skip
_NAMES_OF_TASK = ("task", "name", "step", "node", "from", "on", "target", "source", "$ref", "ref", "key")
"""Where a mapping names the task that is waited for, beside its id."""
_NO_NAME = re.compile(
    r"\s{0,9}(?:n\.?/?a\.?|[-–—]{1,9}|\[\s{0,9}\]|\{\s{0,9}\}|nothing|undefined|null|none|nil|independent|"
    r"(?:no|none|without)\s{1,9}(?:\w{1,30}\s{1,9})?(?:dependenc(?:y|ies)|prerequisites?))\s{0,9}\.?\s{0,9}",
    re.IGNORECASE,
)
"""How models write that a task waits for nothing."""
_BEFORE_NAMES = re.compile(
    r"\b(?:(?:steps?|tasks?|nodes?)\s+(?=\d)|(?:after|both|waits? for|depends on)\s+)", re.IGNORECASE
)
_NUMBERED_ID = re.compile(r"[#$]?(?:[A-Za-z]{1,8}[_-]?)?\d{1,3}")
_SKILLS = ("requirements", "requires", "skills")
_DEADLINE = ("deadline_s", "deadline")
_CARRIED = ("priority", "risk", "on_failure", "approval")
_REMARKS = frozenset({
    "why", "reason", "rationale", "note", "notes", "comment", "comments", "status", "state", "parallel", "level",
    "step", "step_number", "number", "order", "expected_output", "output", "outputs", "result", "estimated_time",
    "estimated_duration", "duration", "agent", "agent_id", "assigned_to", "assignee", "strategy", "timeout_s",
    "retries", "priority", "risk", "on_failure", "optional", "required", "confidence", "complexity",
    "estimated_cost", "estimated_cost_usd", "cost_estimate", "cost_usd", "estimated_tokens", "max_tokens", *_THOUGHTS,
})  # fmt: skip
"""What is said about a task, or is the user's to order: no part of its work."""
_STEERS = frozenset({
    "condition", "conditions", "if", "run_if", "when", "unless", "repeat", "loop", "while", "until", "for_each",
    "foreach", "iterate_over",
})  # fmt: skip
"""What would have a task run sometimes, or several times: no task here does."""
_IDLE = frozenset({"always", "true", "false", "none", "no", "never", "1"})
"""What these fields say where they ask for nothing."""
_TAUGHT = frozenset({"query", "question", "sql", "code", "expression"})
"""Inputs that prompts name. That they stand beside the inputs needs no note."""
_ENVELOPES = (*_INPUTS, "function", "function_call", "properties", "message")
"""Where a plan is the argument of a tool call, or the answer of a server."""
_NO_KIND = frozenset({"function", "tool", "tool_use", "tool_call", "function_call", "action", "call", "task", "step"})
"""Types that only say that something is done."""
_GROUP_KINDS = _NO_KIND | {
    "group", "phase", "stage", "level", "parallel", "sequential", "sequence", "compound", "expand",
}  # fmt: skip
"""Types that say no more than that there are tasks inside."""
_START = re.compile(r"(?P<marker>\[\[\s*##[^\]\n]{0,80}##\s*\]\])|[\[{]")
_JSON_LIKE = re.compile(
    r"\{\s*(?:[\"'“”„‘}]|//|/\*|#|[A-Za-z_]\w*\s*:)|\[\s*(?:[\[{]|//|/\*|#|\"[^\"\n]{0,80}\"\s*,|\Z)"
)
_TALKS_OF_TASKS = re.compile(r"[\"'](?:id|task|tasks|type|depends_on|description)[\"']")
_LAST_COUNTS = re.compile(
    r"\b(?:final|finally|corrected|correct|revised|improved|updated|better|fixed|refined|instead)\b", re.IGNORECASE
)
_EDGE_TEXT = re.compile(r"\s*([\w-]{1,128}?)\s*-{1,9}>\s*([\w-]+)\s*")
_TASK_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
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
                any(map(_has_work, found))
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
    first.nodes, first.lone = _Reader(repairs).read_nodes(items, f"line {first.line}"), []
    first.is_open = True
    return [plan for plan in found if plan is first or plan not in lone]


def _has_work(plan: JsonPlan) -> bool:
    return plan.nodes is not None or plan.patch is not None or bool(plan.xml or plan.lone)


@dataclass(kw_only=True, slots=True)
class _Group:
    """A phase: tasks that together are one step of a plan."""

    name: str
    title: str
    nodes: list[Node]
    depends: list[str]
    is_inner: bool = False
    """Whether it is a part of another."""


class _Reader:
    """Makes nodes of one JSON value."""

    def __init__(self, repairs: Repairs) -> None:
        self._repairs = repairs
        self._groups: list[_Group] = []
        self._says_depends = False
        """Whether any task or group has a field for what it waits for."""

    def read(self, value: Any, line: int) -> JsonPlan | None:
        """Return the plan that a value is or holds; None if it is none."""
        if isinstance(value, str):
            return self._read_text(value, line)
        if isinstance(value, list):
            if len(value) == 1 and isinstance(value[0], JsonObject):  # a list around the plan
                return self.read(value[0], line)
            if not any(isinstance(item, JsonObject) for item in value):
                return None
            return JsonPlan(line=line, nodes=self.read_nodes(value, f"line {line}"))
        return self._read_object(value, line) if isinstance(value, JsonObject) else None

    def _read_text(self, text: str, line: int) -> JsonPlan | None:
        """A plan that was written as a text inside of JSON."""
        if "<node" in text:
            return JsonPlan(line=line, xml=text)
        inner = _parsed(text, line, self._repairs)
        return None if inner is None else self.read(inner, line)

    def _read_object(self, value: JsonObject, line: int) -> JsonPlan | None:
        plan = JsonPlan(line=line)
        for name in (*SECTIONS, *_THOUGHTS):
            if isinstance(value.get(name), str):
                plan.sections["think" if name in _THOUGHTS else name] = value[name]
        if "patch" in value or any(name in value for name in _PATCH):
            plan.patch = _read_patch(value.get("patch", value), line, self._repairs)
            return plan
        held = {name: self._held(value[name], line) for name in _LISTS if name in value}
        holders = [name for name, item in held.items() if isinstance(item, (list, JsonObject))]
        in_words = [name for name in holders if _is_in_words(held[name])]
        if 0 < len(in_words) < len(holders):  # the plan as sentences, beside its tasks
            plan.sections.setdefault("think", "\n".join(str(said) for name in in_words for said in held[name]))
            holders = [name for name in holders if name not in in_words]
        texts = [name for name in (*_LISTS, "xml") if isinstance(value.get(name), str) and "<node" in value[name]]
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
        plan.nodes = self.read_nodes(inner, repr(holders[0]), value, in_order=holders[0] in _IN_ORDER)
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
        if _looks_like_task(value):
            plan.lone = [value]
            return plan
        tasks = [item for item in value.values() if isinstance(item, JsonObject)]
        are_tasks = len(tasks) == len(value) and all(_looks_like_task(task) or _find_group(task) for task in tasks)
        if are_tasks and tasks and (len(tasks) > 1 or not _find_group(tasks[0])):
            plan.nodes = self.read_nodes(value, f"line {line}", value, in_order=all(map(_LEVEL.fullmatch, value)))
            return plan
        lists = [item for item in value.values() if isinstance(item, list) and any(map(_looks_like_task, item))]
        if len(lists) == len(value) > 1:
            groups = [_object({"id": name, "tasks": item}, line) for name, item in value.items()]
            plan.nodes = self.read_nodes(groups, f"line {line}", value, in_order=all(map(_LEVEL.fullmatch, value)))
            return plan
        rest = [name for name in value if name not in _ENVELOPES and name not in _THOUGHTS]
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
            if isinstance(item, list) and not any(_looks_like_task(part) or _find_group(part) for part in item):
                item = item[0] if len(item) == 1 else None
            inner = self.read(item, line)
            if inner is not None and _has_work(inner):
                found[name] = inner
        return found

    def read_nodes(
        self, value: Any, place: str, around: Mapping[str, Any] | None = None, *, in_order: bool = False
    ) -> list[Node]:
        """Return the nodes of a list of tasks, or of a mapping of them by id; groups among them are taken apart."""
        nodes = self._read_items(value, place)
        if around is not None and not self._groups:
            _add_edges(nodes, around)
            self._put_in_order(nodes, around)
            _refuse_unread_order(nodes, around)
        if self._groups:
            self._take_apart(nodes, around, in_order=in_order)
        _rename_given(nodes)
        return nodes

    def _put_in_order(self, nodes: list[Node], around: Mapping[str, Any]) -> None:
        """Give tasks that wait for nothing what a list of ids beside them says."""
        own = {node.task_id: node for node in nodes}
        if any(_depends_of(node) or _refers(node, set(own)) for node in nodes):
            return
        for name in _ORDERS:
            levels = _read_levels(around.get(name))
            if not own.keys() & {task_id for level in levels for task_id in level}:
                continue
            if sorted(task_id for level in levels for task_id in level) != sorted(own):
                raise InvalidPlan(
                    f"{name!r} beside the tasks does not say what each of them waits for. Say it in 'depends_on'.",
                    place=f"line {getattr(around, 'line', 1)}",
                )
            for earlier, later in pairwise(levels):
                for task_id in later:
                    own[task_id].attributes["depends"] = ",".join(earlier)
            self._repairs.note(f"What tasks wait for was read from {name!r}")
            return

    def _read_items(self, value: Any, place: str) -> list[Node]:
        if _is_in_words(value) and len(value) > 1 and not any(_refers_or_calls(said) for said in value):
            before: list[list[str]] = [[], *([f"s{number}"] for number in range(1, len(value)))]
            value = [_object({"description": said, "depends_on": b}, 1) for said, b in zip(value, before, strict=True)]
            self._repairs.note("Sentences were taken to follow one another")
        items = _named(_unwrapped(value, place))
        nodes: list[Node] = []
        self._says_depends |= any(name in item for item in items for name in _DEPENDS)
        for item in items:
            key = _find_group(item)
            if key is None:
                nodes.append(_read_node(item, self._repairs))
                continue
            known = len(self._groups)
            group = self._read_group(item, key, taken={node.task_id for node in nodes})
            for inner in self._groups[known:]:
                inner.is_inner = True
            self._groups.append(group)
            nodes += group.nodes
        return nodes

    def _read_group(self, item: JsonObject, key: str, *, taken: set[str]) -> _Group:
        fields = dict(item)
        inner = fields.pop(key)
        name = _take(fields, (*_ID, "name", "phase", "title"))
        place = f"line {item.line}, group {name!r}"
        title = _take(fields, ("description", "title", "name", "goal", "task"))
        kind = _take(fields, _TYPE)
        worked = [said for said in (*_INPUTS, *_TAUGHT) if fields.get(said)]
        if worked or (kind is not None and str(kind).lower() not in _GROUP_KINDS):
            said = repr(worked[0]) if worked else f"the type {kind!r}"
            raise InvalidPlan(f"It has {said}, and {key!r} as well: it is a task or a group. Say one.", place=place)
        group_id = clean_id(str(name)) if name is not None else f"group{len(self._groups) + 1}"
        group = _Group(
            name=group_id,
            title=str(title or name or group_id),
            nodes=self._read_items(inner, place),
            depends=_take_names(fields),
        )
        _add_edges(group.nodes, fields)
        own = [node.task_id for node in group.nodes]
        if taken.intersection(own):  # every group numbers its tasks anew
            _rename(group.nodes, {task_id: f"{group.name}_{task_id}" for task_id in own})
            self._repairs.note("Tasks of a group were named after it, as others had their ids", group.name)
        return group

    def _take_apart(self, nodes: list[Node], around: Mapping[str, Any] | None, *, in_order: bool) -> None:
        """Give what groups wait for to their first tasks, and what waits for a group its last ones."""
        groups = {group.name: group for group in self._groups}
        for before, after in _read_edges(around) if around is not None else ():
            if after in groups:
                groups[after].depends.append(before)
            else:
                _add_edge(nodes, before, after, line=1)
        is_said = any(group.depends or _waits_outside(group.nodes) for group in self._groups)
        is_steps = around is not None and any(name in around for name in ("steps", "sub_steps", "substeps"))
        if (in_order or (is_steps and not self._says_depends)) and not is_said:
            outer = [group for group in self._groups if not group.is_inner]
            for earlier, later in pairwise(outer):
                later.depends.append(earlier.name)
            self._repairs.note("Phases were taken to follow one another")

        def meant(name: str) -> list[str]:
            return _last_of(groups[name].nodes) if name in groups else [name]

        firsts = {group.name: _first_of(group.nodes) for group in self._groups}
        for node in nodes:
            depends = _depends_of(node)
            if any(name in groups for name in depends):
                node.attributes["depends"] = ",".join(dict.fromkeys(one for name in depends for one in meant(name)))
        for group in self._groups:
            awaited = [one for name in group.depends for one in meant(name)]
            for node in firsts[group.name] if awaited else ():
                node.attributes["depends"] = ",".join(dict.fromkeys([*_depends_of(node), *awaited]))
            self._repairs.note(f"The group {group.title[:60]!r} was taken apart into its tasks")
        alone = {name: _last_of(group.nodes) for name, group in groups.items()}
        _rename(nodes, {name: last[0] for name, last in alone.items() if len(last) == 1}, ids=False)
        self._groups = []


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
    return any(isinstance(value.get(name), (list, JsonObject)) for name in _LISTS) and not _looks_like_task(value)


def _looks_like_task(value: Any) -> bool:
    if not isinstance(value, JsonObject):
        return False
    has_id, has_kind = any(name in value for name in _ID), any(name in value for name in _TYPE)
    has_inputs = any(name in value for name in (*_INPUTS, *_DEPENDS, *_TAUGHT))
    has_work = has_inputs or any(name in value for name in _DESCRIPTION)
    return (has_id and (has_kind or has_work)) or (has_kind and has_work) or ("name" in value and has_inputs)


def _find_group(item: Any) -> str | None:
    """The name of the field in which a step holds tasks of its own; None if it is a task."""
    if not isinstance(item, JsonObject):
        return None
    for name in (*_LISTS, *_GROUPS):
        inner = item.get(name)
        parts = list(inner.values()) if isinstance(inner, JsonObject) else inner
        if isinstance(parts, list) and parts and all(isinstance(part, JsonObject) for part in parts):
            return name
    return None


def _is_in_words(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(part, str) for part in item)


def _refuse_more_work(value: JsonObject, holder: str) -> None:
    """Tasks that stand beside the list of tasks would be lost."""
    for name, item in value.items():
        if name == holder or name in _EDGES:
            continue
        if _holds_tasks(item) or (_ONE_TASK.fullmatch(name) and item and not isinstance(item, bool)):
            raise InvalidPlan(
                f"There is {name!r} beside {holder!r}. Put all tasks into {holder!r}.", place=f"line {value.line}"
            )


def _holds_tasks(item: Any) -> bool:
    items = item if isinstance(item, list) else [item]
    return any(isinstance(part, JsonObject) and (set(part) & {*_ID, *_TYPE, *_DEPENDS}) for part in items)


def _unwrapped(value: Any, place: str) -> list[JsonObject]:
    """The tasks as mappings, whatever they stand in: by id, each in a mapping of its own, as calls or sentences."""
    if isinstance(value, JsonObject):
        if _looks_like_task(value) and not any(map(_looks_like_task, value.values())):
            return [value]
        only = next(iter(value.values()), None)
        if len(value) == 1 and isinstance(only, list):
            return _unwrapped(only, place)
        return [_with_id(task_id, item, value.line) for task_id, item in value.items() if item is not None]
    if value and all(isinstance(item, str) for item in value):
        return [_object({"call" if is_whole_call(item.strip()) else "description": item}, 1) for item in value]
    items = []
    for position, item in enumerate(value):
        if not isinstance(item, JsonObject):
            raise InvalidPlan(
                f"Item {position + 1} of the tasks is {json.dumps(item)[:40]}, not a task. "
                'Write {"id": "s1", "type": "...", "inputs": {...}}.',
                place=place,
            )
        name, inner = next(iter(item.items()), ("", None))
        if len(item) == 1 and isinstance(inner, JsonObject) and not {name} & {"function", *_LISTS}:
            item = inner if name in ("task", "node", "step", "item") else _with_id(name, inner, item.line)
        items.append(item)
    return items


def _named(items: list[JsonObject]) -> list[JsonObject]:
    """The items with ids: their own; else their names, where each has another; else numbers."""
    if not items or any(any(name in item for name in _ID) for item in items):
        return items
    names = [item["name"].strip() for item in items if isinstance(item.get("name"), str)]
    say_more = all(any(name in item for name in (*_TYPE, *_DESCRIPTION, *_LISTS)) for item in items)
    if say_more and all(names) and len(set(names)) == len(items):
        return [_with_id(name, item, item.line) for name, item in zip(names, items, strict=True)]
    numbers = [number for item in items for number in _numbers(item)]
    own = any(position in _numbers(item) for position, item in enumerate(items, start=1))
    first = 0 if numbers and (0 in numbers or own) else 1  # who counts from zero says so
    return [_with_id(f"s{position}", item, item.line) for position, item in enumerate(items, start=first)]


def _numbers(item: JsonObject) -> list[int]:
    given = _take(dict(item), _DEPENDS)
    return [word for word in (given if isinstance(given, list) else [given]) if type(word) is int]


def _object(fields: Mapping[str, Any], line: int) -> JsonObject:
    made = JsonObject(fields)
    made.line = line
    return made


def _with_id(task_id: str, item: Any, line: int) -> JsonObject:
    if isinstance(item, str) and item.strip():
        item = _object({"call" if is_whole_call(item.strip()) else "description": item}, line)
    if not isinstance(item, JsonObject):
        raise InvalidPlan(f"{task_id!r} is no task. Give a mapping.", place=f"line {line}")
    return _object({"id": task_id, **item}, item.line)


def clean_id(text: str) -> str:
    """Return an id that a task may have: the same one, if it may; a number stays one, for `tidy_node` to name."""
    name = text.strip().strip("#$<>{}\"'` ")
    name = re.sub(r"(?<=\w)\.(?:answer|output|result|text)\Z", "", name)
    if not _TASK_ID.fullmatch(name):
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or f"t{zlib.crc32(text.encode()):x}"
    if names_a_part(name):
        name = name.replace("_from_", "_of_")
    return f"s{name}" if not name.isdigit() and not re.match(r"[A-Za-z_]", name) else name[:128]


def _read_node(item: JsonObject, repairs: Repairs) -> Node:
    fields = dict(item)
    given = _take_text(fields, _ID, item)
    task_id = clean_id(given)
    place = f"line {item.line}, node {task_id!r}"
    if task_id != given.lstrip("#$").strip("{}"):
        repairs.note("Ids were written as ids of tasks are", task_id)
    node = Node(line=item.line, attributes={"id": task_id}, names=[given])
    attributes = node.attributes
    # Our own word for it is never a call, so that our own JSON means what it says.
    may_call = "task_type" not in fields
    node.is_loose = may_call
    kind, inputs = _read_work(fields)
    description = _take(fields, _DESCRIPTION)
    if isinstance(fields.get("name"), str):
        name = fields.pop("name")
        node.names.append(name)
        description = name if description is None and " " in name.strip() and name.strip() != kind else description
    if isinstance(kind, list) and len(kind) == 1:
        kind = kind[0]
    for what, text in (("type", kind), ("description", description)):
        if text is not None and not isinstance(text, str):
            raise InvalidPlan(f"The {what} is {json.dumps(text)[:40]}. Give a text.", place=place)
    if kind is None and description is not None and inputs is None and is_whole_call(description.strip()):
        kind, description = description, None
    node.names += [text for text in (description, kind, fields.get("title")) if isinstance(text, str)]
    _read_depends(fields, attributes)
    values: dict[str, Any] = {}
    if may_call and kind is not None and inputs is None and "(" in kind and not any(key in fields for key in _TAUGHT):
        node.text = kind.strip()
    else:
        attributes["type"] = kind if kind is not None else "task"
        values = _read_inputs(inputs, place)
    if description:
        attributes["escaped_description"] = json.dumps(description)
    _read_rest(fields, node, values, repairs, place)
    if values:
        attributes["inputs"] = json.dumps(values)
    if not attributes.get("type", "x").isprintable():
        raise InvalidPlan(f"The type {attributes['type'][:40]!r} holds odd characters.", place=place)
    return node


def _read_work(fields: dict[str, Any]) -> tuple[Any, Any]:
    """Take a task's type and inputs out of its fields."""
    kind = _take(fields, _TYPE)
    if (
        isinstance(kind, str)
        and kind.strip().lower() in _NO_KIND
        and any(fields.get(name) for name in (*_TYPE, "name"))
    ):
        kind = _take(fields, _TYPE)  # {"type": "function", "function": ...}
    inputs = _take(fields, _INPUTS)
    if isinstance(kind, JsonObject):  # as in the tool calls of providers: {"name": ..., "arguments": ...}
        called: JsonObject = kind
        kind, inputs = called.get("name"), _take(dict(called), _INPUTS) if inputs is None else inputs
    task = fields.get("task")
    if kind is None and isinstance(task, str) and re.fullmatch(r"\s*[A-Za-z]\w*\s*", task):
        kind = fields.pop("task").strip()
    if kind is None and isinstance(fields.get("name"), str) and " " not in fields["name"].strip():
        kind = fields.pop("name")
    return kind, inputs


def _read_rest(fields: dict[str, Any], node: Node, values: dict[str, Any], repairs: Repairs, place: str) -> None:
    """Read what stands beside a task's work. What nobody knows is an input, or a remark, and never lost."""
    attributes = node.attributes
    skills = _take(fields, _SKILLS)
    if skills:
        attributes["requires"] = json.dumps(skills if isinstance(skills, list) else [skills])
    for name, keys in (("deadline", _DEADLINE), *((name, (name,)) for name in _CARRIED)):
        value = _take(fields, keys)
        said = value if isinstance(value, str) else json.dumps(value)
        if value is not None and (_LEVELS_OF[name].fullmatch(said.strip().lower()) or not isinstance(value, str)):
            attributes[name] = said.strip().lower() if isinstance(value, str) else said
        elif value:
            fields[name] = value  # words: "high", "in two days"
    if isinstance(fields.get("needs"), str):
        attributes["needs"] = fields.pop("needs")
    metadata = _take(fields, ("metadata",)) or {}
    if not isinstance(metadata, JsonObject) and metadata:
        raise InvalidPlan("The metadata is no mapping.", place=place)
    kept = dict(metadata)
    for name, value in fields.items():
        if value is None or value == "" or value == [] or value == {}:
            continue
        if name not in _REMARKS and (name in _LISTS or _holds_tasks(value)) and _holds_tasks(value):
            raise InvalidPlan(f"It holds tasks of its own in {name!r}. Put them into 'subtasks'.", place=place)
        if name in _STEERS and not (isinstance(value, (bool, int, str)) and str(value).strip().lower() in _IDLE):
            raise InvalidPlan(
                f"It has {name!r}, and a task runs once, as soon as what it waits for is done. Say it in the "
                "description, plan the tasks that are sure, or leave it out.",
                place=place,
            )
        if name in _REMARKS or name in _STEERS or node.text:
            kept[name] = value
            repairs.note(f"What {name!r} says was kept as a remark", node.task_id)
        elif values.get(name, value) != value:
            raise InvalidPlan(f"It says {name!r} twice, in its inputs and beside them. Keep one.", place=place)
        else:
            values[name] = value
            if name not in _TAUGHT:
                repairs.note(f"The field {name!r} was read as an input", node.task_id)
    if kept:
        attributes["metadata"] = json.dumps(kept)


def _read_inputs(inputs: Any, place: str) -> dict[str, Any]:
    if isinstance(inputs, str) and inputs.lstrip().startswith("{") and inputs.rstrip().endswith("}"):
        try:
            parsed = json.loads(inputs)
        except (ValueError, RecursionError):
            parsed = None
        inputs = parsed if isinstance(parsed, dict) else inputs
    if inputs is None:
        return {}
    if isinstance(inputs, dict):
        if set(inputs) == {"name", "value"} and isinstance(inputs["name"], str):
            return {inputs["name"]: inputs["value"]}
        return dict(inputs)
    if isinstance(inputs, str):
        return {"query": inputs} if inputs else {}
    if isinstance(inputs, list):
        pairs = [_read_pair(item) for item in inputs]
        if pairs and None not in pairs:
            named = [pair for pair in pairs if pair is not None]
            if len(dict(named)) < len({json.dumps(pair) for pair in named}):
                raise InvalidPlan("Two of its inputs have the same name, and say different things.", place=place)
            return dict(named)
        if len(inputs) == 1 and isinstance(inputs[0], str):
            return {"query": inputs[0]}
        return {f"arg{position}": item for position, item in enumerate(inputs, start=1)}
    raise InvalidPlan(f"The inputs are {json.dumps(inputs)[:40]}. Give a mapping.", place=place)


def _read_pair(item: Any) -> tuple[str, Any] | None:
    """`{"name": "query", "value": ...}`, or `{"query": ...}`."""
    if not isinstance(item, dict):
        return None
    if len(item) == 1:
        return next(iter((str(name), value) for name, value in item.items()))
    for name in ("name", "key", "parameter", "argument"):
        if len(item) == 2 and isinstance(item.get(name), str) and "value" in item:
            return item[name], item["value"]
    return None


def _read_depends(fields: dict[str, Any], attributes: dict[str, str]) -> None:
    needs = fields.pop("needs") if fields.get("needs") in ("all", "some") else None
    names = _take_names(fields)
    if names:
        attributes["depends"] = ",".join(names)
    if needs is not None:
        fields["needs"] = needs


def _take_names(fields: dict[str, Any]) -> list[str]:
    """Take what a task waits for out of its fields: all that say so, and not the first alone."""
    names: list[str] = []
    is_first = True
    for name in _DEPENDS:
        given = fields.get(name)
        words = re.split(r"[\s,;]+|\band\b", given.strip()) if isinstance(given, str) else []
        # Beside another, a text of words such as "after": "the war" is an input.
        if given is None or (not is_first and not all(_NUMBERED_ID.fullmatch(word) for word in words if word)):
            continue
        names += _read_names(fields.pop(name))
        is_first = False
    return list(dict.fromkeys(names))


def _read_names(given: Any) -> list[str]:
    """The ids in a list of them, or in a text.

    Raises:
        InvalidPlan: a mapping among them names no task.
    """
    if isinstance(given, JsonObject):
        held = _take(dict(given), ("tasks", "ids", "all", "any"))
        named = any(name in given for name in (*_ID, *_NAMES_OF_TASK))
        given = [given] if named else held if held is not None else list(given)
    if isinstance(given, str):
        given = _split_names(given)
    names = []
    for word in [] if given is None else given if isinstance(given, list) else [given]:
        if isinstance(word, dict) and word:
            said = word
            word = _take(dict(word), (*_ID, *_NAMES_OF_TASK))
            if word is None:
                raise InvalidPlan(f'{json.dumps(said)[:60]} names no task to wait for. Write "depends_on": ["s1"].')
            word = word.rpartition("/")[2] if isinstance(word, str) and word.startswith("#/") else word
        if word is None or isinstance(word, bool) or (isinstance(word, (int, float)) and word < 0):
            continue
        if isinstance(word, (list, dict)):
            names += _read_names(word)
        elif str(word).strip() and not (isinstance(word, str) and _NO_NAME.fullmatch(word)):
            names.append(clean_id(str(int(word)) if isinstance(word, float) and word.is_integer() else str(word)))
    return names


def _split_names(text: str) -> list[Any]:
    """The names in a text: a list in JSON, or with anything between them."""
    if text.strip()[:1] == "[":
        try:
            held = json.loads(text)
        except (ValueError, RecursionError):
            held = None
        if isinstance(held, list):
            return held
    if _NO_NAME.fullmatch(text):
        return []
    text = _BEFORE_NAMES.sub("", text)
    parts = re.split(r"[,;|]|\band\b", text)
    apart = [word for word in re.split(r"[\s,;|&+/]+|\band\b", text) if word]
    if all(_NUMBERED_ID.fullmatch(word) for word in apart):
        return apart
    if all(_TASK_ID.fullmatch(word) for part in parts for word in part.split()):
        parts = [word for part in parts for word in part.split()]
    return parts


def _refuse_unread_order(nodes: Sequence[Node], around: Mapping[str, Any]) -> None:
    """Where no task says what it waits for, what another field says of it must not be lost."""
    own = {node.task_id for node in nodes}
    for name, item in around.items():
        if "answer" in name and isinstance(item, str) and any(f"{{{one}" in item for one in own):
            raise InvalidPlan(f"{name!r} says what to do with a task's result. Write it as a task.", place="the reply")
    if len(own) < 2 or any(_depends_of(node) or _refers(node, own) for node in nodes):
        return
    ids = "|".join(map(re.escape, sorted(own)))
    flows = re.compile(rf"\b(?:{ids})\b\s*(?:-+>|=+>|→|>+)\s*\b(?:{ids})\b")
    for name, item in around.items():
        if name in (*_LISTS, *_EDGES, *_ORDERS, *SECTIONS, *_THOUGHTS):
            continue
        held = isinstance(item, (list, JsonObject)) and any(
            isinstance(word, str) and word in own for word in _leaves(item)
        )
        if held or (isinstance(item, str) and flows.search(item)):
            raise InvalidPlan(
                f"{name!r} beside the tasks speaks of them, and none says what it waits for. Say it in 'depends_on'.",
                place=f"line {getattr(around, 'line', 1)}",
            )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
        yield from value if isinstance(value, dict) else ()
    else:
        yield value


def _read_levels(value: Any) -> list[list[str]]:
    """The ids that run together, in the order of a list of them; none if it is no such list."""
    if not isinstance(value, list):
        return []
    levels = [item if isinstance(item, list) else [item] for item in value]
    if not all(isinstance(word, (str, int)) and not isinstance(word, bool) for level in levels for word in level):
        return []
    return [[clean_id(str(word)) for word in level] for level in levels if level]


def _refers_or_calls(text: str) -> bool:
    return is_whole_call(text.strip()) or re.search(r"[{$#]\w", text) is not None


def _depends_of(node: Node) -> list[str]:
    return [name for name in node.attributes.get("depends", "").split(",") if name]


def _first_of(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that wait for no other of these."""
    own = {node.task_id for node in nodes}
    return [node for node in nodes if not own.intersection(_depends_of(node)) and not _refers(node, own)]


def _last_of(nodes: Sequence[Node]) -> list[str]:
    """The ids of the nodes that no other of these waits for."""
    own = {node.task_id for node in nodes}
    awaited = {name for node in nodes for name in (*_depends_of(node), *_refers(node, own))}
    return [node.task_id for node in nodes if node.task_id not in awaited]


def _waits_outside(nodes: Sequence[Node]) -> bool:
    own = {node.task_id for node in nodes}
    return any(name not in own for node in nodes for name in _depends_of(node))


def _refers(node: Node, ids: set[str]) -> set[str]:
    said = node.text + node.attributes.get("inputs", "")
    return {name for name in re.findall(r"\{([\w-]+)", said) if name in ids and name != node.task_id}


def _rename(nodes: Sequence[Node], names: Mapping[str, str], *, ids: bool = True) -> None:
    """Rename tasks wherever these nodes speak of them."""
    if not names:
        return
    named = re.compile(r"(?<!\{)\{(" + "|".join(map(re.escape, names)) + r")(?=[.}\[])")
    for node in nodes:
        if ids:
            node.attributes["id"] = names.get(node.task_id, node.task_id)
        if "depends" in node.attributes:
            node.attributes["depends"] = ",".join(names.get(name, name) for name in _depends_of(node))
        node.text = named.sub(lambda match: "{" + names[match[1]], node.text)
        if "inputs" in node.attributes:
            node.attributes["inputs"] = named.sub(lambda match: "{" + names[match[1]], node.attributes["inputs"])


def _rename_given(nodes: Sequence[Node]) -> None:
    """Write references to ids that tasks may not have by the ids that they got."""
    given = {node.names[0].strip(): node.task_id for node in nodes if node.names}
    for old, new in given.items():
        if old == new or old.isdigit():
            continue
        for node in nodes:
            node.text = node.text.replace("{" + old + "}", "{" + new + "}").replace("{" + old + ".", "{" + new + ".")
            if "inputs" in node.attributes:
                escaped, said = json.dumps(old)[1:-1], node.attributes["inputs"]
                said = said.replace("{" + escaped + "}", "{" + new + "}").replace("{" + escaped + ".", "{" + new + ".")
                node.attributes["inputs"] = said


def _add_edges(nodes: list[Node], value: Mapping[str, Any]) -> None:
    own = {node.task_id for node in nodes}
    for before, after in _read_edges(value):
        if (before.lower() in ("start", "begin") and before not in own) or (
            after.lower() in ("end", "finish", "stop") and after not in own
        ):
            continue  # of the graph, and no tasks
        _add_edge(nodes, before, after, line=getattr(value, "line", 1))


def _add_edge(nodes: list[Node], before: str, after: str, *, line: int) -> None:
    node = next((node for node in nodes if node.task_id == after), None)
    if node is None:
        raise InvalidPlan(
            f"An edge leads to {after!r}, which is not among the tasks. Add it, or remove the edge.",
            place=f"line {line}",
        )
    if before not in _depends_of(node):
        node.attributes["depends"] = ",".join([*_depends_of(node), before])


def _read_edges(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _EDGES:
        edges = value.get(name)
        if isinstance(edges, JsonObject):  # the tasks that each one waits for
            for after, before in edges.items():
                for task_id in before if isinstance(before, list) else [before]:
                    if task_id is not None:
                        yield clean_id(str(task_id)), clean_id(str(after))
            continue
        for edge in edges if isinstance(edges, list) else ():
            before, after = _read_edge(edge, getattr(value, "line", 1))
            yield clean_id(before), clean_id(after)


def _read_edge(edge: Any, line: int) -> tuple[str, str]:
    if isinstance(edge, JsonObject):
        before = _take(dict(edge), ("from", "source", "src", "start"))
        after = _take(dict(edge), ("to", "target", "dst", "end"))
        if before is not None and after is not None:
            return str(before), str(after)
    elif isinstance(edge, list) and len(edge) == 2:
        return str(edge[0]), str(edge[1])
    elif isinstance(edge, str) and (ends := _EDGE_TEXT.fullmatch(edge)) is not None:
        return ends[1], ends[2]
    raise InvalidPlan(f'{json.dumps(edge)[:40]} is no edge. Write ["s1", "s2"]: s2 waits for s1.', place=f"line {line}")


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
            single = isinstance(item, JsonObject) and any(key in item for key in _ID)
            getattr(patch, name).extend(_Reader(repairs).read_nodes([item] if single else item, repr(name)))
        elif name == "remove":
            patch.remove += [str(task_id) for task_id in (item if isinstance(item, list) else [item])]
        elif name == "expand" and isinstance(item, JsonObject):
            patch.expand.update({key: _Reader(repairs).read_nodes(nodes, repr(key)) for key, nodes in item.items()})
        elif not isinstance(item, (str, bool)) and name not in SECTIONS:
            raise InvalidPlan(
                f"A patch has no {name!r}. Use 'add', 'replace', 'remove', 'expand'.", place=f"line {value.line}"
            )
    return patch


def _take(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Remove and return the first of these fields that says something; the others stay."""
    for name in names:
        if fields.get(name) is not None:
            return fields.pop(name)
    return None


def _take_text(fields: dict[str, Any], names: tuple[str, ...], item: JsonObject) -> str:
    value = _take(fields, names)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not str(value).strip():
        raise InvalidPlan('A task has no id. Write "id": "s1".', place=f"line {item.line}")
    return str(value).strip()
