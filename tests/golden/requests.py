"""The stories of requests that go all the way through the engine: planning by rules, estimates from a history, the
optimiser's choice, validation, mending, and what then runs. On a virtual clock, without a model.

Each story is a function of a Stage; `STORIES` names them all.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kapelle import (
    AgentCapability,
    AgentRegistry,
    AgentResult,
    Cascade,
    Check,
    Engine,
    ExecutionLimits,
    GraphPatch,
    HedgePolicy,
    KapelleError,
    Outcome,
    Plan,
    Proposal,
    RetryPolicy,
    RoutingRule,
    Run,
    Single,
    SqliteLedger,
    Task,
    TaskContext,
    TaskDAG,
    TryAgain,
    Vote,
)
from kapelle.errors import AgentFailed
from kapelle.execution import Reflection
from kapelle.ledger import Usage
from kapelle.testing import LoopHeartbeat, ScriptedAgent, VirtualClock

from .story import (
    ROOT,
    Story,
    digest,
    plain,
    show,
    tell_event,
    tell_fields,
    tell_outcomes,
    tell_run,
    threads_are_done_at_once,
)

ATLAS = ROOT / "examples" / "atlas"
EPOCH = 1_700_000_000.0
DAY_S = 86_400.0


class _Ledger(SqliteLedger):
    """A ledger whose runs are numbered."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=lambda: EPOCH + clock())
        self._numbers = itertools.count(1)

    def new_run_id(self) -> str:
        return f"golden-{next(self._numbers)}"


class Stage:
    """Where a story takes place: a clock, a ledger, and the lines that were told so far."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.ledger = _Ledger(clock)
        self.lines: Story = []
        """May hold line breaks: see `tell_requests`."""

    def engine(self, agents: Any = (), **options: Any) -> Engine:
        """Return an engine without a model, on this clock and ledger."""
        return Engine(
            agents,
            **{"model": "none", "environ": {}, **options},
            ledger=self.ledger,
            timer=self.clock,
            clock=lambda: EPOCH + self.clock(),
            heartbeat=LoopHeartbeat,
        )

    def say(self, words: str) -> None:
        """Tell a line of the story's own."""
        self.lines.append(f"== {words}")

    async def propose(self, engine: Engine, request: Any, **limits: Any) -> Proposal | None:
        """Tell what would be done, and return it."""
        try:
            proposal = await engine.plan(request, **limits)
        except KapelleError as error:
            self.lines.append(f"refused {type(error).__name__}: {error}")
            return None
        self.lines += _tell_proposal(proposal)
        return proposal

    async def run(self, engine: Engine, request: Any, **terms: Any) -> None:
        """Run a request to its end, and tell it."""
        await self._tell(lambda: engine.run(request, **terms))

    async def resume(self, engine: Engine, run_id: str = "last", **limits: Any) -> None:
        """Go on with a run, and tell all of it."""
        await self._tell(lambda: engine.resume(run_id, **limits))

    async def _tell(self, go: Callable[[], Awaitable[Run]]) -> None:
        try:
            await go()
        except KapelleError as error:
            self.lines.append(f"raised {type(error).__name__}: {error}")
        run = self.ledger.run("last")
        for event in run.events:
            self.lines.append(f"{event.at - EPOCH:.6g} {tell_event(event.kind, event.task_id, event.data)}")
        self.lines += tell_run(run)
        self.lines.append(f"run explained={digest(run.explain())}")
        self.lines.append(tell_outcomes(self.ledger.outcomes()))


def _tell_proposal(proposal: Proposal) -> Iterator[str]:
    routing, found = proposal.routing, proposal.validation
    yield f"plan by {plain(proposal.plan.planner)} cost_usd={show(plain(proposal.plan.cost_usd))}"
    for task in proposal.plan.graph:
        yield f"task {task.task_id} " + " ".join(tell_fields(task.to_dict()))
    for task_id, agent in routing.assignments.items():
        strategy = routing.strategies.get(task_id)
        yield f"assigned {task_id} {agent if strategy is None else strategy}: {routing.explanations.get(task_id, '')}"
    for task_id, reason in routing.unassigned.items():
        yield f"unassigned {task_id}: {reason}"
    for task_id, estimate in found.estimates.items():
        figures = ("cost_usd", "seconds", "success_rate", "success_lower", "samples", "source")
        shown = (f"{name}={show(plain(getattr(estimate, name)))}" for name in figures)
        yield f"estimate {task_id} {' '.join(shown)} all=#{digest(estimate)}"
    result = {name: getattr(found, name) for name in ("passed", "quality_score", "estimated_cost", "estimated_time")}
    yield " ".join(["validated", *tell_fields(result)])
    for issue in found.issues:
        yield f"{issue.severity} {issue.kind} {issue.task_id or '-'}: {issue.message} {issue.way_out}"
    for note in proposal.plan.notes:
        yield f"note {note}"
    yield from (f"routing {line}" for line in tell_fields(routing.metadata))


# --- what the stories share ------------------------------------------------------------------------------------------


def task(task_id: str, *after: str, kind: str = "work", **fields: Any) -> Task:
    """Return a task; what it is about is its name, unless the fields say otherwise."""
    fields.setdefault("description", f"Do {task_id}")
    return Task(task_id=task_id, task_type=kind, depends_on=after, **fields)


def plan(*tasks: Task) -> Plan:
    """Return a plan of these tasks."""
    return Plan(request="golden", graph=TaskDAG(tasks), planner="golden")


def layered(size: int = 10) -> Plan:
    """Return a plan in layers of three, of three kinds of work, some of it harder by its words."""
    kinds = ("draft", "check", "work")
    words = ("Write a line on {}", "Prove step by step that the whole algorithm of {} is correct, and analyse it")
    return plan(
        *(
            task(
                f"t{number}",
                *(
                    f"t{other}"
                    for other in range(number // 3 * 3 - 3, number // 3 * 3)
                    if other >= 0 and (number + other) % 2
                ),
                kind=kinds[number % 3],
                description=words[number % 2].format(number),
            )
            for number in range(size)
        )
    )


PRICES: Mapping[str, tuple[float, float, float]] = {
    "small": (0.001, 1.0, 0.55),
    "other": (0.004, 2.0, 0.75),
    "third": (0.005, 0.5, 0.72),
    "large": (0.03, 6.0, 0.95),
}
"""By agent its dollars and seconds per task, and its true share of right answers."""


def team(scripts: Mapping[str, Any] = {}, **options: Any) -> list[tuple[AgentCapability, Any]]:
    """Return four agents of several prices; by name, what they give instead of their usual output."""
    return [
        (
            AgentCapability(
                agent_id=name, task_types=("draft", "check", "work"), cost_usd=usd, seconds=seconds, **options
            ),
            ScriptedAgent(scripts.get(name, {}), seconds=seconds, cost_usd=usd),
        )
        for name, (usd, seconds, _) in PRICES.items()
    ]


def learn_of(
    stage: Stage,
    count: int = 40,
    *,
    shares: Mapping[str, float] = {},
    days: tuple[float, float] = (0.1, 20.0),
    seed: int = 0,
) -> None:
    """Give a ledger so many outcomes of every agent and kind of work, drawn by a seed: so many days ago, to so many."""
    chance = random.Random(seed)
    for number, (name, kind) in itertools.product(range(count), itertools.product(PRICES, ("draft", "check", "work"))):
        usd, seconds, share = PRICES[name]
        is_right = chance.random() < shares.get(name, share)
        stage.ledger.record(
            Outcome(
                run_id=f"past-{number}",
                task_id=f"p{number}-{kind}",
                task_type=kind,
                agent=name,
                success=is_right,
                quality=1.0 if is_right else 0.0,
                usage=Usage(input_tokens=chance.randint(50, 900), output_tokens=chance.randint(10, 300), calls=1),
                cost_usd=round(usd * chance.uniform(0.7, 1.4), 6),
                seconds=round(seconds * chance.uniform(0.5, 2.0), 3),
                features={
                    "text": f"Do {number}",
                    "complexity": round(chance.uniform(0.1, 0.9), 3),
                    "measured_by": "check",
                },
                at=EPOCH - DAY_S * chance.uniform(*days),
            )
        )


# --- the stories -----------------------------------------------------------------------------------------------------

FACTS = "For each of France, Germany, Italy and Spain, find its capital and its population; then write a report."


async def atlas_requests(stage: Stage) -> None:
    """The requests of the example, by rules, from its folder."""
    engine = stage.engine(data=ATLAS / "data")
    for words in (ATLAS / "requests.txt").read_text(encoding="utf-8").splitlines():
        if words.strip() and not words.startswith("#"):
            stage.say(words)
            await stage.propose(engine, words)
            await stage.run(engine, words)


async def atlas_with_priced_agents(stage: Stage) -> None:
    """Agents of one's own beside the folder, with a budget and a quality; what was learned counts the second time."""
    own = _gazetteers()
    engine = stage.engine(own, data=ATLAS / "data")
    for _ in range(2):
        await stage.propose(engine, FACTS, budget_usd=0.02, min_quality=0.9)
        await stage.run(engine, FACTS, budget_usd=0.02, min_quality=0.9)
    await stage.propose(engine, FACTS, budget_usd=0.0001)


def _gazetteers() -> AgentRegistry:
    cards = [
        AgentCapability(
            agent_id=name, task_types=("lookup",), skills=frozenset({"facts"}), cost_usd=usd, success_rate=share
        )
        for name, usd, share in (("gazetteer", 0.002, 0.98), ("gazetteer_draft", 0.0002, 0.80))
    ]
    return AgentRegistry(cards, runners={card.agent_id: ScriptedAgent(seconds=0.05) for card in cards})


async def unknown_words(stage: Stage) -> None:
    """Requests that no rule fits, and work that nobody takes."""
    engine = stage.engine(team())
    for words in ("Make me happy", "Find the capital of France", "", "Compare the population of Peru and Chile"):
        stage.say(words)
        await stage.propose(engine, words)
        await stage.run(engine, words)


async def a_person_approves(stage: Stage) -> None:
    """A plan file whose report waits for a person, who approves it."""
    engine = stage.engine(data=ATLAS / "data")
    await stage.propose(engine, ATLAS / "approve.yaml")
    await stage.run(engine, ATLAS / "approve.yaml", budget_usd=1.0)
    (question,) = engine.questions()
    engine.approve(question.question_id, "go on", by="a person")
    await stage.resume(engine)


async def a_person_rejects(stage: Stage) -> None:
    """The same, rejected."""
    engine = stage.engine(data=ATLAS / "data")
    await stage.run(engine, ATLAS / "approve.yaml")
    (question,) = engine.questions()
    engine.reject(question.question_id, "not now", by="a person")
    await stage.resume(engine)


async def the_optimizer_chooses(stage: Stage) -> None:
    """No limit but a history: who does what, and why."""
    learn_of(stage)
    engine = stage.engine(team())
    await stage.propose(engine, layered())
    await stage.run(engine, layered())


async def budgets(stage: Stage) -> None:
    """The same graph within budgets from enough to too little."""
    learn_of(stage)
    engine = stage.engine(team())
    for usd in (1.0, 0.1, 0.03, 0.015, 0.002):
        stage.say(f"budget {usd}")
        await stage.propose(engine, layered(), budget_usd=usd)
        await stage.run(engine, layered(), budget_usd=usd)


async def qualities(stage: Stage) -> None:
    """The same graph with an ever higher least quality, with a budget and without."""
    learn_of(stage)
    engine = stage.engine(team())
    for least, usd in ((0.5, None), (0.7, None), (0.85, 0.2), (0.9, 0.05), (0.99, None)):
        stage.say(f"quality {least}, budget {usd}")
        await stage.propose(engine, layered(), min_quality=least, budget_usd=usd)
        await stage.run(engine, layered(), min_quality=least, budget_usd=usd)


async def deadlines(stage: Stage) -> None:
    """The same graph with deadlines: enough, tight, too short, and one that passes while it runs."""
    learn_of(stage, 12)
    engine = stage.engine(team())
    for limit_s in (100.0, 12.0, 4.0, 0.5):
        stage.say(f"deadline {limit_s}")
        await stage.propose(engine, layered(), deadline_s=limit_s)
        await stage.run(engine, layered(), deadline_s=limit_s)
    slow = [(card, ScriptedAgent(seconds=9.0, cost_usd=0.01)) for card, _ in team()]
    await stage.run(stage.engine(slow), layered(6), deadline_s=20.0, budget_usd=2.0)
    await stage.resume(stage.engine(team()), deadline_s=60.0)


async def frontiers(stage: Stage) -> None:
    """The best choices by cost, time and quality."""
    learn_of(stage)
    engine = stage.engine(team())
    proposal = await stage.propose(engine, layered(7))
    assert proposal is not None
    for limits in ({}, {"deadline_s": 15.0}, {"min_quality": 0.8}):
        frontier = await engine.frontier(proposal, **limits)
        stage.lines += [f"point {show(plain((p.cost_usd, p.seconds, p.quality)))}" for p in frontier.points]


async def cascades(stage: Stage) -> None:
    """Cascades that a plan orders: the cheap answer is taken, is refused, or is judged."""
    learn_of(stage, 8)
    number = {"output_schema": {"type": "integer"}}
    formed = Cascade(cheap="small", check=Check(kind="well_formed"), strong=Single(agent="large"))
    judged = Cascade(cheap="small", check=Check(kind="verifier", agent="other"), strong=Single(agent="large"))
    tasks = (
        task("good", metadata=number, strategy=formed),
        task("bad", metadata=number, strategy=formed),
        task("chain", "good", metadata=number, strategy=Cascade(cheap="third", check=formed.check, strong=formed)),
        task("judged", "bad", strategy=judged),
    )
    cards = [
        (
            AgentCapability(agent_id=card.agent_id, task_types=(*card.task_types, "verify"), cost_usd=card.cost_usd),
            agent,
        )
        for card, agent in team(
            {
                "small": {"good": 4, "bad": "four", "chain": "none", "judged": "a"},
                "third": {"chain": "no"},
                "large": {"bad": 5, "chain": 6, "judged": "b"},
                "other": {"verify": "no"},
            }
        )
    ]
    engine = stage.engine(cards)
    await stage.propose(engine, plan(*tasks), budget_usd=0.5)
    await stage.run(engine, plan(*tasks), budget_usd=0.5)
    await stage.propose(engine, plan(*tasks), budget_usd=0.05)


async def votes(stage: Stage) -> None:
    """Votes: two agree, nobody agrees and another is asked, one fails."""
    learn_of(stage, 8)
    vote = Vote(agents=("small", "other", "third"), escalate_to=Single(agent="large"))
    tasks = (task("agree", strategy=vote), task("differ", "agree", strategy=vote), task("fails", strategy=vote))
    scripts = {
        "small": {"agree": "1,000", "differ": "a", "fails": AgentFailed("no", cost_usd=0.0005)},
        "other": {"agree": 1000, "differ": "b", "fails": "x"},
        "third": {"agree": 7, "differ": "c", "fails": "y"},
        "large": {"differ": "b", "fails": "y"},
    }
    engine = stage.engine(team(scripts))
    await stage.propose(engine, plan(*tasks), budget_usd=0.5, min_quality=0.3)
    await stage.run(engine, plan(*tasks), budget_usd=0.5)


async def learned_strategies(stage: Stage) -> None:
    """Strategies, learned from the answers of three agents: they compete with single agents."""
    from kapelle.learning import learn

    chance = random.Random(7)
    for number in range(240):
        hard = chance.random() < 0.4
        text = ("Prove that the algorithm {} is optimal" if hard else "Add the two small numbers {}").format(number)
        for name, share in (("small", 0.35 if hard else 0.97), ("other", 0.8), ("large", 0.97)):
            is_right = chance.random() < share
            stage.ledger.record(
                Outcome(
                    run_id=f"past-{number}",
                    task_id="t",
                    task_type="work",
                    agent=name,
                    success=is_right,
                    quality=1.0 if is_right else 0.0,
                    cost_usd=PRICES[name][0],
                    seconds=PRICES[name][1],
                    features={"text": text, "answer": str(number) if is_right else f"{name}-{number}"},
                    at=EPOCH - DAY_S * (1 + number / 50),
                )
            )
    wanted = plan(
        task("easy", description="Add the two small numbers 3"),
        task("hard", "easy", description="Prove that the algorithm 9 is optimal"),
        task("plain", description="Do it"),
    )
    with tempfile.TemporaryDirectory() as folder:
        learn(stage.ledger.outcomes(limit=10_000), Path(folder) / "learned")
        # What it learns of words differs from processor to processor, in its first digits: sums of many terms do.
        for name in ("success.npz", "policy.npz"):
            (Path(folder) / "learned" / name).unlink()
        engine = stage.engine(team(), learned=Path(folder) / "learned")
        for least in (None, 0.9):
            stage.say(f"quality {least}")
            await stage.propose(engine, wanted, min_quality=least)
            await stage.run(engine, wanted, min_quality=least)


class _Grows:
    """An agent that answers some tasks with tasks of their own."""

    def __init__(self, parts: Mapping[str, Sequence[Task]]) -> None:
        self._parts = parts

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        await asyncio.sleep(1.0)
        if task.task_id in self._parts:
            return AgentResult(output=None, cost_usd=0.002, expansion=TaskDAG(self._parts[task.task_id]))
        return AgentResult(output=f"{task.task_id} done", cost_usd=0.002)


async def growth(stage: Stage) -> None:
    """A graph that grows by others, within its budget and beyond; a user's rule names who does some of it."""
    learn_of(stage, 15)
    parts = {"big": [task("x", kind="draft"), task("y", "x", kind="check"), task("z", kind="work")]}
    planner = AgentCapability(agent_id="grower", task_types=("grow",), cost_usd=0.002, seconds=1.0)
    wanted = plan(task("first"), task("big", "first", kind="grow"), task("last", "big", kind="check"))
    rule = RoutingRule(rule_id="drafts-by-third", agent_id="third", task_types=("draft",))
    broken = {"third": {"big-x": AgentFailed("it is broken", cost_usd=0.001)}}
    for title, scripts, rules, usd in (
        ("within its budget", {}, None, 0.5),
        ("with a rule", {}, [rule], 0.5),
        ("with a rule, and who it names fails", broken, [rule], 0.5),
        ("beyond its budget", {}, None, 0.012),
    ):
        stage.say(title)
        engine = stage.engine([*team(scripts), (planner, _Grows(parts))], rules=rules)
        await stage.propose(engine, wanted, budget_usd=usd)
        await stage.run(engine, wanted, budget_usd=usd)


async def failures_with_fallback(stage: Stage) -> None:
    """Failures that pass, failures that do not, agents that stand in, and what is skipped, goes on, or ends the run."""
    learn_of(stage, 15)
    down = AgentFailed("it is down", cost_usd=0.0004)
    again = itertools.chain([TryAgain("busy", cost_usd=0.0001), TryAgain("busy")], itertools.repeat("at last"))
    scripts: dict[str, Any] = {name: {"b": down, "dead": down} for name in PRICES}
    scripts["small"] = {"a": lambda *_: next(again), "b": down, "dead": down}
    scripts["large"] = {"dead": down}
    wanted = (
        task("a"),
        task("b", "a"),
        task("dead", on_failure="continue"),
        task("skips", "b", "dead"),
        task("some", "b", "dead", needs="some"),
        task("urgent", "a", priority=5, kind="check"),
    )
    for rules in (None, [RoutingRule(rule_id="all-by-small", agent_id="small", task_types=("work",))]):
        stage.say("free" if rules is None else "a user's rule is final")
        again = itertools.chain([TryAgain("busy", cost_usd=0.0001), TryAgain("busy")], itertools.repeat("at last"))
        limits = ExecutionLimits(retry=RetryPolicy(max_attempts=3, first_delay_s=0.5), max_fallbacks=2)
        await stage.run(stage.engine(team(scripts), limits=limits, rules=rules), plan(*wanted), budget_usd=0.5)
    fatal = plan(*wanted[:2], task("end", on_failure="fail"), task("never", "end"))
    await stage.run(stage.engine(team({name: {"end": down} for name in PRICES})), fatal)


async def agents_that_changed(stage: Stage) -> None:
    """One agent was good and is broken, another was bad and was mended: estimates, choices, fallbacks, and issues."""
    rest = {"third": 0.8, "large": 0.8}
    learn_of(stage, 130, shares={"small": 0.98, "other": 0.03, **rest}, days=(10.0, 20.0), seed=1)
    learn_of(stage, 30, shares={"small": 0.02, "other": 0.97, **rest}, days=(0.1, 3.0), seed=2)
    for name in PRICES:
        only = [pair for pair in team() if pair[0].agent_id == name]
        stage.say(f"only {name}")
        await stage.propose(stage.engine(only), layered(3), min_quality=0.6)
        await stage.propose(stage.engine(only), layered(3))
    stage.say("all of them, and one is down")
    scripts = {name: {"t0": AgentFailed("it is down"), "t1": AgentFailed("it is down")} for name in ("third", "other")}
    rules = [RoutingRule(rule_id="checks-by-third", agent_id="third", task_types=("check",))]
    await stage.propose(stage.engine(team()), layered(6))
    await stage.run(stage.engine(team(scripts), rules=rules), layered(6))
    await stage.run(stage.engine(team(scripts)), layered(6), budget_usd=0.5)


async def a_run_goes_on(stage: Stage) -> None:
    """A run that is stopped, and goes on with other agents, with more money, and once there is nothing left to do."""
    learn_of(stage, 10)
    engine = stage.engine(team())

    def stop(event: Any) -> None:
        if event.kind == "task_finished" and event.task_id == "t2":
            engine.stop(event.run_id, by="a person")

    await stage.run(engine, layered(9), on_event=stop, budget_usd=0.2)
    rest = [pair for pair in team() if pair[0].agent_id != "small"]
    await stage.resume(stage.engine(rest), budget_usd=0.4)
    await stage.resume(stage.engine(rest))


async def a_run_that_failed_is_tried_again(stage: Stage) -> None:
    """What failed and was skipped is done by the next engine; what is done stays done."""
    down = AgentFailed("it is down", cost_usd=0.0004)
    wanted = plan(task("a"), task("b", "a"), task("c", "b"), task("d"))
    await stage.run(stage.engine(team({name: {"b": down} for name in PRICES})), wanted, budget_usd=0.1)
    await stage.resume(stage.engine(team()))


class _Asks:
    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        said = context.ask("Which of the two?", options=["left", "right"])
        context.ask("May I?", kind="approval", arguments={"to": said})
        return AgentResult(output=said, cost_usd=0.003)


async def an_agent_asks(stage: Stage) -> None:
    """An agent asks a person twice; others go on meanwhile."""
    card = AgentCapability(agent_id="asks", task_types=("ask",), cost_usd=0.003)
    engine = stage.engine([*team(), (card, _Asks())])
    await stage.run(engine, plan(task("q", kind="ask"), task("after", "q"), task("beside")), budget_usd=0.5)
    engine.answer(engine.questions()[0].question_id, "right", by="a person")
    await stage.resume(engine)
    engine.approve(engine.questions()[0].question_id, by="a person")
    await stage.resume(engine)


async def exploration(stage: Stage) -> None:
    """Some tasks go to agents of which little is known, within the budget."""
    engine = stage.engine(team(), explore=0.5)
    for _ in range(4):
        await stage.run(engine, layered(6), budget_usd=0.2)


async def stragglers(stage: Stage) -> None:
    """A late attempt gets a rival; the first good answer counts."""
    learn_of(stage, 15)
    slow = [(card, ScriptedAgent(seconds={"t1": 90.0}, cost_usd=card.cost_usd)) for card, _ in team()[:1]]
    limits = ExecutionLimits(hedge=HedgePolicy(after=1.0, least_s=2.0))
    await stage.run(stage.engine([*slow, *team()[1:]], limits=limits), layered(4), budget_usd=0.5)


class _Reflects:
    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Reflection | None:
        if task.task_id != "a" or "more" in graph.tasks:
            return None
        new = Task(task_id="more", task_type="check", description="Look again", depends_on=("a",))
        return Reflection(patch=GraphPatch(add=(new,)), reason="there is more to do", cost_usd=0.001)


async def reflection(stage: Stage) -> None:
    """A reflector adds a task while the graph runs."""
    learn_of(stage, 15)
    engine = stage.engine(team(), reflector=_Reflects())
    await stage.run(engine, plan(task("a"), task("b", "a"), task("c")), budget_usd=0.3)


async def validators(stage: Stage) -> None:
    """A user's validator refuses answers, and agents are judged by it."""
    learn_of(stage, 6)
    refused = {"small": {"t2": "bad"}, "third": {"t2": "bad"}}
    engine = stage.engine(team(refused), validators={"work": lambda output: output != "bad"})
    for _ in range(3):
        await stage.run(engine, layered(3))
    await stage.propose(engine, layered(3))


async def ratings_and_forgetting(stage: Stage) -> None:
    """What people say of answers counts, and what is forgotten does not."""
    learn_of(stage, 10)
    engine = stage.engine(team())
    await stage.run(engine, layered(3))
    engine.rate("last", value=0.0, by="a person")
    await stage.propose(engine, layered(3))
    stage.say(f"forgotten: {engine.forget('small', by='a person')}")
    await stage.propose(engine, layered(3))


async def orders(stage: Stage) -> None:
    """Orders of a plan that cannot be followed, plans that nobody can do, and risk."""
    learn_of(stage, 10)
    engine = stage.engine(team())
    await stage.propose(engine, plan(task("a", strategy=Single(agent="nobody")), task("b", "a", kind="paint")))
    await stage.propose(engine, plan(task("a", requirements=frozenset({"flying"}))))
    risky = plan(task("a", risk="high"), task("b", "a", strategy=Single(agent="large")), task("c", deadline_s=3.0))
    await stage.propose(engine, risky, budget_usd=0.2, min_quality=0.5)
    await stage.run(engine, risky, budget_usd=0.2)


STORIES: Mapping[str, Callable[[Stage], Awaitable[None]]] = {
    story.__name__.replace("_", " "): story
    for story in (
        atlas_requests,
        atlas_with_priced_agents,
        unknown_words,
        a_person_approves,
        a_person_rejects,
        the_optimizer_chooses,
        budgets,
        qualities,
        deadlines,
        frontiers,
        cascades,
        votes,
        learned_strategies,
        growth,
        failures_with_fallback,
        agents_that_changed,
        a_run_goes_on,
        a_run_that_failed_is_tried_again,
        an_agent_asks,
        exploration,
        stragglers,
        reflection,
        validators,
        ratings_and_forgetting,
        orders,
    )
}


def tell_requests(names: Sequence[str] = tuple(STORIES)) -> dict[str, Story]:
    """Let these stories happen, and return them."""
    return {name: _tell_one(STORIES[name]) for name in names}


def _tell_one(story: Callable[[Stage], Awaitable[None]]) -> Story:
    clock = VirtualClock()
    stage = Stage(clock)

    async def happen() -> None:
        await story(stage)

    with threads_are_done_at_once():
        clock.run(happen())
    stage.ledger.close()
    return [line.replace("\n", " / ") for line in stage.lines]
