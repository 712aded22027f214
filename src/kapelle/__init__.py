"""kapelle, the conductor for AI agents: plans a request, gives every task to the agent that does it at least cost,
proves the plan before a cent is spent, runs it as data flow, and learns from every outcome.

Read `engine/engine.py` first. The names below are those that most programs need; all others live in the package that
they belong to, and docs/api.md lists them.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module, util
from typing import Any

__version__ = "0.1.0"

# Where each public name lives: the one list of them. `docs/reference.py` writes `__init__.pyi` by it, for checkers.
_HOMES = {
    "agents": "Agent AgentCapability AgentRegistry AgentResult HumanAnswer TaskContext agent",
    "allocation": "DAAOOptimizer OptimizationConstraints",
    "budget": "",
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
__all__ = sorted(name for names in _HOMES.values() for name in names.split())


def later(package: str, homes: Mapping[str, str], tell: Callable[[str], str] = lambda _: "") -> Callable[[str], Any]:
    """Return a package's `__getattr__`, by which a name is imported when it is first asked for (PEP 562).

    A program pays for what it uses: what every run needs, a package imports at once.

    Args:
        package: Its `__name__`.
        homes: By module, the names that it has, with spaces between.
        tell: Says more of a name that is not there.
    """
    home_of = {name: f"{package}.{home}" for home, names in homes.items() for name in names.split()}

    def find(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}{tell(name)}")
        found = getattr(import_module(home_of[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return find


def _tell_home(name: str) -> str:
    """Say where a name lives that the root does not have; nothing of names that are none of ours."""
    if name.startswith("_") or util.find_spec(f"kapelle.{name}") is not None:  # a package that is being imported
        return ""
    homes = [f"kapelle.{home}" for home in _HOMES if hasattr(import_module(f"kapelle.{home}"), name)]
    return f"; it is in {homes[0]}: from {homes[0]} import {name}" if homes else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__getattr__ = later(__name__, _HOMES, _tell_home)
