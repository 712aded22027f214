"""Plays worlds and judges them, and says what is wrong: in this process, or in one of several that share the seeds."""

from __future__ import annotations

import gc
import signal
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from .model import judge
from .play import play
from .world import World, draw_world

REAL_S = 30.0
"""Seconds after which a world is stuck: most take twenty thousandths of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A world in which something is wrong."""

    seed: int
    kind: Literal["failures", "stuck", "model_disagreements"]
    problem: str


class _Stuck(KeyboardInterrupt):
    """A subclass of what asyncio lets through its callbacks."""


def check(world: World) -> tuple[Literal["failures", "stuck", "model_disagreements"], str] | None:
    """Play a world and judge it; return what is wrong, if anything is."""
    try:
        history = play(world)
        gc.collect()  # asyncio complains of an error that nobody has retrieved when its task is collected
        problem = judge(history)
    except _Stuck:
        return "stuck", f"it did not end within {REAL_S:g} s"
    except Exception:  # the simulation itself is wrong: that is a finding as well
        return "failures", traceback.format_exc(limit=-4)
    if problem is None:
        return None
    if "Stuck" in problem:
        return "stuck", problem
    failed = "the engine raised" in problem or "cannot be read" in problem or "asyncio complained" in problem
    return ("failures" if failed else "model_disagreements"), problem


def check_all(seeds: range) -> tuple[int, list[Finding]]:
    """Play the worlds of these seeds; return how many they were, and what was found. Takes the alarm of the process."""
    findings = []
    gc.collect()
    gc.freeze()  # so that collecting after each world looks at that world alone
    signal.signal(signal.SIGALRM, _give_up)
    for seed in seeds:
        signal.setitimer(signal.ITIMER_REAL, REAL_S, 1.0)  # again and again: an agent's own code may swallow it
        try:
            found = check(draw_world(seed))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if found is not None:
            findings.append(Finding(seed=seed, kind=found[0], problem=found[1]))
    return len(seeds), findings


def _give_up(number: int, frame: FrameType | None) -> None:
    raise _Stuck
