"""An error that an agent raises on a worker is the same for whoever waits: class, words, attributes, traceback."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle import errors
from kapelle.errors import AgentFailed, AskPerson, InvalidInput, KapelleError, TryAgain
from kapelle.ledger import Usage
from kapelle.models import ModelReply, PaidRefusal, PaidReplyInvalid
from kapelle.planning import PaidInvalidPlan

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")

REPLY = ModelReply(text="x", usage=Usage(input_tokens=7, calls=1), cost_usd=0.0123)


class RateLimited(TryAgain):
    """Takes other arguments than it hands on."""

    def __init__(self, service: str, seconds: int) -> None:
        super().__init__(f"{service} asks to wait {seconds} s")


class Coded(Exception):
    """Keeps what it is made of, and hands on nothing."""

    def __init__(self, *, code: int, detail: object) -> None:
        self.code, self.detail = code, detail

    def __str__(self) -> str:
        return f"code {self.code}"


class Odd(RuntimeError):
    """Cannot be pickled by its own will."""

    def __reduce__(self) -> Any:
        raise TypeError("not me")


class Mute(ConnectionError):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


class LocalKinds:
    """Makes errors of classes that no module has."""

    @staticmethod
    def make() -> BaseException:
        class Hidden(TryAgain):
            pass

        return Hidden("of a function's own class")


KAPELLE: dict[str, Callable[[], KapelleError]] = {
    "CycleFound": lambda: errors.CycleFound(["a", "b"]),
    "UnknownTask": lambda: errors.UnknownTask("a", "b"),
    "InvalidPlan": lambda: errors.InvalidPlan("wrong", place="line 3"),
    "CannotAnswer": lambda: errors.CannotAnswer("several ways", readings=[{"understood": "one", "sql": "SELECT 1"}]),
    "PlanRejected": lambda: errors.PlanRejected(["an issue"]),
    "UnknownPrice": lambda: errors.UnknownPrice("openai:x"),
    "RunBusy": lambda: errors.RunBusy("r", owner="somebody", wait_s=3.0),
    "BudgetExceeded": lambda: errors.BudgetExceeded("usd", wanted=1, left=0),
    "AgentFailed": lambda: AgentFailed("cannot", cost_usd=0.5, usage=Usage(calls=2)),
    "AskPerson": lambda: AskPerson("Which?", options=["a", "b"], cost_usd=0.1),
    "LeaseLost": lambda: errors.LeaseLost("r", fence=1, current=2, owner="another"),
    "TryAgain": lambda: TryAgain("busy", cost_usd=0.2, sent=True, retry_after_s=90.0),
    "WorkerLost": lambda: errors.WorkerLost("gone"),
    "PaidReplyInvalid": lambda: PaidReplyInvalid("cannot be read", reply=REPLY),
    "PaidRefusal": lambda: PaidRefusal("no", reply=REPLY),
    "PaidInvalidPlan": lambda: PaidInvalidPlan("no plan", usage=Usage(calls=1), cost_usd=0.2),
    "a user's own": lambda: RateLimited("svc", 3),
}
OTHERS: dict[str, Callable[[], BaseException]] = {
    "keywords only": lambda: Coded(code=7, detail={"why": [1, 2]}),
    "not to be pickled": lambda: Odd("mine"),
    "OSError": lambda: FileNotFoundError(2, "No such file", "/x"),
    "JSONDecodeError": lambda: json.JSONDecodeError("bad", "{", 1),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "StopIteration": lambda: StopIteration(3),
    "SystemExit": lambda: SystemExit(3),
    "a group": lambda: ExceptionGroup("two", [ValueError(1), KeyError("b")]),
    "a class of a function": LocalKinds.make,
}


def raised(error: BaseException) -> BaseException:
    """Return the error with a traceback, as an agent raises it."""
    try:
        raise error
    except BaseException as caught:
        return caught


def carried(error: BaseException) -> BaseException:
    from kapelle.execution.backends.carried_errors import pack_error, unpack_error

    return unpack_error(pack_error(raised(error)))


@pytest.mark.parametrize("make", [*KAPELLE.values(), *OTHERS.values()], ids=[*KAPELLE, *OTHERS])
def test_an_error_is_the_same_on_the_other_side(make: Callable[[], BaseException]) -> None:
    error = make()
    found = carried(error)
    assert type(found).__mro__[1:] == type(error).__mro__[1:]
    assert type(found).__name__ == type(error).__name__
    assert (str(found), repr(found.args)) == (str(error), repr(error.args))
    assert repr(vars(found)) == repr(vars(error))
    assert "in raised" in str(found.__cause__)


@pytest.mark.parametrize("make", KAPELLE.values(), ids=KAPELLE)
def test_every_error_of_the_tree_can_be_pickled(make: Callable[[], KapelleError]) -> None:
    error = make()
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), str(found), found.args) == (type(error), str(error), error.args)
    assert repr(vars(found)) == repr(vars(error))


def test_the_table_above_has_every_error_with_an_init_of_its_own() -> None:
    own = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, KapelleError) and "__init__" in vars(kind)
    }
    assert own - {"KapelleError"} <= KAPELLE.keys()


def test_what_cannot_be_sent_is_left_out_and_the_rest_of_the_error_stays() -> None:
    found = carried(Coded(code=7, detail=threading.Lock()))
    assert isinstance(found, Coded)
    assert (found.code, hasattr(found, "detail"), str(found)) == (7, False, "code 7")
    assert isinstance(carried(Mute(threading.Lock())), ConnectionError)


@given(st.lists(st.text() | st.integers() | st.floats(allow_nan=False) | st.none() | st.binary()))
def test_whatever_an_error_is_made_of_it_comes_through(arguments: list[Any]) -> None:
    for kind in (ValueError, TryAgain, InvalidInput, OSError, asyncio.TimeoutError):
        error = kind(*arguments)
        assert (type(carried(error)), str(carried(error))) == (type(error), str(error))
