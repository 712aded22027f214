"""Simulated runs: the real engine in worlds that a seed makes, on a virtual clock, judged by an independent model.

    python -m bench.simulate --seeds 100000 [--first 0] [--jobs 2] [--json]
    python -m bench.simulate --seed 4711              play one world, and print what happened
    python -m bench.simulate --planted [--json]       plant bugs, and count the seeds that it takes to find each

One seed is one world: a graph of 3 to 12 tasks, strategies, agents that fail, hang, answer nonsense or ask people,
graphs that grow, a budget, and engines that are killed, overtaken, stopped or cut off from their store (see world). The
executor, ledger, budget, lease and resume are the real ones (see play). Every start, end, event and dollar is held
against a reference model that shares nothing with them (see model). A failing world is made smaller and printed as a
script (see shrink); add it to tests/simulate as a test.

    failures              worlds in which the engine raised what it must not, or left a run that cannot be read
    stuck                 worlds that did not end
    model_disagreements   worlds in which something happened that the rules do not allow, or did not that they demand

All are to be 0; the exit code is 1 if one is not. It stops once --most worlds were wrong: `seeds` says how many were
played. The idea is that of FoundationDB and TigerBeetle: deterministic
simulation of the real code, with faults far more frequent than in life.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import Progress

from .checking import Finding, check, check_all
from .model import judge
from .planted import find_planted
from .play import play
from .shrink import as_script, shrink
from .world import draw_world

CHUNK = 50
"""Worlds that a process plays in one go."""


def main() -> None:
    """Play worlds and say what was found, or with --json print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, help="how many worlds; by default 2,000, and 20,000 for planted bugs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one world, and print its history")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--most", type=int, default=5, help="stop once there are so many findings")
    parser.add_argument("--planted", action="store_true", help="prove that it finds bugs: plant some")
    parser.add_argument("--raw", action="store_true", help="do not make failing worlds smaller")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.seed is not None:
        sys.exit(show(options.seed))
    console = Console(stderr=True)
    if options.planted:
        planted = find_planted(options.seeds or 20_000, options.jobs, console)
        _print(planted, as_json=options.json)
        sys.exit(0 if planted["planted_found"] == planted["planted"] else 1)
    started = time.perf_counter()
    seeds = range(options.first, options.first + (options.seeds or 2_000))
    findings, count = run(seeds, options.jobs, options.most, console)
    seconds = time.perf_counter() - started
    for finding in findings if not options.raw else ():
        explain(finding, console)
    kinds = [finding.kind for finding in findings]
    result = {
        "seeds": count,
        **{name: kinds.count(name) for name in ("failures", "stuck", "model_disagreements")},
        "seeds_per_second": count / seconds / options.jobs,
        "jobs": options.jobs,
        "seconds": seconds,
        "failing_seeds": [finding.seed for finding in findings],
    }
    _print(result, as_json=options.json)
    sys.exit(1 if findings else 0)


def run(seeds: range, jobs: int, most: int, console: Console) -> tuple[list[Finding], int]:
    """Play the worlds of these seeds; return what was found, and how many were played."""
    findings: list[Finding] = []
    done = 0
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("worlds", total=len(seeds))
        try:
            for count, found in _played(seeds, jobs):
                done += count
                findings += found
                progress.update(bar, completed=done, description=f"worlds, {len(findings)} wrong")
                if len(findings) >= most:
                    break
        except KeyboardInterrupt:
            console.print(f"Interrupted after {done:,} worlds; what was found until then:", highlight=False)
    return findings, done


def _played(seeds: range, jobs: int) -> Iterator[tuple[int, list[Finding]]]:
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    if jobs <= 1:
        yield from map(check_all, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(check_all, chunks)


def explain(finding: Finding, console: Console) -> None:
    """Make a failing world smaller, and print it as a script."""
    console.print(f"[bold]seed {finding.seed}[/]: {finding.kind}", highlight=False)
    world = draw_world(finding.seed)
    if finding.kind != "stuck":
        world = shrink(world, lambda smaller: _shape(check(smaller)) == _shape((finding.kind, finding.problem)))
    found = check(world) if finding.kind != "stuck" else None
    console.print(found[1] if found else finding.problem, markup=False, highlight=False, soft_wrap=True)
    console.print(as_script(world), markup=False, highlight=False, soft_wrap=True)


def _shape(found: tuple[str, str] | None) -> str:
    """Return what two findings of the same fault have in common: their words, but for names and numbers."""
    if found is None:
        return ""
    return re.sub(r"'[^']*'|\b[abc]\b|\b[tr]_?\d[\w-]*|[\d.]+", "#", found[1].partition("session")[2])[:60]


def show(seed: int) -> int:
    """Print what happens in one world; return 1 if it is wrong."""
    history = play(draw_world(seed))
    for place, item in enumerate(history.items):
        who = " ".join(str(part) for part in (item.task, item.agent) if part)
        print(f"{place:4} {item.at:9.3f} s{item.session} {item.kind:9} {who:12} {str(dict(item.data))[:160]}")
    problem = judge(history)
    print(problem or "nothing is wrong")
    return 1 if problem else 0


def _print(result: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:<24}{value:.1f}" if isinstance(value, float) else f"{name:<24}{value}")


if __name__ == "__main__":
    main()
