"""A graph as an SVG picture: a box for each task in the column of its level, coloured by state if a run is drawn.

The picture needs nothing else: no script, no font, no network. Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

from kapelle.redaction import STEERS

from .calls import fits_in_xml
from .captions import STATES, clean_text, cut_text, describe_task, wrap_text
from .layout import Layout, Sizes, lay_out
from .task import Task
from .topology import Adjacency

_WIDTH = 232.0
_HEAD_COLUMNS = 24
"""Characters for the id and the type together in the width of a box, as wide as in the widest of the fonts."""
_TYPE_COLUMNS = 14
_TEXT_COLUMNS = 29
_FOOT_COLUMNS = 31
_TITLE_COLUMNS = 500

_LIGHT = {
    "page": "#ffffff", "box": "#f8fafc", "line": "#cbd5e1", "edge": "#94a3b8", "text": "#0f172a", "muted": "#64748b",
    "critical": "#c2410c", "waiting": "#64748b", "running": "#2563eb", "done": "#15803d", "failed": "#b91c1c",
    "cancelled": "#b45309", "skipped": "#64748b", "asking": "#7e22ce",
}  # fmt: skip
_DARK = {
    "page": "#0f172a", "box": "#1e293b", "line": "#475569", "edge": "#64748b", "text": "#e2e8f0", "muted": "#94a3b8",
    "critical": "#fb923c", "waiting": "#94a3b8", "running": "#60a5fa", "done": "#4ade80", "failed": "#f87171",
    "cancelled": "#fbbf24", "skipped": "#94a3b8", "asking": "#c084fc",
}  # fmt: skip


def draw_svg(
    tasks: Sequence[Task],
    predecessors: Adjacency,
    successors: Adjacency,
    *,
    status: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    critical_path: Collection[str] = (),
) -> str:
    """Return the picture; see `TaskDAG.to_svg`."""
    status, notes = status or {}, notes or {}
    texts = [wrap_text(describe_task(task), _TEXT_COLUMNS, 2) for task in tasks]
    rows = max(map(len, texts), default=0)
    has_foot = bool(status or notes)
    sizes = Sizes(box_width=_WIDTH, box_height=34.0 + 17.0 * rows + (19.0 if has_foot else 0.0))
    layout = lay_out(predecessors, successors, sizes)
    steps = set(pairwise(critical_path))
    edges = list(_draw_edges(tasks, successors, layout, sizes, steps))
    boxes = [
        _draw_box(
            task, layout.boxes[number], texts[number], sizes, status, notes, critical=task.task_id in critical_path
        )
        for number, task in enumerate(tasks)
    ]
    width, height = _number(layout.width), _number(layout.height)
    size = f'width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="kapelle-graph" {size} viewBox="0 0 {width} {height}">',
            f"<style>\n{_style()}\n</style>",
            f"<defs>{_draw_marker('', 8)}{_draw_marker('critical-', 11)}</defs>",
            f'<rect class="page" {size}/>',
            *[text for critical, text in sorted(edges, key=lambda edge: edge[0])],  # what is critical lies on top
            *boxes,
            "</svg>\n",
        ]
    )


def _draw_marker(prefix: str, size: int) -> str:
    """Return the head of the arrows; it ends a little inside of the box, so that no gap shows."""
    return (
        f'<marker id="kapelle-{prefix}arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="{size}" '
        f'markerHeight="{size}" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="{prefix}tip" d="M0 0.5L8 4L0 7.5Z"/></marker>'
    )


def _style() -> str:
    return "\n".join(
        [
            ".kapelle-graph text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}",
            ".kapelle-graph .id{font-weight:600;font-size:13px}",
            ".kapelle-graph .small{font-size:11px}",
            ".kapelle-graph .right{text-anchor:end}",
            ".kapelle-graph .edge{fill:none;stroke-width:1.4}",
            ".kapelle-graph .critical-edge{fill:none;stroke-width:2.4}",
            ".kapelle-graph .box{stroke-width:1}",
            ".kapelle-graph .critical-box{stroke-width:2}",
            ".kapelle-graph .skipped-box,.kapelle-graph .cancelled-box{stroke-dasharray:5 3}",
            *_colours(_LIGHT),
            "@media (prefers-color-scheme:dark){",
            *_colours(_DARK),
            "}",
        ]
    )


def _colours(of: Mapping[str, str]) -> Iterator[str]:
    yield f".kapelle-graph .page{{fill:{of['page']}}}"
    yield f".kapelle-graph .box{{fill:{of['box']};stroke:{of['line']}}}"
    yield f".kapelle-graph .critical-box{{stroke:{of['critical']}}}"
    yield f".kapelle-graph .edge{{stroke:{of['edge']}}}"
    yield f".kapelle-graph .tip{{fill:{of['edge']}}}"
    yield f".kapelle-graph .critical-edge{{stroke:{of['critical']}}}"
    yield f".kapelle-graph .critical-tip{{fill:{of['critical']}}}"
    yield f".kapelle-graph text{{fill:{of['text']}}}"
    yield f".kapelle-graph .muted{{fill:{of['muted']}}}"
    for state in STATES:
        yield f".kapelle-graph .{state}{{fill:{of[state]}}}"


def _draw_edges(
    tasks: Sequence[Task], successors: Adjacency, layout: Layout, sizes: Sizes, steps: Collection[tuple[str, str]]
) -> Iterator[tuple[bool, str]]:
    for node, after in enumerate(successors):
        for other in after:
            name = (tasks[node].task_id, tasks[other].task_id)
            critical = name in steps
            prefix = "critical-" if critical else ""
            drawn = f'class="{prefix}edge" d="{_draw_path(node, other, layout, sizes)}"'
            title = f"<title>{name[0]} → {name[1]}</title>"
            yield critical, f'<path {drawn} marker-end="url(#kapelle-{prefix}arrow)">{title}</path>'


def _draw_path(node: int, other: int, layout: Layout, sizes: Sizes) -> str:
    """Return the curve from the right side of one box to the left side of another, along the lanes between them."""
    x, y = layout.boxes[node]
    x, y = x + sizes.box_width, y + sizes.box_height / 2
    skipped = layout.columns[other] - layout.columns[node] - 1
    path = [f"M{_number(x)} {_number(y)}"]
    for lane_x, lane_y in layout.lanes[node][:skipped]:
        path.append(_curve(x, y, lane_x, lane_y))
        x, y = lane_x + sizes.box_width, lane_y
        path.append(f"H{_number(x)}")
    end_x, end_y = layout.boxes[other]
    path.append(_curve(x, y, end_x - 1, end_y + sizes.box_height / 2))
    return "".join(path)


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = (to_x - x) / 2
    numbers = (x + bend, y, to_x - bend, to_y, to_x, to_y)
    return "C" + " ".join(map(_number, numbers))


def _draw_box(
    task: Task,
    corner: tuple[float, float],
    texts: Sequence[str],
    sizes: Sizes,
    status: Mapping[str, str],
    notes: Mapping[str, str],
    *,
    critical: bool,
) -> str:
    state = clean_text(status.get(task.task_id, ""))
    note = clean_text(notes.get(task.task_id, ""))
    classes = "box" + (" critical-box" if critical else "") + (f" {state}-box" if state in STATES else "")
    width, height = _number(sizes.box_width), _number(sizes.box_height)
    kind = cut_text(clean_text(task.task_type), _TYPE_COLUMNS)
    name = cut_text(task.task_id, _HEAD_COLUMNS - len(kind))
    right = _number(sizes.box_width - 12)
    foot = _number(sizes.box_height - 11)
    lines = [
        f'<g transform="translate({_number(corner[0])} {_number(corner[1])})">',
        f"<title>{_escape(_explain(task, state, note))}</title>",
        f'<rect class="{classes}" width="{width}" height="{height}" rx="8"/>',
    ]
    if state in STATES:
        lines.append(f'<rect class="{state}" x="5" y="8" width="4" height="{_number(sizes.box_height - 16)}" rx="2"/>')
    lines += [
        f'<text class="id" x="16" y="22">{_escape(name)}</text>',
        f'<text class="small muted right" x="{right}" y="22">{_escape(kind)}</text>',
    ]
    lines += [f'<text x="16" y="{40 + 17 * row}">{_escape(text)}</text>' for row, text in enumerate(texts)]
    if note:
        columns = _FOOT_COLUMNS - (len(state) + 1 if state else 0)
        lines.append(f'<text class="small muted" x="16" y="{foot}">{_escape(cut_text(note, columns))}</text>')
    if state:
        colour = state if state in STATES else "muted"
        lines.append(f'<text class="small right {colour}" x="{right}" y="{foot}">{_escape(cut_text(state, 12))}</text>')
    return "".join([*lines, "</g>"])


def _explain(task: Task, state: str, note: str) -> str:
    """Return the tooltip of a box."""
    rows = [
        f"{task.task_id} ({task.task_type})" + (f": {state}" if state else ""),
        cut_text(describe_task(task), _TITLE_COLUMNS),
        f"after {', '.join(task.dependencies)}" if task.dependencies else "",
        note,
    ]
    return "\n".join(row for row in rows if row)


def _escape(text: str) -> str:
    text = "".join(char if char == "\n" or fits_in_xml(char) else "\ufffd" for char in STEERS.sub("\ufffd", text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
