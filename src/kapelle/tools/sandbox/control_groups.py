"""A control group for one command: the kernel's own bound on how many processes it has and how much memory they take.

Only root may make one, as a rule, and only root needs it: RLIMIT_NPROC bounds the processes of every other user. Where
root may not either (in most containers) what a command starts is watched and ended, which a bomb of forks can outrun
for moments.

Source: cgroups(7), versions 1 and 2.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_FILES = {"pids": ("pids.max",), "memory": ("memory.max", "memory.limit_in_bytes")}
_EVENTS = ("memory.events", "memory.oom_control")
_GONE_S = 2.0


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The groups of one command: one in each hierarchy that has a controller for it, none where none can be made."""

    places: tuple[Path, ...] = ()

    @property
    def entries(self) -> tuple[str, ...]:
        """The files into which a process writes its number to join."""
        return tuple(str(place / "cgroup.procs") for place in self.places)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has ended one of its processes because all together took too much."""
        for place in self.places:
            for name in _EVENTS:
                with suppress(OSError):
                    told = dict(line.split() for line in (place / name).read_text(encoding="ascii").splitlines())
                    if int(told.get("oom_kill", "0")):
                        return True
        return False


@contextmanager
def bounded_groups(processes: int, memory_bytes: int) -> Iterator[ControlGroups]:
    """Make the groups, and end what is left in them when they are left."""
    groups: list[Path] = []
    limits = {"pids": processes, "memory": memory_bytes}
    try:
        for top, controllers in _hierarchies():
            group = top / f"kapelle-{os.getpid()}-{secrets.token_hex(4)}"
            with suppress(OSError):
                group.mkdir()
                groups.append(group)
                for controller in controllers:
                    for name in _FILES[controller]:
                        if (group / name).exists():
                            (group / name).write_text(str(limits[controller]), encoding="ascii")
        yield ControlGroups(tuple(groups))
    finally:
        for group in groups:
            _remove(group)


def has_groups() -> bool:
    """Whether a bound on the number of processes can be had."""
    return any("pids" in controllers and os.access(top, os.W_OK) for top, controllers in _hierarchies())


def _hierarchies() -> list[tuple[Path, list[str]]]:
    """Return where groups with the controllers that are wanted can be made."""
    found = []
    with suppress(OSError):
        for line in _MOUNTS.read_text(encoding="utf-8").splitlines():
            _, place, kind, options = line.split()[:4]
            top = Path(place)
            if kind == "cgroup":
                controllers = [name for name in _FILES if name in options.split(",")]
            elif kind == "cgroup2":
                told = (top / "cgroup.subtree_control").read_text(encoding="ascii").split()
                controllers = [name for name in _FILES if name in told]
            else:
                continue
            if controllers and os.geteuid() == 0 and os.access(top, os.W_OK):
                found.append((top, controllers))
    return found


def _remove(group: Path) -> None:
    """Remove a group; what is still in it is ended."""
    deadline = time.monotonic() + _GONE_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            for process in (group / "cgroup.procs").read_text(encoding="ascii").split():
                with suppress(ProcessLookupError):
                    os.kill(int(process), 9)
            group.rmdir()
            return
        if not group.exists():
            return
        time.sleep(0.001)
