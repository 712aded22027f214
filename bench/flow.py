"""The way of one run through the source: which files it enters, how often it goes from one to another, what it repeats.

    python -m bench.flow [--sizes 3,30] [--json]

An engine with two plain agents and forty outcomes of each, a budget and no model runs a given plan of so many tasks in
layers of three, all of it in memory. It has run one before, so that nothing is imported on the way. What is counted:

    files_entered           files of kapelle in which anything was called
    file_changes            calls of a function of kapelle whose nearest caller of kapelle's own is in another file.
                            What goes by way of asyncio or the standard library counts as called by who asked for it,
                            and a generator or coroutine that goes on is called again. Of three ways to count, this
                            comes nearest to the 2,159 that a review counted for three tasks
    estimates               what the profiler is asked to estimate, one for each agent and task of a call
    estimates_per_distinct  these, per distinct (agent, type, complexity, text): 1 is the least
    option_builds           how often the estimates and options of a plan are begun anew; another version of its
                            graph goes on with those there are
    validations             calls of the validator
    validations_per_plan    calls of what tells the figures of all tasks of a plan, per call of the validator
    loads                   modules that a fresh process has loaded after a run of three tasks: kapelle's, other
                            packages', and the standard library's

What is counted by name is looked for in all loaded modules of kapelle, wherever it lives. A name that is gone counts 0
and stands in `gone`: then say here what took its place.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SIZES = (3, 30)
NOW = 1_700_000_000.0
NAMES: Mapping[str, tuple[str, ...]] = {
    "estimates": ("CostProfiler.estimate_all", "CostProfiler.estimate"),
    "option_builds": ("PlanEstimates.__init__",),
    "validations": ("AOPValidator.validate_routing_plan",),
    "plan_figures": ("AOPValidator._add_up",),
}
"""By figure, the functions whose calls it counts."""


def main() -> None:
    """Count, and print a table or one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="tasks of each run")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    found = measure([int(size) for size in options.sizes.split(",")])
    if options.json:
        print(json.dumps(found))
        return
    _print(found)


def measure(sizes: list[int]) -> dict[str, Any]:
    """Return the figures of a run of each size, and what a process has loaded after one."""
    run_once(SIZES[0])
    return {"runs": {str(size): count(size) for size in sizes}, "loads": count_loads(), "gone": find_gone()}


def count(size: int) -> dict[str, float]:
    """Return the figures of a run of so many tasks."""
    counter = _Counter()
    run_once(size, counter)
    calls = counter.calls
    return {
        "files_entered": len(counter.files),
        "file_changes": counter.changes,
        "estimates": calls["estimates"],
        "distinct_estimates": len(counter.asked),
        "estimates_per_distinct": round(calls["estimates"] / max(1, len(counter.asked)), 2),
        "option_builds": calls["option_builds"],
        "validations": calls["validations"],
        "validations_per_plan": round(calls["plan_figures"] / max(1, calls["validations"]), 2),
    }


def count_loads() -> dict[str, int]:
    """Return how many modules a fresh process has loaded after a run."""
    code = (
        "import sys; empty = set(sys.modules); from bench.flow import run_once; run_once(3); "
        "print(*sorted({*sys.modules} - empty))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = [name for name in done.stdout.split() if name.partition(".")[0] != "bench"]
    kinds = Counter(_kind_of(name.partition(".")[0]) for name in names)
    return {"kapelle": kinds["kapelle"], "packages": kinds["packages"], "standard": kinds["standard"]}


def _kind_of(package: str) -> str:
    if package == "kapelle":
        return "kapelle"
    return "standard" if package in sys.stdlib_module_names else "packages"


def run_once(size: int, counter: _Counter | None = None) -> None:
    """Run a plan of so many tasks on an engine of its own; count what the run itself does, and not what it stands on.

    Raises:
        AssertionError: the run did not end well, so its figures would mean nothing.
    """
    engine, plan = _make_engine(), _make_plan(size)
    with engine:
        if counter is not None:
            counter.start()
        try:
            run = asyncio.run(engine.run(plan, budget_usd=1.0))
        finally:
            if counter is not None:
                counter.stop()
    assert run.state == "done", run.stop_reason


def _make_engine() -> Any:
    from kapelle import Engine, Outcome, SqliteLedger, agent

    @agent(task_types=["lookup"], cost_usd=0.001)
    async def cheap(task: Any) -> str:
        return "Paris"

    @agent(task_types=["lookup"], cost_usd=0.004)
    async def dear(task: Any) -> str:
        return "Paris"

    ledger = SqliteLedger(":memory:")
    chance = random.Random(0)
    for number in range(40):
        for name, usd, share in (("cheap", 0.001, 0.8), ("dear", 0.004, 0.95)):
            is_right = chance.random() < share
            ledger.record(
                Outcome(
                    run_id=f"past-{number}",
                    task_id="t",
                    task_type="lookup",
                    agent=name,
                    success=is_right,
                    quality=float(is_right),
                    cost_usd=usd,
                    seconds=1.0,
                    at=NOW,
                )
            )
    return Engine([cheap, dear], model="none", ledger=ledger, environ={}, clock=lambda: NOW, heartbeat=_Still)


def _make_plan(size: int) -> Any:
    from kapelle import Plan, Task, TaskDAG

    tasks = [
        Task(
            task_id=f"t{number}",
            task_type="lookup",
            description=f"Find the capital of country {number}",
            depends_on=tuple(f"t{other}" for other in range(number // 3 * 3 - 3, number // 3 * 3) if other >= 0),
        )
        for number in range(size)
    ]
    return Plan(request="Find capitals", graph=TaskDAG(tasks), planner="bench")


class _Still:
    """A heartbeat that never beats: how often one does is a matter of time, and these are counts."""

    def start(self, beat: object, every_s: float) -> None:
        """Do nothing."""

    async def beat_now(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""


class _Counter:
    """Counts calls, by way of the interpreter's profiler."""

    def __init__(self) -> None:
        import kapelle

        self._root = str(Path(kapelle.__file__).parent)
        self._figures = {
            code: figure for figure, names in NAMES.items() for name in names for code in _find_codes(name)
        }
        self.files: set[str] = set()
        self.changes = 0
        self.calls: Counter[str] = Counter()
        self.asked: set[tuple[object, ...]] = set()
        """What the profiler was asked to estimate."""

    def start(self) -> None:
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def stop(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        figure = self._figures.get(frame.f_code)
        if figure is not None:
            if figure == "estimates":
                pairs = _read_pairs(frame.f_locals)
                self.calls[figure] += len(pairs)
                self.asked.update(pairs)
            else:
                self.calls[figure] += 1
        file = frame.f_code.co_filename
        if not file.startswith(self._root):
            return
        self.files.add(file)
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(self._root):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != file:
            self.changes += 1


def _read_pairs(asked: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Return the agents and tasks that a call of `estimate_all`, or of `estimate`, asks for."""
    if "tasks" not in asked:
        task = (asked.get("task_type"), asked.get("complexity"), asked.get("text"))
        return [(getattr(asked.get("capability"), "agent_id", None), *task)]
    return [(agent.agent_id, *task) for agent in asked["agents"] for task in asked["tasks"]]


def find_gone() -> list[str]:
    """Return the counted names that no loaded module of kapelle has any more."""
    return [name for names in NAMES.values() for name in names if not list(_find_codes(name))]


def _find_codes(name: str) -> Iterator[CodeType]:
    """Yield the code of a function, or of a class's method, wherever in kapelle it lives."""
    first, _, method = name.partition(".")
    for module in [module for at, module in sorted(sys.modules.items()) if at.partition(".")[0] == "kapelle"]:
        found = vars(module).get(first)
        if method:
            found = getattr(found, "__dict__", {}).get(method)
        code = getattr(found, "__code__", None)
        if isinstance(code, CodeType):
            yield code


def _print(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", *(f"{size} tasks" for size in found["runs"]), title="The way of one run")
    for name in next(iter(found["runs"].values())):
        table.add_row(name, *(f"{figures[name]:,}" for figures in found["runs"].values()))
    console = Console()
    console.print(table)
    console.print("loaded: " + ", ".join(f"{name} {number:,}" for name, number in found["loads"].items()))
    for name in found["gone"]:
        console.print(f"gone: {name} is nowhere in kapelle, and counts 0")


if __name__ == "__main__":
    main()
