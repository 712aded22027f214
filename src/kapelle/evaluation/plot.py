"""The cost-quality curve as a picture, drawn by matplotlib (the extra `plot`): dark on white, readable at a glance.

Across is the cost, up the quality, both in percent of today's; better is to the left and up. Shown are agents alone,
the line of random mixes of two, routing with its interval, and what hindsight would reach. An agent so much worse or
dearer that it would press everything else together is left out, and the picture says so. The colours are those of Okabe
and Ito (2008), which people who see few colours tell apart; kinds of points differ in shape too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

from kapelle.ledger import printable
from kapelle.strategies import upper_hull

from .report import Judged, SavingsReport, Target

_SIZE_INCHES = (9.6, 6.2)
_DEAREST = 1.6
"""Agents that cost more than this share of today's are left out, unless routing costs as much."""
_TEXT, _MUTED, _GRID, _MIX = "#111827", "#4b5563", "#e5e7eb", "#6b7280"
_ROUTED, _ORACLE, _TODAY, _AIM = "#0072b2", "#009e73", "#d55e00", "#b7791f"
_MAX_NAME = 34
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that a picture is the same everywhere
    "font.size": 9.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "kapelle",
    "text.color": _TEXT,
    "text.parse_math": False,  # a name may hold dollars
}
_SINGLE = "single agent"
_ROOM = 6.0
"""Points between a mark and its label."""

_Box = tuple[float, float, float, float]
"""left, bottom, right, top; in pixels."""


def draw_curve(report: SavingsReport) -> Any:
    """Return the picture of a report that has figures, as a `matplotlib.figure.Figure`."""
    assert report.is_estimated
    with import_module("matplotlib").rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a sign of a name that the font lacks is drawn as a box
        return _Picture(report).draw()


class _Picture:
    """One picture under way: what is shown, and the axes that it is drawn on."""

    def __init__(self, report: SavingsReport) -> None:
        self._report = report
        self._hull = _mix_line(report.singles)
        dearest = max([1.0, *(point.cost_share.value for point in report.curve)])
        shown = [one for one in report.singles if one.cost_share.value <= max(_DEAREST, dearest)]
        self._right = _round_up(1.04 * max([dearest, *(one.cost_share.value for one in shown)]), 0.05)
        matter = [
            min(target.quality_share for target in report.targets) - 0.02,
            *(point.quality_share.low for point in report.curve),
            *(one.quality_share.value for one in self._hull if one.cost_share.value <= self._right),
        ]
        self._low = math.floor(20 * max(min(matter) - 0.01, 0.0)) / 20
        best = [1.0, *(point.quality_share.high for point in report.curve)]
        best += [target.oracle.quality_share.value for target in report.targets if target.oracle is not None]
        self._high = _round_up(max(best) + 0.015, 0.05)
        self._singles = [one for one in shown if one.quality_share.value >= self._low and not self._is_today(one)]
        self._oracle = [target.oracle for target in report.targets if target.oracle is not None]
        self._figure: Any = import_module("matplotlib.figure").Figure(figsize=_SIZE_INCHES, facecolor="white")
        self._axes: Any = self._figure.add_axes((0.085, 0.115, 0.865, 0.68))

    def draw(self) -> Any:
        self._frame()
        self._lines()
        self._marks()
        self._legend()
        self._titles()
        import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(self._figure)
        self._labels()
        return self._figure

    def _frame(self) -> None:
        axes = self._axes
        axes.set_xlim(0.0, self._right)
        axes.set_ylim(self._low, self._high)
        percent = import_module("matplotlib.ticker").PercentFormatter(xmax=1.0, decimals=0, symbol=" %")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(percent)
        axes.set_xlabel("cost, % of today's", fontweight="bold", labelpad=6)
        axes.set_ylabel("quality, % of today's", fontweight="bold", labelpad=6)
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelcolor=_MUTED, pad=7)
        axes.spines[:].set_visible(False)

    def _titles(self) -> None:
        report = self._report
        how = "each task looked up" if report.method == "paired" else "doubly robust estimates from a partial log"
        today = report.today
        name = _cut(today.name, 40) if today is not None and today.is_agent else "what was logged"
        below = f"{_cut(_file_name(report.source), 40)}: {report.tasks:,} tasks, {how}. Today is {name}."
        self._figure.text(0.02, 0.945, _clean(headline(report)), fontsize=15, fontweight="bold", va="center")
        self._figure.text(0.02, 0.9, _clean(below), fontsize=9.5, color=_MUTED, va="center")
        hidden = len([one for one in report.singles if not self._is_today(one)]) - len(self._singles)
        if hidden:
            told = f"{hidden} agent{'s' if hidden > 1 else ''} out of the picture: worse or dearer than what is shown"
            self._figure.text(0.98, 0.012, told, fontsize=8.5, color=_MUTED, ha="right", va="bottom")

    def _lines(self) -> None:
        axes, curve = self._axes, self._report.curve
        for number, target in enumerate(self._report.targets):
            label = "quality to keep" if number == 0 else None
            axes.axhline(target.quality_share, color=_AIM, linestyle=":", linewidth=1.1, label=label, zorder=1.5)
        costs = [point.cost_share.value for point in curve]
        if len(curve) > 1:
            low, high = [one.quality_share.low for one in curve], [one.quality_share.high for one in curve]
            axes.fill_between(costs, low, high, color=_ROUTED, alpha=0.18, linewidth=0, zorder=1.6)
        axes.plot(*_places(self._hull), color=_MIX, linestyle="--", linewidth=1.4, label="random mix of two", zorder=2)
        if self._oracle:
            axes.plot(
                *_places(self._oracle), color=_ORACLE, linewidth=1.4, marker="^", markersize=7, markerfacecolor="white",
                label="oracle (hindsight)", zorder=3, clip_on=False,
            )  # fmt: skip
        axes.plot(*_places(curve), color=_ROUTED, linewidth=2.2, zorder=2.5)

    def _marks(self) -> None:
        ring: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 1.6}
        self._axes.plot(
            *_places(self._singles),
            marker="o",
            markersize=7,
            markeredgecolor=_MIX,
            label=_SINGLE,
            zorder=3,
            clip_on=False,
            **ring,
        )
        self._axes.plot(
            [1.0], [1.0], marker="D", markersize=9, color=_TODAY, markeredgecolor="white", linestyle="none", zorder=4
        )
        self._axes.plot(
            *_places([target.routed for target in self._report.targets]), marker="o", markersize=9.5, color=_ROUTED,
            markeredgecolor="white", linestyle="none", zorder=5, clip_on=False,
        )  # fmt: skip

    def _legend(self) -> None:
        interval = f"routing ({self._report.confidence:.0%} interval)".replace("%", " %")
        line = import_module("matplotlib.lines").Line2D([], [], color=_ROUTED, linewidth=2.2)
        band = import_module("matplotlib.patches").Patch(color=_ROUTED, alpha=0.18, linewidth=0)
        others, names = self._axes.get_legend_handles_labels()
        self._axes.legend(
            [(band, line), *others],
            [interval, *names],
            loc="lower left", bbox_to_anchor=(-0.075, 1.01), ncols=5, frameon=False, fontsize=9, handlelength=2.2,
            columnspacing=1.6, borderaxespad=0.2, borderpad=0.2,
        )  # fmt: skip

    def _labels(self) -> None:
        """Name the points, the important ones first, where no name lies on another or on a mark."""
        today = self._report.today
        assert today is not None
        hull = {one.name for one in self._hull}
        wanted: list[tuple[str, float, float, str, bool]] = [
            (tell(target), *_place(target.routed), _ROUTED, True) for target in _distinct(self._report.targets)
        ]
        wanted.append((f"today: {_cut(today.name)}", 1.0, 1.0, _TODAY, True))
        wanted += [
            (_cut(one.name), *_place(one), _MUTED, False)
            for one in sorted(self._singles, key=lambda one: (one.name not in hull, -one.quality_share.value))
        ]
        routed = [target.routed for target in self._report.targets]
        marks = [(1.0, 1.0), *(_place(one) for one in (*self._singles, *routed, *self._oracle))]
        to_pixels = self._axes.transData.transform
        taken = [_around(x, y, 8.0) for x, y in map(to_pixels, marks)]
        paths = [[to_pixels(_place(one)) for one in path] for path in (self._report.curve, self._hull, self._oracle)]
        lines = [point for path in paths for point in _along(path)]
        box = self._axes.get_window_extent()
        frame = (box.x0 + 2, box.y0 + 2, self._figure.bbox.x1 - 4, box.y1 - 2)
        renderer, in_points = self._figure.canvas.get_renderer(), 72.0 / self._figure.dpi
        for text, x, y, colour, matters in wanted:
            style: dict[str, Any] = {"color": colour, "fontsize": 9.5 if matters else 9.0, "zorder": 6}
            style["fontweight"] = "bold" if matters else "normal"
            drawn = self._axes.annotate(_clean(text), (x, y), xytext=(0, 0), textcoords="offset points", **style)
            extent = drawn.get_window_extent(renderer)
            place = _find_place(to_pixels((x, y)), (extent.width, extent.height), taken, lines, frame)
            if place is None and not matters:
                drawn.remove()  # better no name than one over another
                continue
            left, bottom, is_far = place or (frame[2] - extent.width, frame[1], True)
            taken.append((left - 2, bottom - 1, left + extent.width + 2, bottom + extent.height + 1))
            # Where it stands now says what hangs below its line, as the letter g does.
            drawn.set_position(((left - extent.x0) * in_points, (bottom - extent.y0) * in_points))
            if is_far:
                self._lead((x, y), (left, bottom, left + extent.width, bottom + extent.height), colour)
            effects = import_module("matplotlib.patheffects")
            drawn.set_path_effects([effects.withStroke(linewidth=3.0, foreground="white")])

    def _lead(self, mark: tuple[float, float], label: _Box, colour: str) -> None:
        """Draw a thin line from a mark to its label."""
        x, y = self._axes.transData.transform(mark)
        in_points = 72.0 / self._figure.dpi
        end_x, end_y = _nearest(label, x, y)
        ends = ((end_x - x) * in_points, (end_y - y) * in_points)
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        self._axes.annotate("", mark, xytext=ends, textcoords="offset points", arrowprops=line, zorder=2.9)

    def _is_today(self, one: Judged) -> bool:
        return self._report.today is not None and one.name == self._report.today.name


def headline(report: SavingsReport) -> str:
    """Return what the picture shows, as a sentence."""
    kept = sorted(report.targets, key=lambda target: target.quality_share)[len(report.targets) // 2]
    routed = kept.routed
    reached, cost = 100 * routed.quality_share.value, 100 * routed.cost_share.value
    if routed.saving.high <= 0.005:
        return f"Routing would have saved nothing at {100 * kept.quality_share:g} % of today's quality"
    return f"Routing reaches {reached:.0f} % of today's quality at {cost:.0f} % of its cost"


def tell(target: Target) -> str:
    """Return what a target saves, in a few words."""
    saving = target.routed.saving.value
    told = f"saves {100 * saving:.0f} %" if saving >= 0.005 else "saves nothing"
    return f"{100 * target.quality_share:g} % kept: {told}"


def _find_place(
    mark: Sequence[float],
    size: tuple[float, float],
    taken: Sequence[_Box],
    lines: Sequence[tuple[float, float]],
    frame: _Box,
) -> tuple[float, float, bool] | None:
    """Return the left lower corner of a free place for a label near its mark, and whether that is so far that a line
    must lead there: the one over the fewest lines, then the nearest one; None where all are taken."""
    width, height = size
    best: tuple[float, tuple[float, float, bool]] | None = None
    for far in (1.0, 2.5, 4.5):
        room = 8.0 + _ROOM * far
        for side, up in ((1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, 1), (0, -1)):
            left = mark[0] + (room if side > 0 else -room - width if side < 0 else -width / 2)
            bottom = mark[1] + (room if up > 0 else -room - height if up < 0 else -height / 2)
            box = (left, bottom, left + width, bottom + height)
            if box[0] < frame[0] or box[1] < frame[1] or box[2] > frame[2] or box[3] > frame[3]:
                continue
            if any(_overlap(box, other) for other in taken):
                continue
            if far > 1.0 and any(_holds(other, *point) for point in _lead_of(mark, box) for other in taken):
                continue
            crossed = sum(_holds(box, x, y) for x, y in lines)
            rank = crossed + 8.0 * far
            if best is None or rank < best[0]:
                best = (rank, (left, bottom, far > 1.0))
    return None if best is None else best[1]


def _nearest(box: _Box, x: float, y: float) -> tuple[float, float]:
    return min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])


def _lead_of(mark: Sequence[float], box: _Box) -> list[tuple[float, float]]:
    """Return points along the line from a mark to its label, those beyond the mark itself."""
    points = _along([mark, _nearest(box, mark[0], mark[1])])
    return [(x, y) for x, y in points if math.hypot(x - mark[0], y - mark[1]) > 13.0]


def _holds(box: _Box, x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _around(x: float, y: float, radius: float) -> _Box:
    return (x - radius, y - radius, x + radius, y + radius)


def _place(judged: Judged) -> tuple[float, float]:
    return judged.cost_share.value, judged.quality_share.value


def _places(several: Sequence[Judged]) -> tuple[list[float], list[float]]:
    return [one.cost_share.value for one in several], [one.quality_share.value for one in several]


def _distinct(targets: Sequence[Target]) -> list[Target]:
    """Return the targets, of those that landed on one point the highest."""
    by_place = {
        (round(target.routed.cost_share.value, 3), round(target.routed.quality_share.value, 3)): target
        for target in sorted(targets, key=lambda target: target.quality_share)
    }
    return list(by_place.values())


def _mix_line(singles: Sequence[Judged]) -> list[Judged]:
    """Return the agents on the upper hull, from the cheapest to the best: random mixes lie on the line between."""
    hull = upper_hull([one.cost_share.value for one in singles], [one.quality_share.value for one in singles])
    return [singles[at] for at in hull]


def _round_up(value: float, step: float) -> float:
    return math.ceil(value / step - 1e-9) * step


def _along(path: Sequence[Sequence[float]]) -> Iterator[tuple[float, float]]:
    """Yield points of the path, a few pixels apart."""
    for (x, y), (to_x, to_y) in pairwise(path):
        steps = max(1, int(math.hypot(to_x - x, to_y - y) / 6))
        for step in range(steps + 1):
            yield x + (to_x - x) * step / steps, y + (to_y - y) * step / steps


def _file_name(source: str) -> str:
    return source.replace("\\", "/").rpartition("/")[2] or source


def _cut(name: str, most: int = _MAX_NAME) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _clean(text: str) -> str:
    line = " ".join(printable(text).split())
    # These two are no characters in XML 1.0, and printable leaves them.
    return line.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
