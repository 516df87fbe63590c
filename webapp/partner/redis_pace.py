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

from webapp.partner.pace import LATE_S, SHARE, LocalPace, wait_until
from webapp.partner.slowness import AGAIN_S, MOST_STEPS, PAUSE_S, SLOW_S, Slowness

AWAY_S = 5.0
# Redis is away when it says nothing for so long: a slot is no use later.
SILENT_S = 1.0
_PROBE_S = 1.0

# KEYS: next free slot, slowness, end of the hold; moments in microseconds of Redis' clock.
# Slowness is `ends:steps:stepped`, as in slowness.py; its rules are written here once more.
_READ = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local slow_us = tonumber(ARGV[1])
local farthest = now + 300000000 + 2000 * tonumber(ARGV[2]) + 8 * slow_us
local ends, steps, stepped = string.match(redis.call('GET', KEYS[2]) or '', '(%d+):(%d+):(%d+)')
ends, steps, stepped = tonumber(ends or 0), tonumber(steps or 0), tonumber(stepped or 0)
if ends > farthest or stepped > now then ends, steps, stepped = 0, 0, 0 end
local hold_end = tonumber(redis.call('GET', KEYS[3]) or 0)
if hold_end > farthest then hold_end = 0 end
local function steps_at(moment)
  if moment < ends then return steps end
  return math.max(0, steps - 1 - math.floor((moment - ends) / slow_us))
end
"""

# ARGV: microseconds of a quiet time, interval in microseconds,
#       1 to take a slot and 0 to look only, how late a slot may be taken up.
# A slot absurdly far ahead means that the clock was set back; the line then starts afresh.
_RESERVE = (
    _READ
    + """
local interval = tonumber(ARGV[2])
local slot = tonumber(redis.call('GET', KEYS[1]) or 0)
if slot > farthest then slot = now end
slot = math.max(slot, now - tonumber(ARGV[4]), hold_end)
if ARGV[3] == '1' and interval > 0 then
  local next = slot + interval * 2 ^ steps_at(slot)
  local ttl = math.ceil((next - now) / 1000) + 1000
  redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', ttl)
end
return {slot - now, steps, ends - now, math.max(hold_end - now, 0)}
"""
)

# ARGV: microseconds of a quiet time, interval in microseconds, microseconds to hold (0: none),
#       within which there is no other step, most steps, pause where there is no interval.
_SLOW_DOWN = (
    _READ
    + """
local hold = tonumber(ARGV[3])
local now_steps = steps_at(now)
if now_steps == 0 or now - stepped >= tonumber(ARGV[4]) then
  now_steps = math.min(now_steps + 1, tonumber(ARGV[5]))
  stepped = now
end
steps = now_steps
ends = math.max(ends, now + hold + slow_us)
local ttl = math.ceil((ends + (steps - 1) * slow_us - now) / 1000) + 1
redis.call('SET', KEYS[2], string.format('%.0f:%d:%.0f', ends, steps, stepped), 'PX', ttl)
if hold == 0 and tonumber(ARGV[2]) == 0 then hold = tonumber(ARGV[6]) * 2 ^ (steps - 1) end
hold_end = math.max(hold_end, now + hold)
if hold_end > now then
  local hold_ttl = math.ceil((hold_end - now) / 1000) + 1
  redis.call('SET', KEYS[3], string.format('%.0f', hold_end), 'PX', hold_ttl)
end
return {0, steps, ends - now, hold_end - now}
"""
)


class RedisPace:
    """A pace shared through Redis under `key`; 0 a second means no limit but what is asked for."""

    def __init__(
        self,
        client: Any,
        key: str,
        per_second: float,
        *,
        slow_s: float = SLOW_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self._per_second = per_second
        self._interval_us = 1_000_000 / (per_second * SHARE) if per_second > 0 else 0.0
        self._slow_s, self._again_s = slow_s, again_s
        self._keys = [f"pace:{{{key}}}:slot", f"pace:{{{key}}}:slow", f"pace:{{{key}}}:hold"]
        impatient = _impatient(client)
        self._reserve = impatient.register_script(_RESERVE)
        self._slow_down = impatient.register_script(_SLOW_DOWN)
        self._alone = LocalPace(per_second, slow_s=slow_s, again_s=again_s)
        self._lock = threading.Lock()
        self._away = False
        self._next_probe = 0.0
        # What Redis said last, by this process' clock.
        self._seen = Slowness(slow_s, again_s)
        self._held_until = 0.0
        self._looked = 0.0

    def reserve(self, take: bool = True) -> float | None:
        """Take the next slot and return the wait until it (seconds), None while Redis is away."""
        return self._ask(self._reserve, int(take), f"{LATE_S * 1_000_000:.0f}")

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
        times = (seconds or 0.0, self._again_s, PAUSE_S)
        hold, again, pause = (f"{one * 1_000_000:.0f}" for one in times)
        self._ask(self._slow_down, hold, again, MOST_STEPS, pause)

    @property
    def rate(self) -> float:
        if self._away:
            return self._alone.rate
        return self._per_second / self._seen.factor(time.monotonic())

    @property
    def slowed(self) -> bool:
        if self._away:
            return self._alone.slowed
        now = time.monotonic()
        return now < self._held_until or self._seen.at(now) > 0

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

    def _ask(self, script: Any, *more: Any) -> float | None:
        """Run a script, note what it says of slowness and hold; return its wait (seconds)."""
        if not self._may_ask():
            return None
        try:
            wait_us, steps, ends_us, hold_us = script(
                keys=self._keys,
                args=[f"{self._slow_s * 1_000_000:.0f}", f"{self._interval_us:.0f}", *more],
            )
        except (redis.RedisError, OSError):
            self._went_away()
            return None
        self._away = False
        now = time.monotonic()
        self._seen = Slowness(
            self._slow_s, self._again_s, int(steps), now + int(ends_us) / 1_000_000
        )
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
    """Return a client of the same server that gives up after SILENT_S."""
    pool = client.connection_pool
    options = dict(pool.connection_kwargs)
    options |= {"socket_timeout": SILENT_S, "socket_connect_timeout": SILENT_S}
    options["retry"] = Retry(NoBackoff(), 1)  # once, for a connection that was closed while idle
    return redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options)
    )
