"""pydantic-graph: a layer is mapped and joined, for its joins belong to a fork: no task waits for single ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_graph import GraphBuilder, StepContext, reduce_list_append
from work import Graph, Way, layers, main


@dataclass
class State:
    done: int = 0


def build(graph: Graph, folder: Path) -> tuple[Any, list[str]]:
    todo = layers(graph)
    builder: Any = GraphBuilder(state_type=State, input_type=list[str], output_type=list[str])
    before = builder.start_node
    for number in range(len(todo)):
        work = builder.step(do, node_id=f"work{number}")
        join = builder.join(reduce_list_append, initial_factory=list, node_id=f"join{number}")
        builder.add(builder.edge_from(before).map().to(work), builder.edge_from(work).to(join))
        before = join
    builder.add(builder.edge_from(before).to(builder.end_node))
    return builder.build(validate_graph_structure=False), todo[0]


async def do(context: StepContext[State, None, str]) -> str:
    context.state.done += 1
    return context.inputs


async def run(ready: tuple[Any, list[str]]) -> int:
    built, first = ready
    state = State()
    await built.run(state=state, inputs=first)
    return state.done


if __name__ == "__main__":
    main({"pydantic_graph": Way(build, run, journal="none: it keeps no record")}, packages=("pydantic-graph",))
