"""Who works for an engine: the user's agents, those that need no model, and the documented ones where a model is found.

The engine's page stays a page because all of what depends on the machine and the environment is settled here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kapelle.agents import Agent, AgentCapability, AgentRegistry, RegisteredAgent, as_agent
from kapelle.errors import InvalidAgents, NotFound, UnknownPrice
from kapelle.execution import Replanner
from kapelle.graph import Task
from kapelle.models import PriceTable, find_model
from kapelle.planning import FOR_EACH_CARD, ForEachAgent, Planner, RulePlanner
from kapelle.routing import RoutingRule

from .kinds_of_work import DATA_TYPES, EXACT_TYPES

if TYPE_CHECKING:
    from kapelle.local import LocalFolder
    from kapelle.models import ModelClient
    from kapelle.planning import GatedPlanner, OverTables

AgentLike = RegisteredAgent | Agent | Callable[..., Any] | tuple[AgentCapability, Any]
"""What `agents=` takes, one by one: a function, with `@agent` above it or without; an object with `async run(task,
context)`; a pydantic-ai Agent; or any of these in a pair with its AgentCapability."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """Everyone who can take part in a run, and who plans it."""

    registry: AgentRegistry
    planner: Planner
    gated: GatedPlanner | None = None
    """The planner behind the gate, for a request's first plan; None where no gate is."""
    replanner: Replanner | None = None
    """Who plans the work of a failed task anew."""
    rules: tuple[RoutingRule, ...]
    model_name: str | None
    """`provider:name`; None without a model."""
    client: ModelClient | None = None
    """That model."""
    model_note: str
    """Which model was found and where, in a line for people."""
    planning_cost_usd: float = 0.0
    """Dollars to set aside for planning."""
    planning_is_priced: bool = True
    """Whether that is the price; False where no table knows the model, and its own reports must tell."""
    planning_tokens: int = 0
    call_timeout_s: float | None = None
    """Seconds that one call of the model may take; None without a model, or where its client does not say."""
    unpriced: Mapping[str, str] = field(default_factory=dict)
    """The user's agents that run on a model whose price is not known, with that model."""
    has_data: bool = False
    notes: tuple[str, ...] = ()
    """What the user should know of the folder: files that were left out, and why, and doubts about tables."""

    def check_prices(self, tasks: Iterable[Task] | None = None) -> None:
        """Check that the price of every agent's model is known: a budget over an unknown one would hold nothing.

        Args:
            tasks: What is to be done; None if that is not known yet, so that anybody may be asked.

        Raises:
            UnknownPrice: one is not, and the agent's card declares no price either.
        """
        wanted = None if tasks is None else tuple(tasks)
        for agent_id, model in self.unpriced.items():
            if wanted is None or any(self.registry[agent_id].takes(task) for task in wanted):
                raise UnknownPrice(model, agent=agent_id)

    def rules_after(self, own: Iterable[RoutingRule] | None) -> tuple[RoutingRule, ...]:
        """Return the rules of the user's, and after them those of the team about tasks that they do not speak of."""
        orders = tuple(own or ())
        names = {rule.rule_id for rule in orders}
        least = min((rule.priority for rule in orders), default=0)
        return (*orders, *(replace(rule, priority=least) for rule in self.rules if rule.rule_id not in names))

    def hint_for(self, task: Task) -> str:
        """What else would help where nobody can do a task; empty if nothing comes to mind."""
        if not self.has_data and task.task_type in DATA_TYPES:
            return " Or name a folder of documents and tables to look in: --data FOLDER, or Engine(data=...)."
        return ""


def assemble_team(
    own: AgentRegistry,
    *,
    data: Path | str | None,
    model: str | ModelClient | None,
    environ: Mapping[str, str],
    attended: bool = False,
) -> Team:
    """Return the agents and the planner for what is configured.

    Args:
        attended: Whether somebody is there to be asked which of several readings is meant.

    Raises:
        NotFound: the data folder does not exist.
        InvalidInput: the model or its settings in the environment are wrong.
    """
    prices = PriceTable.from_environment(environ)
    unpriced = own.with_prices(prices).find_unpriced()
    folder = _open_folder(data)
    client = find_model(model, environ) if model is None or isinstance(model, str) else model
    local = _local_agents(own, folder, client, attended=attended)
    registry = _roster(own, client, environ, has_data=folder is not None)
    for capability, runner in local:
        registry = registry.with_agent(capability, runner)
    rule_planner = _rule_planner(own, folder)
    # Planning agents need to know who is there, themselves included: they ask when they are asked.
    registry = registry.with_agent(FOR_EACH_CARD, ForEachAgent(rule_planner, lambda: team.registry))
    rules = tuple(_data_rules(own, [capability for capability, _ in local])) if folder is not None else ()
    if client is None:
        team = Team(
            registry=own.merged(registry.without(own)).with_prices(prices),
            planner=rule_planner if folder is None else _over_tables(rule_planner, folder),
            rules=rules,
            model_name=None,
            model_note="No model is configured: requests are split by rules, and agents that need none do the work.",
            unpriced=unpriced,
            has_data=folder is not None,
            notes=_notes_on(folder),
        )
        return team
    from kapelle.models import describe_model

    from .model_team import PLANNING_TOKENS, control_share, gate, make_planner, planner_card, price_of_planning

    share = control_share(environ)
    planner = make_planner(client, rule_planner, folder, environ, lambda: team.registry)
    price = price_of_planning(client, environ)
    registry = registry.with_agent(planner_card(client, price), planner)
    team = Team(
        registry=own.merged(registry.without(own)).with_prices(prices),
        planner=planner,
        # One agent gets a request whole only where no agent of the user's own, and no folder, could be wanted for it.
        gated=None if own or folder is not None else gate(planner, share),
        replanner=planner,
        rules=rules,
        model_name=client.model,
        client=client,
        model_note=describe_model(model, environ)
        if model is None or isinstance(model, str)
        else f"model {client.model}",
        planning_cost_usd=price or 0.0,
        planning_is_priced=price is not None,
        planning_tokens=sum(PLANNING_TOKENS),
        call_timeout_s=getattr(client, "timeout_s", None),
        unpriced=unpriced,
        has_data=folder is not None,
        notes=_notes_on(folder),
    )
    return team


def _local_agents(
    own: AgentRegistry, folder: LocalFolder | None, client: ModelClient | None, *, attended: bool
) -> list[tuple[AgentCapability, Agent]]:
    """The agents that need no model, as far as they are wanted beside one."""
    from kapelle.local import local_agents

    local = local_agents(folder, client, attended=attended)
    if client is not None:
        from .model_team import beside_a_model

        local = [(beside_a_model(card, has_data=folder is not None), runner) for card, runner in local]
    for card in (*(card for card, _ in local), FOR_EACH_CARD):
        if card.agent_id in own:
            raise InvalidAgents(f"Your agent {card.agent_id!r} has the id of one of kapelle's own. Rename it.")
    return local


def _roster(
    own: AgentRegistry, client: ModelClient | None, environ: Mapping[str, str], *, has_data: bool
) -> AgentRegistry:
    """The documented agents; without a model they are known to planning and routing, though nothing runs them."""
    if client is None:
        return AgentRegistry.default()
    from .model_team import roster_on_model

    return roster_on_model(own, client, environ, has_data=has_data)


def _rule_planner(own: AgentRegistry, folder: LocalFolder | None) -> RulePlanner:
    if folder is None:
        return RulePlanner()
    from kapelle.local import folder_files, understands_table_questions

    answers = understands_table_questions(folder)
    if answers is None and not any(_asks_tables(card) for card in own.values()):
        answers = _no_tables  # "how many days of leave" is then for the documents
    return RulePlanner(answers_from_tables=answers, files=folder_files(folder))


def _notes_on(folder: LocalFolder | None) -> tuple[str, ...]:
    """What the user should know of the folder."""
    if folder is None:
        return ()
    from kapelle.local import skipped_files, table_notes

    skipped = tuple(f"{left.file} was left out: {left.reason}" for left in skipped_files(folder))
    return (*skipped, *table_notes(folder))


def _asks_tables(card: AgentCapability) -> bool:
    return not {"sql", "query", "aggregate", "*"}.isdisjoint(card.task_types)


def _no_tables(_: str) -> bool:
    return False


def register_agents(agents: AgentRegistry | Iterable[AgentLike]) -> AgentRegistry:
    """Return a registry of what a user gave as agents.

    Raises:
        InvalidAgents: one is no agent, or two share an id.
    """
    if isinstance(agents, AgentRegistry):
        return agents
    pairs: list[tuple[AgentCapability, Agent]] = []
    for entry in agents:
        if isinstance(entry, RegisteredAgent):
            pairs.append((entry.capability, entry))
        elif isinstance(entry, tuple):
            if len(entry) != 2 or not isinstance(entry[0], AgentCapability):
                raise InvalidAgents(f"{entry!r:.80} is no agent. A pair is (AgentCapability, what runs it).")
            pairs.append((entry[0], as_agent(entry[1])))
        else:
            runner = as_agent(entry)
            name = getattr(entry, "__name__", None) or getattr(entry, "name", None) or type(entry).__name__
            pairs.append((AgentCapability(agent_id=str(name), task_types=("*",), cost_tier="free"), runner))
    return AgentRegistry(
        (capability for capability, _ in pairs), runners={capability.agent_id: runner for capability, runner in pairs}
    )


def _open_folder(data: Path | str | None) -> LocalFolder | None:
    if data is None:
        return None
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise NotFound(f"There is no folder {str(data)!r}. Name a folder of documents and tables with --data.")
    from kapelle.local import LocalFolder  # 40 ms, and no one else needs it

    return LocalFolder.of(folder)


def _over_tables(planner: Planner, folder: LocalFolder) -> OverTables:
    from kapelle.local import refuses_table_questions
    from kapelle.planning import OverTables

    return OverTables(planner, refuses_table_questions(folder))


def _data_rules(own: AgentRegistry, local: list[AgentCapability]) -> Iterator[RoutingRule]:
    """Who gave a folder wants it asked first, unless an agent of their own takes that kind of work."""
    reasons = {
        **dict.fromkeys(DATA_TYPES, "the folder that was given is asked first"),
        **dict.fromkeys(EXACT_TYPES, "what the folder gives is put together and calculated with by a program first"),
    }
    for kind, reason in reasons.items():
        card = next((card for card in local if kind in card.task_types), None)
        if card is not None and kind not in own.task_types:
            yield RoutingRule(
                rule_id=f"folder-first-{kind}", task_types=(kind,), agent_id=card.agent_id, reason=reason, firm=True
            )
