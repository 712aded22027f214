"""A simulated world as a value: the plan, what every agent will do, what people say, and what goes wrong when.

Everything that happens in a world follows from it: two plays of one world are the same to the event. `draw_world` makes
one from a seed. A world is printed as Python, so that a failing one is a script. Knows nothing of kapelle.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, TypeAlias

Does = Literal["answer", "odd", "fail", "crash", "again", "ask", "hang", "stubborn", "grow"]
"""What an agent does when it is called: `again` fails for a reason that passes, `stubborn` does not heed its
cancellation, `grow` returns other tasks."""


class Value:
    """A frozen value that prints itself without the fields that hold their default."""

    def __repr__(self) -> str:
        shown = [
            f"{one.name}={value!r}"
            for one in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if (value := getattr(self, one.name)) != _default(one)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _default(one: Any) -> Any:
    if one.default_factory is not dataclasses.MISSING:
        return one.default_factory()
    return one.default


@dataclass(frozen=True, kw_only=True, repr=False)
class Act(Value):
    """What an agent does at one call."""

    does: Does = "answer"
    seconds: float = 1.0
    value: Any = 1
    """The answer; for `odd`, which oddity (see play)."""
    cost_usd: float | None = None
    """What it reports; None reports nothing."""
    rest_s: float = 0.0
    """How long who does `again` asks to be left alone."""


@dataclass(frozen=True, kw_only=True, repr=False)
class AgentSpec(Value):
    """An agent: its price, its places, and how long its card says that it takes."""

    name: str
    price_usd: float | None = 0.01
    places: int = 10
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Way(Value):
    """How a task gets its answer: the first agent alone, the first checked and else the second, or a vote."""

    kind: Literal["single", "cascade", "vote"] = "single"
    agents: tuple[str, ...] = ("a",)
    escalate_to: str | None = None
    judge: str | None = None
    """Who says whether the first answer of a cascade is right; None: it is checked to be a number."""


@dataclass(frozen=True, kw_only=True, repr=False)
class TaskSpec(Value):
    """A task of the plan."""

    name: str
    after: tuple[str, ...] = ()
    refers: tuple[str, ...] = ()
    """Of `after`, the tasks whose output its inputs refer to."""
    way: Way = field(default_factory=Way)
    needs: Literal["all", "some"] = "all"
    on_failure: Literal["skip", "fail", "continue"] = "skip"
    risk: Literal["low", "high"] = "low"
    priority: int = 0
    deadline_s: float | None = None
    approval: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Say(Value):
    """What people say to a question of a task, and how long after it was asked; None: nobody ever does."""

    yes: bool | None = True
    after_s: float = 1.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Session(Value):
    """What goes wrong while one engine works on the run."""

    kill_at_event: int | None = None
    """The process dies when it writes this many events."""
    kill_after_commit: bool = True
    """Whether that last event is durable."""
    kill_at_s: float | None = None
    """The process dies so long after it began."""
    is_far: bool = False
    """Whether it died on another machine: then nobody knows, and its lease has to run out."""
    busy_events: tuple[int, int] = (0, 0)
    """From this event on, so many writes are refused because the store is out of order."""
    deaf_s: tuple[float, float] = (0.0, 0.0)
    """From then, for so long: the store gives no messages and renews no lease."""
    overtaken_at_s: float | None = None
    """The engine is not heard of any more from then on (its lease is not renewed), and another goes on with the run."""
    rival_at_s: float | None = None
    """Another engine tries to go on with the run while this one works."""
    stop_at_s: float | None = None
    cancel_at_s: float | None = None


Script: TypeAlias = tuple[Act, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class World(Value):
    """A world."""

    seed: int = 0
    tasks: tuple[TaskSpec, ...] = ()
    agents: tuple[AgentSpec, ...] = ()
    scripts: Mapping[tuple[str, str], Script] = field(default_factory=dict)
    """By task and agent, what it does at its first call, its second ...; the last act is repeated. None: it answers."""
    grows: Mapping[str, tuple[TaskSpec, ...]] = field(default_factory=dict)
    """By task, what it grows into."""
    replans: Mapping[str, tuple[TaskSpec, ...]] = field(default_factory=dict)
    """By task, the other way to do it that a replanner finds; empty: it finds none. Without any nobody replans."""
    replan_s: float = 1.0
    approval_s: float = 0.0
    """How long it takes to route and approve a graph."""
    reflects: Mapping[str, str] = field(default_factory=dict)
    """After the key is done, a reflector adds one task of this name behind it."""
    budget_usd: float | None = None
    deadline_s: float | None = None
    task_timeout_s: float | None = 60.0
    max_attempts: int = 3
    max_fallbacks: int = 2
    reassigns: bool = False
    """Whether what has not begun goes to other agents, where earlier ones cost, took or failed more than expected."""
    hedge_after_s: float | None = None
    people: Mapping[str, tuple[Say, ...]] = field(default_factory=dict)
    """By task, what is said to its first question, its second ...; the last is repeated. None: yes, after a second."""
    sessions: tuple[Session, ...] = ()
    """The first engine's troubles, the second's ...; later ones have none."""
    resumes: int = 1
    """How often a run that ended without being done is tried again, with twice the budget."""

    def way_of(self, task: str) -> Way:
        """Return how a task gets its answer; tasks that nobody specified are done by the first agent."""
        return self.specs.get(task, TaskSpec(name=task, way=Way(agents=(self.agents[0].name,)))).way

    @cached_property
    def specs(self) -> dict[str, TaskSpec]:
        """Every task that may ever be in the graph, by its name there."""
        found = {task.name: task for task in self.tasks}
        for parents in (self.grows, self.replans):
            for parent, children in parents.items():
                inner = {child.name for child in children}
                for child in children:
                    found[f"{parent}-{child.name}"] = dataclasses.replace(
                        child,
                        name=f"{parent}-{child.name}",
                        after=tuple(f"{parent}-{name}" for name in child.after if name in inner),
                    )
        for after, name in self.reflects.items():
            found[name] = TaskSpec(name=name, after=(after,), way=Way(agents=(self.agents[0].name,)))
        return found

    def act(self, task: str, agent: str, call: int) -> Act:
        """Return what an agent does at its nth call for a task, from 0."""
        script = self.scripts.get((task, agent), ())
        return script[min(call, len(script) - 1)] if script else Act()

    def say(self, task: str, question: int) -> Say:
        """Return what is said to a task's nth question, from 0."""
        says = self.people.get(task, ())
        return says[min(question, len(says) - 1)] if says else Say()


NAMES = ("a", "b", "c")
REASSIGNING = 0.4
"""The share of worlds that assign their rest anew."""
PLANNING_USD, REPLAN_USD, REFLECT_USD = 0.03, 0.02, 0.01
"""What is set aside for a planner's call, what another way to do a task costs, and what a change to the plan costs."""
ODDITIES = (
    "cost -1",
    "cost nan",
    "cost inf",
    "cost 1e300",
    "cost text",
    "tokens 1.5",
    "tokens nan",
    "tokens -3",
    "tokens 2**63",
    "quality nan",
    "output set",
    "output lambda",
    "output itself",
    "result is None",
    "result is a number",
    "raises KeyboardInterrupt",
    "raises CancelledError",
    "raises what cannot be shown",
)


def draw_world(seed: int) -> World:
    """Return the world of a seed: each seed has its own share of every kind of trouble, and most have little of it."""
    chance = random.Random(seed)
    size = chance.choice((3, 3, 4, 4, 5, 6, 7, 8, 10, 12))
    trouble = chance.choice((0.0, 0.1, 0.25, 0.5))
    """How probable each kind of trouble is at each place where it may be."""
    slow = chance.choice((1.0, 1.0, 1.0, 20.0))

    def happens(factor: float = 1.0) -> bool:
        return chance.random() < trouble * factor

    agents = tuple(
        AgentSpec(
            name=name,
            price_usd=None if happens(0.5) else round(chance.choice((0.01, 0.02, 0.1)) * chance.uniform(0.5, 1), 4),
            places=chance.choice((1, 1, 2, 3, 10)),
            seconds=chance.choice((None, 0.1, 1.0, 5.0)),
        )
        for name in NAMES
    )
    shape = chance.choice(("random", "random", "diamond", "chain", "fan", "join"))
    tasks = tuple(_draw_task(chance, number, shape, happens, slow) for number in range(size))
    grows, replans, reflects = {}, {}, {}
    scripts: dict[tuple[str, str], Script] = {}
    replanning = happens(0.6)
    for task in tasks:
        if task.way.kind == "single" and happens(0.3) and not _is_referred(task.name, tasks):
            grows[task.name] = _draw_children(chance)
            scripts[task.name, task.way.agents[0]] = (Act(does="grow", seconds=_seconds(chance, slow)),)
            continue
        if replanning and not _is_referred(task.name, tasks):
            replans[task.name] = _draw_children(chance) if chance.random() < 0.5 else ()
        if happens(0.15):
            reflects[task.name] = f"r_{task.name}"
    specs = World(tasks=tasks, agents=agents, grows=grows, replans=replans, reflects=reflects).specs
    for task in specs.values():
        for agent in NAMES:
            if (task.name, agent) not in scripts:
                scripts[task.name, agent] = _draw_script(chance, happens, slow)
    for agent in NAMES:
        scripts["verify", agent] = _draw_judge(chance, happens, slow)
    total = sum((agent.price_usd or 0.02) for agent in agents) * size
    people = {
        name: tuple(
            Say(yes=chance.choice((True, True, False, None)), after_s=chance.choice((0.0, 0.5, 3.0, 40.0)))
            for _ in range(chance.choice((1, 2)))
        )
        for name in specs
        if happens()
    }
    return World(
        seed=seed,
        tasks=tasks,
        agents=agents,
        scripts=scripts,
        grows=grows,
        replans=replans,
        replan_s=chance.choice((0.1, 2.0)),
        approval_s=chance.choice((0.0, 0.0, 0.2, 1.5)),
        reflects=reflects,
        budget_usd=chance.choice((None, 10.0, 10.0, round(total, 4), round(total * 0.5, 4))),
        deadline_s=chance.choice((15.0, 60.0, 120.0)) * slow if happens(0.4) else None,
        task_timeout_s=chance.choice((4.0, 60.0, 300.0)),
        max_attempts=chance.choice((1, 2, 3)),
        max_fallbacks=chance.choice((0, 0, 1, 2)),
        reassigns=random.Random(f"reassigns {seed}").random() < REASSIGNING,
        hedge_after_s=chance.choice((0.3, 1.0, 2.0)) * slow if chance.random() < 0.35 else None,
        people=people,
        sessions=tuple(_draw_session(chance, happens, slow) for _ in range(chance.choice((0, 1, 1, 2, 3)))),
        resumes=chance.choice((0, 1, 1, 2)),
    )


def _draw_task(chance: random.Random, number: int, shape: str, happens: Any, slow: float) -> TaskSpec:
    before = [f"t{n}" for n in range(number)]
    match shape:
        case "chain":
            after = before[-1:]
        case "fan":
            after = before[:1]
        case "join":
            after = before if number and chance.random() < 0.3 else []
        case "diamond":
            after = before[-3:] if number % 3 == 0 else before[-(number % 3) :][:1]
        case _:
            after = sorted(chance.sample(before, min(len(before), chance.choice((0, 1, 1, 2, 3)))))
    if after and chance.random() < 0.2:
        after = sorted({*after, chance.choice(before)})
    kinds: tuple[Literal["single", "cascade", "vote"], ...] = ("single", "cascade", "vote")
    kind = chance.choices(kinds, (4, 1, 1))[0]
    names = list(NAMES)
    chance.shuffle(names)
    way = Way(
        kind=kind,
        agents=tuple(names[: {"single": 1, "cascade": 2, "vote": chance.choice((2, 3))}[kind]]),
    )
    if kind == "cascade" and chance.random() < 0.4:
        way = dataclasses.replace(way, judge=names[2])
    if kind == "vote" and len(way.agents) == 2 and chance.random() < 0.5:
        way = dataclasses.replace(way, escalate_to=names[2])
    needs = "some" if len(after) > 1 and chance.random() < 0.3 else "all"
    refers = tuple(name for name in after if needs == "all" and happens(0.3))
    return TaskSpec(
        name=f"t{number}",
        after=tuple(after),
        refers=refers,
        way=way,
        needs=needs,  # type: ignore[arg-type]  # one of the two
        on_failure=chance.choices(("skip", "continue", "fail"), (6, 3, 0.4))[0],
        risk="high" if happens(0.5) else "low",
        priority=chance.choice((0, 0, 0, 1, 5)),
        deadline_s=chance.choice((60.0, 200.0)) * slow if happens(0.2) else None,
        approval=happens(0.3),
    )


def _draw_children(chance: random.Random) -> tuple[TaskSpec, ...]:
    names = ("x", "y", "z")[: chance.choice((1, 2, 3))]
    agents = list(NAMES)
    return tuple(
        TaskSpec(
            name=name,
            after=tuple(one for one in names[:place] if chance.random() < 0.5),
            way=Way(agents=(chance.choice(agents),)),
        )
        for place, name in enumerate(names)
    )


def _is_referred(name: str, tasks: tuple[TaskSpec, ...]) -> bool:
    return any(name in task.refers for task in tasks)


def _seconds(chance: random.Random, slow: float) -> float:
    return round(chance.choice((0.0, 0.1, 0.5, 1.0, 1.0, 2.0, 5.0)) * slow, 3)


def _draw_script(chance: random.Random, happens: Any, slow: float) -> Script:
    acts = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        does: Does = "answer"
        if happens():
            does = chance.choice(("fail", "fail", "again", "again", "crash", "ask", "hang", "stubborn", "odd"))
        value: Any = chance.choice((1, 1, 1, 2, "no number")) if does != "odd" else chance.choice(ODDITIES)
        cost = chance.choice((None, None, 0.0, 0.005, 0.02)) if not happens(0.3) else chance.choice((0.2, 1.0))
        rest_s = chance.choice((0.0, 0.0, 3.0, 30.0, 200.0)) if does == "again" else 0.0
        acts.append(Act(does=does, seconds=_seconds(chance, slow), value=value, cost_usd=cost, rest_s=rest_s))
    if acts[-1].does in ("ask",):  # who asks for ever never ends
        acts.append(Act(seconds=_seconds(chance, slow), value=1))
    return tuple(acts)


def _draw_judge(chance: random.Random, happens: Any, slow: float) -> Script:
    """Draw what an agent says of others' answers: 1 is yes, all else is not."""
    acts = []
    for _ in range(chance.choice((1, 2, 4))):
        does: Does = chance.choice(("fail", "again", "crash", "hang", "odd")) if happens(0.6) else "answer"
        value: Any = chance.choice((1, 1, 0)) if does != "odd" else chance.choice(ODDITIES)
        cost = chance.choice((None, 0.0, 0.003, 0.2 if happens(0.3) else 0.01))
        acts.append(Act(does=does, seconds=_seconds(chance, slow), value=value, cost_usd=cost))
    return tuple(acts)


def _draw_session(chance: random.Random, happens: Any, slow: float) -> Session:
    span = 12.0 * slow
    kind = chance.choice(
        ("kill", "kill", "kill", "kill at", "busy", "deaf", "overtaken", "rival", "stop", "cancel", "no")
    )
    at = round(chance.uniform(0.05, span), 3)
    match kind:
        case "kill":
            return Session(
                kill_at_event=chance.randint(1, 40),
                kill_after_commit=chance.random() < 0.7,
                is_far=chance.random() < 0.2,
            )
        case "kill at":
            return Session(kill_at_s=at, is_far=chance.random() < 0.2)
        case "busy":
            return Session(busy_events=(chance.randint(1, 30), chance.choice((1, 2, 1000))))
        case "deaf":
            return Session(deaf_s=(at, chance.choice((2.0, 15.0, 100.0))))
        case "overtaken":
            return Session(overtaken_at_s=at)
        case "rival":
            return Session(rival_at_s=at)
        case "stop":
            return Session(stop_at_s=at, kill_at_event=chance.choice((None, None, chance.randint(6, 45))))
        case "cancel":
            return Session(cancel_at_s=at, kill_at_event=chance.choice((None, None, chance.randint(6, 45))))
    return Session()
