from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.estimates import estimate_complexities, estimate_complexity
from kapelle.graph import Task, TaskDAG


@pytest.mark.parametrize(("task_type", "complexity"), [("research", 2.0), ("test", 1.0), ("never_heard_of", 1.0)])
def test_the_type_sets_the_base(task_type: str, complexity: float) -> None:
    assert estimate_complexity(task_type) == complexity


def test_dependencies_add_ten_percent_each_and_levels_five() -> None:
    dag = TaskDAG(
        [
            Task(task_id="a", task_type="test"),
            Task(task_id="b", task_type="test"),
            Task(task_id="c", task_type="test", depends_on=("a", "b")),
            Task(task_id="d", task_type="research", depends_on=("c",)),
        ]
    )
    expected = {"a": 1.0, "b": 1.0, "c": 1.2 * 1.05, "d": 2.0 * 1.1 * 1.1}
    assert estimate_complexities(dag) == pytest.approx(expected)


@given(st.sampled_from(["research", "answer", "x"]), st.integers(0, 1000), st.integers(0, 1000))
def test_every_complexity_lies_between_a_half_and_three(task_type: str, dependencies: int, depth: int) -> None:
    complexity = estimate_complexity(task_type, dependencies=dependencies, depth=depth)
    assert 0.5 <= complexity <= 3.0
    assert complexity <= estimate_complexity(task_type, dependencies=dependencies + 1, depth=depth + 1)
