"""The picture holds what it should, names from a log cannot break it, and no label lies on another."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.evaluation import draw_curve, format_report, savings_report, write_plot
from kapelle.evaluation.labels import Box, Label, place_labels
from tests.evaluation.worlds import TypeMeans, TypePolicy, hide, make_log, make_task, make_world

REPORT = savings_report(make_log(make_world(300, seed=1)), fit_policy=TypePolicy, resamples=100)
PARTIAL = savings_report(
    make_log(hide(make_world(400, seed=1), {"easy": 0.5, "hard": 0.5}, 2)), fit_predictor=TypeMeans, resamples=100
)
NOTHING = savings_report(make_log(hide(make_world(300, seed=1), {"easy": 0.0, "hard": 1.0}, 1)), resamples=100)


def words(svg: str) -> str:
    return " ".join("".join(node.itertext()) for node in fromstring(svg).iter() if node.tag.endswith("text"))


def test_the_picture_names_axes_agents_and_savings() -> None:
    shown = words(draw_curve(REPORT))
    for text in ("cost, % of today's", "quality, % of today's", "small", "today: large", "95 % kept: saves", "oracle"):
        assert text in shown
    assert "oracle" not in words(draw_curve(PARTIAL))
    assert "doubly robust" in words(draw_curve(PARTIAL))


@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_no_agent_s_name_breaks_the_picture(name: str) -> None:
    tasks = [make_task(n, "sums", {name: (float(n % 3 > 0), 0.1), "other agent": (1.0, 1.0)}) for n in range(40)]
    report = savings_report(make_log(tasks), fit_policy=TypePolicy, resamples=100)
    assert "other agent" in words(draw_curve(report))


@given(st.lists(st.tuples(st.floats(50, 350), st.floats(50, 250), st.text(max_size=20)), max_size=25))
def test_no_label_lies_on_another_or_outside(points: list[tuple[float, float, str]]) -> None:
    frame = Box(left=0, top=0, right=400, bottom=300)
    marks = [Box(left=x - 5, top=y - 5, right=x + 5, bottom=y + 5) for x, y, _ in points]
    placed = place_labels([Label(text=text, x=x, y=y) for x, y, text in points], within=frame, marks=marks)
    for number, one in enumerate(placed):
        assert 0 <= one.box.left <= one.box.right <= 400
        assert 0 <= one.box.top <= one.box.bottom <= 300
        assert not any(one.box.overlaps(mark) for mark in marks)
        assert not any(one.box.overlaps(other.box) for other in placed[number + 1 :])


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


def test_a_png_is_drawn_or_its_extra_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("resvg_py") is None:
        with pytest.raises(InvalidInput, match=r"kapelle\[plot\]"):
            write_plot(REPORT, tmp_path / "curve.png")
    else:
        write_plot(REPORT, tmp_path / "curve.png")
        assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_text_says_what_is_estimated_and_stays_within_its_width() -> None:
    told, estimated, nothing = (format_report(report) for report in (REPORT, PARTIAL, NOTHING))
    assert "98 % of today's" in told
    assert "cheapest single agent" in told
    assert "ESTIMATES" in estimated
    assert "effective sample size" in estimated
    assert "Nothing can be estimated" in nothing
    assert max(len(line) for line in (told + estimated + nothing).splitlines()) <= 100
