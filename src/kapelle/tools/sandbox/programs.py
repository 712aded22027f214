"""Runs Python that nobody has read, in another process that can reach nothing: no file, network, environment or clock.

The interpreter is Monty (`pydantic-monty`), which has a small language of its own making and no way to the machine
below it; time, memory, output and recursion are limited. It knows no inheritance, generators, `del` or properties, and
a dozen modules of the standard library (`math`, `json`, `re`, `datetime`, `random`). Workers are started at the first
program, kept, and ended with the sandbox or the interpreter.

The limits end where the worker does: a value that leaves it is unfolded in this process, a text once for every place
that names it, so three lines can ask for terabytes. So no value of a program leaves the worker. Its last expression is
kept in a variable there, made plain and written as JSON by a program of ours, within the worker's own limits; what
crosses is that one text, of a length that was looked at before.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kapelle.errors import CannotAnswer, InvalidInput, RefusedQuery, TryAgain
from kapelle.graph import MAX_READ_CHARS, MAX_READ_VALUES

if TYPE_CHECKING:
    import pydantic_monty

MAX_VALUE_DEPTH = 50
MAX_VALUE_DIGITS = 4_200
"""CPython refuses to print and to read integers of more than 4,300."""
MAX_MESSAGE_CHARS = 2_000
"""Of what a program says when it fails."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxLimits:
    """What a program may use."""

    time_s: float = 1.5
    """A sum over what a task was given takes thousandths of it; who calculates for longer has a loop without an end."""
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


class ProgramPool:
    """A pool of interpreters for programs that nobody has read. Safe to call from several threads."""

    def __init__(self, limits: SandboxLimits | None = None, *, processes: int = 4) -> None:
        if processes < 1:
            raise InvalidInput(f"A sandbox needs one process or more, not {processes!r}.")
        self.limits = limits or SandboxLimits()
        self._processes = processes
        self._lock = threading.Lock()
        self._pool: pydantic_monty.Monty | None = None
        self._functions: Mapping[str, Any] = {}
        """The interpreter's own functions, as they were before any program ran."""
        self._finalizer: weakref.finalize[[pydantic_monty.Monty], ProgramPool] | None = None

    def run(self, code: str, inputs: Mapping[str, Any] | None = None) -> SandboxResult:
        """Run a program with the inputs as variables, and return the value of its last expression.

        Raises:
            CannotAnswer: the program is malformed or raised; the message gives its line.
            RefusedQuery: it wanted what it may not have: files, the network, modules, more time, memory or output.
            TryAgain: the worker died, or none was free in time.
        """
        import pydantic_monty  # here, so that importing kapelle does not load an interpreter

        if len(code) > self.limits.code_chars:
            raise RefusedQuery(f"The program is longer than {self.limits.code_chars:,} characters. Shorten it.")
        printed = pydantic_monty.CollectString(max_bytes=self.limits.output_bytes)
        try:
            with self._started().checkout(limits=_monty_limits(self.limits)) as session:
                if not self._functions:
                    own = session.feed_run(f"({', '.join(_BUILTINS)})", skip_type_check=True)
                    self._functions = dict(zip(_BUILTINS, own, strict=True))
                work = _Program(session, code, self._functions)
                told = work.run(dict(inputs) if inputs else None, printed)
        except (pydantic_monty.MontySyntaxError, pydantic_monty.MontyRuntimeError) as error:
            raise _explain(error, self.limits, code) from error
        except (pydantic_monty.MontyConversionError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"An input cannot enter the sandbox: {error}. Give plain JSON values.") from error
        except pydantic_monty.MontyCrashedError as error:
            if error.timed_out:
                raise RefusedQuery(_over(f"{self.limits.time_s:g} seconds")) from error
            raise TryAgain(f"The sandbox's worker died: {error}. Run the program again.") from error
        except TimeoutError as error:
            raise TryAgain("Every interpreter of the sandbox is busy. Run the program again later.") from error
        return SandboxResult(value=None if told is None else _read_told(told), printed=printed.output)

    def close(self) -> None:
        """End the workers. A later `run` starts new ones."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._pool = self._finalizer = None

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
    error: pydantic_monty.MontySyntaxError | pydantic_monty.MontyRuntimeError, limits: SandboxLimits, code: str
) -> CannotAnswer | RefusedQuery:
    cause = error.exception()
    kind, text = type(cause).__name__, str(cause)[:MAX_MESSAGE_CHARS]
    if kind == "TimeoutError" and "time limit" in text:
        return RefusedQuery(_over(f"{limits.time_s:g} seconds"))
    if kind == "MemoryError" and ("limit exceeded" in text or "exceeded its memory limit" in text):
        if f"> {limits.output_bytes} bytes" in text:
            return RefusedQuery(_over(f"{limits.output_bytes:,} bytes of output"))
        return RefusedQuery(_over(f"{limits.memory_bytes:,} bytes of memory"))
    if kind == "RecursionError":
        return RefusedQuery(_over(f"{limits.recursion:,} nested calls"))
    place = _place(error, code)
    for refused_kind, words, reason in _REFUSALS:
        if kind == refused_kind and words in text:
            return RefusedQuery(f"The program was refused{place}: {text}. {reason}.")
    what = f"{kind}: {text}" if text else kind
    return CannotAnswer(f"The program failed{place}: {what}. Correct that line.")


def _place(error: pydantic_monty.MontySyntaxError | pydantic_monty.MontyRuntimeError, code: str) -> str:
    frames = error.traceback()
    lines = code.splitlines()
    if not frames or not 0 < frames[-1].line <= len(lines):
        return ""
    source = lines[frames[-1].line - 1].strip()[:200]  # as it was given: the last line that ran was changed by us
    return f" in line {frames[-1].line}" + (f", `{source}`" if source else "")


def _over(limit: str) -> str:
    return f"The program used more than {limit}. Make it do less."


class _Program:
    """One program in a session of its own."""

    def __init__(self, session: pydantic_monty.MontySession, code: str, functions: Mapping[str, Any]) -> None:
        self._session = session
        self._functions = functions
        self._code = code.rstrip().rstrip("; \t")
        # The program may use any name itself.
        self._name = f"kapelle_{secrets.token_hex(8)}"

    def run(self, inputs: dict[str, Any] | None, printed: pydantic_monty.CollectString) -> Any:
        """Run it, and return the value of its last expression as `_read_told` takes it; None if it ends with none."""
        start = self._last_expression()
        if start is None:
            self._feed(f"{self._code}\nNone", inputs=inputs, print_callback=printed)
            return None
        head, tail = self._code[:start], self._code[start:]
        self._feed(f"{head}{self._name} = ({tail}\n)\nNone", inputs=inputs, print_callback=printed)
        return self._feed(_WRITING.replace("ANSWER", self._name), inputs={**self._functions, **_WRITING_LIMITS})

    def _feed(self, code: str, **more: Any) -> Any:
        return self._session.feed_run(code, skip_type_check=True, **more)

    def _last_expression(self) -> int | None:
        """Return where the expression begins that the program ends with; None if it ends with none.

        Only the interpreter knows its own grammar, so it is asked: the program with `return` before that place is
        parsed as a function, which nobody calls. Inside a text or brackets `return (` cannot stand.
        """
        import pydantic_monty

        for start in _candidates(self._code):
            head, tail = self._code[:start], self._code[start:]
            body = "".join(f" {line}" for line in head.splitlines(keepends=True))
            try:
                self._feed(f"async def {self._name}():\n{body} return ({tail}\n)\nNone")
            except pydantic_monty.MontySyntaxError:
                continue
            except pydantic_monty.MontyRuntimeError as error:
                if type(error.exception()).__name__ != "NotImplementedError":  # the worker may be gone
                    raise
                continue
            return start
        return None


_MAX_CANDIDATES = 100
"""Places where the last expression may begin: a table of constants has its rows at the start of lines."""
_STATEMENT = re.compile(
    r"(?:import|from|if|elif|else|for|while|with|try|except|finally|def|class|return|pass|break|continue|raise|assert"
    r"|global|nonlocal|del|async|@|#|[)\]}])(?![\w.])|[A-Za-z_]\w*[ \t]*(?:[-+*/%&|^@]|//|\*\*|>>|<<)?=(?!=)"
)
"""How lines begin that no expression begins with."""
_COMPOUND = re.compile(r"(?:if|elif|else|for|while|with|try|except|finally|def|class|async|match|case)(?!\w)")


def _candidates(code: str) -> Iterator[int]:
    """Yield where the last expression may begin, the last place first: lines that are not indented, and after `;`."""
    count, end = 0, len(code)
    while end > 0 and count < _MAX_CANDIDATES:
        start = max(code.rfind("\n", 0, end), code.rfind("\r", 0, end)) + 1
        line = code[start:end]
        if line[:1].strip() and not _COMPOUND.match(line):
            semicolon = line.rfind(";") if count == 0 else -1
            while semicolon > 0 and count < _MAX_CANDIDATES:
                count += 1
                if not code[semicolon + start + 1 :].lstrip().startswith("#"):
                    yield start + semicolon + 1
                semicolon = line.rfind(";", 0, semicolon)
            if not _STATEMENT.match(line):
                count += 1
                yield start
        end = start - 1


_BUILTINS = (
    "isinstance",
    "len",
    "str",
    "sorted",
    "repr",
    "bool",
    "int",
    "float",
    "list",
    "tuple",
    "dict",
    "set",
    "frozenset",
)
_WRITING_LIMITS = {
    "most_values": MAX_READ_VALUES,
    "most_chars": MAX_READ_CHARS,
    "most_depth": MAX_VALUE_DEPTH,
    "most": 10**MAX_VALUE_DIGITS,
}
# Runs after the program, with its variables. What it calls are arguments and functions of its own: a method of the
# program's classes that runs meanwhile can bind any other name anew. Monty's classes do not inherit, so what is a text,
# a number or a list here is no object of theirs.
_WRITING = """
import datetime
import json
def write(answer, dumps, isinstance, len, str, sorted, repr, plain_kinds, int, float, many, dict, sets, dates,
          most_values, most_chars, most_depth, most):
    state = [1, '']
    def plain(value, depth):
        if value is None or isinstance(value, plain_kinds):
            return value
        if isinstance(value, int):
            if not -most < value < most:
                state[1] = 'digits'
                return None
            return value
        if isinstance(value, float):
            return value if value - value == 0 else str(value)
        if isinstance(value, dates):
            return value.isoformat()
        if not isinstance(value, many):
            return str(value)
        state[0] += len(value)
        if state[0] > most_values:
            state[1] = 'values'
        if depth >= most_depth:
            state[1] = 'depth'
        if state[1]:
            return None
        if isinstance(value, dict):
            found = {}
            for key in value:
                name = key if isinstance(key, str) else str(plain(key, depth + 1))
                if name in found:
                    state[1] = 'keys'
                found[name] = plain(value[key], depth + 1)
            return found
        if isinstance(value, sets):
            value = sorted(value, key=repr)
        return [item if isinstance(item, str) else plain(item, depth + 1) for item in value]
    found = plain(answer, 0)
    if state[1]:
        return state[1]
    text = dumps(found)
    return 'chars' if len(text) > most_chars else '=' + text
write(ANSWER, json.dumps, isinstance, len, str, sorted, repr, (bool, str), int, float,
      (list, tuple, dict, set, frozenset), dict, (set, frozenset), (datetime.date, datetime.time),
      most_values, most_chars, most_depth, most)
"""
_TOO_MUCH = {
    "values": f"holds more than {MAX_READ_VALUES:,} values, written out. Return less",
    "chars": f"has more than {MAX_READ_CHARS:,} characters, written out. Return less",
    "depth": f"is nested more than {MAX_VALUE_DEPTH} deep. Return something flatter",
    "digits": f"is a number of more than {MAX_VALUE_DIGITS:,} digits. Return it as a text or less",
    "keys": "has two keys that are the same text. Rename one",
}


def _read_told(told: Any) -> Any:
    """Return the value that was written in the worker.

    Raises:
        RefusedQuery: it is too large, or has no plain form.
    """
    if not isinstance(told, str) or not told.startswith("="):
        raise RefusedQuery(f"The program's value {_TOO_MUCH.get(str(told), 'has no plain form. Return another')}.")
    return json.loads(told[1:])
