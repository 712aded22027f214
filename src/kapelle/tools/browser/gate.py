"""The only way out of a browser: a proxy on loopback that dials for it, and dials nothing that is not allowed.

A rule that is checked in the browser has holes: a redirect, a worker, a socket, the first request of a new tab. Here
each connection passes, whatever began it, and the browser looks up no name itself. What is dialled is the address
that was judged, so a name that changes its address in between gains nothing.

Requests over http are answered one per connection, so that no request reaches the host of the one before it. What is
within https is not looked at. No proxy behind this one is used.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from urllib.parse import urlsplit

from .hosts import AllowedHosts

MAX_HEAD_BYTES = 64 * 1024
DIAL_S = 10.0
_CHUNK = 64 * 1024
# Headers that speak of one connection: RFC 9110, section 7.6.1.
_HOP = ("connection", "keep-alive", "proxy-connection", "proxy-authorization")


class NetworkGate:
    """Passes on what is allowed, up to so many bytes, and remembers what it refused and why.

    Args:
        hosts: who may be asked.
        answer_bytes: the most that one connection may bring.
        total_bytes: the most that all of them together may bring.
    """

    def __init__(self, hosts: AllowedHosts, *, answer_bytes: int, total_bytes: int) -> None:
        self.refused: Counter[str] = Counter()
        """How often a host was refused, as `host:port, because ...`."""
        self.failed: dict[str, str] = {}
        """Why a host that is allowed could not be reached, by `host:port`."""
        self._hosts = hosts
        self._answer_bytes = answer_bytes
        self._left = total_bytes
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Begin to listen; return the address for the browser."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=MAX_HEAD_BYTES)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the browser hears of it by the end of the connection
        except asyncio.CancelledError:
            pass  # by `close`, which waits for it; as the task's end it would be told to the loop as an error
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, headers = _parse(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DIAL_S))
        is_tunnel = method == "CONNECT"
        parts = urlsplit(f"//{target}" if is_tunnel else target)
        if not parts.hostname or (not is_tunnel and parts.scheme != "http"):
            return
        port = parts.port or (443 if is_tunnel else 80)
        dialled = await self._dial(parts.hostname, port)
        if dialled is None:
            if is_tunnel:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
            return
        inner, outer = dialled
        try:
            if is_tunnel:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                sent = asyncio.create_task(_pump(reader, outer, None))
            else:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                outer.write(_head(f"{method} {path} HTTP/1.1", headers))
                sent = asyncio.create_task(_pump(reader, outer, _length(headers)))
            try:
                if not is_tunnel:
                    await _pass_heads(inner, writer)
                await self._bring(inner, writer)
            finally:
                sent.cancel()
                await asyncio.gather(sent, return_exceptions=True)
        finally:
            outer.close()

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        place = _place(host, port)
        reason = self._hosts.why_not(host, port)
        if self._left <= 0:
            reason = "more was fetched already than a session may fetch"
        if reason is not None:
            self._refuse(place, reason)
            return None
        try:
            known = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.failed[place] = f"its name is not known here ({error})"
            return None
        addresses = dict.fromkeys(str(each[4][0]) for each in known)
        reasons = {address: self._hosts.why_not_at(host, port, address) for address in addresses}
        for address, reason in reasons.items():
            if reason is None:
                try:
                    return await asyncio.wait_for(
                        asyncio.open_connection(address, port, limit=MAX_HEAD_BYTES), timeout=DIAL_S
                    )
                except (OSError, TimeoutError) as error:
                    self.failed[place] = f"nobody answers at {address} ({error or 'too slow'})"
        if all(reasons.values()):
            self._refuse(place, next(filter(None, reasons.values()), "it has no address"))
        return None

    def _refuse(self, place: str, reason: str) -> None:
        if len(self.refused) < 100 or f"{place}, because {reason}" in self.refused:
            self.refused[f"{place}, because {reason}"] += 1

    async def _bring(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        left = self._answer_bytes
        while left > 0 and self._left > 0 and (chunk := await source.read(_CHUNK)):
            left -= len(chunk)
            self._left -= len(chunk)
            target.write(chunk)
            await target.drain()
        if left <= 0 or self._left <= 0:
            target.transport.abort()  # cut, so that half an answer is not taken for a whole one


def name_place(url: str) -> str:
    """Return host and port of an address as `refused` and `failed` name them; empty if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return ""
    return _place(parts.hostname, port) if parts.hostname else ""


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, length: int | None) -> None:
    """Pass on what the browser sends, so many bytes at most."""
    while (length is None or length > 0) and (chunk := await source.read(min(_CHUNK, length or _CHUNK))):
        length = None if length is None else length - len(chunk)
        target.write(chunk)
        await target.drain()
    if length is None:
        with suppress(OSError):
            target.write_eof()


async def _pass_heads(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on the head of an answer, and those that only announce it, so that the connection ends with the answer."""
    while True:
        status, *lines = (await source.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        target.write(_head(status, lines))
        code = status.split(" ")[1:2]
        if not code or not code[0].startswith("1"):
            return


def _parse(head: bytes) -> tuple[str, str, list[str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    return method, target, lines


def _head(first: str, lines: list[str]) -> bytes:
    kept = [line for line in lines if line.partition(":")[0].strip().lower() not in _HOP]
    return "\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1")


def _length(lines: list[str]) -> int:
    lengths = [line.partition(":")[2] for line in lines if line.lower().startswith("content-length:")]
    return int(lengths[0]) if lengths else 0
