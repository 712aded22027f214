from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, agent
from kapelle.errors import InvalidInput, LedgerBusy
from kapelle.ledger import PostgresLedger, SqliteLedger, has_ledger, open_ledger
from tests.ledger.postgres_server import PostgresServer
from tests.ledger.stores import Store


@agent(task_types=["lookup"], cost_usd=0.001)
async def atlas(task: Any) -> str:
    return {"capital of France": "Paris", "capital of Germany": "Berlin"}[task.inputs["query"]]


def test_a_location_is_a_file_or_a_url(tmp_path: Path, postgres: PostgresServer) -> None:
    kinds: list[tuple[str | Path, type]] = [
        (tmp_path / "l.sqlite", SqliteLedger),
        (":memory:", SqliteLedger),
        (postgres.url(), PostgresLedger),
    ]
    for location, kind in kinds:
        with open_ledger(location) as ledger:
            assert isinstance(ledger, kind)


def test_looking_whether_there_is_a_ledger_makes_none(store: Store) -> None:
    assert [has_ledger(store.location), has_ledger(store.location)] == [False, False]
    store.open().close()
    assert has_ledger(store.location)


def test_a_server_that_is_away_is_no_missing_ledger() -> None:
    with pytest.raises(LedgerBusy, match="Cannot reach"):
        has_ledger("postgresql:///x?host=/nowhere")


def test_an_engine_finds_either_store_in_the_environment(store: Store) -> None:
    environ = {"KAPELLE_DB": store.location, "KAPELLE_CONTROL_SHARE": "0"}
    engine = Engine(agents=[atlas], model="none", environ=environ)
    run = asyncio.run(engine.run("Compare the capitals of France and Germany", budget_usd=0.5))
    engine.ledger.close()
    with store.open(read_only=True) as ledger:
        assert ledger.run("last") == run
        assert (run.state, len(ledger.outcomes())) == ("done", 3)


def test_a_durability_comes_from_the_argument_else_the_environment_else_it_is_full(store: Store) -> None:
    for given, environ, expected in (
        (None, {}, "full"),
        (None, {"KAPELLE_DURABILITY": "normal"}, "normal"),
        (None, {"KAPELLE_DURABILITY": ""}, "full"),
        ("full", {"KAPELLE_DURABILITY": "normal"}, "full"),
    ):
        with open_ledger(store.location, durability=given, environ=environ) as ledger:  # type: ignore[arg-type]  # these
            assert ledger.durability == expected
    with pytest.raises(InvalidInput, match="KAPELLE_DURABILITY='fast' is not known"):
        open_ledger(store.location, environ={"KAPELLE_DURABILITY": "fast"})
