"""Who works for an engine: the user's agents, those that need no model, and the documented ones where a model is found.

The engine's page stays a page because all of what depends on the machine and the environment is settled here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kapelle.agents import WRITTEN_TYPES, Agent, AgentCapability, AgentRegistry, ModelAgent, RegisteredAgent, as_agent
from kapelle.errors import InvalidAgents, InvalidInput, NotFound, UnknownPrice
from kapelle.execution import Replanner
from kapelle.graph import Task
from kapelle.models import ModelClient, PriceTable, describe_model, find_model
from kapelle.planning import (
    EXPAND_TYPE,
    FOR_EACH_CARD,
    FallbackPlanner,
    ForEachAgent,
    HTDAGPlanner,
    ModelPlanner,
    OverTables,
    Planner,
    RulePlanner,
)
from kapelle.routing import RoutingRule
from kapelle.validation import mend_draft

if TYPE_CHECKING:
    from kapelle.local import LocalFolder
    from kapelle.planning import GatedPlanner

AgentLike = RegisteredAgent | Agent | Callable[..., Any] | tuple[AgentCapability, Any]
"""What `agents=` takes, one by one: a function, with `@agent` above it or without; an object with `async run(task,
context)`; a pydantic-ai Agent; or any of these in a pair with its AgentCapability."""
CONTROL_SHARE = 0.05
"""Of the requests to a model; KAPELLE_CONTROL_SHARE changes it, 0 turns it off."""
TASK_TOKENS = (2_000, 700)
"""Input and output tokens that one task of a model's agent is taken for until outcomes say better."""
PLANNING_TOKENS = (6_000, 8_000)
"""Input and output tokens that are set aside for the call that plans, and for asking once more: its limit, twice."""
DATA_TYPES = ("lookup", "search", "research", "sql", "query", "aggregate", "count")
"""Work that the folder a user gave is asked for first."""
EXACT_TYPES = ("compare", "combine", "join", "python", "compute", "calculate")
"""Work on what a folder gave in which a program makes no mistakes; what it cannot do it refuses."""
HARMLESS_TYPES = WRITTEN_TYPES.union(DATA_TYPES, EXACT_TYPES)
"""Work that changes nothing outside, so that a word near it may be read as it."""


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
    from kapelle.local import LocalFolder, refuses_table_questions  # 40 ms, and no one else needs it

    prices = PriceTable.from_environment(environ)
    unpriced = own.with_prices(prices).find_unpriced()
    folder = LocalFolder.of(_check_folder(data))
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
            planner=OverTables(rule_planner, refuses_table_questions(folder)),
            rules=rules,
            model_name=None,
            model_note="No model is configured: requests are split by rules, and agents that need none do the work.",
            unpriced=unpriced,
            has_data=folder is not None,
            notes=_notes_on(folder),
        )
        return team
    share = _control_share(environ)
    planner = _model_planner(client, rule_planner, folder, environ, lambda: team.registry)
    price = price_of_planning(client, environ)
    registry = registry.with_agent(_planner_card(client, price), planner)
    team = Team(
        registry=own.merged(registry.without(own)).with_prices(prices),
        planner=planner,
        # One agent gets a request whole only where no agent of the user's own, and no folder, could be wanted for it.
        gated=None if own or folder is not None else _gated(planner, share),
        replanner=planner,
        rules=rules,
        model_name=client.model,
        client=client,
        model_note=describe_model(model, environ) if not isinstance(model, ModelClient) else f"model {client.model}",
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
        local = [(_beside_a_model(card, has_data=folder is not None), runner) for card, runner in local]
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
    return _with_model(_beside(own, AgentRegistry.default()), client, environ, has_data=has_data)


def _rule_planner(own: AgentRegistry, folder: LocalFolder | None) -> RulePlanner:
    from kapelle.local import folder_files, understands_table_questions

    answers = understands_table_questions(folder)
    if answers is None and folder is not None and not any(_asks_tables(card) for card in own.values()):
        answers = _no_tables  # "how many days of leave" is then for the documents
    return RulePlanner(answers_from_tables=answers, files=folder_files(folder))


def _model_planner(
    client: ModelClient,
    rule_planner: RulePlanner,
    folder: LocalFolder | None,
    environ: Mapping[str, str],
    everyone: Callable[[], AgentRegistry],
) -> HTDAGPlanner:
    """Who plans with a model: rules first, where they understand a request to its last word and the folder answers."""
    from kapelle.local import folder_answers

    with_rules = FallbackPlanner(
        _level_planner(client, environ),
        rule_planner,
        # Who says how the model is to plan wants it to plan.
        answers=None if environ.get("KAPELLE_PLANNER", "").strip() else folder_answers(folder),
        kinds=HARMLESS_TYPES.union(FOR_EACH_CARD.task_types),
        asks_folder=DATA_TYPES if folder is not None else (),
        writes=WRITTEN_TYPES,
    )
    return HTDAGPlanner(with_rules, everyone)


def _gated(planner: HTDAGPlanner, share: float) -> GatedPlanner:
    from kapelle.planning import Gate, GatedPlanner  # only where a model plans

    return GatedPlanner(planner, Gate(control_share=share))


def _notes_on(folder: LocalFolder | None) -> tuple[str, ...]:
    """What the user should know of the folder."""
    from kapelle.local import skipped_files, table_notes

    skipped = tuple(f"{left.file} was left out: {left.reason}" for left in skipped_files(folder))
    return (*skipped, *table_notes(folder))


def _asks_tables(card: AgentCapability) -> bool:
    return not {"sql", "query", "aggregate", "*"}.isdisjoint(card.task_types)


def _no_tables(_: str) -> bool:
    return False


def _level_planner(client: ModelClient, environ: Mapping[str, str]) -> Planner:
    """Who plans one level: a structured reply or, for models that write graphs better than JSON, a `<graph>`."""
    from kapelle.planning import GraphPlanner

    wanted = environ.get("KAPELLE_PLANNER", "").strip() or "structured"
    if wanted not in ("structured", "graph"):
        raise InvalidInput(f"KAPELLE_PLANNER={wanted!r:.40} is no planner. Use 'structured' or 'graph'.")
    return GraphPlanner(client, mend=mend_draft) if wanted == "graph" else ModelPlanner(client, mend=mend_draft)


def _control_share(environ: Mapping[str, str]) -> float:
    """The share of requests that one agent gets whole, so that the ledger can tell what planning gains."""
    text = environ.get("KAPELLE_CONTROL_SHARE", "").strip()
    try:
        share = float(text or CONTROL_SHARE)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InvalidInput(f"KAPELLE_CONTROL_SHARE={text!r:.40} is no share. Give a number from 0 to 1.")
    return share


def _planner_card(client: ModelClient, price: float | None) -> AgentCapability:
    return AgentCapability(
        agent_id="planner",
        task_types=(EXPAND_TYPE,),
        skills=frozenset({"planning"}),
        model=client.model,
        cost_usd=price,
        description="Plans, while the request runs, a part whose tasks depend on earlier results. Say in the "
        "description what is to be reached; depend on the tasks whose results it needs.",
    )


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


def _check_folder(data: Path | str | None) -> Path | None:
    if data is None:
        return None
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise NotFound(f"There is no folder {str(data)!r}. Name a folder of documents and tables with --data.")
    return folder


def _beside(own: AgentRegistry, roster: AgentRegistry) -> AgentRegistry:
    """The documented agents, for work that no agent of the user's own declares: who brings an agent wants it asked."""
    cards = []
    for card in roster.values():
        kept = tuple(kind for kind in card.task_types if kind not in own.task_types)
        if kept:
            cards.append(replace(card, task_types=kept))
    return AgentRegistry(cards)


def _with_model(
    roster: AgentRegistry, client: ModelClient, environ: Mapping[str, str], *, has_data: bool
) -> AgentRegistry:
    """The documented agents on a model; where there is a folder, what they write is held to what that gave."""
    from kapelle.local import FaithfulAgent  # as above

    price = _try_price(client, environ, TASK_TOKENS)
    cards = [replace(card, model=client.model, cost_usd=price) for card in roster.values()]

    def on_model(card: AgentCapability) -> ModelAgent:
        words = _instructions(card)
        return FaithfulAgent(client, words) if has_data else ModelAgent(client, words)

    return AgentRegistry(cards, runners={card.agent_id: on_model(card) for card in cards})


def _beside_a_model(card: AgentCapability, *, has_data: bool) -> AgentCapability:
    """What a local agent takes where a model is there too. A model writes better than a template, and nothing measures
    yet how much better, so price alone must not decide: the template only joins. What a folder gave it compares too."""
    exact = EXACT_TYPES if has_data else ()
    kept = tuple(kind for kind in card.task_types if kind not in WRITTEN_TYPES or kind in exact)
    return replace(card, task_types=kept)


def _instructions(card: AgentCapability) -> str:
    role = card.agent_id.removesuffix("_agent").replace("_", " ")
    return (
        f"You are the {role} of a team. {card.description} Your skills: {', '.join(sorted(card.skills))}.\n"
        "Do the task you are given, and only that. Use the results of earlier tasks as they are; do not invent facts. "
        "Answer with the result itself, without preamble."
    )


def _try_price(client: ModelClient, environ: Mapping[str, str], tokens: tuple[int, int]) -> float | None:
    """Dollars for a call of so many tokens; None where no table knows the model: then its own reports must tell."""
    try:
        return PriceTable.from_environment(environ).estimate_usd(
            client.model,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            base_url=getattr(client, "base_url", None),
        )
    except UnknownPrice:
        return None


def price_of_planning(client: ModelClient, environ: Mapping[str, str]) -> float | None:
    """Dollars to set aside for a plan, or for a look at one; None where no table knows the model."""
    return _try_price(client, environ, PLANNING_TOKENS)


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
