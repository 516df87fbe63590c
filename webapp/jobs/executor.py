"""Doing a job: taken, done by its task, ended. `run_job` is the one function RQ calls."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import timedelta

from flask import current_app
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from webapp.counters import counters
from webapp.errors import ReportError, RunEnded
from webapp.extensions import db, rows_changed, this_app
from webapp.jobs import transitions, transport
from webapp.jobs.attempt import Attempt, is_away
from webapp.jobs.models import FAILED, QUEUED, RUNNING, Job, task_named
from webapp.lib.moments import utcnow
from webapp.security import unseal

log = logging.getLogger(__name__)


def run_job(job_id: str) -> None:
    """Do a queued job: what RQ calls, in a fork that needs database connections of its own."""
    db.engine.dispose(close=False)
    run_queued(job_id)


def run_queued(job_id: str) -> None:
    """Do a queued job in this process.

    A job that is not queued (cancelled, deleted, taken by another worker) is left alone, so it may
    be delivered twice. A failure is recorded, published and raised again for RQ to show.
    """
    job = take(job_id)
    if job is None:
        log.info("%s is not queued any more", job_id)
        return
    attempt = attempt_at(job, {})
    task, sealed, payload = attempt.task, job.sealed, dict(job.payload)
    log.info("%s %s runs, attempt %d", task.noun, job_id, attempt.number, extra={"kind": task.name})
    # A job runs for minutes to hours; it must not sit on a database connection all along.
    db.session.remove()
    try:
        if sealed:
            attempt.secrets |= json.loads(unseal(sealed))
        with attempt.leased():
            attempt.check()
            task.run(attempt, payload)
        if not attempt.is_finished:
            attempt.finish()
    except RunEnded:
        log.info("%s %s attempt %s was given up", task.noun, job_id, attempt.number)
    except DBAPIError as error:
        if is_away(error) and _begin_again(attempt):
            return
        fail(attempt, error)
        # Not as it is: its words may hold what was about to be stored.
        raise RuntimeError(
            f"The database failed the {task.noun} ({type(error).__name__})."
        ) from None
    except Exception as error:
        fail(attempt, error)
        text = "".join(traceback.format_exception(error))
        if any(len(secret) > 3 and secret in text for secret in attempt.secrets.values()):
            raise RuntimeError(f"The {task.noun} failed; its details held a secret.") from None
        raise
    finally:
        counters().flush()
        # Its company may have one more under way.
        transport.hand_over()


def take(job_id: str) -> Job | None:
    """Make a queued job running under the next attempt, or return None. Commits."""
    now = utcnow()
    lease = timedelta(seconds=current_app.config["LEASE_SECONDS"])
    taken = rows_changed(
        update(Job)
        .where(Job.id == job_id, Job.status == QUEUED)
        .values(
            status=RUNNING,
            attempt=Job.attempt + 1,
            lease_until=now + lease,
            started_at=now,
            finished_at=None,
            error=None,
            done=0,
        )
    )
    db.session.commit()
    # Nobody waits in RQ any more, so another one may; whatever becomes of this one.
    transport.hand_over()
    return db.session.get(Job, job_id) if taken == 1 else None


def attempt_at(job: Job, secrets: dict[str, str]) -> Attempt:
    """Return the present attempt at a running job."""
    app = this_app()
    task = task_named(job.task)
    return (task.attempt or Attempt)(app, task, job, secrets)


def _begin_again(attempt: Attempt) -> bool:
    """Queue the job again when the database was away for a while; False after too many times.

    The janitor hands it to the workers: RQ still has this job under its id.
    """

    def begin() -> bool:
        with db.engine.connect() as connection:
            lost = connection.scalar(select(Job.lost).where(Job.id == attempt.job_id)) or 0
        most = current_app.config["MAX_ATTEMPTS"]
        if lost + 1 >= most:
            return False
        text = f"The database was away; starting again, attempt {lost + 2} of {most}."
        transitions.queue_again(attempt.fence(), text, enqueue=False, lost=Job.lost + 1)
        return True

    try:
        return attempt.retry_while_database_is_down(begin)
    except RunEnded:
        log.info("%s %s was given up meanwhile", attempt.task.noun, attempt.job_id)
        return True


def fail(attempt: Attempt, error: Exception) -> None:
    """Record what an attempt failed of; its secrets, and the words of foreign errors, stay out."""
    sentence = _failure_sentence(attempt, error)
    for secret in attempt.secrets.values():
        sentence = sentence.replace(secret, "…") if secret else sentence
    noun, job_id = attempt.task.noun, attempt.job_id
    if not isinstance(error, ReportError):
        # The place, and not the words, which may hold what the partner or a database was sent.
        frames = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s %s failed: %s\n%s", noun, job_id, type(error).__name__, frames)
    try:
        attempt.retry_while_database_is_down(
            lambda: transitions.end(attempt.fence(), FAILED, error=sentence)
        )
    except RunEnded:
        log.info("%s %s ended before its failure could be written", noun, job_id)
    except DBAPIError as gone:
        log.error("the end of %s is left to the janitor: %s", job_id, type(gone).__name__)


def _failure_sentence(attempt: Attempt, error: Exception) -> str:
    """Return what the reader of a failed job is told."""
    noun = attempt.task.noun
    if isinstance(error, ReportError):
        return error.message
    if isinstance(error, DBAPIError) and is_away(error):
        return (
            "The database was away for too long, several times. What was found out is kept: "
            "try again."
        )
    if type(error).__name__ == "JobTimeoutException":
        hours = attempt.task.seconds / 3600
        return f"The {noun} took longer than {hours:g} hours and was stopped."
    return (
        f"A fault of this program ended the {noun} ({type(error).__name__}). "
        f"The operator finds it in the log under {attempt.job_id}."
    )
