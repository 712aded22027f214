"""The picture holds what it should, names from a log cannot break it, and no label lies on another."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Annotation, Text

from kapelle.errors import InvalidInput
from kapelle.evaluation import SavingsReport, draw_curve, format_report, savings_report, write_plot
from kapelle.evaluation.picture import check_plot_target, render_plot
from tests.evaluation.worlds import TypeMeans, TypePolicy, hide, make_log, make_task, make_world

pytestmark = pytest.mark.slow

REPORT = savings_report(make_log(make_world(300, seed=1)), fit_policy=TypePolicy, resamples=100)
PARTIAL = savings_report(
    make_log(hide(make_world(400, seed=1), {"easy": 0.5, "hard": 0.5}, 2)), fit_predictor=TypeMeans, resamples=100
)
NOTHING = savings_report(make_log(hide(make_world(300, seed=1), {"easy": 0.0, "hard": 1.0}, 1)), resamples=100)


def words(report: SavingsReport) -> str:
    return " ".join(text.get_text() for text in draw_curve(report).findobj(Text))


def boxes(report: SavingsReport) -> tuple[Any, list[Any]]:
    """Return the frame of a picture, and where its labels stand."""
    figure = draw_curve(report)
    renderer = figure.canvas.get_renderer()
    labels = [label for label in figure.axes[0].findobj(Annotation) if label.get_text()]
    return figure.bbox, [Text.get_window_extent(label, renderer) for label in labels]


def test_the_picture_names_axes_agents_and_savings() -> None:
    shown = words(REPORT)
    for text in ("cost, % of today's", "quality, % of today's", "small", "today: large", "95 % kept: saves", "oracle"):
        assert text in shown
    assert "oracle" not in words(PARTIAL)
    assert "doubly robust" in words(PARTIAL)


@settings(max_examples=20, deadline=None)  # each one is drawn
@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_no_agent_s_name_breaks_the_picture(name: str) -> None:
    tasks = [make_task(n, "sums", {name: (float(n % 3 > 0), 0.1), "other agent": (1.0, 1.0)}) for n in range(40)]
    report = savings_report(make_log(tasks), fit_policy=TypePolicy, resamples=100)
    assert "other agent" in words(report)
    assert fromstring(render_plot(report, "svg").decode()).tag.endswith("svg")


@pytest.mark.parametrize("agents", [2, 9, 40])
def test_no_label_lies_on_another_or_outside(agents: int) -> None:
    chance = random.Random(agents)
    worth = {f"model {number} of a maker": (chance.random(), chance.uniform(0.01, 1)) for number in range(agents)}
    tasks = [
        make_task(n, "sums", {name: (float(chance.random() < good), cost) for name, (good, cost) in worth.items()})
        for n in range(60)
    ]
    frame, labels = boxes(savings_report(make_log(tasks), fit_policy=TypePolicy, resamples=100))
    assert len(labels) >= 2
    for number, one in enumerate(labels):
        assert frame.x0 <= one.x0
        assert one.x1 <= frame.x1
        assert frame.y0 <= one.y0
        assert one.y1 <= frame.y1
        assert not any(one.overlaps(other) for other in labels[number + 1 :])


def test_the_picture_is_written_and_one_that_cannot_be_is_refused(tmp_path: Path) -> None:
    write_plot(REPORT, tmp_path / "curve.svg")
    assert fromstring((tmp_path / "curve.svg").read_text(encoding="utf-8")).tag.endswith("svg")
    assert [path.name for path in tmp_path.iterdir()] == ["curve.svg"]
    with pytest.raises(InvalidInput, match=r"\.svg or a \.png"):
        write_plot(REPORT, tmp_path / "curve.jpg")
    with pytest.raises(InvalidInput, match="no folder"):
        write_plot(REPORT, tmp_path / "none" / "curve.svg")
    with pytest.raises(InvalidInput, match="nothing could be estimated"):
        write_plot(NOTHING, tmp_path / "none.svg")


def test_a_png_is_drawn_and_the_same_report_gives_the_same_file(tmp_path: Path) -> None:
    write_plot(REPORT, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    for kind in ("svg", "png"):
        assert render_plot(REPORT, kind) == render_plot(REPORT, kind)


def test_without_the_extra_its_name_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'kapelle\[plot\]'"):
        check_plot_target(tmp_path / "curve.svg")


def test_the_text_says_what_is_estimated_and_stays_within_its_width() -> None:
    told, estimated, nothing = (format_report(report) for report in (REPORT, PARTIAL, NOTHING))
    assert "98 % of today's" in told
    assert "cheapest single agent" in told
    assert "ESTIMATES" in estimated
    assert "effective sample size" in estimated
    assert "Nothing can be estimated" in nothing
    assert max(len(line) for line in (told + estimated + nothing).splitlines()) <= 100
