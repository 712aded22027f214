"""List scheduling: what any schedule must hold to, whatever the list."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.graph import Machines, Schedule, justify_list, least_seconds, schedule_list


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Nodes in a random order, with what each needs."""

    predecessors: list[list[int]]
    seconds: list[float]
    machines: Machines
    order: list[int]

    @property
    def successors(self) -> list[list[int]]:
        nodes = range(len(self.seconds))
        return [[after for after in nodes if node in self.predecessors[after]] for node in nodes]

    def schedule(self, order: list[int] | None = None) -> Schedule:
        return schedule_list(order or self.order, self.predecessors, self.successors, self.seconds, self.machines)

    def path_before(self, node: int) -> float:
        return max((self.path_before(one) + self.seconds[one] for one in self.predecessors[node]), default=0.0)

    def path_after(self, node: int) -> float:
        return max((self.path_after(one) + self.seconds[one] for one in self.successors[node]), default=0.0)

    @property
    def least(self) -> float:
        nodes = range(len(self.seconds))
        return least_seconds(
            [self.path_before(node) for node in nodes],
            [self.path_after(node) for node in nodes],
            self.seconds,
            self.machines,
        )


@st.composite
def jobs(draw: st.DrawFn, most: int = 14) -> Jobs:
    count = draw(st.integers(1, most))
    before = [draw(st.sets(st.integers(0, node - 1), max_size=3)) if node else set[int]() for node in range(count)]
    kinds = draw(st.integers(1, 3))
    return Jobs(
        predecessors=[sorted(one) for one in before],
        seconds=[float(draw(st.integers(0, 9))) for _ in range(count)],
        machines=Machines(
            kind=[draw(st.integers(0, kinds - 1)) for _ in range(count)],
            count=[draw(st.integers(1, 3)) for _ in range(kinds)],
        ),
        order=draw(st.permutations(range(count))),
    )


def at_work(found: Schedule, moment: float, kind: int, machines: Machines) -> int:
    times = zip(found.starts, found.ends, machines.kind, strict=True)
    return sum(1 for start, end, one in times if one == kind and start <= moment < end)


@given(one=jobs())
def test_nothing_starts_before_what_it_waits_for_has_ended(one: Jobs) -> None:
    found = one.schedule()
    for node, before in enumerate(one.predecessors):
        assert found.ends[node] == found.starts[node] + one.seconds[node]
        assert all(found.ends[other] <= found.starts[node] for other in before)
    assert found.seconds == max(found.ends)


@given(one=jobs())
def test_no_more_is_at_work_than_there_are_machines(one: Jobs) -> None:
    found = one.schedule()
    for moment in found.starts:
        for kind, count in enumerate(one.machines.count):
            assert at_work(found, moment, kind, one.machines) <= count


@given(one=jobs())
def test_no_machine_stands_still_while_something_could_start(one: Jobs) -> None:
    found = one.schedule()
    for node, start in enumerate(found.starts):
        could = max((found.ends[before] for before in one.predecessors[node]), default=0.0)
        kind = one.machines.kind[node]
        for moment in (could, *(end for end in found.ends if could <= end < start)):
            assert moment == start or at_work(found, moment, kind, one.machines) == one.machines.count[kind]


@given(one=jobs())
def test_with_a_machine_for_each_it_takes_the_longest_path_whatever_the_list(one: Jobs) -> None:
    enough = Machines(kind=one.machines.kind, count=[len(one.seconds)] * len(one.machines.count))
    found = schedule_list(one.order, one.predecessors, one.successors, one.seconds, enough)
    nodes = range(len(one.seconds))
    assert found.seconds == max(one.path_before(node) + one.seconds[node] for node in nodes)
    assert not found.has_waited


@given(one=jobs())
def test_where_nothing_has_waited_every_list_is_the_same_schedule(one: Jobs) -> None:
    found = one.schedule()
    if not found.has_waited:
        assert one.schedule(one.order[::-1]).starts == found.starts


@given(one=jobs())
def test_no_list_is_faster_than_the_bound_and_a_justified_one_is_a_list_like_any(one: Jobs) -> None:
    found = one.schedule()
    justified = justify_list(found, one.predecessors, one.successors, one.seconds, one.machines)
    assert sorted(justified) == sorted(one.order)
    for seconds in (found.seconds, one.schedule(justified).seconds):
        assert seconds >= one.least - 1e-9


@given(one=jobs(most=6))
@settings(max_examples=40, deadline=None)
def test_no_list_at_all_is_faster_than_the_bound(one: Jobs) -> None:
    fastest = min(one.schedule(list(order)).seconds for order in permutations(one.order))
    assert fastest >= one.least - 1e-9


def test_the_bound_knows_that_all_machines_wait_for_the_first_and_the_last() -> None:
    count = 6
    one = Jobs(
        predecessors=[[], *([[0]] * count), list(range(1, count + 1))],
        seconds=[5.0, *([2.0] * count), 3.0],
        machines=Machines(kind=[0] * (count + 2), count=[2]),
        order=list(range(count + 2)),
    )
    assert one.least == one.schedule().seconds == 5 + 6 + 3


def test_packing_a_schedule_from_both_ends_mends_a_list_that_began_with_what_could_wait() -> None:
    tasks = Jobs(  # a long chain that stands behind what nothing waits for
        predecessors=[[], [], [], [], [3], [4]],
        seconds=[4.0, 4.0, 4.0, 1.0, 6.0, 6.0],
        machines=Machines(kind=[0] * 6, count=[2]),
        order=[0, 1, 2, 3, 4, 5],
    )
    found = tasks.schedule()
    justified = justify_list(found, tasks.predecessors, tasks.successors, tasks.seconds, tasks.machines)
    assert (found.seconds, tasks.schedule(justified).seconds) == (17.0, 13.0)


@pytest.mark.parametrize("seconds", [0.0, 1e-300, 1e300])
def test_odd_times_are_scheduled(seconds: float) -> None:
    one = Jobs(
        predecessors=[[], [0], [0]], seconds=[seconds] * 3, machines=Machines(kind=[0] * 3, count=[1]), order=[2, 1, 0]
    )
    assert math.isclose(one.schedule().seconds, 3 * seconds)


def test_an_empty_list_takes_no_time() -> None:
    nothing = Machines(kind=[], count=[])
    assert schedule_list([], [], [], [], nothing).seconds == least_seconds([], [], [], nothing) == 0.0
