"""Finds a backend by the name that users call it."""

from __future__ import annotations

from kapelle.errors import InvalidInput

from .asyncio_backend import AsyncioBackend
from .backend import Backend
from .threads_backend import ThreadsBackend

NAMES = ("asyncio", "threads", "ray")


def make_backend(name: str) -> Backend:
    """Return the backend with a name.

    Raises:
        InvalidInput: there is none, or what it needs is not installed.

    >>> make_backend("threads").name
    'threads'
    """
    match name:
        case "asyncio":
            return AsyncioBackend()
        case "threads":
            return ThreadsBackend()
        case "ray":
            from .ray_backend import RayBackend  # Ray is an extra, and takes a second to import

            return RayBackend()
    raise InvalidInput(f"There is no backend {name!r:.40}. Use one of: {', '.join(NAMES)}.")
