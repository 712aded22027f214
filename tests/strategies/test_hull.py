from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kapelle.strategies import upper_hull


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=30))
def test_no_point_lies_above_the_hull(points: list[tuple[float, float]]) -> None:
    costs, qualities = zip(*points, strict=True)
    hull = np.array(points)[upper_hull(costs, qualities)]
    for cost, quality in points:
        assert quality <= np.interp(cost, hull[:, 0], hull[:, 1]) + 1e-9
