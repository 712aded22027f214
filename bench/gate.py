"""How well the gate reads from a request's words how far it can be taken apart, against recorded plans.

    python -m bench.gate [--data FOLDER] [--part dev|test] [--json]

`parallelqa` gives the number of parallel branches, `nestful`, `strategyqa` and `worfbench` the steps and edges of a
gold plan: its breadth is the widest level, its depth the longest path. Requests that one step answers, which the gate
should decline, are those of one gold step, and `geography`, where one SQL query answers each question; all others
should be taken apart (by that measure: nobody has run these plans, so whether they would pay is not known). Baselines
in the same run: judging by the number of words, and taking everything apart.

Rows are `dev` or `test` by a hash of their request. The gate's words and weights were set by looking at `dev` alone.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kapelle.graph import Task, TaskDAG
from kapelle.planning import judge_request

SETS = {
    "parallelqa": "plans/parallelqa.jsonl.gz",
    "nestful": "plans/nestful-executable.jsonl.gz",
    "strategyqa": "plans/strategyqa-train.jsonl.gz",
    "seal_tools": "plans/worfbench-seal_tools.jsonl.gz",
    "wikihow": "plans/worfbench-wikihow.jsonl.gz",
    "geography": "sql/geography.jsonl.gz",
}

HIDDEN = ("strategyqa", "wikihow")
"""Sets whose steps cannot be read from the words: "Is a curling iron necessary in curling?", "How to Clean a Rug"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A request, and what its gold plan says."""

    request: str
    steps: int
    breadth: int
    depth: int


def main() -> None:
    """Print a table, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("KAPELLE_BENCH_DATA", "../shared/data")))
    parser.add_argument("--part", choices=("dev", "test"), default="test")
    parser.add_argument("--seed", type=int, default=0, help="unused: nothing here is drawn")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missing = [path for path in SETS.values() if not (options.data / path).is_file()]
    if missing:
        sys.exit(f"{options.data / missing[0]} is missing. Name the folder of recorded data with --data.")
    rows = {name: list(read_rows(options.data / path, options.part)) for name, path in SETS.items()}
    result = {name: measure(found) for name, found in rows.items()}
    decisions = {
        "all sets": decide_all([row for found in rows.values() for row in found]),
        "steps in the words": decide_all([row for name in rows if name not in HIDDEN for row in rows[name]]),
    }
    if options.json:
        print(json.dumps({"part": options.part, "sets": result, "decisions": decisions}))
        return
    columns = {"rows": 6, "breadth": 9, "parts": 8, "words": 8, "depth": 8, "planned": 9, "single declined": 17}
    print(f"{options.part:<12}" + "".join(f"{name:>{width}}" for name, width in columns.items()))
    for name, found in result.items():
        declined = f"{found['single_declined']} of {found['single']}"
        shown = {**found, "planned": f"{found['planned']:.1%}", "single declined": declined}
        print(f"{name:<12}" + "".join(f"{shown[column]:>{width}}" for column, width in columns.items()))
    print("Correlations (Spearman) of the judged breadth, parts and depth with the gold; words: with the gold breadth.")
    lines = [(f"{sets}: {name}", found) for sets, deciders in decisions.items() for name, found in deciders.items()]
    for name, found in lines:
        print(f"{name:<38} balanced accuracy {found['balanced']:.3f}  planned of several steps {found['planned']:.1%}"
              f"  declined of one step {found['declined']:.1%}")  # fmt: skip


def read_rows(path: Path, part: str) -> Iterator[Row]:
    """Yield the rows of one half of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            request = row.get("question") or row["request"]
            first = hashlib.sha256(request.encode()).digest()[0]
            if ("dev" if first % 2 else "test") == part:
                yield read_row(request, row)


def read_row(request: str, row: dict[str, Any]) -> Row:
    """Return a row with the shape of its gold plan."""
    if "branch" in row:
        return Row(request=request, steps=row["branch"] + 1, breadth=row["branch"], depth=2)
    if "sql" in row:
        return Row(request=request, steps=1, breadth=1, depth=1)
    before: dict[str, list[str]] = {}
    for one, other in row["edges"]:
        before.setdefault(other, []).append(one)
    ids = dict.fromkeys(step["id"] for step in row["steps"])  # some gold plans name a step twice
    graph = TaskDAG(Task(task_id=step, task_type="step", depends_on=tuple(before.get(step, ()))) for step in ids)
    levels = graph.levels()
    return Row(request=request, steps=len(graph), breadth=max(map(len, levels)), depth=len(levels))


def measure(rows: Sequence[Row]) -> dict[str, Any]:
    """Compare the judgements of one set with its gold plans."""
    verdicts = [judge_request(row.request) for row in rows]
    single = [verdict for verdict, row in zip(verdicts, rows, strict=True) if row.steps == 1]
    breadth = [row.breadth for row in rows]
    return {
        "rows": len(rows),
        "breadth": correlate(breadth, [verdict.breadth for verdict in verdicts]),
        "parts": correlate([row.steps for row in rows], [verdict.parts for verdict in verdicts]),
        "words": correlate(breadth, [len(row.request.split()) for row in rows]),
        "depth": correlate([row.depth for row in rows], [verdict.depth for verdict in verdicts]),
        "planned": float(np.mean([verdict.decompose for verdict in verdicts])),
        "single": len(single),
        "single_declined": sum(not verdict.decompose for verdict in single),
    }


def decide_all(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Compare the gate's decision with baselines, over all sets together."""
    several = np.array([row.steps > 1 for row in rows])
    words = np.array([len(row.request.split()) for row in rows])
    deciders = {
        "gate": np.array([judge_request(row.request).decompose for row in rows]),
        "more than 12 words": words > 12,
        "more than 20 words": words > 20,
        "always": np.ones(len(rows), dtype=bool),
    }
    result = {}
    for name, chosen in deciders.items():
        planned, declined = float(chosen[several].mean()), float((~chosen[~several]).mean())
        result[name] = {"planned": planned, "declined": declined, "balanced": (planned + declined) / 2}
    return result


def correlate(gold: Sequence[float], judged: Sequence[float]) -> str:
    """Spearman's correlation as a text; a dash where one side never varies."""
    if len(set(gold)) < 2 or len(set(judged)) < 2:
        return "-"
    return f"{np.corrcoef(ranks(gold), ranks(judged))[0, 1]:.2f}"


def ranks(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The ranks of values; equal ones share their mean."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


if __name__ == "__main__":
    main()
