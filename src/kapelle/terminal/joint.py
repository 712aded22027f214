"""Several plans together: a table of what each costs and who does it, and what all come to. Prints, decides nothing."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from kapelle.engine import JointProposal
from kapelle.ledger import format_seconds, format_usd

from .terminal import _one_line, _shorten, _table_of, _text


def show_joint(console: Console, found: JointProposal) -> None:
    """Print what several requests would become together."""
    table = _table_of(["request", "tasks", "cost", "time", "success, at least", "agents", ""], gives_way="agents")
    for name, one in zip(found.names, found.proposals, strict=True):
        routing, validation = one.routing, one.validation
        who = Counter(str(routing.strategies.get(task, agent)) for task, agent in routing.assignments.items())
        table.add_row(
            _one_line(_shorten(name, 40)),
            str(len(one.plan.graph)),
            format_usd(validation.estimated_cost),
            format_seconds(validation.estimated_time),
            f"{found.joint[name].quality_lower:.0%}",
            _one_line(", ".join(f"{count} x {one}" if count > 1 else one for one, count in who.most_common())),
            _text("approved", style="green") if validation.passed else _text("not approved", style="red"),
        )
    console.print(table)
    for name, one in zip(found.names, found.proposals, strict=True):
        for issue in one.validation.issues:
            if issue.kind == "budget" and "max_total_cost" in found.joint.binding:
                continue  # it is the budget of all that is too small, as is said below
            style = "red" if issue.severity == "error" else "yellow"
            console.print(_text(f"{name}: {issue}", style=style))
    for agent, names in found.shared_agents.items():
        console.print(_text(f"{agent} works for {', '.join(names)}", style="dim"))
    for place, count in found.joint.waiting.items():
        console.print(_text(f"{place}: {count} more than it does at a time, which wait for the others", style="yellow"))
    for limit, missing in found.joint.binding.items():
        console.print(_text(f"{limit} must give by {missing:.4g}", style="red"))
    if found.joint.note:
        console.print(_text(found.joint.note, style="dim" if found.passed else "red"))
    console.print(
        _text(
            f"{'approved' if found.passed else 'not approved'}: {len(found.proposals)} plans together, expected "
            f"{format_usd(found.cost_usd)}, {format_seconds(found.seconds)} at the same time; {_prove(found)}",
            style="green" if found.passed else "red",
        )
    )


def _prove(found: JointProposal) -> str:
    """Say what is proven about the sum of the costs."""
    gap = found.joint.gap
    if gap is None:
        return "no assignment was found within the limits"
    if found.joint.status == "optimal":
        return "no other assignment costs less"
    return f"at most {gap:.1%} above the least cost"
