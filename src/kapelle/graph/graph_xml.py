"""The `<graph>` XML of graph plans, to and from tasks.

    <graph>
      <node id="s1">search("capital of France | capital of Germany")</node>
      <node id="s2" depends="s1">search("population of {s1}")</node>
      <node id="s3" type="report" priority="2">Say which of {{both}} is larger</node>
    </graph>

A node's text is a call (see calls): the function is the task's type, the arguments are its inputs. Any other text is
the description of a task of the type that the attribute `type` names, by default "task". All other fields are
attributes: `depends` and `requires` (separated by commas), `priority`, `deadline` (seconds from the start of the run),
`timeout` (seconds for one attempt), `retries`, `agent` (who is to do it), `risk`, `on_failure`, `needs`, `approval`
("true"), `description`; `inputs`, `metadata` and `strategy` as JSON; `escaped_description`, a JSON text, for characters
that XML cannot hold.

`|` in the query of a search, given by position, means parallel searches: `s1` becomes `s1_1` and `s1_2`, and what
waited for or referred to `s1` now means both, as `patch` defines it for tasks that became several: "population of {s1}"
becomes "population of {s1_1}; {s1_2}". `search(query="a | b")`, with the name, is one search.

Everything here is untrusted: DTDs and entities are refused, size and number are limited, and whatever is wrong is an
InvalidPlan that names the line and the node.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import InputSource, Locator

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from kapelle.documents import MAX_DOCUMENT_BYTES, parse_json
from kapelle.errors import InvalidGraph, InvalidPlan
from kapelle.limits import MAX_TASKS

from .calls import Call, looks_like_call, parse_call
from .patch import redirect_dependents
from .task import Task

_ATTRIBUTES = (
    "id",
    "type",
    "depends",
    "requires",
    "priority",
    "deadline",
    "timeout",
    "retries",
    "agent",
    "strategy",
    "risk",
    "on_failure",
    "needs",
    "approval",
    "description",
    "escaped_description",
    "inputs",
    "metadata",
)
Number = TypeVar("Number", int, float)
PARALLEL_TYPE = "search"
_LARGER = "Split the plan, or write it as JSON, of which more is read where more tasks are allowed."
_LONE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);)")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def parse_graph(text: str) -> tuple[list[Task], int]:
    """Return the tasks and the version of the one `<graph>` element in an XML document.

    Raises:
        InvalidPlan: the text is no XML, is too large, has no or several `<graph>`, or a node is malformed.
        InvalidGraph: a part of a parallel search is referred to that does not exist.
    """
    nodes, version = _read_nodes(text)
    ids = {node.task_id for node in nodes}
    tasks: list[Task] = []
    parts: dict[str, list[str]] = {}
    room = _Room()
    for node in nodes:
        made = _make_tasks(node, ids, room)
        tasks += made
        if made[0].task_id != node.task_id:
            parts[node.task_id] = [task.task_id for task in made]
    return redirect_dependents(tasks, parts), version


@dataclass(kw_only=True, slots=True)
class _Node:
    """A `<node>` as it stands in the document."""

    line: int
    attributes: Mapping[str, str]
    texts: list[str] = field(default_factory=list)

    @property
    def task_id(self) -> str:
        return self.attributes["id"].strip()

    @property
    def text(self) -> str:
        return "".join(self.texts).strip()

    @property
    def place(self) -> str:
        return f"line {self.line}, node {self.attributes.get('id', '')!r}"


def _read_nodes(text: str) -> tuple[list[_Node], int]:
    _check_text(text)
    start = text.lstrip("\ufeff \t\r\n")
    handler = _GraphHandler(lines_before=text.count("\n", 0, len(text) - len(start)))
    source = InputSource()
    source.setCharacterStream(io.StringIO(start))
    parser = DefusedExpatParser(forbid_dtd=True)
    parser.setContentHandler(handler)
    try:
        parser.parse(source)
    except SAXParseException as error:
        raise _explain(error, text, handler.lines_before + (error.getLineNumber() or 1)) from None
    except DefusedXmlException as error:
        raise InvalidPlan(
            "The XML has a DTD or defines entities, which is refused. Remove <!DOCTYPE ...>.",
            place=f"line {handler.line}",
        ) from error
    if handler.version is None:
        raise InvalidPlan("There is no <graph> element. Write <graph><node id=...>...</node></graph>.")
    return handler.nodes, handler.version


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise InvalidPlan(f"The XML is a {type(text).__name__}, not a text.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidPlan(f"The XML holds half of a character (a lone surrogate) at position {error.start}.") from None
    if size > MAX_DOCUMENT_BYTES:
        raise InvalidPlan(f"The XML is larger than {MAX_DOCUMENT_BYTES:,} bytes. Split the plan.")


def _explain(error: SAXParseException, text: str, number: int) -> InvalidPlan:
    lines = text.split("\n")
    line = lines[number - 1] if number <= len(lines) else ""
    if _LONE_AMPERSAND.search(line):
        way_out = "Write &amp; for &."
    elif "<" in re.sub(r"</?[A-Za-z][^<>]*>", "", line):
        way_out = "Write &lt; for < in texts."
    else:
        way_out = "Give one XML element, <graph> or one that contains it, and nothing around it."
    return InvalidPlan(f"Not readable as XML: {error.getMessage()}. {way_out}", place=f"line {number}")


class _GraphHandler(ContentHandler):
    """Collects the nodes of one `<graph>`, wherever in the document it is."""

    def __init__(self, *, lines_before: int) -> None:
        super().__init__()
        self.lines_before = lines_before
        self.nodes: list[_Node] = []
        self.version: int | None = None
        self._locator: Locator | None = None
        self._ids: set[str] = set()
        self._inside = False
        self._node: _Node | None = None

    @property
    def line(self) -> int:
        return self.lines_before + ((self._locator.getLineNumber() if self._locator is not None else None) or 1)

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 - the name is xml.sax's
        self._locator = locator

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802 - the name is xml.sax's
        if name == "graph":
            self._start_graph(dict(attrs.items()))
        elif self._inside:
            self._start_node(name, dict(attrs.items()))

    def endElement(self, name: str) -> None:  # noqa: N802 - the name is xml.sax's
        if name == "graph":
            self._inside = False
        elif name == "node":
            self._node = None

    def characters(self, content: str) -> None:
        if self._node is not None:
            self._node.texts.append(content)
        elif self._inside and content.strip():
            raise InvalidPlan(
                f"Text outside of the nodes: {content.strip()[:40]!r}. Put it into a <node>, or remove it.",
                place=f"line {self.line}",
            )

    def _start_graph(self, attributes: dict[str, str]) -> None:
        place = f"line {self.line}"
        if self.version is not None:
            raise InvalidPlan("There is a second <graph> element. Put all nodes into one.", place=place)
        _refuse_unknown(attributes, ("version",), place)
        try:
            version = _read_number(attributes, "version", int, "a whole number")
        except InvalidPlan as error:
            raise InvalidPlan(str(error), place=place) from None
        self.version = 1 if version is None else version
        self._inside = True

    def _start_node(self, name: str, attributes: dict[str, str]) -> None:
        if name != "node" or self._node is not None:
            where = f" inside of the node {self._node.attributes['id']!r}" if self._node is not None else ""
            raise InvalidPlan(
                f"Unexpected <{name}>{where}. A <graph> holds <node> elements, and these hold text alone.",
                place=f"line {self.line}",
            )
        node = _Node(line=self.line, attributes=attributes)
        if not attributes.get("id", "").strip():
            raise InvalidPlan('The node has no id. Write <node id="s1">.', place=f"line {self.line}")
        _refuse_unknown(attributes, _ATTRIBUTES, node.place)
        if len(self.nodes) == MAX_TASKS:
            raise InvalidPlan(f"The graph has more than {MAX_TASKS:,} nodes. {_LARGER}", place=node.place)
        if node.task_id in self._ids:
            raise InvalidPlan("Another node has this id already. Rename one of them.", place=node.place)
        self._ids.add(node.task_id)
        self.nodes.append(node)
        self._node = node


def _refuse_unknown(attributes: Mapping[str, str], known: tuple[str, ...], place: str) -> None:
    unknown = [name for name in attributes if name not in known]
    if unknown:
        raise InvalidPlan(f"There is no attribute {unknown[0]!r}. Use {', '.join(known)}.", place=place)


class _Room:
    """Counts what parallel searches unfold to: each repeats its node, so a short text could ask for gigabytes."""

    def __init__(self) -> None:
        self._tasks = MAX_TASKS
        self._characters = MAX_DOCUMENT_BYTES

    def use(self, node: _Node, queries: list[str]) -> None:
        self._tasks -= max(1, len(queries))
        if self._tasks < 0:
            raise InvalidPlan(f"The graph has more than {MAX_TASKS:,} tasks. {_LARGER}")
        repeated = len(node.text) + sum(map(len, node.attributes.values())) - sum(map(len, queries))
        self._characters -= len(queries) * repeated
        if self._characters < 0:
            raise InvalidPlan("The parallel searches repeat too long arguments. Give these to one task before them.")


def _make_tasks(node: _Node, ids: set[str], room: _Room) -> list[Task]:
    """Return the task of a node, or the tasks of its parallel searches; `ids` gains the ids of these."""
    try:
        call = _read_call(node)
        task = _make_task(node, call)
        queries = _split_query(task, call)
        room.use(node, queries)
        if not queries:
            return [task]
        names = _free_names(task.task_id, len(queries), ids)
        ids.update(names)
        return [
            replace(task, task_id=name, inputs={**task.inputs, "query": query})
            for name, query in zip(names, queries, strict=True)
        ]
    except (InvalidPlan, InvalidGraph) as error:
        raise InvalidPlan(str(error), place=node.place) from None


def _read_call(node: _Node) -> Call | None:
    if not looks_like_call(node.text):
        return None
    try:
        return parse_call(node.text)
    except InvalidPlan as error:
        if "type" in node.attributes:
            return None
        raise InvalidPlan(f"{error} If it is a description, say so with type=...") from None


def _make_task(node: _Node, call: Call | None) -> Task:
    given = node.attributes
    if call is not None and given.get("type", call.name) != call.name:
        raise InvalidPlan(
            f"The type is {given['type']!r}, and the text calls {call.name!r}. "
            "Remove the type, or move the text into description=..."
        )
    if call is not None and "inputs" in given:
        raise InvalidPlan("The inputs are given twice, by the call and by the attribute. Keep one.")
    return Task(
        task_id=node.task_id,
        task_type=call.name if call is not None else given.get("type", "task").strip(),
        description=_read_description(node, call),
        depends_on=tuple(given.get("depends", "").replace(",", " ").split()),
        inputs=call.inputs if call is not None else _read_json(given.get("inputs", "{}"), "inputs"),
        requirements=frozenset(_read_requirements(given.get("requires", "").strip())),
        priority=_read_number(given, "priority", int, "a whole number") or 0,
        deadline_s=_read_number(given, "deadline", float, "seconds"),
        timeout_s=_read_number(given, "timeout", float, "seconds"),
        retries=_read_number(given, "retries", int, "a whole number"),
        strategy=_read_strategy(given),
        risk=given.get("risk", "low").strip(),  # type: ignore[arg-type]  # Task checks it
        on_failure=given.get("on_failure", "skip").strip(),  # type: ignore[arg-type]  # the same
        needs=given.get("needs", "all").strip(),  # type: ignore[arg-type]  # the same
        approval=_read_flag(given.get("approval", "false"), "approval"),
        metadata=_read_json(given.get("metadata", "{}"), "metadata"),
    )


def _read_flag(text: str, name: str) -> bool:
    if text.strip() not in ("true", "false"):
        raise InvalidPlan(f"The {name} {text!r} is neither 'true' nor 'false'.")
    return text.strip() == "true"


def _read_description(node: _Node, call: Call | None) -> str:
    found = [node.text] if call is None and node.text else []
    if "description" in node.attributes:
        found.append(node.attributes["description"])
    if "escaped_description" in node.attributes:
        found.append(_read_json(node.attributes["escaped_description"], "escaped_description"))
    if len(found) > 1:
        raise InvalidPlan("The description is given twice. Keep the text or one attribute.")
    return found[0] if found else ""


def _read_requirements(text: str) -> list[str]:
    if text.startswith("["):
        listed = _read_json(text, "requires")
        return listed if isinstance(listed, list) else [listed]
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_json(text: str, name: str) -> Any:
    try:
        return parse_json(text)
    except InvalidPlan as error:
        raise InvalidPlan(f"The attribute {name!r} holds {text[:40]!r}. {error}") from None


def _read_number(attributes: Mapping[str, str], name: str, kind: type[Number], what: str) -> Number | None:
    text = attributes.get(name)
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise InvalidPlan(f"The attribute {name!r} holds {text[:40]!r}. Give {what}.") from None


def _read_strategy(attributes: Mapping[str, str]) -> Any:
    agent, strategy = attributes.get("agent"), attributes.get("strategy")
    if agent is not None and strategy is not None:
        raise InvalidPlan("The node names an agent and a strategy. Keep one.")
    return agent.strip() if agent is not None else None if strategy is None else _read_json(strategy, "strategy")


def _split_query(task: Task, call: Call | None) -> list[str]:
    """Return the queries of parallel searches, or nothing for any other task."""
    if call is None or call.name != PARALLEL_TYPE or call.query is None or "|" not in call.query:
        return []
    return [query.strip() for query in call.query.split("|") if query.strip()]


def _free_names(task_id: str, count: int, taken: set[str]) -> list[str]:
    """Return s1_1, s1_2, ...; with more underscores if a node is called so already."""
    separator = "_"
    while True:
        names = [f"{task_id}{separator}{number}" for number in range(1, count + 1)]
        if taken.isdisjoint(names):
            return names
        separator += "_"
