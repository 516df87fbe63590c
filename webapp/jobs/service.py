"""Jobs as others ask for them: start, find, cancel, start again, delete."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import delete as sql_delete
from sqlalchemy import select, update

from webapp.databases import reason_of
from webapp.errors import Conflict, NotFound, RunEnded
from webapp.extensions import db, rows_changed
from webapp.jobs import transitions, transport
from webapp.jobs.models import ACTIVE, CANCELLED, QUEUED, RUNNING, Job, task_named
from webapp.lib.moments import utcnow
from webapp.lib.upserts import upsert
from webapp.security import seal

log = logging.getLogger(__name__)


def start(
    task: str,
    *,
    company_id: str | None,
    user_id: str | None,
    payload: Mapping[str, Any],
    key: str | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Job:
    """Add a job to the session; once the caller has committed, the workers are handed it.

    company_id, user_id: whose it is; None for what the program does by itself
    key: where a job of this task and key waits already, that one is returned
    """
    job_id = str(uuid.uuid4())
    row = upsert(db.session, Job.__table__).values(
        id=job_id,
        type="job",
        task=task,
        key=key,
        company_id=company_id,
        user_id=user_id,
        payload=dict(payload),
        sealed=sealed(secrets or {}),
        handed_at=None if task_named(task).in_turn else utcnow(),
    )
    waiting = (Job.task == task) & (Job.key == key) & (Job.status == QUEUED)
    found = None
    while found is None:
        # Not by the session's own way: of two at the same moment the second finds the first one's.
        db.session.execute(row.on_conflict_do_nothing())
        found = db.session.scalar(select(Job).where(waiting if key else Job.id == job_id))
    if found.id == job_id:
        transport.after_commit(job_id, task)
    return found


def add(job: Job, *, enqueue: bool = True) -> None:
    """Add a job of a subclass to the session; after the commit the workers get it, in its turn.

    enqueue: False where the caller does it now, in this process
    """
    if not (enqueue and task_named(job.task).in_turn):
        job.handed_at = utcnow()
    db.session.add(job)
    if enqueue:
        transport.after_commit(job.id, job.task)


def sealed(secrets: Mapping[str, str]) -> str | None:
    """Return the secrets of a job as its row keeps them."""
    return seal(json.dumps(dict(secrets))) if secrets else None


def find(job_id: str, company_id: str) -> Job:
    """Return a job of a company; another company's is as unknown as none: NotFound."""
    job = db.session.get(Job, str(job_id))
    if job is None or job.company_id != company_id:
        raise NotFound("There is no such job.")
    return job


def cancel(job_id: str, line: str = "Cancelled on request.") -> None:
    """End a queued or running job now; the worker's process is stopped, its writes refused.

    Raises: Conflict when it has ended
    """
    job = db.session.get_one(Job, job_id)
    was_running, noun = job.status == RUNNING, task_named(job.task).noun
    try:
        transitions.end((Job.id == job_id) & Job.status.in_(ACTIVE), CANCELLED, line=line)
    except RunEnded:
        db.session.expire(job)
        raise Conflict(f"The {noun} is {job.status} already.") from None
    transport.stop(job_id, was_running)
    transport.hand_over()
    # Read again by who looks at it: somebody may have deleted it by now.
    db.session.expire(job)


def start_again(job: Job, secrets: Mapping[str, str]) -> None:
    """Queue an ended job again, in the session; the caller commits, which hands it over.

    Raises: Conflict when it does not stand as it was read any more
    """
    again = (
        update(Job)
        .where(Job.id == job.id, Job.status == job.status, Job.attempt == job.attempt)
        .values(
            status=QUEUED,
            sealed=sealed(secrets),
            lost=0,
            permille=0,
            stage="",
            error=None,
            finished_at=None,
            queued_at=utcnow(),
            handed_at=None if task_named(job.task).in_turn else utcnow(),
        )
        .execution_options(synchronize_session=False)
    )
    if rows_changed(again) != 1:
        db.session.rollback()
        raise Conflict(f"The {task_named(job.task).noun} is being retried already.")
    transport.after_commit(job.id, job.task)


def delete(job_id: str) -> bool:
    """Delete an ended job with all that refers to it; False while it is active. Commits."""
    gone = rows_changed(sql_delete(Job).where(Job.id == job_id, Job.status.not_in(ACTIVE)))
    db.session.commit()
    if gone != 1:
        return False
    try:
        transport.forget(job_id)
    except RedisError as error:
        log.warning("RQ's part of %s expires by itself: %s", job_id, reason_of(error))
    return True
