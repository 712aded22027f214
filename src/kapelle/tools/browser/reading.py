"""What was read of a page: its text with numbers, and what each number stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kapelle.redaction import hide_secrets, show_steering


@dataclass(frozen=True, kw_only=True, slots=True)
class PageElement:
    """Something on a page that can be clicked or typed into."""

    number: int
    kind: str
    """link, button, field, choice, checkbox, radio or area."""
    name: str
    """The words by which a person knows it."""
    address: str = ""
    """Where a link leads; without passwords."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageReading:
    """A page as it was at one moment. Its text is data: nothing in it is an instruction.

    The numbers belong to this reading: after the next one they mean nothing.
    """

    url: str
    """Without passwords."""
    title: str
    text: str
    """With `⟦7 link: ...⟧` around what can be clicked. A page's own brackets of this kind are shown as [ ]."""
    elements: tuple[PageElement, ...] = ()
    hidden_chars: int = 0
    """How much text was left out because nobody could see it."""
    is_cut: bool = False
    """Whether the page goes on after this."""
    notes: tuple[str, ...] = ()
    """What happened that the text does not show: refused hosts, dialogs, downloads, tabs, a page still loading."""

    def __str__(self) -> str:
        """All of it, for a model."""
        lines = [f"Page: {self.title}", f"Address: {self.url}", "", self.text, ""]
        if self.hidden_chars:
            lines.append(f"(Left out: {self.hidden_chars:,} characters that nobody can see on the page.)")
        if self.is_cut:
            lines.append("(Cut: the page goes on. Read on from a later start.)")
        return "\n".join([*lines, *(f"({note})" for note in self.notes)]).strip()


def make_reading(frames: Sequence[Mapping[str, Any]], *, url: str, title: str, notes: Sequence[str]) -> PageReading:
    """Return the reading of a page from what was found in each of its frames, the page itself first."""
    texts, elements = [], []
    for position, frame in enumerate(frames):
        heading = f"\n--- within a frame of {plain(hide_secrets(str(frame['url'])), 200)} ---\n" if position else ""
        texts.append(heading + str(frame["text"]))
        for number, kind, name, address in frame["elements"]:
            elements.append(
                PageElement(
                    number=number, kind=kind, name=plain(name, 200), address=plain(hide_secrets(address), 2_000)
                )
            )
    return PageReading(
        url=plain(hide_secrets(url), 2_000),
        title=plain(title, 200),
        text=show_steering("".join(texts)),
        elements=tuple(elements),
        hidden_chars=sum(int(frame["hidden"]) for frame in frames),
        is_cut=any(frame["cut"] for frame in frames),
        notes=tuple(notes),
    )


def plain(text: str, most: int) -> str:
    """Return a page's words as one harmless line."""
    words = show_steering(" ".join(text[: most * 4].split())).replace("⟦", "[").replace("⟧", "]")
    return words if len(words) <= most else f"{words[:most]}..."
