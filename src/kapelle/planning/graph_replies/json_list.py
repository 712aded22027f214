"""A list of tasks in JSON, or a mapping of them by id; groups and phases in it are taken apart into their tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kapelle.errors import InvalidPlan

from .json_fields import (
    DEPENDS,
    DESCRIPTION,
    ID,
    INPUTS,
    LISTS,
    NO_KIND,
    TAUGHT,
    TYPE,
    clean_id,
    find_group,
    looks_like_task,
    take,
)
from .json_order import (
    add_edge,
    add_edges,
    first_of,
    last_of,
    put_in_order,
    read_edges,
    refuse_unread_order,
    rename,
    rename_given,
    waits_outside,
)
from .json_task import read_node, take_names
from .loose_json import JsonObject
from .nodes import Node, Repairs, is_whole_call

_GROUP_KINDS = NO_KIND | {
    "group", "phase", "stage", "level", "parallel", "sequential", "sequence", "compound", "expand",
}  # fmt: skip
"""Types that say no more than that there are tasks inside."""


@dataclass(kw_only=True, slots=True)
class _Group:
    """A phase: tasks that together are one step of a plan."""

    name: str
    title: str
    nodes: list[Node]
    depends: list[str]
    is_inner: bool = False
    """Whether it is a part of another."""


class ListReader:
    """Makes nodes of one list of tasks."""

    def __init__(self, repairs: Repairs) -> None:
        self._repairs = repairs
        self._groups: list[_Group] = []
        self._says_depends = False
        """Whether any task or group has a field for what it waits for."""

    def read_nodes(
        self, value: Any, place: str, around: Mapping[str, Any] | None = None, *, in_order: bool = False
    ) -> list[Node]:
        """Return the nodes of a list of tasks, or of a mapping of them by id; groups among them are taken apart."""
        nodes = self._read_items(value, place)
        if around is not None and not self._groups:
            add_edges(nodes, around)
            put_in_order(nodes, around, self._repairs)
            refuse_unread_order(nodes, around)
        if self._groups:
            self._take_apart(nodes, around, in_order=in_order)
        rename_given(nodes)
        return nodes

    def _read_items(self, value: Any, place: str) -> list[Node]:
        if is_in_words(value) and len(value) > 1 and not any(_refers_or_calls(said) for said in value):
            before: list[list[str]] = [[], *([f"s{number}"] for number in range(1, len(value)))]
            value = [
                json_object({"description": said, "depends_on": b}, 1) for said, b in zip(value, before, strict=True)
            ]
            self._repairs.note("Sentences were taken to follow one another")
        items = _named(_unwrapped(value, place))
        nodes: list[Node] = []
        self._says_depends |= any(name in item for item in items for name in DEPENDS)
        for item in items:
            key = find_group(item)
            if key is None:
                nodes.append(read_node(item, self._repairs))
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
        name = take(fields, (*ID, "name", "phase", "title"))
        place = f"line {item.line}, group {name!r}"
        title = take(fields, ("description", "title", "name", "goal", "task"))
        kind = take(fields, TYPE)
        worked = [said for said in (*INPUTS, *TAUGHT) if fields.get(said)]
        if worked or (kind is not None and str(kind).lower() not in _GROUP_KINDS):
            said = repr(worked[0]) if worked else f"the type {kind!r}"
            raise InvalidPlan(f"It has {said}, and {key!r} as well: it is a task or a group. Say one.", place=place)
        group_id = clean_id(str(name)) if name is not None else f"group{len(self._groups) + 1}"
        group = _Group(
            name=group_id,
            title=str(title or name or group_id),
            nodes=self._read_items(inner, place),
            depends=take_names(fields),
        )
        add_edges(group.nodes, fields)
        own = [node.task_id for node in group.nodes]
        if taken.intersection(own):  # every group numbers its tasks anew
            rename(group.nodes, {task_id: f"{group.name}_{task_id}" for task_id in own})
            self._repairs.note("Tasks of a group were named after it, as others had their ids", group.name)
        return group

    def _take_apart(self, nodes: list[Node], around: Mapping[str, Any] | None, *, in_order: bool) -> None:
        """Give what groups wait for to their first tasks, and what waits for a group its last ones."""
        groups = {group.name: group for group in self._groups}
        for before, after in read_edges(around) if around is not None else ():
            if after in groups:
                groups[after].depends.append(before)
            else:
                add_edge(nodes, before, after, line=1)
        is_said = any(group.depends or waits_outside(group.nodes) for group in self._groups)
        is_steps = around is not None and any(name in around for name in ("steps", "sub_steps", "substeps"))
        if (in_order or (is_steps and not self._says_depends)) and not is_said:
            outer = [group for group in self._groups if not group.is_inner]
            for earlier, later in pairwise(outer):
                later.depends.append(earlier.name)
            self._repairs.note("Phases were taken to follow one another")

        def meant(name: str) -> list[str]:
            return last_of(groups[name].nodes) if name in groups else [name]

        firsts = {group.name: first_of(group.nodes) for group in self._groups}
        for node in nodes:
            depends = node.depends
            if any(name in groups for name in depends):
                node.attributes["depends"] = ",".join(dict.fromkeys(one for name in depends for one in meant(name)))
        for group in self._groups:
            awaited = [one for name in group.depends for one in meant(name)]
            for node in firsts[group.name] if awaited else ():
                node.attributes["depends"] = ",".join(dict.fromkeys([*node.depends, *awaited]))
            self._repairs.note(f"The group {group.title[:60]!r} was taken apart into its tasks")
        alone = {name: last_of(group.nodes) for name, group in groups.items()}
        rename(nodes, {name: last[0] for name, last in alone.items() if len(last) == 1}, ids=False)
        self._groups = []


def is_in_words(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(part, str) for part in item)


def _unwrapped(value: Any, place: str) -> list[JsonObject]:
    """The tasks as mappings, whatever they stand in: by id, each in a mapping of its own, as calls or sentences."""
    if isinstance(value, JsonObject):
        if looks_like_task(value) and not any(map(looks_like_task, value.values())):
            return [value]
        only = next(iter(value.values()), None)
        if len(value) == 1 and isinstance(only, list):
            return _unwrapped(only, place)
        return [_with_id(task_id, item, value.line) for task_id, item in value.items() if item is not None]
    if value and all(isinstance(item, str) for item in value):
        return [json_object({"call" if is_whole_call(item.strip()) else "description": item}, 1) for item in value]
    items = []
    for position, item in enumerate(value):
        if not isinstance(item, JsonObject):
            raise InvalidPlan(
                f"Item {position + 1} of the tasks is {json.dumps(item)[:40]}, not a task. "
                'Write {"id": "s1", "type": "...", "inputs": {...}}.',
                place=place,
            )
        name, inner = next(iter(item.items()), ("", None))
        if len(item) == 1 and isinstance(inner, JsonObject) and not {name} & {"function", *LISTS}:
            item = inner if name in ("task", "node", "step", "item") else _with_id(name, inner, item.line)
        items.append(item)
    return items


def _named(items: list[JsonObject]) -> list[JsonObject]:
    """The items with ids: their own; else their names, where each has another; else numbers."""
    if not items or any(any(name in item for name in ID) for item in items):
        return items
    names = [item["name"].strip() for item in items if isinstance(item.get("name"), str)]
    say_more = all(any(name in item for name in (*TYPE, *DESCRIPTION, *LISTS)) for item in items)
    if say_more and all(names) and len(set(names)) == len(items):
        return [_with_id(name, item, item.line) for name, item in zip(names, items, strict=True)]
    numbers = [number for item in items for number in _numbers(item)]
    own = any(position in _numbers(item) for position, item in enumerate(items, start=1))
    first = 0 if numbers and (0 in numbers or own) else 1  # who counts from zero says so
    return [_with_id(f"s{position}", item, item.line) for position, item in enumerate(items, start=first)]


def _numbers(item: JsonObject) -> list[int]:
    given = take(dict(item), DEPENDS)
    return [word for word in (given if isinstance(given, list) else [given]) if type(word) is int]


def json_object(fields: Mapping[str, Any], line: int) -> JsonObject:
    """Return fields as JSON that stands at a line."""
    made = JsonObject(fields)
    made.line = line
    return made


def _with_id(task_id: str, item: Any, line: int) -> JsonObject:
    if isinstance(item, str) and item.strip():
        item = json_object({"call" if is_whole_call(item.strip()) else "description": item}, line)
    if not isinstance(item, JsonObject):
        raise InvalidPlan(f"{task_id!r} is no task. Give a mapping.", place=f"line {line}")
    return json_object({"id": task_id, **item}, item.line)


def _refers_or_calls(text: str) -> bool:
    return is_whole_call(text.strip()) or re.search(r"[{$#]\w", text) is not None
