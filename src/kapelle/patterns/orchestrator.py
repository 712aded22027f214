"""Sequential, parallel, hierarchical, consensus: the documented orchestrator. Each call is a plan that the engine runs.

So each has a budget, a journal, retries and fallbacks, survives a crash (`Engine.resume`), and shows as a graph.
Nothing is executed here: a pattern makes tasks, and reads what became of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal, cast

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.engine import AgentLike, Engine, register_agents
from kapelle.errors import InvalidInput
from kapelle.graph import Task, TaskDAG, change_texts, escape_braces
from kapelle.ledger import Run
from kapelle.planning import Plan

from .aggregate import CARD, Aggregator
from .votes import Consensus, check_agreement, weight_of

AggregationName = Literal["merge", "concatenate", "summarise", "summarize", "best"]
Aggregation = AggregationName | Callable[[dict[str, Any]], Any]
_NAMES = ("merge", "concatenate", "summarise", "summarize", "best")


class AgentType(StrEnum):
    """Kinds of agents, as the documents call them; each stands for a type of task that such agents take."""

    KNOWLEDGE = "research"
    PLANNER = "plan"
    BROWSER = "browse"
    CODE = "implement"
    ANALYST = "analyze"
    WRITER = "write"
    REVIEWER = "review"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What became of one task of a pattern."""

    task_id: str
    description: str
    agent: str | None
    success: bool
    output: Any
    error: str | None
    """Why there is no output."""
    cost_usd: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PatternResult(Sequence[StepResult]):
    """What became of a pattern: a sequence of its steps, in the order in which they were given."""

    run: Run
    steps: tuple[StepResult, ...]
    output: Any = None
    """What the aggregation made of them; the last output where there is none."""

    @property
    def success(self) -> bool:
        """Whether everything was done."""
        return self.run.state == "done"

    def __getitem__(self, index: Any) -> Any:
        return self.steps[index]

    def __len__(self) -> int:
        return len(self.steps)


class AgentOrchestrator:
    """Lets agents work together in one of four patterns.

    Args:
        agents: As for Engine.
        options: As for Engine: model, ledger, data, validators, limits, backend and so on.

    >>> import asyncio
    >>> from kapelle import SqliteLedger, agent
    >>> @agent(task_types=["research"], cost_usd=0.001)
    ... async def scholar(task):
    ...     return task.description.upper()
    >>> orchestrator = AgentOrchestrator([scholar], model="none", ledger=SqliteLedger(":memory:"))
    >>> steps = [{"agent_type": AgentType.KNOWLEDGE, "description": word} for word in ("one", "two")]
    >>> [step.output for step in asyncio.run(orchestrator.execute_parallel(steps))]
    ['ONE', 'TWO']
    """

    def __init__(self, agents: AgentRegistry | Iterable[AgentLike] = (), **options: Any) -> None:
        self._aggregator = Aggregator()
        registry = register_agents(agents).with_agent(CARD, self._aggregator)
        self.engine = Engine(registry, **options)

    async def execute_sequential(
        self, tasks: Sequence[Mapping[str, Any]], *, strict: bool = True, **terms: Any
    ) -> PatternResult:
        """Do tasks one after the other; each is given the outputs of all before it.

        Args:
            tasks: Each with a `description` and an `agent_type` (an AgentType, or any type of task), or an `agent` by
                its id; `inputs` and the other fields of a Task may be added.
            strict: A failure ends it there; if not, the others go on without that output.
            terms: budget_usd, deadline_s, min_quality, max_tokens, on_event: as for Engine.run.

        Raises:
            InvalidInput: a task is malformed, or nobody can do it. Nothing has run.
        """
        made = [self._task(one, number) for number, one in enumerate(_checked(tasks))]
        policy: Literal["fail", "continue"] = "fail" if strict else "continue"
        chained = [
            replace(task, depends_on=tuple(before.task_id for before in made[:number]), on_failure=policy)
            for number, task in enumerate(made)
        ]
        return await self._run("sequential", chained, chained, terms)

    async def execute_parallel(self, tasks: Sequence[Mapping[str, Any]], **terms: Any) -> PatternResult:
        """Do tasks at the same time, as far as their agents have places; one that fails leaves the others.

        Raises:
            InvalidInput: as for `execute_sequential`.
        """
        made = [self._task(one, number) for number, one in enumerate(_checked(tasks))]
        return await self._run("parallel", made, made, terms)

    async def execute_hierarchical(
        self,
        main_task: str,
        subtasks: Sequence[Mapping[str, Any]] | None = None,
        aggregation_strategy: Aggregation = "merge",
        **terms: Any,
    ) -> PatternResult:
        """Do the parts of a task, and put their results together.

        What some parts could not do is missing from the result, and told; only if all fail there is none.

        Args:
            main_task: What it is all for, in words.
            subtasks: As for `execute_sequential`; they may depend on each other by `task_id` and `depends_on`. None
                lets the engine's planner find them.
            aggregation_strategy: merge, concatenate, summarise, best; or a function of a mapping of ids to results.

        Raises:
            InvalidInput: as for `execute_sequential`; or there is no such aggregation.
        """
        if not callable(aggregation_strategy) and aggregation_strategy not in _NAMES:
            raise InvalidInput(
                f"There is no aggregation {aggregation_strategy!r:.40}. Use one of {', '.join(_NAMES)}, or a function."
            )
        if subtasks is None:
            proposal = await self.engine.plan(main_task)
            parts = list(proposal.plan.graph)
            ends = list(proposal.plan.graph.sinks)
        else:
            parts = [self._task(one, number) for number, one in enumerate(_checked(subtasks))]
            ends = [part.task_id for part in parts]
        whole = self._aggregation(main_task, aggregation_strategy, parts, ends)
        return await self._run(main_task, [*parts, whole], parts, terms, output_of=whole.task_id)

    async def execute_consensus(
        self,
        task: str,
        agents: Sequence[AgentType | str],
        min_agreement: float = 0.5,
        *,
        weighted: bool = True,
        inputs: Mapping[str, Any] | None = None,
        **terms: Any,
    ) -> Consensus:
        """Ask several agents the same, and return what they agree on.

        Args:
            task: The question.
            inputs: What the question is about, as data: braces in it are no references.
            agents: Kinds of agents, or their ids. A kind that is named several times means so many different agents;
                where there are fewer of it, some are asked more than once.
            min_agreement: Share of the weight of all votes that the winner needs.
            weighted: Agents count by how often the ledger says that they are right; if not, all count the same.

        Raises:
            InvalidInput: there is nobody to ask, or a share lies outside 0..1. Nothing has run.
        """
        check_agreement(min_agreement)
        # There is no task before a vote whose output a reference could mean.
        voters = self._voters(task, agents, change_texts(inputs or {}, escape_braces))
        weights = {voter.task_id: self._weight(voter) for voter in voters} if weighted else {}
        count = Task(
            task_id="count",
            task_type="aggregate:vote",
            description=f"Count the votes: {task}",
            depends_on=tuple(voter.task_id for voter in voters),
            inputs={"min_agreement": min_agreement, "weights": weights},
            needs="some",
        )
        found = await self._run(task, [*voters, count], voters, terms, output_of="count")
        if found.run.tasks["count"].state == "done":
            return Consensus(**found.output)
        return Consensus(  # nobody said anything
            winner=None,
            reached=False,
            agreement=0.0,
            votes={},
            voters={},
            abstained={step.task_id: step.error or "It did not run." for step in found},
            tie=False,
        )

    async def _run(
        self,
        request: str,
        tasks: Sequence[Task],
        steps: Sequence[Task],
        terms: Mapping[str, Any],
        *,
        output_of: str | None = None,
    ) -> PatternResult:
        plan = Plan(request=request, graph=TaskDAG(tasks), planner="pattern")
        run = await self.engine.run(plan, **terms)
        results = tuple(_step(run, task) for task in steps)
        last = output_of or steps[-1].task_id
        return PatternResult(run=run, steps=results, output=run.results.get(last))

    def _task(self, given: Mapping[str, Any], number: int) -> Task:
        """Return a task of the form that the documents give."""
        fields = dict(given)
        kind, agent_id = fields.pop("agent_type", None), fields.pop("agent", None)
        metadata = dict(fields.pop("metadata", {}))
        if agent_id is not None:
            metadata["agent"] = agent_id
            kind = kind or self._kind_of(str(agent_id))
        if not isinstance(kind, str) or not kind:
            raise InvalidInput(f"Task {number + 1} says neither agent_type nor agent: {dict(given)!r:.120}. Add one.")
        fields.setdefault("task_id", f"step_{number + 1}")
        return Task.from_dict({**fields, "task_type": str(kind), "metadata": metadata})

    def _kind_of(self, agent_id: str) -> str:
        card = self.engine.team.registry.get(agent_id)
        if card is None:
            known = ", ".join(self.engine.team.registry) or "none"
            raise InvalidInput(f"There is no agent {agent_id!r}. There are: {known}.")
        return next((kind for kind in card.task_types if kind != "*"), "task")

    def _aggregation(self, main_task: str, how: Aggregation, parts: Sequence[Task], ends: Sequence[str]) -> Task:
        inputs: dict[str, Any] = {}
        if callable(how):
            name = getattr(how, "__qualname__", type(how).__name__)
            self._aggregator.functions[name] = how
            kind, inputs = "aggregate:custom", {"function": name}
        elif how in ("summarise", "summarize"):
            kind = "summarize"
        else:
            kind = f"aggregate:{how}"
            if how == "best":
                inputs = {"weights": {part.task_id: self._weight(part) for part in parts}}
        taken = {part.task_id for part in parts}
        name = next(one for one in ("whole", "whole_of_it", "whole_of_all_parts") if one not in taken)
        return Task(
            task_id=name,
            task_type=kind,
            description=main_task,
            depends_on=tuple(ends),
            inputs=inputs,
            needs="some" if len(ends) > 1 else "all",
        )

    def _voters(self, question: str, agents: Sequence[AgentType | str], inputs: dict[str, Any]) -> list[Task]:
        if not agents or isinstance(agents, str):
            raise InvalidInput("A consensus needs agents to ask. Name some: agents=[AgentType.KNOWLEDGE, ...].")
        registry = self.engine.team.registry.runnable()
        turns: dict[str, int] = {}
        voters = []
        for number, wanted in enumerate(agents, start=1):
            if wanted in registry:
                chosen, kind = registry[wanted], self._kind_of(wanted)
            else:
                kind = str(wanted)
                able = self._able(registry, kind)
                chosen = able[turns.get(kind, 0) % len(able)]
                turns[kind] = turns.get(kind, 0) + 1
            voters.append(
                Task(
                    task_id=f"vote_{number}",
                    task_type=kind,
                    description=question,
                    inputs=inputs,
                    metadata={"agent": chosen.agent_id},
                )
            )
        return voters

    def _able(self, registry: AgentRegistry, kind: str) -> list[AgentCapability]:
        probe = Task(task_id="probe", task_type=kind)
        able = [card for card in registry.values() if card.takes(probe)]
        if not able:
            kinds = ", ".join(registry.task_types)
            raise InvalidInput(f"No agent takes tasks of the kind {kind!r}. There are agents for: {kinds}.")
        rates = {card.agent_id: self._rate(card.agent_id, kind) for card in able}
        return sorted(able, key=lambda card: -rates[card.agent_id])

    def _rate(self, agent_id: str, kind: str) -> float:
        return self.engine.profiler.estimate(self.engine.team.registry[agent_id], kind).success_rate

    def _weight(self, task: Task) -> float:
        agent_id = task.metadata.get("agent")
        if isinstance(agent_id, str) and agent_id in self.engine.team.registry:
            return weight_of(self._rate(agent_id, task.task_type))
        able = [card for card in self.engine.team.registry.runnable().values() if card.takes(task)]
        return max((weight_of(self._rate(card.agent_id, task.task_type)) for card in able), default=1.0)


def _checked(tasks: object) -> Sequence[Mapping[str, Any]]:
    if isinstance(tasks, (str, Mapping)) or not isinstance(tasks, Sequence) or not tasks:
        raise InvalidInput("A pattern needs a list of tasks, such as [{'agent_type': ..., 'description': ...}].")
    for number, one in enumerate(tasks, start=1):
        if not isinstance(one, Mapping):
            raise InvalidInput(f"Task {number} is {one!r:.80}; give a mapping with agent_type and description.")
    return cast(Sequence[Mapping[str, Any]], tasks)


def _step(run: Run, task: Task) -> StepResult:
    became = run.tasks[task.task_id]
    done = became.state == "done"
    return StepResult(
        task_id=task.task_id,
        description=task.description,
        agent=became.agent,
        success=done,
        output=became.output if done else None,
        error=None if done else became.reason or f"It is {became.state}.",
        cost_usd=became.cost_usd,
    )
