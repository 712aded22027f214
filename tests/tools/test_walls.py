"""Ways out of the walls that were found once: none of them is open again."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from kapelle.errors import RefusedQuery
from kapelle.tools import Walls
from kapelle.tools.sandbox import places, walls
from tests.tools.test_commands import python, run

CHANGES_OF_WHAT_IS = (
    "chmod 777 {secret}",
    "touch -d 2001-01-01 {secret}",
    "chown 1:1 {secret}",
    "exec 3</usr/bin/env; touch -d 2001-01-01 /dev/fd/3",
)


@pytest.mark.parametrize("command", CHANGES_OF_WHAT_IS)
def test_rights_times_and_owners_outside_stay_as_they_are(
    command: str, kept_in: Walls, tmp_path: Path, place: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("KEPT")
    secret.chmod(0o600)
    before = facts(secret), facts(Path("/usr/bin/env"))
    run(command.format(secret=secret), place, kept_in)
    assert (facts(secret), facts(Path("/usr/bin/env"))) == before


def facts(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, found.st_ctime_ns


def test_a_file_open_for_reading_only_keeps_its_rights(kept_in: Walls, tmp_path: Path, place: Path) -> None:
    (tmp_path / "read").write_text("x")
    (tmp_path / "read").chmod(0o644)
    code = "import os, sys; os.fchmod(os.open(sys.argv[1], os.O_RDONLY), 0o600)"
    result = run([*python(code), str(tmp_path / "read")], place, kept_in, readable=(tmp_path / "read",))
    assert "Error" in result.output
    assert (tmp_path / "read").stat().st_mode & 0o777 == 0o644


AS_ITS_OWNER = (
    "os.chmod('s', 0o4755)",
    "os.chmod('s', 0o2755)",
    "os.fchmod(os.open('s', os.O_RDWR), 0o4755)",
    "os.chmod('s', 0o4755, dir_fd=os.open('.', os.O_RDONLY))",
    "os.open('new', os.O_CREAT | os.O_WRONLY, 0o4755)",
    "os.mknod('new', 0o104755)",
)


@pytest.mark.parametrize("code", AS_ITS_OWNER)
def test_no_file_is_made_that_runs_as_its_owner(code: str, kept_in: Walls, place: Path) -> None:
    (place / "s").write_text("#!/bin/sh\n")
    assert "PermissionError" in run(python(f"import os; {code}"), place, kept_in).output
    assert not any(path.stat().st_mode & 0o6000 for path in place.iterdir())


@pytest.fixture
def own_python(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that holds the environment which this process runs in, two folders deep."""
    prefix = place / "project" / "venv"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
    return prefix


WRITES_OF_ITS_OWN = (
    "printf '#!/bin/sh\necho out > {out}' > {venv}/bin/bwrap; chmod 755 {venv}/bin/bwrap",
    "echo 'import os' > {venv}/evil.pth",
    "rm {venv}/bin/python",
    "mv {venv} {venv}-old && mkdir -p {venv}/bin",
    "mv project old && mkdir -p {venv}/bin",
)


@pytest.mark.parametrize("command", WRITES_OF_ITS_OWN)
def test_the_python_that_runs_this_cannot_be_written_from_its_workspace(
    command: str, kept_in: Walls, place: Path, own_python: Path, tmp_path: Path
) -> None:
    command = command.format(venv=own_python, out=tmp_path / "out")
    if kept_in.kind == walls.LANDLOCK:
        with pytest.raises(RefusedQuery, match="Landlock cannot keep"):
            run(command, place, kept_in)
    else:
        assert run(command, place, kept_in).exit_code != 0
        assert run("echo made > project/made && chmod 755 project/made", place, kept_in).succeeded
    assert [path.relative_to(own_python) for path in own_python.rglob("*")] == [Path("bin"), Path("bin/python")]
    assert not (tmp_path / "out").exists()


def test_a_python_that_a_link_in_the_workspace_leads_to_is_refused(
    kept_in: Walls, place: Path, own_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "link").symlink_to("project")
    monkeypatch.setattr(sys, "prefix", str(place / "link" / "venv"))
    with pytest.raises(RefusedQuery, match="start kapelle by its real path"):
        run("true", place, kept_in)
    with pytest.raises(RefusedQuery, match="Use another folder"):
        run("true", own_python, kept_in)


def test_a_bubblewrap_in_the_path_of_the_workspace_is_not_run(
    kept_in: Walls, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "bwrap").write_text(f"#!/bin/sh\ntouch {place}/ran\n")
    (place / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:.:{os.environ['PATH']}")
    walls.find_bubblewrap.cache_clear()
    assert run("true", place, kept_in, environ={"PATH": str(place)}).exit_code in (0, 127)
    assert not (place / "ran").exists()


REACHES = {
    "an abstract socket": "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect('\\0' + sys.argv[1])",
    "an abstract socket by a pair": "socket.socketpair(type=socket.SOCK_DGRAM)[0].connect('\\0' + sys.argv[1])",
}


@pytest.mark.parametrize("way", REACHES)
@pytest.mark.parametrize("network", [False, True])
def test_no_socket_of_this_machine_is_reached(way: str, network: bool, kept_in: Walls, place: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0kapelle-{os.getpid()}")
        words = [*python("import socket, sys; " + REACHES[way]), f"kapelle-{os.getpid()}"]
        assert "Error" in run(words, place, kept_in, network=network).output


def test_processes_of_a_command_still_talk_by_pairs(kept_in: Walls, place: Path) -> None:
    code = "import socket; a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))"
    assert run(python(code), place, kept_in, network=True).output == "b'x'\n"


def test_names_are_looked_up_where_the_list_of_servers_is_a_link(
    kept_in: Walls, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stub.conf").write_text("nameserver 192.0.2.1\n")
    (tmp_path / "middle").symlink_to("stub.conf")
    (tmp_path / "resolv.conf").symlink_to("middle")
    monkeypatch.setattr(walls, "RESOLVER", str(tmp_path / "resolv.conf"))
    result = run(f"cat {tmp_path}/resolv.conf", place, kept_in, network=True)
    assert result.output == "nameserver 192.0.2.1\n"


def test_private_keys_of_the_machine_are_not_readable(kept_in: Walls, place: Path) -> None:
    result = run("ls /etc/ssl/private /etc/pki/tls/private; test -e /etc/ssl/certs && ls /etc/ssl", place, kept_in)
    assert "private" not in [line.strip() for line in result.output.splitlines()]
    assert not any(Path("/etc/ssl/private").is_relative_to(path) for path in places.readable_places(()))
    assert not any(Path("/etc/pki/tls/private").is_relative_to(path) for path in places.readable_places(()))
