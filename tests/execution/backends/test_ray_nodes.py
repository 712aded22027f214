"""What no node has is told, once that was so for long enough; what busy nodes have is waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle.execution.backends.ray_nodes import ClusterNodes, amounts_of

SMALL = {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}}
SPECIAL = {"Alive": True, "Resources": {"CPU": 4.0, "special": 1.0}}
GONE = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}


class Cluster:
    """Nodes that come and go, and a clock."""

    def __init__(self, *nodes: dict[str, Any], patience_s: float = 60.0) -> None:
        self.nodes = list(nodes)
        self.now = 0.0
        self.looks = 0
        self._known = ClusterNodes(self._look, patience_s, clock=lambda: self.now)

    def _look(self) -> list[dict[str, Any]]:
        self.looks += 1
        return self.nodes

    def lacking(self, *, at: float, **options: Any) -> str | None:
        self.now = at
        return asyncio.run(self._known.find_lacking(options))


@pytest.mark.parametrize(
    ("options", "amounts"),
    [
        ({}, {"CPU": 1.0}),
        ({"num_gpus": 2}, {"CPU": 1.0, "GPU": 2.0}),
        ({"num_cpus": 0, "memory": 5, "resources": {"special": 1}}, {"memory": 5.0, "special": 1.0}),
    ],
)
def test_options_become_amounts(options: dict[str, Any], amounts: dict[str, float]) -> None:
    assert amounts_of(options) == amounts


def test_a_node_that_has_it_is_enough() -> None:
    cluster = Cluster(SMALL, SPECIAL, patience_s=0.0)
    assert cluster.lacking(at=0, num_gpus=1) is None
    assert cluster.lacking(at=9, resources={"special": 1}) is None


def test_what_no_node_has_is_told_with_the_most_that_there_is() -> None:
    cluster = Cluster(SMALL, SPECIAL, GONE, patience_s=0.0)
    assert cluster.lacking(at=0, num_cpus=0, num_gpus=2) == "2 GPU (the most that one has: 1)"
    both = cluster.lacking(at=9, num_gpus=1, resources={"special": 1})
    assert both is not None
    assert both.endswith("all on one node")


def test_a_node_may_still_come_and_one_that_goes_begins_the_wait_anew() -> None:
    cluster = Cluster(SMALL)
    assert cluster.lacking(at=0, resources={"special": 1}) is None
    assert cluster.lacking(at=59, resources={"special": 1}) is None
    cluster.nodes.append(SPECIAL)
    assert cluster.lacking(at=61, resources={"special": 1}) is None
    cluster.nodes.remove(SPECIAL)
    assert cluster.lacking(at=70, resources={"special": 1}) is None
    assert cluster.lacking(at=131, resources={"special": 1}) is not None


def test_all_tasks_share_one_look() -> None:
    cluster = Cluster(SMALL)
    for _ in range(100):
        cluster.lacking(at=5.0, num_gpus=1)
    assert cluster.looks == 1
