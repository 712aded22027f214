"""README: "A budget is a budget". Nothing starts beyond the cap, whoever works, whatever is known of prices.

Before a task starts, what it may cost is set aside. So at every start, what was spent and what is set aside is below
the cap, and what is set aside for it fits under it. What an attempt really costs beyond that is its overrun, and shown.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from kapelle import AgentCapability, Engine, Plan, SqliteLedger, TaskDAG
from kapelle.ledger import Run
from kapelle.testing import LoopHeartbeat, ScriptedAgent, VirtualClock

from .mending import params
from .ways import (
    ADAPTERS,
    BACKENDS,
    COST_USD,
    PRICES,
    Attempted,
    Way,
    make_task,
    open_session,
    play,
    read_attempts,
    why_not,
)

LEAST_USD = 1e-9
"""Sums of floats differ by less."""


def beyond(attempts: Sequence[Attempted], cap_usd: float, zero: bool = False) -> list[Attempted]:
    """Return the attempts that began although the cap was reached, or with more set aside than was left.

    What is known to cost nothing, because it declares that and nothing else was seen, may begin at any time.
    """
    found = []
    for one in attempts:
        seen = [other for other in ended_before(attempts, one) if other.agent == one.agent and other.cost_usd]
        if zero and not seen:
            continue
        reached = one.before_usd >= cap_usd - LEAST_USD
        if reached or one.before_usd + one.reserved_usd > cap_usd + LEAST_USD:
            found.append(one)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", params("nothing starts beyond the cap"))
def test_nothing_starts_once_the_cap_is_reached_and_nothing_is_promised_twice(way: Way) -> None:
    played = play(way)
    assert played.error is None
    assert played.cap_usd is not None
    assert beyond(played.attempts(), played.cap_usd, PRICES[way.price].declared_usd == 0) == []


@pytest.mark.parametrize("way", params("an overrun is shown"))
def test_what_was_spent_over_the_cap_is_what_attempts_cost_beyond_what_was_set_aside(way: Way) -> None:
    played = play(way)
    assert played.run is not None
    assert played.cap_usd is not None
    exceeded = sum(max(0.0, one.cost_usd - one.reserved_usd) for one in played.attempts())
    assert played.run.overrun_usd == pytest.approx(exceeded)
    assert played.run.cost_usd <= played.cap_usd + exceeded + LEAST_USD
    if exceeded > LEAST_USD:
        assert "more than was reserved" in played.run.explain()


# Who has not told a price


def run_wide(way: Way, cap_usd: float, tasks: int = 12) -> Run:
    """Run tasks of which all could begin at once."""
    with ExitStack() as stack:
        session = open_session(way, stack, failing=(), hopeless=())
        plan = session.plan((f"t{number}", ()) for number in range(tasks))
        return asyncio.run(session.engine.run(plan, budget_usd=cap_usd))


def wide_ways(*prices: str) -> list[Way]:
    backends = {"object": BACKENDS, "model": BACKENDS}
    found = [
        Way(adapter, "single", backend, "may pass" if adapter == "model" else "fails", price)
        for adapter in ADAPTERS
        for backend in backends.get(adapter, ("asyncio",))
        for price in prices
    ]
    return [way for way in found if why_not(way) is None]


def ended_before(attempts: Sequence[Attempted], one: Attempted) -> list[Attempted]:
    return [other for other in attempts if other.ended is not None and other.ended < one.began]


def under_way_at(attempts: Sequence[Attempted], one: Attempted) -> list[Attempted]:
    return [other for other in attempts if other.began < one.began and (other.ended is None or other.ended > one.began)]


@pytest.mark.parametrize("way", params("one at a time", wide_ways("unknown", "told on success")))
def test_where_nobody_knows_a_price_tasks_start_one_at_a_time_and_then_slowly_more(way: Way) -> None:
    run = run_wide(way, 4.5 * COST_USD)
    attempts = read_attempts(run)
    for one in attempts:
        seen = [other.cost_usd for other in ended_before(attempts, one) if other.cost_usd]
        if ADAPTERS[way.adapter].kind == "code":  # what a model takes at most may be known from a table
            assert len(under_way_at(attempts, one)) <= len(seen), run.explain()  # one first, then one more for each
        if seen:
            assert one.reserved_usd >= max(seen) - LEAST_USD
    assert run.cost_usd <= 5 * COST_USD + LEAST_USD
    assert run.state == "stopped"
    assert beyond(attempts, 4.5 * COST_USD) == []


@pytest.mark.parametrize("way", params("too low a price", wide_ways("a tenth of it", "wrongly zero")))
def test_a_price_that_turns_out_too_low_is_not_reserved_again(way: Way) -> None:
    run = run_wide(way, 4.5 * COST_USD, 25)
    attempts = read_attempts(run)
    for one in attempts:
        seen = [other.cost_usd for other in ended_before(attempts, one)]
        assert one.reserved_usd >= max(seen, default=0.0) - LEAST_USD
    assert beyond(attempts, 4.5 * COST_USD, PRICES[way.price].declared_usd == 0) == []


@pytest.mark.parametrize("way", params("ten times too high", wide_ways("ten times it")))
def test_a_price_that_turns_out_too_high_still_holds_the_cap(way: Way) -> None:
    run = run_wide(way, 12 * COST_USD * 10)
    assert run.state == "done"
    assert run.cost_usd == pytest.approx(12 * COST_USD)
    assert run.overrun_usd == 0


@pytest.mark.parametrize("way", params("zero", wide_ways("zero")))
def test_what_costs_nothing_runs_for_nothing(way: Way) -> None:
    run = run_wide(way, 0.0)
    assert (run.state, run.cost_usd) == ("done", 0.0)


class World:
    """Engines on a clock of their own: what runs at the same time is exact."""

    def run(self, agents: dict[str, dict[str, Any]], graph: TaskDAG, cap_usd: float) -> Run:
        clock = VirtualClock()
        pairs = []
        for name, options in agents.items():
            costs, seconds = options.pop("costs"), options.pop("takes_s", 1.0)
            runner = ScriptedAgent({}, seconds=seconds, cost_usd=costs)
            pairs.append((AgentCapability(agent_id=name, task_types=(name,), **options), runner))
        engine = Engine(
            pairs,
            model="none",
            ledger=SqliteLedger(clock=clock),
            environ={},
            timer=clock,
            clock=clock,
            heartbeat=LoopHeartbeat,
        )
        plan = Plan(request="", graph=graph, planner="me")
        return clock.run(engine.run(plan, budget_usd=cap_usd))


def test_of_many_agents_that_nobody_knows_one_is_tried_at_a_time() -> None:
    names = [f"new{number}" for number in range(10)]
    graph = TaskDAG(make_typed(name) for name in names)
    run = World().run({name: {"costs": 0.40} for name in names}, graph, 0.50)
    assert run.cost_usd <= 0.80 + LEAST_USD
    assert beyond(read_attempts(run), 0.50) == []


def test_an_agent_that_nobody_knows_does_not_hold_up_those_that_declare_their_price() -> None:
    graph = TaskDAG([*(make_typed("new", number) for number in range(3)), *(make_typed("known", n) for n in range(3))])
    run = World().run({"new": {"costs": 0.01}, "known": {"costs": 0.01, "cost_usd": 0.01}}, graph, 1.0)
    first = [
        one.agent
        for one in read_attempts(run)
        if one.began < next(e.seq for e in run.events if e.kind == "task_finished")
    ]
    assert sorted(first) == ["known"] * 3 + ["new"]
    assert run.state == "done"


def test_a_chain_of_tasks_that_nobody_knows_ends_at_the_cap() -> None:
    tasks = [make_typed("new", number) for number in range(10)]
    chain = [
        dataclasses.replace(task, depends_on=(tasks[number - 1].task_id,) if number else ())
        for number, task in enumerate(tasks)
    ]
    run = World().run({"new": {"costs": 0.40}}, TaskDAG(chain), 0.50)
    assert run.cost_usd == pytest.approx(0.40)
    assert run.state == "stopped"


def test_a_dear_first_task_stops_the_run_and_the_last_line_says_by_how_much_it_was_too_dear() -> None:
    graph = TaskDAG(make_typed("new", number) for number in range(5))
    run = World().run({"new": {"costs": 3.0}}, graph, 0.50)
    assert run.cost_usd == pytest.approx(3.0)
    assert run.overrun_usd >= 2.5
    assert "more than was reserved" in run.explain()


@pytest.mark.parametrize("agents", [1, 2, 5, 9])
@pytest.mark.parametrize("times", [1.0, 2.0, 10.0])
@pytest.mark.parametrize("apart_s", [0.0, 0.7], ids=["end at once", "end apart"])
def test_agents_that_all_declare_too_little_do_not_exceed_the_cap_together(
    agents: int, times: float, apart_s: float
) -> None:
    cards = {
        f"a{n}": {"costs": 0.01 * times, "cost_usd": 0.01, "takes_s": 1.0 + n * apart_s, "max_concurrency": 50}
        for n in range(agents)
    }
    run = World().run(cards, TaskDAG(make_typed(f"a{number % agents}", number) for number in range(60)), 1.0)
    assert run.cost_usd <= 1.0 + LEAST_USD
    assert len(run.results) >= min(60, 0.9 / (0.01 * times))


def test_an_agent_that_takes_long_holds_up_none_that_keep_their_prices() -> None:
    cards = {name: {"costs": 0.01, "cost_usd": 0.01, "max_concurrency": 50} for name in ("quick", "other")}
    slow = {"costs": 0.01, "cost_usd": 0.01, "takes_s": 100.0}
    graph = TaskDAG([make_typed("slow"), *(make_typed(name, n) for name in cards for n in range(10))])
    run = World().run({"slow": slow, **cards}, graph, 0.25)
    assert run.state == "done"
    ended = [event.task_id for event in run.events if event.kind == "task_finished"]
    assert ended[-1] == "slow_0"


def make_typed(name: str, number: int = 0) -> Any:
    """Return a task of a type that one agent takes."""
    return dataclasses.replace(make_task(f"{name}_{number}"), task_type=name)
