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

from webapp.partner.slowness import AGAIN_S, PAUSE_S, SLOW_S, Slowness

SHARE = 0.975
SLICE_S = 0.5
LATE_S = 0.010


class Pace(Protocol):
    """Gives each call its slot; shared by all threads that use it."""

    def wait(self, stop: Callable[[], None]) -> None:
        """Return when the caller may send one call; `stop` is called at least every 0.5 s."""

    def slow_down(self, seconds: float | None) -> None:
        """Halve the rate for a while, and give no slot for `seconds` where the partner said so."""

    @property
    def rate(self) -> float:
        """Calls a second granted right now; 0 means no limit."""

    @property
    def slowed(self) -> bool:
        """Whether the rate is lowered or held right now."""


class LocalPace:
    """A pace of this process alone; 0 a second means no limit but what the partner asks for."""

    def __init__(
        self, per_second: float, *, slow_s: float = SLOW_S, again_s: float = AGAIN_S
    ) -> None:
        self._per_second = per_second
        self._interval_s = 1 / (per_second * SHARE) if per_second > 0 else 0.0
        self._slowness = Slowness(slow_s, again_s)
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._held_until = 0.0

    def reserve(self) -> float:
        """Take the next free slot and return when it is (monotonic seconds)."""
        with self._lock:
            now = time.monotonic()
            slot = max(now - LATE_S, self._next_slot, self._held_until)
            self._next_slot = slot + self._interval_s * self._slowness.factor(slot)
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
            self._slowness.refused(now, seconds or 0.0)
            hold_s = seconds or (0.0 if self._interval_s else pause_s(self._slowness.steps))
            self._held_until = max(self._held_until, now + hold_s)

    @property
    def rate(self) -> float:
        return self._per_second / self._slowness.factor(time.monotonic())

    @property
    def slowed(self) -> bool:
        now = time.monotonic()
        return now < self._held_until or self._slowness.at(now) > 0


class NoPace(LocalPace):
    """No limit at all; a wait that the partner asks for is still kept."""

    def __init__(self) -> None:
        super().__init__(0)


def pause_s(steps: int) -> float:
    """Return how long nothing is sent after a refusal where there is no rate to halve (seconds)."""
    return PAUSE_S * float(2 ** (steps - 1))


def wait_until(moment: Callable[[], float], stop: Callable[[], None]) -> None:
    """Sleep until the moment (monotonic seconds, asked again in between), calling `stop`."""
    while (left := moment() - time.monotonic()) > 0:
        time.sleep(min(left, SLICE_S))
        stop()
