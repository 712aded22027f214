"""Runs one command within walls, with bounds on time, memory, processes, disk and output, and leaves nothing running.

Nobody can answer it: stdin is empty, there is no terminal, and pagers and editors are off, so that what would ask ends
with an error of its own instead of waiting for the time limit. Its environment holds what programs need to start and
none of this process's variables, where keys are.

What one process may take is bounded by the kernel (`setrlimit`), and the sum of all by control groups where they can be
had; it is watched besides, together with the size of the workspace.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kapelle.errors import CannotAnswer, InvalidInput, RefusedQuery

from .control_groups import ControlGroups, bounded_groups
from .launcher import REFUSED
from .usage import NOTHING_USED, TreeUsage, folder_bytes, processes_of_user, tree_usage
from .walls import BUBBLEWRAP, Prepared, Rooms, Walls, close_all, prepare

_FIRST_STEP_S, _LAST_STEP_S = 0.002, 0.05
"""Between two looks at a command: often at first, as most are short."""
_DISK_STEP_S = 0.25
_WATCH_SHARE = 0.1
"""Of the time that goes by, what looking at a large workspace may take."""
_CHUNK = 65_536
_GRACE_S = 5.0
"""How long what was killed may take to be gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandLimits:
    """What a command may use, all its processes together."""

    time_s: float = 120.0
    memory_bytes: int = 2_000_000_000
    processes: int = 200
    disk_bytes: int = 1_000_000_000
    """Size of the workspace; a single file cannot pass it."""
    output_bytes: int = 200_000
    """Of what it prints, the first and the last half of this is kept."""

    def __post_init__(self) -> None:
        for name in ("time_s", "memory_bytes", "processes", "disk_bytes", "output_bytes"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"The limit of commands {name}={value!r} must be more than zero.")


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """How a command ended."""

    exit_code: int
    """Its own; 128 and the signal's number where a signal ended it, as shells say it."""
    output: str
    """What it printed, stdout and stderr in the order of writing; the middle is left out where it was too much."""
    left_out_bytes: int
    """How much of the middle is missing from `output`."""
    stopped: str
    """The limit that it passed, in words with the way out; empty where it ended by itself."""
    seconds: float
    walls: str
    """The kind of walls it ran in."""

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.exit_code == 0 and not self.stopped


def environment(home: str, *, temporary: str) -> dict[str, str]:
    """Return all the variables that a command sees."""
    programs = [
        os.path.dirname(sys.executable),
        "/usr/local/bin",
        "/usr/bin",
        "/bin",
        "/usr/local/sbin",
        "/usr/sbin",
        "/sbin",
    ]
    return {
        "PATH": os.pathsep.join(dict.fromkeys(programs)),
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TZ": os.environ.get("TZ", ""),
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "MANPAGER": "cat",
        "EDITOR": "false",
        "VISUAL": "false",
        "GIT_EDITOR": "false",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_NO_INPUT": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


async def run_command(
    command: str | Sequence[str],
    workspace: Path,
    walls: Walls,
    limits: CommandLimits,
    *,
    network: bool = False,
    readable: Sequence[Path] = (),
    environ: Mapping[str, str] | None = None,
) -> CommandResult:
    """Run a command in a workspace and return how it ended; see `Sandbox.run_command`."""
    if walls.kind == "none":
        raise RefusedQuery(f"Commands are refused on this machine: {walls.reason}")
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    if not words or any("\0" in word for word in words):
        raise InvalidInput("A command needs a program, and no word of it may hold a NUL character.")
    started = time.monotonic()
    with _rooms(workspace, readable) as rooms:
        temporary = "/tmp" if walls.kind == BUBBLEWRAP else str(rooms.home)  # noqa: S108 -- one of its own, within
        seen = {**environment(str(rooms.home), temporary=temporary), **(environ or {})}
        output = _Output(limits.output_bytes)
        with bounded_groups(limits.processes, limits.memory_bytes) as groups:
            prepared = prepare(walls, words, rooms, _limits_of_one(limits), groups=groups.entries, network=network)
            async with _started(prepared, rooms.workspace, seen) as process:
                stopped = await _watch(process, rooms.workspace, limits, output, groups)
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    text = output.text()
    # A command that says the same words itself is told that it was refused, which harms nobody.
    if walls.holds and (code, text.partition(": ")[0]) in ((REFUSED, "kapelle"), (1, "bwrap")):
        raise RefusedQuery(f"The sandbox could not be built ({walls.kind}): {text.strip()}. Run `kapelle doctor`.")
    return CommandResult(
        exit_code=code if code >= 0 else 128 - code,
        output=text,
        left_out_bytes=output.left_out,
        stopped=stopped,
        seconds=time.monotonic() - started,
        walls=walls.kind,
    )


@contextlib.contextmanager
def _rooms(workspace: Path, readable: Sequence[Path]) -> Iterator[Rooms]:
    place = workspace.resolve()
    if not place.is_dir():
        raise InvalidInput(f"The workspace {workspace} is not a folder. Make it first.")
    with tempfile.TemporaryDirectory(prefix="kapelle-home-", ignore_cleanup_errors=True) as home:
        yield Rooms(workspace=place, home=Path(home).resolve(), readable=tuple(path.resolve() for path in readable))


def _limits_of_one(limits: CommandLimits) -> dict[str, int]:
    return {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": math.ceil(limits.time_s) + 1,
        "RLIMIT_DATA": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.disk_bytes,
        "RLIMIT_NOFILE": 4_096,
        # Counts all that the user runs. For root it does not hold: there is a control group.
        "RLIMIT_NPROC": processes_of_user(os.geteuid()) + limits.processes,
    }


@contextlib.asynccontextmanager
async def _started(
    prepared: Prepared, workspace: Path, environ: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start it; however this is left, nothing of it runs any more."""
    try:
        process = await asyncio.create_subprocess_exec(
            *prepared.line,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=workspace,
            env=dict(environ),
            pass_fds=prepared.descriptors,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotAnswer(
            f"The command could not be started: {error.strerror}. Make it shorter, or try again."
        ) from error
    finally:
        close_all(prepared)
    try:
        yield process
    finally:
        _kill(process)
        with contextlib.suppress(TimeoutError):
            await asyncio.shield(asyncio.wait_for(process.wait(), _GRACE_S))


def _kill(process: asyncio.subprocess.Process) -> None:
    """End all of its processes: with bubblewrap the first one takes the others with it, else they share a group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _watch(
    process: asyncio.subprocess.Process,
    workspace: Path,
    limits: CommandLimits,
    output: _Output,
    groups: ControlGroups,
) -> str:
    """Read what it prints until it ends or passes a limit; return that limit in words, empty if none."""
    assert process.stdout is not None
    reading = asyncio.create_task(output.read(process.stdout))
    began = time.monotonic()
    disk = _Disk(workspace, limits.disk_bytes)
    step = _FIRST_STEP_S
    try:
        # `wait()` of asyncio also waits for whoever else holds the pipe, such as what was left in the background.
        while process.returncode is None:
            left = began + limits.time_s - time.monotonic()
            if left <= 0:
                return f"It ran longer than {limits.time_s:g} seconds. Do less at once, or raise the limit."
            used = await asyncio.to_thread(tree_usage, process.pid)
            passed = _passed(used, limits, ran_out=groups.ran_out_of_memory()) or await disk.passed()
            if passed:
                return passed
            step = min(2 * step, _LAST_STEP_S)
            if reading.done():
                await asyncio.sleep(min(_FIRST_STEP_S, left))
            else:
                await asyncio.wait([reading], timeout=min(step, left))
        return _passed(NOTHING_USED, limits, ran_out=groups.ran_out_of_memory())
    finally:
        _kill(process)  # also what it left behind, which would keep the pipe open
        await asyncio.wait([reading], timeout=_GRACE_S)
        reading.cancel()


def _passed(used: TreeUsage, limits: CommandLimits, *, ran_out: bool) -> str:
    if used.processes > limits.processes:
        return f"It ran {used.processes:,} processes at once, of {limits.processes:,} allowed. Start fewer."
    if ran_out or used.memory_bytes > limits.memory_bytes:
        return f"It used more than {limits.memory_bytes / 1e6:,.0f} MB of memory. Make it take less at once."
    return ""


class _Disk:
    """How large the workspace has become. One that was too large already may shrink, and not grow."""

    def __init__(self, workspace: Path, limit: int) -> None:
        self._workspace = workspace
        self._limit = limit
        self._next_look = 0.0
        self._most: int | None = None

    async def passed(self) -> str:
        began = time.monotonic()
        if began < self._next_look:
            return ""
        size = await asyncio.to_thread(folder_bytes, self._workspace)
        took = time.monotonic() - began
        self._next_look = began + max(_DISK_STEP_S, took / _WATCH_SHARE)
        if self._most is None:
            self._most = max(size, self._limit)
        if size <= self._most:
            return ""
        return f"The workspace grew over {self._most / 1e6:,.0f} MB. Write less, or remove files."


class _Output:
    """The first and the last of what was printed."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit - limit // 2
        self._tail_limit = limit // 2
        self._head, self._tail = bytearray(), bytearray()
        self.left_out = 0

    async def read(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(_CHUNK):
            room = self._head_limit - len(self._head)
            self._head += chunk[:room]
            self._tail += chunk[room:] if room > 0 else chunk
            over = len(self._tail) - self._tail_limit
            if over > 0:
                self.left_out += over
                del self._tail[:over]

    def text(self) -> str:
        head, tail = (bytes(part).decode(errors="replace") for part in (self._head, self._tail))
        if not self.left_out:
            return bytes(self._head + self._tail).decode(errors="replace")
        return f"{head}\n[... {self.left_out:,} bytes left out ...]\n{tail}"
