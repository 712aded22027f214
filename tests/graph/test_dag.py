from __future__ import annotations

import itertools
import json
import pickle
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import CycleFound, InvalidGraph, UnknownTask
from kapelle.graph import Task, TaskDAG
from tests.strategies.graphs import full_graphs, plain_graphs


def task(task_id: str, *depends_on: str, **inputs: object) -> Task:
    return Task(task_id=task_id, task_type="work", depends_on=depends_on, inputs=inputs)


def diamond() -> TaskDAG:
    return TaskDAG([task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")])


def all_paths(dag: TaskDAG) -> list[tuple[str, ...]]:
    def from_task(task_id: str) -> list[tuple[str, ...]]:
        return [(task_id,)] + [(task_id, *rest) for after in dag.dependents(task_id) for rest in from_task(after)]

    return [path for task_id in dag.tasks for path in from_task(task_id)]


def reachable(dag: TaskDAG) -> set[tuple[str, str]]:
    return {(path[0], path[-1]) for path in all_paths(dag) if len(path) > 1}


def seconds_for(dag: TaskDAG) -> st.SearchStrategy[dict[str, float]]:
    # Quarters add up without rounding, so that sums can be compared.
    return st.fixed_dictionaries({task_id: st.integers(0, 40).map(lambda n: n / 4) for task_id in dag.tasks})


def test_an_empty_graph_is_a_graph() -> None:
    dag = TaskDAG()
    assert (len(dag), dag.levels(), dag.edges, dag.depth, dag.critical_path().tasks) == (0, (), (), 0, ())


def test_tasks_may_be_given_in_any_order() -> None:
    assert TaskDAG([task("b", "a"), task("a")]).topological_order() == ("a", "b")


def test_a_cycle_names_its_tasks_and_no_others() -> None:
    with pytest.raises(CycleFound) as caught:
        TaskDAG([task("start"), task("x", "start", "z"), task("y", "x"), task("z", "y"), task("behind", "z")])
    assert set(caught.value.tasks) == {"x", "y", "z"}


def test_references_make_cycles_too() -> None:
    with pytest.raises(CycleFound, match="'a'"):
        TaskDAG([task("a", "b"), task("b", query="more about {a}")])


@given(plain_graphs(), st.data())
def test_the_tasks_of_a_cycle_wait_for_each_other(dag: TaskDAG, data: st.DataObject) -> None:
    paths = [path for path in all_paths(dag) if len(path) > 1]
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    closing = task(path[0], *dag.dependencies(path[0]), path[-1])
    tasks = [closing if old.task_id == path[0] else old for old in dag]
    with pytest.raises(CycleFound) as caught:
        TaskDAG(tasks)
    waits = {(before, one.task_id) for one in tasks for before in one.dependencies}
    circle = caught.value.tasks
    assert set(zip(circle, circle[1:] + circle[:1], strict=True)) <= waits


def test_a_dangling_edge_names_both_tasks() -> None:
    with pytest.raises(UnknownTask, match="'draft' depends on 'outline'") as caught:
        TaskDAG([task("draft", "outline")])
    assert (caught.value.task_id, caught.value.missing) == ("draft", "outline")


def test_a_dangling_reference_says_how_to_write_braces() -> None:
    with pytest.raises(UnknownTask, match=r"write \{\{name\}\}"):
        TaskDAG([task("greet", text="Dear {name}")])


def test_ids_are_unique() -> None:
    with pytest.raises(InvalidGraph, match="'a'"):
        TaskDAG([task("a"), task("a")])


def test_added_tasks_need_their_dependencies_first() -> None:
    dag = TaskDAG()
    dag.add_task(task("a"))
    dag.add_task(task("b", "a"))
    assert dag.edges == (("a", "b"),)
    assert dag.dependents("a") == ("b",)
    for wrong in (task("a"), task("c", "d")):
        with pytest.raises(InvalidGraph):
            dag.add_task(wrong)
    assert list(dag.tasks) == ["a", "b"]


@given(plain_graphs())
def test_adding_tasks_one_by_one_makes_the_same_graph(dag: TaskDAG) -> None:
    built = TaskDAG()
    for task_id in dag.topological_order():
        built.add_task(dag[task_id])
    assert built == dag
    assert set(built.edges) == set(dag.edges)
    assert [set(level) for level in built.levels()] == [set(level) for level in dag.levels()]


def test_a_sealed_graph_cannot_grow_and_its_origin_can() -> None:
    dag = diamond()
    sealed = dag.sealed()
    with pytest.raises(InvalidGraph, match="sealed"):
        sealed.add_task(task("e"))
    dag.add_task(task("e"))
    assert "e" not in sealed
    assert sealed != dag
    assert sealed == diamond()


@given(plain_graphs())
def test_a_copy_and_its_origin_grow_apart(dag: TaskDAG) -> None:
    before, ends = dag.to_dict(), dag.sinks
    twin, sealed = dag.copied(), dag.sealed()
    twin.add_task(task("of_twin", *ends))
    dag.add_task(task("of_origin", *ends))
    assert sealed.to_dict() == before
    for grown, new in ((twin, "of_twin"), (dag, "of_origin")):
        anew = TaskDAG(grown)
        assert (grown, grown.edges, grown.levels(), grown.sinks) == (anew, anew.edges, anew.levels(), (new,))


def test_tasks_are_read_only() -> None:
    with pytest.raises(TypeError):
        diamond().tasks["e"] = task("e")  # type: ignore[index]  # the point


def test_asking_for_a_task_that_is_not_there_names_those_that_are() -> None:
    for ask in (diamond().__getitem__, diamond().dependencies, diamond().dependents):
        with pytest.raises(InvalidGraph, match=r"'e'.*'a', 'b', 'c', 'd'"):
            ask("e")


def test_a_diamond_looks_like_one() -> None:
    dag = diamond()
    assert dag.levels() == (("a",), ("b", "c"), ("d",))
    assert dag.depth == 3
    assert (dag.sources, dag.sinks) == (("a",), ("d",))
    assert dag.dependencies("d") == ("b", "c")
    assert dag.dependents("a") == ("b", "c")
    assert repr(dag) == "<TaskDAG version 1: 4 tasks, 4 edges, 3 levels>"


@given(plain_graphs())
def test_levels_respect_edges_and_are_as_low_as_can_be(dag: TaskDAG) -> None:
    level = {task_id: number for number, level in enumerate(dag.levels()) for task_id in level}
    assert level.keys() == dag.tasks.keys()
    for task_id in dag.tasks:
        assert level[task_id] == max((level[before] + 1 for before in dag.dependencies(task_id)), default=0)


@given(plain_graphs())
def test_the_topological_order_respects_edges_and_keeps_the_order_of_insertion(dag: TaskDAG) -> None:
    order = dag.topological_order()
    done: set[str] = set()
    for task_id in order:
        assert task_id == dag.ready_tasks(done)[0]
        done.add(task_id)
    assert TaskDAG(dag[task_id] for task_id in order).topological_order() == order


@pytest.mark.slow
@given(plain_graphs(), st.randoms(use_true_random=False))
def test_ready_tasks_drain_the_graph(dag: TaskDAG, random: Random) -> None:
    done: list[str] = []
    while ready := dag.ready_tasks(done):
        chosen = random.choice(ready)
        assert set(dag.dependencies(chosen)) <= set(done)
        done.append(chosen)
    assert sorted(done) == sorted(dag.tasks)


@given(plain_graphs(max_size=7), st.data())
def test_the_critical_path_is_the_longest_of_all_paths(dag: TaskDAG, data: st.DataObject) -> None:
    seconds = data.draw(seconds_for(dag))
    path = dag.critical_path(seconds)
    lengths = {each: sum(seconds[task_id] for task_id in each) for each in all_paths(dag)}
    assert path.seconds == max(lengths.values(), default=0)
    assert path.seconds == sum(seconds[task_id] for task_id in path.tasks)
    assert all(edge in dag.edges for edge in itertools.pairwise(path.tasks))


@given(plain_graphs(max_size=7), st.data())
def test_urgency_is_the_longest_path_from_each_task(dag: TaskDAG, data: st.DataObject) -> None:
    seconds = data.draw(seconds_for(dag))
    urgency = dag.urgency(seconds)
    for task_id in dag.tasks:
        mine = [path for path in all_paths(dag) if path[0] == task_id]
        assert urgency[task_id] == max(sum(seconds[each] for each in path) for path in mine)


def test_without_seconds_every_task_counts_as_one() -> None:
    assert diamond().critical_path().seconds == 3
    assert diamond().urgency() == {"a": 3, "b": 2, "c": 2, "d": 1}


@pytest.mark.parametrize("wrong", [{"a": 1}, {"a": -1, "b": 1}, {"a": 1, "b": float("nan")}])
def test_seconds_must_be_given_for_every_task(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidGraph):
        TaskDAG([task("a"), task("b")]).critical_path(wrong)


@given(plain_graphs())
def test_the_transitive_reduction_keeps_what_waits_for_what_and_is_minimal(dag: TaskDAG) -> None:
    reduced = dag.transitive_reduction()
    assert reachable(reduced) == reachable(dag)
    assert set(reduced.edges) <= set(dag.edges)
    for before, after in reduced.edges:
        longer = [path for path in all_paths(reduced) if (path[0], path[-1]) == (before, after) and len(path) > 2]
        assert not longer


@given(full_graphs())
def test_the_transitive_reduction_never_drops_a_reference(dag: TaskDAG) -> None:
    reduced = dag.transitive_reduction()
    for one in dag:
        assert reduced[one.task_id].inputs == one.inputs
        assert one.references <= set(reduced.dependencies(one.task_id))


@given(full_graphs())
def test_every_graph_survives_json_and_another_process(dag: TaskDAG) -> None:
    again = TaskDAG.from_dict(json.loads(json.dumps(dag.to_dict())))
    for copy in (again, pickle.loads(pickle.dumps(dag))):
        assert copy == dag
        assert list(copy.tasks) == list(dag.tasks)
        assert copy.version == dag.version


@pytest.mark.parametrize(
    "values",
    [
        [],
        {},
        {"tasks": {}},
        {"tasks": [], "version": 0},
        {"tasks": [], "edges": []},
        {"tasks": ["a"]},
        {"tasks": [{"task_id": "a"}]},
        {"tasks": [{"task_id": "a", "task_type": "t", "prompt": "x"}]},
        {"tasks": [{"task_id": "a", "task_type": "t", "depends_on": "b"}]},
        {"tasks": [{"task_id": "a", "task_type": "t", "deadline_s": "soon"}]},
    ],
)
def test_values_that_describe_no_graph_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidGraph):
        TaskDAG.from_dict(values)


@pytest.mark.slow
def test_a_long_chain_needs_no_recursion() -> None:
    size = 20_000
    dag = TaskDAG(task(f"t{number}", *([f"t{number - 1}"] if number else [])) for number in range(size))
    assert dag.depth == size
    assert dag.critical_path().seconds == size
    with pytest.raises(CycleFound) as caught:
        TaskDAG([*list(dag)[1:], task("t0", f"t{size - 1}")])
    assert len(caught.value.tasks) == size
