"""How a report changes hands and ends: queued, queued again, ended; the row first, RQ after.

Every change is one conditional UPDATE on the row, so of two that want it only one makes it.
"""

from __future__ import annotations

import logging
from typing import Any

from flask import current_app
from redis.exceptions import RedisError
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import null, select, update

from webapp.engine import progress
from webapp.engine.models import (
    FAILED,
    INCOMPLETE,
    QUEUED,
    Report,
    StatusLine,
)
from webapp.engine.runs import add_line
from webapp.errors import RunEnded
from webapp.extensions import db, redis_client, report_queue
from webapp.lib.moments import utcnow
from webapp.tracing import request_id

log = logging.getLogger(__name__)
RUN = "webapp.engine.jobs.run_report"
RETRY_CANCELLED = "Trying again was cancelled."
KEPT = "The result from before is kept."


def end_row(connection: Any, only: Any, report_id: str, status: str, **values: Any) -> int:
    """End a report inside a transaction: status, erased secret; return its last line's number."""
    ended = connection.execute(
        update(Report)
        .where(Report.id == report_id, only)
        .values(
            status=status,
            sealed=None,
            lease_until=None,
            finished_at=utcnow(),
            **values,
        )
    )
    if ended.rowcount != 1:
        raise RunEnded("The report had ended before.")
    return int(
        connection.execute(select(Report.last_seq).where(Report.id == report_id)).scalar_one()
    )


def end_report(
    report_id: str, status: str, *, only: Any, line: str | None = None, **values: Any
) -> None:
    """End a report that matches `only`, with a last line (the error, if no other), and publish it.

    A report that has a result keeps it: where its retry fails or is cancelled it is incomplete
    again, its error says what the retry met, and it may be tried again.
    Raises: RunEnded when the report is not in that state any more
    """
    text = line or values.get("error")
    level = "error" if status == FAILED else "warn"
    with db.engine.begin() as connection:
        touched = connection.execute(
            update(Report)
            .where(Report.id == report_id, only)
            .values(last_seq=Report.last_seq + (1 if text else 0))
        )
        if touched.rowcount != 1:
            raise RunEnded("The report had ended before.")
        if _has_result(connection, report_id):
            status, values["error"] = INCOMPLETE, f"{values.get('error') or RETRY_CANCELLED} {KEPT}"
        stored = None
        if text:
            done, total = connection.execute(
                select(Report.done, Report.total).where(Report.id == report_id)
            ).one()
            stored = add_line(connection, report_id, text, level, done, total)
        seq = end_row(connection, only, report_id, status, **values)
    if stored:
        publish_line(stored)
    publish_end(report_id, seq, status)


def _has_result(connection: Any, report_id: str) -> bool:
    found = select(Report.head.is_not(null())).where(Report.id == report_id)
    return bool(connection.execute(found).scalar_one())


def publish_line(line: StatusLine) -> None:
    event = progress.Event("status", line.seq, progress.line_data(line))
    progress.publish(line.report_id, event)


def publish_end(report_id: str, seq: int, status: str) -> None:
    progress.publish(report_id, progress.Event("end", seq, {"status": status}))


def queue_again(
    report_id: str, only: object, text: str, *, enqueue: bool = True, **values: object
) -> None:
    """Put a running report back into the queue with a line that says why.

    Raises: RunEnded when it does not match `only` any more
    """
    with db.engine.begin() as connection:
        changed = connection.execute(
            update(Report)
            .where(Report.id == report_id, only)  # type: ignore[arg-type]
            .values(
                status=QUEUED,
                lease_until=None,
                queued_at=utcnow(),
                last_seq=Report.last_seq + 1,
                **values,
            )
        )
        if changed.rowcount != 1:
            raise RunEnded("Somebody else was first.")
        done, total = connection.execute(
            select(Report.done, Report.total).where(Report.id == report_id)
        ).one()
        line = add_line(connection, report_id, text, "warn", done, total)
    publish_line(line)
    report = db.session.get(Report, report_id, populate_existing=True) if enqueue else None
    if report is not None:
        enqueue_report(report)


def enqueue_report(report: Report) -> bool:
    """Hand a queued report to the workers; False when Redis is away (the janitor tries again)."""
    try:
        forget_job(report.id)
        report_queue().enqueue_call(
            RUN,
            args=(report.id,),
            job_id=report.id,
            timeout=current_app.config["REPORT_TIMEOUT_SECONDS"],
            result_ttl=3600,
            failure_ttl=86400,
            description=f"{report.kind} report",
            meta={"request_id": request_id()},
        )
    except RedisError as error:
        log.warning("report %s waits for Redis: %s", report.id, type(error).__name__)
        return False
    return True


def forget_job(report_id: str) -> None:
    """Remove what RQ knows of an earlier start, so that the id can be used again."""
    try:
        Job.fetch(report_id, connection=redis_client(), serializer=JSONSerializer).delete()
    except (NoSuchJobError, InvalidJobOperation, ValueError):
        return


def stop_job(report_id: str, was_running: bool) -> None:
    """Stop the worker's process or take the job out of the queue; the row has the truth already."""
    try:
        if was_running:
            send_stop_job_command(redis_client(), report_id, serializer=JSONSerializer)
        else:
            forget_job(report_id)
    except (NoSuchJobError, InvalidJobOperation):
        log.info("report %s had no job to stop", report_id)
    except RedisError as error:
        log.warning("report %s stops at its next write: %s", report_id, type(error).__name__)
