"""The worker, and which of them are alive: RQ's own list keeps a killed one for two minutes."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from flask import current_app
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker, worker_registration
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus
from rq.worker.base import BaseWorker
from sqlalchemy.exc import SQLAlchemyError

from webapp.databases import reason_of
from webapp.jobs import janitor
from webapp.jobs.transport import GuardedJob
from webapp.ops import logs, processes
from webapp.ops.supervisor import end_with_parent

WORKER_TTL_S = 60
MONITOR_EVERY_S = 10
ASK_REDIS_EVERY_S = 2.0
# An idle worker is heard when its wait for a job ends: 15 s before its time to live is over.
SILENT_TOO_LONG = timedelta(seconds=WORKER_TTL_S + 15)


class ForkingWorker(Worker):
    """RQ's forking worker, told twice to stop hands its report back; killed, takes its horse along.

    RQ by itself leaves the report of a stopped worker "started" for minutes, and the work-horse of
    a killed one running and writing.
    """

    report_id: str | None = None
    # RQ waits up to a minute between two looks at a Redis that was away; it may be back by then.
    max_connection_wait_time = 5.0

    def execute_job(self, job: Job, queue: Queue) -> None:
        if not (isinstance(job, GuardedJob) and job.is_ours):
            self.log.error(
                "Worker %s refuses job %s: its function is not on the list", self.name, job.id
            )
            self.handle_job_failure(
                job, queue, exc_string="Refused: the function of this job is not on the list."
            )
            return
        self.report_id = job.id
        try:
            super().execute_job(job, queue)
        except RedisError as error:
            self.log.warning("Worker %s waits for Redis: %s", self.name, reason_of(error))
            if self.horse_pid:  # RQ was about to end it: it had far more than its time.
                self.kill_horse()
                self.wait_for_horse()
                self._horse_pid = 0
            self._be_idle_when_heard()
        self.report_id = None

    def _be_idle_when_heard(self) -> None:
        """Take up work again once Redis takes what it is told, or stop when told to."""
        while not self._stop_requested:
            try:
                self.set_state(WorkerStatus.IDLE)
                self.heartbeat()
            except RedisError:
                time.sleep(ASK_REDIS_EVERY_S)
            else:
                return

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Say that worker and job live; a report goes on where Redis does not hear of it.

        RQ's worker would end, and take its report along: after a few outages it would be given up.
        """
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            self.log.warning("Worker %s is not heard by Redis: %s", self.name, reason_of(error))

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that this worker lives; be known again to a Redis that was emptied."""
        super().heartbeat(timeout, pipeline)
        processes.tell(current_app, "worker", SILENT_TOO_LONG.total_seconds())
        if self.connection.sismember(worker_registration.REDIS_WORKER_KEYS, self.key):
            return
        with self.connection.pipeline() as again:
            again.hset(self.key, mapping=self.serialize())
            worker_registration.register(self, again)
            again.expire(self.key, self.worker_ttl + 60)
            again.execute()
        self.log.warning("Worker %s: Redis had forgotten it", self.name)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        end_with_parent(os.getppid(), signal.SIGKILL)
        logs.about(
            report_id=job.id,
            kind=(job.description or "").rpartition(" ")[0],
            request_id=job.meta.get("request_id"),
        )
        super().main_work_horse(job, queue)

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop in the middle of a report; the janitor is left what the database does not take."""
        try:
            super().request_force_stop(signum, frame)
        except SystemExit:
            if self.report_id is not None:
                try:
                    janitor.hand_back(self.report_id)
                except SQLAlchemyError as error:
                    self.log.warning(
                        "report %s waits for the janitor: %s", self.report_id, reason_of(error)
                    )
            raise


def new_name() -> str:
    """Return a name no other worker has: where it runs, then a random part."""
    return f"{this_machine()}.{uuid.uuid4().hex[:12]}"


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
    """Return False for a worker of this very machine whose process is gone, or a zombie."""
    if not worker.name.startswith(f"{this_machine()}.") or not worker.pid:
        return True
    try:
        os.kill(worker.pid, 0)
        state = Path(f"/proc/{worker.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:  # not ours to ask, or no Linux
        return True
    return state != "Z"


def this_machine() -> str:
    """Return the host's name and its set of process numbers: containers may share the name."""
    host = socket.gethostname().replace(":", "-")
    try:
        return f"{host}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return host
