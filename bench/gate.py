"""How well the gate tells from a request's length whether it can be taken apart, against recorded plans.

    python -m bench.gate [--data FOLDER] [--part dev|test] [--json]

`parallelqa` gives the number of parallel branches, `nestful`, `strategyqa` and `worfbench` the steps and edges of a
gold plan. Requests that one step answers, which the gate should decline, are those of one gold step, and `geography`,
where one SQL query answers each question; all others should be taken apart (by that measure: nobody has run these
plans, so whether they would pay is not known). Baselines in the same run: other numbers of words, and taking everything
apart.

Rows are `dev` or `test` by a hash of their request.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.recorded import data_folder
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
    """A request, and how many steps its gold plan has."""

    request: str
    steps: int


def main() -> None:
    """Print a table, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
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
    print(f"{options.part:<12}{'rows':>6}{'planned':>9}{'single declined':>17}")
    for name, found in result.items():
        declined = f"{found['single_declined']} of {found['single']}"
        print(f"{name:<12}{found['rows']:>6}{found['planned']:>9.1%}{declined:>17}")
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
    """Return a row with the length of its gold plan."""
    if "branch" in row:
        return Row(request=request, steps=row["branch"] + 1)
    if "sql" in row:
        return Row(request=request, steps=1)
    return Row(request=request, steps=len({step["id"] for step in row["steps"]}))  # some name a step twice


def measure(rows: Sequence[Row]) -> dict[str, Any]:
    """Compare the judgements of one set with its gold plans."""
    planned = [judge_request(row.request).decompose for row in rows]
    single = [not chosen for chosen, row in zip(planned, rows, strict=True) if row.steps == 1]
    return {
        "rows": len(rows),
        "planned": float(np.mean(planned)),
        "single": len(single),
        "single_declined": sum(single),
    }


def decide_all(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Compare the gate's decision with baselines, over all sets together."""
    several = np.array([row.steps > 1 for row in rows])
    words = np.array([len(row.request.split()) for row in rows])
    deciders = {
        "gate": np.array([judge_request(row.request).decompose for row in rows]),
        "more than 8 words": words > 8,
        "more than 20 words": words > 20,
        "always": np.ones(len(rows), dtype=bool),
    }
    result = {}
    for name, chosen in deciders.items():
        planned, declined = float(chosen[several].mean()), float((~chosen[~several]).mean())
        result[name] = {"planned": planned, "declined": declined, "balanced": (planned + declined) / 2}
    return result


if __name__ == "__main__":
    main()
