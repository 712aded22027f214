"""The work that every system of the benchmark does, and how a script of one tells what it took. Standard library alone.

Tasks do nothing. They lie in layers of 50, and each waits for two of the layer before. A script is started with the
number of tasks and a folder of its own; it does the work once to warm up, then `rounds` times, and prints one JSON
object as its last line: `ms`, the least milliseconds a task; `build_ms`, the same for making the graph where that is
done before; `versions`, of what it measured; `journal`, what its record keeps and when that is synced to the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.metadata
import inspect
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH = 50
FIRST = 3
"""Tasks of the first run of a process."""

Graph = dict[str, tuple[str, ...]]
"""Tasks by name, each with those that it waits for, in an order in which they may be done."""


def layered(size: int) -> Graph:
    """Return the graph of so many tasks."""
    graph: Graph = {}
    for number in range(size):
        layer, place = divmod(number, WIDTH)
        before = min(2, WIDTH) if layer else 0
        graph[f"t{number}"] = tuple(f"t{(layer - 1) * WIDTH + (place + one) % WIDTH}" for one in range(before))
    return graph


def layers(graph: Graph) -> list[list[str]]:
    """Return the tasks layer by layer."""
    names = list(graph)
    return [names[first : first + WIDTH] for first in range(0, len(names), WIDTH)]


@dataclass(frozen=True)
class Way:
    """One way of a system to do the work."""

    build: Callable[[Graph, Path], Any]
    """Makes of a graph what can be run, with whatever it keeps in an empty folder. May be async."""
    run: Callable[[Any], Awaitable[int]]
    """Runs it, and returns how many tasks were done."""
    journal: str
    """What its record keeps, and when that is synced to the disk."""
    close: Callable[[Any], None] = lambda ready: None
    """Gives back what was opened; not part of the time."""


def main(ways: Mapping[str, Way], *, packages: tuple[str, ...] = ()) -> None:
    """Measure one way of a system, and print what was found. `packages` are those whose versions are told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=sorted(ways))
    parser.add_argument("--size", type=int, default=FIRST)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--first", action="store_true", help="do the work once, and tell its memory alone")
    options = parser.parse_args()
    way, graph = ways[options.way], layered(options.size)
    if options.first:
        asyncio.run(_once(way, graph))
        print(json.dumps({"mb": most_memory_mb()}))
        return
    took = asyncio.run(_often(way, graph, options.rounds))
    found = {
        "ms": min(ran for _, ran in took) / options.size * 1e3,
        "build_ms": min(built for built, _ in took) / options.size * 1e3,
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "journal": way.journal,
    }
    print(json.dumps(found))


def most_memory_mb() -> float:
    """Return the most memory that this process has held at once, in 10**6 bytes."""
    try:
        # What `getrusage` says begins with what the process that started this one held.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError, ValueError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


async def _often(way: Way, graph: Graph, rounds: int) -> list[tuple[float, float]]:
    """Return the seconds of every round, those of the first one left out: it warms up."""
    return [await _once(way, graph) for _ in range(rounds + 1)][1:]


async def _once(way: Way, graph: Graph) -> tuple[float, float]:
    """Return the seconds that building and running took."""
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        began = time.perf_counter()
        ready = way.build(graph, Path(folder))
        if inspect.isawaitable(ready):
            ready = await ready
        try:
            started = time.perf_counter()
            done = await way.run(ready)
            ended = time.perf_counter()
        finally:
            way.close(ready)
    if done != len(graph):
        raise SystemExit(f"{done} of {len(graph)} tasks were done")
    return started - began, ended - started
