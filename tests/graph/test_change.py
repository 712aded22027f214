from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidGraph
from kapelle.graph import GraphPatch, Task, TaskDAG, apply_change, describe_change
from tests.strategies.graphs import full_graphs, plain_graphs


@given(plain_graphs(), st.data())
def test_a_change_makes_the_new_version_of_the_old(old: TaskDAG, data: st.DataObject) -> None:
    if not len(old):
        return
    compound = data.draw(st.sampled_from(list(old.tasks)))
    parts = [Task(task_id=f"{compound}-{n}", task_type="x") for n in range(data.draw(st.integers(1, 3)))]
    new = old.patched(GraphPatch(expand={compound: parts}))
    made = apply_change(old, describe_change(old, new))
    assert (made, made.version, list(made.tasks)) == (new, new.version, list(new.tasks))


@given(full_graphs(), full_graphs())
def test_any_graph_can_be_made_of_any_other(old: TaskDAG, new: TaskDAG) -> None:
    assert apply_change(old, describe_change(old, new)) == new


@pytest.mark.parametrize("change", [{}, {"version": 2, "removed": "a", "tasks": []}, {"version": "2"}])
def test_a_malformed_change_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidGraph, match="A change of a graph"):
        apply_change(TaskDAG(), change)
