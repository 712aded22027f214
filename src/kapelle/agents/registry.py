"""The agents of a run: what each can do, and what does its work. A value that is passed in, never a global."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kapelle.documents import read_text
from kapelle.errors import InvalidAgents, UnknownPrice
from kapelle.graph import Task
from kapelle.ledger import Usage

from .adapters import as_agent
from .agent import Agent
from .capability import AgentCapability
from .on_model import OnModel
from .roster import ROSTER
from .step_log import acts_in_steps
from .version import version_of

if TYPE_CHECKING:
    from kapelle.models import PriceTable


class AgentRegistry(Mapping[str, AgentCapability]):
    """Agents by id, in the order they were given. Immutable: `with_agent` returns a new registry.

    An entry may lack a runner: then plans can name it, be priced and validated, but not run.

    Raises:
        InvalidAgents: two agents share an id, or a runner has no capability.
    """

    def __init__(
        self, capabilities: Iterable[AgentCapability] = (), *, runners: Mapping[str, Agent] | None = None
    ) -> None:
        self._capabilities: dict[str, AgentCapability] = {}
        for capability in capabilities:
            if capability.agent_id in self._capabilities:
                raise InvalidAgents(f"Two agents have the id {capability.agent_id!r}. Rename one.")
            self._capabilities[capability.agent_id] = capability
        self._runners = dict(runners or {})
        self._prices: PriceTable | None = None
        self._for_kind: dict[tuple[str, frozenset[str]], tuple[AgentCapability, ...]] = {}
        """Who takes tasks of a type with some requirements, as far as that was asked: a registry never changes."""
        for agent_id in self._runners:
            if agent_id not in self._capabilities:
                raise InvalidAgents(f"The runner {agent_id!r} has no capability. Add an AgentCapability with that id.")

    @classmethod
    def default(cls) -> AgentRegistry:
        """Return the 15 documented agents, from analyst to SEO, without runners: a model gives them those."""
        return cls(ROSTER)

    @classmethod
    def from_yaml(
        cls, path: Path | str, *, runner: Callable[[AgentCapability, str], Agent] | None = None
    ) -> AgentRegistry:
        """Read agents from a YAML file: a list `agents`, each with the fields of AgentCapability.

        An agent is run by the Python object that its `run` names (`package.module:name`: a callable, an Agent or a
        pydantic-ai Agent), or by `runner(capability, instructions)`, which gives it a model.

        Raises:
            InvalidAgents: the file is malformed; the message names the agent and the field.
            NotFound: there is no such file.
        """
        from .agent_file import parse_agents

        capabilities, entries = parse_agents(read_text(path), place=str(path))
        runners: dict[str, Agent] = {}
        for capability, entry in zip(capabilities, entries, strict=True):
            if entry.run is not None:
                runners[capability.agent_id] = _import_runner(entry.run, place=f"{path}, agent {entry.agent_id!r}")
            elif runner is not None:
                runners[capability.agent_id] = runner(capability, entry.instructions or capability.description)
        return cls(capabilities, runners=runners)

    def __getitem__(self, agent_id: str) -> AgentCapability:
        return self._capabilities[agent_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._capabilities)

    def __len__(self) -> int:
        return len(self._capabilities)

    # Those of Mapping ask for every agent by itself, and planning, routing and checking go through all of them.

    def __contains__(self, agent_id: object) -> bool:
        return agent_id in self._capabilities

    def keys(self) -> KeysView[str]:
        """Return the ids of the agents."""
        return self._capabilities.keys()

    def values(self) -> ValuesView[AgentCapability]:
        """Return what the agents can do."""
        return self._capabilities.values()

    def items(self) -> ItemsView[str, AgentCapability]:
        """Return the agents' ids, each with what it can do."""
        return self._capabilities.items()

    def __repr__(self) -> str:
        return f"AgentRegistry({', '.join(self._capabilities)})"

    def with_agent(self, capability: AgentCapability, runner: Agent | None = None) -> AgentRegistry:
        """Return a registry that also has this agent; one with the same id is replaced."""
        kept = (old for old in self.values() if old.agent_id != capability.agent_id)
        runners = {key: value for key, value in self._runners.items() if key != capability.agent_id}
        if runner is not None:
            runners[capability.agent_id] = runner
        return AgentRegistry((*kept, capability), runners=runners)

    def merged(self, other: AgentRegistry) -> AgentRegistry:
        """Return a registry with the agents of both; on the same id, `other` wins."""
        registry = self
        for capability in other.values():
            registry = registry.with_agent(capability, other._runners.get(capability.agent_id))
        return registry

    def without(self, others: Collection[str]) -> AgentRegistry:
        """Return a registry that lacks the agents with these ids."""
        kept = [capability for capability in self.values() if capability.agent_id not in others]
        ids = {capability.agent_id for capability in kept}
        return AgentRegistry(kept, runners={key: value for key, value in self._runners.items() if key in ids})

    def runnable(self) -> AgentRegistry:
        """Return a registry of only those agents that can do work."""
        return AgentRegistry((self[agent_id] for agent_id in self if agent_id in self._runners), runners=self._runners)

    def runner(self, agent_id: str) -> Agent:
        """Return what does the agent's work.

        Raises:
            InvalidAgents: there is no such agent, or nothing runs it.
        """
        if agent_id not in self._capabilities:
            raise InvalidAgents(f"There is no agent {agent_id!r}. There are: {', '.join(self) or 'none'}.")
        if agent_id not in self._runners:
            raise InvalidAgents(
                f"Nothing runs the agent {agent_id!r}. Configure a model (KAPELLE_MODEL) or give a runner."
            )
        return self._runners[agent_id]

    def acts_in_steps(self, agent_id: str) -> bool:
        """Whether an agent is here and keeps what it does step by step."""
        return acts_in_steps(self._runners.get(agent_id))

    def versions(self) -> dict[str, str]:
        """Return which version of each agent is here, as far as that is known: what its card says, else see version."""
        found = {agent_id: card.version or version_of(self._runners.get(agent_id)) for agent_id, card in self.items()}
        return {agent_id: version for agent_id, version in found.items() if version is not None}

    def with_prices(self, prices: PriceTable) -> AgentRegistry:
        """Return a registry whose agents are priced by this table, where neither they nor their cards tell a cost."""
        runners = dict(self._runners)
        for agent_id, runner in runners.items():
            if isinstance(runner, OnModel):
                runners[agent_id] = runner.with_card(prices, self[agent_id])
        registry = AgentRegistry(self.values(), runners=runners)
        registry._prices = prices
        return registry

    def price_usage(self, agent_id: str, usage: Usage) -> float | None:
        """Return what an agent's tokens cost by the price of its card's model; None where that is not known."""
        model = self._capabilities[agent_id].model
        if self._prices is None or model is None or not usage.tokens:
            return None
        try:
            return self._prices.cost_usd(model, usage)
        except UnknownPrice:
            return None

    def find_unpriced(self) -> Mapping[str, str]:
        """Return the models that nothing prices, by the agents that run on one and whose cards declare no price.

        A ModelAgent's client prices its calls itself. Not found: models that only an agent's replies will name.
        """
        found: dict[str, str] = {}
        for agent_id, runner in self._runners.items():
            card = self._capabilities[agent_id]
            if card.cost_usd is not None:
                continue
            if isinstance(runner, OnModel):
                model = runner.find_unpriced()
            else:
                model = None if card.model is None else _find_unpriced(card.model, self._prices)
            if model is not None:
                found[agent_id] = model
        return found

    def for_task(self, task: Task) -> tuple[AgentCapability, ...]:
        """Return the agents that take this task, in registry order."""
        kind = task.task_type, task.requirements
        if kind not in self._for_kind:
            self._for_kind[kind] = tuple(capability for capability in self.values() if capability.takes(task))
        return self._for_kind[kind]

    @property
    def task_types(self) -> tuple[str, ...]:
        """Every task type that some agent takes, in registry order."""
        return tuple(dict.fromkeys(kind for capability in self.values() for kind in capability.task_types))


def _find_unpriced(model: str, prices: PriceTable | None) -> str | None:
    from kapelle.models import PriceTable, find_unpriced  # where a card names a model

    return find_unpriced((), prices or PriceTable(), model=model)


def _import_runner(name: str, *, place: str) -> Agent:
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # the module is the user's: whatever it does, the place is named
        problem = f"{type(error).__name__}: {error}"
        raise InvalidAgents(f"{place}: cannot import {name!r}: {problem}. Write 'package.module:name'.") from error
    return as_agent(found)
