"""DBOS: one workflow that gathers the steps of a layer; every step is recorded in SQLite."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dbos import DBOS, DBOSConfig
from work import Graph, Way, layers, main

GRAPH: list[list[str]] = []


@DBOS.step()
async def work(name: str) -> str:
    return name


@DBOS.workflow()
async def conduct() -> int:
    done = 0
    for layer in GRAPH:
        done += len(await asyncio.gather(*(work(name) for name in layer)))
    return done


def build(graph: Graph, folder: Path) -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
        "log_level": "ERROR",
        "run_admin_server": False,
    }
    DBOS(config=config)
    DBOS.launch()
    GRAPH[:] = layers(graph)


async def run(_: None) -> int:
    return int(await conduct())


def close(_: None) -> None:
    DBOS.destroy()


if __name__ == "__main__":
    main(
        {"dbos": Way(build, run, journal="SQLite, rollback journal: synced at every step", close=close)},
        packages=("dbos",),
    )
