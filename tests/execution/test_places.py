"""Places of agents: never more are taken than there are, and whoever waits longest is next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from kapelle.execution.places import AgentPlaces, RunPlaces


def runs_of(places: AgentPlaces, count: int) -> tuple[list[RunPlaces], list[int]]:
    """Return runs, and who was told of a place, in order."""
    told: list[int] = []

    def joined(number: int) -> RunPlaces:
        return places.join(lambda agent: told.append(number))

    return [joined(number) for number in range(count)], told


def test_a_place_that_is_free_goes_to_who_waits_longest() -> None:
    (one, two, three), told = runs_of(AgentPlaces(lambda _: 1), 3)
    assert one.take("a")
    assert not two.take("a")
    assert not three.take("a")
    assert not one.take("a")
    one.give_back("a")
    assert told == [1]
    assert not one.take("a")  # it is promised to another
    assert not three.take("a")
    assert two.take("a")
    assert not two.take("a")
    two.give_back("a")
    assert told == [1, 2]
    assert two.is_waiting("a")


def test_a_run_whose_event_loop_was_closed_has_ended() -> None:
    places, loop, ended = AgentPlaces(lambda _: 1), asyncio.new_event_loop(), []
    lost = places.join(lambda agent: None, loop, lambda: ended.append("lost"))
    assert lost.take("a")
    loop.close()
    (one, two), told = runs_of(places, 2)
    assert one.take("a")
    assert ended == ["lost"]
    lost.close()
    assert not two.take("a")
    one.give_back("a")
    assert told == [1]


def test_a_run_that_was_lost_in_the_line_holds_up_nobody() -> None:
    places, loop = AgentPlaces(lambda _: 1), asyncio.new_event_loop()
    (one, two), told = runs_of(places, 2)
    assert one.take("a")
    assert not places.join(lambda agent: None, loop).take("a")
    assert not two.take("a")
    loop.close()
    one.give_back("a")
    assert told == [1]
    assert two.take("a")


def test_what_was_promised_and_is_not_wanted_goes_to_the_next() -> None:
    (one, two, three), told = runs_of(AgentPlaces(lambda _: 1), 3)
    assert one.take("a")
    assert not two.take("a")
    assert not three.take("a")
    one.give_back("a")
    two.pass_on("a")
    assert told == [1, 2]
    assert three.take("a")


def test_a_run_that_ends_leaves_its_places_and_the_line() -> None:
    (one, two, three), told = runs_of(AgentPlaces(lambda _: 1), 3)
    assert one.take("a")
    assert not two.take("a")
    assert not three.take("a")
    two.close()
    one.close()
    assert told == [2]
    three.close()
    (late,), _ = runs_of(AgentPlaces(lambda _: 1), 1)
    assert late.take("a")


def test_a_thread_that_goes_on_keeps_its_place_after_its_run() -> None:
    (one, two), told = runs_of(AgentPlaces(lambda _: 1), 2)
    threads: list[Callable[[], None]] = []
    assert one.take("a")
    one.keep("a", 5.0, threads.append)
    one.close()
    assert two.is_kept_by_threads("a")
    assert not two.take("a")
    threads[0]()
    assert told == [1]
    assert two.take("a")
    assert not two.any_kept


MOVES = st.lists(st.tuples(st.sampled_from(["take", "leave", "pass", "close"]), st.integers(0, 3)), max_size=60)


@given(moves=MOVES, most=st.integers(1, 3))
def test_never_more_are_taken_than_there_are_and_none_is_lost(moves: list[tuple[str, int]], most: int) -> None:
    places = AgentPlaces(lambda _: most)
    runs, _ = runs_of(places, 4)
    held, gone = [0] * 4, set[int]()
    for move, number in moves:
        if number in gone:
            continue
        run = runs[number]
        if move == "take":
            held[number] += run.take("a")
        elif move == "leave" and held[number]:
            held[number] -= 1
            run.give_back("a")
        elif move == "pass":
            run.pass_on("a")
        elif move == "close":
            gone.add(number)
            held[number] = 0
            run.close()
        promised = sum(one.promised["a"] for one in runs)
        assert sum(held) + promised == places.taken["a"] <= most
        waiting = any(runs[one].is_waiting("a") and not runs[one].promised["a"] for one in range(4))
        assert not waiting or places.taken["a"] == most  # nobody waits where a place is free
    for number in range(4):
        runs[number].close()
    assert places.taken["a"] == 0
