"""Prints every figure that README quotes: `python -m bench`, or `make bench`."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "install",
    "pipeline",
    "planning",
    "graph",
    "optimizer",
    "overhead",
    "flow",
    "simulate",
    "crash",
    "ray_nodes",
    "budget",
    "words",
)
ON_RECORDED_DATA = ("plans", "gate", "faults", "routing", "estimates", "makespan", "sql", "masking")
"""They need public data that is not in the repository, and say where they look for it."""
WITH_TARGETS = ("untrusted", "tables")
"""They end with an error, or a figure above zero, where a target is missed."""


def main() -> None:
    """Run the benchmarks one after another, each in its own process."""
    for name in BENCHMARKS:
        print(f"\n== python -m bench.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)
    for name in (*ON_RECORDED_DATA, *WITH_TARGETS):
        print(f"\n== python -m bench.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False)


if __name__ == "__main__":
    main()
