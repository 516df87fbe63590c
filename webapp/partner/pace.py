"""How fast the partner may be asked: steady slots, one after the other, never a burst.

A strict limiter counts the calls of any one second. Slots are therefore spaced a little wider
than the granted rate asks for (SHARE of it is used), so that a call which left late and one which
left on time do not fall into the same second with one too many.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

SHARE = 0.975
SLOW_S = 60.0
SLOW_FACTOR = 2.0
SLICE_S = 0.5
LATE_S = 0.010


class Pace(Protocol):
    """Gives each call its slot; shared by all threads that use it."""

    def wait(self, stop: Callable[[], None]) -> None:
        """Return when the caller may send one call; `stop` is called at least every 0.5 s."""

    def slow_down(self, seconds: float | None) -> None:
        """Halve the rate for a minute, and give no slot for `seconds` where the partner said so."""

    @property
    def rate(self) -> float:
        """Calls a second granted right now; 0 means no limit."""

    @property
    def slowed(self) -> bool:
        """Whether the rate is halved or held right now."""


class NoPace:
    """No limit at all; a wait that the partner asked for is still kept."""

    def __init__(self) -> None:
        self._held_until = 0.0

    def wait(self, stop: Callable[[], None]) -> None:
        if self._held_until:
            wait_until(lambda: self._held_until, stop)

    def slow_down(self, seconds: float | None) -> None:
        if seconds:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    @property
    def rate(self) -> float:
        return 0.0

    @property
    def slowed(self) -> bool:
        return time.monotonic() < self._held_until


class LocalPace:
    """A pace of this process alone."""

    def __init__(self, per_second: float, *, slow_s: float = SLOW_S) -> None:
        self._per_second = per_second
        self._interval_s = 1 / (per_second * SHARE) if per_second > 0 else 0.0
        self._slow_s = slow_s
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._slow_until = 0.0
        self._held_until = 0.0

    def reserve(self) -> float:
        """Take the next free slot and return when it is (monotonic seconds)."""
        with self._lock:
            now = time.monotonic()
            slot = max(now - LATE_S, self._next_slot, self._held_until)
            slow = SLOW_FACTOR if slot < self._slow_until else 1.0
            self._next_slot = slot + self._interval_s * slow
            return slot

    def wait(self, stop: Callable[[], None]) -> None:
        while True:
            slot = self.reserve()
            wait_until(lambda slot=slot: slot, stop)  # type: ignore[misc]
            if self._held_until <= time.monotonic():
                return

    def slow_down(self, seconds: float | None) -> None:
        with self._lock:
            now = time.monotonic()
            self._slow_until = now + self._slow_s
            if seconds:
                self._held_until = max(self._held_until, now + seconds)
                self._slow_until = self._held_until + self._slow_s

    @property
    def rate(self) -> float:
        halved = time.monotonic() < self._slow_until
        return self._per_second / (SLOW_FACTOR if halved else 1.0)

    @property
    def slowed(self) -> bool:
        return time.monotonic() < max(self._slow_until, self._held_until)


def wait_until(moment: Callable[[], float], stop: Callable[[], None]) -> None:
    """Sleep until the moment (monotonic seconds, asked again in between), calling `stop`."""
    while (left := moment() - time.monotonic()) > 0:
        time.sleep(min(left, SLICE_S))
        stop()
