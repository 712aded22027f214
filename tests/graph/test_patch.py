from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import CycleFound, InvalidGraph, UnknownTask
from kapelle.graph import GraphPatch, Task, TaskDAG
from tests.strategies.graphs import plain_graphs


def task(task_id: str, *depends_on: str, **inputs: Any) -> Task:
    return Task(task_id=task_id, task_type="work", depends_on=depends_on, inputs=inputs)


def chain() -> TaskDAG:
    return TaskDAG([task("a"), task("b", "a"), task("c", "b")])


def test_a_patch_makes_a_new_version_and_leaves_the_old_one() -> None:
    dag = chain()
    patched = dag.patched(GraphPatch(add=(task("d", "c"),), replace=(task("b"),)))
    assert patched.edges == (("b", "c"), ("c", "d"))
    assert (dag.version, patched.version) == (1, 2)
    assert dag == chain()


def test_a_sealed_graph_can_be_patched_and_the_new_version_is_open() -> None:
    patched = chain().sealed().patched(GraphPatch())
    patched.add_task(task("d"))
    assert "d" in patched


def test_the_order_around_removed_tasks_is_kept() -> None:
    dag = TaskDAG([*chain(), task("d", "c", "a")])
    patched = dag.patched(GraphPatch(remove=("b", "c")))
    assert patched.edges == (("a", "d"),)


@given(plain_graphs(), st.data())
def test_removing_tasks_keeps_what_waits_for_what_among_the_others(dag: TaskDAG, data: st.DataObject) -> None:
    removed = set(data.draw(st.lists(st.sampled_from(list(dag.tasks))))) if len(dag) else set()
    patched = dag.patched(GraphPatch(remove=tuple(removed)))

    def before(graph: TaskDAG, task_id: str) -> set[str]:
        direct = set(graph.dependencies(task_id))
        return direct.union(*(before(graph, other) for other in direct))

    for task_id in patched.tasks:
        assert before(patched, task_id) == before(dag, task_id) - removed


def test_an_output_that_is_used_cannot_be_removed() -> None:
    dag = TaskDAG([task("a"), task("b", text="of {a.rate}")])
    with pytest.raises(InvalidGraph, match=r"'b' refers to the output \{a\}"):
        dag.patched(GraphPatch(remove=("a",)))
    assert list(dag.patched(GraphPatch(remove=("a",), replace=(task("b"),))).tasks) == ["b"]


def test_an_expansion_takes_the_place_of_its_task() -> None:
    parts = [task("b1"), task("b2", "b1"), task("b3", "b1")]
    patched = chain().patched(GraphPatch(expand={"b": parts}))
    assert list(patched.tasks) == ["a", "b1", "b2", "b3", "c"]
    assert patched.dependencies("b1") == ("a",)
    assert patched.dependencies("b2") == ("b1",)
    assert patched.dependencies("c") == ("b2", "b3")


def test_a_reference_to_an_expanded_task_means_the_output_of_its_sink() -> None:
    dag = TaskDAG([task("b"), task("c", text="of {b.rate}", whole="{first_from_b}")])
    patched = dag.patched(GraphPatch(expand={"b": [task("b1"), task("b2", "b1")]}))
    assert patched["c"].inputs == {"text": "of {b2.rate}", "whole": "{b2.first}"}


def test_a_reference_to_a_task_with_several_sinks_means_the_list_of_their_outputs() -> None:
    dag = TaskDAG(
        [task("b"), task("c", text="of {b}, {{b}}", whole=["{b}"], item="{b[1].name}", part="{city_1_from_b}")]
    )
    patched = dag.patched(GraphPatch(expand={"b": [task("b1"), task("b2")]}))
    assert patched["c"].inputs == {
        "text": "of {b1}; {b2}, {{b}}",
        "whole": [["{b1}", "{b2}"]],
        "item": "{b2.name}",
        "part": "{b1}",
    }


@pytest.mark.parametrize("part", ["{b.rate}", "{b[2]}", "{city_3_from_b}"])
def test_a_part_that_no_single_sink_has_is_an_error(part: str) -> None:
    dag = TaskDAG([task("b"), task("c", text=part)])
    with pytest.raises(InvalidGraph, match=r"Task 'c'.*'b1', 'b2'"):
        dag.patched(GraphPatch(expand={"b": [task("b1"), task("b2")]}))


def test_neighbours_can_be_expanded_and_removed_together() -> None:
    dag = TaskDAG([*chain(), task("d", "c")])
    patched = dag.patched(GraphPatch(remove=("b",), expand={"a": [task("a1")], "c": [task("c1")]}))
    assert patched.edges == (("a1", "c1"), ("c1", "d"))


def test_tasks_of_an_expansion_may_refer_to_what_the_compound_could() -> None:
    patched = chain().patched(GraphPatch(expand={"b": [task("b1", text="{a}")]}))
    assert patched.edges == (("a", "b1"), ("b1", "c"))


@pytest.mark.parametrize(
    "patch", [GraphPatch(remove=("a",)), GraphPatch(replace=(task("a"),)), GraphPatch(expand={"a": [task("x")]})]
)
def test_finished_tasks_are_protected(patch: GraphPatch) -> None:
    with pytest.raises(InvalidGraph, match="'a', which already ran"):
        chain().patched(patch, finished={"a"})


@pytest.mark.parametrize(
    ("patch", "error", "names"),
    [
        (GraphPatch(remove=("x",)), InvalidGraph, "'x'"),
        (GraphPatch(replace=(task("x"),)), InvalidGraph, "'x'"),
        (GraphPatch(expand={"x": [task("y")]}), InvalidGraph, "'x'"),
        (GraphPatch(add=(task("a"),)), InvalidGraph, "'a'"),
        (GraphPatch(expand={"b": [task("b")]}), InvalidGraph, "'b'"),
        (GraphPatch(add=(task("d"), task("d"))), InvalidGraph, "'d'"),
        (GraphPatch(add=(task("d", "x"),)), UnknownTask, "'x'"),
        (GraphPatch(replace=(task("a", "c"),)), CycleFound, "'a'"),
        (GraphPatch(expand={"b": [task("x", "y"), task("y", "x")]}), CycleFound, "'x'"),
    ],
)
def test_patches_that_do_not_fit_are_refused_with_the_names(
    patch: GraphPatch, error: type[InvalidGraph], names: str
) -> None:
    dag = chain()
    with pytest.raises(error, match=names):
        dag.patched(patch)
    assert dag == chain()


def test_a_patch_cannot_multiply_edges_without_end() -> None:
    many = range(600)
    dag = TaskDAG(
        [task(f"a{n}") for n in many] + [task("hub", *(f"a{n}" for n in many))] + [task(f"b{n}", "hub") for n in many]
    )
    with pytest.raises(InvalidGraph, match="Put a task between"):
        dag.patched(GraphPatch(remove=("hub",)))
    with pytest.raises(InvalidGraph, match="Put a task between"):
        dag.patched(GraphPatch(expand={"hub": [task(f"c{n}") for n in many]}))


def test_a_task_is_changed_in_one_way() -> None:
    with pytest.raises(InvalidGraph, match="'a' in two ways"):
        GraphPatch(remove=("a",), replace=(task("a"),))
    with pytest.raises(InvalidGraph, match="'a' to nothing"):
        GraphPatch(expand={"a": []})
