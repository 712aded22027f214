"""Plain asyncio: a task per node that awaits those before it. The least that keeps the same order."""

from __future__ import annotations

import asyncio
from pathlib import Path

from work import Graph, Way, main


def build(graph: Graph, folder: Path) -> Graph:
    return graph


async def run(graph: Graph) -> int:
    running: dict[str, asyncio.Task[str]] = {}

    async def do(name: str) -> str:
        for before in graph[name]:
            await running[before]
        return name

    for name in graph:
        running[name] = asyncio.create_task(do(name))
    return len(await asyncio.gather(*running.values()))


if __name__ == "__main__":
    main({"asyncio": Way(build, run, journal="none")})
