"""Worlds in which the engine was wrong once, each as small as it could be made, by what was wrong."""

from __future__ import annotations

from collections.abc import Mapping

from bench.simulate.world import Act, AgentSpec, Say, Session, TaskSpec, Way, World

AGENTS = (AgentSpec(name="a"), AgentSpec(name="b"), AgentSpec(name="c"))

WORLDS: Mapping[str, World] = {
    "a failure above a diamond": World(
        tasks=(
            TaskSpec(name="t0"),
            TaskSpec(name="t1", after=("t0",)),
            TaskSpec(name="t2", after=("t0", "t1")),
            TaskSpec(name="t3", after=("t2",), on_failure="continue"),
            TaskSpec(name="t4", after=("t3",), risk="high"),
        ),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(does="fail"),)},
        max_fallbacks=0,
    ),
    "a kill after a failure, while another input runs": World(
        tasks=(
            TaskSpec(name="t0", on_failure="continue"),
            TaskSpec(name="t1"),
            TaskSpec(name="t2", after=("t0", "t1")),
            TaskSpec(name="t3", after=("t0", "t1"), needs="some"),
        ),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(does="fail", seconds=0.1),), ("t1", "a"): (Act(seconds=20.0),)},
        max_fallbacks=0,
        sessions=(Session(kill_at_s=10.0),),
    ),
    "rivals and an agent whose places are taken": World(
        tasks=tuple(TaskSpec(name=f"t{n}") for n in range(6)),
        agents=(AgentSpec(name="a", places=2),),
        scripts={(f"t{n}", "a"): (Act(seconds=1.0),) for n in range(6)},
        hedge_after_s=0.3,
    ),
    "two attempts that end in the same turn": World(
        tasks=(TaskSpec(name="t0"),),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(seconds=2.0), Act(seconds=1.0))},
        hedge_after_s=1.0,
    ),
    "a task that grows while an input has come to nothing": World(
        tasks=(
            TaskSpec(name="t0"),
            TaskSpec(name="t1"),
            TaskSpec(name="t2", after=("t0", "t1"), needs="some"),
            TaskSpec(name="t3", after=("t2",)),
        ),
        agents=AGENTS,
        scripts={("t1", "a"): (Act(does="fail"),), ("t2", "a"): (Act(does="grow"),)},
        grows={"t2": (TaskSpec(name="x"), TaskSpec(name="y", after=("x",)), TaskSpec(name="z", after=("x", "y")))},
        max_fallbacks=0,
    ),
    "a rival that still waits when the first attempt took too long": World(
        tasks=(TaskSpec(name="t0"), TaskSpec(name="t1")),
        agents=(AgentSpec(name="a", places=1),),
        scripts={("t0", "a"): (Act(does="hang"),)},
        hedge_after_s=0.3,
        max_attempts=1,
        task_timeout_s=4.0,
    ),
    "planning that was cut off, and two resumes": World(
        tasks=(TaskSpec(name="t0"), TaskSpec(name="t1", approval=True)),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(does="fail"),)},
        replans={"t0": ()},
        replan_s=50.0,
        people={"t1": (Say(after_s=200.0),)},
        max_fallbacks=0,
        sessions=(Session(kill_at_s=5.0),),
    ),
    "a stop while growth is being approved": World(
        tasks=(TaskSpec(name="t0"),),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(does="grow", cost_usd=0.02),)},
        grows={"t0": (TaskSpec(name="x"),)},
        approval_s=1.5,
        sessions=(Session(cancel_at_s=3.0),),
    ),
    "a stop that was cut off": World(
        tasks=tuple(TaskSpec(name=f"t{n}") for n in range(4)),
        agents=(AgentSpec(name="a", places=1),),
        sessions=(Session(stop_at_s=0.5, kill_at_event=7),),
    ),
    "a cancelled attempt whose time is over while another tidies up": World(
        tasks=(TaskSpec(name="t0"), TaskSpec(name="t1")),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(does="stubborn", seconds=50.0),), ("t1", "a"): (Act(does="hang"),)},
        task_timeout_s=4.0,
        sessions=(Session(cancel_at_s=3.0),),
    ),
    "retries and rivals of a task that grew are no loop": World(
        tasks=(TaskSpec(name="t0"),),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(does="grow"),), ("t0-x", "a"): (Act(does="again"), Act(does="again"), Act())},
        grows={"t0": (TaskSpec(name="x"),)},
        hedge_after_s=0.3,
    ),
    "an answer to a task whose input is tried again": World(
        tasks=(TaskSpec(name="t0", on_failure="continue"), TaskSpec(name="t1", after=("t0",), approval=True)),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(does="fail"), Act(seconds=5.0))},
        people={"t1": (Say(after_s=3.0),)},
        max_fallbacks=0,
        sessions=(Session(stop_at_s=2.0),),
    ),
    "a second failure, after a resume, whose planning the store cut off": World(
        tasks=(TaskSpec(name="t0"),),
        agents=AGENTS,
        scripts={("t0", "a"): (Act(does="fail"),)},
        replans={"t0": ()},
        max_fallbacks=0,
        sessions=(Session(), Session(busy_events=(4, 1))),
        resumes=2,
    ),
    "a judge that breaks after something was learned of it": World(
        tasks=tuple(
            TaskSpec(
                name=f"t{n}", after=(f"t{n - 1}",) if n else (), way=Way(kind="cascade", agents=("a", "b"), judge="c")
            )
            for n in range(4)
        ),
        agents=AGENTS,
        scripts={("verify", "c"): (Act(cost_usd=0.2), Act(cost_usd=0.001), Act(does="crash"))},
    ),
    "the store fails while tasks run, and is back at once": World(
        tasks=(TaskSpec(name="t0"), TaskSpec(name="t1"), TaskSpec(name="t2", after=("t0", "t1"))),
        agents=AGENTS,
        scripts={("t1", "a"): (Act(seconds=5.0),)},
        sessions=(Session(busy_events=(7, 1)),),
    ),
    "a vote in which one asks a person while another waits for a place": World(
        tasks=(
            TaskSpec(name="t0", way=Way(kind="vote", agents=("a", "b"))),
            TaskSpec(name="t1", way=Way(kind="vote", agents=("b", "a"))),
            TaskSpec(name="t2", way=Way(agents=("a",))),
        ),
        agents=(AgentSpec(name="a", places=1), AgentSpec(name="b", places=1)),
        scripts={("t1", "b"): (Act(does="ask"), Act())},
    ),
}
