"""The two stores, so that one test holds both to the same behaviour."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg

from kapelle.ledger import PostgresLedger, SqliteLedger, open_ledger

AnyLedger = SqliteLedger | PostgresLedger


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Store(Protocol):
    """A place for one ledger, which any number of objects and processes can open."""

    location: str
    clock: Clock

    @property
    def refused(self) -> type[Exception]:
        """What the driver raises where a trigger refuses a change."""
        ...

    def open(self, *, read_only: bool = False, clock: Callable[[], float] | None = None) -> AnyLedger:
        """Open the ledger."""
        ...

    def change(self, statement: str, *values: object, triggers: bool = True) -> None:
        """Change the tables as anybody may who has the file or the password; `?` stands for a value."""
        ...

    def rows(self, statement: str) -> list[Any]:
        """Return what anybody may read."""
        ...

    def set_version(self, number: int) -> None:
        """Let the ledger be one of another version."""
        ...

    def pass_time(self, seconds: float) -> None:
        """Let leases see this much time pass; less than zero is a clock that jumps back."""
        ...


@dataclass
class SqliteStore:
    location: str
    clock: Clock = field(default_factory=Clock)
    refused: type[Exception] = sqlite3.IntegrityError

    def open(self, *, read_only: bool = False, clock: Callable[[], float] | None = None) -> AnyLedger:
        return open_ledger(self.location, read_only=read_only, clock=clock or self.clock)

    def change(self, statement: str, *values: object, triggers: bool = True) -> None:
        connection = sqlite3.connect(self.location, isolation_level=None)
        try:
            if not triggers:
                for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                    connection.execute(f"DROP TRIGGER {name}")
            connection.execute(statement, values)
        finally:
            connection.close()

    def rows(self, statement: str) -> list[Any]:
        connection = sqlite3.connect(self.location)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def set_version(self, number: int) -> None:
        self.change(f"PRAGMA user_version = {number}")

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds


@dataclass
class PostgresStore:
    location: str
    clock: Clock = field(default_factory=Clock)
    refused: type[Exception] = psycopg.errors.RaiseException

    def open(self, *, read_only: bool = False, clock: Callable[[], float] | None = None) -> AnyLedger:
        return open_ledger(self.location, read_only=read_only, clock=clock or self.clock)

    def change(self, statement: str, *values: object, triggers: bool = True) -> None:
        with psycopg.connect(self.location, autocommit=True) as connection:
            connection.execute("SET search_path = kapelle")
            if not triggers:
                connection.execute("ALTER TABLE events DISABLE TRIGGER ALL; ALTER TABLE outcomes DISABLE TRIGGER ALL")
            connection.execute(statement.replace("?", "%s").encode(), values or None)

    def rows(self, statement: str) -> list[Any]:
        with psycopg.connect(self.location, autocommit=True) as connection:
            connection.execute("SET search_path = kapelle")
            return connection.execute(statement.encode()).fetchall()

    def set_version(self, number: int) -> None:
        self.change("UPDATE version SET number = ?", number)

    def pass_time(self, seconds: float) -> None:
        """The server's clock cannot be moved, so the leases are."""
        self.change("UPDATE leases SET expires_at = expires_at - ?", seconds)
