from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given

from kapelle.graph import Task, TaskDAG
from tests.strategies.graphs import full_graphs, plain_graphs

SVG = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


def task(task_id: str, *depends_on: str, text: str = "") -> Task:
    return Task(task_id=task_id, task_type="work", depends_on=depends_on, description=text)


def boxes(root: Element) -> list[tuple[float, float, float, float]]:
    found = []
    for group in root.iter(f"{SVG}g"):
        left, top = map(float, re.findall(r"-?[\d.]+", group.attrib["transform"]))
        box = next(group.iter(f"{SVG}rect"))
        found.append((left, top, left + float(box.attrib["width"]), top + float(box.attrib["height"])))
    return found


def edges(root: Element) -> list[Element]:
    return [path for path in root.iter(f"{SVG}path") if "edge" in path.attrib["class"]]


def points(path: str) -> Iterator[Point]:
    """The points that a path of ours passes: curves in ten steps."""
    x = y = 0.0
    for letter, text in re.findall(r"([MCH])([^MCH]+)", path):
        numbers = [float(number) for number in text.split()]
        if letter == "C":
            x1, y1, x2, y2, x3, y3 = numbers
            for step in range(1, 10):
                t = step / 10
                a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
                yield a * x + b * x1 + c * x2 + d * x3, a * y + b * y1 + c * y2 + d * y3
            x, y = x3, y3
        elif letter == "H":
            for step in range(1, 10):
                yield x + (numbers[0] - x) * step / 10, y
            x = numbers[0]
        else:
            x, y = numbers
        yield x, y


@given(plain_graphs())
def test_boxes_do_not_overlap_and_lie_inside_of_the_picture(dag: TaskDAG) -> None:
    root = fromstring(dag.to_svg())
    for left, right in combinations(boxes(root), 2):
        assert left[2] < right[0] or right[2] < left[0] or left[3] < right[1] or right[3] < left[1]
    for box in boxes(root):
        assert 0 <= box[0] <= box[2] <= float(root.attrib["width"])
        assert 0 <= box[1] <= box[3] <= float(root.attrib["height"])


@given(plain_graphs())
def test_no_edge_runs_through_a_box(dag: TaskDAG) -> None:
    root = fromstring(dag.to_svg())
    drawn, drawn_boxes = edges(root), boxes(root)
    assert len(drawn) == len(dag.edges)
    for edge in drawn:
        for x, y in points(edge.attrib["d"]):
            assert not any(left < x < right and top < y < bottom for left, top, right, bottom in drawn_boxes)


def test_a_level_is_a_column() -> None:
    dag = TaskDAG([task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")])
    left = [box[0] for box in boxes(fromstring(dag.to_svg()))]
    assert left[0] < left[1] == left[2] < left[3]


def test_crossings_that_need_not_be_are_avoided() -> None:
    dag = TaskDAG([task("a"), task("b"), task("c", "b"), task("d", "a")])
    top = dict(zip(dag.tasks, (box[1] for box in boxes(fromstring(dag.to_svg()))), strict=True))
    assert (top["a"] < top["b"]) == (top["d"] < top["c"])


@pytest.mark.slow
@given(full_graphs())
def test_every_graph_makes_a_picture_whatever_its_texts(dag: TaskDAG) -> None:
    status = dict.fromkeys(dag.tasks, "<odd> & \x00")
    notes = {task_id: one.description for task_id, one in dag.tasks.items()}
    root = fromstring(dag.to_svg(status=status, notes=notes, critical_path=dag.critical_path().tasks))
    assert len(boxes(root)) == len(dag)


def test_states_notes_and_the_critical_path_are_shown() -> None:
    dag = TaskDAG([task("a"), task("b", "a"), task("c", "a")])
    root = fromstring(dag.to_svg(status={"a": "done"}, notes={"a": "the writer"}, critical_path=("a", "b")))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "done" in texts
    assert "the writer" in texts
    assert [edge.attrib["class"] for edge in edges(root)] == ["edge", "critical-edge"]
    assert len(root.findall(f".//{SVG}rect[@class='box critical-box']")) == 1


def test_long_texts_are_cut_and_kept_in_the_tooltip() -> None:
    words = " ".join(f"word{number}" for number in range(50))
    root = fromstring(TaskDAG([task("a" * 100, text=words)]).to_svg())
    assert max(len(element.text or "") for element in root.iter(f"{SVG}text")) < 40
    assert words in (next(root.iter(f"{SVG}title")).text or "")


@pytest.mark.slow
def test_pictures_are_made_of_a_thousand_tasks() -> None:
    chain = [task(f"t{number}", *{"t0", f"t{number - 1}"} if number else ()) for number in range(1000)]
    row = [task(f"t{number}") for number in range(1000)]
    for tasks in (chain, row):
        assert len(boxes(fromstring(TaskDAG(tasks).to_svg()))) == 1000


def test_the_same_graph_makes_the_same_picture() -> None:
    tasks = [task(f"t{after}", f"t{before}") for before, after in pairwise(range(20))]
    dag = TaskDAG([task("t0"), *tasks])
    assert dag.to_svg() == TaskDAG.from_dict(dag.to_dict()).to_svg()
