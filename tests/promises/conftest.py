"""What the promises share: one cluster of Ray, as a process takes one, closed when the tests are over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.promises import ways


@pytest.fixture(scope="session", autouse=True)
def closed_cluster() -> Iterator[None]:
    """Close the cluster that ways on Ray have opened, if any did."""
    yield
    if ways.ray_backend.cache_info().currsize:
        import ray

        ray.shutdown()
