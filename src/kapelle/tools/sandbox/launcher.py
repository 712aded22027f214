"""Runs a command in this process's place, after giving away what it shall not have. Standard library alone.

Started as `python -I -S launcher.py JSON`, where JSON holds

- `command`: a list of texts,
- `limits`: names of `resource` to their limits,
- `groups`: files to enter control groups by,
- `landlock` (`read` and `write`, lists of paths, and the `version` of the kernel's interface) and `filter` (of system
  calls, in hexadecimal), where Landlock is the wall. With bubblewrap the command is bubblewrap's.

It is a process of its own because what it gives away cannot be taken back, and because nothing may run between fork and
exec in a process that has threads. Where a step fails it ends with exit code 125 and says what failed on stderr: a
command never runs with half of the walls.

Source: landlock(7), prctl(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import sys
from typing import Any

REFUSED = 125
"""Exit code where the walls could not be built, as of `env` and `timeout`."""

NICENESS = 10
"""A command gives way to the process that watches it."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every machine
_BENEATH = 1
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER_MODE, _DROP_FROM_BOUNDS, _KEEP_NONE_BITS = 38, 22, 2, 24, 28

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What a rule on a file, not a folder, may name."""
_READ = EXECUTE | READ_FILE | READ_DIR


def all_rights(version: int) -> int:
    """Return every right on files that this version of Landlock knows."""
    rights = (1 << 13) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        rights |= right if version >= since else 0
    return rights


def main(told: str) -> None:
    """Build the walls and become the command."""
    order: dict[str, Any] = json.loads(told)
    os.nice(NICENESS)
    for group in order.get("groups", ()):
        _join(group)
    for name, limit in order["limits"].items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (least, least))
    if "landlock" in order:
        kernel = ctypes.CDLL(None, use_errno=True)
        kernel.prctl.argtypes = (ctypes.c_int, *4 * (ctypes.c_ulong,))
        _give_away_privileges(kernel)
        _restrict_files(kernel, **order["landlock"])
        _restrict_calls(kernel, bytes.fromhex(order["filter"]))
    command = order["command"]
    try:
        os.execvp(command[0], command)  # noqa: S606 -- running the command is what this is for
    except OSError as error:
        _refuse(f"{command[0]}: {error.strerror}", code=126 if isinstance(error, PermissionError) else 127)


def _join(group: str) -> None:
    """Enter a control group, together with all that this process will start."""
    try:
        with open(group, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    except OSError as error:
        _refuse(f"cannot enter the control group {group}: {error.strerror}")


def _give_away_privileges(kernel: ctypes.CDLL) -> None:
    """Nothing that runs from here on gains rights by what it executes, also where this user is root."""
    _must(kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "give up new privileges")
    if os.geteuid() != 0:
        return
    for capability in range(64):
        if kernel.prctl(_DROP_FROM_BOUNDS, capability, 0, 0, 0) != 0:
            break  # the last one that this kernel has came before
    _must(kernel.prctl(_KEEP_NONE_BITS, 0xEF, 0, 0, 0), "give up root's capabilities")
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _must(kernel.capset(header, (ctypes.c_uint32 * 6)()), "drop capabilities")


def _restrict_files(kernel: ctypes.CDLL, version: int, read: list[str], write: list[str]) -> None:
    handled = all_rights(version)
    # Version 6 also keeps signals and abstract sockets within the walls; TCP (version 4) is the filter's here.
    attributes = struct.pack("QQQ", handled, 0, 0b11)[: 24 if version >= 6 else 8]
    ruleset = _call(kernel, _CREATE_RULESET, attributes, len(attributes), 0)
    _must(ruleset, "make a Landlock ruleset")
    for paths, rights in ((read, _READ), (write, handled)):
        for path in paths:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            is_folder = os.path.isdir(path)
            rule = struct.pack("=Qi", rights & handled & (-1 if is_folder else _FILE_RIGHTS), opened)
            _must(_call(kernel, _ADD_RULE, ruleset, _BENEATH, rule, 0), f"add a rule for {path}")
            os.close(opened)
    _must(_call(kernel, _RESTRICT_SELF, ruleset, 0), "restrict itself by Landlock")
    os.close(ruleset)


def _restrict_calls(kernel: ctypes.CDLL, program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    told = Filter(len(program) // 8, ctypes.addressof(buffer))
    _must(kernel.prctl(_SECCOMP, _FILTER_MODE, ctypes.addressof(told), 0, 0), "load the filter of system calls")


def _call(kernel: ctypes.CDLL, number: int, *arguments: int | bytes) -> int:
    """Call the kernel by number: the C library has no functions for these."""
    whole = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return int(kernel.syscall(ctypes.c_long(number), *whole))


def _must(result: int, what: str) -> None:
    if result < 0:
        _refuse(f"cannot {what}: {os.strerror(ctypes.get_errno())}")


def _refuse(why: str, *, code: int = REFUSED) -> None:
    os.write(2, f"kapelle: {why}\n".encode(errors="replace"))
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
