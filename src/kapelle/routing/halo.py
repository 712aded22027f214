"""HALORouter: chooses an agent for every task of a graph, and says why. Runs nothing, and knows nothing of prices.

The decision itself is a pure function (see decision). The router adds what has effects: it calls the cost optimiser it
was handed, and asks an agent creator for an agent where no one can do a task. If either fails, the plan without it
stands, and says so.

The name is the documented one. HALO's paper (arXiv:2505.13516) plans with three levels of agents and searches over
roles; it has no rule-based routing. The declarative router with reasons is our own design.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from kapelle.agents import Agent, AgentCapability, AgentRegistry
from kapelle.errors import InvalidAgents, InvalidGraph
from kapelle.graph import Task, TaskDAG
from kapelle.redaction import get_logger

from .decision import NAMED, Choice, choose_agent, choose_agents, named_agent
from .plan import RoutedPlan, RoutedTask, RoutingPlan, agents_named
from .rules import RoutingRule, check_rule_ids

logger = get_logger("kapelle.halo_router")


class OptimizedAssignments(Protocol):
    """What an optimiser gives back. `kapelle.allocation.OptimizedPlan` is one."""

    @property
    def assignments(self) -> Mapping[str, str]: ...
    @property
    def estimated_cost(self) -> float: ...
    @property
    def estimated_time(self) -> float: ...
    @property
    def quality_score(self) -> float: ...
    @property
    def cost_savings(self) -> float: ...
    @property
    def optimization_details(self) -> Mapping[str, Any]: ...


class PlanOptimizer(Protocol):
    """Moves tasks to other agents so that the plan costs less. `kapelle.allocation.DAAOOptimizer` is one."""

    async def optimize_routing_plan(
        self, initial_plan: Any, dag: TaskDAG, constraints: Any = None
    ) -> OptimizedAssignments: ...


@runtime_checkable
class _HasRegistry(Protocol):
    agent_registry: Mapping[str, AgentCapability]


class AgentCreator(Protocol):
    """Makes an agent for a task that nobody can do."""

    async def create_agent_for_task(self, task_description: str, context: dict[str, Any]) -> Any:
        """Return a new agent; `context` holds the task's type, requirements, inputs and metadata."""
        ...

    def convert_to_agent_capability(self, agent: Any) -> AgentCapability:
        """Return what that agent can do."""
        ...


class HALORouter:
    """Chooses an agent for every task: rules first, then capabilities, then load.

    Without `rules`, the rules for the documented agents hold as long as the registry has no other agents; among other
    agents, capabilities decide. Without a `daao_optimizer`, `enable_cost_optimization` changes nothing.

    >>> import asyncio
    >>> dag = TaskDAG([Task(task_id="t1", task_type="deploy")])
    >>> plan = asyncio.run(HALORouter().route_tasks(dag))
    >>> print(plan.assignments["t1"], "-", plan.explanations["t1"])
    deploy_agent - Rule 'operation-to-deploy' sends 'deploy' tasks to deploy_agent: bringing software into operation \
is its trade. No other agent could.
    """

    def __init__(
        self,
        agent_registry: AgentRegistry | None = None,
        rules: Iterable[RoutingRule] | None = None,
        enable_cost_optimization: bool = False,
        cost_profiler: object | None = None,
        daao_optimizer: PlanOptimizer | None = None,
        agent_creator: AgentCreator | None = None,
        *,
        pin_rules: bool = False,
    ) -> None:
        self.pin_rules = pin_rules
        """Whether what a rule decides is final: then no cost optimiser moves the task elsewhere."""
        self.agent_registry = AgentRegistry.default() if agent_registry is None else agent_registry
        """The agents it chooses from. An immutable value: an agent that is created makes a new registry."""
        self.rules = _rules_for(self.agent_registry) if rules is None else tuple(rules)
        check_rule_ids(self.rules)
        if rules is not None:
            _warn_of_absent_agents(self.rules, self.agent_registry)
        self.enable_cost_optimization = enable_cost_optimization
        self.cost_profiler = cost_profiler
        """Kept for those who ask the router for it; the router itself reads no prices."""
        self.daao_optimizer = daao_optimizer
        self.agent_creator = agent_creator

    async def route_tasks(
        self,
        dag: TaskDAG,
        available_agents: Iterable[str] | None = None,
        optimization_constraints: Any = None,
        agent_creator: AgentCreator | None = None,
        *,
        estimates: Any = None,
    ) -> RoutingPlan:
        """Choose an agent for every task of the graph.

        Args:
            dag: The tasks. Their order does not matter.
            available_agents: Ids of the agents to choose from; None means all.
            optimization_constraints: Handed to the optimiser as it is; none is called without one.
            agent_creator: Beats the one that the router was built with.
            estimates: What the tasks are expected to take, for an optimiser that takes it; handed on as it is.

        Raises:
            InvalidAgents: `available_agents` names an agent that the registry does not have.
        """
        levels = [[dag[task_id] for task_id in level] for level in dag.levels()]
        plan = await self._route(levels, available_agents, agent_creator or self.agent_creator)
        if self.enable_cost_optimization and plan.tasks:
            if self.daao_optimizer is None:
                logger.info("Cost optimisation is enabled, but no optimiser was given; the plan stands as routed.")
            else:
                allowed = self._available(available_agents)
                known = {} if estimates is None else {"estimates": estimates}
                plan = await _optimize(
                    plan, dag, self.daao_optimizer, optimization_constraints, self.agent_registry, allowed, known
                )
        return plan.opened()

    async def route_batch(self, tasks: Sequence[Task]) -> RoutingPlan:
        """Choose agents for tasks that do not depend on each other, and would run at the same time.

        The documented pseudo-code also executes them. Execution is not the router's: validate the plan, and run that.

        Raises:
            InvalidGraph: two tasks share an id, or one depends on another.
        """
        ids = {task.task_id for task in tasks}
        if len(ids) < len(tasks):
            raise InvalidGraph("Two tasks of the batch have the same id. Rename one.")
        for task in tasks:
            inside = ids.intersection(task.dependencies)
            if inside:
                raise InvalidGraph(
                    f"Task {task.task_id!r} depends on {min(inside)!r} in the same batch. Use route_tasks with a graph."
                )
        plan = await self._route([tasks], None, self.agent_creator)
        return plan.opened()

    def find_pinned(self, tasks: Iterable[Task]) -> frozenset[str]:
        """Return the ids of those whose agent is an order of the user's: it is named in the plan, or by a rule."""
        everyone = set(self.agent_registry)
        if not (self.pin_rules and self.rules):
            tasks = (task for task in tasks if named_agent(task) is not None)
        choices = (choose_agent(task, self.agent_registry, self.rules, everyone) for task in tasks)
        return frozenset(choice.task_id for choice in choices if self._is_order(choice))

    def find_firm(self, tasks: Iterable[Task], available_agents: Iterable[str] | None = None) -> dict[str, str]:
        """Return who is asked first for tasks that a firm rule speaks about, by task id: see RoutingRule."""
        available = self._available(available_agents)
        choices = [choose_agent(task, self.agent_registry, self.rules, available) for task in tasks]
        return {one.task_id: one.agent_id for one in choices if one.agent_id is not None and self._is_firm(one)}

    def _is_order(self, choice: Choice) -> bool:
        return choice.rule_id == NAMED or (self.pin_rules and choice.rule_id is not None and not self._is_firm(choice))

    def _is_firm(self, choice: Choice) -> bool:
        return any(rule.firm for rule in self.rules if rule.rule_id == choice.rule_id)

    def route_task(self, task: Task, available_agents: Iterable[str] | None = None) -> tuple[str | None, str]:
        """Choose an agent for one task by itself: the agent's id, or None, and the explanation."""
        return self._apply_routing_logic(task, available_agents)

    async def create_specialized_agent(self, task: Task, agent_creator: AgentCreator | None) -> str | None:
        """Have an agent made for a task that nobody can do, register it, and return its id.

        Returns None, with a warning logged, when there is no creator, when it fails, or when what it made cannot do
        the task: the task then stays unassigned, and everything else goes on.
        """
        if agent_creator is None:
            return None
        context = {
            "task_id": task.task_id,
            "task_type": task.task_type,
            "requirements": sorted(task.requirements),
            "inputs": dict(task.inputs),
            "metadata": dict(task.metadata),
        }
        try:
            agent = await agent_creator.create_agent_for_task(task.description or task.task_type, context)
            capability = agent_creator.convert_to_agent_capability(agent)
        except Exception:  # foreign code: whatever it raises must not stop the routing of the other tasks
            logger.warning("No agent could be created for task %r; it stays unassigned.", task.task_id, exc_info=True)
            return None
        refusal = _why_not_registered(task, capability, self.agent_registry)
        if refusal is not None:
            logger.warning("The agent created for task %r was refused: %s.", task.task_id, refusal)
            return None
        before = self.agent_registry
        self.agent_registry = before.with_agent(capability, agent if isinstance(agent, Agent) else None)
        if isinstance(self.daao_optimizer, _HasRegistry) and self.daao_optimizer.agent_registry is before:
            # It was built with this router's agents; without the new one it would refuse every plan that has it.
            self.daao_optimizer.agent_registry = self.agent_registry
        return capability.agent_id

    def _apply_routing_logic(self, task: Task, available_agents: Iterable[str] | None = None) -> tuple[str | None, str]:
        """Keep this name: documented code calls it."""
        choice = choose_agent(task, self.agent_registry, self.rules, self._available(available_agents))
        return choice.agent_id, choice.explanation

    async def _route(
        self,
        levels: Sequence[Sequence[Task]],
        available_agents: Iterable[str] | None,
        agent_creator: AgentCreator | None,
    ) -> RoutedPlan:
        available = self._available(available_agents)
        tasks = {task.task_id: task for level in levels for task in level}
        routed: dict[str, RoutedTask] = {}
        unassigned: dict[str, str] = {}
        for choice in choose_agents(levels, self.agent_registry, self.rules, available):
            agent_id, explanation = choice.agent_id, choice.explanation
            if agent_id is None and agent_creator is not None:
                agent_id, explanation = await self._find_or_create(
                    tasks[choice.task_id], agent_creator, available, explanation
                )
            if agent_id is None:
                unassigned[choice.task_id] = explanation
                continue
            pinned = self._is_order(choice)
            routed[choice.task_id] = RoutedTask(
                agent=agent_id, reason=explanation, pinned=pinned, firm=not pinned and self._is_firm(choice)
            )
        return RoutedPlan(tasks=routed, unassigned=unassigned)

    async def _find_or_create(
        self, task: Task, agent_creator: AgentCreator, available: set[str], missing: str
    ) -> tuple[str | None, str]:
        # An agent created for an earlier task of this plan may do this one as well.
        again = choose_agent(task, self.agent_registry, self.rules, available)
        if again.agent_id is not None:
            return again.agent_id, again.explanation
        agent_id = await self.create_specialized_agent(task, agent_creator)
        if agent_id is None:
            return None, f"{missing} An agent was to be created for it, but that failed; the log says why."
        available.add(agent_id)
        return agent_id, f"AATC created: {agent_id}. {missing}"

    def _available(self, available_agents: Iterable[str] | None) -> set[str]:
        if available_agents is None:
            return set(self.agent_registry)
        available = set(available_agents)
        unknown = sorted(available.difference(self.agent_registry))
        if unknown:
            known = ", ".join(self.agent_registry) or "none"
            raise InvalidAgents(f"There is no agent {unknown[0]!r} to make available. There are: {known}.")
        return available


async def _optimize(
    plan: RoutedPlan,
    dag: TaskDAG,
    optimizer: PlanOptimizer,
    constraints: Any,
    registry: AgentRegistry,
    available: set[str],
    known: Mapping[str, Any],
) -> RoutedPlan:
    """Return the optimiser's plan; the one given if it fails, or moves a task where it cannot be done."""
    pinned = plan.fixed
    try:
        optimize: Any = optimizer.optimize_routing_plan  # one of a user's own need not know of pins
        optimized = await optimize(
            initial_plan=dict(plan.assignments),
            dag=dag,
            constraints=constraints,
            **({"pinned": pinned} if pinned else {}),
            **known,
        )
        strategies = getattr(optimized, "strategies", None) or {}
        fault = _find_fault(optimized.assignments, strategies, plan, dag, registry, available)
        if fault is not None:
            raise InvalidAgents(fault)
        followed = plan.follow(optimized)
    except Exception as error:  # documented: the baseline stands whatever happens in the optimiser
        logger.warning("The cost optimiser failed, so the plan stands as routed: %s", error)
        return replace(plan, optimizer_error=f"{type(error).__name__}: {error}")
    if followed.optimizer_error is not None:
        logger.info("The cost optimiser's answer: %s; the plan stands as routed.", followed.optimizer_error)
    return followed


def _find_fault(
    assignments: Mapping[str, str],
    strategies: Mapping[str, Any],
    plan: RoutedPlan,
    dag: TaskDAG,
    registry: AgentRegistry,
    available: set[str],
) -> str | None:
    if set(assignments) != set(plan.assignments):
        return "the optimiser gave back another set of tasks than it was given"
    for task_id, strategy in strategies.items():
        if not agents_named(strategy):
            return f"the optimiser has task {task_id!r} done as {strategy!r:.60}, which is no strategy"
        absent = sorted(set(agents_named(strategy)) - available)
        if absent:
            return f"the optimiser has task {task_id!r} done as {strategy}, and {absent[0]!r} is not available"
    for task_id, agent_id in assignments.items():
        if agent_id == plan.assignments[task_id]:
            continue
        if agent_id not in available:
            return f"the optimiser moved task {task_id!r} to {agent_id!r}, which is not available"
        if not registry[agent_id].takes(dag[task_id]):
            return f"the optimiser moved task {task_id!r} to {agent_id!r}, which cannot do it"
    return None


def _why_not_registered(task: Task, capability: AgentCapability, registry: AgentRegistry) -> str | None:
    if not capability.takes(task):
        return (
            f"{capability.agent_id} takes {', '.join(capability.task_types)} with the skills "
            f"{', '.join(sorted(capability.skills)) or 'none'}, and the task is {task.task_type!r} "
            f"with the requirements {', '.join(sorted(task.requirements)) or 'none'}"
        )
    if capability.agent_id in registry and registry[capability.agent_id] != capability:
        return f"there is another agent with the id {capability.agent_id!r}"
    return None


def _warn_of_absent_agents(rules: Iterable[RoutingRule], registry: AgentRegistry) -> None:
    # No error: one file of rules may serve several registries, and agents can be created later.
    absent = [f"{rule.rule_id!r} ({rule.agent_id})" for rule in rules if rule.agent_id not in registry]
    if absent:
        logger.warning("These rules name agents that are not registered, and say nothing: %s.", ", ".join(absent))


def _rules_for(registry: AgentRegistry) -> tuple[RoutingRule, ...]:
    from .rule_file import default_rules  # an engine gives its own

    # The default rules speak for the documented agents; among a user's own they would overrule better fits.
    rules = default_rules()
    return rules if {rule.agent_id for rule in rules}.issuperset(registry) else ()
