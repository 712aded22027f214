"""Dollars and seconds as people read them."""

from __future__ import annotations


def format_usd(amount: float) -> str:
    """Return dollars as people read them: `$0`, `$0.0012`, `$3.40`."""
    if amount == 0:
        return "$0"
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}" if amount >= 0.0001 else f"${amount:.2g}"


def format_seconds(seconds: float) -> str:
    """Return a duration as people read it: `3 ms`, `1.2 s`, `2 min 5 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def tell_overrun(amount: float) -> str:
    """Return the sentence that tells of an overrun; see `Run.overrun_usd`."""
    return f"Tasks and planning cost {format_usd(amount)} more than was reserved for them."
