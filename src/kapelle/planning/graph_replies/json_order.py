"""What waits for what, where JSON says it beside the tasks: edges, lists of ids; and names of tasks put in order.

A word about order that it cannot read is an error: tasks that run too early are worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from kapelle.errors import InvalidPlan

from .json_fields import EDGES, LISTS, ORDERS, THOUGHTS, clean_id, take
from .loose_json import JsonObject
from .nodes import SECTIONS, Node, Repairs

_EDGE_TEXT = re.compile(r"\s*([\w-]{1,128}?)\s*-{1,9}>\s*([\w-]+)\s*")


def put_in_order(nodes: list[Node], around: Mapping[str, Any], repairs: Repairs) -> None:
    """Give tasks that wait for nothing what a list of ids beside them says."""
    own = {node.task_id: node for node in nodes}
    if any(node.depends or _refers(node, set(own)) for node in nodes):
        return
    for name in ORDERS:
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
        repairs.note(f"What tasks wait for was read from {name!r}")
        return


def refuse_unread_order(nodes: Sequence[Node], around: Mapping[str, Any]) -> None:
    """Where no task says what it waits for, what another field says of it must not be lost."""
    own = {node.task_id for node in nodes}
    for name, item in around.items():
        if "answer" in name and isinstance(item, str) and any(f"{{{one}" in item for one in own):
            raise InvalidPlan(f"{name!r} says what to do with a task's result. Write it as a task.", place="the reply")
    if len(own) < 2 or any(node.depends or _refers(node, own) for node in nodes):
        return
    ids = "|".join(map(re.escape, sorted(own)))
    flows = re.compile(rf"\b(?:{ids})\b\s*(?:-+>|=+>|→|>+)\s*\b(?:{ids})\b")
    for name, item in around.items():
        if name in (*LISTS, *EDGES, *ORDERS, *SECTIONS, *THOUGHTS):
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


def first_of(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that wait for no other of these."""
    own = {node.task_id for node in nodes}
    return [node for node in nodes if not own.intersection(node.depends) and not _refers(node, own)]


def last_of(nodes: Sequence[Node]) -> list[str]:
    """The ids of the nodes that no other of these waits for."""
    own = {node.task_id for node in nodes}
    awaited = {name for node in nodes for name in (*node.depends, *_refers(node, own))}
    return [node.task_id for node in nodes if node.task_id not in awaited]


def waits_outside(nodes: Sequence[Node]) -> bool:
    own = {node.task_id for node in nodes}
    return any(name not in own for node in nodes for name in node.depends)


def _refers(node: Node, ids: set[str]) -> set[str]:
    said = node.text + node.attributes.get("inputs", "")
    return {name for name in re.findall(r"\{([\w-]+)", said) if name in ids and name != node.task_id}


def rename(nodes: Sequence[Node], names: Mapping[str, str], *, ids: bool = True) -> None:
    """Rename tasks wherever these nodes speak of them."""
    if not names:
        return
    named = re.compile(r"(?<!\{)\{(" + "|".join(map(re.escape, names)) + r")(?=[.}\[])")
    for node in nodes:
        if ids:
            node.attributes["id"] = names.get(node.task_id, node.task_id)
        if "depends" in node.attributes:
            node.attributes["depends"] = ",".join(names.get(name, name) for name in node.depends)
        node.text = named.sub(lambda match: "{" + names[match[1]], node.text)
        if "inputs" in node.attributes:
            node.attributes["inputs"] = named.sub(lambda match: "{" + names[match[1]], node.attributes["inputs"])


def rename_given(nodes: Sequence[Node]) -> None:
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


def add_edges(nodes: list[Node], value: Mapping[str, Any]) -> None:
    own = {node.task_id for node in nodes}
    for before, after in read_edges(value):
        if (before.lower() in ("start", "begin") and before not in own) or (
            after.lower() in ("end", "finish", "stop") and after not in own
        ):
            continue  # of the graph, and no tasks
        add_edge(nodes, before, after, line=getattr(value, "line", 1))


def add_edge(nodes: list[Node], before: str, after: str, *, line: int) -> None:
    node = next((node for node in nodes if node.task_id == after), None)
    if node is None:
        raise InvalidPlan(
            f"An edge leads to {after!r}, which is not among the tasks. Add it, or remove the edge.",
            place=f"line {line}",
        )
    if before not in node.depends:
        node.attributes["depends"] = ",".join([*node.depends, before])


def read_edges(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in EDGES:
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
        before = take(dict(edge), ("from", "source", "src", "start"))
        after = take(dict(edge), ("to", "target", "dst", "end"))
        if before is not None and after is not None:
            return str(before), str(after)
    elif isinstance(edge, list) and len(edge) == 2:
        return str(edge[0]), str(edge[1])
    elif isinstance(edge, str) and (ends := _EDGE_TEXT.fullmatch(edge)) is not None:
        return ends[1], ends[2]
    raise InvalidPlan(f'{json.dumps(edge)[:40]} is no edge. Write ["s1", "s2"]: s2 waits for s1.', place=f"line {line}")
