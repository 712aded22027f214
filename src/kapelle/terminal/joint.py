"""Several plans together: a table of what each costs and who does it, and what all come to. Prints, decides nothing."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from kapelle.engine import JointProposal
from kapelle.ledger import format_seconds, format_usd

from .cells import one_line, shorten, styled, table_of
from .plan import tell_gap


def show_joint(console: Console, found: JointProposal) -> None:
    """Print what several requests would become together."""
    table = table_of(["request", "tasks", "cost", "time", "success, at least", "agents", ""], gives_way="agents")
    for name, one in zip(found.names, found.proposals, strict=True):
        routing, validation = one.routing, one.validation
        who = Counter(str(routing.strategies.get(task, agent)) for task, agent in routing.assignments.items())
        table.add_row(
            one_line(shorten(name, 40)),
            str(len(one.plan.graph)),
            format_usd(validation.estimated_cost),
            format_seconds(validation.estimated_time),
            f"{found.joint[name].quality_lower:.0%}",
            one_line(", ".join(f"{count} x {one}" if count > 1 else one for one, count in who.most_common())),
            styled("approved", style="green") if validation.passed else styled("not approved", style="red"),
        )
    console.print(table)
    for name, one in zip(found.names, found.proposals, strict=True):
        for issue in one.validation.issues:
            if issue.kind == "budget" and "max_total_cost" in found.joint.binding:
                continue  # it is the budget of all that is too small, as is said below
            style = "red" if issue.severity == "error" else "yellow"
            console.print(styled(f"{name}: {issue}", style=style))
    for agent, names in found.shared_agents.items():
        console.print(styled(f"{agent} works for {', '.join(names)}", style="dim"))
    for place, count in found.joint.waiting.items():
        console.print(styled(f"{place}: {count} more than it does at a time, which wait", style="yellow"))
    for limit, missing in found.joint.binding.items():
        console.print(styled(f"{limit} must give by {missing:.4g}", style="red"))
    if found.joint.note:
        console.print(styled(found.joint.note, style="dim" if found.passed else "red"))
    console.print(
        styled(
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
    return tell_gap(gap)
