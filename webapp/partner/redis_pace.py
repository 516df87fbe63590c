"""One pace for all reports and all workers on all machines, kept in Redis.

Each call reserves the next free slot by a script that Redis runs as one step, on Redis' own clock,
so machines whose clocks differ still stand in one line. While Redis is away each process keeps
the pace by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from webapp.partner.pace import LATE_S, SHARE, SLOW_FACTOR, SLOW_S, LocalPace, wait_until

AWAY_S = 5.0
_PROBE_S = 1.0

# KEYS: next free slot, end of the slow time, end of the hold; all in microseconds of Redis' clock.
# ARGV: interval in microseconds, factor of the slow interval, 1 to take a slot and 0 to look only,
#       how late a slot may be taken up.
# A slot absurdly far ahead means that the clock was set back; the line then starts afresh.
_RESERVE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval = tonumber(ARGV[1])
local slow_end = tonumber(redis.call('GET', KEYS[2]) or 0)
local hold_end = tonumber(redis.call('GET', KEYS[3]) or 0)
local farthest = now + 300000000 + 2000 * interval
if slow_end > farthest then slow_end = 0 end
if hold_end > farthest then hold_end = 0 end
local slot = tonumber(redis.call('GET', KEYS[1]) or 0)
if slot > farthest then slot = now end
slot = math.max(slot, now - tonumber(ARGV[4]), hold_end)
if ARGV[3] == '1' and interval > 0 then
  local step = interval
  if slot < slow_end then step = interval * tonumber(ARGV[2]) end
  local next = slot + step
  local ttl = math.ceil((next - now) / 1000) + 1000
  redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', ttl)
end
return {slot - now, math.max(slow_end - now, 0), math.max(hold_end - now, 0)}
"""

# ARGV: microseconds to hold (0: none), microseconds to go slowly after that.
_SLOW_DOWN = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local hold_end = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[2]) or 0))
if tonumber(ARGV[1]) > 0 then
  local ttl = math.ceil((hold_end - now) / 1000) + 1
  redis.call('SET', KEYS[2], string.format('%.0f', hold_end), 'PX', ttl)
end
local slow_end = now + tonumber(ARGV[1]) + tonumber(ARGV[2])
local slow_ttl = math.ceil((slow_end - now) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.0f', slow_end), 'PX', slow_ttl)
return 1
"""


class RedisPace:
    """A pace shared through Redis under `key`; 0 a second means no limit but what is asked for."""

    def __init__(self, client: Any, key: str, per_second: float, *, slow_s: float = SLOW_S) -> None:
        self._per_second = per_second
        self._interval_us = 1_000_000 / (per_second * SHARE) if per_second > 0 else 0.0
        self._slow_s = slow_s
        self._keys = [f"pace:{{{key}}}:slot", f"pace:{{{key}}}:slow", f"pace:{{{key}}}:hold"]
        impatient = _impatient(client)
        self._reserve = impatient.register_script(_RESERVE)
        self._slow_down = impatient.register_script(_SLOW_DOWN)
        self._alone = LocalPace(per_second, slow_s=slow_s)
        self._lock = threading.Lock()
        self._away = False
        self._next_probe = 0.0
        self._slow_until = 0.0
        self._held_until = 0.0
        self._looked = 0.0

    def reserve(self, take: bool = True) -> float | None:
        """Take the next slot and return the wait until it (seconds), None while Redis is away."""
        return self._asked("1" if take else "0")

    def wait(self, stop: Callable[[], None]) -> None:
        if not self._per_second and not self._must_look():
            return
        while True:
            wait_s = self.reserve()
            if wait_s is None:
                self._alone.wait(stop)
                return
            ends = time.monotonic() + wait_s
            wait_until(lambda ends=ends: ends, stop)  # type: ignore[misc]
            if wait_s < 0.05 or not self._held():
                return

    def slow_down(self, seconds: float | None) -> None:
        self._alone.slow_down(seconds)
        hold_s = seconds or 0.0
        now = time.monotonic()
        self._held_until = max(self._held_until, now + hold_s if hold_s else 0.0)
        self._slow_until = now + hold_s + self._slow_s
        if self._may_ask():
            try:
                self._slow_down(
                    keys=self._keys[1:],
                    args=[int(hold_s * 1_000_000), int(self._slow_s * 1_000_000)],
                )
            except (redis.RedisError, OSError):
                self._went_away()

    @property
    def rate(self) -> float:
        halved = time.monotonic() < self._slow_until
        return self._per_second / (SLOW_FACTOR if halved else 1.0)

    @property
    def slowed(self) -> bool:
        return time.monotonic() < max(self._slow_until, self._held_until)

    def _held(self) -> bool:
        """Say whether, since the slot was taken, somebody was told to wait."""
        return self._held_until > time.monotonic() or (
            self.reserve(take=False) is not None and self._held_until > time.monotonic()
        )

    def _must_look(self) -> bool:
        """Without a limit Redis is asked once a second only, whether the partner said wait."""
        with self._lock:
            now = time.monotonic()
            if now < self._held_until:
                return True
            due = now - self._looked > _PROBE_S
            if due:
                self._looked = now
        return due

    def _asked(self, take: str) -> float | None:
        if not self._may_ask():
            return None
        try:
            wait_us, slow_us, hold_us = self._reserve(
                keys=self._keys,
                args=[f"{self._interval_us:.0f}", SLOW_FACTOR, take, int(LATE_S * 1e6)],
            )
        except (redis.RedisError, OSError):
            self._went_away()
            return None
        self._away = False
        now = time.monotonic()
        self._slow_until = now + int(slow_us) / 1_000_000
        self._held_until = now + int(hold_us) / 1_000_000
        return max(0.0, int(wait_us) / 1_000_000)

    def _may_ask(self) -> bool:
        """While Redis is away one thread tries it now and then; the others must not wait for it."""
        if not self._away:
            return True
        with self._lock:
            now = time.monotonic()
            due = now >= self._next_probe
            if due:
                self._next_probe = now + AWAY_S
        return due

    def _went_away(self) -> None:
        self._away = True
        self._next_probe = time.monotonic() + AWAY_S


def _impatient(client: Any) -> Any:
    """Return a client of the same server that gives up in a second: a slot is no use later."""
    pool = client.connection_pool
    options = dict(pool.connection_kwargs)
    options |= {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
    options["retry"] = Retry(NoBackoff(), 1)  # once, for a connection that was closed while idle
    return redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options)
    )
