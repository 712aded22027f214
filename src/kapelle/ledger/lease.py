"""Leases: which engine may work on a run, until when, and how a store refuses the one that comes too late.

Theory: a lease alone keeps no two engines apart. Its holder may be paused (a laptop asleep, a machine that swaps) and
wake up after another has taken over, still believing that it holds it; and clocks jump. So every grant raises the run's
**fence**, a number that only grows; whoever writes under a lease shows its fence, and the store compares it within the
transaction that writes (M. Kleppmann, "How to do distributed locking", 2016; Gray and Cheriton, 1989, for leases).

    free ──acquire──> held, fence n ──renew──> held, fence n
                      held, fence n ──release──> free         held, fence n ──expires, acquire──> held, fence n + 1

Invariants: of one run and one fence there was ever one holder. A write with a fence happens while that fence is the
current one and not released, or not at all. An expired lease that nobody took is still good: nobody else has written.
While a lease is held its end never moves to an earlier time, so a clock that jumps back makes others wait longer, and
never hands out what is held. A clock that jumps forward hands it out too early: then the fence stops the first holder.

Not covered: a write that shows no fence is not refused; people's answers come from outside of the engine that waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kapelle.errors import InvalidInput, LeaseLost, RunBusy

Execute = Callable[[str, Sequence[Any]], list[Any]]
"""Runs one statement within the store's transaction, with values at the `?` in it, and returns its rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to work on a run, until somebody else is given a higher fence."""

    run_id: str
    owner: str
    """Who holds it, in words for people: an engine's host and process."""
    fence: int
    """From 1, higher with every grant."""
    expires_at: float
    """Seconds since the epoch, by the store's clock: from then on others may take the run over."""


def acquire_lease(
    execute: Execute, now: float, run_id: str, owner: str, ttl_s: float, *, stamp: int = 0, dead: str | None = None
) -> Lease:
    """Give out the lease of a run that is free. The transaction must keep others from the run's lease meanwhile.

    Args:
        stamp: Tells one call from all others, so that a call made again after its reply was lost finds its own grant;
            0 where replies cannot be lost.
        dead: An owner that is known to be dead: if it is the one that holds the lease, nobody waits for its end.

    Raises:
        RunBusy: another holds it.
    """
    expires_at = now + _checked(ttl_s)
    rows = execute("SELECT owner, fence, expires_at, stamp FROM leases WHERE run_id = ?", (run_id,))
    holder, fence, until, before = rows[0] if rows else (None, 0, 0.0, 0)
    if stamp and stamp == before:
        return Lease(run_id=run_id, owner=owner, fence=fence, expires_at=until)
    if holder is not None and holder != dead and now < until:
        raise RunBusy(run_id, owner=holder, wait_s=until - now)
    execute(
        """
        INSERT INTO leases (run_id, owner, fence, expires_at, stamp) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (run_id) DO UPDATE
        SET owner = excluded.owner, fence = excluded.fence, expires_at = excluded.expires_at, stamp = excluded.stamp
        """,
        (run_id, owner, fence + 1, expires_at, stamp),
    )
    return Lease(run_id=run_id, owner=owner, fence=fence + 1, expires_at=expires_at)


def renew_lease(execute: Execute, now: float, lease: Lease, ttl_s: float) -> Lease:
    """Move the end of a lease to `ttl_s` seconds from now, or leave it if it is later already.

    Raises:
        LeaseLost: it was released, or another has taken the run over.
    """
    wanted = now + _checked(ttl_s)
    expires_at = max(check_fence(execute, lease.run_id, lease.fence), wanted)
    execute("UPDATE leases SET expires_at = ? WHERE run_id = ?", (expires_at, lease.run_id))
    return replace(lease, expires_at=expires_at)


def release_lease(execute: Execute, lease: Lease) -> None:
    """Give a lease back, so that nobody has to wait for its end. One that is lost already is left to who has it."""
    execute("UPDATE leases SET owner = NULL WHERE run_id = ? AND fence = ?", (lease.run_id, lease.fence))


def check_fence(execute: Execute, run_id: str, fence: int) -> float:
    """Return when the lease with this fence ends; the transaction must keep others from it.

    Raises:
        LeaseLost: it is not the current one, or was released.
    """
    rows = execute("SELECT fence, owner, expires_at FROM leases WHERE run_id = ?", (run_id,))
    current, holder, expires_at = rows[0] if rows else (0, None, 0.0)
    if current != fence or holder is None:
        raise LeaseLost(run_id, fence=fence, current=current, owner=holder)
    return float(expires_at)


def _checked(ttl_s: float) -> float:
    if not (ttl_s > 0 and math.isfinite(ttl_s)):
        raise InvalidInput(f"ttl_s={ttl_s!r} is no time for a lease; give positive seconds.")
    return ttl_s
