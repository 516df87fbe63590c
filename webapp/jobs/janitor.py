"""Finds jobs whose worker is gone, and jobs that Redis forgot.

A lease that ran out means that nobody renews it: the job starts again from what is stored, or ends
after its last attempt with a sentence. Any number of janitors may sweep at once; each change is one
conditional UPDATE, so only one of them makes it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, delete, or_, select, update

from webapp.counters import counters
from webapp.errors import RunEnded
from webapp.extensions import db
from webapp.jobs import transitions, transport
from webapp.jobs.models import ACTIVE, FAILED, QUEUED, RUNNING, Job, Task, task_named
from webapp.lib.moments import utcnow

log = logging.getLogger(__name__)

QUEUED_TOO_LONG = timedelta(seconds=10)


def sweep(now: datetime | None = None) -> int:
    """Look after every active job once; return how many were started again or ended."""
    now = now or utcnow()
    lost = _jobs_where(Job.status == RUNNING, Job.lease_until < now)
    forgotten = _jobs_where(Job.status == QUEUED, Job.handed_at < now - QUEUED_TOO_LONG)
    transport.hand_over()
    return sum(_lost(job, now) for job in lost) + sum(_forgotten(job, now) for job in forgotten)


def _jobs_where(*conditions: ColumnElement[bool]) -> list[Any]:
    query = select(Job.id, Job.task, Job.attempt, Job.lost).where(*conditions)
    with db.engine.connect() as connection:
        return list(connection.execute(query.order_by(Job.queued_at)))


def _is_running(job: Any) -> Any:
    return (Job.id == job.id) & (Job.status == RUNNING) & (Job.attempt == job.attempt)


def _lost(job: Any, now: datetime) -> bool:
    """Give a job whose worker is gone to another one, or end it."""
    task = task_named(job.task)
    lost, most = job.lost + 1, current_app.config["MAX_ATTEMPTS"]
    still_lost = _is_running(job) & (Job.lease_until < now)
    try:
        if lost >= most:
            sentence = (
                f"The worker was lost {lost} times over this {task.noun}, so it was given up. "
                "The results so far are kept: try again, or ask the operator to look at the "
                "workers' memory."
            )
            transitions.end(still_lost, FAILED, error=sentence)
        else:
            text = f"The worker was lost; starting again, attempt {lost + 1} of {most}."
            transitions.queue_again(still_lost, text, lost=Job.lost + 1)
    except RunEnded:
        return False
    counters().add("workers_lost", job.task)
    log.warning("%s %s lost its worker", task.noun, job.id)
    return True


def _forgotten(job: Any, now: datetime) -> bool:
    """Enqueue a queued job again that no queue knows; one that waits its turn is left alone."""
    try:
        if transport.is_waiting(job.id):
            return False
    except RedisError:
        return False
    with db.engine.begin() as connection:
        claimed = connection.execute(
            update(Job)
            .where(Job.id == job.id, Job.status == QUEUED)
            .where(Job.handed_at < now - QUEUED_TOO_LONG)
            .values(handed_at=now)
        )
    if claimed.rowcount != 1:
        return False
    log.warning("%s %s was not in the queue", task_named(job.task).noun, job.id)
    return transport.enqueue(job.id, job.task)


def hand_back(job_id: str) -> bool:
    """Queue a job again whose worker was told to stop in the middle of it; False if it ended.

    Called by that worker when its work-horse is gone. Counts as no loss: nothing went wrong.
    """
    found = _jobs_where(Job.id == job_id, Job.status == RUNNING)
    if not found:
        return False
    noun = task_named(found[0].task).noun
    text = f"The worker was told to stop; the {noun} goes on as soon as another one is free."
    try:
        transitions.queue_again(_is_running(found[0]), text)
    except RunEnded:
        return False
    log.info("%s %s was handed back", noun, job_id)
    return True


def drop_ended(now: datetime | None = None) -> int:
    """Delete jobs that ended longer ago than their task keeps them; return how many."""
    now = now or utcnow()
    long_ago = now - timedelta(days=current_app.config["REPORTS_KEPT_DAYS"])
    tasks: list[Task] = list(current_app.extensions["tasks"].values())
    kept = {task.name: task.kept_s for task in tasks if task.kept_s is not None}
    dropped = [Job.task.not_in(kept) & (Job.finished_at < long_ago)]
    for name, kept_s in kept.items():
        dropped.append((Job.task == name) & (Job.finished_at < now - timedelta(seconds=kept_s)))
    with db.engine.begin() as connection:
        ended = delete(Job).where(Job.status.not_in(ACTIVE), or_(*dropped))
        return connection.execute(ended).rowcount
