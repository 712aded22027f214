"""A run to write into a ledger."""

from __future__ import annotations

from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Ledger, Outcome


def record_run(ledger: Ledger, run_id: str = "r1", *, state: str = "done", output: object = "Paris") -> None:
    dag = TaskDAG([Task(task_id="a", task_type="lookup")])
    outcome = Outcome(run_id=run_id, task_id="a", task_type="lookup", agent="atlas", success=True, cost_usd=0.1)
    ledger.append(run_id, "run_started", {"request": "capital of France"})
    ledger.append(run_id, "run_planned", {"graph": dag.to_dict(), "planner": "rules"})
    ledger.append(run_id, "run_routed", {"assignments": {"a": "atlas"}, "explanations": {"a": "it can"}})
    ledger.append(run_id, "run_approved", {"estimates": {}, "issues": []})
    ledger.append(run_id, "task_started", {"agent": "atlas"}, task_id="a")
    ledger.append(
        run_id, "task_finished", {"output": output, "cost_usd": 0.1, "seconds": 2}, task_id="a", outcomes=[outcome]
    )
    ledger.append(run_id, "run_finished", {"state": state, "answer": "Paris"})
