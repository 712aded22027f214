"""Who holds a lease, so exactly that another process can tell whether it is certainly dead.

    host[boot.pids]/pid@start, and what a process adds to tell its own holders apart: #n

`boot` and `pids` name the machine's present boot and the namespace of its process numbers (containers on one machine
have their own); `start` is when the process began, so that a number which was given out again is another owner. Where
anything of this cannot be read, nobody is declared dead: then a lease is waited for.
"""

from __future__ import annotations

import os
import re
import socket
from functools import cache
from pathlib import Path

_OWNER = re.compile(r"(?P<host>[^\[]+)\[(?P<boot>[^.\]]*)\.(?P<pids>[^\]]*)\]/(?P<pid>\d+)@(?P<start>\d*)(#\d+)?")


def this_process() -> str:
    """Return the owner that this process is."""
    pid = os.getpid()  # asked every time: a process that was forked is another one
    return f"{socket.gethostname()}[{_boot()}.{_pids()}]/{pid}@{_start_of(pid)}"


def is_dead(owner: str) -> bool:
    """Whether an owner is certainly dead: a process of this machine that is no more."""
    found = _OWNER.fullmatch(owner)
    if found is None or found["host"] != socket.gethostname() or not found["boot"] or not _boot():
        return False
    if found["boot"] != _boot():
        return True  # the machine has been started anew since
    if found["pids"] != _pids() or not found["pids"]:
        return False
    pid = int(found["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it is somebody else's
    start = _start_of(pid)
    return bool(start and found["start"] and start != found["start"])


@cache
def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id").strip().replace("-", "")[:12]


@cache
def _pids() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """Return when a process began, in ticks since boot; empty where that cannot be read."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
