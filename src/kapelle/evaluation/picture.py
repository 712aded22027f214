"""Writes the plot into a file: SVG as it is, PNG through the extra `kapelle[plot]`. Beside it first, then renamed.

The PNG is drawn by resvg, which takes no font from the picture: the extra brings one, so that it works on a machine
that has none.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from pathlib import Path

from kapelle.errors import InvalidInput

from .plot import draw_curve
from .report import SavingsReport

SUFFIXES = (".svg", ".png")
SCALE = 2.0
"""Pixels of a PNG per unit of the picture, for sharp letters."""
_FONT_PACKAGE = "font_source_sans_pro"
_FONT_FILES = ("SourceSansPro-Regular.ttf", "SourceSansPro-Semibold.ttf")
_MISSING = "A PNG needs the extra `plot`: pip install 'kapelle[plot]'. An .svg needs nothing."


def check_plot_target(path: Path) -> None:
    """Refuse a file that could not be written, before any work is done for it.

    Raises:
        InvalidInput: it ends neither in .svg nor in .png, its folder is not there, or the extra for PNG is not.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"A plot is an .svg or a .png file, not {path.name!r}.")
    if not path.expanduser().parent.is_dir():
        raise InvalidInput(f"There is no folder {str(path.expanduser().parent)!r} to draw {path.name!r} in. Make it.")
    if path.suffix.lower() == ".png" and importlib.util.find_spec("resvg_py") is None:
        raise InvalidInput(_MISSING)


def write_plot(report: SavingsReport, path: Path) -> None:
    """Draw the report's cost-quality curve into the file.

    Raises:
        InvalidInput: see `check_plot_target`; or there is nothing to draw, or the file cannot be written.
    """
    check_plot_target(path)
    if not report.is_estimated:
        raise InvalidInput("There is no curve to draw: nothing could be estimated from this log.")
    svg = draw_curve(report)
    data = svg.encode() if path.suffix.lower() == ".svg" else render_png(svg)
    target = path.expanduser()
    try:
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(beside).chmod(0o644)  # mkstemp keeps others out, which a picture need not
            Path(beside).replace(target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidInput(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


def render_png(svg: str) -> bytes:
    """Return the picture as PNG.

    Raises:
        InvalidInput: the extra `plot` is not installed.
    """
    try:
        resvg = importlib.import_module("resvg_py")
    except ImportError as error:
        raise InvalidInput(_MISSING) from error
    fonts = _find_fonts()
    family = "Source Sans Pro" if fonts else None
    return bytes(
        resvg.svg_to_bytes(svg_string=svg, zoom=SCALE, font_files=fonts, sans_serif_family=family, font_family=family)
    )


def _find_fonts() -> list[str]:
    found = importlib.util.find_spec(_FONT_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return []
    folder = Path(next(iter(found.submodule_search_locations))) / "files"
    return [str(folder / name) for name in _FONT_FILES if (folder / name).is_file()]
