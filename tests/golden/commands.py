"""The stories of the command line: what each command prints and returns, with good input and with bad.

The commands run in this process, one after another, in a folder and on a ledger of their own: what one leaves the next
finds. Ids, times, durations and places are made alike. Of JSON only the names of its fields are told.
Here real time passes, so every task whose choice it could tip has its agent in the plan: choices are told in requests.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from kapelle import cli

from .story import ROOT, Story, threads_are_done_at_once

AGENTS = """
agents:
  - {agent_id: worker, task_types: [work], cost_usd: 0.01, run: "golden_agents:worker"}
  - {agent_id: careful, task_types: [work], cost_usd: 0.02, success_rate: 0.95, run: "golden_agents:careful"}
"""
CODE = """
from kapelle import agent

@agent(task_types=["work"], cost_usd=0.01)
async def worker(task, context):
    if task.task_id == "ask":
        return context.ask("Which account?", options=["savings", "current"])
    if task.task_id == "fail":
        raise RuntimeError("it cannot be done")
    return f"{task.task_id} is done"

@agent(task_types=["work"], cost_usd=0.02)
async def careful(task, context):
    return await worker.run(task, context) if hasattr(worker, "run") else f"{task.task_id} is done"
"""
FILES = {
    "agents.yaml": AGENTS,
    "golden_agents.py": CODE,
    "bill.yaml": """
request: pay the bill
tasks:
  - {id: look, type: work, agent: worker}
  - {id: ask, type: work, depends_on: [look], agent: worker}
  - {id: pay, type: work, depends_on: [ask], agent: careful, approval: true}
""",
    "fails.yaml": """
request: try it
tasks:
  - {id: first, type: work, agent: careful}
  - {id: fail, type: work, depends_on: [first], agent: worker, retries: 0}
  - {id: after, type: work, depends_on: [fail], agent: worker}
""",
    "votes.yaml": """
request: which is right
tasks:
  - {id: a, type: work, strategy: {vote: [worker, careful], min_agreement: 2}}
  - {id: b, type: work, depends_on: [a], strategy: {cascade: {cheap: worker, check: well_formed, strong: careful}}}
""",
    "circle.yaml": "tasks:\n  - {id: a, type: work, depends_on: [b]}\n  - {id: b, type: work, depends_on: [a]}\n",
    "wrong.yaml": "tasks:\n  - {id: a, type: work, depends: [b]}\n",
    "empty.csv": "",
}

COMPARE = "'Compare the population of France and Germany'"
FACTS = "'For each of France and Italy, find its capital and its population; then write a report.'"
OWN = "--agents agents.yaml"
COMMANDS = (
    "kapelle",
    "kapelle --version",
    "kapelle --help",
    "kapelle dance",
    "kapelle run",
    "kapelle run 'Make me happy'",
    "kapelle run 'Make me happy' --json",
    "kapelle run nowhere.yaml",
    "kapelle run circle.yaml",
    "kapelle run wrong.yaml --json",
    f"kapelle run {COMPARE} --data nowhere",
    f"kapelle run {COMPARE} --data atlas --budget -1",
    f"kapelle run {COMPARE} --data atlas --budget lots",
    f"kapelle run {COMPARE} --data atlas --quality 7 --json",
    f"kapelle run {COMPARE} --data atlas --deadline 0",
    f"kapelle run {COMPARE} --agents nowhere.yaml",
    "kapelle explain last",
    f"kapelle run {COMPARE} --data atlas",
    f"kapelle run {COMPARE} --data atlas --json --sql",
    "kapelle run 'What is the total area of countries per continent?' --data atlas --sql",
    "kapelle run 'Find the capital of Atlantis' --data atlas",
    f"kapelle run {FACTS} --data atlas --budget 0.02 --quality 0.8",
    "kapelle explain last",
    "kapelle explain last --json",
    "kapelle explain nope",
    f"kapelle plan {COMPARE} --data atlas",
    f"kapelle plan {COMPARE} --data atlas --json",
    f"kapelle plan {COMPARE} --data atlas --yaml",
    f"kapelle plan {COMPARE} --data atlas --xml",
    f"kapelle plan {COMPARE} --data atlas --mermaid",
    f"kapelle plan votes.yaml {OWN} --frontier",
    f"kapelle plan votes.yaml {OWN} --budget 0.001",
    f"kapelle run votes.yaml {OWN} --budget 0.001",
    f"kapelle run votes.yaml {OWN} --budget 0.001 --json",
    f"kapelle run votes.yaml {OWN} --budget 1",
    f"kapelle run fails.yaml {OWN}",
    "kapelle explain last --verbose",
    "kapelle resume last",
    f"kapelle run bill.yaml {OWN}",
    "kapelle questions",
    "kapelle questions --json",
    "kapelle approve last",
    "kapelle answer last elsewhere",
    "kapelle answer last savings --note 'it has more' --json",
    "kapelle resume last --json",
    "kapelle approve last --note 'as agreed'",
    "kapelle approve last --json",
    "kapelle resume last",
    "kapelle resume last",
    "kapelle resume nope --json",
    f"kapelle run bill.yaml {OWN} --json",
    "kapelle answer last current",
    "kapelle resume last",
    "kapelle reject last --note 'wrong account'",
    "kapelle resume last",
    "kapelle stop last",
    "kapelle stop last --json",
    "kapelle runs",
    "kapelle runs --limit 2 --json",
    "kapelle runs --limit 0",
    f"kapelle agents {OWN} --data atlas",
    f"kapelle agents {OWN} --json",
    "kapelle rate last good",
    "kapelle rate last look 0.5 --json",
    "kapelle rate last 7",
    "kapelle forget worker --dry-run",
    "kapelle forget nobody --json",
    "kapelle learn",
    "kapelle learn support.csv",
    "kapelle learn support.csv --json",
    "kapelle learn empty.csv",
    "kapelle savings support.csv",
    "kapelle savings support.csv --json",
    "kapelle savings empty.csv",
    "kapelle savings",
    "kapelle gc --keep-days 0 --dry-run",
    "kapelle gc --keep-days 0 --json",
    "kapelle gc --keep-days -1",
    "kapelle doctor --json",
    *(
        f"kapelle {name} --help"
        for name in (
            *("run", "plan", "resume", "stop", "questions", "approve", "reject", "answer", "explain", "runs", "agents"),
            *("rate", "forget", "learn", "savings", "gc", "doctor"),
        )
    ),
    f"kapelle plan votes.yaml bill.yaml {OWN} --together --budget 1",
    f"kapelle plan votes.yaml bill.yaml {OWN} --together --json",
    f"kapelle plan votes.yaml bill.yaml {OWN} --together --budget 0.01",
    f"kapelle plan votes.yaml bill.yaml {OWN}",
)
VARIES = ("kapelle doctor --json",)
"""Commands of which only the fields are told: what they say differs from machine to machine."""

_SAME = (
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{6}\b"), "RUN"),
    (re.compile(r"\bq-[0-9a-f]{8}\b"), "QUESTION"),
    (re.compile(r"\b\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?( UTC|Z)?"), "DATE"),
    (re.compile(r"(?<![\w$.])[\d.,]+ (ms|s|min|h|seconds|minutes)\b"), "TIME"),
    (re.compile(r"\bscore 0\.\d+"), "score SCORE"),
    (re.compile(r"[─━╌═]{2,}"), "──"),
    (re.compile(r"[ \t]+"), " "),
)

_OWN_FRAME = re.compile(r' *File "[^"]*src/kapelle/.*\n.*\n(?: *[\^~]+\n)?')
"""A line of a traceback that names a place in kapelle itself, which changes with every change."""


def tell_commands() -> dict[str, Story]:
    """Run all commands, and return what each left behind."""
    stories: dict[str, Story] = {}
    with tempfile.TemporaryDirectory(prefix="kapelle-golden-") as name, _in_folder(Path(name).resolve()) as folder:
        for number, command in enumerate(COMMANDS):
            stories[f"{number:02} {command}"] = list(_tell(command, folder))
    return stories


def _tell(command: str, folder: Path) -> Iterator[str]:
    code, out, err = _run(shlex.split(command), folder)
    is_json = "--json" in command
    if command not in VARIES:
        yield f"exit {code}"
    if is_json:
        yield from (f"key {path}" for path in sorted({_alike(path, folder) for path in _paths(json.loads(out))}))
    texts = (("err", err),) if is_json else (("out", out), ("err", err))
    for name, text in texts if command not in VARIES else ():
        yield from (f"{name} {line}" for row in _OWN_FRAME.sub("", text).splitlines() if (line := _alike(row, folder)))


def _run(words: list[str], folder: Path) -> tuple[object, str, str]:
    """Run a command as a shell would; return its exit code and what it wrote."""
    places = [folder / "stdout", folder / "stderr"]
    with _written_to(*places), mock.patch.object(sys, "argv", words), threads_are_done_at_once():
        try:
            cli.main()
            code: object = None
        except SystemExit as ended:
            code = ended.code
    out, err = (place.read_text(encoding="utf-8", errors="replace") for place in places)
    return code, out, err


@contextmanager
def _written_to(out: Path, err: Path) -> Iterator[None]:
    """Have both streams, of Python and of the process, write to files."""
    kept = [os.dup(number) for number in (1, 2)]
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    with out.open("w", encoding="utf-8") as first, err.open("w", encoding="utf-8") as second:
        os.dup2(first.fileno(), 1)
        os.dup2(second.fileno(), 2)
        sys.stdout, sys.stderr = first, second
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for number, file in enumerate(kept, 1):
                os.dup2(file, number)
                os.close(file)


@contextmanager
def _in_folder(folder: Path) -> Iterator[Path]:
    """Work in a folder with the files that the commands name, in surroundings without models."""
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "examples" / "atlas" / "data", folder / "atlas")
    shutil.copy(ROOT / "examples" / "savings" / "support.csv", folder)
    environ = {"KAPELLE_DB": str(folder / "ledger.sqlite"), "HOME": str(folder), "COLUMNS": "2000", "TERM": "dumb"}
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    before, paths = Path.cwd(), list(sys.path)
    os.chdir(folder)
    try:
        with mock.patch.dict(os.environ, {**kept, **environ}, clear=True):
            yield folder
    finally:
        os.chdir(before)
        sys.path[:] = paths
        sys.modules.pop("golden_agents", None)


def _paths(value: Any, at: str = "") -> Iterator[str]:
    """Yield the path of every field; the items of a list, and what is named by an id, share theirs."""
    if isinstance(value, dict):
        yield from ([at] if at and not value else [])
        for name, one in value.items():
            yield from _paths(one, f"{at}.{name}" if at else name)
    elif isinstance(value, list):
        yield from ([f"{at}[]"] if not value else [])
        for one in value:
            yield from _paths(one, f"{at}[]")
    else:
        yield at


def _alike(text: str, folder: Path) -> str:
    text = text.replace(str(folder), "FOLDER").replace(str(ROOT), "ROOT")
    for pattern, name in _SAME:
        text = pattern.sub(name, text)
    return text.strip()
