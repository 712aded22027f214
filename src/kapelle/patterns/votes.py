"""Counts votes. Answers that mean the same are one vote each for the same choice; who is more often right counts more.

Weights are the log-odds of being right, which is what makes a majority of independent voters most often right (Nitzan
and Paroush, "Optimal decision rules in uncertain dichotomous choice situations", 1982). A voter that failed or said
nothing abstains: it counts for nobody, and is told. No agreement is a result too: `winner` is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.strategies import canonical_answer

CERTAIN = 0.95
"""Rates count as if they lay within 1 - CERTAIN .. CERTAIN: a short history is no proof of being always right."""
MIN_WEIGHT = 0.05
"""What the vote of an agent counts that is no better than chance: little, and never against itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Consensus:
    """What a vote came to."""

    winner: Any
    """The answer, as the most trusted of its voters put it; None where the agreement was not reached."""
    reached: bool
    agreement: float
    """Share of the weight of all votes that the leading answer has, 0..1."""
    votes: Mapping[str, int]
    """Votes by answer, in canonical form, most weight first."""
    voters: Mapping[str, str]
    """By voter, the answer it gave in canonical form."""
    abstained: Mapping[str, str]
    """Voters that gave none, and why."""
    tie: bool
    """Whether two answers lead with the same weight; then nobody wins."""


def weight_of(success_rate: float) -> float:
    """Return what the vote of an agent counts.

    >>> round(weight_of(0.85), 2), weight_of(0.5)
    (1.73, 0.05)
    """
    rate = min(max(success_rate, 1 - CERTAIN), CERTAIN)
    return max(MIN_WEIGHT, math.log(rate / (1 - rate)))


def count_votes(
    answers: Mapping[str, Any],
    abstained: Mapping[str, str],
    *,
    min_agreement: float,
    weights: Mapping[str, float] | None = None,
) -> Consensus:
    """Return what a vote came to.

    Args:
        answers: By voter, its answer; None abstains.
        abstained: Voters that failed, and why.
        min_agreement: Share of the weight, 0..1, that the winner needs.
        weights: By voter; 1 where there is none.

    Raises:
        InvalidInput: `min_agreement` lies outside 0..1, or a weight is not positive.
    """
    check_agreement(min_agreement)
    weights = weights or {}
    bad = next((name for name, weight in weights.items() if not (weight > 0 and math.isfinite(weight))), None)
    if bad is not None:
        raise InvalidInput(f"The vote of {bad!r} has the weight {weights[bad]!r}; give a positive number.")
    said = {voter: canonical_answer(answer) for voter, answer in answers.items()}
    voters = {voter: choice for voter, choice in said.items() if choice}
    silent = {voter: "It gave no answer." for voter in said if voter not in voters}
    totals: dict[str, float] = {}
    for voter, choice in voters.items():
        totals[choice] = totals.get(choice, 0.0) + weights.get(voter, 1.0)
    ranked = sorted(totals, key=lambda choice: (-totals[choice], choice))
    total = math.fsum(totals.values())
    agreement = totals[ranked[0]] / total if ranked else 0.0
    tie = len(ranked) > 1 and math.isclose(totals[ranked[0]], totals[ranked[1]])
    reached = bool(ranked) and not tie and agreement >= min_agreement - 1e-12
    trusted = sorted(voters, key=lambda voter: (-weights.get(voter, 1.0), voter))
    spoken = next((voter for voter in trusted if reached and voters[voter] == ranked[0]), None)
    return Consensus(
        winner=None if spoken is None else answers[spoken],
        reached=reached,
        agreement=agreement,
        votes={choice: sum(1 for one in voters.values() if one == choice) for choice in ranked},
        voters=voters,
        abstained={**abstained, **silent},
        tie=tie,
    )


def check_agreement(min_agreement: object) -> None:
    """Refuse an agreement that is no share."""
    number = isinstance(min_agreement, (int, float)) and not isinstance(min_agreement, bool)
    if not number or not 0 <= min_agreement <= 1:  # type: ignore[operator]  # it is a number
        raise InvalidInput(f"min_agreement={min_agreement!r:.40} is no share of votes; give 0 to 1, for example 0.6.")
