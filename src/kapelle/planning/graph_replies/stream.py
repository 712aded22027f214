"""Hands on the tasks of a plan while it is still being written: the idea of LLMCompiler (arXiv:2312.04511).

A task is handed on when its node is complete and what it waits for has been handed on, so that tasks can be added to a
graph, and started, in the order in which they come. At the end the whole reply is read once more as `read_reply` does.
What that finds besides is handed on then; plans in JSON or numbered lines are read only there. If it contradicts what
was handed on (a second graph, a node whose number of searches took another's id), that is an error.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

from kapelle.errors import InvalidPlan, UnknownTask
from kapelle.graph import Task

from .markup import MarkupReader
from .nodes import Node, Repairs, make_tasks, tidy_node
from .reply import MAX_REPLY_CHARS, GapReply, read_reply

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PART = re.compile(r"\{[A-Za-z0-9_]+_from_([A-Za-z_][A-Za-z0-9_-]*)")


async def stream_tasks(pieces: AsyncIterator[str]) -> AsyncIterator[Task]:
    """Yield the tasks of a plan while its text comes in pieces.

    Raises:
        InvalidPlan: as `read_reply` does, at the end; what was handed on until then is not part of any plan.
    """
    stream = TaskStream()
    async for piece in pieces:
        for task in stream.feed(piece):
            yield task
    for task in stream.close():
        yield task


class TaskStream:
    """The tasks in a text that is still being written."""

    def __init__(self) -> None:
        self.reply: GapReply | None = None
        """The whole reply, once it is closed."""
        self._pieces: list[str] = []
        self._length = 0
        self._arrived: list[Node] = []
        self._reader: MarkupReader | None = MarkupReader(on_node=self._arrived.append)
        self._nodes: dict[str, Node] = {}
        self._parts: dict[str, tuple[list[Task], tuple[str, ...]]] = {}
        """What became several searches, and the ids that their names had to avoid."""
        self._waiting: dict[str, list[Node]] = {}
        """Nodes by the id, not yet known, that they wait for."""
        self._handed_on: dict[str, Task] = {}

    def feed(self, piece: str) -> Iterator[Task]:
        """Read on, and yield the tasks that can be handed on now."""
        self._length += len(piece)
        if self._length > MAX_REPLY_CHARS:
            raise InvalidPlan(f"The reply has more than {MAX_REPLY_CHARS:,} characters. Be shorter.")
        self._pieces.append(piece)
        if self._reader is None:
            return
        try:
            self._reader.feed(piece)
            while self._arrived:
                for task in self._take(self._arrived.pop(0)):
                    self._handed_on[task.task_id] = task
                    yield task
        except InvalidPlan:
            self._reader = None  # what it means is for the whole reply to tell

    def close(self, *, cut_off: bool = False) -> Iterator[Task]:
        """Read the whole reply, and yield the tasks that were not handed on yet."""
        self.reply = read_reply("".join(self._pieces), cut_off=cut_off)
        if self.reply.graph is None:
            raise InvalidPlan("There is no <graph> in the reply. Send one, complete.")
        tasks = self.reply.graph.tasks
        for task_id, task in self._handed_on.items():
            if tasks.get(task_id) != task:
                raise InvalidPlan(f"Task {task_id!r} was handed on, and the rest of the reply changed it.")
        for task_id in self.reply.graph.topological_order():
            if task_id not in self._handed_on:
                yield tasks[task_id]

    def _take(self, node: Node) -> Iterator[Task]:
        """Yield the tasks of a node, and of those that waited for it, as far as nothing is missing."""
        tidy_node(node, Repairs(), ids=self._nodes)
        if node.task_id in self._nodes:
            raise InvalidPlan("Another node has this id already. Rename one of them.", place=node.place)
        ready = [node]
        while ready:
            now = ready.pop(0)
            try:
                tasks = self._make(now)
            except InvalidPlan as error:
                if not isinstance(error.__cause__, UnknownTask):
                    raise
                self._waiting.setdefault(error.__cause__.missing, []).append(now)
                continue
            self._nodes[now.task_id] = now
            ready += self._waiting.pop(now.task_id, [])
            yield from tasks

    def _make(self, node: Node) -> list[Task]:
        """The tasks of a node, read beside stand-ins for the nodes that it speaks of."""
        words = [node.text, *(value for name, value in node.attributes.items() if name != "id")]
        names = {name for word in words for name in (*_NAME.findall(word), *_PART.findall(word))}
        near = [name for name in names if name in self._nodes]
        avoided = tuple(task_id for task_id in self._nodes if task_id.startswith(f"{node.task_id}_"))
        several = [self._stand_in(name) for name in near if name in self._parts]
        known = {*near, *avoided}.difference(self._parts)
        for name in near:
            known.update(self._parts[name][1] if name in self._parts else ())
        *_, tasks = make_tasks([*several, replace(node, line=max(1, node.line))], known=known)
        if [task.task_id for task in tasks] != [node.task_id]:
            self._parts[node.task_id] = tasks, avoided
        return tasks

    def _stand_in(self, task_id: str) -> Node:
        queries = "|".join(str(number) for number in range(len(self._parts[task_id][0])))
        return Node(line=1, attributes={"id": task_id}, text=f'search("{queries or "|"}|")')
