"""Start, run, cancel, retry and delete reports. `run_report(report_id)` is the one RQ job.

The row is committed before the job is enqueued, and the job carries the id alone. Whatever happens
to Redis or a worker, the janitor finds the row again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from flask import Flask, current_app
from redis.exceptions import RedisError
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from webapp.accounts import Scope
from webapp.engine import progress
from webapp.engine.kind import Context, Estimate, ReportKind, Result
from webapp.engine.models import (
    ACTIVE,
    CANCELLED,
    DONE,
    FAILED,
    INCOMPLETE,
    QUEUED,
    RUNNING,
    Checkpoint,
    Report,
    ResultRow,
)
from webapp.engine.months import CompanyMonths
from webapp.engine.params import Parsed, read_params, stored_params
from webapp.engine.runs import ActiveRun, add_line, is_away
from webapp.engine.tallies import Tallies
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound, ReportError, RunEnded
from webapp.extensions import db, redis_client, report_queue, utcnow
from webapp.security import fingerprint, seal, unseal
from webapp.tracing import request_id

log = logging.getLogger(__name__)
ROWS_PER_INSERT = 1000


@dataclass(frozen=True)
class Started:
    """A report, and whether it was made now or found by its Idempotency-Key."""

    report: Report
    is_new: bool


def kinds() -> Mapping[str, ReportKind]:
    """Return the kinds of this application by slug, in their order."""
    return current_app.extensions["report_kinds"]


def kind_named(slug: Any) -> ReportKind:
    """Return a kind by its slug; raises InvalidParams with the list of kinds."""
    kind = kinds().get(slug) if isinstance(slug, str) else None
    if kind is None:
        raise InvalidParams({"kind": f"Choose one of {', '.join(kinds())}."})
    return kind


def personal_kinds() -> list[str]:
    """Return the slugs of kinds whose reports only their maker may find."""
    return [slug for slug, kind in kinds().items() if kind.personal]


def context() -> Context:
    """Return what kinds are handed: settings and the Redis client."""
    tallies: Tallies = current_app.extensions["tallies"]
    return Context(config=current_app.config, redis=redis_client(), now=utcnow, tally=tallies.add)


def _prepared(scope: Scope, slug: Any, raw: Mapping[str, Any]) -> tuple[ReportKind, Parsed]:
    """Return the kind and checked parameters, the secrets of stored credentials filled in."""
    kind = kind_named(slug)
    if not scope.may(kind.run_role):
        raise NotAllowed(f"Making this report needs the role {kind.run_role} in this company.")
    parsed = read_params(kind, raw)
    secrets = kind.prepare(parsed.params, scope, parsed.secrets)
    return kind, Parsed(parsed.params, parsed.public, secrets)


def start_report(
    scope: Scope,
    slug: Any,
    raw: Mapping[str, Any],
    *,
    idempotency_key: str | None = None,
    enqueue: bool = True,
) -> Started:
    """Make a report and hand it to the workers.

    Raises: InvalidParams, NotAllowed; InvalidParams too for a key used with another body
    """
    body = fingerprint(json.dumps([slug, raw], sort_keys=True, default=str))
    if idempotency_key and (found := _made_before(scope, idempotency_key, body)):
        return Started(found, is_new=False)
    kind, parsed = _prepared(scope, slug, raw)
    report = Report(
        id=str(uuid.uuid4()),
        company_id=scope.company_id,
        requested_by=scope.user_id,
        kind=kind.slug,
        label=kind.describe(parsed.public)[:200],
        params=parsed.public,
        sealed=seal(json.dumps(parsed.secrets)) if parsed.secrets else None,
        idempotency_key=idempotency_key,
        body_fingerprint=body if idempotency_key else None,
    )
    db.session.add(report)
    try:
        db.session.commit()
    except IntegrityError:
        # The same key twice at the same moment: the other request made the report.
        db.session.rollback()
        if idempotency_key and (found := _made_before(scope, idempotency_key, body)):
            return Started(found, is_new=False)
        raise
    log.info("report %s was asked for", report.id, extra={"kind": kind.slug})
    if enqueue:
        enqueue_report(report)
    return Started(report, is_new=True)


def _made_before(scope: Scope, key: str, body: str) -> Report | None:
    if len(key) > 255:
        raise InvalidParams({"Idempotency-Key": "Use at most 255 characters."})
    report = db.session.scalar(
        select(Report).where(
            Report.requested_by == scope.user_id,
            Report.company_id == scope.company_id,
            Report.idempotency_key == key,
        )
    )
    if report and report.body_fingerprint != body:
        raise InvalidParams(
            {"Idempotency-Key": "This key was used with another body; send a new key."}
        )
    return report


def enqueue_report(report: Report) -> bool:
    """Hand a queued report to the workers; False when Redis is away (the janitor tries again)."""
    try:
        forget_job(report.id)
        report_queue().enqueue_call(
            run_report,
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


def estimate_report(scope: Scope, slug: Any, raw: Mapping[str, Any]) -> Estimate:
    """Return what a report with these parameters would cost, without making it."""
    kind, parsed = _prepared(scope, slug, raw)
    months = CompanyMonths(
        db.engine, scope.company_id, kind.slug, current_app.config["MONTHS_KEPT_DAYS"]
    )
    return kind.estimate(parsed.params, scope, context(), months, parsed.secrets)


def find_report(scope: Scope, report_id: str) -> Report:
    """Return a report of the caller's company; another company's is as unknown as none."""
    report = db.session.get(Report, str(report_id))
    if report is None or report.company_id != scope.company_id:
        raise NotFound("There is no such report.")
    if report.kind in personal_kinds() and report.requested_by != scope.user_id:
        raise NotFound("There is no such report.")
    return report


# Running


def run_report(report_id: str) -> None:
    """Run a queued report: the RQ job, in a fork that needs database connections of its own."""
    db.engine.dispose(close=False)
    run_queued(report_id)


def run_queued(report_id: str) -> None:
    """Run a queued report in this process.

    A report that is not queued (cancelled, deleted, taken by another worker) is left alone, so the
    job may be delivered twice. A failure is recorded, published and raised again for RQ to show.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    report = _take(report_id)
    if report is None:
        log.info("report %s is not queued any more", report_id)
        return
    kind = kinds()[report.kind]
    secrets: dict[str, str] = json.loads(unseal(report.sealed)) if report.sealed else {}
    run = ActiveRun(app, report, secrets)
    public = dict(report.params)
    log.info("report %s runs, attempt %d", report_id, run.attempt, extra={"kind": run.kind})
    # A report runs for minutes to hours; it must not sit on a database connection all along.
    db.session.remove()
    try:
        with run.leased():
            run.check()
            result = kind.run(stored_params(kind, public), run, context())
        _finish(run, result)
    except RunEnded:
        log.info("report %s attempt %s was given up", report_id, run.attempt)
    except DBAPIError as error:
        if is_away(error) and _begin_again(run):
            return
        _fail(run, error, secrets)
        # Not as it is: its words may hold what was about to be stored.
        raise RuntimeError(f"The database failed the report ({type(error).__name__}).") from None
    except Exception as error:
        _fail(run, error, secrets)
        if _names_a_secret(error, secrets):
            raise RuntimeError("The report failed; its details held a secret.") from None
        raise
    finally:
        app.extensions["tallies"].flush()


def _take(report_id: str) -> Report | None:
    """Make a queued report running under the next attempt, or return None."""
    now = utcnow()
    lease = timedelta(seconds=current_app.config["LEASE_SECONDS"])
    taken = db.session.execute(
        update(Report)
        .where(Report.id == report_id, Report.status == QUEUED)
        .values(
            status=RUNNING,
            attempt=Report.attempt + 1,
            lease_until=now + lease,
            started_at=now,
            finished_at=None,
            error=None,
            done=0,
        )
    )
    db.session.commit()
    return db.session.get(Report, report_id) if taken.rowcount == 1 else None  # type: ignore[attr-defined]


def _finish(run: ActiveRun, result: Result) -> None:
    """Write the result and the end in one transaction, then tell the listeners."""
    status = DONE if result.complete else INCOMPLETE

    def write() -> int:
        with run.fenced() as connection:
            connection.execute(delete(ResultRow).where(ResultRow.report_id == run.report_id))
            for table, rows in result.tables.items():
                numbered = (
                    {
                        "report_id": run.report_id,
                        "table_name": table,
                        "position": position,
                        "data": row,
                    }
                    for position, row in enumerate(rows)
                )
                while batch := list(islice(numbered, ROWS_PER_INSERT)):
                    connection.execute(insert(ResultRow), batch)
            if status == DONE:
                connection.execute(delete(Checkpoint).where(Checkpoint.report_id == run.report_id))
            return _end(connection, run.mine(), run.report_id, status, head=result.head)

    seq = run._patiently(write)
    log.info("report %s is %s", run.report_id, status, extra={"kind": run.kind})
    _publish_end(run.report_id, seq, status)


def _begin_again(run: ActiveRun) -> bool:
    """Queue the report again when the database was away for a while; False after too many times.

    The janitor hands it to the workers: RQ still has this job under the report's id.
    """
    attempts: int = current_app.config["MAX_ATTEMPTS"]
    report = run._patiently(lambda: db.session.get(Report, run.report_id, populate_existing=True))
    lost = report.lost if report else 0
    db.session.remove()
    if lost + 1 >= attempts:
        return False
    text = f"The database was away; starting again, attempt {lost + 2} of {attempts}."
    try:
        run._patiently(
            lambda: queue_again(
                run.report_id, run.mine(), text, enqueue=False, lost=Report.lost + 1
            )
        )
    except RunEnded:
        log.info("report %s was given up meanwhile", run.report_id)
    return True


def _fail(run: ActiveRun, error: Exception, secrets: Mapping[str, str]) -> None:
    sentence = failure_sentence(error, run.report_id)
    for secret in secrets.values():
        sentence = sentence.replace(secret, "…") if secret else sentence
    if not isinstance(error, ReportError):
        # The place, and not the words, which may hold what the partner or a database was sent.
        frames = "".join(traceback.format_tb(error.__traceback__))
        log.error("report %s failed: %s\n%s", run.report_id, type(error).__name__, frames)
    try:
        run._patiently(lambda: end_report(run.report_id, FAILED, error=sentence, only=run.mine()))
    except RunEnded:
        log.info("report %s ended before its failure could be written", run.report_id)
    except DBAPIError as gone:
        log.error("the end of %s is left to the janitor: %s", run.report_id, type(gone).__name__)


def failure_sentence(error: BaseException, report_id: str) -> str:
    """Return what the reader of a failed report is told."""
    if isinstance(error, ReportError):
        return error.message
    if isinstance(error, DBAPIError) and is_away(error):
        return (
            "The database was away for too long, several times. What was found out is kept: "
            "try again."
        )
    if type(error).__name__ == "JobTimeoutException":
        hours = current_app.config["REPORT_TIMEOUT_SECONDS"] / 3600
        return f"The report took longer than {hours:g} hours and was stopped."
    return (
        f"A fault of this program ended the report ({type(error).__name__}). "
        f"The operator finds it in the log under {report_id}."
    )


def _names_a_secret(error: BaseException, secrets: Mapping[str, str]) -> bool:
    text = "".join(traceback.format_exception(error))
    return any(len(secret) > 3 and secret in text for secret in secrets.values())


def _end(connection: Any, only: Any, report_id: str, status: str, **values: Any) -> int:
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
        stored = None
        if text:
            done, total = connection.execute(
                select(Report.done, Report.total).where(Report.id == report_id)
            ).one()
            stored = add_line(connection, report_id, text, level, done, total)
        seq = _end(connection, only, report_id, status, **values)
    if stored:
        progress.publish(
            report_id, progress.Event("status", stored.seq, progress.line_data(stored))
        )
    _publish_end(report_id, seq, status)


def _publish_end(report_id: str, seq: int, status: str) -> None:
    progress.publish(report_id, progress.Event("end", seq, {"status": status}))


def run_here(
    scope: Scope,
    slug: str,
    raw: Mapping[str, Any],
    on_event: Callable[[progress.Event], None] = lambda _: None,
) -> Report:
    """Make a report and run it in this process, for the command line; return it ended.

    on_event: called with every line as it is stored; another thread reads them from the database
    """
    report = start_report(scope, slug, raw, enqueue=False).report
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    def follow() -> None:
        with app.app_context():
            for event in progress.listen(report.id):
                if event is not None:
                    on_event(event)

    report_id = report.id
    follower = threading.Thread(target=follow, name="follower", daemon=True)
    follower.start()
    try:
        run_queued(report_id)
    except ReportError as error:
        log.debug("report %s failed: %s", report_id, type(error).__name__)
    except KeyboardInterrupt:
        cancel_report(scope, report_id)
        raise
    follower.join(timeout=10)
    db.session.expire_all()
    return find_report(scope, report_id)


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
    progress.publish(report_id, progress.Event("status", line.seq, progress.line_data(line)))
    report = db.session.get(Report, report_id, populate_existing=True) if enqueue else None
    if report is not None:
        enqueue_report(report)


# What its owner may do to it


def cancel_report(scope: Scope, report_id: str) -> Report:
    """End a queued or running report now; the worker's process is stopped, its writes refused."""
    report = find_report(scope, report_id)
    if not scope.may(kinds()[report.kind].run_role):
        raise NotAllowed("Cancelling a report needs the right to make one.")
    was_running = report.status == RUNNING
    try:
        end_report(
            report.id, CANCELLED, only=Report.status.in_(ACTIVE), line="Cancelled on request."
        )
    except RunEnded:
        db.session.refresh(report)
        raise Conflict(f"The report is {report.status} already.") from None
    _stop_job(report.id, was_running)
    db.session.refresh(report)
    return report


def _stop_job(report_id: str, was_running: bool) -> None:
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


def delete_report(scope: Scope, report_id: str) -> None:
    """Delete a finished report with its lines and rows."""
    report = find_report(scope, report_id)
    if not scope.may(kinds()[report.kind].run_role):
        raise NotAllowed("Deleting a report needs the right to make one.")
    gone = db.session.execute(
        delete(Report).where(Report.id == report.id, Report.status.not_in(ACTIVE))
    )
    db.session.commit()
    if gone.rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict("The report is still being made; cancel it first.")
    try:
        forget_job(str(report_id))
    except RedisError as error:
        log.warning("the job of %s expires by itself: %s", report_id, type(error).__name__)


def retry_report(scope: Scope, report_id: str, raw: Mapping[str, Any]) -> Report:
    """Start an incomplete or failed report again; what it found out already is not asked again.

    raw: the secrets, which were erased when the report ended, unless a stored connection has them
    """
    report = find_report(scope, report_id)
    kind = kinds()[report.kind]
    extra = set(raw) - kind.secret_params
    if extra:
        raise InvalidParams(dict.fromkeys(sorted(extra), "A retry takes the secrets only."))
    if report.status not in {INCOMPLETE, FAILED}:
        raise Conflict(
            f"Only an incomplete or failed report can be retried; it is {report.status}."
        )
    _, parsed = _prepared(scope, report.kind, {**report.params, **raw})
    again = db.session.execute(
        update(Report)
        .where(Report.id == report.id, Report.status.in_([INCOMPLETE, FAILED]))
        .values(
            status=QUEUED,
            sealed=seal(json.dumps(parsed.secrets)) if parsed.secrets else None,
            lost=0,
            error=None,
            finished_at=None,
            queued_at=utcnow(),
        )
    )
    db.session.commit()
    if again.rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict("The report is being retried already.")
    db.session.refresh(report)
    enqueue_report(report)
    return report


def worker_name() -> str:
    """Return a name for this worker that no other one on any machine has."""
    return f"{os.uname().nodename}.{os.getpid()}.{uuid.uuid4().hex[:6]}"
