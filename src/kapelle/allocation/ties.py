"""Chooses among plans of equal cost, as far as moves of one task and swaps of two can. Looks for no cheaper plan."""

from __future__ import annotations

from collections.abc import Callable

from .assignment import Assignment, AssignmentProblem, Candidate, round_off

_TIE_SLOTS = 300
"""Tasks up to which swaps are tried among plans of equal cost."""
_TRIES = 30_000
"""Tasks that are looked at in all: 100 plans of 300 tasks, a tenth of a second. Tasks alike have swaps by the thousand,
most of which make a chain too long."""


def settle_ties(
    problem: AssignmentProblem, choice: Assignment, *, is_over: Callable[[], bool] = lambda: False
) -> Assignment:
    """Return a plan of equal cost that ranks at least as high: moves to candidates of equal cost, then swaps.

    `is_over` tells when time is up.
    """
    slots, best = problem.slots, list(choice)
    left = max(1, _TRIES // max(1, len(slots)))

    def try_instead(changes: dict[int, int]) -> None:
        nonlocal best, left
        if left <= 0 or is_over():
            return
        left -= 1
        other = list(best)
        for t, at in changes.items():
            other[t] = at
        if problem.rank(tuple(other)) < problem.rank(tuple(best)) and problem.allows(tuple(other)):
            best = other

    for t, slot in enumerate(slots):
        for at, one in enumerate(slot.candidates):
            now = slot.candidates[best[t]]
            if at != best[t] and one.cost == now.cost and _prefers(at, one, best[t], now):
                try_instead({t: at})
    if len(slots) > _TIE_SLOTS:
        return tuple(best)
    for t, slot in enumerate(slots):
        if best[t] == 0:
            continue
        now, wanted = slot.candidates[best[t]], slot.candidates[0]
        for other, partner in enumerate(slots):
            held = partner.candidates[best[other]]
            if held.agent != wanted.agent or best[other] == 0:
                continue
            for swapped, some in enumerate(partner.candidates):
                difference = wanted.cost + some.cost - now.cost - held.cost
                if some.agent == now.agent and abs(difference) <= 1e-9 * max(1e-6, now.cost):
                    try_instead({t: 0, other: swapped})
                    now = slot.candidates[best[t]]
            if best[t] == 0:
                break
    return tuple(best)


def _prefers(at: int, one: Candidate, now_at: int, now: Candidate) -> bool:
    return (round_off(-one.quality), one.seconds, at != 0) < (round_off(-now.quality), now.seconds, now_at != 0)
