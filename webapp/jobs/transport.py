"""RQ, which brings jobs to workers. It may lose them or bring them twice: the rows are the truth.

RQ's job has the id of ours, carries it and nothing else, and calls one function, whatever the task.
A Redis that hangs costs a second, not a request's patience: the janitor hands over what waits.

RQ knows one order, first come, first served: a hundred long reports of one company would keep all
others waiting. So of the tasks that wait in turn RQ is handed as many jobs as there are idle
workers, or one, and the rest wait in their rows. Companies take turns; of a company's own the small
ones come first, those that have waited long before them; and a company has at most
COMPANY_RUNNING_MOST under way.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from flask import current_app
from redis.exceptions import RedisError
from rq import Worker
from rq.command import send_stop_job_command
from rq.exceptions import DeserializationError, InvalidJobOperation, NoSuchJobError
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus
from sqlalchemy import Connection, event, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.databases import reason_of
from webapp.extensions import db, quick_redis, report_queue
from webapp.jobs.models import QUEUED, RUNNING, Job, task_named
from webapp.lib.moments import utcnow
from webapp.tracing import request_id

log = logging.getLogger(__name__)
RUN = "webapp.jobs.executor.run_job"
WAITED_LONG = timedelta(hours=1)
# Any number that nothing else locks: one process at a time decides who is next.
LOCK = 7_110_711
AFTER_COMMIT = "jobs to pass on"


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
        log.warning("%s %s waits for Redis: %s", task.noun, job_id, reason_of(error))
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
        log.warning("%s stops at its next write: %s", job_id, reason_of(error))


def is_waiting(job_id: str) -> bool:
    """Return whether RQ holds the job for a worker; raises RedisError."""
    try:
        job = RqJob.fetch(job_id, connection=quick_redis(), serializer=JSONSerializer)
    except NoSuchJobError:
        return False
    waiting = {JobStatus.QUEUED, JobStatus.DEFERRED, JobStatus.SCHEDULED}
    return job.get_status() in waiting and job.get_position() is not None


def hand_over() -> list[str]:
    """Hand RQ the jobs whose turn it is; return their ids. One process at a time decides.

    Called whenever that may have changed: a job was asked for, taken, ended; and by the janitor.
    """
    handed: list[str] = []
    try:
        while (found := _claim_next()) is not None:
            handed.append(found.id)
            enqueue(found.id, found.task)
    except SQLAlchemyError as error:
        # Nothing is lost by it: the janitor comes by, and what was asked for stands in its row.
        log.warning("whose turn it is waits for the database: %s", reason_of(error))
    return handed


def after_commit(job_id: str, task_name: str) -> None:
    """Hand RQ a job once the session has committed its row, or let it wait for its turn then."""
    db.session.info.setdefault(AFTER_COMMIT, {})[job_id] = task_name


def follow_commits() -> None:
    """Let the session pass on what it has committed; once, the session is the process's."""
    if not event.contains(db.session, "after_commit", _committed):
        event.listen(db.session, "after_commit", _committed)
        event.listen(db.session, "after_soft_rollback", _rolled_back)


def _committed(session: Any) -> None:
    if session.in_nested_transaction():
        return
    for job_id, task_name in session.info.pop(AFTER_COMMIT, {}).items():
        if task_named(task_name).in_turn:
            hand_over()
        else:
            enqueue(job_id, task_name)


def _rolled_back(session: Any, transaction: Any) -> None:
    if transaction.parent is None:
        session.info.pop(AFTER_COMMIT, None)


def _claim_next() -> Any:
    """Claim the job whose turn it is and return its id and task, None where nobody's turn is."""
    waiting = (Job.status == QUEUED) & Job.task.in_(_tasks_in_turn())
    on_its_way = select(func.count()).select_from(Job).where(waiting & Job.handed_at.is_not(None))
    with db.engine.connect() as connection:
        anybody = select(Job.id).where(waiting, Job.handed_at.is_(None)).limit(1)
        if connection.execute(anybody).first() is None:
            return None
        count = connection.scalar(on_its_way)
    # Asked before the lock: a Redis that hangs keeps nobody from writing.
    idle = _idle_workers() if count else 0
    with db.engine.begin() as connection:
        _lock_turns(connection)
        count = connection.scalar(on_its_way) or 0
        if count and count >= idle:
            return None
        company_id = _company_in_turn(connection, waiting & Job.handed_at.is_(None))
        if company_id is None:
            return None
        now = utcnow()
        found = connection.execute(
            select(Job.id, Job.task)
            .where(waiting, Job.handed_at.is_(None), Job.company_id == company_id)
            .order_by(*_job_order())
            .limit(1)
        ).one()
        connection.execute(update(Job).where(Job.id == found.id).values(handed_at=now))
        return found


def _idle_workers() -> int:
    try:
        workers = Worker.all(queue=report_queue(), serializer=JSONSerializer)
        return sum(one.get_state() == WorkerStatus.IDLE for one in workers)
    except RedisError:
        return 0


def _job_order() -> tuple[Any, ...]:
    """Return the order of a company's own: what has waited long, then small ones first."""
    return Job.queued_at >= utcnow() - WAITED_LONG, Job.size, Job.queued_at, Job.id


def place_of(job: Job) -> int:
    """Return the place of a job among those of its company that wait, 0 once it was handed over."""
    waiting = (Job.status == QUEUED) & Job.handed_at.is_(None)
    own = waiting & Job.task.in_(_tasks_in_turn()) & (Job.company_id == job.company_id)
    ids = db.session.scalars(select(Job.id).where(own).order_by(*_job_order())).all()
    return ids.index(job.id) + 1 if job.id in ids else 0


def _lock_turns(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    else:
        # SQLite has one writer: a write that changes nothing makes this the one.
        connection.execute(update(Job).where(text("0")).values(size=Job.size))


def _company_in_turn(connection: Connection, waiting: Any) -> str | None:
    """Return the company that was served longest ago of those that wait and may have one more."""
    companies = select(Job.company_id).where(waiting).distinct().subquery()
    other = Job.__table__.alias("other")
    own = other.c.company_id == companies.c.company_id
    under_way = other.c.task.in_(_tasks_in_turn()) & (
        (other.c.status == RUNNING) | ((other.c.status == QUEUED) & other.c.handed_at.is_not(None))
    )
    served = select(func.max(other.c.handed_at)).where(own).scalar_subquery()
    active = select(func.count()).select_from(other).where(own, under_way).scalar_subquery()
    found = connection.execute(
        select(companies.c.company_id)
        .where(active < current_app.config["COMPANY_RUNNING_MOST"])
        .order_by(served.is_not(None), served, companies.c.company_id)
        .limit(1)
    ).first()
    return found[0] if found else None


def _tasks_in_turn() -> list[str]:
    return [task.name for task in current_app.extensions["tasks"].values() if task.in_turn]


def waiting_of(company_id: str) -> int:
    """Return how many jobs of a company wait for their turn."""
    waiting = (Job.status == QUEUED) & Job.task.in_(_tasks_in_turn())
    query = select(func.count()).select_from(Job).where(waiting, Job.company_id == company_id)
    return db.session.scalar(query) or 0
