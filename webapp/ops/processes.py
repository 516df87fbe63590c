"""What each process of the program uses, told to Redis every few seconds for the metrics.

A scrape asks one web process of many, which can tell for all of them.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time

from flask import Flask
from prometheus_client import ProcessCollector
from redis.exceptions import RedisError

from webapp.counters import counters
from webapp.databases import reason_of
from webapp.extensions import quick_redis

log = logging.getLogger(__name__)

EVERY_S = 5.0
# Not told for so long, it has ended, or stands still.
BELIEVED_S = 20.0
_system = ProcessCollector(registry=None)


def tell(app: Flask, program: str, believed_s: float = BELIEVED_S) -> None:
    """Tell what this process uses; a Redis that is away is not told."""
    figures = {one.name: one.value for metric in _system.collect() for one in metric.samples}
    figures |= {"streams": len(app.extensions["line_hub"]), "until": time.time() + believed_s}
    name = f"{program}|{socket.gethostname()}:{os.getpid()}"
    try:
        quick_redis(app).hset(_hash(app), name, json.dumps(figures))
    except RedisError as error:
        log.warning("figures of this process wait for Redis: %s", reason_of(error))


def told(app: Flask) -> dict[tuple[str, str], dict[str, float]]:
    """Return what processes use by program and name, as it was told lately; raises RedisError."""
    client = quick_redis(app)
    found: dict[bytes, bytes] = client.hgetall(_hash(app))  # type: ignore[assignment]
    figures = {}
    for name, data in found.items():
        program, _, process = name.decode().partition("|")
        one: dict[str, float] = json.loads(data)
        if one.pop("until") < time.time():
            client.hdel(_hash(app), name)
        else:
            figures[program, process] = one
    return figures


def keep_telling(app: Flask) -> None:
    """Tell for this web process, and what it has counted, until it ends."""

    def work() -> None:
        while True:
            time.sleep(EVERY_S)
            counters(app).flush()
            tell(app, "web")

    threading.Thread(target=work, name="metrics", daemon=True).start()


def _hash(app: Flask) -> str:
    return f"{app.config['QUEUE']}:processes"
