"""`kapelle doctor`: looks at what kapelle needs, and says of everything that is wrong what to do about it.

A check is one function that takes the Surroundings and returns a CheckResult, and stands in CHECKS; whoever adds to
kapelle what can be missing or broken adds one. It asks nobody over the network but the ledger's own server, and whether
a model's server of the user's own listens, and leaves nothing behind. One that raises has failed, and the message of
its error, which ends with the way out, is told.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import kapelle
from kapelle.agents import AgentRegistry
from kapelle.engine import assemble_team
from kapelle.errors import InvalidInput, KapelleError, LedgerCorrupt, NotFound
from kapelle.learning import find_unreadable, learned_folder
from kapelle.ledger import (
    file_location,
    has_ledger,
    is_postgres_url,
    ledger_path,
    open_ledger,
    printable,
    try_making,
)
from kapelle.models import PydanticAIClient, find_model
from kapelle.tools import GET_CHROMIUM, GET_PLAYWRIGHT, Browser, Sandbox, find_chromium, find_walls

from .app import Db, Json, app, console, db_words
from .printing import print_json, split_remedy

if TYPE_CHECKING:
    from kapelle.ledger import PostgresLedger, SqliteLedger

OLDEST_PYTHON = (3, 11)
MIN_FREE_BYTES = 100_000_000
"""Room for about a hundred thousand events; with less, a run ends in the middle for want of it."""
CLOCK_SLACK_S = 5.0
"""Clocks of machines that share a ledger and are kept by NTP differ by less."""
LISTENS_S = 3.0
"""A server on one's own machine or network that takes longer to accept a connection is not there."""
EXTRAS = {
    "anthropic": "anthropic",
    "google": "google.genai",
    "postgres": "psycopg",
    "ray": "ray",
    "browser": "playwright",
    "plot": "matplotlib",
}
"""Optional parts, and the module that each brings."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What was found about one thing."""

    name: str = ""
    """Of the check, as `examine` gives it."""
    ok: bool
    detail: str
    remedy: str = ""
    """What to do; empty where it is well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What the checks look at."""

    db: str | None = None
    """The ledger that was named, if one was."""
    environ: Mapping[str, str]
    clock: Callable[[], float] = time.time
    tell: Callable[[str], None] = lambda words: None
    """Takes what is being done now, in words."""

    @property
    def location(self) -> str:
        """Where the ledger is."""
        return ledger_path(self.db, self.environ)


@app.command(epilog="Example: [bold]kapelle doctor[/bold]; for programs: [bold]kapelle doctor --json[/bold]")
def doctor(db: Db = None, as_json: Json = False) -> None:
    """Check that kapelle has what it needs and that the ledger is whole; exit code 1 if something is wrong."""
    with console(stderr=True).status("looking") as status, redirect_stdout(sys.stderr):
        surroundings = Surroundings(db=db, environ=os.environ, tell=lambda words: status.update(printable(words)))
        found = examine(surroundings)
    if as_json:
        print_json({"checks": [asdict(check) for check in found]})
    else:
        _show(console(), found)
    raise typer.Exit(0 if all(check.ok for check in found) else 1)


def examine(surroundings: Surroundings) -> tuple[CheckResult, ...]:
    """Return what every check finds. None of them raises."""
    return tuple(_perform(check, surroundings) for check in CHECKS)


def check_python(surroundings: Surroundings) -> CheckResult:
    """Whether this Python is one that kapelle is written for."""
    version = f"Python {platform.python_version()}, kapelle {kapelle.__version__}"
    if sys.version_info >= OLDEST_PYTHON:
        return _well(version)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return _wrong(detail=version, remedy=f"Install Python {oldest} or later.")


def check_ledger(surroundings: Surroundings) -> CheckResult:
    """Whether the ledger can be read and written, or made where there is none."""
    if not has_ledger(surroundings.location):
        try_making(surroundings.location)
        return _well("There is none yet; the first run makes it.")
    with open_ledger(surroundings.location, read_only=True) as ledger:
        found = ledger.examine()
        found.try_write()
        detail = f"{ledger.path} can be read and written; schema {found.version}"
        return _well(detail)


def check_disk(surroundings: Surroundings) -> CheckResult:
    """Whether there is room for what runs write."""
    if is_postgres_url(surroundings.location):
        return _well("The ledger is on a server; its disk is not seen from here.")
    target = Path(file_location(surroundings.location)).expanduser().absolute()
    folder = next(parent for parent in target.parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:,.1f} GB are free at {folder}"
    if free >= MIN_FREE_BYTES:
        return _well(detail)
    return _wrong(
        detail=detail,
        remedy=f"Make room there, {MIN_FREE_BYTES / 1e6:,.0f} MB at least; `kapelle gc` forgets old runs.",
    )


def check_runs(surroundings: Surroundings) -> CheckResult:
    """Whether every run is as it was written: see the ledger's chain."""
    damaged: list[str] = []
    unchained: list[str] = []
    partly: list[str] = []
    with _ledger(surroundings) as found:
        if found is None:
            return _well("There are no runs yet.")
        run_ids, examination = found.run_ids(), found.examine()
        for number, run_id in enumerate(run_ids):
            surroundings.tell(f"checking run {number + 1:,} of {len(run_ids):,}")
            try:
                start = examination.check_run(run_id)
            except LedgerCorrupt as error:
                damaged.append(split_remedy(str(error))[0])
                continue
            if start is None:
                unchained.append(run_id)
            elif start:
                partly.append(f"{run_id} before event {start}")
    if damaged:
        return _wrong(
            detail=f"{len(damaged):,} of {len(run_ids):,} runs damaged: {_some(damaged, ' ')}",
            remedy="Put a copy of the ledger in its place, or do without these runs: the others are whole.",
        )
    detail = f"{len(run_ids):,} run{'s' * (len(run_ids) != 1)}, all as they were written"
    if unchained or partly:
        detail = f"{len(run_ids):,} run{'s' * (len(run_ids) != 1)}, nothing found wrong"
    for what, those in (("not chained", unchained), ("not chained in part", partly)):
        if those:
            detail += f"; {len(those):,} {what}, from before events were: {_some(those, ', ')}"
    return _well(detail)


def check_unfinished(surroundings: Surroundings) -> CheckResult:
    """Whether there are runs under way on which nobody works: their engine has died."""
    with _ledger(surroundings) as found:
        left = () if found is None else found.examine().abandoned()
        more = "" if found is None else db_words(surroundings.db, found.path)
    if not left:
        return _well("No run was left unfinished by an engine that died.")
    return _wrong(
        detail=f"{len(left):,} run{'s' * (len(left) != 1)} under way, but nobody works on "
        f"{'them' if len(left) != 1 else 'it'}: {_some(left, ', ')}",
        remedy="To go on: " + _some([f"kapelle resume {run_id}{more}" for run_id in left], "; "),
    )


def check_clock(surroundings: Surroundings) -> CheckResult:
    """Whether time goes forward: leases, deadlines and the order of runs go by it."""
    with _ledger(surroundings) as found:
        newest = None if found is None else found.newest_at()
    now = surroundings.clock()
    if newest is None:
        return _well("There are no events to compare it with.")
    if newest <= now + CLOCK_SLACK_S:
        return _well("It is not before the newest event in the ledger.")
    return _wrong(
        detail=f"It is {newest - now:,.0f} seconds before the newest event in the ledger",
        remedy="Set this machine's clock (date, timedatectl), or that of the machine that wrote the event.",
    )


def check_model(surroundings: Surroundings) -> CheckResult:
    """Which model the environment names, or that there is none; nobody is called, so a key may still be wrong. Whether
    anybody listens is asked where it is to be on the user's own machine or network."""
    team = assemble_team(AgentRegistry(), data=None, model=None, environ=surroundings.environ)
    told = team.model_note.rstrip(".")
    if team.model_name is None:
        return _well(f"{told}. This is offline; KAPELLE_MODEL names a model.")
    client = find_model(None, surroundings.environ)
    problem = _try_connecting(client.base_url) if isinstance(client, PydanticAIClient) and client.is_local else None
    if problem is None:
        mask = f" {client.mask.words}" if isinstance(client, PydanticAIClient) else ""
        return _well(f"{told}. It was not called.{mask}")
    remedy = "Start its server (ollama serve, vllm serve, llama-server), or name another address in KAPELLE_BASE_URL."
    return _wrong(detail=f"{told}. Nobody listens there: {problem}", remedy=remedy)


def _try_connecting(base_url: str | None) -> str | None:
    """Return why no connection can be made to a server; None where one can."""
    parts = urlsplit(base_url or "")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=LISTENS_S):
            return None
    except OSError as error:
        return error.strerror or str(error)


def check_learned(surroundings: Surroundings) -> CheckResult:
    """Whether what was learned, which lies beside the ledger, can be read: runs go on without, and are dearer."""
    with _ledger(surroundings) as found:
        folder = None if found is None else learned_folder(found)
    if folder is None or not folder.exists():
        return _well("Nothing was learned yet; `kapelle learn` does.")
    problems = find_unreadable(folder)
    if not problems:
        return _well(f"{folder} can be read.")
    remedy = "Learn anew: kapelle learn" + db_words(surroundings.db, surroundings.location)
    return _wrong(detail=" ".join(problems), remedy=remedy)


def check_sandbox(surroundings: Surroundings) -> CheckResult:
    """Whether programs can be run where they reach nothing."""
    with Sandbox(processes=1) as sandbox:
        found = sandbox.run_program("sum(numbers) * 2", {"numbers": [1, 20]}).value
    if found == 42:
        return _well("A program ran in it.")
    remedy = "Install it anew: pip install --force-reinstall pydantic-monty"
    return _wrong(detail=f"A program gave {found!r:.80} instead of 42.", remedy=remedy)


def check_commands(surroundings: Surroundings) -> CheckResult:
    """What keeps commands in. Where nothing does they are refused, which is no fault."""
    walls = find_walls()
    return _well(walls.reason if walls.holds else f"Commands of agents are refused here: {walls.reason}")


def check_browser(surroundings: Surroundings) -> CheckResult:
    """Whether agents can look at pages. Without a browser they cannot, which is no fault."""
    found, needed = find_chromium(), []
    if not _is_installed("playwright"):
        needed.append(GET_PLAYWRIGHT)
    if found is None:
        needed.append(GET_CHROMIUM)
    if needed:
        return _well(f"There is none for agents. To have one: {'; '.join(needed)}.")
    walls = "in its own sandbox" if Browser().is_sandboxed else "without its own sandbox, which does not start as root"
    return _well(f"{found} is used for pages, {walls}.")


def check_extras(surroundings: Surroundings) -> CheckResult:
    """Which optional parts are there. One that is missing is no fault."""
    missing = [name for name, module in EXTRAS.items() if not _is_installed(module)]
    there = ", ".join(name for name in EXTRAS if name not in missing) or "none"
    detail = f"installed: {there}"
    if missing:
        detail += f"; not installed: {', '.join(missing)} (pip install 'kapelle[{','.join(missing)}]')"
    return _well(detail)


CHECKS: tuple[Callable[[Surroundings], CheckResult], ...] = (
    check_python,
    check_ledger,
    check_disk,
    check_runs,
    check_unfinished,
    check_clock,
    check_model,
    check_learned,
    check_sandbox,
    check_commands,
    check_browser,
    check_extras,
)
"""In the order in which they are told."""


def _well(detail: str) -> CheckResult:
    return CheckResult(ok=True, detail=detail)


def _wrong(*, detail: str, remedy: str) -> CheckResult:
    return CheckResult(ok=False, detail=detail, remedy=remedy)


def _perform(check: Callable[[Surroundings], CheckResult], surroundings: Surroundings) -> CheckResult:
    name = check.__name__.removeprefix("check_")
    surroundings.tell(f"checking: {name}")
    try:
        found = check(surroundings)
    except KapelleError as error:
        detail, remedy = split_remedy(str(error))
        found = _wrong(detail=detail, remedy=remedy or detail)
    except Exception as error:  # whatever is broken here is what was looked for
        detail = traceback.format_exception_only(error)[-1].strip()
        remedy = "Install kapelle anew; if that does not help, please report this."
        found = _wrong(detail=detail, remedy=remedy)
    return replace(found, name=name)


@contextmanager
def _ledger(surroundings: Surroundings) -> Iterator[SqliteLedger | PostgresLedger | None]:
    """The ledger, opened for reading; None where there is none yet."""
    location = surroundings.location
    try:
        ledger = None if location == ":memory:" else open_ledger(location, read_only=True)
    except NotFound:
        ledger = None
    except KapelleError as error:
        raise InvalidInput("Not checked: the ledger cannot be opened. See the check 'ledger'.") from error
    with ledger or nullcontext() as found:
        yield found


def _some(things: list[str] | tuple[str, ...], between: str) -> str:
    shown = between.join(things[:_SHOWN])
    return shown if len(things) <= _SHOWN else f"{shown}{between}and {len(things) - _SHOWN:,} more"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # what it lies in is missing
        return False


def _show(out: Console, found: tuple[CheckResult, ...]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in found:
        state = Text("ok", style="green") if check.ok else Text("failed", style="bold red")
        table.add_row(Text(check.name), state, Text(printable(check.detail)))
        if not check.ok:
            table.add_row("", "", Text(f"→ {printable(check.remedy)}", style="bold"))
    out.print(table)
    failed = sum(not check.ok for check in found)
    out.print(f"{failed} of {len(found)} checks failed." if failed else f"All {len(found)} checks passed.")
