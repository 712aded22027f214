"""Where agents run: in the event loop, on threads, or on other machines."""

from .asyncio_backend import AsyncioBackend as AsyncioBackend
from .backend import Backend as Backend
from .make import make_backend as make_backend
from .threads_backend import ThreadsBackend as ThreadsBackend
