"""A cluster of several nodes loses one while tasks run: nothing is lost or done twice, and places are as asked for.

Small here; at full size it is `python -m bench.ray_nodes`. It has a process of its own: Ray takes one cluster in each.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
def test_a_node_that_dies_loses_nothing_and_tasks_run_where_there_is_what_they_ask_for() -> None:
    command = [sys.executable, "-m", "bench.ray_nodes", "--kills", "1", "--tasks", "8", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    found = json.loads(done.stdout)
    assert (found["lost"], found["repeated_finished"], found["problems"]) == (0, 0, [])
    assert found["resources_honoured"]
    assert (found["nodes_killed"], found["workers_lost"] > 0) == (1, True)
    never, no_more = found["impossible"]
    assert never.startswith("No node of the Ray cluster has what task 't0' asks for: 64 GPU")
    assert no_more.startswith(
        "No node of the Ray cluster has what task 't0' asks for: 1 special (the most that one has: 0)"
    )
