"""Which tests stay together where several processes share them (`pytest -n 2`), and which of them begin first.

A file stays together, with what its fixtures began. So does what is played once for many files (promises/ways.py), and
all that uses Ray: two processes that start its clusters at a time disturb each other. What takes longest comes first,
so that no process is left alone with it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

RAY_FILES = frozenset({"test_backends.py", "test_ray_cluster.py"})
"""Files with tests that start a cluster and do not say so in their names; parameters say `ray`."""
RAY = re.compile(r"\[(?:.*[-; ])?ray[-; \]]")
LONGEST = ("ray",)
"""What begins first, in this order."""


@cache
def group_of(test: str) -> str:
    """Return the name of what a test stays together with."""
    file, _, name = test.partition("::")
    if PurePosixPath(file).name in RAY_FILES or RAY.search(name):
        return "ray"
    return file


def put_longest_first(items: list[pytest.Item]) -> None:
    """Order the tests as their groups are to begin."""
    rank = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(PurePosixPath(group_of(item.nodeid)).name, len(rank)))


class Together(LoadScopeScheduling):  # type: ignore[misc]  # ships no type information
    """Gives every process whole groups, one after another, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def remove_node(self, node: Any) -> str | None:
        """Return the test that a process ended in: it has failed, and the others of its group go on without it."""
        groups = self.assigned_work.pop(node)
        left = [(tests, test) for tests in groups.values() for test, is_over in tests.items() if not is_over]
        if not left:
            return None
        tests, ended_in = left[0]
        tests[ended_in] = True
        self.workqueue.update({name: tests for name, tests in groups.items() if not all(tests.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return str(ended_in)
