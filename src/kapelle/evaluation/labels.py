"""Puts labels beside points so that none lies on another, on a point, or outside of the picture. Pure geometry.

Greedy: the most important label chooses first. Each tries places around its point, near ones first; a place on another
label or point is out, one on a line costs a little, and a label for which there is no place is left out.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CHAR_WIDTH = 0.56
"""Of the font's size: between the mean letters of narrow sans-serif faces (0.5) and of wide ones (0.6)."""
_CROSSING = 40.0
"""What it costs a place if its thin line runs over something: more than to be far away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A rectangle of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box, *, gap: float = 0.0) -> bool:
        """Whether they have more in common than an edge, with so much air between."""
        return (
            self.left < other.right + gap
            and other.left < self.right + gap
            and self.top < other.bottom + gap
            and other.top < self.bottom + gap
        )

    def holds(self, x: float, y: float) -> bool:
        """Whether the point lies in it."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """A text that wants to stand beside a point."""

    text: str
    x: float
    y: float
    size: float = 13.0
    radius: float = 6.0
    """Of the point's mark."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Where a label stands: its box, and the line of text within."""

    label: Label
    box: Box

    @property
    def baseline(self) -> float:
        """Where the letters stand."""
        return self.box.bottom - 0.25 * self.label.size

    @property
    def anchor(self) -> str:
        """At which end it is fixed, so that a text of another width than was thought stays beside its point."""
        middle = (self.box.left + self.box.right) / 2
        if abs(middle - self.label.x) < 1:
            return "middle"
        return "start" if middle > self.label.x else "end"

    @property
    def x(self) -> float:
        """Where that end is."""
        if self.anchor == "middle":
            return (self.box.left + self.box.right) / 2
        return self.box.left if self.anchor == "start" else self.box.right

    @property
    def is_far(self) -> bool:
        """Whether it stands so far from its point that a thin line must lead there."""
        x = min(max(self.label.x, self.box.left), self.box.right)
        y = min(max(self.label.y, self.box.top), self.box.bottom)
        return math.hypot(x - self.label.x, y - self.label.y) > self.label.radius + 14


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is; wide characters count twice."""
    columns = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    return columns * CHAR_WIDTH * size


def place_labels(
    labels: Sequence[Label],
    *,
    within: Box,
    marks: Iterable[Box] = (),
    lines: Iterable[tuple[float, float, float]] = (),
) -> list[Placed]:
    """Return the labels that found a place, in their order: the first choose first.

    Args:
        labels: most important first.
        within: where labels may stand.
        marks: what they must not cover.
        lines: points (x, y, weight) of lines, close together, that they had better not cover.
    """
    taken = list(marks)
    points = list(lines)
    placed = []
    for label in labels:
        best: tuple[float, Box] | None = None
        for cost, box in _places(label):
            if box.left < within.left or box.right > within.right or box.top < within.top or box.bottom > within.bottom:
                continue
            if any(box.overlaps(other, gap=1.5) for other in taken):
                continue
            if _leads_across(Placed(label=label, box=box), taken):
                cost += _CROSSING
            total = cost + sum(weight for x, y, weight in points if box.holds(x, y))
            if best is None or total < best[0]:
                best = (total, box)
        if best is not None:
            taken.append(best[1])
            placed.append(Placed(label=label, box=best[1]))
    return placed


def _leads_across(placed: Placed, taken: Sequence[Box]) -> bool:
    """Whether the thin line from the point to its label would run over something else."""
    if not placed.is_far:
        return False
    x, y = placed.label.x, placed.label.y
    to_x, to_y = placed.x, min(max(y, placed.box.top), placed.box.bottom)
    others = [box for box in taken if not box.holds(x, y)]
    return any(
        box.holds(x + (to_x - x) * part / 12, y + (to_y - y) * part / 12) for part in range(13) for box in others
    )


def _places(label: Label) -> Iterable[tuple[float, Box]]:
    width, height = text_width(label.text, label.size), 1.2 * label.size
    for ring, distance in enumerate((4.0, 12.0, 24.0, 40.0, 60.0)):
        away = label.radius + distance
        near = 0.75 * away
        for rank, (x, y) in enumerate(
            (
                (label.x + away, label.y - height / 2),  # right
                (label.x + near, label.y - near - height),  # above, to the right
                (label.x + near, label.y + near),  # below, to the right
                (label.x - width / 2, label.y - away - height),  # above
                (label.x - width / 2, label.y + away),  # below
                (label.x - away - width, label.y - height / 2),  # left
                (label.x - near - width, label.y - near - height),
                (label.x - near - width, label.y + near),
            )
        ):
            yield 6.0 * ring + 0.5 * rank, Box(left=x, top=y, right=x + width, bottom=y + height)
