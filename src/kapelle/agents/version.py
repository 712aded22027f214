"""Which version of an agent it is that does the work: what was learned of another one is not held against it.

A function's version is a hash of what it says, without comments, docstrings, layout and decorators; where its source is
not at hand, of its bytecode. An object's is that of its `run`. A model's is a hash of its name and the instructions.
What a function calls is not looked at: who changes that gives `AgentCapability.version`, or calls `kapelle forget`.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from contextlib import suppress
from functools import partial
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

from .agent import Agent

DIGITS = 12
"""Of the hash: 48 bits tell the few versions of one agent apart."""

_KNOWN: WeakKeyDictionary[Any, tuple[CodeType, str]] = WeakKeyDictionary()
"""What was found of a function that is still there: a run asks anew of every agent, and to read source takes as long as
to route a plan. A function whose source file changes meanwhile is what was loaded."""


def version_of(runner: Agent | None) -> str | None:
    """Return the version of what does an agent's work: its own `version`, else a hash; None where neither is known."""
    with suppress(Exception):  # whatever it is asked runs code of its own, or of a library
        return _version_of(runner)
    return None


def _version_of(runner: Agent | None) -> str | None:
    own = getattr(runner, "version", None)
    if isinstance(own, str) and own:
        return own
    if runner is None:
        return None
    function = getattr(runner, "_function", None)
    if callable(function):
        return _of_function(function)
    model, instructions = (
        getattr(getattr(runner, "_client", None), "model", None),
        getattr(runner, "_instructions", None),
    )
    if isinstance(model, str) and isinstance(instructions, str):
        return _hash(model, instructions)
    if not type(runner).__module__.startswith("kapelle."):  # ours change with every version of ours, and stay the same
        return _of_function(getattr(type(runner), "run", None))
    return _of_library_agent(getattr(runner, "_agent", None))


def _of_function(function: Any) -> str | None:
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__code__"):
        function = getattr(function, "__func__", None) or getattr(type(function), "__call__", None)  # noqa: B004 - asked for itself
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return None
    known = _KNOWN.get(function)
    if known is None or known[0] is not code:
        text = _source_of(function)
        version = _hash("source", text) if text is not None else _hash("code", _describe(code))
        known = _KNOWN[function] = (code, version)
    return known[1]


def _source_of(function: Any) -> str | None:
    """Return what a function says, written in one way; None where its source is not at hand, or not alone."""
    try:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, ValueError, SyntaxError, RecursionError):
        return None
    if not isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)) or tree.name != function.__name__:
        return None
    tree.decorator_list = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _describe(code: CodeType) -> str:
    constants = [_describe(one) if isinstance(one, CodeType) else _write(one) for one in code.co_consts]
    return repr((code.co_code.hex(), constants, code.co_names, code.co_varnames))


def _write(constant: object) -> str:
    if isinstance(constant, frozenset):  # in another order in every process
        return repr(sorted(map(repr, constant)))
    return repr(constant)


def _of_library_agent(agent: object) -> str | None:
    """Return the version of a pydantic-ai Agent: its model and what it is told."""
    if agent is None:
        return None
    parts: list[str] = []
    with suppress(Exception):  # what a library keeps for itself may be anything
        model: Any = getattr(agent, "model", None)
        parts.append(model if isinstance(model, str) else str(getattr(model, "model_name", "")))
        for name in ("_instructions", "_system_prompts"):
            told: Any = getattr(agent, name, ())
            parts += [told] if isinstance(told, str) else [one for one in told or () if isinstance(one, str)]
    return _hash(*parts) if any(parts) else None


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
