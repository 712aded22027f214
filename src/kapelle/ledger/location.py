"""What the location of a ledger means: a file, or a PostgreSQL database by URL or by libpq's connection string.

    postgresql://..., postgres://..., postgresql+DRIVER://...     a database, however the scheme is spelt
    host=... dbname=... (key=value, as psql takes it)             a database
    sqlite:///PATH, file:PATH                                     the file PATH
    any other scheme://..., and what holds a password             refused: it never becomes a file of that name
    anything else                                                 a file

Somebody who means a server and mistypes it must not find the password in the name of a new file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from kapelle.errors import InvalidInput
from kapelle.redaction import hide_credentials, hide_keyword_passwords, holds_credentials

_POSTGRES_URL = re.compile(r"\A\s*(?:postgresql|postgres)(?:\+\w+)?://", re.IGNORECASE)
_SQLITE_URL = re.compile(r"\A\s*(?:sqlite(?:\+\w+)?://|file:(?://(?:localhost)?(?=/))?)", re.IGNORECASE)
# libpq's keywords, https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_KEYWORD = re.compile(
    r"(?:^|\s)(?:host|hostaddr|port|dbname|user|password|passfile|service|options|application_name|connect_timeout"
    r"|ssl[a-z]+|gss[a-z]+|krbsrvname|channel_binding|client_encoding|target_session_attrs|keepalives[a-z_]*"
    r"|load_balance_hosts|require_auth)\s*=",
    re.IGNORECASE,
)
_ANY_URL = re.compile(r"\A\s*+['\"]?\s*+[A-Za-z][A-Za-z0-9+.-]*:(?://|\\\\)")
_DATABASE = re.compile(
    r"\A\s*+['\"]?\s*+(?:jdbc|postgres\w*|pgsql|mysql|mariadb|mssql|oracle|mongodb|redis|sqlite)(?:\+\w+)?:",
    re.IGNORECASE,
)
_DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])" if os.name == "nt" else r"(?!)")


def is_postgres_url(location: str) -> bool:
    """Whether a ledger's location means a PostgreSQL server rather than a file."""
    return (_POSTGRES_URL.match(location) or _KEYWORD.match(location.lstrip())) is not None


def postgres_location(location: str) -> str:
    """Return a location of a server as libpq reads it: the scheme in small letters, and without a driver's name.

    >>> postgres_location("PostgreSQL+psycopg://db.example/work")
    'postgresql://db.example/work'
    """
    return _POSTGRES_URL.sub("postgresql://", location, count=1).strip()


def file_location(location: str | Path) -> str:
    """Return the path of the file that a location means; `:memory:` is none, and stays.

    Raises:
        InvalidInput: it means a server, or something else that is no file, or holds a password.
    """
    text = given = str(location)
    is_sqlite = False
    if is_postgres_url(text):
        raise InvalidInput("A PostgreSQL ledger is no SQLite file: open it with open_ledger or PostgresLedger.")
    if (url := _SQLITE_URL.match(text)) is not None and not isinstance(location, Path):
        text = unquote(text[url.end() :].partition("?")[0])
        is_sqlite = url[0].strip().lower().startswith("sqlite")
        # After sqlite:// comes no host, so the first / only separates: sqlite:////var/l.sqlite has one more.
        text = (text[1:] if text.startswith("/") else text) or ":memory:" if is_sqlite else text
    if text == ":memory:":
        return text
    has_host = url is not None and not is_sqlite and text.startswith("//")
    has_password = holds_credentials(_DRIVE.sub("", given, count=1))
    if has_host or has_password or _ANY_URL.match(text) or _means_a_server(text):
        place = hide_credentials(hide_keyword_passwords(given))[:200]
        raise InvalidInput(
            f"{place!r} is neither a file nor a server that keeps a ledger. Write the path of a file, or "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
        )
    return text


def _means_a_server(text: str) -> bool:
    return bool(_DATABASE.match(text) or _KEYWORD.match(text.strip(" '\"")))
