"""Runs the blocks of the documents in document order, as they are written, and checks what they do.

The blocks are in tests/spec, word for word. Three things are not in the text and come from here:

- imports: `from infrastructure.x import Y` becomes an import of Y from kapelle;
- names that the text leaves open (`halo_assignments`, `actual_tokens`, ...), in the functions under FILLS;
- the arguments where the text has a literal `...`: an object is then replaced by `Abbreviated` for that block.

The blocks about ToolGenerator and DynamicAgentCreator are left out: those are not built yet. Shell blocks are not run.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

import kapelle
from kapelle import Engine, SqliteLedger, agent
from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import DAAOOptimizer, OptimizationConstraints, OptimizedPlan
from kapelle.errors import InvalidGraph
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.learning import LearnedRewardModel, TaskOutcome
from kapelle.ledger import Run
from kapelle.planning import FUNCTION_TYPES, GAP_SYSTEM_PROMPT, GAP_USER_PROMPT, Plan, read_reply
from kapelle.routing import HALORouter, RoutingPlan
from kapelle.testing import ScriptedModel
from kapelle.validation import AOPValidator

FOLDER = Path(__file__).parent / "spec"
HOMES = {
    "AOPValidator": "kapelle.validation",
    "CostProfiler": "kapelle.estimates",
    "DAAOOptimizer": "kapelle.allocation",
    "HALORouter": "kapelle.routing",
    "LearnedRewardModel": "kapelle.learning",
    "OptimizationConstraints": "kapelle.allocation",
    "Task": "kapelle.graph",
    "TaskDAG": "kapelle.graph",
    "TaskOutcome": "kapelle.learning",
}
"""Where a name lives as long as the root package does not export it."""

Namespace = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A Python block and the heading that it stands under."""

    heading: str
    source: str


def read_blocks(name: str, kind: str = "python") -> list[Block]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    found: list[Block] = []
    heading = ""
    for match in re.finditer(
        r"^#+ (?P<heading>[^\n]*)$|^```(?P<kind>[a-z]+)\n(?P<source>.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        if match["source"] is None:
            heading = match["heading"]
        elif match["kind"] == kind:
            found.append(Block(heading=heading, source=match["source"]))
    return found


def with_our_imports(source: str) -> str:
    def replace(match: re.Match[str]) -> str:
        names = [name.strip() for name in match[1].split(",")]
        homes = {name: "kapelle" if hasattr(kapelle, name) else HOMES[name] for name in names}
        return "; ".join(f"from {home} import {name}" for name, home in homes.items())

    return re.sub(r"^from infrastructure\.\w+ import (.+)$", replace, source, flags=re.MULTILINE)


async def run_block(block: Block, namespace: Namespace) -> str:
    """Run a block, with `await` at its top level, and return what it printed."""
    code = compile(with_our_imports(block.source), f"<{block.heading}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(code, namespace)
        if inspect.isawaitable(result):
            await result
    return printed.getvalue()


class Abbreviated:
    """Stands for an object whose methods the text calls with a literal `...`; other calls go through."""

    def __init__(self, target: Any, **arguments: dict[str, Any]) -> None:
        self._target = target
        self._arguments = arguments

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        def call(*positional: Any, **named: Any) -> Any:
            return method(**self._arguments[name]) if positional == (...,) else method(*positional, **named)

        return call


def add_second_task(names: Namespace) -> None:
    """The text replans a "task2" that its graph does not have yet."""
    names["dag"].add_task(Task(task_id="task2", task_type="test", description="Test feature", depends_on=("task1",)))
    names["dag"].add_task(Task(task_id="task3", task_type="deploy", description="Ship it", depends_on=("task2",)))
    names["halo_assignments"] = {"task1": "builder_agent", "task2": "qa_agent", "task3": "deploy_agent"}


def abbreviate_optimizer(names: Namespace) -> None:
    arguments = {"initial_plan": names["halo_assignments"], "dag": names["dag"]}
    names["daao_optimizer"] = Abbreviated(names["daao_optimizer"], optimize_routing_plan=arguments)


def abbreviate_profiler(names: Namespace) -> None:
    execution = {
        "task_id": "seed",
        "agent_name": "qa_agent",
        "task_type": "test",
        "tokens_used": 100_000,
        "execution_time_seconds": 4.0,
        "success": True,
    }
    names["cost_profiler"] = Abbreviated(names["cost_profiler"], record_execution=execution)


def finish_a_task(names: Namespace) -> None:
    names["task_id"] = "task3"
    names["task"] = names["dag"].tasks["task3"]
    names["agent_name"] = "deploy_agent"
    names["agent"] = names["agent_registry"]["deploy_agent"]
    names.update(actual_tokens=200_000, actual_time=9.0, task_succeeded=True)


def give_a_logger(names: Namespace) -> None:
    names["logger"] = logging.getLogger("spec")


FILLS: dict[str, Callable[[Namespace], None]] = {
    "Real-Time Replanning": add_second_task,
    "Optimization Details": abbreviate_optimizer,
    "Issue: No Cost Savings": abbreviate_profiler,
    "1. Seed Cost Profiler Early": finish_a_task,
    "4. Monitor Cost Savings": give_a_logger,
}
"""What the text leaves open, by the heading of the block that needs it."""


def play(heading: str) -> tuple[Namespace, str]:
    """Run the blocks of the DAAO guide up to the one under `heading`; return the names, and what that one printed."""

    async def run() -> tuple[Namespace, str]:
        names: Namespace = {}
        for block in read_blocks("daao.md"):
            if block.heading in FILLS:
                FILLS[block.heading](names)
            printed = await run_block(block, names)
            for name, value in names.items():
                if isinstance(value, Abbreviated):
                    names[name] = value._target
            if block.heading == heading:
                return names, printed
        raise AssertionError(f"There is no block under {heading!r}.")

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _undo_what_the_text_sets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The text sets prices on a class and levels on loggers; neither may outlive its test."""
    monkeypatch.setattr(CostProfiler, "MODEL_PRICING", CostProfiler.MODEL_PRICING)
    yield
    for name in ("cost_profiler", "daao_optimizer", "halo_router"):
        logging.getLogger(f"infrastructure.{name}").setLevel(logging.NOTSET)


def test_every_block_of_the_documents_is_here() -> None:
    assert [len(read_blocks(name)) for name in ("daao.md", "aatc.md", "gap.md")] == [18, 3, 5]
    assert len(read_blocks("gap.md", "xml")) == 2


def test_basic_usage_routes_by_rules_alone() -> None:
    names, _ = play("Basic Usage (Without DAAO)")
    plan = names["routing_plan"]
    assert plan.assignments == {"task1": "builder_agent"}
    assert "builder_agent" in plan.explanations["task1"]
    assert plan.metadata.get("daao_optimized") is None


def test_advanced_usage_prices_the_plan_by_what_was_recorded() -> None:
    names, printed = play("Advanced Usage (With DAAO)")
    # 850,000 tokens at $3 a million, for a task that is 1.5 times as complex as the one recorded. Only one of the
    # documented agents takes `implement`, so there is nothing to save.
    assert printed == "DAAO saved $0.0000\nEstimated total cost: $3.8250\n"
    assert names["routing_plan"].assignments == {"task1": "builder_agent"}
    assert set(names["routing_plan"].metadata) == {
        "daao_optimized",
        "cost_savings",
        "estimated_cost",
        "baseline_cost",
        "estimated_time",
        "quality_score",
        "optimization_details",
    }


def test_a_plan_within_the_constraints_passes_the_budget_check() -> None:
    names, printed = play("With Budget Constraints")
    result = names["validation_result"]
    assert printed == ""
    assert result.passed
    assert result.estimated_cost == pytest.approx(3.825)
    assert result.approved.max_budget == 10.0
    assert names["routing_plan"].metadata["daao_optimized"]


def test_a_plan_over_the_budget_fails_with_the_documented_message() -> None:
    [block] = [block for block in read_blocks("daao.md") if block.heading == "With Budget Constraints"]
    names, _ = play("Advanced Usage (With DAAO)")
    stingy = Block(heading=block.heading, source=block.source.replace("max_budget=10.0", "max_budget=1.0"))
    printed = asyncio.run(run_block(stingy, names))
    assert printed.startswith("Budget validation failed: (Issue(kind='budget', severity='error'")
    assert names["validation_result"].approved is None


def test_replanning_learns_from_what_was_used_and_keeps_finished_tasks() -> None:
    names, printed = play("Real-Time Replanning")
    replanned = names["replanned"]
    assert printed == "Replanned 2 tasks\n"
    assert replanned.assignments == names["halo_assignments"]
    profile = names["cost_profiler"].get_profile("builder_agent", "implement")
    assert profile.total_executions == 2
    # Finished tasks count with what they cost: 1.2 million tokens at $3, 0.32 million at $0.03. The third is still the
    # documented cent, times its complexity: 1.2 for its type, one dependency, two levels down.
    expected = 1.2 * 3 + 0.32 * 0.03 + 0.01 * 1.2 * 1.1 * 1.1
    assert replanned.estimated_cost == pytest.approx(expected, rel=1e-4)


def test_prices_are_set_on_the_class() -> None:
    names, _ = play("Cost Profiler Settings")
    assert CostProfiler.MODEL_PRICING == {"cheap": 0.03, "medium": 3.0, "expensive": 15.0}
    free = AgentCapability(agent_id="local", task_types=("test",), cost_tier="free")
    assert names["cost_profiler"].estimate(free, "test").cost_usd == 0.0


def test_constraints_hold_what_they_are_given() -> None:
    names, _ = play("Optimization Constraints")
    assert names["constraints"] == OptimizationConstraints(
        max_total_cost=50.0,
        max_total_time=600.0,
        min_quality_score=0.85,
        agent_capacity={"builder_agent": 5, "qa_agent": 10},
    )


def test_statistics_sum_up_what_was_recorded() -> None:
    _, printed = play("Cost Profiler Statistics")
    # The seed, and the two tasks of the replanning: $2.55 + $3.60 + $0.0096.
    assert printed == "Total executions: 3\nTotal cost: $6.16\nSuccess rate: 100.0%\nAgents tracked: 2\n"


def test_a_profile_is_kept_per_agent_and_task_type() -> None:
    _, printed = play("Agent-Specific Profiles")
    assert printed == (
        "Total executions: 2\nSuccess rate: 100.0%\nAvg cost per task: $3.0750\nCost per success: $3.0750\n"
    )


def test_optimization_details_say_what_was_found() -> None:
    names, printed = play("Optimization Details")
    cost = names["optimized_plan"].estimated_cost
    assert printed == (
        f"Status: optimal\nBaseline cost: ${cost:.4f}\nSavings: 0.0%\n"
        "Agent workload: {'builder_agent': 1, 'qa_agent': 1, 'deploy_agent': 1}\n"
    )


def test_logging_is_set_up_and_says_what_the_samples_say(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="kapelle"):
        play("Logging")
    assert logging.getLogger("infrastructure.cost_profiler").level == logging.DEBUG
    assert logging.getLogger("infrastructure.halo_router").level == logging.INFO
    for sample in (
        r"INFO .*Optimizing routing plan: 3 tasks",
        r"INFO .*Baseline metrics: cost=\$\d+\.\d+, time=\d+\.\d+s, quality=0\.\d+",
        r"DEBUG .*Task task1 complexity: 1\.5x",
        r"INFO .*Optimization complete: saved \$0\.\d+ \(0%\)",
    ):
        assert re.search(sample, caplog.text), sample


def test_a_router_with_daao_enabled_optimises() -> None:
    names, _ = play("Issue: DAAO Not Activating")
    assert asyncio.run(names["router"].route_tasks(names["dag"])).metadata["daao_optimized"] is True
    assert asyncio.run(names["router"].route_tasks(TaskDAG())).metadata.get("daao_optimized") is None


def test_seeding_adds_an_execution() -> None:
    before, _ = play("Logging")
    names, _ = play("Issue: No Cost Savings")
    counts = [each["cost_profiler"].get_statistics()["total_executions"] for each in (before, names)]
    assert counts == [3, 4]


def test_an_execution_is_recorded_after_each_task() -> None:
    names, _ = play("1. Seed Cost Profiler Early")
    profile = names["cost_profiler"].get_profile("deploy_agent", "deploy")
    assert (profile.total_executions, profile.avg_seconds) == (1, 9.0)
    assert profile.avg_cost_usd == pytest.approx(0.2 * 3.0)


def test_tight_constraints_fail_and_reasonable_ones_do_not() -> None:
    names, _ = play("2. Use Realistic Constraints")
    assert (names["constraints"].max_total_cost, names["constraints"].min_quality_score) == (10.0, 0.85)
    optimizer, dag, plan = names["daao_optimizer"], names["dag"], names["halo_assignments"]
    tight = OptimizationConstraints(max_total_cost=1.0, min_quality_score=0.99)
    statuses = [
        asyncio.run(optimizer.optimize_routing_plan(plan, dag, limits)).optimization_details["status"]
        for limits in (tight, names["constraints"])
    ]
    assert statuses == ["infeasible", "optimal"]


def test_recent_executions_decide_the_estimate() -> None:
    names, _ = play("3. Enable Adaptive Profiling")
    # Per unit of complexity: $2.55 as recorded, $3.60 for a task of complexity 1.5; both among the last ten.
    assert names["estimated_cost"] == pytest.approx((2.55 + 3.60 / 1.5) / 2 * 1.5)


def test_savings_are_logged_over_time(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="spec"):
        names, _ = play("4. Monitor Cost Savings")
    assert "DAAO saved $0.00 (0.0%)" in caplog.text
    assert names["pct"] == 0.0


def test_a_cold_start_has_the_documented_defaults() -> None:
    play("5. Handle Cold Start")
    profiler = CostProfiler()
    assert profiler.estimate_cost("new_agent", "implement") == 0.01
    assert profiler.estimate_time("new_agent", "implement") == 10.0
    assert profiler.estimate_success_rate("new_agent", "implement") == 0.85


def aatc(heading: str) -> Block:
    [block] = [block for block in read_blocks("aatc.md") if block.heading.startswith(heading)]
    return block


class OneAgentCreator:
    """Stands for the agent creator that is not built yet."""

    async def create_agent_for_task(self, task_description: str, context: dict[str, Any]) -> str:
        return "the agent"

    def convert_to_agent_capability(self, agent: str) -> AgentCapability:
        return AgentCapability(agent_id="dynamic_1", task_types=("scrape",))


@pytest.mark.parametrize(
    ("task_type", "assignments"), [("deploy", {}), ("scrape", {"t": "dynamic_1"})], ids=["routable", "unroutable"]
)
def test_the_router_has_an_agent_made_where_none_can_do_the_task(task_type: str, assignments: dict[str, str]) -> None:
    router, plan = HALORouter(), RoutingPlan()
    names: Namespace = {
        "self": router,
        "task": Task(task_id="t", task_type=task_type),
        "task_id": "t",
        "available_agents": None,
        "agent_creator": OneAgentCreator(),
        "routing_plan": plan,
    }
    asyncio.run(run_block(aatc("3."), names))
    assert names["agent"] == assignments.get("t", "deploy_agent")
    assert plan.assignments == assignments
    assert plan.explanations == ({"t": "AATC created: dynamic_1"} if assignments else {})
    assert ("dynamic_1" in router.agent_registry) == bool(assignments)


def test_the_reward_model_predicts_learns_and_persists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: Namespace = {}
    asyncio.run(run_block(aatc("4."), names))
    assert names["predicted"] == pytest.approx(0.4 * 0.85 + 0.3 * 0.82 + 0.2 * 0.5 + 0.1 * 0.8)
    model = names["model"]
    assert model.get_statistics()["agent_success_rates"] == {"deploy_agent": {"deploy": 1.0}}
    for n in range(9):
        model.record_outcome(
            TaskOutcome(
                task_id=f"t{n}",
                task_type="deploy",
                agent_name="deploy_agent",
                success=1.0,
                quality=0.88,
                cost=0.45,
                time=0.18,
                predicted_score=names["predicted"],
            )
        )
    assert LearnedRewardModel(persistence_path="models/reward_model.json").weights == model.weights


def documented_validator() -> Any:
    """Return the class AOPValidator of the text, on top of ours, which has what the text leaves open."""
    names: Namespace = {
        "AgentCapability": AgentCapability,
        "Dict": dict,
        "LearnedRewardModel": LearnedRewardModel,
        "Optional": Optional,
        "RoutingPlan": RoutingPlan,
        "TaskDAG": TaskDAG,
        "TaskOutcome": TaskOutcome,
        "logger": logging.getLogger("spec"),
    }
    asyncio.run(run_block(aatc("5."), names))

    def build(self: Any, *arguments: Any, **options: Any) -> None:
        AOPValidator.__init__(self, *arguments, **options)
        names["AOPValidator"].__init__(self, *arguments, **options)

    return type("DocumentedValidator", (names["AOPValidator"], AOPValidator), {"__init__": build})


REGISTRY = AgentRegistry(
    [
        AgentCapability(agent_id="fast", task_types=("build",), cost_tier="expensive", seconds=1.0, success_rate=0.95),
        AgentCapability(agent_id="slow", task_types=("build",), cost_tier="cheap", seconds=9.0, success_rate=0.7),
        AgentCapability(agent_id="any", task_types=("*",), cost_tier="medium", seconds=4.0, success_rate=0.8),
    ]
)
DAG = TaskDAG([Task(task_id="a", task_type="build"), Task(task_id="b", task_type="build", depends_on=("a",))])


@pytest.mark.parametrize("enable_learned_model", [False, True])
@pytest.mark.parametrize("agents", [("fast", "fast"), ("slow", "any"), ("any", "slow")])
def test_the_documented_score_is_ours(enable_learned_model: bool, agents: tuple[str, str]) -> None:
    plan = RoutingPlan(assignments={"a": agents[0], "b": agents[1]})
    ours = AOPValidator(REGISTRY, enable_learned_model=enable_learned_model)
    theirs = documented_validator()(REGISTRY, enable_learned_model=enable_learned_model)
    assert type(theirs)._calculate_quality_score is not AOPValidator._calculate_quality_score
    expected = asyncio.run(theirs._calculate_quality_score(plan, DAG))
    assert asyncio.run(ours._calculate_quality_score(plan, DAG)) == expected
    assert asyncio.run(ours.validate_routing_plan(plan, DAG)).quality_score == expected
    assert 0 < expected < 1


def test_the_documented_record_of_an_outcome_is_ours() -> None:
    kinds: tuple[Any, ...] = (AOPValidator, documented_validator())
    validators = [kind(REGISTRY, enable_learned_model=True) for kind in kinds]
    for validator in validators:
        for n in range(20):
            asyncio.run(validator.record_execution_outcome(f"t{n}", "build", "fast", float(n % 2), 0.9, 0.2, 0.1, 0.5))
    ours, theirs = (validator.learned_model.get_statistics() for validator in validators)
    assert ours == theirs
    assert ours["total_outcomes"] == 20
    assert ours["weights"] != LearnedRewardModel().weights


def test_what_the_documents_build_is_what_kapelle_has() -> None:
    names, _ = play("5. Handle Cold Start")
    kinds = {
        "cost_profiler": CostProfiler,
        "daao_optimizer": DAAOOptimizer,
        "optimized_plan": OptimizedPlan,
        "router": HALORouter,
        "validator": AOPValidator,
    }
    assert {name: type(names[name]) for name in kinds} == kinds


# Graph planning

ATLAS = Path(__file__).parent.parent / "examples" / "atlas" / "data"
COUNTRIES = """country,continent,population,gdp_growth_rate
China,Asia,1410000000,6.3
India,Asia,1430000000,7.2
Indonesia,Asia,277000000,5.1
Japan,Asia,124000000,1.1
Nigeria,Africa,223000000,3.3
"""


def gap(heading: str, kind: str = "python") -> str:
    [block] = [block for block in read_blocks("gap.md", kind) if heading in block.heading]
    return block.source


def run_gap(heading: str, **names: Any) -> Namespace:
    asyncio.run(run_block(Block(heading=heading, source=gap(heading)), names))
    return names


def test_the_documented_graph_is_a_plan_and_runs_over_a_folder(tmp_path: Path) -> None:
    text = gap("Step 3", "xml")
    graph = TaskDAG.from_xml(text)
    assert graph.levels() == (("s1", "s2"), ("s3", "s4"))
    assert read_reply(text).graph == graph
    (tmp_path / "g.xml").write_text(text, encoding="utf-8")
    run = Engine(data=ATLAS, model="none", ledger=SqliteLedger(":memory:")).run_sync(tmp_path / "g.xml")
    assert run.state == "done"
    assert "## Population of Paris\n\nPopulation of Paris: 11,200,000 (cities.csv:" in run.answer
    assert "## Population of Berlin\n\nPopulation of Berlin: 3,600,000 (cities.csv:" in run.answer


def test_the_documented_levels_are_ours_and_are_for_showing() -> None:
    graph = TaskDAG.from_xml(gap("Step 3", "xml"))
    levels: list[list[str]] = []
    run_gap("Step 4", graph=graph, topological_sort=TaskDAG.levels, parallel_execute=list, update_state=levels.append)
    assert levels == [["s1", "s2"], ["s3", "s4"]]

    # The text waits for a whole level. A task of ours begins as soon as its own inputs are there: s2 ends after s3.
    def run() -> Run:
        begun = asyncio.Event()

        @agent(task_types=["search"])
        async def finder(task: Task) -> str:
            if task.task_id == "s3":
                begun.set()
            if task.task_id == "s2":
                await asyncio.wait_for(begun.wait(), 60)
            return "found"

        engine = Engine(agents=[finder], model="none", ledger=SqliteLedger(":memory:"))
        return engine.run_sync(Plan(request="", graph=graph, planner="the document"))

    assert run().state == "done"


class OurTasks:
    """What the decomposer of the text leaves open."""

    def __init__(self, graph: TaskDAG) -> None:
        self._graph = graph

    def _build_dag(self, query: str) -> SimpleNamespace:
        return SimpleNamespace(tasks=[SimpleNamespace(id=task_id, dependencies=[]) for task_id in self._graph.tasks])

    def _requires_output(self, task: Any, prior: Any) -> bool:
        return prior.id in self._graph.dependencies(task.id)

    def _get_dependents(self, task: Any) -> list[Any]:
        return [other for other in self._dag.tasks if task.id in other.dependencies]

    _dag: Any = None


def levels_of_the_text(graph: TaskDAG) -> list[list[str]]:
    names = run_gap("Proposed GAP Integration", DAG=Any, Task=Any, List=list)
    kind = type("Decomposer", (OurTasks, names["HTDAGDecomposer"]), {})

    class Remembering(kind):  # type: ignore[misc, valid-type]  # the base is a class of the text, made here
        def _analyze_dependencies(self, dag: Any) -> Any:
            self._dag = super()._analyze_dependencies(dag)
            return self._dag

    return [[task.id for task in level] for level in asyncio.run(Remembering(graph).decompose("..."))]


@pytest.mark.parametrize(
    "edges",
    [
        {"a": []},
        {"a": [], "b": []},
        {"a": [], "b": ["a"], "c": ["b"]},
        {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]},
        {"a": [], "b": [], "c": ["a", "b"], "d": ["a"], "e": ["c", "d"]},
    ],
)
def test_the_documented_decomposer_finds_the_levels_that_we_do(edges: dict[str, list[str]]) -> None:
    graph = TaskDAG(Task(task_id=name, task_type="search", depends_on=tuple(waits)) for name, waits in edges.items())
    assert levels_of_the_text(graph) == [list(level) for level in graph.levels()]


def test_a_cycle_that_the_documented_decomposer_would_drop_is_an_error_with_us() -> None:
    with pytest.raises(InvalidGraph, match="wait for each other"):
        TaskDAG(
            [
                Task(task_id="a", task_type="search", depends_on=("b",)),
                Task(task_id="b", task_type="search", depends_on=("a",)),
            ]
        )


def test_the_documented_batch_router_executes_and_ours_only_chooses() -> None:
    documented = run_gap("HALO Router Batching", Task=Task, Result=Any, List=list, asyncio=asyncio)["HALORouter"]
    ran: list[tuple[str, str]] = []

    async def execute(self: Any, task: Task, chosen: str) -> str:
        ran.append((task.task_id, chosen))
        return f"{task.task_id} by {chosen}"

    tasks = [Task(task_id="t1", task_type="implement"), Task(task_id="t2", task_type="deploy")]
    ours = HALORouter()
    select = {"select_agent": lambda self, task: ours.route_task(task)[0], "_execute_task": execute}
    theirs = type("Documented", (documented,), select)()
    assert asyncio.run(theirs.route_batch(tasks)) == ["t1 by builder_agent", "t2 by deploy_agent"]
    ran.clear()
    plan = asyncio.run(ours.route_batch(tasks))
    assert isinstance(plan, RoutingPlan)
    assert plan.assignments == {"t1": "builder_agent", "t2": "deploy_agent"}
    assert not ran


def test_the_documented_functions_and_prompts_are_ours() -> None:
    assert run_gap("Function Vocabulary")["FUNCTION_TYPES"] == FUNCTION_TYPES
    prompts = run_gap("GAP Prompt Format")
    assert prompts["GAP_SYSTEM_PROMPT"].strip() == GAP_SYSTEM_PROMPT.strip()
    assert prompts["GAP_USER_PROMPT"].strip() == GAP_USER_PROMPT.strip()


@pytest.fixture
def countries(tmp_path: Path) -> Path:
    folder = tmp_path / "countries"
    folder.mkdir()
    (folder / "countries.csv").write_text(COUNTRIES, encoding="utf-8")
    return folder


def test_the_documented_reply_is_read_and_what_it_claims_to_have_found_is_no_plan() -> None:
    reply = read_reply(gap("Example Prompt-Response Flow", "xml"))
    assert reply.graph is not None
    assert reply.graph.levels() == (("s1",), ("s2", "s3", "s4"), ("s5",))
    assert "China, India, Indonesia" in reply.observation
    assert reply.answer.startswith("The GDP growth rates are:")


def check_growth(run: Run) -> None:
    assert run.state == "done", run.explain()
    assert {task.agent for task in run.tasks.values()} == {"folder-search", "local-writer"}
    assert "| India | 7.2 |\n| China | 6.3 |\n| Indonesia | 5.1 |" in run.answer
    assert "Largest: India (7.2). Smallest: Indonesia (5.1)." in run.answer
    assert any("compare_values" in note and "'compare'" in note for note in run.notes)


def test_the_documented_reply_of_a_model_runs_over_a_folder(countries: Path) -> None:
    model = ScriptedModel([gap("Example Prompt-Response Flow", "xml")])
    engine = Engine(data=countries, model=model, ledger=SqliteLedger(":memory:"), environ={"KAPELLE_PLANNER": "graph"})
    check_growth(engine.run_sync("Compare the GDP growth rates of the top 3 most populous countries in Asia."))
    assert model.calls == 1


def test_its_graph_in_a_file_runs_over_a_folder_without_a_model(countries: Path, tmp_path: Path) -> None:
    text = gap("Example Prompt-Response Flow", "xml")
    graph = text[text.index("<graph>") : text.index("</graph>") + len("</graph>")]
    (tmp_path / "g.xml").write_text(graph, encoding="utf-8")
    check_growth(Engine(data=countries, model="none", ledger=SqliteLedger(":memory:")).run_sync(tmp_path / "g.xml"))
