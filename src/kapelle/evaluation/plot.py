"""The cost-quality curve as an SVG picture: dark on white, readable at a glance, and it needs nothing else.

Across is the cost, up the quality, both in percent of today's; better is to the left and up. Shown are agents alone,
the line of random mixes of two, routing with its interval, and what hindsight would reach. An agent so much worse or
dearer that it would press everything else together is left out, and the picture says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from kapelle.ledger import printable

from .labels import Box, Label, place_labels, text_width
from .report import Judged, SavingsReport, Target

WIDTH, HEIGHT = 960.0, 620.0
_FRAME = Box(left=82.0, top=128.0, right=WIDTH - 64.0, bottom=HEIGHT - 74.0)
_DEAREST = 1.6
"""Agents that cost more than this share of today's are left out, unless routing costs as much."""
_FONT = "'Source Sans Pro','Source Sans 3',system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif"
_TEXT, _MUTED, _GRID, _SINGLE, _MIX = "#111827", "#4b5563", "#e5e7eb", "#6b7280", "#9ca3af"
_ROUTED, _BAND, _ORACLE, _TODAY, _AIM = "#1d4ed8", "#93c5fd", "#047857", "#b91c1c", "#d97706"
_MOST_NAME = 34


def draw_curve(report: SavingsReport) -> str:
    """Return the picture of a report that has figures."""
    assert report.is_estimated
    return _Picture(report).draw()


class _Picture:
    """One picture under way: the scales, and what is drawn on them."""

    def __init__(self, report: SavingsReport) -> None:
        self._report = report
        self._hull = _mix_line(report.singles)
        dearest = max([1.0, *(point.cost_share.value for point in report.curve)])
        shown = [one for one in report.singles if one.cost_share.value <= max(_DEAREST, dearest)]
        self._right = _round_up(1.04 * max([dearest, *(one.cost_share.value for one in shown)]), 0.05)
        matter = [
            *(point.quality_share.low for point in report.curve),
            *(min(target.quality_share for target in report.targets) - 0.02 for _ in (0,)),
            *(one.quality_share.value for one in self._hull if one.cost_share.value <= self._right),
        ]
        self._low = math.floor(20 * max(min(matter) - 0.01, 0.0)) / 20
        best = [1.0, *(point.quality_share.high for point in report.curve)]
        best += [target.oracle.quality_share.value for target in report.targets if target.oracle is not None]
        self._high = _round_up(max(best) + 0.015, 0.05)
        self._singles = [one for one in shown if one.quality_share.value >= self._low]

    def draw(self) -> str:
        size = f'width="{WIDTH:g}" height="{HEIGHT:g}"'
        body = [
            f'<rect {size} fill="#ffffff"/>',
            *self._titles(),
            *self._axes(),
            f'<g clip-path="url(#kapelle-frame)">{"".join(self._lines())}</g>',
            *self._marks(),
            *self._labels(),
            *self._legend(),
        ]
        frame = f'<rect x="{_FRAME.left:g}" y="{_FRAME.top:g}" width="{_FRAME.right - _FRAME.left:g}" '
        frame += f'height="{_FRAME.bottom - _FRAME.top:g}"/>'
        opening = f'xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        opening += f'font-family="{escape(_FONT)}" font-size="13" fill="{_TEXT}"'
        return "\n".join(
            [
                f"<svg {opening}>",
                f"<title>{_clean(_headline(self._report))}</title>",
                f'<defs><clipPath id="kapelle-frame">{frame}</clipPath></defs>',
                *body,
                "</svg>\n",
            ]
        )

    def _x(self, cost_share: float) -> float:
        return _FRAME.left + cost_share / self._right * (_FRAME.right - _FRAME.left)

    def _y(self, quality_share: float) -> float:
        part = (quality_share - self._low) / (self._high - self._low)
        return _FRAME.bottom - part * (_FRAME.bottom - _FRAME.top)

    def _at(self, judged: Judged) -> tuple[float, float]:
        return self._x(judged.cost_share.value), self._y(judged.quality_share.value)

    def _titles(self) -> Iterator[str]:
        report = self._report
        yield _text(_FRAME.left - 58, 38, _headline(report), size=23, weight=600)
        how = "each task looked up" if report.method == "paired" else "doubly robust estimates from a partial log"
        today = report.today.name if report.today is not None else ""
        today = _cut(today, 40) if report.today is not None and report.today.is_agent else "what was logged"
        below = f"{_cut(_file_name(report.source), 40)}: {report.tasks:,} tasks, {how}. Today is {today}."
        yield _text(_FRAME.left - 58, 63, below, size=14, fill=_MUTED)

    def _axes(self) -> Iterator[str]:
        for tick in _ticks(self._low, self._high):
            y = self._y(tick)
            yield _line(_FRAME.left, y, _FRAME.right, y, _GRID)
            yield _text(_FRAME.left - 10, y + 4.5, f"{100 * tick:.0f} %", anchor="end", fill=_MUTED)
        for tick in _ticks(0.0, self._right):
            x = self._x(tick)
            yield _line(x, _FRAME.top, x, _FRAME.bottom, _GRID)
            yield _text(x, _FRAME.bottom + 20, f"{100 * tick:.0f} %", anchor="middle", fill=_MUTED)
        middle = (_FRAME.left + _FRAME.right) / 2
        yield _text(middle, _FRAME.bottom + 44, "cost, % of today's", anchor="middle", size=14, weight=600)
        x, y = _FRAME.left - 58, (_FRAME.top + _FRAME.bottom) / 2
        turned = f'transform="rotate(-90 {x:g} {y:g})"'
        yield _text(x, y, "quality, % of today's", anchor="middle", size=14, weight=600, more=turned)
        hidden = len(self._report.singles) - len(self._singles)
        if hidden:
            told = f"{hidden} agent{'s' if hidden > 1 else ''} out of the picture: worse or dearer than what is shown"
            yield _text(_FRAME.right, HEIGHT - 10, told, anchor="end", size=12, fill=_MUTED)

    def _lines(self) -> Iterator[str]:
        for target in self._report.targets:
            y = self._y(target.quality_share)
            yield _line(_FRAME.left, y, _FRAME.right, y, _AIM, dash="2 4", width=1.3)
        curve = self._report.curve
        upper = [(self._x(point.cost_share.value), self._y(point.quality_share.high)) for point in curve]
        lower = [(self._x(point.cost_share.value), self._y(point.quality_share.low)) for point in curve]
        if len(curve) > 1:
            band = " ".join(_pair(*point) for point in (*upper, *reversed(lower)))
            yield f'<polygon points="{band}" fill="{_BAND}" fill-opacity="0.38"/>'
        yield _polyline([self._at(one) for one in self._hull], _MIX, dash="7 5", width=1.8)
        yield _polyline(self._oracle(), _ORACLE, width=1.8)
        yield _polyline([self._at(point) for point in curve], _ROUTED, width=2.8)

    def _oracle(self) -> list[tuple[float, float]]:
        return [self._at(target.oracle) for target in self._report.targets if target.oracle is not None]

    def _today(self) -> tuple[float, float]:
        return self._x(1.0), self._y(1.0)

    def _marks(self) -> Iterator[str]:
        for one in self._singles:
            if not self._is_today(one):
                yield _circle(*self._at(one), 5.0, fill="#ffffff", stroke=_SINGLE, title=_describe(one))
        for x, y in self._oracle():
            yield _circle(x, y, 4.5, fill="#ffffff", stroke=_ORACLE)
        x, y = self._today()
        yield f'<path d="M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8 -8z" fill="{_TODAY}" stroke="#ffffff" stroke-width="1.5"/>'
        for target in self._report.targets:
            yield _circle(*self._at(target.routed), 6.5, fill=_ROUTED, stroke="#ffffff", title=_describe(target.routed))

    def _labels(self) -> Iterator[str]:
        today = self._report.today
        assert today is not None
        important = [
            *(
                (
                    Label(text=_tell(target), x=self._at(target.routed)[0], y=self._at(target.routed)[1], size=14),
                    _ROUTED,
                    600,
                )
                for target in _distinct(self._report.targets)
            ),
            (
                Label(text=f"today: {_cut(today.name)}", x=self._today()[0], y=self._today()[1], size=14, radius=9),
                _TODAY,
                600,
            ),
        ]
        hull = {one.name for one in self._hull}
        ranked = sorted(self._singles, key=lambda one: (one.name not in hull, -one.quality_share.value))
        named = [
            (Label(text=_cut(one.name), x=self._at(one)[0], y=self._at(one)[1], size=13), _MUTED, 400)
            for one in ranked
            if not self._is_today(one)
        ]
        wanted = [*important, *named]
        styles = {id(label): (colour, weight) for label, colour, weight in wanted}
        marks = [_around(*self._at(one), 6) for one in self._singles]
        marks += [_around(*self._at(target.routed), 7) for target in self._report.targets]
        marks += [_around(x, y, 6) for x, y in self._oracle()] + [_around(*self._today(), 9)]
        aims = [self._y(target.quality_share) for target in self._report.targets]
        lines = [
            (x, y, weight)
            for weight, path in (
                (4.0, [self._at(point) for point in self._report.curve]),
                (2.0, [self._at(one) for one in self._hull]),
                (2.0, self._oracle()),
                *((0.4, [(_FRAME.left, y), (_FRAME.right, y)]) for y in aims),
            )
            for x, y in _along(path)
        ]
        within = Box(left=_FRAME.left + 3, top=_FRAME.top + 2, right=WIDTH - 6, bottom=_FRAME.bottom - 2)
        for placed in place_labels([label for label, _, _ in wanted], within=within, marks=marks, lines=lines):
            colour, weight = styles[id(placed.label)]
            if placed.is_far:
                x = placed.x
                y = min(max(placed.label.y, placed.box.top), placed.box.bottom)
                yield _line(placed.label.x, placed.label.y, x, y, colour, width=0.8)
            yield _text(
                placed.x,
                placed.baseline,
                placed.label.text,
                size=placed.label.size,
                weight=weight,
                anchor=placed.anchor,
                fill=colour,
                halo=True,
            )

    def _legend(self) -> Iterator[str]:
        x, y = _FRAME.left, 100.0
        interval = f"routing ({self._report.confidence:.0%} interval)".replace("%", " %")
        entries = [(interval, _ROUTED), ("random mix of two", _MIX), ("single agent", _SINGLE)]
        if self._oracle():
            entries.append(("oracle (hindsight)", _ORACLE))
        entries.append(("quality to keep", _AIM))
        for text, colour in entries:
            if colour == _ROUTED:
                yield f'<rect x="{x:.1f}" y="{y - 12:.1f}" width="26" height="14" fill="{_BAND}" fill-opacity="0.45"/>'
            if colour == _SINGLE:
                yield _circle(x + 13, y - 5, 5.0, fill="#ffffff", stroke=_SINGLE)
            else:
                dash = "7 5" if colour == _MIX else "2 4" if colour == _AIM else ""
                yield _line(x, y - 5, x + 26, y - 5, colour, dash=dash, width=2.6 if colour == _ROUTED else 1.8)
            if colour == _ORACLE:
                yield _circle(x + 13, y - 5, 4.5, fill="#ffffff", stroke=_ORACLE)
            yield _text(x + 34, y, text, size=13, fill=_TEXT)
            x += 34 + 0.86 * text_width(text, 13) + 26

    def _is_today(self, one: Judged) -> bool:
        return self._report.today is not None and one.name == self._report.today.name


def _headline(report: SavingsReport) -> str:
    kept = sorted(report.targets, key=lambda target: target.quality_share)[len(report.targets) // 2]
    routed = kept.routed
    reached, cost = 100 * routed.quality_share.value, 100 * routed.cost_share.value
    if routed.saving.high <= 0.005:
        return f"Routing would have saved nothing at {100 * kept.quality_share:g} % of today's quality"
    return f"Routing reaches {reached:.0f} % of today's quality at {cost:.0f} % of its cost"


def _tell(target: Target) -> str:
    saving = target.routed.saving.value
    told = f"saves {100 * saving:.0f} %" if saving >= 0.005 else "saves nothing"
    return f"{100 * target.quality_share:g} % kept: {told}"


def _distinct(targets: Sequence[Target]) -> list[Target]:
    """Return the targets, of those that landed on one point the highest."""
    by_place = {
        (round(target.routed.cost_share.value, 3), round(target.routed.quality_share.value, 3)): target
        for target in sorted(targets, key=lambda target: target.quality_share)
    }
    return list(by_place.values())


def _describe(judged: Judged) -> str:
    return (
        f"{judged.name}: {100 * judged.quality_share.value:.1f} % of today's quality, "
        f"{100 * judged.cost_share.value:.1f} % of its cost"
    )


def _mix_line(singles: Sequence[Judged]) -> list[Judged]:
    """Return the agents on the upper hull, from the cheapest to the best: random mixes lie on the line between."""
    hull: list[Judged] = []
    for one in sorted(singles, key=lambda judged: (judged.cost_share.value, -judged.quality_share.value)):
        if hull and one.quality_share.value <= hull[-1].quality_share.value:
            continue
        while len(hull) > 1 and _is_below(hull[-2], hull[-1], one):
            hull.pop()
        hull.append(one)
    return hull


def _is_below(first: Judged, middle: Judged, last: Judged) -> bool:
    rise = last.quality_share.value - first.quality_share.value
    run = last.cost_share.value - first.cost_share.value
    part = (middle.cost_share.value - first.cost_share.value) / run if run else 0.0
    return middle.quality_share.value <= first.quality_share.value + part * rise


def _ticks(low: float, high: float) -> Iterator[float]:
    span = high - low
    step = next(step for step in (0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, span) if span / step <= 10)
    for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield number * step


def _round_up(value: float, step: float) -> float:
    return math.ceil(value / step - 1e-9) * step


def _along(path: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield points of the path, a few pixels apart."""
    for (x, y), (to_x, to_y) in pairwise(path):
        steps = max(1, int(math.hypot(to_x - x, to_y - y) / 6))
        for step in range(steps + 1):
            yield x + (to_x - x) * step / steps, y + (to_y - y) * step / steps


def _around(x: float, y: float, radius: float) -> Box:
    return Box(left=x - radius, top=y - radius, right=x + radius, bottom=y + radius)


def _file_name(source: str) -> str:
    return source.replace("\\", "/").rpartition("/")[2] or source


def _cut(name: str, most: int = _MOST_NAME) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _clean(text: str) -> str:
    line = " ".join(printable(text).split())
    # These two are no characters in XML 1.0, and printable leaves them.
    return escape(line.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd"))


def _pair(x: float, y: float) -> str:
    return f"{x:.1f},{y:.1f}"


def _text(
    x: float, y: float, text: str, *, size: float = 13, weight: int = 400, anchor: str = "start", fill: str = _TEXT,
    halo: bool = False, more: str = "",
) -> str:  # fmt: skip
    around = ' stroke="#ffffff" stroke-width="3.5" stroke-linejoin="round" paint-order="stroke"' if halo else ""
    where = f'x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" font-weight="{weight}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {where}{around}{' ' + more if more else ''}>{_clean(text)}</text>"


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, *, dash: str = "", width: float = 1.0) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def _polyline(points: Sequence[tuple[float, float]], colour: str, *, dash: str = "", width: float = 1.0) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    joined = " ".join(_pair(*point) for point in points)
    return (
        f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
        f'stroke-linejoin="round"{dashed}/>'
    )


def _circle(x: float, y: float, radius: float, *, fill: str, stroke: str, title: str = "") -> str:
    told = f"<title>{_clean(title)}</title>" if title else ""
    where = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"'
    return f'<circle {where} fill="{fill}" stroke="{stroke}" stroke-width="2">{told}</circle>'
