"""RQ, which brings jobs to workers. It may lose them or bring them twice: the rows are the truth.

RQ's job has the id of ours, carries it and nothing else, and calls one function, whatever the task.
A Redis that hangs costs a second, not a request's patience: the janitor hands over what waits.
"""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import RedisError
from rq.command import send_stop_job_command
from rq.exceptions import DeserializationError, InvalidJobOperation, NoSuchJobError
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from webapp.extensions import quick_redis, report_queue
from webapp.jobs.tasks import task_named
from webapp.tracing import request_id

log = logging.getLogger(__name__)
RUN = "webapp.jobs.executor.run_job"


class Refused(Exception):
    """Somebody put a job into Redis that is none of ours."""


class GuardedJob(RqJob):
    """RQ's job, of which a worker calls our one function and nothing else.

    RQ calls whatever a job's hash names, its callbacks too: who can write to Redis could run code.
    """

    success_callback = failure_callback = stopped_callback = property(lambda _self: None)

    @property
    def is_ours(self) -> bool:
        """Return whether the job asks for what `enqueue` asks for."""
        try:
            return (self.func_name, list(self.args), self.kwargs) == (RUN, [self.id], {})
        except (DeserializationError, ValueError, TypeError):
            return False

    @property
    def func(self) -> Any:
        if not self.is_ours:
            raise Refused("This job's function is not on the list of this worker.")
        return super().func


def enqueue(job_id: str, task_name: str) -> bool:
    """Hand a queued job to the workers; False when Redis is away (the janitor tries again)."""
    task = task_named(task_name)
    try:
        forget(job_id)
        report_queue().enqueue_call(
            RUN,
            args=(job_id,),
            job_id=job_id,
            timeout=int(task.seconds),
            result_ttl=3600,
            failure_ttl=86400,
            at_front=task.at_front,
            description=f"{task.name} {task.noun}",
            meta={"request_id": request_id()},
        )
    except RedisError as error:
        log.warning("%s %s waits for Redis: %s", task.noun, job_id, type(error).__name__)
        return False
    return True


def forget(job_id: str) -> None:
    """Remove what RQ knows of an earlier start, so that the id can be used again."""
    try:
        RqJob.fetch(job_id, connection=quick_redis(), serializer=JSONSerializer).delete()
    except (NoSuchJobError, InvalidJobOperation, ValueError):
        return


def stop(job_id: str, was_running: bool) -> None:
    """Stop the worker's process or take the job out of the queue; the row has the truth already."""
    try:
        if was_running:
            send_stop_job_command(quick_redis(), job_id, serializer=JSONSerializer)
        else:
            forget(job_id)
    except (NoSuchJobError, InvalidJobOperation):
        log.info("%s had no job to stop", job_id)
    except RedisError as error:
        log.warning("%s stops at its next write: %s", job_id, type(error).__name__)


def is_waiting(job_id: str) -> bool:
    """Return whether RQ holds the job for a worker; raises RedisError."""
    try:
        job = RqJob.fetch(job_id, connection=quick_redis(), serializer=JSONSerializer)
    except NoSuchJobError:
        return False
    waiting = {JobStatus.QUEUED, JobStatus.DEFERRED, JobStatus.SCHEDULED}
    return job.get_status() in waiting and job.get_position() is not None
