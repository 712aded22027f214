"""Says which hosts a browser may ask. Decides only; `gate` holds every connection to it.

A host of the user's own machine or network is another matter than a public one: behind it stand routers, databases and
the metadata of a cloud, which take whoever asks for a friend. So it must be named, and a public name that leads there
(DNS may say anything, and something else a second later) is judged by the address that is dialled.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from kapelle.errors import InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAME = re.compile(r"[a-z0-9_:-][a-z0-9_:.-]*")
# RFC 6052: the last 32 bits are an address of IPv4, which a gateway dials.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True, slots=True)
class AllowedHosts:
    """Which hosts may be asked: a name, `*.name` for all below it, `*` for all; with `:port` for that port alone.

    >>> hosts = AllowedHosts(public=("example.org", "*.example.org"), private=("127.0.0.1:8000",))
    >>> hosts.why_not("www.example.org", 443) is None, hosts.why_not("127.0.0.1", 8000) is None
    (True, True)
    >>> hosts.why_not("example.com", 443)
    'it is not among the allowed hosts'
    """

    public: tuple[str, ...] = ("*",)
    """Hosts with an address that the whole internet knows."""
    private: tuple[str, ...] = ()
    """Hosts on this machine or in its network."""

    def __post_init__(self) -> None:
        for pattern in (*self.public, *self.private):
            host, port = _split(pattern)
            if host != "*" and not _NAME.fullmatch(host.removeprefix("*.")):
                raise InvalidInput(f"{pattern!r} names no host. Write 'example.org', '*.example.org' or '*'.")
            if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
                raise InvalidInput(f"{pattern!r} names no port. Write a number from 1 to 65535 after the host.")

    def why_not(self, host: str, port: int) -> str | None:
        """Return why a host may not be asked; None if it may, as far as its name goes."""
        if any(_matches(pattern, host, port) for pattern in (*self.public, *self.private)):
            return None
        return "it is not among the allowed hosts"

    def why_not_at(self, host: str, port: int, address: str) -> str | None:
        """Return why a host may not be asked at an address that it has; None if it may."""
        if any(_matches(pattern, host, port) for pattern in self.private):
            return None
        if is_public(ipaddress.ip_address(address.partition("%")[0])):
            return self.why_not(host, port)
        return f"its address {address} is one of this machine or its network, and it is not named as private"


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet, also where another stands within it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _split(pattern: str) -> tuple[str, str]:
    host, colon, port = pattern.rpartition(":")
    if not colon or (host.count(":") and not host.endswith("]")):  # an IPv6 address without a port
        host, port = pattern, ""
    return _normal(host), port


def _normal(host: str) -> str:
    host = host.strip("[]").lower()
    host = host if host == "*." else host.rstrip(".")
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return ""


def _matches(pattern: str, host: str, port: int) -> bool:
    wanted, only = _split(pattern)
    host = _normal(host)
    if only and int(only) != port:
        return False
    return wanted in ("*", host) or (wanted.startswith("*.") and host.endswith(wanted[1:]))
