"""Writes the plot into a file, SVG or PNG, through the extra `kapelle[plot]`. Beside it first, then renamed.

The same report gives the same file: letters are drawn as paths, and no date is written into it.
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from importlib import import_module
from pathlib import Path

from kapelle.documents import write_beside_then_rename
from kapelle.errors import InvalidInput

from .plot import STYLE, draw_curve, headline
from .report import SavingsReport

SUFFIXES = (".svg", ".png")
PNG_DPI = 200


def check_plot_target(path: Path) -> None:
    """Refuse a file that could not be written, before any work is done for it.

    Raises:
        InvalidInput: it ends neither in .svg nor in .png, its folder is not there, or the extra is not.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"A plot is an .svg or a .png file, not {path.name!r}.")
    if not path.expanduser().parent.is_dir():
        raise InvalidInput(f"There is no folder {str(path.expanduser().parent)!r} to draw {path.name!r} in. Make it.")
    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidInput("A plot needs the extra `plot`: pip install 'kapelle[plot]'.")


def write_plot(report: SavingsReport, path: Path) -> None:
    """Draw the report's cost-quality curve into the file.

    Raises:
        InvalidInput: see `check_plot_target`; or there is nothing to draw, or the file cannot be written.
    """
    check_plot_target(path)
    if not report.is_estimated:
        raise InvalidInput("There is no curve to draw: nothing could be estimated from this log.")
    target = path.expanduser()
    write_beside_then_rename(target, render_plot(report, target.suffix.lower().removeprefix(".")))


def render_plot(report: SavingsReport, kind: str) -> bytes:
    """Return the picture as a file of this kind, `svg` or `png`."""
    written = io.BytesIO()
    figure = draw_curve(report)
    metadata = {"Date": None, "Title": headline(report)} if kind == "svg" else {"Title": headline(report)}
    with import_module("matplotlib").rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # as in plot: the font lacks a sign
        figure.savefig(written, format=kind, dpi=PNG_DPI if kind == "png" else "figure", metadata=metadata)
    return written.getvalue()
