"""Connects to the ledger's PostgreSQL server, and says in plain words what it refuses. Never tells a password.

    what happens                        what it is     because
    the server is away, starting, full  LedgerBusy     the same call may succeed later
    another holds a run for too long    LedgerBusy     the same
    password, rights, no such database  InvalidInput   somebody must change something first
    a value that it cannot keep         InvalidInput   the same
    the server's files are damaged      LedgerCorrupt

The driver is psycopg 3, an extra: it is imported when the first ledger by URL is opened. See docs/decisions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kapelle.errors import InvalidInput, KapelleError, LedgerBusy, LedgerCorrupt
from kapelle.redaction import hide_password

from . import connection as timing
from .location import postgres_location

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT_S = 5
"""How long one attempt to reach a server may take; a URL may say otherwise (`?connect_timeout=`)."""
_DEFAULTS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "kapelle",
    "client_encoding": "utf8",
    # A peer that vanished without a word is noticed in about ten seconds rather than in hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_AWAY = ("57P01", "57P02", "57P03", "53300")
"""SQLSTATEs of a server that shuts down, has crashed, is starting up, or has too many clients."""
_AWAY_WORDS = ("starting up", "shutting down", "too many clients", "too many connections", "remaining connection slots",
               "recovery mode", "not accepting connections")  # fmt: skip
"""The driver tells no SQLSTATE for a refused connection, only the server's words."""


def connect(url: str) -> psycopg.Connection[Any]:
    """Connect to a server. Every statement is a transaction of its own, unless one is begun.

    Raises:
        InvalidInput: the driver is not installed; the URL, its user or its password is wrong, or there is no such
            database.
        LedgerBusy: the server cannot be reached.
    """
    driver = import_driver()
    place = hide_password(url)
    url = postgres_location(url)
    if re.match(r"[^/?#]*//[^/?#]*@[^/?#]*@", url):
        raise InvalidInput(f"{place!r} has more than one @. In a user or a password write it as %40.")
    try:
        options = driver.conninfo.conninfo_to_dict(url)
    except driver.Error:
        # Without the cause and its text: both may quote the password.
        raise InvalidInput(
            f"{place!r} is no location of a PostgreSQL database. Write "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and %XX for other "
            "signs than letters and digits in a password."
        ) from None
    try:
        connection: psycopg.Connection[Any] = driver.connect(**{**_DEFAULTS, **options}, autocommit=True)
    except driver.Error as error:
        raise _cannot_connect(error, place) from None  # the cause holds the connection's options, password included
    try:
        # Appends rely on it that each statement sees what was committed before it; see postgres_schema.
        connection.execute(
            "SET search_path = kapelle; SET default_transaction_isolation = 'read committed'; "
            "SET extra_float_digits = 3; "  # floats come back exactly, whatever the role's own setting is
            f"SET lock_timeout = {max(1, round(timing.BUSY_TIMEOUT_S * 1000))}".encode()
        )
    except driver.Error as error:
        connection.close()
        raise refusal(error, place) from error
    return connection


def import_driver() -> Any:
    """Return psycopg.

    Raises:
        InvalidInput: it is not installed.
    """
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        raise InvalidInput(
            f"A ledger in PostgreSQL needs a driver that is not there ({error}). Install it: "
            "pip install 'kapelle[postgres]'"
        ) from error
    return psycopg


def is_away(error: psycopg.Error, connection: psycopg.Connection[Any]) -> bool:
    """Whether the connection was lost, so that it is unknown what became of the statement."""
    return connection.closed or connection.broken or error.sqlstate in _AWAY


def refusal(error: psycopg.Error, place: str) -> KapelleError:
    """Return what to raise for an error of the server: by what the caller can do about it."""
    state, text = error.sqlstate or "", str(error).strip().partition("\n")[0]
    if state in _AWAY or (not state and isinstance(error, import_driver().OperationalError)):
        return LedgerBusy(
            f"The server of the ledger {place!r} went away: {text}. Nothing is lost that was confirmed. Start it, and "
            "try again; what was being written is found out then, and never written twice."
        )
    if state in ("55P03", "57014", "40001", "40P01"):
        return LedgerBusy(f"Another process holds the ledger {place!r}: {text}. Try again.")
    if state in ("42501", "25006"):
        return InvalidInput(
            f"The user of {place!r} may not do this: {text}. Let its owner grant CREATE on the database, or all on "
            "schema kapelle and what is in it; to write, name no standby."
        )
    if state.startswith("53"):
        return InvalidInput(f"The server of the ledger {place!r} has no room: {text}. Check its disk and its memory.")
    if state.startswith(("22", "23", "54")) or not state:
        return InvalidInput(f"The ledger {place!r} cannot keep this: {text}. Give something smaller or plainer.")
    return LedgerCorrupt(
        f"The ledger {place!r} is damaged: {text} (SQLSTATE {state}). Restore a copy (pg_restore), or name another "
        "with --db."
    )


def _cannot_connect(error: psycopg.Error, place: str) -> KapelleError:
    text = " ".join(str(error).split()).rstrip("?.")
    answered = "FATAL" in text or getattr(error.pgconn, "used_password", False)
    if not answered or any(word in text for word in _AWAY_WORDS):
        return LedgerBusy(
            f"Cannot reach the server of the ledger {place!r}: {text}. Start it, or check host and port, and try "
            "again; --db names another ledger."
        )
    return InvalidInput(
        f"The server refuses the ledger {place!r}: {text}. Check user, password and database (createdb makes one); "
        "--db names another."
    )
