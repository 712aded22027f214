"""The main job, on the embedded defaults: `make demo`. No key, no network; everything it prints really happens.

Each step is a command that you can type yourself. The ledger of the demo is .demo/ledger.sqlite.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / ".demo"
DATA = "--data examples/atlas/data"
OWN = "--agents examples/atlas/agents.yaml"
FACTS = "For each of France, Germany, Italy and Spain, find its capital and its population; then write a report."

FIRST = (
    "Find the longest river in Germany and its length. Compare the populations of France and Germany. "
    "What is the total area of countries per continent? Finally write a report."
)
PRICED = f"'{FACTS}' {OWN}"

# What it shows, the command, and the exit code that it must have.
STEPS: tuple[tuple[str, str, int], ...] = (
    (
        "A request with parallel branches, a chain, a join, SQL, search and a written report.",
        f"kapelle run '{FIRST}' {DATA} --svg .demo/run.svg",
        0,
    ),
    ("Why did it do that? Every run can tell.", "kapelle explain last", 0),
    (
        "Agents of our own, with prices. The plan that costs least at 90 % expected success, before anything is spent.",
        f"kapelle plan {PRICED} --budget 0.02 --quality 0.9",
        0,
    ),
    (
        "The same, run: what each agent cost, against the budget.",
        f"kapelle run {PRICED} --budget 0.02 --quality 0.9",
        0,
    ),
    (
        "A budget that cannot hold is refused before a cent is spent, with what would help.",
        f"kapelle run {PRICED} --budget 0.001 --quality 0.99",
        2,
    ),
    (
        "The choices that there are for it, by cost, time and quality.",
        f"kapelle plan {PRICED} --frontier",
        0,
    ),
    (
        "What routing would have saved, told from a log of outcomes (this one is made up: its README says so).",
        "kapelle savings examples/savings/support.csv",
        0,
    ),
    (
        "A graph that grows: which countries these are is known only when the tables have answered.",
        f"kapelle run 'For each country in South America, find its capital and its area; then write a report.' {DATA}",
        0,
    ),
    ("All runs.", "kapelle runs", 0),
)


def main() -> None:
    """Run the steps, and stop with an error if one does not end as it should."""
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    surroundings = {**kept, "KAPELLE_DB": str(DEMO / "ledger.sqlite"), "KAPELLE_MODEL": "none"}
    for number, (title, command, wanted) in enumerate(STEPS, start=1):
        print(f"\n{number}. {title}\n\n$ {command}\n", flush=True)
        words = shlex.split(command)[1:]
        done = subprocess.run([sys.executable, "-m", "kapelle.cli", *words], cwd=ROOT, env=surroundings, check=False)  # noqa: S603 - the words above
        if done.returncode != wanted:
            sys.exit(f"step {number} ended with exit code {done.returncode} instead of {wanted}")
    print("\nThe first run as a picture: .demo/run.svg. Your own requests: .venv/bin/kapelle run '...' --data FOLDER")


if __name__ == "__main__":
    main()
