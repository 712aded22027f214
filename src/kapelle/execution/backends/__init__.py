"""Where agents run: in the event loop, on threads, or on other machines."""

from .backend import AsyncioBackend as AsyncioBackend
from .backend import Backend as Backend
from .backend import make_backend as make_backend
from .threads_backend import ThreadsBackend as ThreadsBackend
