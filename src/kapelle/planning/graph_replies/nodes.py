"""Nodes as a model wrote them, in whatever notation, and the tasks that they mean.

Every notation ends here: its nodes are put into one clean `<graph>`, each on the line where it stood in the reply, and
the strict reader of graphs takes it from there. So a reply means exactly what the same plan in a file would, and errors
name the line. What is mended is what has one reading only; each repair leaves a note. `FoundGraph`, `FoundPatch` and
`Markup` hold what a notation found, as it stands in a reply.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kapelle.errors import CycleFound, InvalidGraph, InvalidPlan, UnknownTask
from kapelle.graph import Task, TaskDAG

_ALIASES = {
    "depends_on": "depends", "dependson": "depends", "dependencies": "depends", "deps": "depends", "after": "depends",
    "task_id": "id", "node_id": "id", "task_type": "type", "tool": "type", "function": "type", "desc": "description",
    "requirements": "requires", "skills": "requires", "deadline_s": "deadline",
}  # fmt: skip
_NOTHING = frozenset({"none", "null", "nil", "-", "n/a", "-1", "and"})
_SEPARATORS = re.compile(r"[,;|\s]+")
_CALL = re.compile(r"(?P<function>[A-Za-z_][A-Za-z0-9_.-]*)(?P<space>\s*)\(")
_DIGIT_REFERENCE = re.compile(r"(?<!\{)\{#?(?P<number>[0-9]{1,6})(?P<path>(?:\.[A-Za-z_]\w*|\[[0-9]{1,9}\])*)\}(?!\})")
_SIGN_REFERENCE = re.compile(r"(?<![\w$#])[$#](?P<number>[0-9]{1,6})\b")
_SMART_DOUBLE = str.maketrans({"“": '"', "”": '"', "„": '"', "‟": '"'})
_SMART_SINGLE = str.maketrans({"‘": "'", "’": "'", "‚": "'"})
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ALONE = "__alone__"
MAX_DRAFTED = 50
"""Nodes that are read each by itself: as many as one call may plan."""


@dataclass(kw_only=True, slots=True)
class Node:
    """A node as it stands in a reply."""

    line: int
    attributes: dict[str, str]
    """By the names of the `<graph>` XML, once `tidy_node` has seen them."""
    text: str = ""
    names: list[str] = field(default_factory=list)
    """What else others may call it: its name, what it is to do, its type."""
    is_loose: bool = False
    """Whether it is a model's JSON, in its own words: then a value `s1` stands for a result. In ours it is a text."""

    @property
    def task_id(self) -> str:
        """Its id, or an empty text."""
        return self.attributes.get("id", "").strip()

    @property
    def depends(self) -> list[str]:
        """The ids in its list of them."""
        return [name for name in self.attributes.get("depends", "").split(",") if name]

    @property
    def place(self) -> str:
        """Where it stands, for errors."""
        return f"line {self.line}, node {self.task_id!r}"


@dataclass(kw_only=True, slots=True)
class Repairs:
    """What was mended: each kind once, with the places where it was."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def note(self, what: str, place: str = "") -> None:
        """Write down a repair."""
        self.places.setdefault(what, []).append(place)

    def notes(self) -> tuple[str, ...]:
        """Return a sentence for each kind of repair."""
        return tuple(f"{what}{_listed(places)}." for what, places in self.places.items())


def tidy_node(node: Node, repairs: Repairs, *, ids: Collection[str] = ()) -> None:
    """Bring a node's attributes and its call into the form that the `<graph>` XML has, where they mean that.

    Looks at nothing but the node (and `ids`, those known so far), so that it can be done while the reply still comes.
    """
    for alias in [name for name in node.attributes if name not in _ALIASES.values()]:
        name = _ALIASES.get(alias.lower(), alias.lower())
        if name == alias:
            continue
        if name in node.attributes:
            raise InvalidPlan(f"The attributes {alias!r} and {name!r} say the same. Keep {name!r}.", place=node.place)
        node.attributes[name] = node.attributes.pop(alias)
        repairs.note(f"The attribute {alias!r} was read as {name!r}", node.task_id)
    given = node.task_id
    task_id = given.lstrip("#$").strip("{}")
    if task_id.isascii() and task_id.isdigit():
        task_id = f"s{task_id}"
    if not task_id:
        raise InvalidPlan('The node has no id. Write <node id="s1">.', place=f"line {node.line}")
    if task_id != given:
        node.attributes["id"] = task_id
        repairs.note("Ids begin with a letter: 1 was read as s1", given)
    numbered = _tidy_depends(node, repairs, ids)
    _tidy_references(node, repairs, numbered)
    _tidy_call(node, repairs)


def make_tasks(nodes: Sequence[Node], *, known: Iterable[str] = ()) -> list[list[Task]]:
    """Return the tasks of each tidy node: one, or those of its parallel searches.

    `known` are tasks of a plan that the nodes may wait for and refer to.

    Raises:
        InvalidPlan: a node is malformed, waits for none that is there, or nodes wait for each other; line and node
            are named.
    """
    own = {node.task_id for node in nodes}
    placeholders = [task_id for task_id in dict.fromkeys(known) if task_id not in own]
    text = "".join(_write_graph(nodes, placeholders))
    try:
        graph = TaskDAG.from_xml(text)
    except UnknownTask as error:
        raise InvalidPlan(str(error), place=_place_of(error.task_id, nodes)) from error
    except CycleFound as error:
        raise InvalidPlan(str(error), place=_place_of(error.tasks[0], nodes)) from error
    except InvalidPlan:
        raise
    except InvalidGraph as error:
        raise InvalidPlan(str(error)) from error
    return list(_share_out(list(graph)[: len(graph) - len(placeholders)], nodes))


def make_drafts(nodes: Sequence[Node]) -> list[Task] | None:
    """Return the tasks of nodes that are no graph, each read by itself; None where one cannot be.

    They may wait for tasks that are not there, and for each other. What is mended in them is for others to say.
    """
    if len(nodes) > MAX_DRAFTED:
        return None
    drafts: list[Task] = []
    for node in nodes:
        known: set[str] = set()
        made: list[Task] | None = None
        while made is None:
            try:
                (made,) = make_tasks([node], known=known)
            except InvalidPlan as error:
                unknown = error.__cause__
                if not isinstance(unknown, UnknownTask) or unknown.missing in known or len(known) > MAX_DRAFTED:
                    return None
                known.add(unknown.missing)
        if len(made) != 1:
            return None  # it became several searches, which others may speak of
        drafts += made
    return drafts


def is_whole_call(text: str) -> bool:
    """Say whether a text is one call with its closing bracket: a call shows its own end, a description does not."""
    found = _CALL.match(text)
    return found is not None and not found["space"] and _reads(text)


def looks_like_call(text: str) -> bool:
    """Say whether a text starts as a call does."""
    return _CALL.match(text) is not None


def _tidy_depends(node: Node, repairs: Repairs, ids: Collection[str]) -> set[str]:
    """Tidy up the list, and return those that it gives as numbers."""
    given = node.attributes.get("depends")
    if given is None:
        return set()
    words, numbered = [], set()
    for word in _SEPARATORS.split(given):
        name = word.strip("#$[](){}\"'“”‘’<>")
        if not name or (name.lower() in _NOTHING and name not in ids):
            continue
        if name.isascii() and name.isdigit():
            name = f"s{name}"
            numbered.add(name)
        words.append(name)
    if words != given.replace(",", " ").split():
        repairs.note("The list in 'depends' was tidied up", node.task_id)
    node.attributes["depends"] = ",".join(words)
    return numbered


def _tidy_references(node: Node, repairs: Repairs, numbered: Collection[str]) -> None:
    """`{1}` can only mean the task 1; `$1` and `#1` mean it where the node depends on a task 1."""

    def refer(match: re.Match[str]) -> str:
        name = f"s{match['number']}"
        return "{" + name + "}" if name in numbered else match[0]

    def mend(text: str) -> str:
        if not any(character.isdigit() for character in text):
            return text
        text = _DIGIT_REFERENCE.sub(lambda match: f"{{s{match['number']}{match['path']}}}", text)
        return _SIGN_REFERENCE.sub(refer, text) if "$" in text or "#" in text else text

    if looks_like_call(node.text):
        mended = mend(node.text)
        if mended != node.text:
            repairs.note("References such as $1 were read as {s1}", node.task_id)
        node.text = mended
    if "inputs" in node.attributes:
        mended = mend(node.attributes["inputs"])
        if mended != node.attributes["inputs"]:
            repairs.note("References such as $1 were read as {s1}", node.task_id)
        node.attributes["inputs"] = mended


def _tidy_call(node: Node, repairs: Repairs) -> None:
    """Mend a call that cannot be read, where there is one way to: the first repair that makes it readable."""
    found = _CALL.match(node.text)
    if found is None or node.attributes.get("type", found["function"]) != found["function"]:
        return
    if found["space"] and "type" in node.attributes:
        return
    if not found["space"] and _reads(node.text):
        return
    for what, mended in _mended_calls(node.text, found):
        if mended != node.text and _reads(mended):
            node.text = mended
            repairs.note(what, node.task_id)
            return


def _mended_calls(text: str, found: re.Match[str]) -> Iterator[tuple[str, str]]:
    function = found["function"]
    text = f"{function}({text[found.end() :]}"
    yield "A space before the bracket of a call was removed", text
    straight = text.translate(_SMART_DOUBLE)
    yield "Typographic quotes were read as straight ones", straight
    if found["space"]:
        return  # "Explain (in a few words)" is a description
    yield "Typographic quotes were read as straight ones", straight.translate(_SMART_SINGLE)
    bare = text.rstrip(" \t\n;.")
    yield "A sign after the call was removed", bare
    yield "The closing bracket of a call was added", bare + ")"
    inside = bare[len(function) + 1 : -1].strip()
    if not bare.endswith(")") or not inside:
        return
    quote = inside[0]
    if quote in "\"'" and inside.endswith(quote) and len(inside) > 1:
        middle = inside[1:-1]
        # With a comma beside a quote, or a keyword, it could as well be several arguments.
        if not re.search(r"[\"'],|,[ \t\n]?[\"']|\w=[\"']", middle):
            escaped = re.sub(rf"(?<!\\){quote}", rf"\\{quote}", middle)
            yield "Quotes inside of a text were escaped", f"{function}({quote}{escaped}{quote})"
    elif not re.search(r"[\"'=,()\\]", inside) and not re.fullmatch(r"[\w.]+", inside):
        yield "A text without quotes was taken as one text", f'{function}("{inside}")'


def _reads(call: str) -> bool:
    """Whether the strict reader can read a call; that its references lead nowhere does not matter here."""
    try:
        TaskDAG.from_xml("".join(_write_graph([Node(line=1, attributes={"id": _ALONE}, text=call)], [])))
    except UnknownTask:
        return True
    except (InvalidPlan, InvalidGraph):
        return False
    return True


def _write_graph(nodes: Sequence[Node], placeholders: Sequence[str]) -> Iterator[str]:
    """The pieces of a clean `<graph>` in which every node stands on its line."""
    line = 1
    yield "<graph>"
    for node in nodes:
        if node.line > line:
            yield "\n" * (node.line - line)
            line = node.line
        yield "<node"
        for name, value in node.attributes.items():
            yield f" {_check_name(name, node)}={_quote(value)}"
        text = _escape(node.text)
        line += text.count("\n")
        yield f">{text}</node>"
    yield from (f"<node id={_quote(task_id)} type='known'/>" for task_id in placeholders)
    yield "</graph>"


def _check_name(name: str, node: Node) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII):
        raise InvalidPlan(f"There is no attribute {name[:40]!r}.", place=node.place)
    return name


def _quote(value: str) -> str:
    escaped = _escape(value)
    for character, entity in (('"', "&quot;"), ("\n", "&#10;"), ("\t", "&#9;")):
        escaped = escaped.replace(character, entity)
    return f'"{escaped}"'


def _escape(text: str) -> str:
    text = _NOT_IN_XML.sub("\ufffd", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _share_out(tasks: list[Task], nodes: Sequence[Node]) -> Iterator[list[Task]]:
    """Give every node its tasks: that of its id, or `s1_1`, `s1_2`, ... where it is a parallel search."""
    at = 0
    for node in nodes:
        first = tasks[at].task_id
        if first == node.task_id:
            yield [tasks[at]]
            at += 1
            continue
        stem = first[:-1]
        parts: list[Task] = []
        while at < len(tasks) and tasks[at].task_id == f"{stem}{len(parts) + 1}":
            parts.append(tasks[at])
            at += 1
        yield parts


def _place_of(task_id: str, nodes: Sequence[Node]) -> str:
    for node in nodes:
        if task_id == node.task_id or re.fullmatch(rf"{re.escape(node.task_id)}_+[0-9]+", task_id):
            return node.place
    return f"node {task_id!r}"


def _listed(places: list[str]) -> str:
    named = list(dict.fromkeys(place for place in places if place))
    if not named:
        return ""
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    return f" ({', '.join(named[:5])}{more})"


SECTIONS = ("think", "plan", "reflection", "observation", "answer")


@dataclass(kw_only=True, slots=True)
class FoundGraph:
    """A `<graph>` as it stands in a reply."""

    line: int
    section: str
    """In which section it stands; empty for none."""
    nodes: list[Node] = field(default_factory=list)
    version: str | None = None


@dataclass(kw_only=True, slots=True)
class FoundPatch:
    """A `<patch>` as it stands in a reply."""

    line: int
    add: list[Node] = field(default_factory=list)
    replace: list[Node] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    expand: dict[str, list[Node]] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        """All nodes that the patch brings."""
        return [*self.add, *self.replace, *(node for nodes in self.expand.values() for node in nodes)]


@dataclass(kw_only=True, slots=True)
class Markup:
    """What the tags of a reply say."""

    graphs: list[FoundGraph] = field(default_factory=list)
    patches: list[FoundPatch] = field(default_factory=list)
    sections: dict[str, list[str]] = field(default_factory=dict)
    repairs: Repairs = field(default_factory=Repairs)
    think_is_open: bool = False
    """Whether the reply ended in thought."""
    think_line: int = 1
    """Where the first thoughts begin."""

    def section(self, name: str) -> str:
        """Return the texts of a section, joined."""
        return "\n".join(text.strip() for text in self.sections.get(name, ()) if text.strip())
