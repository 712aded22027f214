"""What keeps a command in: bubblewrap or Landlock, whichever works on this machine. Tried, never assumed.

`find_walls` runs a small program within each wall in turn and takes the first that held: the program has to fail at
reading a secret, at writing outside, at changing rights and times of what is outside, at making a file that runs as its
owner, at writing what is protected in its workspace (bubblewrap; with Landlock such a workspace is refused), at seeing
this process's environment and at reaching a server on loopback, and has to succeed at writing in its workspace. Where
neither holds there are no walls, with the reason, and commands are refused; only the user's own word
(`ALLOWED_UNPROTECTED`) lets them run free. No wall is ever used in part.

- **bubblewrap** (`bwrap`): namespaces of its own for files, processes, network and users. A command sees the system's
  programs to read, its workspace, and nothing else; it has a loopback of its own. Needs the package, and a kernel that
  lets users make namespaces: in containers it often may not.
- **Landlock** (Linux 6.2 and later, no package): the same paths by rules of the kernel; no sockets at all, and no
  session of its own, so that all its processes end together. It has no rules for rights, owners and times of files, so
  those cannot be changed at all, in the workspace neither: `chmod`, `touch` and `cp -p` fail.

Both load the filter of `system_calls`. On macOS and Windows there is neither: commands are refused unless allowed.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kapelle.errors import RefusedQuery

from .places import RESOLVER, between, own_places, readable_places
from .system_calls import build_filter

BUBBLEWRAP, LANDLOCK, UNPROTECTED, NONE = "bubblewrap", "landlock", "unprotected", "none"
_LAUNCHER = Path(__file__).with_name("launcher.py")
_MIN_LANDLOCK = 3
"""Before the third version a file could be cut to nothing without the right to write."""
_SIGNALS_SCOPED = 6
"""Since this version signals stay within the walls; before, none may be sent."""
_PROBE_S = 20.0
_SYSTEM_PROGRAMS = ("/usr/bin", "/bin", "/usr/local/bin")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, kw_only=True, slots=True)
class Walls:
    """What commands are kept in by, and why."""

    kind: str
    """`bubblewrap`, `landlock`, `unprotected` (the user allowed it) or `none` (commands are refused)."""
    reason: str
    """In words: what holds, or what was tried and why it did not."""

    @property
    def holds(self) -> bool:
        """Whether a command is kept in."""
        return self.kind in (BUBBLEWRAP, LANDLOCK)


ALLOWED_UNPROTECTED = Walls(
    kind=UNPROTECTED, reason="Commands run with all that this user may do: the user allowed it."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rooms:
    """Which folders a command has."""

    workspace: Path
    """It may read and write there, and starts there."""
    home: Path
    """Its HOME and, with Landlock, its TMPDIR: an empty folder that is removed with it."""
    readable: tuple[Path, ...] = ()
    """What it may read besides the system's programs and this Python."""
    protected: tuple[Path, ...] = ()
    """What it may only read although it lies in the workspace, besides this Python and kapelle."""


@cache
def find_walls() -> Walls:
    """Return the first walls that held when they were tried. Asked once for a process; takes some 100 ms then.

    A machine can change under a process, so a command whose walls cannot be built is refused all the same.
    """
    if sys.platform != "linux":
        return Walls(kind=NONE, reason=f"There is no sandbox for commands on {platform.system()}.")
    failures: list[str] = []
    for kind in (BUBBLEWRAP, LANDLOCK):
        failure = _try_out(kind)
        if not failure:
            return Walls(kind=kind, reason=_HOLDS[kind] + "".join(f" ({failed})" for failed in failures))
        failures.append(f"{kind}: {failure}")
    return Walls(
        kind=NONE,
        reason="; ".join(failures) + ". Install bubblewrap (`apt install bubblewrap`) or allow user namespaces.",
    )


_HOLDS = {
    BUBBLEWRAP: "bubblewrap: files, processes and network of its own, system calls filtered",
    LANDLOCK: "Landlock: files by the kernel's rules, no sockets, system calls filtered",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A command with its walls, ready to be started in its workspace with exactly this environment."""

    line: tuple[str, ...]
    descriptors: tuple[int, ...] = ()
    """Open files that the started process inherits. Whoever starts it closes them afterwards."""


def prepare(
    walls: Walls,
    command: Sequence[str],
    rooms: Rooms,
    limits: Mapping[str, int],
    *,
    groups: Sequence[str] = (),
    network: bool = False,
) -> Prepared:
    """Return what to start, so that a command runs within walls.

    Args:
        limits: names of `resource` to their limits, for each process.
        groups: files of control groups that it enters.
        network: whether it may reach the network, as this process may.

    Raises:
        RefusedQuery: the workspace holds this Python in a way that these walls cannot protect.
    """
    order: dict[str, object] = {"limits": dict(limits), "groups": list(groups), "command": list(command)}
    descriptors: tuple[int, ...] = ()
    if walls.kind == BUBBLEWRAP:
        # With the network of the machine come its abstract sockets, which no mount hides.
        families = ("inet", "inet6") + ("unix",) * (not network)
        program = build_filter(families=families)
        line = _bubblewrap(rooms, network=network)
        filtered = os.memfd_create("system calls", 0)
        os.write(filtered, program or b"")
        os.lseek(filtered, 0, os.SEEK_SET)
        descriptors = (filtered,)
        order["command"] = [*line, "--seccomp", str(filtered), "--", *command]
    elif walls.kind == LANDLOCK:
        inside = own_places(rooms.workspace, rooms.protected)
        if inside:
            raise RefusedQuery(
                f"This Python or kapelle itself lies in the workspace, at {inside[0]}, and Landlock cannot keep a "
                "command from writing there. Install bubblewrap, or use another folder as the workspace."
            )
        version = landlock_version()
        families = ("inet", "inet6") * network
        program = build_filter(families=families, signals=version >= _SIGNALS_SCOPED, sessions=False, metadata=False)
        readable = [*readable_places(rooms.readable), *_devices()]
        readable += [Path(os.path.realpath(RESOLVER))] * (network and os.path.exists(RESOLVER))
        order["landlock"] = {
            "version": version,
            "read": [str(path) for path in readable],
            "write": [str(rooms.workspace), str(rooms.home), "/dev/null"],
        }
        order["filter"] = (program or b"").hex()
    return Prepared(line=(sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(order)), descriptors=descriptors)


def _bubblewrap(rooms: Rooms, *, network: bool) -> list[str]:
    program = find_bubblewrap()
    if Path(program).is_relative_to(rooms.workspace):
        raise RefusedQuery(f"`bwrap` lies in the workspace, at {program}. Install bubblewrap for the whole system.")
    line = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    line += ["--share-net"] * network
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 -- a new one, within
    mounts: dict[Path, list[str]] = {}
    for path in readable_places(rooms.readable):
        mounts[path] = ["--symlink", os.readlink(path)] if path.is_symlink() else ["--ro-bind", str(path)]
    for path in (rooms.home, rooms.workspace):
        mounts[path] = ["--bind", str(path)]
    for path in own_places(rooms.workspace, rooms.protected):
        # A folder with something mounted beneath can be moved away with it; one that is a mount itself cannot.
        mounts.update(
            {above: ["--bind", str(above)] for above in between(rooms.workspace, path)}
            | {path: ["--ro-bind", str(path)]}
        )
    if network and os.path.exists(RESOLVER):
        mounts[Path(RESOLVER)] = ["--ro-bind", os.path.realpath(RESOLVER)]
    for path in sorted(mounts, key=lambda path: len(path.parts)):  # what is mounted later covers what is there
        line += [*mounts[path], str(path)]
    return [*line, "--chdir", str(rooms.workspace)]


@cache
def find_bubblewrap() -> str:
    """Return where `bwrap` is, empty if nowhere. Asked once, before a command could have put another one in its place.

    The system's own comes first, whatever PATH says; a relative folder in PATH is no place to look.
    """
    folders = [*_SYSTEM_PROGRAMS, *filter(os.path.isabs, os.get_exec_path())]
    found = shutil.which("bwrap", path=os.pathsep.join(folders))
    return os.path.realpath(found) if found else ""


def _devices() -> list[Path]:
    return [Path(each) for each in _DEVICES if os.path.exists(each)]


@cache
def landlock_version() -> int:
    """Return the version of Landlock that this kernel has; 0 if none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1))))


# Prints what it could do and must not, and what it could not do and must.
_ATTEMPTS = """
import os, socket, sys
secret, outside, port, process, inside, protected = sys.argv[1:]
def tried(name, attempt):
    try:
        if attempt() is not False:
            print(name)
    except OSError:
        pass
tried("read a file outside", lambda: open(secret).read())
try:
    open(outside, "w").close()  # may succeed in a folder that exists within the walls only
except OSError:
    pass
tried("reach a server", lambda: socket.create_connection(("127.0.0.1", int(port)), timeout=2).close())
environ = lambda of: open("/proc/" + of + "/environ").read()
tried("see the environment", lambda: environ(process) != environ("self"))
tried("change the rights of a file outside", lambda: os.chmod(secret, 0o777))
tried("change the times of a file outside", lambda: os.utime(secret, (0, 0)))
tried("write what is protected in its workspace", lambda: open(protected + "/file", "w").close())
tried("move what is protected in its workspace", lambda: os.rename(os.path.dirname(protected), protected + "-moved"))
tried("make a file that runs as its owner", lambda: os.close(os.open(inside + "-own", os.O_CREAT, 0o4755)))
try:
    open(inside, "w").close()
except OSError as error:
    print("not write in its workspace:", error.strerror)
tried("let a file run as its owner", lambda: os.chmod(inside, 0o4755))
print("done")
"""


def _try_out(kind: str) -> str:
    """Return why these walls do not hold; empty where they do."""
    missing = _what_is_missing(kind)
    if missing:
        return missing
    with (
        tempfile.TemporaryDirectory(prefix="kapelle-probe-") as told,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        folder = Path(told).resolve()
        secret, workspace, home = folder / "secret", folder / "workspace", folder / "home"
        secret.write_text("kept", encoding="utf-8")
        home.mkdir()
        protected = workspace / "project" / "python"
        protected.mkdir(parents=True)
        facts = [str(secret), str(folder / "written"), str(server.getsockname()[1]), str(os.getpid())]
        facts += [str(workspace / "made"), str(protected if kind == BUBBLEWRAP else folder / "none")]
        attempt = [sys.executable, "-I", "-S", "-c", _ATTEMPTS, *facts]
        rooms = Rooms(workspace=workspace, home=home, protected=(protected,) if kind == BUBBLEWRAP else ())
        try:
            prepared = prepare(Walls(kind=kind, reason=""), attempt, rooms, {})
        except RefusedQuery as error:
            return str(error)
        try:
            done = subprocess.run(  # noqa: S603 -- our own program
                prepared.line, pass_fds=prepared.descriptors, cwd=workspace, env={"PATH": os.defpath},
                stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"could not be started: {error}"
        finally:
            close_all(prepared)
        written = (folder / "written").exists()
    said = done.stdout.decode(errors="replace").splitlines()
    if "done" not in said:
        words = done.stderr.decode(errors="replace").strip()[-300:]
        return words.removeprefix("kapelle: ") or f"ended with exit code {done.returncode}"
    leaks = [one for one in said if one != "done"] + ["write outside"] * written
    return f"a program within could {', '.join(leaks)}" if leaks else ""


def close_all(prepared: Prepared) -> None:
    """Close the open files that a started command has inherited."""
    for descriptor in prepared.descriptors:
        os.close(descriptor)


def _what_is_missing(kind: str) -> str:
    if build_filter() is None:
        return f"no filter of system calls for {platform.machine()}"
    if kind == BUBBLEWRAP:
        return "" if find_bubblewrap() else "`bwrap` is not installed"
    version = landlock_version()
    if version == 0:
        return "the kernel has none"
    return "" if version >= _MIN_LANDLOCK else "the kernel is older than 6.2"
