"""Tasks that are repeated for each item, as plans have them, and the card of the agent that does it: see for_each."""

from __future__ import annotations

from kapelle.agents import AgentCapability

FOR_EACH_TYPE = "for_each"
"""A task that becomes one per item of its input `items`, each doing `body`."""
ONE_EACH = "one_each"
"""An input of a task of FOR_EACH_TYPE, true where what it takes its items from was asked for one thing of each."""

FOR_EACH_CARD = AgentCapability(
    agent_id="for-each",
    task_types=(FOR_EACH_TYPE,),
    skills=frozenset({"planning"}),
    cost_tier="free",
    cost_usd=0.0,
    seconds=0.01,
    success_rate=0.9,
    description="Repeats a task for each item of an earlier result. Inputs: `items`, such as {s1}, and `body`, such as "
    "'find its capital'.",
)
