"""Reads the options of `python -m bench.crash`, and prints the counts."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from . import __doc__ as description
from .killing import Plot, measure
from .worlds import SHAPES


def main() -> None:
    """Print the counts, or with --json one JSON object. The exit code is 1 if any that must be 0 is not."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KAPELLE_CRASH_KILLS", "200")))
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--backend", choices=("asyncio", "threads"), default="asyncio")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="of which kinds runs are, in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for events and traces of runs with faults")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shapes = tuple(options.shapes.split(","))
    if unknown := set(shapes) - SHAPES.keys():
        parser.error(f"there is no shape {', '.join(sorted(unknown))}; use {', '.join(SHAPES)}")
    started = time.perf_counter()
    plot = Plot(
        kills=options.kills,
        store=options.store,
        backend=options.backend,
        seed=options.seed,
        shapes=shapes,
        keep=options.keep,
    )
    found = measure(plot)
    result = {**found.to_dict(), "seconds": round(time.perf_counter() - started, 1)}
    if options.json:
        how = {"store": options.store, "backend": options.backend, "seed": options.seed}
        print(json.dumps({**result, **how}))
    else:
        for name, value in result.items():
            print(f"{name:<20}{value}")
    if any(found.faults.values()):
        sys.exit(1)


main()
