"""Starts runs, kills the processes that work on them, and lets others go on, until there were so many kills."""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import kapelle.engine.run_lease
from kapelle import Engine, Plan
from kapelle.errors import InvalidInput, NotFound, PlanRejected
from kapelle.ledger import Event, Run, open_ledger

from .agents import answer_to, make_engine
from .checking import Counts, Reading, check_end, excess_of, find_wrong_ends
from .effects import Effects
from .worlds import REJECTED, SHAPES, World, make_world

KILLED_AFTER = 30
"""Events, on average, after which a process is killed; and then a pause of at most:"""
PAUSE_S = 0.02
MOST_RESUMES = 100
UNPLANNED = "before its plan was written down"
RUNS_PER_LEDGER = 8
PATIENCE_S = 30.0
TICK_S = 0.02
"""How often an engine looks for messages: its processes live for a fraction of the second that is usual."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What is to be done."""

    kills: int
    store: str = "sqlite"
    backend: str = "asyncio"
    seed: int = 0
    shapes: tuple[str, ...] = tuple(SHAPES)
    keep: Path | None = None
    """Where events and traces of runs with faults are kept, to be looked at."""
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    """Is told of every fault."""


def measure(plot: Plot) -> Counts:
    """Kill and resume until there were so many kills, and return what was found."""
    counts, chance = Counts(), random.Random(plot.seed)
    with tempfile.TemporaryDirectory(prefix="kapelle-crash-") as folder, _locations(plot.store, folder) as locate:
        while counts.kills < plot.kills:
            with _answering(location := locate()):
                for _ in range(RUNS_PER_LEDGER):
                    if counts.kills >= plot.kills:
                        break
                    shape = plot.shapes[counts.runs % len(plot.shapes)]
                    world = make_world(chance.randrange(10**6), shape)
                    effects = Effects(Path(folder) / f"effects-{counts.runs}.jsonl")
                    victim = _Victim(plot, counts, chance, location, world, effects)
                    victim.live()
                    if not victim.faultless and plot.keep is not None:
                        victim.keep(plot.keep)
                    effects.path.unlink()
                    counts.runs += 1
                    counts.shapes[shape] += 1
    return counts


class _Victim:
    """One run, from its first process to its end."""

    def __init__(
        self, plot: Plot, counts: Counts, chance: random.Random, location: str, world: World, effects: Effects
    ) -> None:
        self._plot, self._counts, self._chance = plot, counts, chance
        self._location, self._world, self._effects = location, world, effects
        self._budget = world.budget_usd
        self._run_id: str | None = None
        self._again = chance.random() < 0.3
        """Whether it is resumed once more when it has ended with failures: those are tried again then."""
        self._found = 0

    def live(self) -> None:
        """Start it, kill and resume it until it has ended, and count what went wrong."""
        for _ in range(MOST_RESUMES):
            killed = self._one_life()
            if self._is_unplanned():
                self._run_id = None
                continue
            try:
                run = self._read()
            except Exception as error:  # whatever it is, it is a finding
                self._note("stuck", f"the ledger cannot be read: {type(error).__name__}: {error}")
                return
            if run is None:
                continue  # it died before its first event
            self._run_id = run.run_id
            if killed:
                self._counts.killed_after[run.events[-1].kind] += 1
            if run.cost_usd > self._budget + excess_of(run) + 1e-9:
                self._note("overrun", f"${run.cost_usd:.4f} of ${self._budget:.4f}")
            if run.state == "waiting" and not self._wait_for_answers(run):
                self._note("stuck", "nobody has answered")
                return
            if run.ended and not self._may_go_on(run):
                self._judge(run)
                return
        self._note("stuck", f"after {MOST_RESUMES} lives it is not over")

    @property
    def faultless(self) -> bool:
        """Whether nothing went wrong."""
        return not self._found

    def keep(self, folder: Path) -> None:
        """Leave what happened, in order, as lines of JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = [{"trace": trace, "seq": trace["seq"] + 0.5} for trace in self._effects.read()]
        if self._run_id is not None:
            with open_ledger(self._location) as ledger:
                lines += [
                    {"seq": event.seq, "kind": event.kind, "task": event.task_id, "data": dict(event.data)}
                    for event in ledger.events(self._run_id)
                ]
        path = folder / f"{self._world.shape}-{self._world.seed}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in sorted(lines, key=lambda line: line["seq"])))

    def _one_life(self) -> bool:
        """Let a process work on the run; return whether it was killed."""
        counts = self._counts
        news, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(news)
            self._work(told)  # never returns
        os.close(told)
        counts.resumes += self._run_id is not None
        kill = counts.kills < self._plot.kills
        # Counted in what it does and not in seconds, so that kills fall into the work on a slow machine too.
        left = int(self._chance.expovariate(1 / KILLED_AFTER)) if kill else None
        if self._follow(news, left) and kill:
            time.sleep(self._chance.uniform(0.0, PAUSE_S))
            os.kill(child, signal.SIGKILL)
        os.close(news)
        _, status = os.waitpid(child, 0)
        counts.kills += os.WIFSIGNALED(status)
        return os.WIFSIGNALED(status)

    def _follow(self, news: int, left: int | None) -> bool:
        """Wait until a process has done so much, or it has ended; return whether it has not."""
        while left is None or left > 0:
            if not select.select([news], [], [], PATIENCE_S)[0]:
                self._note("stuck", f"an engine has done nothing for {PATIENCE_S:g} s")
                return True
            if not (done := len(os.read(news, 1 if left is None else left))):
                return False
            left = None if left is None else left - done
        return True

    def _work(self, told: int) -> None:
        """What a child process does: run, or resume, and leave without a trace."""
        code = 1
        effects = self._effects
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):  # also what libraries print without Python
                os.dup2(quiet, stream)
            kapelle.engine.run_lease.TICK_S = TICK_S
            with open_ledger(self._location) as ledger:
                engine = make_engine(self._world, effects, ledger, self._plot.backend)

                def watch(event: Event) -> None:
                    effects.seq = event.seq
                    os.write(told, b".")

                os.write(told, b".")
                if self._run_id is None:
                    plan = Plan(request=str(effects.path), graph=self._world.graph(), planner="bench")
                    asyncio.run(engine.run(plan, budget_usd=self._budget, on_event=watch))
                else:
                    asyncio.run(engine.resume(self._run_id, budget_usd=self._budget, on_event=watch))
            code = 0
        except PlanRejected as error:
            dear = any(getattr(issue, "kind", "") == "budget" for issue in error.issues)  # then it is raised
            effects.leave("rejected" if dear else "raised", error=str(error)[:2000])
        except InvalidInput as error:
            effects.leave("unplanned" if UNPLANNED in str(error) else "raised", error=f"{error}"[:2000])
        except BaseException as error:  # whatever it is, it is a finding
            effects.leave("raised", error=f"{type(error).__name__}: {error}"[:2000])
        finally:
            os._exit(code)

    def _read(self) -> Run | None:
        """Return the run as the ledger has it; None if it has none of it yet."""
        with open_ledger(self._location) as ledger:
            if self._run_id is None:
                mine = [one.run_id for one in ledger.runs(limit=5) if one.request == str(self._effects.path)]
                if not mine:
                    return None
                self._run_id = mine[0]
            return ledger.run(self._run_id)

    def _is_unplanned(self) -> bool:
        """Whether the run died before its plan was written down: there is nothing to resume, and it begins anew."""
        traces = self._effects.read()
        return bool(traces) and traces[-1]["what"] == "unplanned"

    def _wait_for_answers(self, run: Run) -> bool:
        patience = time.monotonic() + PATIENCE_S
        wanted = {one.question_id for one in run.open_questions}
        while time.monotonic() < patience:
            with open_ledger(self._location) as ledger:
                if wanted <= ledger.inbox(run.run_id).keys():
                    return True
            time.sleep(0.01)
        return False

    def _may_go_on(self, run: Run) -> bool:
        """Whether a run that has ended is to be resumed all the same: with more money, or to try again what failed."""
        reasons = [run.stop_reason or ""]
        for task in run.tasks.values():
            reasons += [task.reason or "", *(attempt.reason or "" for attempt in task.attempts)]
        if find_wrong_ends(run, self._world) and any("budget" in reason.lower() for reason in reasons):
            self._budget += self._world.budget_usd
            self._counts.raised_budgets += 1
            return True
        again, self._again = self._again and run.state in ("partial", "failed"), False
        return again

    def _judge(self, run: Run) -> None:
        counts = self._counts
        self._look_through()
        for count, text in check_end(run, self._effects.read(), self._world):
            self._note(count, text)
        counts.tasks_interrupted += sum(1 for event in run.events if event.kind == "task_interrupted")
        counts.questions_answered += sum(1 for event in run.events if event.kind == "question_answered")
        counts.expansions += len(run.replaced)
        counts.rivals += sum(
            1 for task in run.tasks.values() for one in task.attempts if one.reason == "The other attempt was faster."
        )

    def _look_through(self) -> None:
        """Go through all that has happened, and count what went wrong on the way."""
        reading, traces = Reading(world=self._world), self._effects.read()
        for trace in traces:
            if trace["what"] == "raised":
                self._note("raised", trace["error"])
        if self._run_id is not None:
            with open_ledger(self._location) as ledger:
                reading.read(ledger.events(self._run_id), traces)
        for count, text in reading.problems:
            self._note(count, text)
        self._counts.tasks_begun += sum(reading.begun.values())

    def _note(self, count: str, text: str) -> None:
        setattr(self._counts, count, getattr(self._counts, count) + 1)
        if count == "stuck":
            self._look_through()
        self._found += 1
        if self._found <= 12:
            world = self._world
            self._plot.say(f"{world.shape} {world.seed}: {count}: {text[:600]}")


@contextmanager
def _locations(store: str, folder: str) -> Iterator[Callable[[], str]]:
    """Give new, empty ledgers."""
    made = 0
    if store == "sqlite":

        def new_file() -> str:
            nonlocal made
            made += 1
            return str(Path(folder) / f"ledger-{made}.sqlite")

        yield new_file
        return
    from tests.ledger.postgres_server import PostgresServer

    with PostgresServer() as server:

        def new_database() -> str:
            nonlocal made
            made += 1
            return server.new_database(f"crash{made}")

        yield new_database


@contextmanager
def _answering(location: str) -> Iterator[None]:
    """Let a process of its own answer what people are asked, as people do: later, and without looking at the run."""
    with open_ledger(location):
        pass  # it is there from now on
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_answer_all(location))
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


async def _answer_all(location: str) -> None:
    chance = random.Random(0)
    with open_ledger(location) as ledger:
        engine = Engine([], model="none", ledger=ledger)
        while True:
            await asyncio.sleep(chance.uniform(0.005, 0.05))
            for question in engine.questions():
                try:
                    if question.kind == "answer":
                        engine.answer(question.question_id, answer_to(question.text), by="bench")
                    elif question.about == "start" and REJECTED in question.text:
                        engine.reject(question.question_id, by="bench")
                    else:
                        engine.approve(question.question_id, by="bench")
                except (NotFound, InvalidInput):
                    continue  # answered already, and its run has not come to it yet
