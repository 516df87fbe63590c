"""Running a report: taken, made by its kind, finished or failed. `run_report` is the RQ job."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from datetime import timedelta
from itertools import islice

from flask import Flask, current_app
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import DBAPIError

from webapp.engine.endings import end_report, end_row, publish_end, publish_line, queue_again
from webapp.engine.kind import Result
from webapp.engine.models import (
    DONE,
    FAILED,
    INCOMPLETE,
    QUEUED,
    RUNNING,
    Checkpoint,
    Report,
    ResultRow,
    StatusLine,
)
from webapp.engine.packed import rereadable
from webapp.engine.params import stored_params
from webapp.engine.registry import context, kinds
from webapp.engine.runs import ActiveRun, is_away
from webapp.errors import ReportError, RunEnded
from webapp.extensions import db
from webapp.lib.moments import rfc3339, utcnow
from webapp.security import unseal

log = logging.getLogger(__name__)
ROWS_PER_INSERT = 1000
ALL_DONE = "The report is done."


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
    run = ActiveRun(app, report, {})
    kind, sealed, public = report.kind, report.sealed, dict(report.params)
    log.info("report %s runs, attempt %d", report_id, run.attempt, extra={"kind": run.kind})
    # A report runs for minutes to hours; it must not sit on a database connection all along.
    db.session.remove()
    try:
        if sealed:
            run.secrets |= json.loads(unseal(sealed))
        with run.leased():
            run.check()
            result = kinds()[kind].run(stored_params(kinds()[kind], public), run, context())
        _finish(run, result)
    except RunEnded:
        log.info("report %s attempt %s was given up", report_id, run.attempt)
    except DBAPIError as error:
        if is_away(error) and _begin_again(run):
            return
        _fail(run, error, run.secrets)
        # Not as it is: its words may hold what was about to be stored.
        raise RuntimeError(f"The database failed the report ({type(error).__name__}).") from None
    except Exception as error:
        _fail(run, error, run.secrets)
        if _names_a_secret(error, run.secrets):
            raise RuntimeError("The report failed; its details held a secret.") from None
        raise
    finally:
        app.extensions["counters"].flush()


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
    """Write the result and the end in one transaction, then tell the listeners.

    A whole report has all its steps behind it, also those it turned out not to need; where the
    last line said otherwise, or was one too many to be told, another one says so.
    """
    status = DONE if result.complete else INCOMPLETE
    is_told = status != DONE or run.fill_bar()
    tables = {name: rereadable(rows) for name, rows in result.tables.items()}
    # What every result says; a kind that knows it better has said so.
    said = {"generated_at": rfc3339(utcnow()), "complete": result.complete}
    head = result.head | {name: value for name, value in said.items() if name not in result.head}

    def write() -> tuple[StatusLine | None, int]:
        with run.fenced() as connection:
            connection.execute(delete(ResultRow).where(ResultRow.report_id == run.report_id))
            for table, rows in tables.items():
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
            line = None if is_told else run.add_line(connection, ALL_DONE, "info")
            seq = end_row(connection, run.mine(), run.report_id, status, head=head)
            return line, seq

    line, seq = run._patiently(write)
    log.info("report %s is %s", run.report_id, status, extra={"kind": run.kind})
    if line:
        publish_line(line)
    publish_end(run.report_id, seq, status)


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
