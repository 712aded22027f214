"""Runs the script of a system in a fresh process, and reads what it tells."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .systems import System

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = Path(__file__).parent / "peers"
TIMEOUT_S = 900.0


class DidNotRun(Exception):
    """Why a system was not measured, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstRun:
    """What the first run of a fresh process took, from its start to its end."""

    ms: float
    mb: float
    """The most memory that the process held at once, in 10**6 bytes; that of processes it started is not in it."""


def measure_run(system: System, python: Path, size: int, rounds: int, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what a script tells of the work at a size; see peers/work.py.

    Raises:
        DidNotRun: it failed, or took too long.
    """
    return _run(system, python, size, min(rounds, system.rounds), environ)


def measure_first(system: System, python: Path, environ: Mapping[str, str], *, size: int = 3) -> FirstRun:
    """Return what a fresh process takes that does so many tasks.

    Raises:
        DidNotRun: it failed.
    """
    started = time.perf_counter()
    told = _run(system, python, size, 0, environ)
    return FirstRun(ms=(time.perf_counter() - started) * 1e3, mb=told["mb"])


def _run(system: System, python: Path, size: int, rounds: int, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what a script prints as its last line."""
    known = _environ(system, environ)
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python), str(SCRIPTS / system.script), system.name, str(size), str(rounds), folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=known, check=False)
        except subprocess.TimeoutExpired as error:
            raise DidNotRun(f"it took longer than {TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise DidNotRun(_last_line(done.stderr))
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise DidNotRun(f"it told no figures: {_last_line(done.stdout)}") from error
    return found


def _environ(system: System, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a script: a peer sees no module of ours, and nobody the user's model or ledger."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAPELLE_", "PYTHON"))}
    paths = {"PYTHONPATH": str(ROOT / "src")} if not system.packages else {}
    return {**kept, **paths, **environ}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
