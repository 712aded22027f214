"""A line to a PostgreSQL server that can be cut where it hurts: before a request arrives, after it was done, late."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

Cut = Literal["before", "after", "late"]


class CutLine:
    """Listens in a folder of its own, and passes on what comes to the server's socket.

    The next request after `cut_next` is lost in one of three ways: `before`, the server never hears of it; `after`, it
    is done and only the reply is lost; `late`, it is held back until `deliver`. Other connections are passed on.
    """

    def __init__(self, server: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kapelle-line-"))
        self.requests = 0
        """Messages that clients have sent: each is a round trip."""
        self._server = server
        self._cut: Cut | None = None
        self._skip = 0
        self._held: list[tuple[socket.socket, bytes]] = []
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / server.name))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for end in [self._listener, *self._open]:
            end.close()
        (self.folder / self._server.name).unlink()
        self.folder.rmdir()

    @property
    def is_armed(self) -> bool:
        """Whether the request that is to be lost has not come yet."""
        return self._cut is not None

    def cut_next(self, how: Cut, *, skip: int = 0) -> None:
        """Lose the next request, or one after it."""
        self._skip = skip
        self._cut = how

    def deliver(self) -> bytes:
        """Let the server have what was held back, and return its reply."""
        ((end, request),) = self._held
        self._held.clear()
        end.sendall(request)
        return end.recv(65_536)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._open += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Take requests and replies by turns, as the protocol does."""
        with contextlib.suppress(OSError):
            while request := client.recv(65_536):
                self.requests += 1
                cut = self._take_cut()
                if cut == "late":
                    self._held.append((server, request))
                    client.close()
                    return
                if cut == "before":
                    server.close()
                    client.close()
                    return
                server.sendall(request)
                reply = server.recv(65_536)
                if cut == "after":
                    server.close()
                    client.close()
                    return
                client.sendall(reply)
        client.close()
        server.close()

    def _take_cut(self) -> Cut | None:
        if self._cut is not None and self._skip > 0:
            self._skip -= 1
            return None
        cut, self._cut = self._cut, None
        return cut
