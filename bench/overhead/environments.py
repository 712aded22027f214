"""Virtual environments for peers: one each, made once, kept in the user's cache folder and used again."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import platformdirs

INSTALL_TIMEOUT_S = 600


class CannotInstall(Exception):
    """Why a peer is not there, in words."""


def python_for(packages: tuple[str, ...], cache: Path | None = None) -> Path:
    """Return the interpreter of an environment that has these packages, and nothing else of ours.

    Args:
        packages: What pip installs, as it takes it. None need no environment: this interpreter is returned.
        cache: Where environments are kept; by default `peers` in kapelle's cache folder, or `KAPELLE_PEERS`.

    Raises:
        CannotInstall: pip could not, for want of a network for instance.
    """
    if not packages:
        return Path(sys.executable)
    home = folder_for(packages, cache)
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)  # what an earlier try has left
    try:
        venv.create(home, with_pip=True)
        _install(python, packages)
    except CannotInstall:
        shutil.rmtree(home, ignore_errors=True)
        raise
    except (OSError, subprocess.CalledProcessError) as error:  # a full disk, or a Python without pip
        shutil.rmtree(home, ignore_errors=True)
        raise CannotInstall(f"an environment in {home} cannot be made: {error}") from error
    (home / "complete").touch()
    return python


def folder_for(packages: tuple[str, ...], cache: Path | None = None) -> Path:
    """Return where the environment of these packages is: other versions, or another Python, have another."""
    kept = os.environ.get("KAPELLE_PEERS") or Path(platformdirs.user_cache_dir("kapelle", appauthor=False)) / "peers"
    wanted = "\n".join((sys.version, *sorted(packages)))
    name = packages[0].partition("=")[0]
    return (cache or Path(kept)) / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:10]}"


def _install(python: Path, packages: tuple[str, ...]) -> None:
    options = ("--quiet", "--disable-pip-version-check", "--retries", "1")
    command = [str(python), "-m", "pip", "install", *options, *packages]
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, env=known)
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"pip took longer than {INSTALL_TIMEOUT_S} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        raise CannotInstall(f"pip could not install {' '.join(packages)}: {' '.join(said)[:300]}")
