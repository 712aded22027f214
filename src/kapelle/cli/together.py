"""Several requests at once, with `--together`: how they are read, refused and told. Their runs are as one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kapelle import terminal
from kapelle.engine import Engine, JointProposal
from kapelle.errors import InvalidInput
from kapelle.planning import Plan
from kapelle.process import drive
from kapelle.views import joint_to_json, run_to_json

from .app import console
from .conduct import INTERRUPTED, Shown, Start, run_to_end, show_run
from .printing import print_json

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


def show_planned(found: JointProposal, *, as_json: bool) -> int:
    """Show what several requests would become, and return the exit code: 2 says that nothing was spent."""
    if as_json:
        print_json(joint_to_json(found))
    else:
        terminal.show_joint(console(), found)
    return 0 if found.passed else 1 if found.limits.spent_usd else 2


def run_together(engine: Engine, requests: Sequence[RequestLike], terms: Mapping[str, Any], shown: Shown) -> int:
    """Plan several requests together, run them one after the other, show each, and return the highest exit code.

    The limits of each are those of its proposal. One that fails keeps none of the others from running.
    """
    found = plan_together(engine, requests, terms)
    if not found.passed:
        return show_planned(found, as_json=shown.as_json)
    runs, codes = [], []
    for proposal in found.proposals:
        run, code = run_to_end(engine, Start(request=proposal), {}, shown)
        runs.append(run)
        codes.append(code)
        if not shown.as_json:
            show_run(engine, run, shown)
        if code == INTERRUPTED:
            break
    if shown.as_json:
        print_json({"runs": [run_to_json(run) for run in runs]})
    return max(codes)
