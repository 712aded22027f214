"""The whole way: words in, answer out, and the ledger tells the same."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai.models.test import TestModel

from kapelle import (
    AgentCapability,
    AgentRegistry,
    AgentResult,
    Engine,
    InvalidInput,
    Plan,
    PlanRejected,
    RoutingRule,
    SqliteLedger,
    Task,
    TaskContext,
    TaskDAG,
    agent,
)
from kapelle.errors import CannotPlan, InvalidAgents, InvalidPlan, ModelUnavailable
from kapelle.ledger import Event, Run
from kapelle.testing import ScriptedAgent, ScriptedModel, VirtualClock
from kapelle.validation import Detection, Issue, IssueKind, ModelDetector, Severity
from tests.models.openai_server import OpenAIServer, chat

ATLAS = Path(__file__).parents[2] / "examples" / "atlas" / "data"
CAPITALS = {"capital of France": "Paris", "capital of Germany": "Berlin"}


@agent(task_types=["lookup"], cost_usd=0.001)
async def atlas(task: Any) -> str:
    """Knows two capitals."""
    return CAPITALS[task.inputs["query"]]


def offline(*agents: Any, **options: Any) -> Engine:
    return Engine(agents=agents, model="none", ledger=options.pop("ledger", SqliteLedger()), **options)


def go(engine: Engine, request: Any, **terms: Any) -> Run:
    return asyncio.run(engine.run(request, **terms))


def test_a_request_is_planned_routed_priced_validated_run_and_answered() -> None:
    run = go(offline(atlas), "Compare the capitals of France and Germany", budget_usd=0.50)
    assert (run.state, run.cost_usd, run.cost_by_agent) == ("done", 0.002, {"atlas": 0.002, "local-writer": 0.0})
    assert "Paris" in run.answer
    assert "Berlin" in run.answer
    assert [event.kind for event in run.events[:4]] == ["run_started", "run_planned", "run_routed", "run_approved"]
    assert "atlas takes 'lookup'" in run.explain()


def test_a_run_read_back_is_the_run_that_was_returned(tmp_path: Path) -> None:
    run = go(offline(atlas, ledger=SqliteLedger(tmp_path / "l.sqlite")), "Compare the capitals of France and Germany")
    read = SqliteLedger(tmp_path / "l.sqlite").run(run.run_id)
    assert (read, read.events) == (run, run.events)


def test_local_agents_answer_from_a_folder_with_sources() -> None:
    run = go(offline(data=ATLAS), "Compare the population of France and Germany. Then write a report.")
    assert run.state == "done"
    assert "countries.csv:" in run.answer
    assert "84,500,000" in run.answer


def test_outcomes_teach_the_next_estimate() -> None:
    engine = offline(atlas)
    first = go(engine, "Find the capital of France")
    second = go(engine, "Find the capital of France")
    assert (first.estimates["s1"]["samples"], second.estimates["s1"]["samples"]) == (0, 1)


def test_an_engine_on_an_old_ledger_knows_its_outcomes(tmp_path: Path) -> None:
    go(offline(atlas, ledger=SqliteLedger(tmp_path / "l.sqlite")), "Find the capital of France")
    run = go(offline(atlas, ledger=SqliteLedger(tmp_path / "l.sqlite")), "Find the capital of France")
    assert run.estimates["s1"]["source"] == "learned"


def test_a_plan_over_budget_is_refused_and_recorded_and_nothing_ran() -> None:
    engine, seen = offline(atlas), list[Event]()
    with pytest.raises(PlanRejected, match=r"expected to cost \$0.002, and the budget is \$0.0015"):
        go(engine, "Compare the capitals of France and Germany", budget_usd=0.0015, on_event=seen.append)
    run = engine.ledger.run("last")
    assert (run.state, run.cost_usd) == ("failed", 0)
    assert not any(event.kind.startswith("task_") for event in seen)


def test_a_task_nobody_takes_is_named_with_the_way_out() -> None:
    with pytest.raises(PlanRejected, match=r"'s1' \(lookup\) has no agent.*--data FOLDER"):
        go(offline(), "Find the capital of France")


def test_what_cannot_be_planned_is_recorded_as_failed() -> None:
    engine = offline(atlas)
    with pytest.raises(CannotPlan, match="No rule fits"):
        go(engine, "Make me happy")
    assert engine.ledger.run("last").state == "failed"


def test_the_cheaper_agent_is_chosen_among_equals() -> None:
    cheap, dear = ScriptedAgent(), ScriptedAgent()
    pairs = [(dear.card("dear", "lookup", cost_usd=0.5), dear), (cheap.card("cheap", "lookup", cost_usd=0.1), cheap)]
    run = go(offline(*pairs), "Find the capital of France")
    assert run.assignments == {"s1": "cheap"}
    assert run.cost_usd == 0.1


def test_a_quality_of_the_users_own_beats_the_price() -> None:
    cheap, sure = ScriptedAgent(), ScriptedAgent()
    pairs = [
        (cheap.card("cheap", "lookup", cost_usd=0.1, success_rate=0.6), cheap),
        (sure.card("sure", "lookup", cost_usd=0.5, success_rate=0.99), sure),
    ]
    assert go(offline(*pairs), "Find the capital of France", min_quality=0.5).assignments == {"s1": "cheap"}
    assert go(offline(*pairs), "Find the capital of France", min_quality=0.95).assignments == {"s1": "sure"}


def test_a_plan_file_and_a_plan_value_run_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("tasks: [{id: a, type: lookup, inputs: {query: capital of France}}]")
    graph = TaskDAG([Task(task_id="a", task_type="lookup", inputs={"query": "capital of France"})])
    assert go(offline(atlas), tmp_path / "plan.yaml").results == {"a": "Paris"}
    assert go(offline(atlas), Plan(request="x", graph=graph, planner="test")).results == {"a": "Paris"}


def test_a_malformed_plan_file_leaves_no_run(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("tasks: 3")
    engine = offline(atlas)
    with pytest.raises(InvalidPlan):
        go(engine, tmp_path / "plan.yaml")
    assert engine.ledger.runs() == ()


def test_the_deadline_stops_a_run_with_what_is_done() -> None:
    clock = VirtualClock()
    slow = ScriptedAgent(seconds={"a": 1, "b": 500})
    engine = offline((slow.card("slow", "work"), slow), timer=clock)
    graph = TaskDAG([Task(task_id="a", task_type="work"), Task(task_id="b", task_type="work")])
    run = clock.run(engine.run(Plan(request="x", graph=graph, planner="test"), deadline_s=60))
    assert (run.state, run.results) == ("stopped", {"a": "a done"})
    assert "deadline" in (run.stop_reason or "")


def test_cancelling_leaves_a_clean_run() -> None:
    clock, slow = VirtualClock(), ScriptedAgent(seconds=500)
    engine = offline((slow.card("slow", "lookup"), slow), timer=clock)

    async def interrupt() -> None:
        running = asyncio.create_task(engine.run("Find the capital of France"))
        await clock.sleep(1)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        clock.run(interrupt())
    run = engine.ledger.run("last")
    assert (run.state, run.stop_reason, run.tasks["s1"].state) == ("stopped", "It was interrupted.", "cancelled")


@pytest.mark.parametrize(
    "terms",
    [
        {"budget_usd": -1},
        {"budget_usd": float("nan")},
        {"deadline_s": 0},
        {"deadline_s": float("inf")},
        {"min_quality": 1.5},
        {"max_tokens": -3},
        {"budget_usd": 1e300},
        {"budget_usd": 10**400},
        {"budget_usd": True},
        {"min_quality": "x"},
    ],
)
def test_a_limit_that_is_none_is_refused_before_anything_happens(terms: dict[str, Any]) -> None:
    engine = offline(atlas)
    with pytest.raises(InvalidInput):
        go(engine, "Find the capital of France", **terms)
    assert engine.ledger.runs() == ()


class Oracle:
    """An agent that is neither declared nor a function."""

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        return AgentResult(output="42")


def answer(task: Task) -> str:
    """An agent that is a plain function."""
    return "42"


@pytest.mark.parametrize("one", [answer, Oracle(), LibraryAgent(TestModel(custom_output_text="42"), name="library")])
def test_functions_objects_and_agents_of_pydantic_ai_are_agents_as_they_are(one: Any) -> None:
    assert go(offline(one), "Find the capital of Peru").answer == "42"
    card = AgentCapability(agent_id="mine", task_types=("lookup",))
    assert go(offline((card, one)), "Find the capital of Peru").assignments == {"s1": "mine"}


@pytest.mark.parametrize("thing", [3, Oracle, ("name", answer), (AgentCapability(agent_id="a", task_types=("x",)), 3)])
def test_what_is_no_agent_is_refused(thing: Any) -> None:
    with pytest.raises(InvalidAgents, match=r"is no agent|is a class"):
        offline(thing)


def test_an_agent_may_not_take_the_id_of_a_local_one() -> None:
    with pytest.raises(InvalidAgents, match="'local-writer' has the id of one of kapelle's own"):
        offline((AgentCapability(agent_id="local-writer", task_types=("x",)), answer))


QUESTION = "Compare the capitals of France, Peru and Germany, and then write a report about them."
"""A request that the gate takes apart."""


NO_CONTROL = {"KAPELLE_CONTROL_SHARE": "0"}


def with_model(model: Any, *agents: Any) -> Engine:
    return Engine(agents=agents, model=model, ledger=SqliteLedger(), environ=NO_CONTROL)


class Hanging:
    """A model that never answers."""

    model = "scripted:hanging"

    async def complete(self, request: Any, *, on_text: Any = None) -> Any:
        await asyncio.Event().wait()


def test_the_deadline_holds_for_planning_too() -> None:
    clock = VirtualClock()
    run = clock.run(with_model(Hanging()).run(QUESTION, deadline_s=5))
    assert (run.state, clock()) == ("stopped", 5)
    assert "while planning" in (run.stop_reason or "")


class Late:
    """A planner that gives up by itself."""

    async def plan(self, request: str, agents: Any) -> Any:
        raise TimeoutError("my own")


def test_a_time_limit_of_the_planners_own_is_not_the_users_deadline() -> None:
    engine = offline(atlas, planner=Late())
    with pytest.raises(TimeoutError, match="my own"):
        go(engine, "Find the capital of Peru", deadline_s=60)
    run = engine.ledger.run("last")
    assert (run.state, run.stop_reason) == ("failed", "my own")


def test_a_proposal_tells_all_that_planning_cost() -> None:
    engine = with_model(ScriptedModel([half_plan(), "junk"], cost_usd=0.01))
    proposal = asyncio.run(engine.plan(QUESTION, budget_usd=1.0))
    assert (proposal.validation.passed, round(proposal.plan.cost_usd, 9)) == (True, 0.02)


class Broken:
    """A planner with a bug."""

    async def plan(self, request: str, agents: Any) -> Any:
        raise ValueError("bug")


def test_a_planner_that_breaks_leaves_a_run_that_has_ended() -> None:
    engine = offline(atlas, planner=Broken())
    with pytest.raises(ValueError, match="bug"):
        go(engine, "Find the capital of Peru")
    assert engine.ledger.run("last").state == "failed"


def test_what_agents_cost_beyond_what_was_set_aside_is_told() -> None:
    dear = ScriptedAgent(cost_usd=5.0)
    run = go(offline((dear.card("dear", "lookup", cost_usd=0.001), dear)), "Find the capital of Peru", budget_usd=0.01)
    assert (run.state, round(run.overrun_usd, 9)) == ("done", 4.999)


WORDS = {
    "lookup": "Compare the capitals of France, Peru and Germany",
    "write": "Write a report about them: the capitals of France, Peru and Germany",
}
"""What the tasks of a model's plan say they do: all that QUESTION asks for."""


def planned(task_id: str, kind: str, *after: str, **inputs: str) -> dict[str, Any]:
    pairs = [{"name": name, "value": value} for name, value in inputs.items()]
    return {
        "id": task_id,
        "type": kind,
        "description": WORDS[kind],
        "inputs": pairs,
        "depends_on": list(after),
        "requires": [],
    }


def half_plan() -> dict[str, Any]:
    """A plan that leaves one of the names of QUESTION out."""
    return {"tasks": [{**planned("s1", "lookup"), "description": "Compare the capitals of France and Peru"}]}


MODEL_PLAN = {"tasks": [planned("s1", "lookup"), planned("s2", "write", "s1", fact="{s1}")]}


def test_with_a_model_the_same_engine_plans_and_works_with_it() -> None:
    model = ScriptedModel([MODEL_PLAN, "Paris", "It is Paris."], cost_usd=0.01)
    engine = with_model(model)
    run = go(engine, QUESTION, budget_usd=1.0)
    assert (run.state, run.planner, run.answer) == ("done", "model scripted:model", "It is Paris.")
    assert (run.planning_cost_usd, round(run.cost_usd, 9)) == (0.01, 0.03)
    assert run.assignments["s1"] == "support_agent"


def test_a_model_that_plans_over_the_budget_stops_the_run_before_any_task() -> None:
    model = ScriptedModel([MODEL_PLAN], cost_usd=0.9)
    engine = with_model(model)
    with pytest.raises(PlanRejected, match="the budget is"):
        go(engine, QUESTION, budget_usd=0.9)
    assert model.calls == 1


def test_a_planner_out_of_reach_is_recorded_with_the_reason() -> None:
    engine = with_model(ScriptedModel([ModelUnavailable("overloaded")]))
    with pytest.raises(ModelUnavailable):
        go(engine, QUESTION)
    assert engine.ledger.run("last").stop_reason == "overloaded"


def test_a_model_that_the_environment_names_is_used_over_http() -> None:
    script = [chat(json.dumps(MODEL_PLAN)), chat("Paris"), chat("It is Paris.", cached_tokens=64)]
    with OpenAIServer(script) as server:
        environ = {"KAPELLE_MODEL": "local:small", "KAPELLE_BASE_URL": server.base_url, **NO_CONTROL}
        run = go(Engine(ledger=SqliteLedger(), environ=environ), QUESTION, budget_usd=0.1)
    assert (run.state, run.answer, run.usage.cached_tokens, run.usage.calls) == ("done", "It is Paris.", 64, 3)
    assert "Paris" in json.dumps(server.requests[2].body)


def test_an_engine_takes_a_whole_registry() -> None:
    runner = ScriptedAgent({"lookup": "Lima"})
    card = AgentCapability(agent_id="mine", task_types=("lookup",), cost_tier="free")
    engine = Engine(AgentRegistry([card], runners={"mine": runner}), model="none", ledger=SqliteLedger())
    assert go(engine, "Find the capital of Peru").answer == "Lima"


def test_plan_shows_what_run_would_do_and_runs_nothing() -> None:
    engine = offline(atlas)
    proposal = asyncio.run(engine.plan("Compare the capitals of France and Germany"))
    assert proposal.routing.assignments == {"s1": "atlas", "s2": "atlas", "s3": "local-writer"}
    assert proposal.validation.passed
    assert engine.ledger.runs() == ()


def test_a_graph_grows_by_what_the_tables_answer() -> None:
    run = go(offline(data=ATLAS), "For each country in South America, find its capital; then write a report.")
    assert run.state == "done"
    assert len(run.tasks) > 6
    for words in ("| Peru | Lima |", "| Chile | Santiago |"):
        assert words in run.answer


def test_what_a_graph_grows_by_is_fitted_into_the_budget() -> None:
    run = go(offline(atlas, data=ATLAS), "For each country in South America, find its capital", budget_usd=0.002)
    assert run.state == "done"  # by the folder, which costs nothing; atlas would take too much
    assert run.cost_usd <= 0.002


def test_with_a_model_a_failed_task_is_planned_anew() -> None:
    failing = {"tasks": [planned("s1", "lookup", query="capital of Peru"), planned("s2", "write", "s1", fact="{s1}")]}
    other_way = {"tasks": [planned("s1", "write")]}
    model = ScriptedModel([failing, other_way, "Lima", "It is Lima."], cost_usd=0.01)
    run = go(with_model(model, atlas), QUESTION, budget_usd=1.0)
    assert (run.state, run.answer, run.replaced["s1"].state) == ("done", "It is Lima.", "failed")
    assert round(run.cost_usd, 9) == 0.041


def test_with_nothing_left_no_model_of_unknown_price_is_asked_for_another_way() -> None:
    model = ScriptedModel([{"tasks": [planned("s1", "write")]}], cost_usd=0.25)
    broken = ScriptedAgent({"work": RuntimeError("broken")})
    plan = Plan(request="Work", graph=TaskDAG([Task(task_id="a", task_type="work")]), planner="me")
    engine = with_model(model, (broken.card("broken", "work", cost_usd=0.0), broken))
    run = asyncio.run(engine.run(plan, budget_usd=0.0))
    assert (run.state, model.calls, run.cost_usd) == ("failed", 0, 0.0)


def test_what_needs_no_plan_goes_to_one_agent_as_it_is_and_costs_no_planning() -> None:
    model = ScriptedModel(["Paris"], cost_usd=0.01)
    engine = with_model(model)
    run = go(engine, "What is the capital of France?")
    assert (run.answer, len(run.tasks), run.planning_cost_usd, model.calls) == ("Paris", 1, 0, 1)
    assert engine.ledger.outcomes()[0].features["arm"] == "single"


def test_a_share_of_requests_is_the_control_that_planning_is_compared_with() -> None:
    environ = {"KAPELLE_CONTROL_SHARE": "1"}
    engine = Engine(model=ScriptedModel(["All of it"]), ledger=SqliteLedger(), environ=environ)
    run = go(engine, QUESTION)
    assert (run.answer, engine.ledger.outcomes()[0].features["arm"]) == ("All of it", "control")


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="KAPELLE_CONTROL_SHARE='lots'"):
        Engine(model=ScriptedModel([]), ledger=SqliteLedger(), environ={"KAPELLE_CONTROL_SHARE": "lots"})


ATLANTIS = "Compare the capitals of France, Peru and Atlantis, and then write a report about them."
"""What rules understand and the folder does not answer whole: the model plans it."""


def test_planning_that_comes_to_nothing_is_paid_and_rules_plan_instead() -> None:
    model = ScriptedModel(["no plan", "none either"], cost_usd=0.01)
    run = go(Engine(data=ATLAS, model=model, ledger=SqliteLedger(), environ=NO_CONTROL), ATLANTIS, budget_usd=1.0)
    assert "no usable plan in 2 attempts" in run.notes[0]
    assert "It was planned by rules instead." in run.notes[0]
    assert run.planning_cost_usd == 0.02
    assert len(run.tasks) > 1


def test_what_rules_understand_and_the_folder_answers_no_model_plans() -> None:
    model = ScriptedModel([])
    run = go(Engine(data=ATLAS, model=model, ledger=SqliteLedger(), environ=NO_CONTROL), "Find the capital of Peru")
    assert (run.state, run.planner, model.calls) == ("done", "rules", 0)
    assert "Lima" in run.answer


class WantsThree:
    """A detector that refuses plans of fewer than three tasks."""

    async def detect(self, request: str, tasks: Any, agents: Any) -> Detection:
        issue = Issue(kind="goal", severity="error", message="Nobody compares.", way_out="Compare.")
        return Detection(issues=() if len(tasks) > 2 else (issue,))


class FindsOneThing:
    """A detector with one finding, which has cost something."""

    def __init__(self, kind: IssueKind, severity: Severity) -> None:
        self.found = Issue(kind=kind, severity=severity, message="Chile is missing.", way_out="Add it.")
        self.calls = 0

    async def detect(self, request: str, tasks: Any, agents: Any) -> Detection:
        self.calls += 1
        return Detection(issues=(self.found,), cost_usd=0.01)


@pytest.mark.parametrize("kind", ["complete", "goal", "redundant", "structure"])
def test_what_a_detector_has_found_and_no_edit_mends_is_told(kind: IssueKind) -> None:
    detector = FindsOneThing(kind, "error")
    with Engine(data=ATLAS, model="none", ledger=SqliteLedger(":memory:"), detector=detector) as engine:
        run = go(engine, "Compare the capitals of France and Germany", budget_usd=1.0)
        joint = asyncio.run(engine.plan_many(["Compare the capitals of France and Germany"], budget_usd=1.0))
    assert (run.state, run.planning_cost_usd, detector.calls) == ("done", 0.01, 2)
    assert "It may be incomplete: Chile is missing." in run.notes
    assert "It may be incomplete: Chile is missing." in joint.proposals[0].plan.notes
    assert joint.limits.left_usd == pytest.approx(0.99)


def test_a_plan_that_is_refused_is_planned_once_more_with_what_is_wrong() -> None:
    sizes = [
        {**planned(f"s{n}", "lookup"), "description": f"How large is {name}?"}
        for n, name in ((1, "France"), (2, "Peru"))
    ]
    question = "Is France larger than Peru?"
    whole = {"tasks": [*sizes, {**planned("s3", "write", "s1", "s2", facts="{s1} {s2}"), "description": question}]}
    model = ScriptedModel([{"tasks": sizes}, whole, "543,940", "1,285,216", "No."], cost_usd=0.01)
    idle = ScriptedAgent()  # with an agent of the user's own every request is planned
    team = [(idle.card("idle", "idle"), idle)]
    engine = Engine(agents=team, model=model, ledger=SqliteLedger(), environ=NO_CONTROL, detector=WantsThree())
    run = go(engine, question, budget_usd=1.0)
    assert (run.state, run.planning_cost_usd) == ("done", 0.02)
    *earlier, told = model.requests[1].messages
    assert "was refused, because" in told.content
    assert "Nobody compares." in told.content
    assert not any("was refused" in message.content for message in earlier)  # it is no part of the request
    assert "Planned once more" in run.notes[-1]


def test_a_plan_in_which_words_find_no_decision_is_run_with_a_note_and_not_paid_twice() -> None:
    sizes = [{**planned(f"s{n}", "lookup"), "description": f"How large is {name}?"} for n, name in enumerate("ab")]
    model = ScriptedModel([{"tasks": sizes}, "1", "2"], cost_usd=0.01)
    idle = ScriptedAgent()
    run = go(with_model(model, (idle.card("idle", "idle"), idle)), "Is a larger than b?", budget_usd=1.0)
    assert (run.state, run.planning_cost_usd) == ("done", 0.01)
    [approved] = [event for event in run.events if event.kind == "run_approved"]
    assert [(one["kind"], one["severity"]) for one in approved.data["issues"]] == [("goal", "warning")]


def test_a_graph_whose_function_nobody_takes_runs_over_a_folder_with_a_note(tmp_path: Path) -> None:
    graph = tmp_path / "graph.xml"
    graph.write_text(
        """<graph><node id="s1">lookup("area of Peru")</node><node id="s2">lookup("area of Chile")</node>
        <node id="s3" depends="s1,s2">compare_values({s1}, {s2})</node></graph>""",
        encoding="utf-8",
    )
    run = go(offline(data=ATLAS), graph)
    assert run.state == "done"
    assert run.graph is not None
    assert run.graph["s3"].task_type == "compare"
    assert "'compare_values', which nobody takes; it was read as 'compare'" in run.notes[0]


def test_a_skill_that_nobody_has_does_not_lose_the_run() -> None:
    odd = {"tasks": [planned("s1", "lookup"), {**planned("s2", "write", "s1"), "requires": ["telepathy"]}]}
    model = ScriptedModel([odd, "Paris", "It is Paris."], cost_usd=0.01)
    run = go(
        with_model(model), "Find the capital of France and write about it, and then translate all of it", budget_usd=1.0
    )
    assert any("telepathy" in note for note in run.notes)
    assert run.graph is not None
    assert run.graph["s2"].requirements == frozenset()


def test_a_plan_that_leaves_a_name_out_is_planned_once_more_and_then_run_with_a_note() -> None:
    model = ScriptedModel([half_plan(), half_plan(), "Paris"], cost_usd=0.01)
    run = go(with_model(model), QUESTION, budget_usd=1.0)
    assert (run.state, len(run.tasks), run.planning_cost_usd, model.calls) == ("done", 1, 0.02, 3)
    assert "seems to leave out 'Germany'" in run.notes[-1]


def test_a_second_plan_that_is_none_leaves_the_first_and_is_paid() -> None:
    model = ScriptedModel([half_plan(), "junk", "Paris"], cost_usd=0.01)
    run = go(with_model(model), QUESTION, budget_usd=1.0)
    assert (run.state, round(run.cost_usd, 9), round(model.cost_usd, 9)) == ("done", 0.03, 0.03)


def test_with_a_folder_or_agents_of_ones_own_a_model_does_not_take_the_request_whole() -> None:
    model = ScriptedModel([{"tasks": [planned("s1", "lookup", query="capital of Peru")]}] * 2, cost_usd=0.01)
    environ = {"KAPELLE_CONTROL_SHARE": "1"}
    run = go(Engine(data=ATLAS, model=model, ledger=SqliteLedger(), environ=environ), "What is the capital of Peru?")
    assert (run.assignments["s1"], "Lima" in run.answer) == ("folder-search", True)


def test_a_plan_that_the_user_gave_is_never_changed(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("tasks: [{id: a, type: fly}]")
    engine = offline(atlas)
    with pytest.raises(PlanRejected, match="'a'"):
        go(engine, tmp_path / "plan.yaml")
    graph = engine.ledger.run("last").graph
    assert graph is not None
    assert set(graph.tasks) == {"a"}


def test_a_plan_that_the_user_gave_is_not_refused_for_the_words_of_its_request(tmp_path: Path) -> None:
    words = (
        "request: Write a poem about 12 capitals\ntasks: [{id: a, type: lookup, inputs: {query: capital of France}}]"
    )
    (tmp_path / "plan.yaml").write_text(words)
    assert go(offline(atlas), tmp_path / "plan.yaml").state == "done"


def test_a_report_is_written_with_what_there_is_and_says_what_is_missing() -> None:
    run = go(offline(data=ATLAS), "For each of Peru, Atlantis and Chile, find its capital; then write a report.")
    assert run.state == "partial"
    for words in ("Capital of Peru: Lima", "## Missing", "Capital of Atlantis: Nothing in the folder answers"):
        assert words in run.answer


@pytest.mark.slow
def test_a_call_that_the_provider_did_not_take_costs_nothing() -> None:
    model = ScriptedModel([ModelUnavailable("overloaded")] * 3)
    run = go(with_model(model), "What is the capital of France?")
    assert (run.state, run.cost_usd) == ("failed", 0)


def test_a_model_that_writes_graphs_plans_with_them() -> None:
    text = '<plan><graph><node id="s1">lookup("the capitals of France, Peru and Germany")</node>'
    text += '<node id="s2" depends="s1">write("compare and report on them: {s1}")</node></graph></plan>'
    model = ScriptedModel([text, "Paris", "It is Paris."])
    environ = {"KAPELLE_PLANNER": "graph", **NO_CONTROL}
    run = go(Engine(model=model, ledger=SqliteLedger(), environ=environ), QUESTION)
    assert (run.state, run.answer, len(run.tasks)) == ("done", "It is Paris.", 2)
    with pytest.raises(InvalidInput, match="KAPELLE_PLANNER='magic'"):
        Engine(model=model, ledger=SqliteLedger(), environ={"KAPELLE_PLANNER": "magic"})


def test_a_detector_looks_at_the_plan_and_its_cost_counts() -> None:
    look = ScriptedModel([{"issues": []}], cost_usd=0.02)
    engine = Engine(agents=[atlas], model="none", ledger=SqliteLedger(), detector=ModelDetector(look))
    run = go(engine, "Find the capital of France", budget_usd=1.0)
    assert (run.state, run.planning_cost_usd) == ("done", look.cost_usd)
    assert look.calls == 1


def two_ways() -> tuple[Any, Any]:
    @agent(task_types=["lookup"], cost_usd=0.001, success_rate=0.9)
    async def usual(task: Any) -> str:
        return "Paris"

    @agent(task_types=["lookup"], cost_usd=0.002, success_rate=0.9)
    async def other(task: Any) -> str:
        return "Paris"

    return usual, other


def test_an_exploring_run_says_how_probable_every_choice_was_and_keeps_its_budget() -> None:
    engine = offline(*two_ways(), explore=1.0)
    names = (f"run-15-{number}" for number in itertools.count())  # what is drawn depends on the run's name
    engine.ledger.new_run_id = names.__next__  # type: ignore[method-assign]  # so it is drawn once and for all
    runs = [go(engine, "Find the capital of France", budget_usd=0.002) for _ in range(30)]
    assert {run.tasks["s1"].agent for run in runs} == {"usual", "other"}
    assert all(run.cost_usd <= 0.002 for run in runs)
    for outcome in engine.ledger.outcomes():
        assert 0 < outcome.features["propensity"] <= 1
        assert outcome.features.get("explored", False) == (outcome.agent == "other")


@pytest.mark.parametrize("terms", [{"deadline_s": 60.0}, {"min_quality": 0.1}, {"budget_usd": 0.0015}])
def test_where_there_is_no_room_nothing_is_explored(terms: dict[str, float]) -> None:
    engine = offline(*two_ways(), explore=1.0)
    assert {go(engine, "Find the capital of France", **terms).tasks["s1"].agent for _ in range(8)} == {"usual"}


def test_what_a_validator_refuses_is_not_taken_and_counts_against_its_agent() -> None:
    engine = offline(atlas, validators={"lookup": lambda output: output == "Berlin"})
    run = go(engine, "Find the capital of France")
    assert (run.state, run.tasks["s1"].state) == ("failed", "failed")
    assert [(one.success, one.quality) for one in engine.ledger.outcomes()] == [(False, 0.0)]


def test_a_users_own_rule_is_an_order_and_no_advice() -> None:
    rule = RoutingRule(rule_id="always-other", agent_id="other", task_types=("lookup",))
    run = go(offline(*two_ways(), rules=[rule]), "Find the capital of France")
    assert run.tasks["s1"].agent == "other"


def test_run_sync_and_resume_sync_wait_for_the_run() -> None:
    engine = offline(atlas)
    run = engine.run_sync("Compare the capitals of France and Germany", budget_usd=0.5)
    assert (run.state, run.cost_usd) == ("done", 0.002)
    with pytest.raises(InvalidInput, match="is done"):
        engine.resume_sync("last")


@pytest.mark.parametrize("name", ["run", "resume"])
def test_where_a_loop_runs_already_they_name_the_way_out(name: str) -> None:
    engine = offline(atlas)

    async def cell() -> None:
        with pytest.raises(InvalidInput, match=f"await engine.{name}") as caught:
            getattr(engine, f"{name}_sync")("last")
        assert f"asyncio.to_thread(engine.{name}_sync" in str(caught.value)
        words = "Compare the capitals of France and Germany"
        assert (await asyncio.to_thread(engine.run_sync, words)).state == "done"  # the way that it names works

    asyncio.run(cell())
    assert len(engine.ledger.runs()) == 1
