"""Haystack: a pipeline with a component per task, run by its event loop. It keeps no record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from haystack import Pipeline, component
from work import Graph, Way, main

DONE: list[str] = []


@component
class Work:
    def __init__(self, name: str, waits: tuple[str, ...]) -> None:
        self.name = name
        component.set_input_types(self, **dict.fromkeys(waits, str))

    @component.output_types(value=str)
    def run(self, **outputs: str) -> dict[str, str]:
        DONE.append(self.name)
        return {"value": self.name}

    @component.output_types(value=str)
    async def run_async(self, **outputs: str) -> dict[str, str]:
        DONE.append(self.name)
        return {"value": self.name}


def build(graph: Graph, folder: Path) -> Any:
    pipeline = Pipeline()
    for name, waits in graph.items():
        pipeline.add_component(name, Work(name, waits))
    for name, waits in graph.items():
        for before in waits:
            pipeline.connect(f"{before}.value", f"{name}.{before}")
    DONE.clear()
    return pipeline


async def run(pipeline: Any) -> int:
    await pipeline.run_async({}, concurrency_limit=50)
    return len(DONE)


if __name__ == "__main__":
    main({"haystack": Way(build, run, journal="none: it keeps no record")}, packages=("haystack-ai",))
