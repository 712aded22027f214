"""Opens the ledger that a location means: a SQLite file, or a PostgreSQL database by its URL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kapelle.errors import NotFound

from .durability import Durability, read_durability
from .location import file_location, is_postgres_url
from .sqlite import SqliteLedger

if TYPE_CHECKING:
    from .postgres import PostgresLedger


def open_ledger(
    location: str | Path,
    *,
    read_only: bool = False,
    clock: Callable[[], float] = time.time,
    durability: Durability | None = None,
    environ: Mapping[str, str] = os.environ,
) -> SqliteLedger | PostgresLedger:
    """Return the ledger at a path, or at a `postgresql://` URL; what each raises, its class says. See location.

    Args:
        durability: `full` or `normal`, see durability; None is what `KAPELLE_DURABILITY` says, else `full`.

    >>> with open_ledger(":memory:") as ledger:
    ...     ledger.runs()
    ()
    """
    chosen = read_durability(durability, environ)
    if is_postgres_url(str(location)):
        from .postgres import PostgresLedger  # what few have

        return PostgresLedger(str(location), read_only=read_only, clock=clock, durability=chosen)
    return SqliteLedger(location, read_only=read_only, clock=clock, durability=chosen)


def has_ledger(location: str | Path) -> bool:
    """Whether something is there already, so that opening it for writing makes no ledger.

    Raises:
        LedgerBusy, InvalidInput: a server cannot be asked.
    """
    if not is_postgres_url(str(location)):
        return Path(file_location(location)).expanduser().exists()
    from .postgres import PostgresLedger

    try:
        PostgresLedger(str(location), read_only=True).close()
    except NotFound:
        return False
    return True
