"""agent-framework: an executor per task, with fan-in edges, and checkpoints in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent_framework import Executor, FileCheckpointStorage, WorkflowBuilder, WorkflowContext, handler
from work import Graph, Way, layers, main

DONE: list[str] = []


class Begin(Executor):
    @handler
    async def begin(self, words: str, ctx: WorkflowContext[str]) -> None:
        await ctx.send_message(words)


class Work(Executor):
    @handler
    async def one(self, words: str, ctx: WorkflowContext[str]) -> None:
        await self._do(ctx)

    @handler
    async def several(self, words: list[str], ctx: WorkflowContext[str]) -> None:
        await self._do(ctx)

    async def _do(self, ctx: WorkflowContext[str]) -> None:
        DONE.append(self.id)
        await ctx.send_message(self.id)


def build(graph: Graph, folder: Path) -> Any:
    begin = Begin(id="begin")
    builder = WorkflowBuilder(
        max_iterations=len(graph) + 10,
        start_executor=begin,
        checkpoint_storage=FileCheckpointStorage(str(folder)),
    )
    executors = {name: Work(id=name) for name in graph}
    first = [executors[name] for name in layers(graph)[0]]
    builder.add_fan_out_edges(begin, first)
    for name, waits in graph.items():
        if waits:
            builder.add_fan_in_edges([executors[before] for before in waits], executors[name])
    DONE.clear()
    return builder.build()


async def run(workflow: Any) -> int:
    await workflow.run("go")
    return len(DONE)


if __name__ == "__main__":
    main(
        {"agent_framework": Way(build, run, journal="JSON files, one a step with all that is known: never synced")},
        packages=("agent-framework-core",),
    )
