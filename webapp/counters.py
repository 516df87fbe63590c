"""What is counted for the operator's metrics, by workers and web processes alike.

Counted in memory, added up in one Redis hash every few seconds and at the end of a report. Labels
come from short fixed lists, so the hash stays small. A Redis that was emptied starts again at zero,
which is what Prometheus expects of counters; with Redis away the counts wait in the process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

from flask import Flask, current_app
from redis import Redis
from redis.exceptions import RedisError

from webapp.databases import reason_of
from webapp.extensions import quick_redis

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 2.0
# Durations are counted by the first of these bounds (seconds) that they do not pass.
BUCKETS = {
    "http_request_duration_seconds": (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    "job_duration_seconds": (1, 5, 15, 60, 300, 900, 3600, 14400),
}
Key = tuple[str, ...]


class Counters:
    """The counts of one process. Thread-safe."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._waiting: Counter[Key] = Counter()
        self._flushed = time.monotonic()

    @property
    def _hash(self) -> str:
        return f"{self._app.config['QUEUE']}:counters"

    def add(self, *key: str, by: int = 1, is_urgent: bool = True) -> None:
        """Count something: its name, then its labels; what is not urgent waits for `flush`."""
        with self._lock:
            self._waiting[key] += by
            is_due = is_urgent and time.monotonic() - self._flushed >= FLUSH_EVERY_S
        if is_due:
            self.flush()

    def observe(self, *key: str, seconds: float, is_urgent: bool = True) -> None:
        """Count a duration: the name of its buckets, then its labels."""
        bound = next((f"{bound:g}" for bound in BUCKETS[key[0]] if seconds <= bound), "+Inf")
        self.add(*key, "ms", by=round(seconds * 1000), is_urgent=False)
        self.add(*key, bound, is_urgent=is_urgent)

    def flush(self) -> None:
        """Add what has gathered to the common counts; what Redis does not take is kept."""
        with self._lock:
            waiting, self._waiting = self._waiting, Counter()
            self._flushed = time.monotonic()
        if not waiting:
            return
        try:
            with quick_redis(self._app).pipeline() as pipeline:
                for key, by in waiting.items():
                    pipeline.hincrby(self._hash, "|".join(key), by)
                pipeline.execute()
        except RedisError as error:
            log.warning("counts for the metrics wait for Redis: %s", reason_of(error))
            with self._lock:
                self._waiting.update(waiting)

    def read(self, client: Redis) -> dict[Key, int]:
        """Return the common counts by name and labels; raises RedisError."""
        found: dict[bytes, bytes] = client.hgetall(self._hash)  # type: ignore[assignment]
        return {tuple(key.decode().split("|")): int(value) for key, value in found.items()}


def init_app(app: Flask) -> None:
    """Give the application its counts."""
    app.extensions["counters"] = Counters(app)


def counters(app: Flask | None = None) -> Counters:
    """Return the counts of the application."""
    found: Counters = (app or current_app).extensions["counters"]
    return found
