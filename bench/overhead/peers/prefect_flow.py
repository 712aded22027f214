"""Prefect: a flow whose tasks are submitted to 50 threads, and its own server with SQLite."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

HOME = tempfile.TemporaryDirectory()
os.environ |= {
    "PREFECT_HOME": HOME.name,
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}
os.environ.pop("PREFECT_API_URL", None)

from prefect import flow, task  # noqa: E402 - it reads the environment when it is imported
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402
from work import WIDTH, Graph, Way, main  # noqa: E402

GRAPH: Graph = {}


@task
def work(name: str) -> str:
    return name


@flow(task_runner=ThreadPoolTaskRunner(max_workers=WIDTH))
def conduct() -> int:
    futures: dict[str, object] = {}
    for name, waits in GRAPH.items():
        futures[name] = work.submit(name, wait_for=[futures[before] for before in waits])
    return sum(bool(future.result()) for future in futures.values())


def build(graph: Graph, folder: Path) -> None:
    GRAPH.clear()
    GRAPH.update(graph)


async def run(_: None) -> int:
    return await asyncio.to_thread(conduct)


if __name__ == "__main__":
    main(
        {"prefect": Way(build, run, journal="its server's SQLite, WAL: never synced at a commit")},
        packages=("prefect",),
    )
