"""What runs do is what was recorded: starts, events, money, choices and words. `python -m tests.golden.record` records.

A difference is a change of behaviour. One that is meant is recorded anew, and the commit says why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.golden.commands import tell_commands
from tests.golden.record import read_stories
from tests.golden.requests import STORIES, tell_requests
from tests.golden.story import Story, first_difference
from tests.golden.worlds import SEEDS, tell_worlds

ROOT = Path(__file__).parent.parent.parent
MAX_SHOWN = 5
"""Stories whose difference is shown in full."""


def expect_same(recorded: Mapping[str, Story], now: Mapping[str, Story]) -> None:
    """Fail with the first line in which each story differs."""
    found = [one for name in now if (one := first_difference(name, recorded.get(name, []), now[name])) is not None]
    assert not found, f"{len(found)} stories differ from what was recorded:\n" + "\n".join(found[:MAX_SHOWN])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_simulated_worlds_go_as_they_went(part: int) -> None:
    seeds = SEEDS[part * 25 : part * 25 + 25]
    expect_same(read_stories("worlds"), tell_worlds(seeds))


@pytest.mark.parametrize("name", STORIES)
def test_requests_go_as_they_went(name: str) -> None:
    expect_same(read_stories("requests"), tell_requests([name]))


@pytest.mark.slow
def test_commands_say_what_they_said() -> None:
    recorded, now = read_stories("commands"), tell_commands()
    expect_same(recorded, now)
    assert list(recorded) == list(now)


def test_every_story_is_recorded() -> None:
    assert list(read_stories("worlds")) == [f"seed {seed}" for seed in SEEDS]
    assert list(read_stories("requests")) == list(STORIES)


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_a_story_is_the_same_in_every_process(seed: str) -> None:
    code = "from tests.golden.worlds import *; from tests.golden.requests import *; "
    told = "{**tell_worlds(range(3, 8)), **tell_requests(['qualities', 'growth', 'learned strategies'])}"
    environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(["src", ".", *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}import json; print(json.dumps({told}))"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    expect_same({**read_stories("worlds"), **read_stories("requests")}, json.loads(done.stdout))


def test_a_difference_names_its_story_its_line_and_what_came_before() -> None:
    found = first_difference("seed 1", ["a", "b", "c"], ["a", "b", "d"])
    assert found is not None
    assert found.splitlines() == ["seed 1, line 3 of 3:", "      a", "      b", "    - c", "    + d"]
    assert "(it ends here)" in str(first_difference("seed 1", ["a"], []))
    assert first_difference("seed 1", ["a"], ["a"]) is None
