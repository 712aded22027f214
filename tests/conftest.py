"""What every test shares: no key, no model and no ledger of the machine it runs on; and how many cases it tries."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from kapelle.process import signals
from tests.scale import scaled

QUICK_CASES = 2
"""So many cases of a test are enough where it is to be quick."""
LEAST_EXAMPLES = 15
"""Fewer show little more than that a test runs."""

# Speed is measured in bench/, so a slow machine fails no test. In CI the cases are the same every time; elsewhere they
# are new ones, and what they find is a test to write.
settings.register_profile(
    "kapelle",
    deadline=None,
    max_examples=scaled(100, least=LEAST_EXAMPLES),
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("kapelle")

# Several processes share the processors: in each, arithmetic keeps to one thread, or they wait for one another.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A shell that starts the tests in the background lets them, and whatever they start, ignore an interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Many tests start Python anew. Each start takes twice as long where no bytecode may be kept.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(autouse=True)
def offline_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user's keys, models and ledger; every test has an empty ledger of its own, and none ends the tests."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("KAPELLE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KAPELLE_DB", str(tmp_path / "ledger.sqlite"))
    monkeypatch.setattr(signals, "_end", _leave)


def _leave(code: int) -> NoReturn:
    """In the place of what ends a program that leaves threads behind: the tests go on."""
    raise SystemExit(code)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take --quick."""
    parser.addoption("--quick", action="store_true", help="no slow test, and of a test with many cases a few")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Scale what hypothesis tries; with --quick leave out what is slow; put first what takes longest."""
    functions = {id(found): found for item in items if is_hypothesis_test(found := getattr(item, "obj", None))}
    for function in functions.values():
        _scale_examples(function)
    if config.getoption("quick"):
        quick = set(_quick_ones(items))
        config.hook.pytest_deselected(items=[item for item in items if item not in quick])
        items[:] = [item for item in items if item in quick]
    if hasattr(config, "workerinput"):
        from tests.parallel import put_longest_first

        put_longest_first(items)


def _quick_ones(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the tests that are not marked as slow: of each, some of its cases, from the first to the last."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow") is None:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for found in cases.values():
        yield from found[:: math.ceil(len(found) / QUICK_CASES)]


def _scale_examples(function: Any) -> None:
    """Scale the number of examples that a test's own decorator counts; the profile's is scaled already."""
    # Hypothesis has no other place where it could be said anew. A machine of states has the profile's.
    said: settings | None = getattr(function, "_hypothesis_internal_use_settings", None)
    profile = settings.default
    if said is not None and profile is not None and said.max_examples != profile.max_examples:
        count = scaled(said.max_examples, least=LEAST_EXAMPLES)
        function._hypothesis_internal_use_settings = settings(said, max_examples=count)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Say which tests stay together where several processes share them."""
    from tests.parallel import Together

    return Together(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let what a test said reach the process that prints it, also halves of characters, which cannot be sent."""
    return _sendable((yield))


def _sendable(found: Any) -> Any:
    if isinstance(found, str):
        return found.encode("utf-8", "backslashreplace").decode()
    if isinstance(found, dict):
        return {_sendable(key): _sendable(value) for key, value in found.items()}
    return [_sendable(one) for one in found] if isinstance(found, (list, tuple)) else found
