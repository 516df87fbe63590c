"""How fast the partner may be asked, in steady slots, never a burst; and what searches cost.

A strict limiter counts the calls of any one second. Slots are therefore spaced a little wider
than the granted rate asks for (SHARE of it is used), so that a call which left late and one which
left on time do not fall into the same second with one too many.

One rule, `Throttle`, says how much slower than granted it goes after the partner has refused calls.
`LocalRateLimiter` keeps slots and throttle in this process, `RedisRateLimiter` for all workers of
all machines, on Redis' own clock; only the taking of a slot has to be one step there, in Lua.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SHARE = 0.975
LATE_S = 0.010
POLL_S = 0.5
# From a sixteenth back to the granted rate within 16 s of the last refusal.
SLOW_S = 4.0
AGAIN_S = 2.0
MOST_STEPS = 4
# Without a limit there is no rate to halve: a pause of so long after the first refusal, and then.
PAUSE_S, LONGEST_PAUSE_S = 0.5, 2.0
# Redis is away when it says nothing for SILENT_S: a slot is no use later. Then it is left alone.
SILENT_S = 1.0
AWAY_S = 5.0
# A moment this far ahead means that a clock was set back.
FARTHEST_S = 900.0
# How much of what was measured before counts beside each new measurement.
KEPT = 0.7
# Rows an answer, on average, of which something can be learned about rows.
ROWS_THAT_TELL = 100
# How much slower the quickest is taken for with each that is not as quick.
FORGET = 1.001


@dataclass(frozen=True)
class Throttle:
    """How far below the granted rate it goes: each step halves it. Moments are seconds of a clock.

    steps:      steps below the full rate, until `ends`; then one fewer after each quiet time
    stepped:    when the last step was taken; refusals of calls that were under way then tell
                nothing new, so there is one step at most in `again_s`
    held_until: no call at all before
    """

    steps: int = 0
    ends: float = 0.0
    stepped: float = float("-inf")
    held_until: float = 0.0
    slow_s: float = SLOW_S
    again_s: float = AGAIN_S

    def at(self, moment: float) -> int:
        """Return how many steps below the full rate a moment is, without further refusals."""
        if moment < self.ends:
            return self.steps
        return max(0, self.steps - 1 - int((moment - self.ends) / self.slow_s))

    def factor(self, moment: float) -> float:
        """Return by how much the interval between two calls is longer at a moment."""
        return float(2 ** self.at(moment))

    def refused(self, now: float, hold_s: float, *, limited: bool = True) -> Throttle:
        """Return what it is after a refusal; the quiet time never ends earlier than before.

        hold_s:  how long the partner wants to hear nothing (seconds), 0 where it does not say
        limited: whether there is a rate to halve; a pause takes its place otherwise
        """
        steps, stepped = self.at(now), self.stepped
        if not steps or now - stepped >= self.again_s:
            steps, stepped = min(steps + 1, MOST_STEPS), now
        pause_s = min(PAUSE_S * 2 ** (steps - 1), LONGEST_PAUSE_S)
        pause_s = hold_s or (0.0 if limited else pause_s)
        return replace(
            self,
            steps=steps,
            stepped=stepped,
            ends=max(self.ends, now + hold_s + self.slow_s),
            held_until=max(self.held_until, now + pause_s),
        )


class RateLimiter(ABC):
    """Gives each call its slot; shared by all threads that use it. 0 a second means no limit."""

    def __init__(
        self, per_second: float, *, slow_s: float = SLOW_S, again_s: float = AGAIN_S
    ) -> None:
        self._per_second = per_second
        self._interval_s = 1 / (per_second * SHARE) if per_second > 0 else 0.0
        self._throttle = Throttle(slow_s=slow_s, again_s=again_s)

    @abstractmethod
    def reserve(self) -> tuple[float, bool]:
        """Take the next free slot.

        Returns: the wait until it (seconds), and whether somebody was told to hold until then
        """

    @abstractmethod
    def throttle(self, seconds: float | None) -> None:
        """Halve the rate for a while, and give no slot for `seconds` where the partner said so."""

    @abstractmethod
    def now(self) -> float:
        """Return the moment by the clock of the slots (seconds)."""

    def acquire(self, stop: Callable[[], None]) -> None:
        """Return when the caller may send one call; `stop` is called at least every 0.5 s."""
        while True:
            wait_s, held = self.reserve()
            ends = time.monotonic() + wait_s
            while (left := ends - time.monotonic()) > 0:
                time.sleep(min(left, POLL_S))
                stop()
            # After a hold all that waited would leave at once: they line up again.
            if not held and self._throttle.held_until <= self.now():
                return

    @property
    def rate(self) -> float:
        """Return the calls a second granted right now; 0 means no limit."""
        return self._per_second / self._throttle.factor(self.now())

    @property
    def throttled(self) -> bool:
        """Return whether the rate is lowered or held right now."""
        now = self.now()
        return now < self._throttle.held_until or self._throttle.at(now) > 0


class LocalRateLimiter(RateLimiter):
    """Slots of this process alone."""

    def __init__(self, per_second: float, **times: float) -> None:
        super().__init__(per_second, **times)
        self._lock = threading.Lock()
        self._next_slot = 0.0

    def now(self) -> float:
        return time.monotonic()

    def reserve(self) -> tuple[float, bool]:
        with self._lock:
            now = self.now()
            held_until = self._throttle.held_until
            slot = max(now - LATE_S, self._next_slot, held_until)
            self._next_slot = slot + self._interval_s * self._throttle.factor(slot)
            return max(0.0, slot - now), now < held_until

    def throttle(self, seconds: float | None) -> None:
        with self._lock:
            limited = self._interval_s > 0
            self._throttle = self._throttle.refused(self.now(), seconds or 0.0, limited=limited)


# KEYS: next free slot, throttle. ARGV, in microseconds: interval, how late a slot may be taken up,
# how far ahead a slot may be; one that is farther means that the clock was set back.
_RESERVE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local slot = tonumber(redis.call('GET', KEYS[1]) or 0)
if slot > now + tonumber(ARGV[3]) then slot = now end
slot = math.max(slot, now - tonumber(ARGV[2]))
local next = slot + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1000)
return {string.format('%.0f', slot), string.format('%.0f', now), redis.call('GET', KEYS[2]) or ''}
"""


class RedisRateLimiter(RateLimiter):
    """Slots shared under `key` by all who use the same Redis; while it is away, by this process."""

    def __init__(self, client: Any, key: str, per_second: float, **times: float) -> None:
        super().__init__(per_second, **times)
        self._keys = [f"pace:{{{key}}}:slot", f"pace:{{{key}}}:throttle"]
        # A client of the same server that gives up after SILENT_S.
        pool = client.connection_pool
        options = dict(pool.connection_kwargs)
        options |= {"socket_timeout": SILENT_S, "socket_connect_timeout": SILENT_S}
        options["retry"] = Retry(NoBackoff(), 1)  # once, for one that was closed while idle
        connections = redis.ConnectionPool(connection_class=pool.connection_class, **options)
        self._client = redis.Redis(connection_pool=connections)
        self._reserve = self._client.register_script(_RESERVE)
        self._alone = LocalRateLimiter(per_second, **times)
        self._lock = threading.Lock()
        self._away_until = 0.0
        self._is_away = False
        # Redis' clock by ours, and the slot that was taken last.
        self._ahead_s = 0.0
        self._last_slot = 0.0

    def now(self) -> float:
        return time.monotonic() + self._ahead_s

    def reserve(self) -> tuple[float, bool]:
        # The slot is not known yet: it is throttled as the one after this limiter's last one.
        moment = max(self.now(), self._last_slot + self._interval_s)
        interval_s = self._interval_s * self._throttle.factor(moment)
        ahead_s = FARTHEST_S + MOST_STEPS * self._throttle.slow_s
        in_us = (f"{one * 1_000_000:.0f}" for one in (interval_s, LATE_S, ahead_s))
        found = self._ask_redis(lambda: self._reserve(keys=self._keys, args=list(in_us)))
        if found is None:
            return self._alone.reserve()
        slot, now = (int(text) / 1_000_000 for text in found[:2])
        self._ahead_s, self._last_slot = now - time.monotonic(), slot
        self._throttle = self._read_throttle(found[2], now)
        held_s = self._throttle.held_until - now
        return max(0.0, slot - now, held_s), held_s > 0

    def throttle(self, seconds: float | None) -> None:
        self._alone.throttle(seconds)

        def change(pipe: Any) -> None:
            whole, micro = pipe.time()
            now = whole + micro / 1_000_000
            known = self._read_throttle(pipe.get(self._keys[1]) or b"", now)
            new = known.refused(now, seconds or 0.0)
            lasts_s = max(new.ends + new.steps * new.slow_s, new.held_until) - now
            text = f"{new.steps}:{new.ends:.6f}:{new.stepped:.6f}:{new.held_until:.6f}"
            pipe.multi()
            pipe.set(self._keys[1], text, px=int(lasts_s * 1000) + 1)
            self._ahead_s, self._throttle = now - time.monotonic(), new

        self._ask_redis(lambda: self._client.transaction(change, self._keys[1]))
        if self._is_away:
            self._throttle = self._alone._throttle

    def _read_throttle(self, stored: bytes, now: float) -> Throttle:
        """Return the stored throttle; none where the clock was set back or it is unreadable."""
        none = Throttle(slow_s=self._throttle.slow_s, again_s=self._throttle.again_s)
        try:
            steps, *moments = stored.decode().split(":")
            ends, stepped, held_until = (float(moment) for moment in moments)
            found = replace(
                none, steps=int(steps), ends=ends, stepped=stepped, held_until=held_until
            )
        except ValueError:
            return none
        is_ahead = stepped > now or max(ends, held_until) > now + FARTHEST_S + none.slow_s
        return none if is_ahead else found

    def _ask_redis(self, question: Callable[[], Any]) -> Any:
        """Return what Redis says, None while it is away; one thread tries it now and then."""
        with self._lock:
            now = time.monotonic()
            if self._is_away and now < self._away_until:
                return None
            self._away_until = now + AWAY_S
        try:
            found = question()
        except (redis.RedisError, OSError):
            self._is_away, self._ahead_s = True, 0.0
            return None
        self._is_away = False
        return found


class SearchCosts:
    """Learns how much longer one more search makes a conversation, and one more row. Thread-safe.

    What a single search takes says little: with many in flight each waits for the others, and a
    count behind large reads takes as long as they do. So a search costs its share of the places in
    flight when it is quickest, up to twice that where counts in a row take longer; what answers
    with rows take beyond that, many of them together, is what the rows cost.
    """

    def __init__(
        self, pace: RateLimiter, concurrency: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pace, self._clock, self._concurrency = pace, clock, concurrency
        self._lock = threading.Lock()
        self._quickest_s = self._counts_s = 0.0  # not known yet
        self._search_s, self._row_s = 0.05 / concurrency, 5e-6
        self._beyond_s, self._beyond_rows = 50_000 * self._row_s, 50_000.0
        self._together = max(16, concurrency)
        self._began, self._searches, self._rows = clock(), -1, 0

    def note(self, took_s: float, rows: int) -> None:
        """Take that a search was answered just now, after a while, with so many rows."""
        with self._lock:
            now = self._clock()
            if self._searches < 0:  # what was before the first answer says nothing of searches
                self._began = now
            self._searches += 1
            if rows > 1:
                self._rows += rows
            else:
                self._quickest_s = min(self._quickest_s * FORGET or took_s, took_s)
            if self._searches < self._together:
                return
            each_s = (now - self._began) / self._searches
            if not self._rows:
                self._counts_s = min(self._counts_s * FORGET or each_s, each_s)
            share_s = self._quickest_s / self._concurrency or self._search_s
            self._search_s = min(max(self._counts_s, share_s), 2 * share_s)
            if self._rows >= ROWS_THAT_TELL * self._searches:
                self._beyond_s *= KEPT
                self._beyond_s += (each_s - self.seconds(0)) * self._searches
                self._beyond_rows = self._beyond_rows * KEPT + self._rows
                self._row_s = max(0.0, self._beyond_s / self._beyond_rows)
            self._began, self._searches, self._rows = now, 0, 0

    def seconds(self, rows: int) -> float:
        """Return by how much a search that brings so many rows makes a report longer."""
        rate = self._pace.rate * SHARE
        return max(self._search_s + rows * self._row_s, 1 / rate if rate else 0.0)

    def read_pays(self, rows: int, counts: float) -> bool:
        """Return whether a search that brings rows costs less than so many counts."""
        return self.seconds(rows) < counts * self.seconds(0)
