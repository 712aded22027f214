"""Every error of the tree, wherever it is defined, is the same after pickle, copy and a worker; users' errors too."""

from __future__ import annotations

import asyncio
import copy
import importlib
import importlib.util
import inspect
import pickle
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kapelle
from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG, agent
from kapelle.errors import KapelleError
from kapelle.ledger import Usage
from kapelle.models import ModelReply
from kapelle.validation import Issue

for found in pkgutil.walk_packages(kapelle.__path__, "kapelle."):
    if not found.name.endswith("__main__"):
        try:
            importlib.import_module(found.name)
        except ImportError:  # an extra that is not installed
            continue


def tree(kind: type[KapelleError] = KapelleError) -> Iterator[type[KapelleError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


KINDS = sorted({one for one in tree() if one.__module__.startswith("kapelle")}, key=lambda one: one.__qualname__)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
AMOUNTS = st.floats(0.0, 100.0)
USAGES = st.builds(Usage, input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9), calls=st.integers(0, 3))
REPLIES = st.builds(ModelReply, text=TEXTS, usage=USAGES, cost_usd=AMOUNTS)
ISSUES = st.builds(Issue, kind=st.just("budget"), severity=st.just("error"), message=TEXTS, way_out=TEXTS)
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "issues": st.lists(ISSUES, max_size=3),
    "usage": USAGES,
    "reply": REPLIES,
    "question": TEXTS.map(lambda text: f"Which? {text}"),
    "options": st.lists(TEXTS, max_size=3),
    "kind": st.just("answer"),
    "args": st.lists(TEXTS | st.integers() | st.none(), max_size=3),
    "message": TEXTS,
    "readings": st.lists(st.fixed_dictionaries({"understood": TEXTS, "sql": TEXTS}), max_size=3),
}


def given_for(name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Return values for a parameter: by its name where that says more than its type."""
    if name in BY_NAME:
        return BY_NAME[name]
    for kind, values in (
        (str, TEXTS),
        (bool, st.booleans()),
        (int, st.integers(0, 10**6)),
        (float, AMOUNTS),
        (type(None), st.none()),
    ):
        if hint is kind:
            return values
    if get_origin(hint) in (Union, UnionType):
        return st.one_of([given_for("", one) for one in get_args(hint)])
    if get_origin(hint) is not None and isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping):
        return st.dictionaries(TEXTS, TEXTS, max_size=2)
    if inspect.isclass(get_origin(hint)):
        return st.lists(TEXTS, max_size=3)
    return TEXTS


@st.composite
def errors_of(draw: Callable[[st.SearchStrategy[Any]], Any], kind: type[KapelleError]) -> KapelleError:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    hints = get_type_hints(kind.__init__)
    for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        values = given_for(parameter.name, hints.get(parameter.name))
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += draw(BY_NAME["args"])
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty or draw(st.booleans()):
                named[parameter.name] = draw(values)
        elif parameter.kind is not parameter.VAR_KEYWORD:
            positional.append(draw(values))
    error = kind(*positional, **named)
    for name in draw(st.sets(st.sampled_from(["cost_usd", "sent", "retry_after_s", "run_id", "its own"]))):
        vars(error)[name] = draw(AMOUNTS)
    return error


def carry(error: BaseException) -> BaseException:
    from kapelle.execution.backends.carried_errors import pack_error, unpack_error

    return unpack_error(pack_error(error))


def pickled(error: BaseException, *, protocol: int) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))


WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {number}": partial(pickled, protocol=number) for number in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
if importlib.util.find_spec("ray") is not None:
    WAYS["a worker"] = carry


def said(error: BaseException) -> tuple[Any, ...]:
    return type(error), str(error), repr(error.args), repr(vars(error))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
@given(st.data())
def test_it_is_the_same_on_the_other_side(kind: type[KapelleError], data: st.DataObject) -> None:
    error = data.draw(errors_of(kind))
    for way, take in WAYS.items():
        found = take(error)
        assert said(found) == said(error), way
        for name in ("cost_usd", "usage", "sent", "retry_after_s", "run_id", "exit_code"):
            assert repr(getattr(found, name)) == repr(getattr(error, name)), way


def test_the_tree_is_more_than_the_file_of_errors() -> None:
    assert {one.__module__ for one in KINDS} > {"kapelle.errors"}
    assert len(KINDS) > 30


class KeywordsOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class SaysMore(KapelleError):
    def __init__(self, first: str, second: int) -> None:
        super().__init__(f"{first} and {second}")


class TwoNeeded(ValueError):
    def __init__(self, place: str, what: object) -> None:
        super().__init__(place)
        self.what = what

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.what}"


class Refusing(RuntimeError):
    def __reduce__(self) -> Any:
        raise TypeError("not me")


class New(Exception):
    def __new__(cls, code: int) -> New:
        return super().__new__(cls, code)

    def __init__(self, code: int) -> None:
        super().__init__(f"new {code}")


def local() -> Exception:
    class Local(LookupError):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(a)
            self.sum = a + b

        def __str__(self) -> str:
            return f"sum {self.sum}"

    return Local(1, 2)


ODD: dict[str, Callable[[], Exception]] = {
    "keywords only": lambda: KeywordsOnly(code=7),
    "one of the tree": lambda: SaysMore("a", 3),
    "two needed": lambda: TwoNeeded("here", {"x": 1}),
    "not to be pickled": lambda: Refusing("mine"),
    "its own __new__": lambda: New(5),
    "a class of a function": local,
    "a file's": lambda: FileNotFoundError(2, "No such file", "/x"),
    "not text": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "a group": lambda: ExceptionGroup("two", [ValueError("one"), KeyError("b")]),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("backend", ["asyncio", "threads"])
def test_an_agents_own_error_arrives_as_its_class_and_text(what: str, backend: str) -> None:
    error = ODD[what]()

    def failing(task: Any) -> str:
        raise ODD[what]()

    one = agent(task_types=["work"], cost_usd=0.001)(failing)
    engine = Engine([one], model="none", ledger=SqliteLedger(), environ={}, backend=backend)
    plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="work")]), planner="me")
    task = asyncio.run(engine.run(plan)).tasks["a"]
    # An error of the tree needs no class: its text is a sentence.
    named = "" if isinstance(error, KapelleError) else f"{type(error).__name__}: "
    assert (task.reason or "").startswith(f"{named}{error}")
    assert type(error).__name__ in (task.traceback or "")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
@pytest.mark.parametrize("what", ODD)
def test_and_so_it_does_from_a_worker(what: str) -> None:
    error = ODD[what]()
    found = carry(error)
    assert (type(found).__name__, str(found)) == (type(error).__name__, str(error))
    assert type(error).__name__ in str(found.__cause__)
