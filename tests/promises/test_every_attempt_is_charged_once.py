"""Guarantees: "Every attempt is charged once", what it reported, else its price, else what was set aside for it.

However it ends. And every account says the same: the events, the run, the budget, the outcomes that are learned from.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kapelle.ledger import COST_FIELDS

from .mending import params
from .ways import (
    ADAPTERS,
    FAILURES,
    NOT_BEGUN,
    NOTHING,
    PRICES,
    REPORTED,
    RESERVED,
    STRATEGIES,
    UNSAID,
    Attempted,
    Done,
    Played,
    Way,
    play,
    ray_ways,
    sampled_ways,
    why_not,
)


def every_failure() -> list[Way]:
    """Every failure by each kind of adapter, where nobody knows the price: the pairs of the sample are not enough."""
    kinds = {adapter.kind: name for name, adapter in ADAPTERS.items()}
    found = [Way(name, "single", "asyncio", failure, "unknown") for name in kinds.values() for failure in FAILURES]
    return [way for way in found if why_not(way) is None]


EXTRA = frozenset(every_failure()) - {*sampled_ways()}
ALL = list(dict.fromkeys([*sampled_ways(), *ray_ways(), *every_failure()]))


def played_once(way: Way) -> Played:
    """With a budget where it is of the sample, else without one."""
    return play(way, way not in EXTRA)


@pytest.mark.slow
@pytest.mark.parametrize("way", params("every account says the same", ALL))
def test_every_account_says_the_same(way: Way) -> None:
    played = played_once(way)
    assert played.run is not None
    assert played.budget is not None
    told = sum(
        float(event.data.get(name, 0.0)) for event in played.run.events for name in COST_FIELDS.get(event.kind, ())
    )
    assert played.run.cost_usd == pytest.approx(told)
    assert played.budget.spent.usd == pytest.approx(told, abs=1e-8)
    assert played.budget.reserved.usd == 0
    assert sum(played.run.cost_by_agent.values()) == pytest.approx(told)
    attempts = played.attempts()
    assert sum(one.cost_usd for one in attempts) == pytest.approx(told)
    assert all(one.ended is not None for one in attempts)
    learned = sum(one.cost_usd for one in played.outcomes)
    silent = sum(one.cost_usd for one in attempts if one not in told_of(played))
    assert learned == pytest.approx(told - silent)


def told_of(played: Played) -> list[Attempted]:
    """Return the attempts that have an outcome: nothing is learned of an agent that was cut off, or asks."""
    assert played.run is not None
    begun = [one for one in played.outcomes if not (one.error or "").startswith(NOT_BEGUN)]
    learned = [(one.task_id, one.agent, round(one.cost_usd, 9)) for one in begun]
    found = []
    for one in played.attempts():
        key = (one.task, one.agent, round(one.cost_usd, 9))
        if key in learned:
            learned.remove(key)
            found.append(one)
    assert not learned, "an outcome that belongs to no attempt"
    return found


@pytest.mark.parametrize("way", params("paid is paid", ALL))
def test_paid_is_paid_and_what_is_not_is_not(way: Way) -> None:
    played = played_once(way)
    assert played.run is not None
    for attempt, calls in paired(played):
        # On a busy machine one that is no straggler may be cut off, too.
        was_cut_off = "longer than" in (attempt.reason or "")
        said = RESERVED if was_cut_off else charged_for(way, calls)
        price = PRICES[way.price]
        reported = sum(one.cost_usd for one in calls)
        allowed = {
            REPORTED: [reported],
            RESERVED: [attempt.reserved_usd],
            NOTHING: [0.0],
            UNSAID: [attempt.reserved_usd if price.declared_usd is None else price.declared_usd, attempt.reserved_usd],
        }[said]
        if any(words in (attempt.reason or "") for words in ("was faster", "asked a person")):
            allowed.append(attempt.reserved_usd)  # it was cut off, unless it had just ended
        if calls[-1].failure == "is refused" and said == UNSAID:
            allowed.append(0.0)  # who declines a call has not taken it, unless it says so
        assert any(attempt.cost_usd == pytest.approx(usd) for usd in allowed), (attempt, calls, said)


def charged_for(way: Way, calls: list[Done]) -> str:
    """Return what is to be charged for an attempt that made these calls."""
    price, is_code = PRICES[way.price], ADAPTERS[way.adapter].kind == "code"
    what = calls[-1].failure
    if what == "stalls":
        return RESERVED
    if what == "answers":
        return UNSAID if is_code and price.reports == "never" else REPORTED
    said = FAILURES[what].charged
    if said == REPORTED and is_code:
        succeeds = what == "cannot be read"
        if price.reports == "never" or (price.reports == "success" and not succeeds):
            return UNSAID
    return said


def paired(played: Played) -> Iterator[tuple[Attempted, list[Done]]]:
    """Yield each attempt with the calls that it made: one, or one more where a reply that was cut is continued."""
    for task in dict.fromkeys(one.task for one in played.calls):
        calls = [one for one in played.calls if one.task == task]
        attempts = [one for one in played.attempts() if one.task == task]
        agents = {one.agent for one in attempts}
        for agent in agents:
            mine = [one for one in attempts if one.agent == agent]
            made = [one for one in calls if one.agent in (agent, "")]
            if len(mine) == len(made):
                yield from ((attempt, [call]) for attempt, call in zip(mine, made, strict=True))
            elif len(mine) == 1 and made:
                yield mine[0], made
            elif len(mine) > len(made) and played.way.strategy == "hedge":
                continue  # an attempt was cut off before its request had arrived: which one, nobody knows
            else:
                raise AssertionError(f"{len(mine)} attempts of {agent} at {task} made {len(made)} calls")


@pytest.mark.parametrize("way", params("an invented price is flagged", every_failure()))
def test_a_cost_that_nobody_told_is_marked_as_assumed(way: Way) -> None:
    played = played_once(way)
    assert played.run is not None
    for task in played.run.tasks.values():
        calls = [one for one in played.calls if one.task == task.task_id]
        if not calls or PRICES[way.price].declared_usd is not None or way.strategy == "hedge":
            continue
        unknown = any(charged_for(way, [one]) in (RESERVED, UNSAID) for one in calls)
        assert task.cost_assumed == (unknown and task.cost_usd > 0), task


@pytest.mark.parametrize("way", params("half an answer is no answer", ALL))
def test_what_came_to_nothing_is_not_done(way: Way) -> None:
    """A reply that is cut, empty, refused or broken off is never taken for an answer."""
    played = played_once(way)
    assert played.run is not None
    if STRATEGIES[way.strategy].strategy is None:
        assert played.run.tasks["lost"].state != "done"
    for name, output in played.run.results.items():
        assert f"{name} done" in str(output), output  # what was cut off may have been continued, once
