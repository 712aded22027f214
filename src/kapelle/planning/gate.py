"""Whether taking a request apart pays, judged by its length alone; and the planning mode in which it runs.

Naive decomposition scored below a single model in AOP's ablation (arXiv:2410.02189), so a plan has to promise something
that one agent does not give. What tells that from the words is how many there are: on recorded plans whose words name
their steps, "more than 12 words" decides as well as a model of parts, steps and difficulty did (0.939 and 0.944
balanced accuracy), and over all recorded plans better (0.615 and 0.591): see docs/experiments.md.

It knows neither the agents nor what they can do, and cannot see hidden hops: "Could a llama give birth twice during the
War in Vietnam?" asks for two durations and names none. A model that plans sees more. So a set share of the requests
that would be planned runs on one agent all the same, as a control: outcomes then show what planning gained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput
from kapelle.graph import Task, TaskDAG, escape_braces

from .planner import Plan, Planner

PlanningMode = Literal["plan", "single", "control"]

MAX_SINGLE_WORDS = 12
"""Up to so many words one agent gets a request whole. Checked on both halves of recorded plans: `bench/gate.py`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What the words of a request say about taking it apart."""

    decompose: bool
    reason: str
    """For people: what decided."""
    words: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """In which planning mode a request runs, and why."""

    mode: PlanningMode
    judgement: Judgement
    chance: float
    """0..1: where the request fell when lots were drawn for the control."""
    control_share: float
    overruled: str = ""
    """Why the mode is another one than the judgement and the lot would have it; empty if they decided."""

    @property
    def reason(self) -> str:
        """Why, for people."""
        if self.overruled:
            return self.overruled
        if self.mode != "control":
            return self.judgement.reason
        return f"drawn as a control ({self.control_share:.0%} of requests that would be planned)"

    def metadata(self) -> dict[str, Any]:
        """Return what a plan's tasks carry, so that outcomes can be compared by planning mode."""
        return {"arm": self.mode, "arm_reason": self.reason, "gate_words": float(self.judgement.words)}


def judge_request(request: str) -> Judgement:
    """Return whether taking a request apart is likely to pay.

    >>> judge_request("What is the capital of France?").decompose
    False
    >>> judge_request("What are the populations of the capitals of France, Germany, Italy, Spain and Poland?").decompose
    True
    """
    words = len(request.split())
    if words > MAX_SINGLE_WORDS:
        return Judgement(decompose=True, reason=f"taking it apart may pay: it has {words} words", words=words)
    return Judgement(decompose=False, reason="one agent does it as well: it is short", words=words)


class Gate:
    """Chooses the planning mode of each request.

    Args:
        control_share: Of the requests that would be planned, the share that runs on a single agent as a control.

    Raises:
        InvalidInput: the share lies outside 0..1.
    """

    def __init__(self, *, control_share: float = 0.05) -> None:
        if not (isinstance(control_share, (int, float)) and 0 <= control_share <= 1):
            raise InvalidInput(f"control_share={control_share!r} is no share. Give a number from 0 to 1.")
        self._share = float(control_share)

    def decide(self, request: str, *, key: str) -> Decision:
        """Return the mode of a request; `key`, such as the run's id, decides the draw: the same key, the same mode."""
        judgement = judge_request(request)
        chance = _draw(f":{key}")  # with the colon, as recorded runs were drawn
        mode: PlanningMode = "single" if not judgement.decompose else "control" if chance < self._share else "plan"
        return Decision(mode=mode, judgement=judgement, chance=chance, control_share=self._share)


class GatedPlanner:
    """Plans what is worth a plan, and gives the rest to one agent as one task.

    Args:
        planner: Takes the requests of the mode "plan".
        gate: Decides.
        single_type: The type of the one task of the other modes. Where no agent takes it, everything is planned.
    """

    def __init__(self, planner: Planner, gate: Gate, *, single_type: str = "answer") -> None:
        self._planner = planner
        self._gate = gate
        self._single_type = single_type

    async def plan(self, request: str, agents: Mapping[str, AgentCapability], *, key: str | None = None) -> Plan:
        """Return a plan whose tasks carry the mode; without a `key` the request itself decides the draw."""
        decision = self._gate.decide(request, key=request if key is None else key)
        if decision.mode != "plan" and not _is_taken(self._single_type, agents):
            reason = f"no agent takes a whole request as one task of the type {self._single_type!r}"
            decision = replace(decision, mode="plan", overruled=reason)
        if decision.mode != "plan":
            return single_plan(request, decision, task_type=self._single_type)
        return mark_mode(await self._planner.plan(request, agents), decision)


def single_plan(request: str, decision: Decision, *, task_type: str = "answer") -> Plan:
    """Return the plan of one task that is the whole request."""
    task = Task(
        task_id="s1",
        task_type=task_type,
        description=request,
        inputs={"request": escape_braces(request)},
        metadata=decision.metadata(),
    )
    return Plan(
        request=request,
        graph=TaskDAG([task]),
        planner="gate",
        notes=(f"The request was not taken apart: {decision.reason}.",),
    )


def mark_mode(plan: Plan, decision: Decision) -> Plan:
    """Return the plan with the planning mode, and why, in the metadata of every task."""
    marked = [replace(task, metadata={**task.metadata, **decision.metadata()}) for task in plan.graph]
    return replace(plan, graph=TaskDAG(marked, version=plan.graph.version))


def _is_taken(task_type: str, agents: Mapping[str, AgentCapability]) -> bool:
    return any(task_type in agent.task_types or "*" in agent.task_types for agent in agents.values())


def _draw(key: str) -> float:
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
