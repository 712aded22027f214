"""What planning, agents and checks cost is one sum, wherever it is told; and a refused budget names what would do."""

from __future__ import annotations

import asyncio
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kapelle import Engine, PlanRejected, SqliteLedger
from kapelle.errors import BudgetExceeded, KapelleError, ModelReplyInvalid, ModelTimeout, ModelUnavailable
from kapelle.ledger import Run, Usage, format_usd
from kapelle.models import ModelReply, PaidRefusal
from kapelle.terminal import show_run
from kapelle.testing import ScriptedAgent, ScriptedModel
from kapelle.validation import Detection
from kapelle.views import run_to_json
from tests.cli.test_cli import kapelle as kapelle
from tests.engine.test_engine import MODEL_PLAN, NO_CONTROL, QUESTION
from tests.models.openai_server import OpenAIServer, chat

AMOUNTS = (st.integers(0, 10**7).map(lambda units: units / 10**8) | st.floats(0.0, 3.0)).map(lambda usd: round(usd, 9))
"""Dollars, in what budgets count in."""


class Looking:
    """Looks at plans, finds nothing, and is paid for it."""

    def __init__(self, cost_usd: float) -> None:
        self.cost_usd = cost_usd

    async def detect(self, request: str, tasks: Any, agents: Any) -> Detection:
        return Detection(cost_usd=self.cost_usd)


def engine(planning: float, lookup: float, write: float, *, looks: float = 0.0, actual: float | None = None) -> Engine:
    """An engine whose model is paid for planning alone: two agents with prices of their own do the work."""
    agents = []
    for kind, price in (("lookup", lookup), ("write", write)):
        runner = ScriptedAgent(cost_usd=price if actual is None else actual)
        agents.append((runner.card(f"{kind}er", kind, cost_usd=price), runner))
    detector = Looking(looks) if looks else None
    model = ScriptedModel([MODEL_PLAN] * 4, cost_usd=planning)
    return Engine(agents, model=model, ledger=SqliteLedger(), environ=NO_CONTROL, detector=detector)


def go(engine: Engine, **terms: Any) -> Run:
    return asyncio.run(engine.run(QUESTION, **terms))


def last_lines(run: Run) -> str:
    out = io.StringIO()
    show_run(Console(file=out, width=300), run)
    return out.getvalue()


@pytest.mark.slow
@given(AMOUNTS, AMOUNTS, AMOUNTS, st.sampled_from([0.0, 0.0003]), st.floats(0.0, 1.0))
def test_a_budget_raised_to_exactly_the_amount_that_a_refusal_names_is_enough(
    planning: float, lookup: float, write: float, looks: float, share: float
) -> None:
    needed = planning + looks + lookup + write
    budget = round(share * needed, 9)
    refused = engine(planning, lookup, write, looks=looks)
    try:
        run = go(refused, budget_usd=budget)
    except PlanRejected as refusal:
        error = refusal
    else:
        assert run.state == "done"
        return
    named = re.search(r"[Rr]aise the budget by \$(\S+) to \$([0-9.e+-]*[0-9])", str(error))
    assert named is not None, error
    by, to = float(named[1]), float(named[2])
    assert budget + by == pytest.approx(to, rel=1e-9, abs=1e-15)
    assert error.cost_usd == pytest.approx(planning + looks, abs=1e-8)
    if planning + looks > 1e-8:
        assert "planning took $" in str(error)
    assert to <= max(budget, needed * 1.001 + 1e-8), "it names no more than is needed"
    assert go(engine(planning, lookup, write, looks=looks), budget_usd=to).state == "done"
    # The run that was refused goes on with it as well, and its plan is not paid again.
    assert asyncio.run(refused.resume("last", budget_usd=to)).state == "done"


@pytest.mark.slow
@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_the_parts_are_the_sum(planning: float, lookup: float, write: float, actual: float) -> None:
    run = go(engine(planning, lookup, write, actual=actual))
    found = run_to_json(run)
    assert found["cost_usd"] == pytest.approx(found["planning_cost_usd"] + sum(found["cost_by_agent"].values()))
    assert found["cost_usd"] == pytest.approx(planning + 2 * actual)
    assert f"cost {format_usd(run.cost_usd)}" in last_lines(run)
    if planning:
        assert f"planning {format_usd(planning)}" in last_lines(run)
    calls = found["planning_usage"]["calls"] + sum(task["usage"]["calls"] for task in found["tasks"].values())
    assert found["usage"]["calls"] == calls


def test_an_overrun_and_a_cost_that_is_assumed_stand_in_the_last_line() -> None:
    over = go(engine(0.0, 0.001, 0.001, actual=0.5), budget_usd=2.0)
    assert round(over.overrun_usd, 9) == 0.998
    assert f"{format_usd(0.998)} more than was reserved" in last_lines(over).splitlines()[-1]
    run = go(engine(0.01, 0.001, 0.001))
    assert (run_to_json(run)["cost_assumed"], "assumed" in last_lines(run)) == (False, False)
    first, *others = run.tasks.values()
    tasks = {one.task_id: one for one in (replace(first, cost_assumed=True), *others)}
    told = replace(run, tasks=tasks)
    assert (run_to_json(told)["cost_assumed"], "is assumed" in last_lines(told).splitlines()[-1]) == (True, True)
    assert "is assumed" in run_to_json(told)["cost_notes"][0]
    unpriced = replace(run, tasks={**run.tasks, first.task_id: replace(first, unpriced_model="local:new")})
    assert "local:new is not known" in last_lines(unpriced).splitlines()[-1]
    assert "local:new is not known" in run_to_json(unpriced)["cost_notes"][0]


class Raising:
    """A planner whose call came to nothing."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def plan(self, request: str, agents: Any) -> Any:
        raise self.error


REPLY = ModelReply(text="no", usage=Usage(input_tokens=7, calls=1), cost_usd=0.0123)
CALLS: dict[str, tuple[KapelleError, float]] = {
    "reported": (ModelTimeout("late", cost_usd=0.02), 0.02),
    "reported by its reply": (PaidRefusal("no", reply=REPLY), 0.0123),
    "unreachable": (ModelUnavailable("gone"), 0.0),
    "unreachable, after it was sent": (ModelUnavailable("broke off", sent=True), 0.5),
    "not sent": (ModelTimeout("late", sent=False), 0.0),
    "sent": (ModelReplyInvalid("cut", sent=True), 0.5),
    "unknown": (ModelReplyInvalid("cut"), 0.5),
    "no figure": (ModelTimeout("late", cost_usd=float("nan")), 0.5),
}


@pytest.mark.parametrize(("error", "cost_usd"), CALLS.values(), ids=CALLS)
def test_planning_that_came_to_nothing_costs_what_it_says_or_what_was_set_aside(
    error: KapelleError, cost_usd: float
) -> None:
    made = Engine(model="none", ledger=SqliteLedger(), planner=Raising(error), environ={})
    object.__setattr__(made.team, "planning_cost_usd", 0.5)
    with pytest.raises(type(error)):
        go(made, budget_usd=1.0)
    run = made.ledger.run("last")
    assert (run.state, error.run_id) == ("failed", run.run_id)
    assert [run.cost_usd, error.cost_usd] == pytest.approx([cost_usd, cost_usd])


def test_a_budget_that_cannot_hold_planning_says_so() -> None:
    made = engine(0.01, 0.001, 0.001)
    object.__setattr__(made.team, "planning_cost_usd", 0.5)
    with pytest.raises(BudgetExceeded, match="for planning"):
        go(made, budget_usd=0.1)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_only_where_nothing_was_spent_the_exit_code_is_two(
    kapelle: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    (tmp_path / "prices.yaml").write_text('prices: {"local:*": {input: 10, cached: 1, output: 40}}')
    monkeypatch.setenv("KAPELLE_PRICES", str(tmp_path / "prices.yaml"))
    monkeypatch.setenv("KAPELLE_MODEL", "local:small")
    monkeypatch.setenv("KAPELLE_CONTROL_SHARE", "0")
    dear = tmp_path / "agents.yaml"
    dear.write_text("agents:\n  - {id: dear, task_types: [lookup, write], cost_usd: 50}\n")
    with OpenAIServer([chat(json.dumps(MODEL_PLAN))] * 3) as server:
        monkeypatch.setenv("KAPELLE_BASE_URL", server.base_url)
        done = kapelle(command, QUESTION, "--budget", "2", "--json", "--agents", str(dear))
    assert (done.code, len(server.requests) > 0) == (1, True)
    told = done.data["error"] if command == "run" else done.data
    cost_usd = told["cost_usd"] if command == "run" else told["cost_of_planning_usd"]
    assert cost_usd > 0
    monkeypatch.setenv("KAPELLE_MODEL", "none")
    free = kapelle(command, "plan.yaml", "--budget", "2", "--json")
    assert (free.code, free.data["error"].get("cost_usd", 0)) == (2, 0)


def test_where_the_budget_alone_is_not_enough_the_refusal_says_so() -> None:
    slow = ScriptedAgent(cost_usd=1.0)
    agents = [(slow.card("slow", "*", cost_usd=1.0, seconds=100.0, success_rate=0.9), slow)]
    made = Engine(agents, model="none", ledger=SqliteLedger(), environ={})
    request = "Compare the capitals of France and Germany"
    with pytest.raises(PlanRejected) as refused:
        asyncio.run(made.run(request, budget_usd=1.5, deadline_s=1.0))
    (said,) = [str(issue) for issue in refused.value.issues if getattr(issue, "kind", "") == "budget"]
    named = re.search(r"Raise the budget by \$\S+ to \$([\d.]*\d) and allow \S+ s more, at least", said)
    assert named is not None, said
    assert float(named[1]) >= 2.0
