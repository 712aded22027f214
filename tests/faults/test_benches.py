"""The benchmarks of crashes, budgets, overhead and makespans run, keep what they promise, and give their figures.

Small here; by hand they run at full size. KAPELLE_CRASH_KILLS and KAPELLE_BUDGET_SEEDS scale them.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import budget, chains, makespan, scale
from bench.crash.checking import FAULTS
from bench.overhead.__main__ import measure as measure_overhead


def bench(name: str, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"bench.{name}", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_nothing_is_lost_done_twice_or_overpaid_when_a_run_is_killed(store: str) -> None:
    found = bench("crash", "--kills", os.environ.get("KAPELLE_CRASH_KILLS", "8"), "--store", store)
    assert {name: found[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert set(FAULTS) >= {"lost", "repeated_finished", "keys_changed", "overrun", "stuck", "early_starts"}
    assert found["resumes"] > 0


@pytest.mark.slow
def test_nothing_starts_beyond_a_budget_whoever_works_and_whatever_is_known_of_prices() -> None:
    found = budget.measure(int(os.environ.get("KAPELLE_BUDGET_SEEDS", "2")), 0)
    assert found["overrun"] == 0
    assert found["beyond_excess_usd"] < 1e-9  # a sum of floats
    rows = {row["scenario"]: row for row in found["scenarios"]}
    assert rows["learned, reported"]["mean_share"] > 0.9
    assert rows["breaks off, unpriced"]["assumed_mean"] > 0
    guarded = [row for row in rows.values() if row["scenario"] != "priced ten times"]  # that cap pays for everything
    assert all(row["no_guard_share"] > 1.2 for row in guarded)


@pytest.mark.slow
def test_overhead_is_measured_for_every_journal() -> None:
    found = measure_overhead([12], 1, (), postgres=True)
    ways = {"asyncio", "executor_normal", "executor_off", "executor_postgres", "kapelle_memory", "kapelle_normal"}
    assert ways <= found["ms"].keys() == found["durability"].keys()
    assert all(row["12"] > 0 for row in found["ms"].values())
    assert {"asyncio", "kapelle_normal", "kapelle_learned"} <= found["first_ms"].keys() == found["first_mb"].keys()


@pytest.mark.slow
def test_a_workflow_is_run_and_held_against_the_ideal(tmp_path: Path) -> None:
    tasks = [
        {"id": "a", "name": "first_1", "runtime_s": 10, "parents": []},
        {"id": "b", "name": "second_1", "runtime_s": 30, "parents": ["a"]},
        {"id": "c", "name": "second_2", "runtime_s": 20, "parents": ["a"]},
    ]
    path = tmp_path / "flows.jsonl.gz"
    with gzip.open(path, "wt") as lines:
        lines.write(json.dumps({"name": "small", "tasks": tasks}) + "\n")
    found = makespan.measure(path, 2, 0, 0.05)
    (row,) = found["graphs"]
    assert row["ideal"] == pytest.approx(1.0)
    assert row["kapelle"] >= 1.0
    assert {"ratio_mean", "ratio_max", "to_ideal_mean", "above_levels"} <= found.keys()


def test_the_ideal_schedule_takes_the_longest_path_first() -> None:
    tasks = [
        {"id": name, "name": name, "runtime_s": took, "parents": []} for name, took in (("s", 1), ("l", 2), ("m", 1))
    ]
    flow = makespan.read_workflow({"name": "x", "tasks": tasks}, 2, 2.0)
    assert makespan.simulate(flow, 2) == pytest.approx(flow.bound)
    assert asyncio.run(makespan.sleep_all([])) < 1


@pytest.mark.slow
def test_the_whole_line_is_measured_at_every_size_and_where_it_was_cut_off(tmp_path: Path) -> None:
    found = bench("scale", "--sizes", "60,120", "--folder", str(tmp_path))
    assert {"growth", "mb", "read_ms"} <= found.keys()
    assert found["growth"] > 0
    assert found["mb"] < 1_000
    for row in found["sizes"].values():
        assert {"ms", "read_ms", "resume_s", "list_ms", "task_ms", "explain_ms"} <= row.keys()
        assert min(row.values()) > 0
    assert not any(tmp_path.iterdir())
    assert len(scale.layered(120).sources) == scale.WIDTH


def test_chains_of_sleeps_are_run_by_the_engine_beside_plain_asyncio() -> None:
    found = chains.measure(rounds=1, sleep_s=0.001)
    assert found.keys() == {"chains_bound_s", "chains_asyncio", "chains_executor", "chains_engine"}
    assert len(chains.chains_of(chains.LENGTHS)) == 100
    assert min(found["chains_asyncio"], found["chains_executor"], found["chains_engine"]) > 0.99
