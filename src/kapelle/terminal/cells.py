"""What all that is shown is made of: texts that steer no terminal, tables that fit a narrow one, styles of states."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from kapelle.graph import Task, title_task
from kapelle.ledger import TaskRun, printable
from kapelle.redaction import hide_known

STYLES = {
    "done": "green",
    "failed": "red",
    "skipped": "yellow",
    "cancelled": "yellow",
    "running": "cyan",
    "waiting": "dim",
    "expanded": "cyan",
    "partial": "yellow",
    "stopped": "yellow",
    "interrupted": "red",
    "planning": "cyan",
    "asking": "magenta",
}
_MARKS = {"done": "✓", "failed": "✗", "skipped": "–", "cancelled": "■", "waiting": "·", "expanded": "+", "asking": "?"}
RUN_STYLES = {**STYLES, "waiting": STYLES["asking"]}
"""A task waits for others, a run for a person."""
NARROW = 60
"""Below so many columns, who does a task and its cost give way to its description."""


def styled(text: str, *, style: str = "") -> Text:
    return Text(printable(text), style=style)


def one_line(text: str, *, style: str = "") -> Text:
    return Text(printable(" ".join(text.split())), style=style, no_wrap=True, overflow="ellipsis")


def shorten(text: str, most: int) -> str:
    text = " ".join(hide_known(text).split())  # before it is cut: nobody could find half of a key
    return text if len(text) <= most else text[: most - 1] + "…"


def table_of(titles: Iterable[str], *, gives_way: str) -> Table:
    """Return an empty table whose columns keep their width, but for the one that gives way on a narrow terminal."""
    table = Table(box=None, pad_edge=False)
    for title in titles:
        # rich narrows the columns that may wrap; their cells are of one line, and end in an ellipsis.
        table.add_column(title, no_wrap=title != gives_way, overflow="ellipsis")
    return table


def task_table(width: int) -> Table:
    """Return an empty table of tasks: mark, id, description, time; agent and cost where there is room."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(6, width // 4), style="bold")
    table.add_column()
    table.add_column(no_wrap=True, style="dim")
    if width >= NARROW:
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 4, style="dim")
        table.add_column(no_wrap=True, style="dim")
    return table


def add_cells(table: Table, *cells: RenderableType) -> None:
    """Add a row of those cells that the table has columns for: rich would make columns of the others."""
    table.add_row(*cells[: len(table.columns)])


def task_cells(task: Task) -> tuple[Text, Text]:
    return one_line(task.task_id), one_line(shorten(title_task(task), 60))


def mark(task: TaskRun) -> Text:
    return Text(_MARKS.get(task.state, " "), style=STYLES[task.state])


class Printable:
    """Draws another renderable, and makes printable what it drew: Markdown turns `&#8238;` into the character."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._inner, options):
            yield Segment(text if control else printable(text), style, control)
