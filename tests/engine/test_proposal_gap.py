"""A proposal says how far from the least cost its assignment may be, where that was proven."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from kapelle import Engine, SqliteLedger, Task, agent
from kapelle.engine import Proposal
from kapelle.terminal.plan import tell_gap


@agent(task_types=["lookup"], cost_usd=0.01)
async def small(task: Task) -> str:
    return "small"


@agent(task_types=["lookup"], cost_usd=0.03)
async def large(task: Task) -> str:
    return "large"


def propose() -> Proposal:
    engine = Engine(agents=[large, small], model="none", ledger=SqliteLedger(":memory:"))
    return asyncio.run(engine.plan("Find the capital of France", budget_usd=0.02))


def test_a_proven_choice_leaves_nothing_to_save() -> None:
    proposal = propose()
    assert proposal.routing.assignments == {"s1": "small"}
    assert proposal.gap == pytest.approx(0.0)
    assert proposal.lower_bound_usd == pytest.approx(0.01)


@pytest.mark.parametrize("bound", [math.nan, math.inf, "0.01", None])
def test_what_a_router_of_ones_own_calls_a_bound_is_read_sceptically(bound: object) -> None:
    proposal = propose()
    figures = replace(proposal.routing.figures, optimization_details={"status": "feasible", "lower_bound": bound})
    assert replace(proposal, routing=replace(proposal.routing, figures=figures)).gap is None


def test_a_gap_is_never_rounded_down() -> None:
    assert tell_gap(0.0) == "no other assignment within the limits costs less"
    assert tell_gap(0.00002) == "another assignment can save at most 0.1%"
    assert tell_gap(0.0121) == "another assignment can save at most 1.3%"
