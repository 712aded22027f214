"""What a notation found in a reply: graphs, patches and sections, as they stand there. Reads nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from .nodes import Node, Repairs

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
