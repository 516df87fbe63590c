"""Which workers are alive. RQ's own list keeps a killed one for two minutes."""

from __future__ import annotations

import os
import socket
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis import Redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker

WORKER_TTL_S = 60
MONITOR_EVERY_S = 10
# An idle worker is heard when its wait for a job ends: 15 s before its time to live is over.
SILENT_TOO_LONG = timedelta(seconds=WORKER_TTL_S + 15)


def new_name() -> str:
    """Return a name no other worker has: where it runs, then a random part."""
    return f"{_machine()}.{uuid.uuid4().hex[:12]}"


def live_workers(
    connection: Redis, queue_name: str, now: datetime | None = None
) -> list[BaseWorker]:
    """Return the queue's workers that were heard of lately and, where that can be told, run."""
    now = now or datetime.now(UTC)
    queue = Queue(queue_name, connection=connection, serializer=JSONSerializer)
    found = Worker.all(queue=queue, serializer=JSONSerializer)
    return [worker for worker in found if _is_heard(worker, now) and _runs(worker)]


def _is_heard(worker: BaseWorker, now: datetime) -> bool:
    heard = worker.last_heartbeat
    if heard is None:
        return False
    return now - (heard if heard.tzinfo else heard.replace(tzinfo=UTC)) < SILENT_TOO_LONG


def _runs(worker: BaseWorker) -> bool:
    """Return False for a worker of this very machine whose process is gone."""
    if not worker.name.startswith(f"{_machine()}.") or not worker.pid:
        return True
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(worker.pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _machine() -> str:
    """Return the host's name and its set of process numbers: containers may share the name."""
    host = socket.gethostname().replace(":", "-")
    try:
        return f"{host}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return host
