"""Makes a failing world smaller, as long as it fails the same way: fewer faults, tasks and oddities, a short script.

Greedy, one part at a time, again and again until nothing more can go: as in property-based testing (Zeller and
Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE Transactions on Software Engineering 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from .world import Act, AgentSpec, Session, TaskSpec, Way, World

MAX_TRIES = 1_500


def shrink(world: World, fails: Callable[[World], bool]) -> World:
    """Return a world that fails as well, of which no part can be left out."""
    tries = 0
    is_smaller = True
    while is_smaller and tries < MAX_TRIES:
        is_smaller = False
        for smaller in _smaller(world):
            if smaller == world:
                continue
            tries += 1
            if fails(smaller):
                world, is_smaller = smaller, True
                break
            if tries >= MAX_TRIES:
                break
    return world


def as_script(world: World) -> str:
    """Return a Python script that plays a world."""
    names = "Act, AgentSpec, Say, Session, TaskSpec, Way, World"
    return (
        "from bench.simulate.model import judge\n"
        "from bench.simulate.play import play\n"
        f"from bench.simulate.world import {names}\n\n"
        f"world = {world!r}\n"
        "print(judge(play(world)))\n"
    )


def _smaller(world: World) -> Iterator[World]:
    """Worlds with one part less, the greatest parts first."""
    for task in reversed(world.tasks):
        yield _without_task(world, task.name)
    for at in range(len(world.sessions)):
        yield replace(world, sessions=world.sessions[:at] + world.sessions[at + 1 :])
        yield replace(world, sessions=(*world.sessions[:at], Session(), *world.sessions[at + 1 :]))
    plain = World()
    for one in fields(World):
        if one.name not in ("seed", "tasks", "agents", "scripts", "sessions"):
            default: Any = getattr(plain, one.name)
            if getattr(world, one.name) != default:
                yield replace(world, **{one.name: default})
    for table in ("grows", "replans", "reflects", "people"):
        for key in getattr(world, table):
            fewer: Any = {k: v for k, v in getattr(world, table).items() if k != key}
            yield replace(world, **{table: fewer})
    for at, task in enumerate(world.tasks):
        for simpler in _simpler_tasks(task):
            yield replace(world, tasks=(*world.tasks[:at], simpler, *world.tasks[at + 1 :]))
    known = world.specs
    needed = {place: script for place, script in world.scripts.items() if place[0] in known}
    if len(needed) < len(world.scripts):
        yield replace(world, scripts=needed)
    if world.scripts:
        yield replace(world, scripts={})
    for place, script in world.scripts.items():
        yield replace(world, scripts={k: v for k, v in world.scripts.items() if k != place})
        for at in range(len(script)):
            if len(script) > 1:
                yield _with_script(world, place, script[:at] + script[at + 1 :])
            if script[at] != Act():
                yield _with_script(world, place, (*script[:at], Act(), *script[at + 1 :]))
                yield _with_script(world, place, (*script[:at], replace(script[at], cost_usd=None), *script[at + 1 :]))
    for at, agent in enumerate(world.agents):
        plain_agent = AgentSpec(name=agent.name)
        if agent != plain_agent:
            yield replace(world, agents=(*world.agents[:at], plain_agent, *world.agents[at + 1 :]))


def _without_task(world: World, name: str) -> World:
    tasks = tuple(
        replace(
            task,
            after=tuple(one for one in task.after if one != name),
            refers=tuple(one for one in task.refers if one != name),
        )
        for task in world.tasks
        if task.name != name
    )
    return replace(world, tasks=tasks)


def _with_script(world: World, place: tuple[str, str], script: tuple[Act, ...]) -> World:
    return replace(world, scripts={**world.scripts, place: script})


def _simpler_tasks(task: TaskSpec) -> Iterator[TaskSpec]:
    plain = TaskSpec(name=task.name)
    for one in fields(TaskSpec):
        if one.name not in ("name", "after", "way") and getattr(task, one.name) != getattr(plain, one.name):
            yield replace(task, **{one.name: getattr(plain, one.name)})
    if task.way != Way(agents=task.way.agents[:1]):
        yield replace(task, way=Way(agents=task.way.agents[:1]))
    for name in task.after:
        yield replace(
            task,
            after=tuple(one for one in task.after if one != name),
            refers=tuple(one for one in task.refers if one != name),
        )
