"""kapelle, the conductor for AI agents: plans a request, gives every task to the agent that does it at least cost,
proves the plan before a cent is spent, runs it as data flow, and learns from every outcome.

Read `engine/engine.py` first. The names below are those that most programs need; all others live in the package that
they belong to, and docs/api.md lists them.
"""

from importlib import import_module, util
from typing import Any

__version__ = "0.1.0"

# Where each public name lives: the one list of them, which `docs/reference.py` writes `__init__.pyi` from, for type
# checkers and editors. A name is imported when it is first asked for (PEP 562): a program pays for what it uses.
_HOMES = {
    "agents": "Agent AgentCapability AgentRegistry AgentResult HumanAnswer TaskContext agent",
    "allocation": "DAAOOptimizer OptimizationConstraints",
    "engine": "Engine Proposal",
    "errors": "AskPerson BudgetExceeded InvalidInput KapelleError NotFound PlanRejected RunBusy TryAgain",
    "estimates": "CostProfiler",
    "execution": "ExecutionLimits HedgePolicy RetryPolicy",
    "graph": "GraphPatch Task TaskDAG",
    "learning": "LearnedRewardModel TaskOutcome",
    "ledger": "Event Ledger Outcome Run SqliteLedger open_ledger",
    "limits": "RunLimits",
    "models": "",
    "patterns": "AgentOrchestrator AgentType",
    "planning": "Plan Planner",
    "routing": "HALORouter RoutingPlan RoutingRule",
    "strategies": "Cascade Check Single Verdict Vote",
    "validation": "AOPValidator",
}
_HOME_OF = {name: f"kapelle.{home}" for home, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'kapelle' has no attribute {name!r}{_tell_home(name)}")
    found = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = found
    return found


def _tell_home(name: str) -> str:
    """Say where a name lives that the root does not have; nothing of names that are none of ours."""
    if name.startswith("_") or util.find_spec(f"kapelle.{name}") is not None:  # a package that is being imported
        return ""
    homes = [f"kapelle.{home}" for home in _HOMES if hasattr(import_module(f"kapelle.{home}"), name)]
    return f"; it is in {homes[0]}: from {homes[0]} import {name}" if homes else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
