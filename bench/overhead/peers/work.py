"""The work that every system of the benchmark does, and how a script of one tells what it took.

Tasks do nothing. They lie in layers of 50, and each waits for two of the layer before. A script is started with the
way that it is to do them, how many, in how many rounds, and an empty folder. It does the work once to warm up, then in
these rounds, and prints one JSON object as its last line: `ms`, the least milliseconds a task; `build_ms`, the same for
making the graph where that is done before; `versions`, of what it measured; `journal`, what its record keeps and when
that is synced to the disk. In no round at all it is the first run of a process that counts: it does the work once, and
tells `mb`, the most memory that it held.

Standard library alone, and little of that: what is imported here counts as every system's.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

WIDTH = 50

Graph = dict[str, tuple[str, ...]]
"""Tasks by name, each with those that it waits for, in an order in which they may be done."""


class Way(NamedTuple):
    """One way of a system to do the work."""

    build: Callable[[Graph, Path], Any]
    """Makes of a graph what can be run, with whatever it keeps in an empty folder. May be async."""
    run: Callable[[Any], Awaitable[int]]
    """Runs it, and returns how many tasks were done."""
    journal: str
    """What its record keeps, and when that is synced to the disk."""
    close: Callable[[Any], None] = lambda ready: None
    """Gives back what was opened; not part of the time."""


def layered(size: int) -> Graph:
    """Return the graph of so many tasks."""
    graph: Graph = {}
    for number in range(size):
        layer, place = divmod(number, WIDTH)
        waits = (place, (place + 1) % WIDTH) if layer else ()
        graph[f"t{number}"] = tuple(f"t{(layer - 1) * WIDTH + one}" for one in waits)
    return graph


def layers(graph: Graph) -> list[list[str]]:
    """Return the tasks layer by layer."""
    names = list(graph)
    return [names[first : first + WIDTH] for first in range(0, len(names), WIDTH)]


def main(ways: Mapping[str, Way], *, packages: tuple[str, ...] = ()) -> None:
    """Do what the command line says, and print what was found. `packages` are those whose versions are told."""
    name, size, rounds, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    way, graph = ways[name], layered(size)
    if not rounds:
        asyncio.run(_once(way, graph, folder))
        print(json.dumps({"mb": most_memory_mb()}))
        return
    from importlib.metadata import version

    took = asyncio.run(_often(way, graph, rounds, folder))
    found = {
        "ms": min(ran for _, ran in took) / size * 1e3,
        "build_ms": min(built for built, _ in took) / size * 1e3,
        "versions": {package: version(package) for package in packages},
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


async def _often(way: Way, graph: Graph, rounds: int, folder: Path) -> list[tuple[float, float]]:
    """Return the seconds of every round, those of the first one left out: it warms up."""
    took = []
    for number in range(rounds + 1):
        (own := folder / str(number)).mkdir()
        gc.collect()
        took.append(await _once(way, graph, own))
    return took[1:]


async def _once(way: Way, graph: Graph, folder: Path) -> tuple[float, float]:
    """Return the seconds that building and running took."""
    began = time.perf_counter()
    ready = way.build(graph, folder)
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
