"""The agents of a world, which do as its tasks say and leave a trace of it; and the engine that conducts them."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from kapelle import Engine, Task, TaskDAG, agent
from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import AgentFailed, AskPerson, TryAgain
from kapelle.execution import ExecutionLimits, HedgePolicy, RetryPolicy
from kapelle.ledger import Ledger
from kapelle.routing import RoutingPlan

from .effects import Effects
from .worlds import PRICE_USD, Step, World

PLACES = 2
"""Of the agent that has stragglers: fewer than there are tasks, so that rivals wait for a place."""
LATE_S = 0.04


class Crew:
    """The agents of one process."""

    def __init__(self, world: World, effects: Effects, *, in_loop: bool) -> None:
        self._world = world
        self._effects = effects
        self._in_loop = in_loop
        self._asked: Counter[tuple[str, str]] = Counter()
        """By task and agent, how often it was asked in this process."""
        self._gates: dict[str, asyncio.Event] = {}

    def agents(self) -> list[Any]:
        """Return all of them."""
        single = ["plain", "flaky", "checked", "slow", "ask", "approve", "risky", "grow", "strict"]
        return [
            self._make("worker", single, 8),
            self._make("brittle", ["fragile"], 4, success_rate=0.99),
            self._make("sturdy", ["fragile"], 4),
            self._make("straggler", ["late"], PLACES, seconds=0.005),
            *(self._make(name, ["vote", "cascade"], 4) for name in ("ann", "bob", "cyd")),
            self._judge(),
        ]

    def _make(self, name: str, types: list[str], places: int, **more: Any) -> Any:
        async def act(task: Task, context: TaskContext) -> AgentResult:
            return await self._act(name, task, context)

        return agent(agent_id=name, task_types=types, cost_usd=PRICE_USD, max_concurrency=places, **more)(act)

    def _judge(self) -> Any:
        async def judge(task: Task) -> AgentResult:
            await asyncio.sleep(0.002)
            wrong = "wrong" in json.dumps(dict(task.inputs))
            return AgentResult(output="no" if wrong else "yes", cost_usd=PRICE_USD)

        return agent(agent_id="judge", task_types=["verify"], cost_usd=PRICE_USD, max_concurrency=4)(judge)

    async def _act(self, name: str, task: Task, context: TaskContext) -> AgentResult:
        step, effects = self._world.by_name[task.task_id], self._effects
        trace = {"task": task.task_id, "agent": name, "key": context.idempotency_key}
        known = {one.name: one.output for one in self._world.by_name.values()}
        effects.leave(
            "begin",
            **trace,
            given=sorted(context.upstream),
            missing=sorted(context.missing),
            filled=list(task.inputs.values()) == [known[one] for one in step.refers]
            and all(value == known[one] for one, value in context.upstream.items()),
            answers=len(context.answers),
        )
        self._asked[step.name, name] += 1
        chance = random.Random(f"{self._world.seed} {step.name} {name} {os.getpid()}")
        await asyncio.sleep(chance.uniform(0.001, 0.012))
        await self._be_late(step, name)
        if step.kind == "ask" or (step.twist == "asks" and name == "bob"):
            self._ask(step, context)
        if step.kind == "flaky" and self._asked[step.name, name] == 1 and chance.random() < 0.5:
            raise TryAgain("It is busy.")
        if (
            step.fails
            or (step.kind == "fragile" and name == "brittle")
            or (step.twist == "one fails" and name == "bob")
        ):
            effects.leave("fail", **trace)
            raise AgentFailed(f"{name} cannot do {step.name}.", cost_usd=PRICE_USD)
        effects.leave("end", **trace)
        # What it declares, so that no task costs more than is set aside for it: whatever is over the cap is our fault.
        if step.parts:
            return AgentResult(output=None, cost_usd=PRICE_USD, expansion=_expansion(step))
        return AgentResult(output=self._answer(step, name), cost_usd=PRICE_USD)

    async def _be_late(self, step: Step, name: str) -> None:
        if step.kind == "slow":
            await asyncio.sleep(LATE_S)
        if step.kind != "late":
            return
        first = self._asked[step.name, name] == 1
        if step.twist == "together" and self._in_loop:  # it and its rival end in the same turn of the loop
            gate = self._gates.setdefault(step.name, asyncio.Event())
            asyncio.get_running_loop().call_later(2 * LATE_S if first else LATE_S / 8, gate.set)
            await gate.wait()
        elif first:
            await asyncio.sleep(2 * LATE_S)

    def _ask(self, step: Step, context: TaskContext) -> None:
        for number in range(2 if step.twist == "twice" else 1):
            text = f"{step.name} asks for number {number}"
            if len(context.answers) <= number:
                raise AskPerson(text, cost_usd=PRICE_USD)
            if context.answers[number].value != answer_to(text):
                self._effects.leave("misled", task=step.name)

    def _answer(self, step: Step, name: str) -> Any:
        if step.kind == "vote" and step.twist in ("differ", "three") and name == "bob":
            return "wrong"
        if step.kind == "cascade" and name == "ann":
            return {"judged wrong": "wrong", "falls": 17, "falls to a vote": 17}.get(step.twist, step.output)
        return step.output


def answer_to(question: str) -> str:
    """Return what a person says."""
    return f"The answer to: {question}"


def _expansion(step: Step) -> TaskDAG:
    return TaskDAG([part.task(inside=f"{step.name}-") for part in step.parts])


class StrategicRouter:
    """Routes as another router does, and has several agents asked where the world says so."""

    def __init__(self, inner: Any, world: World) -> None:
        self._inner, self._world = inner, world

    async def route_tasks(
        self,
        dag: TaskDAG,
        available_agents: Iterable[str] | None = None,
        optimization_constraints: Any = None,
        agent_creator: Any = None,
    ) -> RoutingPlan:
        """Choose an agent for every task."""
        routing: RoutingPlan = await self._inner.route_tasks(
            dag, available_agents, optimization_constraints, agent_creator
        )
        ways = {name: way for name in dag.tasks if (way := self._strategy(dag[name])) is not None}
        first = dict.fromkeys(ways, "ann")
        return replace(routing, strategies={**routing.strategies, **ways}, assignments={**routing.assignments, **first})

    def find_firm(self, tasks: Iterable[Task], available_agents: Iterable[str] | None = None) -> dict[str, str]:
        """Return who is asked first for tasks that a firm rule of the user's speaks about."""
        found: dict[str, str] = self._inner.find_firm(tasks, available_agents)
        return found

    def _strategy(self, task: Task) -> Any:
        # An expansion is routed with the names that its tasks have in the whole graph.
        return self._world.by_name[task.task_id].strategy()


def make_engine(world: World, effects: Effects, ledger: Ledger, backend: str) -> Engine:
    """Return the engine of one process."""
    engine = Engine(
        Crew(world, effects, in_loop=backend == "asyncio").agents(),
        model="none",
        ledger=ledger,
        backend=backend,
        validators={"checked": lambda output: output is not None},
        limits=ExecutionLimits(
            retry=RetryPolicy(first_delay_s=0.002),
            hedge=HedgePolicy(least_s=LATE_S / 4) if world.shape in ("hedged", "mixed") else None,
        ),
    )
    engine.router = StrategicRouter(engine.router, world)  # type: ignore[assignment]  # it has what is called of it
    return engine
