"""Has files read by a process of its own, and ends that process when a file takes too much.

The worker counts its processor time and memory (see worker); here a watch over the clock ends one that is stuck. A
worker that ended takes its file with it: a new one goes on with the next. A file has time in proportion to what it
holds; only what a file takes beyond that counts against the limits, its own and that of all files together, so that
many bad files cost little more than one, and many good ones are all read.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Self

from .folder_walk import FoundFile
from .worker import why_too_slow

MAX_AHEAD_CHARS = 4_000
"""Requests sent before they are answered; fewer than a pipe holds on any system, so that sending never waits."""

MAX_UNWANTED_PARTS = 20
"""So much of a file is read to no end; when more is left, starting another process is quicker."""
START_S = 0.05
"""What starting another process takes of the folder's time."""

_SOURCE = str(Path(__file__).parents[3])
# -S: nothing but the standard library, which starts in half the time. What else is needed now and again, clevercsv, is
# found in its own folder when it is. The packages around the worker are entered empty, which saves a third of the
# start: what they hand out to others takes as long to load as all that the worker needs.
_PROGRAM = """
import sys, types
source, package, packages, *numbers = sys.argv[1:]
for name in [package.rsplit(".", up)[0] for up in range(package.count("."), -1, -1)]:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [source + "/" + name.replace(".", "/")]
sys.path.insert(0, source)
from importlib import import_module
serve = import_module(package + ".worker").serve
serve(sys.stdin, sys.stdout, int(numbers[0]), *map(float, numbers[1:]), packages=packages)
"""
_PASSED_ON = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingLimits:
    """What reading may take. Plain files earn three times what they take (see worker), and use nothing of the rest."""

    file_s: float = 0.4
    """Seconds of processor time that one file may take beyond what its text and cells earn."""
    folder_s: float = 0.8
    """The same for all files of one look together; a file gets half of what is left at most."""
    most_s: float = 600.0
    """What one file can earn."""
    stuck_s: float = 10.0
    """Seconds by the clock without an answer, for a file system that does not answer or a machine without timers."""
    memory_bytes: int = 160_000_000
    """Address space of the reading process; the interpreter takes some 30 MB of it."""


class Unreadable(Exception):
    """A file was not read; the message says why, fit to follow the file's name."""


class FileReader:
    """Reads files in another process. On one thread, one after another; to be closed."""

    def __init__(self, limits: ReadingLimits | None = None) -> None:
        self.limits = limits or ReadingLimits()
        self._worker: _Worker | None = None
        self._left_s = 0.0

    def read(self, files: Sequence[tuple[FoundFile, str]]) -> Iterator[tuple[FoundFile, Iterator[list[Any]]]]:
        """Yield every file with its parts (see worker), which are to be read to their end, or until they raise.

        A file's parts raise Unreadable when the file cannot be read; what they gave before is then worth nothing.

        Args:
            files: Each with what it is: `document`, `csv`, `tsv` or `database`.
        """
        self._left_s = self.limits.folder_s
        waiting, sent = deque(files), deque[tuple[FoundFile, str]]()
        while waiting or sent:
            if self._worker is None:
                try:
                    self._worker = _Worker(self.limits, self._left_s)
                except OSError as error:
                    found, _ = waiting.popleft()
                    yield found, _refuse(f"no process could be started to read it: {error.strerror or error}")
                    continue
            ahead = sum(len(found.name) for found, _ in sent)
            while waiting and (not sent or ahead < MAX_AHEAD_CHARS):
                found, what = waiting.popleft()
                self._worker.send([found.path, what])
                ahead += len(found.path) + 40
                sent.append((found, what))
            found, _ = sent[0]
            parts = self._parts(self._worker)
            yield found, parts
            with suppress(Unreadable):
                # What was not wanted is not to be taken for the next file's.
                if sum(1 for _ in islice(parts, MAX_UNWANTED_PARTS)) == MAX_UNWANTED_PARTS:
                    self.close()
            sent.popleft()
            if self._worker is None:
                waiting.extendleft(reversed(sent))
                sent.clear()

    def close(self) -> None:
        """End the process. A later `read` starts one."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _parts(self, worker: _Worker) -> Iterator[list[Any]]:
        unearned_s, allowed_s, is_cut = 0.0, 0.0, False
        while (line := worker.next_line()) is not None:
            part = json.loads(line)
            if part[0] == "working":
                _, allowed_s, is_cut = part
                unearned_s = unearned_s or allowed_s
                continue
            if part[0] in ("end", "refused"):
                self._left_s = part[-1]
                if part[0] == "end":
                    return
                raise Unreadable(part[1])
            yield part
        self._worker = None
        self._left_s -= unearned_s + START_S
        raise Unreadable(worker.why_it_ended(allowed_s, is_cut=is_cut))


def _packages() -> str:
    """Return the folder in which clevercsv lies; empty if it is not installed."""
    found = find_spec("clevercsv")
    return str(Path(found.origin).parents[1]) if found is not None and found.origin else ""


def _refuse(reason: str) -> Iterator[list[Any]]:
    raise Unreadable(reason)
    yield  # makes this an iterator that raises when it is read


class _Worker:
    """The process, and the watch over it."""

    def __init__(self, limits: ReadingLimits, folder_left_s: float) -> None:
        self._limits = limits
        self._waits_until = math.inf
        self._is_stuck = False
        self._has_ended = threading.Event()
        numbers = (limits.memory_bytes, limits.file_s, limits.most_s, folder_left_s)
        self._process = subprocess.Popen(  # noqa: S603 - this Python, a program of ours, and no shell
            [
                sys.executable or "python3",
                "-I",
                "-S",
                "-X",
                "utf8",
                "-c",
                _PROGRAM,
                _SOURCE,
                __package__,
                _packages(),
                *map(str, numbers),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},  # no keys near such files
            start_new_session=True,  # an interrupt at the terminal is for the program, which then ends this one
        )
        threading.Thread(target=self._watch, daemon=True, name="kapelle-reading").start()

    def send(self, request: list[Any]) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended: the next answer says so
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def next_line(self) -> str | None:
        """Return the next answer; None when there is none, because the process has ended."""
        assert self._process.stdout is not None
        self._waits_until = time.monotonic() + self._limits.stuck_s
        line = self._process.stdout.readline()
        self._waits_until = math.inf
        return line if line.endswith("\n") else None

    def why_it_ended(self, allowed_s: float, *, is_cut: bool) -> str:
        self.end()
        code = self._process.returncode
        if self._is_stuck:
            return f"gave nothing for {self._limits.stuck_s:g} seconds"
        if code == -getattr(signal, "SIGPROF", 0):
            return why_too_slow(allowed_s, is_cut=is_cut)
        return f"its reader crashed ({signal.Signals(-code).name if code < 0 else f'exit {code}'})"

    def end(self) -> None:
        self._has_ended.set()
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        self._process.wait()

    def _watch(self) -> None:
        while not self._has_ended.wait(min(1.0, self._limits.stuck_s)):
            if time.monotonic() > self._waits_until:
                self._is_stuck = True
                self._process.kill()
                return
