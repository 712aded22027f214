"""How many cases the tests try: one number for all of them.

KAPELLE_TEST_SCALE is the share of all cases that are tried where chance draws them: the examples of hypothesis (see
conftest), and the seeds that `scaled` counts. 1 is all of them, for `make test-thorough`; DEFAULT is what `make test`
and CI take. A case that somebody wrote down is never left out.
"""

from __future__ import annotations

import math
import os

DEFAULT = 0.2
SCALE = float(os.environ.get("KAPELLE_TEST_SCALE") or DEFAULT)


def scaled(count: int, *, least: int = 1) -> int:
    """Return how many of `count` cases to try: `least` at least, as far as there are so many."""
    return max(min(count, least), math.ceil(count * SCALE))
