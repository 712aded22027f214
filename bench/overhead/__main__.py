"""What orchestration costs: milliseconds a no-op task, kapelle beside its peers, and what a first run takes.

    python -m bench.overhead [--sizes 100,1000,5000] [--rounds 3] [--peers all|none|NAMES] [--no-postgres] [--json]

Tasks lie in layers of 50, and each waits for two of the layer before. A system does them in a fresh process of its own:
once to warm up, then `rounds` times; the systems take turns, kapelle between the peers, and the least counts.

    asyncio              a task per node that awaits those before it: the least that keeps the order
    kapelle_LEDGER       `Engine.run` with a given plan: routed, proved, run, read back
    executor_LEDGER      the executor alone, with a plan that is approved already
    the others           see `peers/`, each in a virtual environment that this makes once, in the user's cache folder

LEDGER is `full` (every commit synced), `normal` (none is), `memory`, `off` or `postgres` (a server on this machine that
does not sync). `durability` in the result says what each record keeps and when: only systems alike in it are a fair
comparison. `first_ms` and `first_mb` are the whole of a process that does three tasks: with `kapelle_learned` it finds
200 outcomes in its ledger. Slow peers are measured once and small; `left_out` says so, and who is not there and why.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .environments import CannotInstall, python_for
from .processes import DidNotRun, measure_first, measure_run
from .systems import OURS, System, choose_peers

SIZES = (100, 1_000, 5_000)
LEARNED = System(name="kapelle_learned", script="kapelle_runs.py")
LEARNED_TASKS = 200
_LEDGER = "KAPELLE_BENCH_LEDGER"
_POSTGRES = "KAPELLE_BENCH_POSTGRES"

Say = Callable[[str], None]


def main() -> None:
    """Print a table, or with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="all", help="'all', 'none', or names with commas between")
    parser.add_argument("--no-postgres", action="store_true", help="leave PostgreSQL out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        peers = choose_peers(options.peers)
        sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError as error:
        parser.error(str(error))
    found = measure(sizes, options.rounds, peers, postgres=not options.no_postgres, say=_say)
    print(json.dumps(found) if options.json else _table(found, sizes))


def measure(
    sizes: list[int], rounds: int, peers: tuple[System, ...], *, postgres: bool, say: Say = lambda _: None
) -> dict[str, Any]:
    """Return the figures, by system and size."""
    found: dict[str, Any] = {name: {} for name in ("ms", "build_ms", "first_ms", "first_mb", "durability", "versions")}
    found["left_out"] = []

    def leave_out(what: str, why: object) -> None:
        found["left_out"].append(f"{what}: {why}")
        say(f"left out: {what}: {why}")

    pythons: dict[str, Path] = {}
    for system in (*OURS, *peers):
        try:
            if system.packages:
                say(f"environment of {system.name}")
            pythons[system.name] = python_for(system.packages)
        except CannotInstall as error:
            leave_out(system.name, error)
    systems = [system for system in (*OURS, *peers) if system.name in pythons]
    with _postgres_server(postgres, leave_out) as environ, tempfile.TemporaryDirectory() as folder:
        if _POSTGRES not in environ:
            systems = [system for system in systems if not system.name.endswith("_postgres")]
        learned = {_LEDGER: str(Path(folder) / "learned.sqlite")}
        for turn in range(rounds):
            for system in [*systems]:
                say(f"round {turn + 1} of {rounds}: {system.name}")
                if turn >= system.rounds:
                    continue
                try:
                    _take_turn(system, pythons[system.name], sizes, environ, found)
                except DidNotRun as error:
                    leave_out(system.name, error)
                    systems.remove(system)
            _take_learned(learned, pythons["asyncio"], found, is_first=turn == 0)
    for system in systems:
        for size in sizes:
            if size > system.most_tasks:
                leave_out(f"{system.name} at {size}", f"more than {system.most_tasks} tasks take it too long")
        if system.rounds < rounds:
            leave_out(f"{system.name}, {rounds - system.rounds} of {rounds} rounds", "it is slow")
    return {**found, "sizes": sizes, "rounds": rounds, "python": sys.version.split()[0]}


def _take_turn(system: System, python: Path, sizes: list[int], environ: dict[str, str], found: dict[str, Any]) -> None:
    """Measure a system once at every size, and keep what is less than before."""
    for size in sizes:
        if size > system.most_tasks:
            continue
        told = measure_run(system, python, size, 1, environ)
        for name in ("ms", "build_ms"):
            kept = found[name].setdefault(system.name, {})
            kept[str(size)] = min(told[name], kept.get(str(size), told[name]))
        found["durability"][system.name] = told["journal"]
        found["versions"].update(told["versions"])
    if system.first:
        _keep_first(system, python, environ, found)


def _take_learned(environ: dict[str, str], python: Path, found: dict[str, Any], *, is_first: bool) -> None:
    if is_first:
        measure_first(LEARNED, python, environ, size=LEARNED_TASKS)
    _keep_first(LEARNED, python, environ, found)


def _keep_first(system: System, python: Path, environ: dict[str, str], found: dict[str, Any]) -> None:
    first = measure_first(system, python, environ)
    found["first_ms"][system.name] = min(first.ms, found["first_ms"].get(system.name, first.ms))
    found["first_mb"][system.name] = max(first.mb, found["first_mb"].get(system.name, 0.0))


@contextmanager
def _postgres_server(wanted: bool, leave_out: Callable[[str, object], None]) -> Iterator[dict[str, str]]:
    """Give what tells scripts of a server, and end it afterwards; nothing where there is none."""
    server: Any = None
    try:
        if wanted:
            from tests.ledger.postgres_server import PostgresServer

            server = PostgresServer()
    except (ImportError, AssertionError, OSError) as error:
        leave_out("PostgreSQL", error)
    if server is None:
        yield {}
        return
    with server:
        yield {_POSTGRES: server.new_database("overhead")}


def _table(found: dict[str, Any], sizes: list[int]) -> str:
    head = f"{'ms a task, at':<18}" + "".join(f"{size:>10,}" for size in sizes)
    lines = [f"{head}{'first ms':>10}{'MB':>6}  record"]
    for system in {**found["ms"], **found["first_ms"]}:
        row = found["ms"].get(system, {})
        cells = "".join(f"{_shown(row.get(str(size)), 4):>10}" for size in sizes)
        first, held = _shown(found["first_ms"].get(system), 0), _shown(found["first_mb"].get(system), 0)
        lines.append(f"{system:<18}{cells}{first:>10}{held:>6}  {found['durability'].get(system, '')}")
    return "\n".join((*lines, *(f"left out: {problem}" for problem in found["left_out"])))


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
