"""The benchmark that counts the way of one run: its counts repeat, and a name that is gone is told."""

from __future__ import annotations

import pytest

from bench import flow


def test_a_longer_run_goes_the_same_way_more_often() -> None:
    flow.run_once(3)
    short, long = flow.count(3), flow.count(9)
    assert short == flow.count(3)
    assert 20 < short["files_entered"] < short["file_changes"] < long["file_changes"]
    assert 1 <= short["distinct_estimates"] <= short["estimates"] < long["estimates"]


def test_a_name_that_is_gone_counts_nothing_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    flow.run_once(3)
    names = {**flow.NAMES, "option_builds": ("NobodyKnows.this",), "estimates": ("CostProfiler.nor_this",)}
    monkeypatch.setattr(flow, "NAMES", names)
    assert {"NobodyKnows.this", "CostProfiler.nor_this"} <= set(flow.find_gone())
    found = flow.count(3)
    assert (found["option_builds"], found["estimates"], found["estimates_per_distinct"]) == (0, 0, 0.0)


def test_what_a_process_loads_is_told_by_whose_it_is() -> None:
    loads = flow.count_loads()
    assert set(loads) == {"kapelle", "packages", "standard"}
    assert loads["kapelle"] > 20
    assert loads["standard"] > 20
