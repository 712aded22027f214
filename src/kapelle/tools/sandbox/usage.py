"""What a process and all that came of it use at this moment, from /proc; and how large a folder is."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4_096


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """Of a process, its group and everything that they started."""

    processes: int
    memory_bytes: int
    """Resident; pages that several share count for each."""


NOTHING_USED = TreeUsage(0, 0)


def tree_usage(root: int) -> TreeUsage:
    """Look at every process of the machine once (about a millisecond per hundred). Nothing where there is no /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    pages: dict[int, int] = {}
    found = [root]
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                told = file.read()
        except OSError:
            continue  # it has ended meanwhile
        fields = told[told.rindex(b")") + 2 :].split()
        process, parent, group = int(name), int(fields[1]), int(fields[2])
        pages[process] = int(fields[21])
        children[parent].append(process)
        if group == root and process != root:
            found.append(process)
    counted: set[int] = set()
    while found:
        process = found.pop()
        if process in pages and process not in counted:
            counted.add(process)
            found.extend(children[process])
    return TreeUsage(processes=len(counted), memory_bytes=_PAGE * sum(pages[process] for process in counted))


def folder_bytes(folder: Path) -> int:
    """Return what the files in a folder take on the disk. Follows no links."""
    total, waiting = 0, [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        # Blocks, not the length: a file with a hole takes little.
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # removed or locked meanwhile
    return total


def processes_of_user(user: int) -> int:
    """Return how many threads a user has, as RLIMIT_NPROC counts them."""
    count = 0
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return count
