"""Several requests at once, with `--together`: how they are read, refused and told. Their runs are those of `run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kapelle.engine import Engine, JointProposal, Proposal
from kapelle.errors import InvalidInput
from kapelle.planning import Plan
from kapelle.process import drive
from kapelle.terminal import joint

Together = Annotated[
    bool,
    typer.Option("--together", help="Take several requests: one budget and deadline for all, at least cost in sum."),
]
RequestLike = str | Path | Plan


def check_together(requests: Sequence[str], together: bool, **refused: object) -> None:
    """Check that several requests are meant to be several, and that nothing is asked for that is about one alone."""
    if not together:
        if len(requests) > 1:
            raise InvalidInput(
                f"There are {len(requests)} requests. Put the words of one request in quotes, or add --together to "
                "have several planned at once."
            )
        return
    if list(requests).count("-") > 1:
        raise InvalidInput("Standard input holds one plan: give - once.")
    for name, value in refused.items():
        if value:
            raise InvalidInput(f"--{name.replace('_', '-')} is about one request, and cannot go with --together.")


def plan_together(engine: Engine, requests: Sequence[RequestLike], terms: Mapping[str, Any]) -> JointProposal:
    """Return what the requests would become together."""
    return drive(engine.plan_many(requests, **terms))


def show_together(out: Console, found: JointProposal) -> int:
    """Print what several requests would become, and return the exit code: 2 says that nothing was spent."""
    joint.show_joint(out, found)
    return code_of(found)


def code_of(found: JointProposal) -> int:
    """Return the exit code of planning."""
    return 0 if found.passed else 1 if found.limits.spent_usd else 2


def joint_to_json(found: JointProposal, to_json: Callable[[Proposal], dict[str, Any]]) -> dict[str, Any]:
    """Return the plans and what they come to together as plain JSON values."""
    joint = found.joint
    return {
        "approved": found.passed,
        "status": joint.status,
        "note": joint.note,
        "binding": dict(joint.binding),
        "waiting": dict(joint.waiting),
        "cost_of_planning_usd": found.limits.spent_usd,
        "estimated_cost_usd": found.cost_usd,
        "estimated_seconds": found.seconds,
        "lower_bound_usd": joint.lower_bound,
        "gap": joint.gap,
        "workload": dict(joint.workload),
        "shared_agents": {agent: list(names) for agent, names in found.shared_agents.items()},
        "plans": [
            {
                "name": name,
                "budget_usd": one.limits.left_usd,
                "quality_lower": joint[name].quality_lower,
                **to_json(one),
            }
            for name, one in zip(found.names, found.proposals, strict=True)
        ],
    }
