"""What runs are made of, drawn from a seed: tasks of many kinds, and what the documented rules say becomes of each.

The rules are read from docs/guarantees.md and written down here once more, in the slowest and plainest way: not a line
is shared with what is judged by them. A task that grows holds its parts, which take its place once it has run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kapelle import Task, TaskDAG
from kapelle.strategies import Cascade, Check, Single, Strategy, Vote

WIDTH = 6
LAYERS = 5
PRICE_USD = 0.01
"""Of every call."""
REJECTED = "to be rejected"
"""In the description of a task that no person approves."""

SHAPES: Mapping[str, Mapping[str, int]] = {
    "plain": {"plain": 4, "flaky": 2, "checked": 2},
    "failing": {"plain": 5, "flaky": 1, "fragile": 1, "hopeless": 3},
    "joining": {"plain": 4, "flaky": 1, "hopeless": 3, "slow": 2},
    "voting": {"plain": 2, "vote": 3, "cascade": 3, "hopeless": 1},
    "hedged": {"plain": 2, "late": 5, "flaky": 1, "hopeless": 1},
    "asking": {"plain": 4, "ask": 2, "approve": 2, "risky": 2, "vote": 1},
    "ending": {"plain": 8, "flaky": 1, "hopeless": 1, "ask": 1, "grow": 1, "strict": 1},
    "growing": {"plain": 3, "grow": 2, "flaky": 1, "hopeless": 1},
    "mixed": {
        "plain": 2, "flaky": 1, "checked": 1, "fragile": 1, "hopeless": 2, "slow": 1, "vote": 1, "cascade": 1,
        "late": 2, "ask": 1, "approve": 1, "risky": 1, "grow": 1,
    },
}  # fmt: skip
"""By name, how often each kind of task is drawn."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A task, and what its agents will do."""

    name: str
    kind: str
    after: tuple[str, ...] = ()
    refers: tuple[str, ...] = ()
    """Those of `after` whose outputs are its inputs."""
    on_failure: Any = "skip"
    needs: Any = "all"
    priority: int = 0
    fails: bool = False
    """Whether all of its agents fail, each time."""
    twist: str = ""
    parts: tuple[Step, ...] = ()
    """What it grows into; their names begin with its own."""

    @property
    def risky(self) -> bool:
        """Whether it must not be repeated unasked."""
        return self.kind == "risky"

    @property
    def output(self) -> str:
        """What it gives: some large, and the same each time."""
        return self.name * (20_000 if self.kind == "plain" and sum(self.name.encode()) % 7 == 0 else 1)

    @property
    def ends(self) -> tuple[Step, ...]:
        """Those of its parts that no other part waits for."""
        awaited = {before for part in self.parts for before in part.after}
        return tuple(part for part in self.parts if part.name not in awaited)

    def task(self, *, inside: str = "") -> Task:
        """Return the task as it is planned; within an expansion names are relative to the task that grew."""

        def local(name: str) -> str:
            return name.removeprefix(inside)

        rejected = f", {REJECTED}" if self.twist == "rejected" else ""
        return Task(
            task_id=local(self.name),
            task_type=self.kind,
            description=f"task {self.name}{rejected}",
            depends_on=tuple(local(name) for name in self.after),
            inputs={local(name): f"{{{local(name)}}}" for name in self.refers},
            on_failure=self.on_failure,
            needs=self.needs,
            priority=self.priority,
            risk="high" if self.risky else "low",
            approval=self.kind == "approve",
            metadata={"output_schema": {"type": "string"}} if self.kind == "cascade" else {},
        )

    def strategy(self) -> Strategy | None:
        """Return how several agents are asked; None where one is."""
        if self.kind == "vote":
            if self.twist == "three":
                return Vote(agents=("ann", "bob", "cyd"), min_agreement=2)
            return Vote(agents=("ann", "bob"), escalate_to=Single(agent="cyd"))
        if self.kind == "cascade":
            judged = self.twist.startswith("judged")
            check = Check(kind="verifier", agent="judge") if judged else Check(kind="well_formed")
            further: Strategy = Single(agent="cyd")
            if self.twist == "falls to a vote":
                further = Vote(agents=("bob", "cyd"))
            return Cascade(cheap="ann", check=check, strong=further)
        return None


@dataclass(frozen=True, kw_only=True)
class World:
    """One run's tasks."""

    seed: int
    shape: str
    steps: tuple[Step, ...]
    by_name: Mapping[str, Step] = field(default_factory=dict)
    """Parts of parts included."""
    parent: Mapping[str, Step] = field(default_factory=dict)

    @property
    def budget_usd(self) -> float:
        """About what its tasks cost if nothing fails; each kill costs what was set aside."""
        calls = {"vote": 2.5, "cascade": 2.5, "ask": 3, "fragile": 2, "late": 1.5}
        return PRICE_USD * sum(calls.get(one.kind, 1) for one in self.by_name.values()) + 3 * PRICE_USD

    def graph(self) -> TaskDAG:
        """Return the plan."""
        return TaskDAG([step.task() for step in self.steps])

    def inputs_of(self, step: Step, grown: Mapping[str, Any] | set[str]) -> list[Step]:
        """Return what a task waits for, where these tasks have grown."""
        parent = self.parent.get(step.name)
        siblings = [self.by_name[name] for name in step.after]
        found = [end for before in siblings for end in _stand_ins(before, grown)]
        if parent is not None and not siblings:  # the first parts wait for what their whole waited for
            found += self.inputs_of(parent, grown)
        return found

    def needs_of(self, step: Step) -> str:
        """Return what a task needs of its inputs: the first parts of what grew need what that needed."""
        parent = self.parent.get(step.name)
        inherits = parent is not None and not step.after and step.needs == "all"
        return self.needs_of(parent) if inherits and parent is not None else str(step.needs)

    def on_failure_of(self, step: Step) -> str:
        """Return what follows from a task's failure: the last parts of what grew fail as that would have."""
        parent = self.parent.get(step.name)
        inherits = parent is not None and step in parent.ends and step.on_failure == "skip"
        return self.on_failure_of(parent) if inherits and parent is not None else str(step.on_failure)

    def fates(self) -> dict[str, str]:
        """Return what becomes of every task: done, failed or skipped. A task that grew is not there any more."""
        fates: dict[str, str] = {}
        grown: set[str] = set()

        def settle(step: Step) -> None:
            before = [one.name for one in self.inputs_of(step, grown)]
            gone = [name for name in before if fates[name] != "done"]
            if self.needs_of(step) == "some" and len(before) > 1:
                runs = len(gone) < len(before)
            else:
                runs = all(self.on_failure_of(self.by_name[name]) == "continue" for name in gone)
            if not runs:
                fates[step.name] = "skipped"
            elif step.fails or step.twist == "rejected":
                fates[step.name] = "failed"
            elif step.parts:
                grown.add(step.name)
                for part in step.parts:
                    settle(part)
            else:
                fates[step.name] = "done"

        for step in self.steps:
            settle(step)
        return fates


def _stand_ins(step: Step, grown: Mapping[str, Any] | set[str]) -> Iterator[Step]:
    if step.name not in grown:
        yield step
        return
    for end in step.ends:
        yield from _stand_ins(end, grown)


def make_world(seed: int, shape: str) -> World:
    """Return a world of one shape, drawn from a seed."""
    chance = random.Random(f"{seed} {shape}")
    steps: list[Step] = []
    for layer in range(LAYERS):
        above = steps[-WIDTH:] if layer else []
        # Also from further above, so that diamonds have sides of different lengths.
        further = steps[:-WIDTH] if layer > 1 else []
        for _ in range(WIDTH):
            before = chance.sample(above, min(len(above), chance.choice((1, 2, 2, 3))))
            if further and chance.random() < 0.3:
                before.append(chance.choice(further))
            steps.append(_draw(chance, f"t{len(steps)}", SHAPES[shape], before, deep=0))
    by_name: dict[str, Step] = {}
    parent: dict[str, Step] = {}
    _index(steps, None, by_name, parent)
    return World(seed=seed, shape=shape, steps=tuple(steps), by_name=by_name, parent=parent)


def _draw(chance: random.Random, name: str, kinds: Mapping[str, int], before: Sequence[Step], *, deep: int) -> Step:
    kind = chance.choices(list(kinds), list(kinds.values()))[0]
    if kind == "grow" and deep > 1:
        kind = "plain"
    fails = (
        kind == "hopeless"
        or (kind == "strict" and chance.random() < 0.5)
        or (kind in ("vote", "cascade", "late", "ask", "risky") and chance.random() < 0.12)
    )
    needs = "some" if len(before) > 1 and chance.random() < 0.3 else "all"
    # What may be missing is no input that can be filled; and what grows has several outputs in its place.
    sure = [one.name for one in before if one.on_failure != "continue" and not one.parts]
    parts = _draw_parts(chance, name, kinds, deep + 1) if kind == "grow" else ()
    on_failure = "fail" if kind == "strict" else chance.choice(("skip", "continue", "continue"))
    step = Step(
        name=name,
        # Of kinds that mostly succeed: else the validator learns that nobody can do such tasks, and refuses the plan.
        kind="plain" if kind == "hopeless" else kind,
        after=tuple(one.name for one in before),
        refers=tuple(sure[:1]) if needs == "all" and chance.random() < 0.5 else (),
        on_failure=on_failure,
        needs=needs,
        priority=chance.choice((0, 0, 1, 2)),
        fails=fails,
        twist=chance.choice(TWISTS.get(kind, ("",))),
        parts=parts,
    )
    if any(end.on_failure == "fail" for end in step.ends):
        # Else what waits for it would go on where it could not be paid, and not where it grew: both would be right.
        step = replace(step, on_failure="skip")
    return step


TWISTS: Mapping[str, tuple[str, ...]] = {
    "vote": ("agree", "differ", "one fails", "asks", "three"),
    # More pass than fall, for the same reason: see hopeless.
    "cascade": ("passes", "passes", "passes", "judged", "judged", "falls", "falls to a vote", "judged wrong"),
    "late": ("alone", "together"),
    "approve": ("", "", "rejected"),
    "ask": ("once", "twice"),
}


def _draw_parts(chance: random.Random, name: str, kinds: Mapping[str, int], deep: int) -> tuple[Step, ...]:
    first = _draw(chance, f"{name}-a", kinds, (), deep=deep)
    second = _draw(chance, f"{name}-b", kinds, (first,), deep=deep)
    third = _draw(chance, f"{name}-c", kinds, chance.choice(((), (first,), (first, second))), deep=deep)
    return (first, second, third)


def _index(steps: Sequence[Step], whole: Step | None, by_name: dict[str, Step], parent: dict[str, Step]) -> None:
    for step in steps:
        by_name[step.name] = step
        if whole is not None:
            parent[step.name] = whole
        _index(step.parts, step, by_name, parent)
