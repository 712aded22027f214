"""Keeps to what a provider grants in a minute: requests, and tokens. Knows neither models nor prices.

Tokens are held like dollars: the most that a call may use is set aside before it starts, and what it used takes the
place of that once it is known. Whoever came first goes first, so that no large call waits for ever behind small ones.
The minute is a sliding one, by the event loop's clock; calls in other processes are not seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from kapelle.errors import InvalidInput, ModelUnavailable

_MINUTE_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimits:
    """What a provider grants in a minute. None is no limit.

    Raises:
        InvalidInput: a limit is no whole number of one or more.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Input and output together."""

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise InvalidInput(f"{name}={value!r} must be a whole number of one or more.")

    def describe(self) -> str:
        """Return the limits in words."""
        limits = ((self.requests_per_minute, "requests"), (self.tokens_per_minute, "tokens"))
        return ", ".join(f"{most} {unit} a minute" for most, unit in limits if most is not None)


@dataclass(eq=False, slots=True)
class Place:
    """Room for one call within the minute."""

    at: float
    tokens: int
    changed: Callable[[], None] = field(repr=False)

    def settle(self, used_tokens: int | None) -> None:
        """Say what the call used; None where that is unknown, so that what was set aside stays so."""
        if used_tokens is not None and used_tokens != self.tokens:
            self.tokens = used_tokens
            self.changed()


class RateLimiter:
    """Hands out places, in the order in which they are asked for."""

    def __init__(self, limits: RateLimits | None) -> None:
        self._limits = limits or RateLimits()
        self._places: deque[Place] = deque()
        self._lock = threading.Lock()
        # One queue and one bell for each event loop: neither may be waited for in another.
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._bells: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Event] = WeakKeyDictionary()

    async def wait_for_place(self, tokens: int, *, deadline: float) -> Place:
        """Wait until a call that may use so many tokens fits, and take its place.

        A call that is larger than the limit itself waits until the minute is empty.

        Raises:
            ModelUnavailable: there is none before the deadline, by the event loop's clock. Nothing was sent.
        """
        loop = asyncio.get_running_loop()
        if self._limits == RateLimits():
            return Place(loop.time(), tokens, _change_nothing)
        turn = self._turns.setdefault(loop, asyncio.Lock())
        bell = self._bells.setdefault(loop, asyncio.Event())
        try:
            async with asyncio.timeout_at(deadline), turn:
                while (free_at := self._find_time(tokens, loop.time())) > loop.time():
                    bell.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(free_at):
                            await bell.wait()
                place = Place(loop.time(), tokens, bell.set)
                with self._lock:
                    self._places.append(place)
                return place
        except TimeoutError as error:
            wait_s = max(0.0, self._find_time(tokens, loop.time()) - loop.time())
            raise ModelUnavailable(
                f"The model's limit ({self._limits.describe()}) left no room for this call in time. "
                "Give it more time, or raise the limit.",
                sent=False,
                retry_after_s=wait_s,
            ) from error

    def _find_time(self, tokens: int, now: float) -> float:
        """Return when such a call fits, if nothing is given back until then."""
        with self._lock:
            while self._places and self._places[0].at + _MINUTE_S <= now:
                self._places.popleft()
            places = tuple(self._places)
        most_tokens = math.inf if self._limits.tokens_per_minute is None else self._limits.tokens_per_minute
        most_requests = math.inf if self._limits.requests_per_minute is None else self._limits.requests_per_minute
        wanted = min(tokens, most_tokens)
        used_tokens, used_requests, free_at = sum(place.tokens for place in places), len(places), now
        for place in places:
            if used_tokens + wanted <= most_tokens and used_requests < most_requests:
                break
            used_tokens, used_requests, free_at = used_tokens - place.tokens, used_requests - 1, place.at + _MINUTE_S
        return free_at


def _change_nothing() -> None:
    """Nobody waits where nothing is limited."""
