"""Platt scaling (Platt, 1999): turns a score's log-odds into a chance by a slope and an offset. Plain Python.

    chance = expit(slope * odds + offset)

Both are fitted to outcomes by Newton's method, pulled to slope 1 and offset 0 as if TRUST outcomes said so: with few
outcomes a score stays what it is. A slope is never negative: a score that orders attempts the wrong way says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .rates import expit

TRUST = 10.0
"""Strength of the pull, as the curvature that some forty outcomes at a half have."""
STEEPEST = 10.0
"""No slope is larger."""
CLOSEST = 1e-6
"""No chance is closer to 0 or 1: one outcome that was held for impossible would cost a log loss without end."""
_STEPS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A slope and an offset; the neutral one changes nothing."""

    slope: float = 1.0
    offset: float = 0.0

    def apply(self, odds: float) -> float:
        """Return the chance that log-odds stand for. Nothing is certain: it is never quite 0 or 1."""
        return min(max(expit(self.slope * odds + self.offset), CLOSEST), 1 - CLOSEST)


def fit_calibration(odds: Sequence[float], outcomes: Sequence[float]) -> Calibration:
    """Return the calibration under which the outcomes (0..1) are likeliest."""
    slope, offset = 1.0, 0.0
    loss = _loss(odds, outcomes, slope, offset)
    for _ in range(_STEPS):
        g_slope, g_offset = TRUST * (slope - 1), TRUST * offset
        h_slope, h_cross, h_offset = TRUST, 0.0, TRUST
        for odd, outcome in zip(odds, outcomes, strict=True):
            chance = expit(slope * odd + offset)
            missed, curve = chance - outcome, chance * (1 - chance)
            g_slope += missed * odd
            g_offset += missed
            h_slope += curve * odd * odd
            h_cross += curve * odd
            h_offset += curve
        if (slope <= 0 and g_slope > 0) or (slope >= STEEPEST and g_slope < 0):
            # the slope is where it may go no further: the offset alone moves
            step_slope, step_offset = 0.0, g_offset / h_offset
        else:
            # TRUST > 0 on the diagonal keeps the determinant positive
            determinant = h_slope * h_offset - h_cross * h_cross
            step_slope = (h_offset * g_slope - h_cross * g_offset) / determinant
            step_offset = (h_slope * g_offset - h_cross * g_slope) / determinant
        # Where chances are nearly certain the curvature says too little, and a full step leaps over the minimum.
        share, tried, tried_slope, tried_offset = 2.0, math.inf, slope, offset
        while share > 1e-6 and tried > loss:
            share /= 2
            tried_slope = min(max(slope - share * step_slope, 0.0), STEEPEST)
            tried_offset = offset - share * step_offset
            tried = _loss(odds, outcomes, tried_slope, tried_offset)
        if tried > loss:
            break
        slope, offset, gained, loss = tried_slope, tried_offset, loss - tried, tried
        if gained < 1e-9 * max(1.0, loss):
            break
    return Calibration(slope=slope, offset=offset)


def _loss(odds: Sequence[float], outcomes: Sequence[float], slope: float, offset: float) -> float:
    pull = TRUST / 2 * ((slope - 1) ** 2 + offset**2)
    return pull + math.fsum(
        _softplus(slope * odd + offset) - outcome * (slope * odd + offset)
        for odd, outcome in zip(odds, outcomes, strict=True)
    )


def _softplus(odds: float) -> float:
    """Return log(1 + exp(odds)) without overflow."""
    return max(odds, 0.0) + math.log1p(math.exp(-abs(odds)))
