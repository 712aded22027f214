"""LangGraph: a StateGraph with a node per task and an edge list per join; its state counts what is done."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from work import Graph, Way, main


class State(TypedDict):
    done: Annotated[int, operator.add]


def node(name: str) -> Callable[[State], Awaitable[State]]:
    async def work(state: State) -> State:
        return {"done": 1}

    return work


def build(graph: Graph, folder: Path, *, compiled: bool = False) -> tuple[Any, Path, int]:
    builder: Any = StateGraph(State)
    for name in graph:
        builder.add_node(name, node(name))
    waited = {before for waits in graph.values() for before in waits}
    for name, waits in graph.items():
        # A list waits for all of them; without one a node would run once for every task before it.
        builder.add_edge(list(waits) if waits else START, name)
        if name not in waited:
            builder.add_edge(name, END)
    return (builder.compile() if compiled else builder), folder / "checkpoints.sqlite", len(graph)


async def run_kept(ready: tuple[Any, Path, int]) -> int:
    builder, path, size = ready
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        config = {"recursion_limit": size + 10, "configurable": {"thread_id": "1"}}
        found = await builder.compile(checkpointer=saver).ainvoke({"done": 0}, config, durability="sync")
    return int(found["done"])


async def run_alone(ready: tuple[Any, Path, int]) -> int:
    compiled, _, size = ready
    found = await compiled.ainvoke({"done": 0}, {"recursion_limit": size + 10})
    return int(found["done"])


if __name__ == "__main__":
    main(
        {
            "langgraph": Way(build, run_kept, journal="SQLite, WAL: synced at every checkpoint (one a step)"),
            "langgraph_off": Way(partial(build, compiled=True), run_alone, journal="none"),
        },
        packages=("langgraph", "langgraph-checkpoint-sqlite"),
    )
