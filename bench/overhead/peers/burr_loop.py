"""Burr: one action that follows itself. It runs no graph side by side, so the tasks come one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burr.core import ApplicationBuilder, State, action, expr
from burr.core.persistence import SQLitePersister
from work import Graph, Way, main


@action(reads=["done"], writes=["done"])
async def work(state: State) -> State:
    return state.update(done=state["done"] + 1)


@action(reads=["done"], writes=[])
async def end(state: State) -> State:
    return state


def build(graph: Graph, folder: Path) -> tuple[Any, Any]:
    persister = SQLitePersister.from_values(db_path=str(folder / "burr.sqlite"), table_name="state")
    persister.initialize()
    builder = (
        ApplicationBuilder()
        .with_actions(work=work, end=end)
        .with_transitions(("work", "work", expr(f"done < {len(graph)}")), ("work", "end"))
        .with_state(done=0)
        .with_entrypoint("work")
        .with_identifiers(app_id="bench", partition_key="bench")
        .with_state_persister(persister)
    )
    return builder.build(), persister


async def run(ready: tuple[Any, Any]) -> int:
    _, _, state = await ready[0].arun(halt_after=["end"])
    return int(state["done"])


def close(ready: tuple[Any, Any]) -> None:
    ready[1].connection.close()


if __name__ == "__main__":
    main(
        {
            "burr": Way(build, run, journal="SQLite, rollback journal: synced at every action", close=close),
        },
        packages=("burr",),
    )
