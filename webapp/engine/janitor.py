"""Finds reports whose worker is gone, reports that Redis forgot, and what has expired.

A lease that ran out means that nobody renews it: the report starts again from what is stored, or
ends after MAX_ATTEMPTS with a sentence. Any number of janitors may sweep at once; each change is
one conditional UPDATE, so only one of them makes it.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta

from flask import Flask, current_app
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.accounts import audit_log
from webapp.engine import endings, months, upkeep
from webapp.engine.models import ACTIVE, FAILED, QUEUED, RUNNING, Report
from webapp.errors import RunEnded
from webapp.extensions import db, redis_client
from webapp.lib.moments import utcnow

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 3.0
QUEUED_TOO_LONG = timedelta(seconds=10)
TIDY_EVERY = timedelta(hours=1)


def sweep(now: datetime | None = None) -> int:
    """Look after every active report once; return how many were started again or ended."""
    now = now or utcnow()
    touched = 0
    for report_id in _ids(Report.status == RUNNING, Report.lease_until < now):
        touched += _lost(report_id, now)
    for report_id in _ids(Report.status == QUEUED, Report.queued_at < now - QUEUED_TOO_LONG):
        touched += _forgotten(report_id, now)
    return touched


def _ids(*conditions: object) -> list[str]:
    found = list(db.session.scalars(select(Report.id).where(*conditions)))  # type: ignore[arg-type]
    db.session.commit()
    return found


def _lost(report_id: str, now: datetime) -> int:
    """Give a report whose worker is gone to another one, or end it."""
    report = db.session.get(Report, report_id, populate_existing=True)
    if report is None:
        return 0
    attempts: int = current_app.config["MAX_ATTEMPTS"]
    still_lost = (
        (Report.status == RUNNING) & (Report.attempt == report.attempt) & (Report.lease_until < now)
    )
    db.session.commit()
    try:
        if report.lost + 1 >= attempts:
            sentence = (
                f"The worker was lost {report.lost + 1} times while making this report, so it was "
                "given up. What was found out is kept: try again, or ask the operator to look at "
                "the workers' memory."
            )
            endings.end_report(report_id, FAILED, only=still_lost, error=sentence)
            return 1
        return _start_again(report_id, still_lost, report.lost + 2, attempts)
    except RunEnded:
        return 0


def _start_again(report_id: str, still_lost: object, attempt: int, attempts: int) -> int:
    text = f"The worker was lost; starting again, attempt {attempt} of {attempts}."
    endings.queue_again(report_id, still_lost, text, lost=Report.lost + 1)
    log.warning("report %s lost its worker", report_id)
    return 1


def hand_back(report_id: str) -> bool:
    """Queue a report again whose worker was told to stop in the middle of it; False if it ended.

    Called by that worker when its work-horse is gone. Counts as no loss: nothing went wrong.
    """
    report = db.session.get(Report, report_id, populate_existing=True)
    if report is None:
        return False
    still_mine = (Report.status == RUNNING) & (Report.attempt == report.attempt)
    db.session.commit()
    text = "The worker was told to stop; the report goes on as soon as another one is free."
    try:
        endings.queue_again(report_id, still_mine, text)
    except RunEnded:
        return False
    log.info("report %s was handed back", report_id)
    return True


def _forgotten(report_id: str, now: datetime) -> int:
    """Enqueue a queued report again that no queue knows; one that waits its turn is left alone."""
    try:
        if _is_waiting(report_id):
            return 0
    except RedisError:
        return 0
    claimed = db.session.execute(
        update(Report)
        .where(Report.id == report_id, Report.status == QUEUED)
        .where(Report.queued_at < now - QUEUED_TOO_LONG)
        .values(queued_at=now)
    )
    db.session.commit()
    report = db.session.get(Report, report_id, populate_existing=True)
    if claimed.rowcount != 1 or report is None:  # type: ignore[attr-defined]
        return 0
    log.warning("report %s was not in the queue", report_id)
    return int(endings.enqueue_report(report))


def _is_waiting(report_id: str) -> bool:
    try:
        job = Job.fetch(report_id, connection=redis_client(), serializer=JSONSerializer)
    except NoSuchJobError:
        return False
    waiting = {JobStatus.QUEUED, JobStatus.DEFERRED, JobStatus.SCHEDULED}
    return job.get_status() in waiting and job.get_position() is not None


def tidy(now: datetime | None = None) -> None:
    """Delete reports and audit entries older than they are kept, months that expired a day ago."""
    now = now or utcnow()
    kept = timedelta(days=current_app.config["REPORTS_KEPT_DAYS"])
    db.session.execute(
        delete(Report).where(Report.status.not_in(ACTIVE), Report.finished_at < now - kept)
    )
    db.session.commit()
    months.drop_expired(now - timedelta(days=1))
    audit_log.drop_expired(now - timedelta(days=current_app.config["AUDIT_KEPT_DAYS"]))


def loop(app: Flask, stop: threading.Event | None = None) -> None:
    """Sweep and run maintenance until told to stop; an absent database is waited for."""
    stop = stop or threading.Event()
    tidied = utcnow() - TIDY_EVERY
    wait_s = 0.0
    while not stop.is_set():
        try:
            # After an outage of the database workers get to renew their leases first.
            stop.wait(wait_s)
            wait_s = 0.0
            with app.app_context():
                sweep()
                upkeep.run_maintenance()
                upkeep.ask_nightly()
                if utcnow() - tidied >= TIDY_EVERY:
                    tidy()
                    tidied = utcnow()
        except SQLAlchemyError as error:
            log.warning("the janitor waits for the database: %s", type(error).__name__)
            wait_s = _until_it_answers(app, stop)
        stop.wait(SWEEP_EVERY_S)


def _until_it_answers(app: Flask, stop: threading.Event) -> float:
    """Wait until the database answers; return how long leases may take to be renewed (seconds)."""
    while not stop.wait(1.0):
        try:
            with app.app_context():
                db.session.execute(select(1))
        except SQLAlchemyError:
            continue
        break
    lease_s: float = app.config["LEASE_SECONDS"]
    return min(lease_s / 4, 5.0)
