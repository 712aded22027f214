"""Proves that the simulation has teeth: plants one bug at a time in a copy of the source, and counts seeds.

Each bug is one that was there, or that a tired engineer would write. A bug that is not found within the seeds that are
allowed is a hole in the worlds or in the model. `tests/simulate` holds every bug to fit the source as it is now.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """A bug: this text of that file is replaced by another."""

    name: str
    file: str
    right: str
    wrong: str


BUGS = (
    Planted(
        name="tasks go to others, and no event tells of it",
        file="execution/reassignment.py",
        right="        self._writer.plan_reassigned(rest.why, plan)\n",
        wrong="",
    ),
    Planted(
        name="a task goes to others that a person has approved",
        file="execution/reassignment.py",
        right="kept=concerned | progress.replanning,",
        wrong="kept=frozenset(progress.replanning),",
    ),
    Planted(
        name="a task with two fallen predecessors falls twice",
        file="execution/progress.py",
        right="            del self.waits_for[task_id]\n            self.skipped",
        wrong="            self.skipped",
    ),
    Planted(
        name="a resumed run does not wait for a task that asks",
        file="execution/progress.py",
        right="graph[task_id].dependencies if not self.is_over(before)}",
        wrong="graph[task_id].dependencies if not self.is_over(before) and before not in self.asking}",
    ),
    Planted(
        name="a dropped rival wakes nobody",
        file="execution/ready.py",
        right="            if agent is not None:\n                self._wake(agent)\n",
        wrong="            pass\n",
    ),
    Planted(
        name="a report of a job that was given up is taken in",
        file="execution/attempts.py",
        right="        if job not in self._running:\n            return  #",
        wrong="        #",
    ),
    Planted(
        name="a rival that could not be paid stays",
        file="execution/dispatch.py",
        right="                job.work.waiting.remove(job)\n                job.part()",
        wrong="                job.part()",
    ),
    Planted(
        name="what is set aside is forgotten",
        file="budget/budget.py",
        right="left = max(0, cap - self._spent[place] - self._reserved[place])\n                if",
        wrong="left = max(0, cap - self._spent[place])\n                if",
    ),
    Planted(
        name="cut off planning is charged with every resume",
        file="execution/resume.py",
        right="            started.clear()",
        wrong="            started.pop(place, None)",
    ),
    Planted(
        name="a task of high risk runs again unasked after a crash",
        file="execution/tasks.py",
        right="for task_id, why in earlier.at_risk.items():",
        wrong="for task_id, why in ():",
    ),
    Planted(
        name="an engine that was overtaken goes on writing",
        file="ledger/sqlite.py",
        right="            if fence is not None:\n                check_fence",
        wrong="            if fence is None:\n                check_fence",
    ),
    Planted(
        name="a vote takes the first answer, whatever most agree on",
        file="strategies/strategy.py",
        right="first = next(agent for agent in agents if seen[agent].canonical == best)",
        wrong="first = next(agent for agent in agents if not seen[agent].failed)",
    ),
    Planted(
        name="what was set aside is charged, whatever an agent reports",
        file="execution/spending.py",
        right="return result.cost_usd, False",
        wrong="return job.reservation.usd, False",
    ),
    Planted(
        name="the least urgent go first",
        file="execution/start_order.py",
        right="(-priorities[task_id], moments[task_id]",
        wrong="(priorities[task_id], moments[task_id]",
    ),
    Planted(
        name="a rival that lost is not cancelled",
        file="execution/running.py",
        right="            self._abandoned.add(job.running)\n            cancel_task(job.running)",
        wrong="            self._abandoned.add(job.running)",
    ),
    Planted(
        name="nothing starts while anything is under way",
        file="execution/dispatch.py",
        right="while self._tasks.halt is None and (job := self._ready.pop()) is not None:",
        wrong="while self._tasks.halt is None and not self.is_busy and (job := self._ready.pop()) is not None:",
    ),
    Planted(
        name="no other agent is tried where there is a budget",
        file="execution/attempts.py",
        right="if self._tasks.is_stopping or self._fallbacks is None",
        wrong="if self._spending.left_usd < 1e9 or self._fallbacks is None",
    ),
    Planted(
        name="a run is not resumed that has anything left to do",
        file="engine/session.py",
        right="        return (await one.prepare(version)).approved\n",
        wrong="        raise PlanRejected((await one.prepare(version)).validation.errors)\n",
    ),
    Planted(
        name="all ask an agent at once whose price nobody knows",
        file="execution/spending.py",
        right="return min(places, 1 + self._answered.get(agent, 0))",
        wrong="return places",
    ),
    Planted(
        name="who asks to be left alone is not heard",
        file="execution/rests.py",
        right="        if not seconds:\n",
        wrong="        if True:\n",
    ),
    Planted(
        name="all come back at once after a rest",
        file="execution/dispatch.py",
        right="        self._rests.go_first(job)\n",
        wrong="",
    ),
)


def plant(bug: Planted, source: Path) -> None:
    """Put a bug into a copy of the package.

    Raises:
        ValueError: the text that it replaces is not there exactly once.
    """
    file = source / bug.file
    text = file.read_text(encoding="utf-8")
    if text.count(bug.right) != 1:
        raise ValueError(f"{bug.name!r} fits {text.count(bug.right)} places of {bug.file}; write it anew.")
    file.write_text(text.replace(bug.right, bug.wrong), encoding="utf-8")


def find_planted(seeds: int, jobs: int, console: Console) -> dict[str, object]:
    """Plant each bug, and play worlds until one of them is wrong; return after how many it was."""
    taken: dict[str, int | None] = {}
    for bug in BUGS:
        with tempfile.TemporaryDirectory(prefix="kapelle-planted-") as folder:
            for name in ("src", "bench"):
                shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
            plant(bug, Path(folder) / "src" / "kapelle")
            taken[bug.name] = _first_failing(Path(folder), seeds, jobs)
        found = taken[bug.name]
        console.print(f"{bug.name}: {'not found' if found is None else f'{found:,} seeds'}", highlight=False)
    return {
        "planted": len(BUGS),
        "planted_found": sum(found is not None for found in taken.values()),
        "seeds_taken": taken,
        "most_seeds": seeds,
    }


def _first_failing(folder: Path, seeds: int, jobs: int) -> int | None:
    """Return how many worlds were played until the first was wrong, that one included; None if none was."""
    command = [sys.executable, "-m", "bench.simulate", "--seeds", str(seeds), "--jobs", str(jobs)]
    done = subprocess.run(
        [*command, "--most", "1", "--raw", "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        text=True,
    )
    failing: list[int] = json.loads(done.stdout.splitlines()[-1])["failing_seeds"]
    return failing[0] + 1 if failing else None
