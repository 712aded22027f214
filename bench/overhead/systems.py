"""Who is measured: a script, the packages that it needs, and how large its graphs may be. Runs nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """One way to do the work."""

    name: str
    script: str
    """In `peers/`; the name is the way that it is asked for."""
    packages: tuple[str, ...] = ()
    """What pip installs for it in an environment of its own; none for what runs in this one."""
    most_tasks: int = 100_000
    """Larger graphs take it minutes, so they are left out, and that is said."""
    rounds: int = 100
    """At most so many, for the same reason."""
    first: bool = True
    """Whether the first run of a process is measured too."""


LEDGERS = ("full", "normal", "memory", "off")
OURS = (
    System(name="asyncio", script="plain_asyncio.py"),
    *(System(name=f"kapelle_{ledger}", script="kapelle_runs.py") for ledger in LEDGERS),
    System(name="kapelle_postgres", script="kapelle_runs.py", first=False),
    *(System(name=f"executor_{ledger}", script="kapelle_runs.py", first=False) for ledger in ("full", "normal", "off")),
    System(name="executor_postgres", script="kapelle_runs.py", first=False),
)
_LANGGRAPH = ("langgraph==1.2.24", "langgraph-checkpoint-sqlite==3.1.2")
PEERS = (
    System(name="langgraph", script="langgraph_graph.py", packages=_LANGGRAPH),
    System(name="langgraph_off", script="langgraph_graph.py", packages=_LANGGRAPH, first=False),
    System(name="burr", script="burr_loop.py", packages=("burr==0.42.0",)),
    System(name="dbos", script="dbos_steps.py", packages=("dbos==3.4.0",), rounds=2),
    # It copies the state of every executor once per executor and step: 5,000 tasks would take it an hour.
    System(
        name="agent_framework",
        script="agent_framework_workflow.py",
        packages=("agent-framework-core==1.23.0",),
        most_tasks=1_000,
        rounds=1,
    ),
    System(name="pydantic_graph", script="pydantic_graph_layers.py", packages=("pydantic-graph==2.68.0",)),
    System(name="haystack", script="haystack_pipeline.py", packages=("haystack-ai==3.4.1",)),
    System(name="prefect", script="prefect_flow.py", packages=("prefect==3.9.1",), most_tasks=1_000, rounds=1),
)


def choose_peers(names: str) -> tuple[System, ...]:
    """Return the peers of these names, with commas between; `all` or `none` of them.

    Raises:
        ValueError: there is no such peer.
    """
    if names in ("all", "none"):
        return PEERS if names == "all" else ()
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {peer.name: peer for peer in PEERS}
    for name in wanted:
        if name not in known:
            raise ValueError(f"There is no peer {name!r}. Use 'all', 'none', or some of: {', '.join(known)}.")
    return tuple(known[name] for name in wanted)
