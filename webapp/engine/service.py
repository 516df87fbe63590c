"""Reports as pages, programs and commands ask for them: start, find, cancel, retry, delete.

A report's row is committed before the workers are told of it; whatever happens to Redis or to a
worker, the janitor finds the row again.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from blinker import Namespace
from flask import current_app
from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError

from webapp import jobs
from webapp.accounts import Scope, User, person_erasing
from webapp.engine.kind import Estimate, ReportKind
from webapp.engine.listing import tag_words
from webapp.engine.models import FAILED, INCOMPLETE, Favourite, Report, ReportEntry
from webapp.engine.months import MonthStore
from webapp.engine.params import Parsed, param_text, read_params, retried_params
from webapp.engine.registry import context, kind_named, kinds, readable
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound, ReportError, TooManyWaiting
from webapp.extensions import db, this_app
from webapp.jobs import service as job_service
from webapp.lib.texts import storable
from webapp.security import fingerprint

log = logging.getLogger(__name__)

# Sent where a kind forgets somebody, before the commit, with company_id, kind, and is_meant, which
# says whether a text names them: rooms above that keep parameters or words of results listen.
subject_forgotten = Namespace().signal("subject-forgotten")

LONGEST_NAME, LONGEST_TAG, MOST_TAGS = 120, 40, 12


@dataclass(frozen=True)
class Started:
    """A report, and whether it was made now or found by its Idempotency-Key."""

    report: Report
    is_new: bool


def _checked_params(scope: Scope, slug: Any, raw: Mapping[str, Any]) -> tuple[ReportKind, Parsed]:
    """Return the kind and checked parameters, the secrets of stored credentials filled in."""
    kind = kind_named(slug)
    if not scope.may(kind.run_role):
        raise NotAllowed(f"Making this report needs the role {kind.run_role} in this company.")
    parsed = read_params(kind, raw)
    secrets = kind.resolve_secrets(parsed.params, scope, parsed.secrets)
    return kind, Parsed(parsed.params, parsed.public, secrets)


def start_report(
    scope: Scope,
    slug: Any,
    raw: Mapping[str, Any],
    *,
    idempotency_key: str | None = None,
    enqueue: bool = True,
    along: Callable[[Report], object] = lambda _: None,
) -> Started:
    """Make a report and hand it to the workers.

    along:  adds to the session what is to be committed with a new report, or not at all
    Raises: InvalidParams, NotAllowed; InvalidParams too for a key used with another body
    """
    body = fingerprint(json.dumps([slug, raw], sort_keys=True, default=str))
    if idempotency_key and (found := _made_before(scope, idempotency_key, body)):
        return Started(found, is_new=False)
    kind, parsed = _checked_params(scope, slug, raw)
    _check_waiting_room(scope)
    report = Report(
        id=str(uuid.uuid4()),
        task=kind.slug,
        company_id=scope.company_id,
        user_id=scope.user_id,
        label=kind.describe(parsed.public)[:200],
        params=parsed.public,
        size=kind.size(parsed.params),
        sealed=job_service.sealed(parsed.secrets),
        idempotency_key=idempotency_key,
        body_fingerprint=body if idempotency_key else None,
    )
    jobs.add(report, enqueue=enqueue)
    try:
        db.session.flush()
        db.session.add(ReportEntry(report_id=report.id, words=words_of(kind, report)))
        along(report)
        db.session.commit()
    except IntegrityError:
        # The same key twice at the same moment: the other request made the report.
        db.session.rollback()
        if idempotency_key and (found := _made_before(scope, idempotency_key, body)):
            return Started(found, is_new=False)
        raise
    log.info("report %s was asked for", report.id, extra={"kind": kind.slug})
    return Started(report, is_new=True)


def words_of(kind: ReportKind, report: Report, name: str = "", tags: Sequence[str] = ()) -> str:
    """Return the words that a report is found by."""
    asked = (param_text(value) for value in report.params.values() if value)
    return " ".join([kind.title, report.label, name, *asked, tag_words(tags)]).casefold()


def name_report(scope: Scope, report_id: str, name: str, tags: Sequence[str]) -> None:
    """Give a report a name and tags of its company's own; both may be empty. Not committed."""
    report, kind = _find_own(scope, report_id, "Naming")
    tags = list(dict.fromkeys(tags))
    errors = {}
    if len(name) > LONGEST_NAME:
        errors["name"] = f"Use at most {LONGEST_NAME} characters."
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        errors["tags"] = f"Use at most {MOST_TAGS} tags of at most {LONGEST_TAG} characters."
    if errors:
        raise InvalidParams(errors)
    entry = db.session.get(ReportEntry, report.id) or ReportEntry(report_id=report.id)
    entry.name, entry.tags, entry.words = name, tags, words_of(kind, report, name, tags)
    db.session.add(entry)


def mark_report(scope: Scope, report_id: str) -> bool:
    """Make a report a favourite of the caller, or none any more; return which. Not committed."""
    report = find_report(scope, report_id)
    found = db.session.get(Favourite, (scope.user_id, report.id))
    if found:
        db.session.delete(found)
    else:
        db.session.add(Favourite(user_id=scope.user_id, report_id=report.id))
    return found is None


def _check_waiting_room(scope: Scope) -> None:
    """Raise TooManyWaiting where as many reports of the company wait as may."""
    most = current_app.config["COMPANY_WAITING_MOST"]
    if jobs.waiting_of(scope.company_id) >= most:
        raise TooManyWaiting(
            f"{most:,} reports of this company are waiting, which is the limit. "
            "Ask again when some of them are done, or cancel some.",
            retry_after_s=60,
        )


def _made_before(scope: Scope, key: str, body: str) -> Report | None:
    if len(key) > 255 or not storable(key):
        raise InvalidParams({"Idempotency-Key": "Use at most 255 characters, all of them text."})
    report = db.session.scalar(
        select(Report).where(
            Report.user_id == scope.user_id,
            Report.company_id == scope.company_id,
            Report.idempotency_key == key,
        )
    )
    if report and report.body_fingerprint != body:
        raise InvalidParams(
            {"Idempotency-Key": "This key was used with another body; send a new key."}
        )
    return report


def estimate_report(scope: Scope, slug: Any, raw: Mapping[str, Any]) -> Estimate:
    """Return what a report with these parameters would cost, without making it."""
    kind, parsed = _checked_params(scope, slug, raw)
    months = MonthStore(
        db.engine, scope.company_id, kind.slug, current_app.config["MONTHS_KEPT_DAYS"]
    )
    # The kind may ask a partner, who takes its time; no database connection waits with it.
    db.session.commit()
    return kind.estimate(parsed.params, scope, context(), months, parsed.secrets)


def audited(report: Report) -> str:
    """Return what the audit log calls a report; of what is its maker's alone it says the kind."""
    label = "" if kinds()[report.kind].personal else report.label
    return " ".join(filter(None, (report.kind, label, report.id)))


def find_report(scope: Scope, report_id: str) -> Report:
    """Return a report the caller may read; any other is as unknown as none."""
    query = select(Report).where(Report.id == str(report_id), readable(scope))
    report = db.session.scalar(query)
    if report is None:
        raise NotFound("There is no such report.")
    return report


def _find_own(scope: Scope, report_id: str, doing: str) -> tuple[Report, ReportKind]:
    """Return a report and its kind; NotAllowed for who may not make such reports."""
    report = find_report(scope, report_id)
    kind = kinds()[report.kind]
    if not scope.may(kind.run_role):
        raise NotAllowed(f"{doing} a report needs the right to make one.")
    return report, kind


def cancel_report(scope: Scope, report_id: str) -> Report:
    """End a queued or running report now; the worker's process is stopped, its writes refused."""
    report, _ = _find_own(scope, report_id, "Cancelling")
    jobs.cancel(report.id)
    return report


def delete_report(scope: Scope, report_id: str) -> str:
    """Delete a finished report with its lines and rows; return what the audit log calls it."""
    report, kind = _find_own(scope, report_id, "Deleting")
    called = audited(report)
    if not jobs.delete(report.id):
        raise Conflict("The report is still being made; cancel it first.")
    kind.on_report_deleted(str(report_id))
    return called


@person_erasing.connect
def forget_personal_reports(_sender: object, *, user: User) -> None:
    """Delete the reports that nobody but this user may find. Commits."""
    personal = [slug for slug, kind in kinds().items() if kind.personal]
    forget_reports((Report.user_id == user.id) & Report.task.in_(personal))


def forget_reports(wanted: ColumnElement[bool]) -> None:
    """Delete reports, cancelled first where they are being made. Commits."""
    for report_id, slug in db.session.execute(select(Report.id, Report.task).where(wanted)).all():
        with suppress(Conflict):
            jobs.cancel(report_id)
        jobs.delete(report_id)
        kinds()[slug].on_report_deleted(report_id)


def retry_report(scope: Scope, report_id: str, raw: Mapping[str, Any]) -> Report:
    """Start an incomplete or failed report again; what it found out already is not asked again.

    raw: the secrets, which were erased when the report ended, unless a stored connection has them;
         another way in; or all that the report was asked with, once more
    """
    report = find_report(scope, report_id)
    kind = kinds()[report.kind]
    if report.status not in {INCOMPLETE, FAILED}:
        raise Conflict(
            f"Only an incomplete or failed report can be retried; it is {report.status}."
        )
    _check_waiting_room(scope)
    _, parsed = _checked_params(scope, report.kind, retried_params(kind, report.params, raw))
    jobs.start_again(report, parsed.secrets)
    report.params = parsed.public
    db.session.commit()
    return report


def run_here(
    scope: Scope,
    slug: str,
    raw: Mapping[str, Any],
    on_event: Callable[[jobs.Event], None] = lambda _: None,
) -> Report:
    """Make a report and run it in this process, for the command line; return it ended.

    on_event: called with every line as it is stored; another thread reads them from the database
    """
    report = start_report(scope, slug, raw, enqueue=False).report
    app = this_app()

    def follow() -> None:
        with app.app_context():
            for event in jobs.Listening(report.id):
                if event is not None:
                    on_event(event)

    report_id = report.id
    follower = threading.Thread(target=follow, name="follower", daemon=True)
    follower.start()
    try:
        jobs.run_queued(report_id)
    except ReportError as error:
        log.debug("report %s failed: %s", report_id, type(error).__name__)
    except KeyboardInterrupt:
        cancel_report(scope, report_id)
        raise
    follower.join(timeout=10)
    db.session.expire_all()
    return find_report(scope, report_id)
