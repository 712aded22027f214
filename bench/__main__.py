"""Prints every figure that README quotes: `python -m bench`, or `make bench`."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("install", "pipeline", "graph", "optimizer")


def main() -> None:
    """Run the benchmarks one after another, each in its own process."""
    for name in BENCHMARKS:
        print(f"\n== python -m bench.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)


if __name__ == "__main__":
    main()
