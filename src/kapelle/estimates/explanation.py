"""Says in words what an estimate of success rests on: the few things that moved it from what the agent declares.

The terms are the model's own (see success): the agent overall, the type of task, and the numbers that describe its
words. Estimates nothing.
"""

from __future__ import annotations

from kapelle.agents import AgentCapability

from .experience import Experience

MOST_TERMS = 3
"""That are told; a reader wants the reasons, not the sum."""
LEAST_POINTS = 0.02
"""A term that moved the chance by less than two points is not told."""


def explain_success(
    experience: Experience, capability: AgentCapability, task_type: str, *, text: str, now: float
) -> str:
    """Return what moved an agent's chance of success at a task, as `look-ups 41 of 44; long words: less`.

    The record at the type comes first, from the last change on where one was noticed, as `look-ups 3 of 14 since a
    change`. What the agent does at other types, what is true of the type whoever does it, and what the words tell
    follow, the strongest first, where they move the chance by two points or more.
    """
    agent = capability.agent_id
    history = experience.histories.get((agent, task_type))
    told: list[str] = []
    if history is not None and history.judged:
        share = history.correctness
        since = " since a change" if share.changes else ""
        told.append(f"{task_type} {share.right:.4g} of {share.known}{since}")
    terms = experience.correctness.explain(agent, capability.success_rate, task_type, text, now)
    for term in terms:
        if abs(term.points) < LEAST_POINTS or len(told) >= MOST_TERMS:
            continue
        way = "more" if term.points > 0.0 else "less"
        if term.name == "type":
            if history is None or not history.judged:
                told.append(f"{task_type} in general: {way}")
        elif term.name == "agent":
            known = experience.agents.get(agent)
            elsewhere = known.judged - (history.judged if history is not None else 0) if known is not None else 0
            if elsewhere:
                told.append(f"its other work: {way}")
            elif known is None or not known.judged:
                told.append(f"what agents here declare: {way} comes of it")
        else:
            told.append(f"{term.name}: {way}")
    return "; ".join(told)
