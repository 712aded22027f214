"""Runs and plans as JSON objects, for programs: what `--json` prints. Hides no keys: who prints or sends them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from kapelle.engine import JointProposal, Proposal
from kapelle.execution import choose_start_order
from kapelle.ledger import Run, TaskRun
from kapelle.planning import explain_edges
from kapelle.validation import ApprovedPlan


def run_to_json(run: Run) -> dict[str, Any]:
    """Return a run: what became of it and of its tasks, what it cost, and how it was to go."""
    return {name: dict(part) if isinstance(part, _Made) else part for name, part in run_in_parts(run).items()}


def run_in_parts(run: Run) -> Mapping[str, Any]:
    """Return the same as `run_to_json`, but for its large parts, which are made item by item as they are read."""
    return {
        "run_id": run.run_id,
        "request": run.request,
        "state": run.state,
        "stop_reason": run.stop_reason,
        "answer": run.answer,
        "cost_usd": run.cost_usd,
        "overrun_usd": run.overrun_usd,
        "planning_cost_usd": run.planning_cost_usd,
        "planning_usage": asdict(run.planning_usage),
        "cost_by_agent": run.cost_by_agent,
        "cost_notes": list(run.cost_notes),
        "cost_assumed": run.cost_assumed,
        "usage": asdict(run.usage),
        "seconds": run.seconds,
        "critical_path_seconds": run.critical_path_seconds,
        "planner": run.planner,
        "notes": list(run.notes),
        "issues": list(run.issues),
        "settings": dict(run.settings),
        "active_seconds": run.active_seconds,
        "questions": {question_id: asdict(question) for question_id, question in run.questions.items()},
        "graph_version": run.graph_version,
        "graph": None if run.graph is None else run.graph.to_dict(),
        "assignments": dict(run.assignments),
        "explanations": dict(run.explanations),
        "tasks": _Made(run.tasks, _task),
        "readings": [dict(reading) for task in run.tasks.values() for reading in task.readings],
        "replaced": {task_id: asdict(task) for task_id, task in run.replaced.items()},
    }


class _Made(Mapping[str, Any]):
    """A mapping whose values are made of those of another one, each time that they are read."""

    def __init__(self, of: Mapping[str, Any], make: Callable[[Any], Any]) -> None:
        self._of, self._make = of, make

    def __getitem__(self, name: str) -> Any:
        return self._make(self._of[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)


def _task(task: TaskRun) -> dict[str, Any]:
    return {**asdict(task), "understood": task.understood, "sql": task.sql}


def task_to_json(run: Run, task_id: str) -> dict[str, Any]:
    """Return one task of a run: what became of it, and how it was to go. The run may be an excerpt of that task."""
    task = run.tasks[task_id]
    definition = None if run.graph is None else run.graph.tasks.get(task_id)
    return {
        "run_id": run.run_id,
        "request": run.request,
        "state": run.state,
        "stop_reason": run.stop_reason,
        "task": _task(task),
        "definition": None if definition is None else definition.to_dict(),
        "assignment": run.assignments.get(task_id),
        "strategy": run.strategies.get(task_id),
        "explanation": run.explanations.get(task_id),
        "estimate": run.estimates.get(task_id),
        "issues": [issue for issue in run.issues if issue.get("task_id") == task_id],
        "questions": {name: asdict(one) for name, one in run.questions.items() if one.task_id == task_id},
    }


def proposal_to_json(proposal: Proposal) -> dict[str, Any]:
    """Return a plan that has not run: its graph, who would do it and why, and what validation says of it."""
    validation = proposal.validation
    return {
        "request": proposal.plan.request,
        "planner": proposal.plan.planner,
        "notes": list(proposal.plan.notes),
        "cost_of_planning_usd": proposal.plan.cost_usd,
        "graph": proposal.plan.graph.to_dict(),
        "edges": [
            {"source": source, "target": target, "reason": reason}
            for (source, target), reason in explain_edges(proposal.plan.graph, proposal.plan.request).items()
        ],
        "levels": [list(level) for level in proposal.plan.graph.levels()],
        "assignments": dict(proposal.routing.assignments),
        "explanations": dict(proposal.routing.explanations),
        "unassigned": dict(proposal.routing.unassigned),
        "routing": dict(proposal.routing.metadata),
        "approved": validation.passed,
        "issues": [asdict(issue) for issue in validation.issues],
        "score": validation.quality_score,
        "estimated_cost_usd": validation.estimated_cost,
        "estimated_seconds": validation.estimated_time,
        "lower_bound_usd": proposal.lower_bound_usd,
        "gap": proposal.gap,
        "estimates": {task_id: asdict(estimate) for task_id, estimate in validation.estimates.items()},
        "start_order": None if validation.approved is None else _start_order(validation.approved),
    }


def _start_order(plan: ApprovedPlan) -> dict[str, Any]:
    """Return by which rule tasks start where they have to wait for places, and what each that was compared takes."""
    order = choose_start_order(plan, is_told=True)
    return {"rule": order.rule, "seconds": order.seconds, "compared_seconds": dict(order.compared)}


def joint_to_json(found: JointProposal) -> dict[str, Any]:
    """Return several plans, and what they come to together."""
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
                **proposal_to_json(one),
            }
            for name, one in zip(found.names, found.proposals, strict=True)
        ],
    }
