"""Reads the tags of a graph plan out of a reply: sections, `<graph>`, `<node>`, `<patch>`, whatever surrounds them.

Only the tags that graph plans have are tags; every other `<` is text, as is an `&` that begins no entity. A node ends
at its `</node>`, or where the next node, the end of the graph or of its section shows that it must have ended. A reply
that stops in the middle of a node, or of a tag, was cut off: that is an error, for what was to follow is unknown.

It passes over each character once. Entities are never defined or expanded here: a DTD is refused, and only the five of
XML, numbers and the names of HTML are decoded.
"""

from __future__ import annotations

import re

from kapelle.errors import InvalidPlan

from .attributes import decode, read_value
from .nodes import SECTIONS, FoundGraph, FoundPatch, Markup, Node, is_whole_call

MAX_ATTRIBUTES = 32

_PATCH_PARTS = ("add", "replace", "remove", "expand", "keep")
_TAG = re.compile(
    r"<(?P<end>/?)[ \t]*(?P<name>graph|node|thinking|patch|" + "|".join(SECTIONS + _PATCH_PARTS) + r")(?=[\s/>])"
    r"|<!--|<!\[CDATA\[|<!(?P<dtd>DOCTYPE|ENTITY)",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"[\s,]*(?P<name>[A-Za-z_][\w.:-]*)\s*=\s*", re.ASCII)
_TAG_END = re.compile(r"[\s,]*(?:(?P<empty>/)\s*)?>")
_ID = re.compile(r"\s*id\s*=\s*[\"'“]([\w-]{1,128})")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w-]*[ \t]*$", re.MULTILINE)
_STRAY_CALL = re.compile(r"(?:(?:[-*]|\d{1,3}[.)]) ?)?[A-Za-z_][\w.-]*\([\"'{“]")
_TAG_BEGINS = re.compile(r"<[A-Za-z]{0,8}\Z")
_STRAY_TAG = re.compile(r"<[A-Za-z][\w-]*(?:\s[^<>]*)?/?>")


def read_markup(text: str, *, cut_off: bool = False, first_line: int = 1) -> Markup:
    """Return what the tags of a reply say.

    Raises:
        InvalidPlan: the meaning is not clear, or there is a DTD; line and node are named.
    """
    return _MarkupReader(cut_off=cut_off, first_line=first_line).read(text)


class _MarkupReader:
    """Reads one reply."""

    def __init__(self, *, cut_off: bool, first_line: int) -> None:
        self.found = Markup()
        self._cut_off = cut_off
        self._line = first_line
        self._has_no: set[str] = set()
        # Where the reader is: in a section, in a graph or a part of a patch, in a node.
        self._section: str | None = None
        self._section_texts: list[str] = []
        self._graph: FoundGraph | None = None
        self._patch: FoundPatch | None = None
        self._part: str | None = None
        self._expanded = ""
        self._node: Node | None = None
        self._node_texts: list[str] = []
        self._stray: list[str] = []

    def read(self, text: str) -> Markup:
        """Return what was found."""
        position = 0
        while (tag := _TAG.search(text, position)) is not None:
            self._take_text(text[position : tag.start()])
            position = self._take_tag(text, tag)
        self._take_text(text[position:])
        self._finish()
        return self.found

    def _take_text(self, text: str, *, literal: bool = False) -> None:
        if not text:
            return
        if self._section is not None:
            self._section_texts.append(text)
        if self._node is not None:
            self._node_texts.append(text.replace("&", "&amp;") if literal else text)
        elif self._patch is not None and self._part == "remove":
            self._patch.remove += [word for word in re.split(r"[\s,;]+", text) if word]
        elif self._graph is not None or self._patch is not None:
            self._stray.append(text)
        self._line += text.count("\n")

    def _take_tag(self, text: str, tag: re.Match[str]) -> int:
        """Take the tag at its place and return where it ends."""
        thinking = self._section == "think"
        if tag["name"] is None:
            if thinking:
                return self._take_literal(text, tag.start(), tag.end())
            return self._take_special(text, tag)
        name = tag["name"].lower()
        name = "think" if name == "thinking" else name
        closing = bool(tag["end"])
        if self._is_only_text(name, closing=closing):
            return self._take_literal(text, tag.start(), tag.end())
        if closing or name in SECTIONS or name in ("patch", "add", "replace", "keep"):
            end = _TAG_END.match(text, tag.end())
            if end is None:
                return self._take_literal(text, tag.start(), tag.end())
            attributes, empty, after = dict[str, str](), bool(end["empty"]), end.end()
        else:
            attributes, empty, after = self._read_attributes(text, tag.end(), name)
            if name == "node" and not attributes and self._graph is None and self._patch is None:
                return self._take_literal(text, tag.start(), after)  # prose that speaks of a <node>
        line = self._line
        if self._section is not None and name not in SECTIONS:
            self._section_texts.append(text[tag.start() : after])
        if closing:
            self._close(name)
        else:
            self._open(name, attributes, line, empty=empty)
        self._line += text.count("\n", tag.start(), after)
        return after

    def _is_only_text(self, name: str, *, closing: bool) -> bool:
        """Whether a tag of this name means nothing where the reader is."""
        if self._section == "think":
            return not (name == "think" and closing)
        if name == "plan" and self._section == "reflection":
            return True  # a plan that was revised
        if closing and name in ("node", "graph") and self._graph is None and self._patch is None:
            return True
        if name in _PATCH_PARTS:
            return self._patch is None
        if self._node is None or name in ("node", "graph"):
            return False
        # In a node's text only what ends one of its surroundings can mean that the node ended.
        return not closing or not (name == self._section or (name == "patch" and self._patch is not None))

    def _take_literal(self, text: str, start: int, end: int) -> int:
        self._take_text(text[start:end])
        return end

    def _take_special(self, text: str, tag: re.Match[str]) -> int:
        if tag["dtd"] is not None:
            if self._node is None:
                raise InvalidPlan(
                    "The XML has a DTD or defines entities, which is refused. Remove <!DOCTYPE ...>.",
                    place=f"line {self._line}",
                )
            return self._take_literal(text, tag.start(), tag.end())
        ending = "-->" if tag[0] == "<!--" else "]]>"
        # One failed search says that none follows: so that many openings without an end cost no more than one.
        end = -1 if ending in self._has_no else text.find(ending, tag.end())
        if end < 0:
            self._has_no.add(ending)
            return self._take_literal(text, tag.start(), tag.end())
        if ending == "]]>" and self._node is not None:
            self._take_text(text[tag.end() : end], literal=True)
        else:
            self._line += text.count("\n", tag.start(), end)
        return end + len(ending)

    def _read_attributes(self, text: str, position: int, name: str) -> tuple[dict[str, str], bool, int]:
        """Return a tag's attributes, whether it closes itself, and where it ends."""
        attributes: dict[str, str] = {}
        mended = False
        while (end := _TAG_END.match(text, position)) is None:
            found = _ATTRIBUTE.match(text, position)
            value = read_value(text, found.end(), found["name"].lower()) if found is not None else None
            if found is None or value is None:
                raise self._broken_tag(text, position, name, attributes)
            if found["name"] in attributes:
                raise InvalidPlan(
                    f"The attribute {found['name']!r} is given twice. Keep one.",
                    place=f"line {self._line}, node {attributes.get('id', '')!r}",
                )
            if len(attributes) == MAX_ATTRIBUTES:
                raise InvalidPlan(f"A tag has more than {MAX_ATTRIBUTES} attributes.", place=f"line {self._line}")
            attributes[found["name"]], position, as_written = value
            mended = mended or not as_written
        if mended:
            self.found.repairs.note("The quotes of attributes were mended", attributes.get("id", ""))
        return attributes, bool(end["empty"]), end.end()

    def _broken_tag(self, text: str, position: int, name: str, attributes: dict[str, str]) -> InvalidPlan:
        started = _ID.match(text, position)
        task_id = attributes.get("id") or (started and started[1])
        place = f"line {self._line}" + (f", node {task_id!r}" if task_id else "")
        rest = text[position : position + 40]
        if ">" not in text[position:]:
            return InvalidPlan(f"The reply was cut off inside of <{name}>. Send all of it, shorter.", place=place)
        return InvalidPlan(f'Not readable inside of <{name}>: {rest!r}. Write name="value" pairs.', place=place)

    def _open(self, name: str, attributes: dict[str, str], line: int, *, empty: bool) -> None:
        if name == "node":
            self._open_node(attributes, line, empty=empty)
        elif name == "graph":
            self._open_graph(attributes, line, empty=empty)
        elif name == "patch":
            self._end_node(name)
            self._patch = FoundPatch(line=line)
            self.found.patches.append(self._patch)
            if empty:
                self._end_patch()
        elif name in _PATCH_PARTS:
            self._open_part(name, attributes, line, empty=empty)
        elif not empty:
            self._end_section()
            self._section = name
            if name == "think" and "think" not in self.found.sections:
                self.found.think_line = line

    def _close(self, name: str) -> None:
        if name == "node":
            if self._node is None:
                raise InvalidPlan(
                    "This </node> closes nothing: nodes hold no nodes, and end once.", place=f"line {self._line}"
                )
            self._end_node(None)
        elif name == "graph":
            self._end_graph(None)
        elif name == "patch":
            self._end_node(name)
            self._end_patch()
        elif name in _PATCH_PARTS:
            self._end_node(name)
            self._part = None
        elif name == self._section:
            self._end_section()
        elif name == "think" and self._section is None and self._graph is None:
            # Some models begin in thought, and mark only where that ends: what came before were drafts.
            for graph in self.found.graphs:
                graph.section = "think"
            self.found.sections.setdefault("think", [])

    def _open_graph(self, attributes: dict[str, str], line: int, *, empty: bool) -> None:
        if self._node is not None:
            raise InvalidPlan(
                "A <graph> begins inside of this node. Close the node, or write &lt;graph>.", place=self._node.place
            )
        if self._graph is not None:
            self._end_graph("graph")
        self._graph = FoundGraph(line=line, section=self._section or "", version=attributes.get("version"))
        self.found.graphs.append(self._graph)
        if empty:
            self._graph = None

    def _open_node(self, attributes: dict[str, str], line: int, *, empty: bool) -> None:
        self._end_node("node")
        if self._graph is None and (self._patch is None or self._part is None):
            if self._patch is not None:
                raise InvalidPlan(
                    "This node is in no part of the patch. Put it into <add>, <replace> or <expand id=...>.",
                    place=f"line {line}, node {attributes.get('id', '')!r}",
                )
            self._graph = FoundGraph(line=line, section=self._section or "")
            self.found.graphs.append(self._graph)
            self.found.repairs.note("A missing <graph> was added")
        self._node = Node(line=line, attributes=attributes)
        if empty:
            self._end_node(None)

    def _open_part(self, name: str, attributes: dict[str, str], line: int, *, empty: bool) -> None:
        assert self._patch is not None
        self._end_node(name)
        self._part = name if not empty else None
        task_id = attributes.get("id", "").strip()
        if name == "remove" and task_id:
            self._patch.remove += re.split(r"[\s,;]+", task_id)
        elif name == "expand":
            if not task_id:
                raise InvalidPlan('Say which task to expand: <expand id="s2">.', place=f"line {line}")
            self._expanded = task_id
            self._patch.expand.setdefault(task_id, [])

    def _end_node(self, implied_by: str | None) -> None:
        """The node ends: by its own tag (None), by another one, or by the end of the reply (an empty text)."""
        node, self._node = self._node, None
        if node is None:
            return
        text = decode("".join(self._node_texts))
        self._node_texts.clear()
        if implied_by is not None:
            text = _FENCE.sub("", text)
            # At the end of a reply only a call shows that all of it is there.
            if implied_by == "" and (self._cut_off or not is_whole_call(text.strip())):
                raise InvalidPlan(
                    "The reply was cut off inside of this node. Send all of it, shorter.", place=node.place
                )
            self.found.repairs.note("A missing </node> was added", node.attributes.get("id", ""))
        text = text.replace("\r\n", "\n")
        node.text = text.strip()
        if self._graph is not None:
            self._graph.nodes.append(node)
        elif self._patch is not None and self._part in ("add", "replace", "expand"):
            nodes = self._patch.expand[self._expanded] if self._part == "expand" else getattr(self._patch, self._part)
            nodes.append(node)
        else:
            raise InvalidPlan("This node is in no part of the patch that takes nodes.", place=node.place)

    def _end_graph(self, implied_by: str | None) -> None:
        graph = self._graph
        if graph is None:
            return
        self._end_node(implied_by)
        self._graph = None
        if implied_by is not None and graph.nodes:
            if implied_by == "" and (self._cut_off or _TAG_BEGINS.search("".join(self._stray[-3:]))):
                raise InvalidPlan(
                    "The reply was cut off before </graph>. Send all of it, shorter.",
                    place=graph.nodes[-1].place,
                )
            self.found.repairs.note("A missing </graph> was added")
        self._check_stray(graph.line)

    def _end_patch(self) -> None:
        patch, self._patch, self._part = self._patch, None, None
        if patch is not None:
            self._check_stray(patch.line)

    def _end_section(self) -> None:
        if self._graph is not None:
            self._end_graph(self._section or "section")
        if self._patch is not None:
            self._end_node("patch")
            self._end_patch()
        if self._section is not None:
            self.found.sections.setdefault(self._section, []).append("".join(self._section_texts))
            self._section_texts.clear()
            self._section = None

    def _finish(self) -> None:
        if self._graph is not None:
            self._end_graph("")
        if self._patch is not None:
            self._end_node("")
            raise InvalidPlan("The reply was cut off before </patch>. Send all of it, shorter.")
        self.found.think_is_open = self._section == "think"
        self._end_section()

    def _check_stray(self, line: int) -> None:
        """Text between the nodes is prose, unless it could be work that was written down wrongly."""
        stray = _FENCE.sub("", "".join(self._stray))
        self._stray.clear()
        words = " ".join(stray.split())
        if not words:
            return
        calls = (_STRAY_CALL.match(part.strip()) for part in stray.splitlines())
        wrong = _STRAY_TAG.search(stray) or next(filter(None, calls), None)
        if wrong is not None:
            raise InvalidPlan(
                f"{wrong[0][:40]!r} stands outside of the nodes. A graph holds <node id=...>call</node> alone.",
                place=f"the graph at line {line}",
            )
        self.found.repairs.note(f"Text outside of the nodes was left out: {words[:60]!r}")
