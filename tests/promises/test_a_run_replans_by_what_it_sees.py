"""docs/guarantees.md: where what agents took, or how they did, is not what was expected of them, the rest of a run goes
to others if that is better: within its limits, nothing else moved, and each move with its reason in the journal.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.errors import AgentFailed, AskPerson, TryAgain
from kapelle.estimates import Estimate
from kapelle.execution import ExecutionLimits, HedgePolicy, RetryPolicy
from kapelle.execution.surprises import Surprises, Took
from kapelle.ledger import Run
from kapelle.routing import RoutingRule
from kapelle.strategies import Cascade, Check, Single, Vote, strategy_to_dict
from kapelle.terminal import LiveProgress, show_history, tell_history
from kapelle.testing import LoopHeartbeat, ScriptedAgent, VirtualClock

EPOCH = 1_700_000_000.0
EXACT = 1e-9


@dataclass(kw_only=True)
class Worker:
    """An agent: what it declares, and what it really does."""

    declared_usd: float | None
    cost_usd: float | None
    declared_s: float | None = 1.0
    seconds: float = 1.0
    success: float = 0.85
    outputs: Mapping[str, Any] = field(default_factory=dict)

    def card(self, name: str) -> AgentCapability:
        return AgentCapability(
            agent_id=name,
            task_types=("work",),
            cost_usd=self.declared_usd,
            seconds=self.declared_s,
            success_rate=self.success,
        )

    def runner(self) -> ScriptedAgent:
        return ScriptedAgent(self.outputs, seconds=self.seconds, cost_usd=self.cost_usd)


CHEAP_BY_ITS_WORD = Worker(declared_usd=0.01, cost_usd=0.30)
HONEST = Worker(declared_usd=0.10, cost_usd=0.10)


class World:
    """Engines on one ledger and one clock."""

    def __init__(self, ledger: Any = None, **workers: Worker) -> None:
        self.clock = VirtualClock()
        self.ledger = ledger or SqliteLedger(clock=lambda: EPOCH + self.clock())
        self.workers = workers

    def engine(self, **options: Any) -> Engine:
        cards = [worker.card(name) for name, worker in self.workers.items()]
        runners = {name: worker.runner() for name, worker in self.workers.items()}
        return Engine(
            AgentRegistry(cards, runners=runners),
            **{"model": "none", "environ": {}, "ledger": self.ledger, **options},
            timer=self.clock,
            clock=lambda: EPOCH + self.clock(),
            heartbeat=LoopHeartbeat,
        )

    def run(self, graph: TaskDAG, *, engine: Engine | None = None, **limits: Any) -> Run:
        plan = Plan(request="the steps", graph=graph, planner="test")
        return self.clock.run((engine or self.engine()).run(plan, **limits))


def chain(size: int = 6, **fields: Mapping[str, Any]) -> TaskDAG:
    """A chain of steps s0, s1, ...; `fields` by the step."""
    return TaskDAG(
        Task(
            **{
                "task_id": f"s{n}",
                "task_type": "work",
                "description": f"Do step {n}",
                "depends_on": (f"s{n - 1}",) if n else (),
                **fields.get(f"s{n}", {}),
            }
        )
        for n in range(size)
    )


def moves(run: Run) -> list[Mapping[str, str]]:
    return [event.data["assignments"] for event in run.events if event.kind == "plan_reassigned"]


def doers(run: Run) -> list[str | None]:
    return [task.agent for task in run.tasks.values()]


def expect_sound(run: Run, budget_usd: float | None = None) -> None:
    """What holds of every run that was assigned anew."""
    assigned = dict(run.events[2].data["assignments"])
    begun: set[str] = set()
    for event in run.events:
        if event.kind == "plan_reassigned":
            assert event.data["assignments"]
            assert event.data["reason"].strip()
            assert not begun & event.data["assignments"].keys()
            for name, agent in event.data["assignments"].items():
                assert agent in event.data["explanations"][name]
                assert name in event.data["estimates"]
            assigned |= event.data["assignments"]
        elif event.kind == "task_started":
            assert event.task_id is not None
            begun.add(event.task_id)
            assert event.data["agent"] == assigned[event.task_id]
    for name in {name for moved in moves(run) for name in moved}:
        assert "Moved from" in run.explanations[name]
        assert "Moved from" in run.explain()
    if budget_usd is not None:
        assert run.cost_usd <= budget_usd + run.overrun_usd + EXACT


def test_an_agent_that_is_dearer_than_it_says_loses_the_rest() -> None:
    run = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST).run(chain(), budget_usd=1.0)
    assert (run.state, len(run.results)) == ("done", 6)
    assert run.cost_usd == pytest.approx(0.80)
    assert doers(run) == ["cheap", *["honest"] * 5]
    assert len(moves(run)) == 1
    expect_sound(run, 1.0)


@pytest.mark.parametrize("budget", [None, 0.8, 1.0, 50.0])
def test_it_is_so_whatever_the_budget(budget: float | None) -> None:
    run = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST).run(chain(), budget_usd=budget)
    assert run.state == "done"
    assert doers(run) == ["cheap", *["honest"] * 5]
    expect_sound(run, budget)


@pytest.mark.parametrize("runs", [1, 2, 3, 6])
def test_it_is_so_in_each_run_while_little_is_known(runs: int) -> None:
    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    for number in range(runs):
        world.run(chain(1), engine=world.engine(replan=False), budget_usd=1.0)
        run = world.run(chain(), budget_usd=1.0)
        assert (number, run.state, len(run.results)) == (number, "done", 6)
        expect_sound(run, 1.0)


def test_an_agent_that_fails_nearly_always_loses_the_rest_though_nobody_asked_for_quality() -> None:
    size = 60
    fails = Worker(declared_usd=0.01, cost_usd=0.01, outputs={f"s{n}": AgentFailed("It cannot.") for n in range(size)})
    graph = chain(size, **{f"s{n}": {"on_failure": "continue"} for n in range(size)})
    run = World(fails=fails, sure=Worker(declared_usd=0.05, cost_usd=0.05)).run(graph)
    assert (run.state, run.assignments[f"s{size - 1}"]) == ("done", "sure")
    assert run.tasks[f"s{size - 1}"].cost_usd == pytest.approx(0.05)
    expect_sound(run)


def test_a_declared_price_is_that_of_any_task_however_complex_and_a_move_says_what_is_expected_of_both() -> None:
    run = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST).run(chain(), budget_usd=5.0)
    words = "Expected of honest 85% success for $0.1000, of cheap 85% success for $0.3000."
    assert all(words in run.explanations[f"s{n}"] for n in range(1, 6))


def test_where_no_choice_keeps_the_budget_the_rest_goes_as_far_as_it_reaches() -> None:
    run = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST).run(chain(), budget_usd=0.55)
    assert run.state == "stopped"
    assert doers(run)[:3] == ["cheap", "honest", "honest"]
    expect_sound(run, 0.55)


def test_an_agent_that_is_cheaper_than_it_says_gains_the_rest() -> None:
    cheaper = Worker(declared_usd=0.15, cost_usd=0.001)
    first = {f"s{n}": _ordered({"strategy": Single(agent="cheaper")}) for n in range(4)}
    run = World(cheaper=cheaper, honest=HONEST).run(chain(8, **first), budget_usd=5.0)
    assert doers(run) == ["cheaper"] * 8
    assert run.events[2].data["assignments"]["s7"] == "honest"
    expect_sound(run, 5.0)


def _ordered(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: strategy_to_dict(value) if name == "strategy" else value for name, value in fields.items()}


def test_an_agent_that_is_slower_than_it_says_loses_the_rest_where_there_is_a_deadline() -> None:
    slow = Worker(declared_usd=0.01, cost_usd=0.01, declared_s=1.0, seconds=40.0)
    quick = Worker(declared_usd=0.05, cost_usd=0.05, declared_s=2.0, seconds=2.0)
    run = World(slow=slow, quick=quick).run(chain(), deadline_s=70.0)
    assert (run.state, doers(run)) == ("done", ["slow", *["quick"] * 5])
    expect_sound(run)
    unhurried = World(slow=slow, quick=quick).run(chain())
    assert (doers(unhurried), moves(unhurried)) == (["slow"] * 6, [])


def test_an_agent_that_fails_loses_the_rest_where_a_quality_is_asked_for() -> None:
    fails = Worker(declared_usd=0.01, cost_usd=0.01, success=0.8, outputs={"s0": AgentFailed("It cannot.")})
    sure = Worker(declared_usd=0.05, cost_usd=0.05, success=0.8)
    graph = chain(s0={"on_failure": "continue"})
    run = World(fails=fails, sure=sure).run(graph, min_quality=0.78, engine=None)
    assert run.tasks["s1"].agent == "sure"
    expect_sound(run)


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": Single(agent="cheap")},
        {"strategy": Cascade(cheap="cheap", check=Check(kind="well_formed"), strong=Single(agent="honest"))},
        {"strategy": Vote(agents=("cheap", "honest"))},
    ],
    ids=["single", "cascade", "vote"],
)
def test_what_a_plan_orders_stays(fields: Mapping[str, Any]) -> None:
    run = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST).run(chain(s3=_ordered(fields)), budget_usd=5.0)
    assert run.state == "done"
    assert doers(run)[1:3] == ["honest", "honest"]
    assert run.explanations["s3"].startswith("The plan orders it")
    assert all("s3" not in moved for moved in moves(run))
    expect_sound(run, 5.0)


def test_what_the_rules_of_the_user_gave_stays() -> None:
    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    rules = [RoutingRule(rule_id="mine", task_types=("work",), agent_id="cheap")]
    run = world.run(chain(3), engine=world.engine(rules=rules), budget_usd=5.0)
    assert (doers(run), moves(run)) == (["cheap"] * 3, [])


@pytest.mark.parametrize("how", ["the engine", "its limits"])
def test_it_can_be_switched_off(how: str) -> None:
    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    off = {"replan": False} if how == "the engine" else {"limits": ExecutionLimits(max_reassignments=0)}
    run = world.run(chain(), engine=world.engine(**off), budget_usd=1.0)
    assert (run.state, moves(run)) == ("stopped", [])
    assert run.settings["replan"] is False
    assert "replan" not in world.run(chain(1)).settings


def test_a_run_that_cannot_be_better_goes_on_as_it_was() -> None:
    run = World(cheap=CHEAP_BY_ITS_WORD).run(chain(), budget_usd=1.0)
    assert (run.state, moves(run)) == ("stopped", [])
    dearer = Worker(declared_usd=0.9, cost_usd=0.9)
    run = World(cheap=CHEAP_BY_ITS_WORD, dearer=dearer).run(chain(3), budget_usd=5.0)
    assert (doers(run), moves(run)) == (["cheap"] * 3, [])


def test_what_a_person_has_approved_is_done_by_whom_they_approved() -> None:
    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    graph = TaskDAG(
        [
            Task(task_id="asked", task_type="work", description="Ship it", approval=True),
            Task(task_id="first", task_type="work", description="Look"),
            Task(task_id="after", task_type="work", description="Tell", depends_on=("first",)),
        ]
    )
    run = world.run(graph, budget_usd=5.0)
    assert run.state == "waiting"
    assert doers(run)[1:] == ["cheap", "honest"]
    assert run.assignments["asked"] == "cheap"
    engine = world.engine()
    engine.approve(run.open_questions[0].question_id)
    run = world.clock.run(engine.resume(run.run_id))
    assert (run.state, run.tasks["asked"].agent) == ("done", "cheap")


def test_an_agents_question_is_answered_to_the_one_that_asked() -> None:
    def ask(task: Task, context: TaskContext) -> AgentResult:
        if not context.answers:
            raise AskPerson("Which one?")
        return AgentResult(output=str(context.answers[0].value), cost_usd=0.30)

    world = World(cheap=Worker(declared_usd=0.01, cost_usd=0.30, outputs={"asks": ask}), honest=HONEST)
    graph = TaskDAG(
        [Task(task_id="asks", task_type="work", description="Ask"), *chain(3)],
    )
    run = world.run(graph, budget_usd=5.0)
    assert (run.state, run.assignments["asks"], run.assignments["s2"]) == ("waiting", "cheap", "honest")
    engine = world.engine()
    engine.answer(run.open_questions[0].question_id, "this")
    run = world.clock.run(engine.resume(run.run_id))
    assert (run.state, run.results["asks"]) == ("done", "this")


@pytest.mark.parametrize("backend", ["asyncio", "threads"])
def test_it_is_so_wherever_agents_run(backend: str) -> None:
    cards = {"cheap": CHEAP_BY_ITS_WORD, "honest": HONEST}

    class Plain:
        def __init__(self, usd: float) -> None:
            self._usd = usd

        async def run(self, task: Task, context: TaskContext) -> AgentResult:
            return AgentResult(output=task.task_id, cost_usd=self._usd)

    registry = AgentRegistry(
        [worker.card(name) for name, worker in cards.items()], runners={"cheap": Plain(0.30), "honest": Plain(0.10)}
    )
    with SqliteLedger() as ledger:
        engine = Engine(registry, model="none", environ={}, ledger=ledger, backend=backend)
        run = asyncio.run(engine.run(Plan(request="x", graph=chain(), planner="test"), budget_usd=1.0))
    assert (run.state, len(run.results), len(moves(run))) == ("done", 6, 1)
    expect_sound(run, 1.0)


def test_a_price_that_nobody_knows_is_no_surprise_and_what_is_told_later_is() -> None:
    secret = Worker(declared_usd=None, cost_usd=None)
    run = World(secret=secret).run(chain(3))
    assert (run.state, moves(run)) == ("done", [])
    told = Worker(declared_usd=None, cost_usd=0.90)
    run = World(told=told, honest=HONEST).run(chain(3), budget_usd=5.0)
    assert run.state == "done"
    expect_sound(run, 5.0)


def test_a_graph_that_grows_is_assigned_anew_as_a_whole() -> None:
    parts = TaskDAG([Task(task_id=name, task_type="work", description=f"Part {name}") for name in ("x", "y")])
    cheap = Worker(
        declared_usd=0.01,
        cost_usd=0.30,
        outputs={"s1": lambda task, context: AgentResult(output=None, expansion=parts, cost_usd=0.3)},
    )
    honest = Worker(
        declared_usd=0.10,
        cost_usd=0.10,
        outputs={"s1": lambda task, context: AgentResult(output=None, expansion=parts, cost_usd=0.1)},
    )
    run = World(cheap=cheap, honest=honest).run(chain(4), budget_usd=1.0)
    assert run.state == "done"
    assert {"s1-x", "s1-y"} <= run.results.keys()
    assert run.cost_usd <= 1.0
    assert {run.tasks[name].agent for name in ("s1-x", "s1-y", "s2", "s3")} == {"honest"}


@pytest.mark.parametrize("resets", ["between outcome and event", "right after the event"])
def test_a_run_that_was_cut_off_goes_on_by_the_new_assignment(resets: str) -> None:
    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    whole = world.run(chain(), budget_usd=1.0)
    at = next(event.seq for event in whole.events if event.kind == "plan_reassigned")
    kept = whole.events[: at + (resets == "right after the event")]
    store = SqliteLedger(clock=lambda: EPOCH + world.clock())
    run_id = store.new_run_id()
    outcomes = [one for one in world.ledger.outcomes() if one.task_id == "s0"]
    for event in kept:
        mine = outcomes if event.kind == "task_finished" else []
        store.append(run_id, event.kind, event.data, task_id=event.task_id, outcomes=mine)
    again = World(store, cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    run = again.clock.run(again.engine().resume(run_id))
    assert (run.state, len(run.results)) == ("done", 6)
    assert run.cost_usd == pytest.approx(0.80)
    assert len(moves(run)) == 1
    expect_sound(run, 1.0)


def test_surprises_of_one_kind_are_looked_at_ever_more_seldom() -> None:
    surprises, looks = Surprises(heeds_time=False), 0
    expected = Estimate(
        cost_usd=0.01, cost_high_usd=0.02, seconds=1, success_rate=0.9, tokens=0, samples=0, source="declared"
    )
    for number in range(1000):
        surprises.note(
            Took(
                task_id=f"t{number}",
                agent="a",
                task_type="work",
                expected=expected,
                units=(1.0, 1.0),
                cost_usd=0.3,
                seconds=9.0,
            )
        )
        looks += bool(surprises.take())
    assert looks == 10
    assert surprises.seen["a", "work"].cost_usd == pytest.approx(0.3)


def test_one_task_of_a_run_that_was_assigned_anew_is_read_as_it_is_in_the_whole() -> None:
    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    whole = world.run(chain(), budget_usd=1.0)
    for name, task in whole.tasks.items():
        part = world.ledger.excerpt(whole.run_id, name)
        assert part.tasks == {name: task}
        assert part.assignments[name] == whole.assignments[name]
        assert part.explanations[name] == whole.explanations[name]
        assert part.estimates[name] == whole.estimates[name]


def test_a_retry_a_fallback_and_a_rival_are_charged_and_the_rest_goes_on() -> None:
    def fails_once(task: Task, context: TaskContext) -> AgentResult:
        if task.task_id == "s0" and len(asked) < 1:
            asked.append(task.task_id)
            raise TryAgain("It is busy.", cost_usd=0.30)
        return AgentResult(output="done", cost_usd=0.30)

    asked: list[str] = []
    outputs = {f"s{n}": fails_once for n in range(6)}
    world = World(cheap=Worker(declared_usd=0.01, cost_usd=0.30, outputs=outputs), honest=HONEST)
    limits = ExecutionLimits(hedge=HedgePolicy(after=0.1, least_s=0.5), retry=RetryPolicy(first_delay_s=0.1))
    run = world.run(chain(), engine=world.engine(limits=limits), budget_usd=2.0)
    assert run.state == "done"
    assert doers(run)[1:] == ["honest"] * 5
    assert run.cost_usd <= 2.0 + run.overrun_usd


def test_what_explores_stays_with_its_agent_unless_that_is_the_surprise() -> None:
    dear = Worker(declared_usd=0.02, cost_usd=0.02)
    world = World(cheap=Worker(declared_usd=0.01, cost_usd=0.01), dear=dear)
    run = world.run(chain(12), engine=world.engine(explore=1.0))
    explored = {name for name, drawn in run.routing["features"].items() if drawn.get("explored")}
    assert explored
    assert not moves(run)
    world = World(cheap=CHEAP_BY_ITS_WORD, dear=dear)
    run = world.run(chain(12), engine=world.engine(explore=1.0))
    assert moves(run)
    moved = {name for one in moves(run) for name in one}
    assert not moved & run.routing["features"].keys()
    kept = {name for name, drawn in run.events[2].data["metadata"]["features"].items() if drawn.get("explored")}
    assert all(run.tasks[name].agent == run.events[2].data["assignments"][name] for name in kept - moved)
    expect_sound(run)


def test_each_of_several_planned_together_keeps_to_its_share() -> None:
    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)

    async def both() -> list[Run]:
        engine = world.engine()
        plans = [Plan(request=f"steps {n}", graph=chain(), planner="test") for n in range(2)]
        found = await engine.plan_many(plans, budget_usd=2.0)
        return list(await asyncio.gather(*(engine.run(one) for one in found.proposals)))

    for run in world.clock.run(both()):
        assert run.state == "done"
        assert run.settings["budget_usd"] == pytest.approx(1.0)
        expect_sound(run, 1.0)


def test_whom_a_learned_policy_chose_gives_way_to_what_a_run_sees_only_within_limits() -> None:
    class Keeps:
        """A policy that knows nothing but one agent."""

        def propose(self, tasks: Any, may: Any) -> dict[str, Any]:
            return {
                task.task_id: _Proposed(strategy=Single(agent="cheap"), reason="The log says so.") for task in tasks
            }

    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    engine = world.engine()
    engine.optimizer.policy = Keeps()
    run = world.run(chain(3), engine=engine, budget_usd=5.0)
    assert (doers(run), moves(run)) == (["cheap"] * 3, [])
    engine = world.engine()
    engine.optimizer.policy = Keeps()
    engine.profiler.relearn(())
    run = world.run(chain(), engine=engine, budget_usd=1.0)
    assert (run.state, doers(run)) == ("done", ["cheap", *["honest"] * 5])


@dataclass(frozen=True)
class _Proposed:
    strategy: Any
    reason: str


def test_an_optimizer_that_fails_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    class Breaks:
        def propose(self, tasks: Any, may: Any) -> dict[str, Any]:
            if len(tasks) < 6:
                raise RuntimeError("it is broken")
            return {}

    world = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST)
    engine = world.engine()
    engine.optimizer.policy = Breaks()
    run = world.run(chain(), engine=engine, budget_usd=5.0)
    assert (run.state, moves(run)) == ("done", [])
    assert "could not be assigned anew" in caplog.text


def test_who_watches_and_who_asks_is_told_in_words() -> None:
    world, told = World(cheap=CHEAP_BY_ITS_WORD, honest=HONEST), io.StringIO()
    run = world.run(chain(), budget_usd=1.0)
    console = Console(file=told, width=1000)
    progress = LiveProgress(console)
    for event in run.events:
        progress.watch(event)
    show_history(console, tell_history(run.events)[1])
    words = "assigned anew: s1, s2, s3, s4, s5 to honest. cheap took $0.3000 for s0"
    assert told.getvalue().count(words) == 2
    assert "What had not begun was assigned anew 1 time while it ran." in run.explain()
