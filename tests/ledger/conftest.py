"""A PostgreSQL server for all tests of this folder, and both stores by turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.ledger.postgres_server import PostgresServer
from tests.ledger.stores import PostgresStore, SqliteStore, Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_store(postgres: PostgresServer) -> PostgresStore:
    """A database of that server, with no ledger in it."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS kapelle CASCADE")
    return PostgresStore(location=postgres.url())


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return SqliteStore(location=str(tmp_path / "l.sqlite"))
    found: PostgresStore = request.getfixturevalue("postgres_store")
    return found
