"""Those of a team who need a model: the documented agents on it, who plans with it, and what that may cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kapelle.agents import WRITTEN_TYPES, AgentCapability, AgentRegistry, ModelAgent
from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.models import ModelClient, PriceTable
from kapelle.planning import (
    EXPAND_TYPE,
    FOR_EACH_CARD,
    FallbackPlanner,
    Gate,
    GatedPlanner,
    GraphPlanner,
    HTDAGPlanner,
    ModelPlanner,
    Planner,
    RulePlanner,
)
from kapelle.validation import mend_draft

from .kinds_of_work import DATA_TYPES, EXACT_TYPES, HARMLESS_TYPES

if TYPE_CHECKING:
    from kapelle.local import LocalFolder

CONTROL_SHARE = 0.05
"""Of the requests to a model; KAPELLE_CONTROL_SHARE changes it, 0 turns it off."""
TASK_TOKENS = (2_000, 700)
"""Input and output tokens that one task of a model's agent is taken for until outcomes say better."""
PLANNING_TOKENS = (6_000, 8_000)
"""Input and output tokens that are set aside for the call that plans, and for asking once more: its limit, twice."""


def roster_on_model(
    own: AgentRegistry, client: ModelClient, environ: Mapping[str, str], *, has_data: bool
) -> AgentRegistry:
    """Return the documented agents on a model, for work that none of the user's own takes.

    Where there is a folder, what they write is held to what that gave.
    """
    roster = _beside(own, AgentRegistry.default())
    if has_data:
        from kapelle.local import FaithfulAgent

    price = _try_price(client, environ, TASK_TOKENS)
    cards = [replace(card, model=client.model, cost_usd=price) for card in roster.values()]

    def on_model(card: AgentCapability) -> ModelAgent:
        words = _instructions(card)
        return FaithfulAgent(client, words) if has_data else ModelAgent(client, words)

    return AgentRegistry(cards, runners={card.agent_id: on_model(card) for card in cards})


def _beside(own: AgentRegistry, roster: AgentRegistry) -> AgentRegistry:
    """The documented agents, for work that no agent of the user's own declares: who brings an agent wants it asked."""
    cards = []
    for card in roster.values():
        kept = tuple(kind for kind in card.task_types if kind not in own.task_types)
        if kept:
            cards.append(replace(card, task_types=kept))
    return AgentRegistry(cards)


def beside_a_model(card: AgentCapability, *, has_data: bool) -> AgentCapability:
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


def make_planner(
    client: ModelClient,
    rule_planner: RulePlanner,
    folder: LocalFolder | None,
    environ: Mapping[str, str],
    everyone: Callable[[], AgentRegistry],
) -> HTDAGPlanner:
    """Who plans with a model: rules first, where they understand a request to its last word and the folder answers."""
    if folder is not None:
        from kapelle.local import folder_answers

    with_rules = FallbackPlanner(
        _level_planner(client, environ),
        rule_planner,
        # Who says how the model is to plan wants it to plan.
        answers=None if folder is None or environ.get("KAPELLE_PLANNER", "").strip() else folder_answers(folder),
        kinds=HARMLESS_TYPES.union(FOR_EACH_CARD.task_types),
        asks_folder=DATA_TYPES if folder is not None else (),
        writes=WRITTEN_TYPES,
    )
    return HTDAGPlanner(with_rules, everyone)


def _level_planner(client: ModelClient, environ: Mapping[str, str]) -> Planner:
    """Who plans one level: a structured reply or, for models that write graphs better than JSON, a `<graph>`."""
    wanted = environ.get("KAPELLE_PLANNER", "").strip() or "structured"
    if wanted not in ("structured", "graph"):
        raise InvalidInput(f"KAPELLE_PLANNER={wanted!r:.40} is no planner. Use 'structured' or 'graph'.")
    return GraphPlanner(client, mend=mend_draft) if wanted == "graph" else ModelPlanner(client, mend=mend_draft)


def gate(planner: HTDAGPlanner, share: float) -> GatedPlanner:
    """Return a planner that gives some requests whole to one agent; `share` of them whatever they ask."""
    return GatedPlanner(planner, Gate(control_share=share))


def control_share(environ: Mapping[str, str]) -> float:
    """Return the share of requests that one agent gets whole, so that the ledger can tell what planning gains.

    Raises:
        InvalidInput: the variable is no share.
    """
    text = environ.get("KAPELLE_CONTROL_SHARE", "").strip()
    try:
        share = float(text or CONTROL_SHARE)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InvalidInput(f"KAPELLE_CONTROL_SHARE={text!r:.40} is no share. Give a number from 0 to 1.")
    return share


def planner_card(client: ModelClient, price: float | None) -> AgentCapability:
    """Return the card of the planner, as the agent of an `expand` task."""
    return AgentCapability(
        agent_id="planner",
        task_types=(EXPAND_TYPE,),
        skills=frozenset({"planning"}),
        model=client.model,
        cost_usd=price,
        description="Plans, while the request runs, a part whose tasks depend on earlier results. Say in the "
        "description what is to be reached; depend on the tasks whose results it needs.",
    )


def price_of_planning(client: ModelClient, environ: Mapping[str, str]) -> float | None:
    """Dollars to set aside for a plan, or for a look at one; None where no table knows the model."""
    return _try_price(client, environ, PLANNING_TOKENS)


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
