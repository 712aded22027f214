"""Which paths a command may read, and which of the workspace's belong to this Python and may not be written.

A workspace may hold the Python that runs this process, or kapelle itself: a project with its `.venv`. What a command
writes there would run outside of the walls at the next start, so it is to be read only. Every link on the way to it
decides as well what runs; a link in the workspace cannot be held in place, so that is refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from kapelle.errors import RefusedQuery

_READABLE = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"),
    *("/etc/alternatives", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/fonts", "/etc/group", "/etc/hosts"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types"),
    *("/etc/nsswitch.conf", "/etc/passwd", "/etc/python3", "/etc/timezone"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/ca-trust"),
    *("/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf"),
)
"""Programs and what they need to start. Not /etc as a whole, nor all of /etc/ssl: passwords and keys lie there."""
RESOLVER = "/etc/resolv.conf"
"""Where the names of servers are looked up. Often a link to a folder that is not there within the walls."""
_MAX_LINKS = 40
"""As many as the kernel follows."""


def readable_places(more: Iterable[Path]) -> list[Path]:
    """Return what a command may read, without what lies in another of them."""
    pythons = [sys.prefix, sys.base_prefix, os.path.realpath(sys.executable)]
    found: list[Path] = []
    for path in sorted({*map(Path, [*_READABLE, *pythons]), *more}, key=lambda path: len(path.parts)):
        if os.path.lexists(path) and not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return found


def own_places(workspace: Path, more: Iterable[Path] = ()) -> list[Path]:
    """Return the folders and files in a workspace that run outside of the walls: of this Python and of kapelle.

    Raises:
        RefusedQuery: the workspace is one of them, or a link in it leads to one.
    """
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    pythons = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.executable, *packages]
    found: list[Path] = []
    deciding = {
        place for path in [*map(Path, pythons), Path(__file__).parents[2], *more] for place in _on_the_way(path)
    }
    for path in sorted(deciding, key=lambda path: len(path.parts)):
        if not path.is_relative_to(workspace) or any(path.is_relative_to(other) for other in found):
            continue
        if path == workspace or path.is_symlink():
            raise RefusedQuery(
                f"This Python is reached by {path}, which a command in the workspace {workspace} could change. "
                "Use another folder as the workspace, or start kapelle by its real path."
            )
        found.append(path)
    return found


def between(workspace: Path, place: Path) -> list[Path]:
    """Return the folders that lie between a workspace and a place in it, the outer ones first."""
    return [path for path in reversed(place.parents) if path.is_relative_to(workspace) and path != workspace]


def _on_the_way(path: Path) -> list[Path]:
    """Return every link that is passed when a path is followed, where it really lies, and where it ends."""
    found: list[Path] = []
    current, waiting = Path("/"), list(reversed(Path(os.path.abspath(path)).parts[1:]))
    while waiting:
        name = waiting.pop()
        if name == "..":
            current = current.parent
            continue
        current = current / name
        if current.is_symlink() and len(found) < _MAX_LINKS:
            found.append(current)
            target = Path(os.readlink(current))
            waiting += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            current = Path("/") if target.is_absolute() else current.parent
    return [*found, current]
