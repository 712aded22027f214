"""Runs Python that nobody has read, in another process that can reach nothing: no file, network, environment or clock.

The interpreter is Monty (`pydantic-monty`), which has a small language of its own making and no way to the machine
below it; time, memory, output and recursion are limited. It knows no inheritance, generators, `del` or properties, and
a dozen modules of the standard library (`math`, `json`, `re`, `datetime`, `random`). Workers are started at the first
program, kept, and ended with the sandbox or the interpreter.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kapelle.errors import AgentFailed, InvalidInput, RefusedQuery, TryAgain

if TYPE_CHECKING:
    import pydantic_monty

MAX_VALUE_DEPTH = 50
MAX_INTEGER_BITS = 14_000
"""About 4,200 digits: CPython refuses to print integers of more than 4,300."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxLimits:
    """What a program may use."""

    time_s: float = 5.0
    memory_bytes: int = 64_000_000
    output_bytes: int = 100_000
    recursion: int = 200
    code_chars: int = 200_000

    def __post_init__(self) -> None:
        for name in ("time_s", "memory_bytes", "output_bytes", "recursion", "code_chars"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"The sandbox limit {name}={value!r} must be more than zero.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxResult:
    """What a program gave back."""

    value: Any
    """The value of its last expression, as plain JSON values; None without one."""
    printed: str
    """What it printed."""


class Sandbox:
    """A pool of interpreters for programs that nobody has read. Safe to call from several threads.

    >>> with Sandbox() as sandbox:
    ...     sandbox.run("print('twice'); x * 2", {"x": 21})
    SandboxResult(value=42, printed='twice\\n')
    """

    def __init__(self, limits: SandboxLimits | None = None, *, processes: int = 4) -> None:
        if processes < 1:
            raise InvalidInput(f"A sandbox needs one process or more, not {processes!r}.")
        self.limits = limits or SandboxLimits()
        self._processes = processes
        self._lock = threading.Lock()
        self._pool: pydantic_monty.Monty | None = None
        self._finalizer: weakref.finalize[[pydantic_monty.Monty], Sandbox] | None = None

    def run(self, code: str, inputs: Mapping[str, Any] | None = None) -> SandboxResult:
        """Run a program with the inputs as variables, and return the value of its last expression.

        Raises:
            AgentFailed: the program is malformed or raised; the message gives its line.
            RefusedQuery: it wanted what it may not have: files, the network, modules, more time, memory or output.
            TryAgain: the worker died, or none was free in time.
        """
        import pydantic_monty  # here, so that importing kapelle does not load an interpreter

        if len(code) > self.limits.code_chars:
            raise RefusedQuery(f"The program is longer than {self.limits.code_chars:,} characters. Shorten it.")
        printed = pydantic_monty.CollectString(max_bytes=self.limits.output_bytes)
        try:
            with self._started().checkout(limits=_monty_limits(self.limits)) as session:
                value = session.feed_run(
                    code, inputs=dict(inputs) if inputs else None, print_callback=printed, skip_type_check=True
                )
        except (pydantic_monty.MontySyntaxError, pydantic_monty.MontyRuntimeError) as error:
            raise _explain(error, self.limits) from error
        except (pydantic_monty.MontyConversionError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"An input cannot enter the sandbox: {error}. Give plain JSON values.") from error
        except pydantic_monty.MontyCrashedError as error:
            if error.timed_out:
                raise RefusedQuery(_over(f"{self.limits.time_s:g} seconds")) from error
            raise TryAgain(f"The sandbox's worker died: {error}. Run the program again.") from error
        except TimeoutError as error:
            raise TryAgain("Every interpreter of the sandbox is busy. Run the program again later.") from error
        return SandboxResult(value=_plain_value(value), printed=printed.output)

    def close(self) -> None:
        """End the workers. A later `run` starts new ones."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._pool = self._finalizer = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> pydantic_monty.Monty:
        import pydantic_monty

        with self._lock:
            if self._pool is None:
                pool = pydantic_monty.Monty(
                    max_processes=self._processes,
                    checkout_timeout=60.0,
                    request_timeout=self.limits.time_s + 5.0,
                    max_checkouts_per_worker=1_000,
                )
                pool.__enter__()
                self._pool = pool
                # Runs when the sandbox is collected, and at the latest when the interpreter exits.
                self._finalizer = weakref.finalize(self, _end, pool)
            return self._pool


def _end(pool: pydantic_monty.Monty) -> None:
    pool.__exit__(None, None, None)


def _monty_limits(limits: SandboxLimits) -> pydantic_monty.ResourceLimits:
    return {
        "max_feed_duration_secs": limits.time_s,
        "max_memory": limits.memory_bytes,
        "max_recursion_depth": limits.recursion,
        "max_suspensions": 100,
        "max_total_sleep_secs": 0.0,
    }


# How Monty words its refusals (1.4), with what to say about them. A program may raise the same words itself; it is then
# told that it was refused, which harms nobody.
_REFUSALS = (
    ("PermissionError", "Permission denied", "It may not read or write files"),
    ("RuntimeError", "is not supported in this environment", "It may not look at the environment"),
    ("ModuleNotFoundError", "", "Only a few modules are there, such as math, json, re, datetime and random"),
    ("ImportError", "", "Only a few modules are there, such as math, json, re, datetime and random"),
    ("RuntimeError", "suspension", "It may not call out of the sandbox"),
    ("TimeoutError", "sleep", "It may not sleep"),
)


def _explain(
    error: pydantic_monty.MontySyntaxError | pydantic_monty.MontyRuntimeError, limits: SandboxLimits
) -> AgentFailed | RefusedQuery:
    cause = error.exception()
    kind, text = type(cause).__name__, str(cause)
    if kind == "TimeoutError" and "time limit" in text:
        return RefusedQuery(_over(f"{limits.time_s:g} seconds"))
    if kind == "MemoryError" and "limit exceeded" in text:
        if f"> {limits.output_bytes} bytes" in text:
            return RefusedQuery(_over(f"{limits.output_bytes:,} bytes of output"))
        return RefusedQuery(_over(f"{limits.memory_bytes:,} bytes of memory"))
    if kind == "RecursionError":
        return RefusedQuery(_over(f"{limits.recursion:,} nested calls"))
    place = _place(error)
    for refused_kind, words, reason in _REFUSALS:
        if kind == refused_kind and words in text:
            return RefusedQuery(f"The program was refused{place}: {text}. {reason}.")
    what = f"{kind}: {text}" if text else kind
    return AgentFailed(f"The program failed{place}: {what}. Correct that line.")


def _place(error: pydantic_monty.MontySyntaxError | pydantic_monty.MontyRuntimeError) -> str:
    frames = error.traceback()
    if not frames:
        return ""
    source = (frames[-1].source_line or "").strip()[:200]
    return f" in line {frames[-1].line}" + (f", `{source}`" if source else "")


def _over(limit: str) -> str:
    return f"The program used more than {limit}. Make it do less."


def _plain_value(value: Any, depth: int = 0) -> Any:
    if depth > MAX_VALUE_DEPTH:
        raise RefusedQuery(f"The program's value is nested more than {MAX_VALUE_DEPTH} deep. Return something flatter.")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise RefusedQuery(
                "The program's value is a number of more than 4,200 digits. Return it as a text or less."
            )
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(_plain_value(key, depth + 1)): _plain_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return [_plain_value(item, depth + 1) for item in sorted(value, key=repr)]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)
