"""What the templates of one report are handed. Rights are decided here, not in templates."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from flask import current_app
from redis.exceptions import RedisError
from sqlalchemy import select
from werkzeug.datastructures import MultiDict

from webapp import jobs
from webapp.accounts import Scope, User
from webapp.engine import registry
from webapp.engine.charts import chart_data
from webapp.engine.kind import ReportKind
from webapp.engine.listing import entries_of, favourites_of
from webapp.engine.models import FAILED, INCOMPLETE, QUEUED, RUNNING, Report
from webapp.engine.params import FormField, form_fields
from webapp.engine.results import ReadResult
from webapp.extensions import db, quick_redis
from webapp.jobs import StatusLine
from webapp.lib.moments import utcnow
from webapp.reports.filters import seconds_since
from webapp.reports.grids import read_grids

LINES_SHOWN = 200
LINES_AT_MOST = 20_000
# A worker takes a report within milliseconds; only one that waits longer is worth a word.
PATIENCE = timedelta(seconds=3)
TELLS_AFTER_S = 5.0


def report_view(
    report: Report, scope: Scope, *, all_lines: bool = False, is_refused: bool = False
) -> dict[str, Any]:
    """Return what the loader and the head of a result show; `is_refused`: a retry just was."""
    kind = registry.kinds()[report.kind]
    may_run = scope.may(kind.run_role)
    lines = last_lines(report.id, LINES_AT_MOST if all_lines else LINES_SHOWN)
    return {
        "report": report,
        "kind": kind,
        "asked_by": emails_of([report.requested_by]).get(report.requested_by, ""),
        "lines": lines,
        "hidden_lines": lines[0].seq - 1 if lines else 0,
        "last_seq": lines[-1].seq if lines else 0,
        "streaming": bool(current_app.config["STREAMING"]),
        "may_run": may_run,
        "may_retry": may_run and report.status in {FAILED, INCOMPLETE},
        "retry_fields": _retry_fields(kind, report, scope, is_refused),
        "asked": asked_with(kind, report, scope),
        **naming(report, scope),
        **meters(report),
    }


def asked_with(kind: ReportKind, report: Report, scope: Scope) -> list[tuple[str, Any]]:
    """Return what a report was asked with, by the labels of its form and the names of choices."""
    fields = {one.name: one for one in form_fields(kind, scope)}
    found = []
    for name, value in report.params.items():
        field = fields.get(name)
        label = field.label if field else name.replace("_", " ").capitalize()
        choices = dict(field.choices) if field else {}
        found.append((label, choices.get(value, value) if isinstance(value, str) else value))
    return found


def naming(report: Report, scope: Scope) -> dict[str, Any]:
    """Return what a report is called, as the form that changes it shows it."""
    entry = entries_of([report]).get(report.id)
    return {
        "entry": entry,
        "naming": {"name": entry.name, "tags": ", ".join(entry.tags)} if entry else {},
        "naming_errors": {},
        "is_favourite": bool(favourites_of(scope, [report])),
    }


def meters(report: Report) -> dict[str, Any]:
    """Return what changes while a report is made."""
    is_queued = report.status == QUEUED
    elapsed_s = seconds_since(
        report.queued_at if is_queued else report.started_at, report.finished_at
    )
    return {
        "report": report,
        "asks_partner": registry.kinds()[report.kind].asks_partner,
        "elapsed_s": elapsed_s,
        "left_s": _left_s(report, elapsed_s),
        "place": jobs.place_of(report) if is_queued else 0,
        "tab_word": {QUEUED: "waiting", RUNNING: f"{report.permille // 10} %"}.get(report.status),
        "waits_for_worker": _waits_for_worker(report),
    }


def _waits_for_worker(report: Report) -> bool:
    """Say whether the report waits although nobody is there to take it."""
    live_workers = current_app.extensions.get("live_workers")
    if report.status != QUEUED or live_workers is None or utcnow() - report.queued_at < PATIENCE:
        return False
    try:
        return not live_workers(quick_redis(), current_app.config["QUEUE"])
    except RedisError:
        # With Redis away nobody takes reports either.
        return True


def _left_s(report: Report, elapsed_s: float) -> float | None:
    """Return about how long it still takes, once there is enough to tell by."""
    # After a lost worker the bar goes on from where it was, and the clock from zero.
    can_tell = report.status == RUNNING and not report.lost and report.permille >= 30
    if not can_tell or elapsed_s < TELLS_AFTER_S:
        return None
    return elapsed_s * (1000 - report.permille) / report.permille


def emails_of(user_ids: Iterable[str]) -> dict[str, str]:
    """Return the email addresses of users by their id, in one query."""
    ids = set(user_ids)
    users = db.session.scalars(select(User).where(User.id.in_(ids))) if ids else ()
    return {user.id: user.shown_email for user in users}


def last_lines(report_id: str, limit: int) -> list[StatusLine]:
    """Return the last status lines of a report, oldest first."""
    query = select(StatusLine).where(StatusLine.job_id == report_id)
    newest = db.session.scalars(query.order_by(StatusLine.seq.desc()).limit(limit))
    return list(newest)[::-1]


def _retry_fields(
    kind: ReportKind, report: Report, scope: Scope, is_refused: bool
) -> list[FormField]:
    """Return the fields a retry needs: the secrets, unless what is stored is a whole way in.

    Where that was refused, all ways in are shown.
    """
    needed = kind.retry_params if is_refused else kind.secret_params
    if not is_refused and any(way <= set(report.params) for way in kind.credential_options):
        return []
    return [one for one in form_fields(kind, scope) if one.name in needed]


def result_view(report: Report, path: str, args: MultiDict[str, str]) -> dict[str, Any]:
    """Return what a finished report shows beside its head."""
    kind = registry.kinds()[report.kind]
    result = ReadResult(report)
    charts = chart_data(kind, result)
    return {
        "answer": kind.answer(result),
        "downloads": kind.downloads(report.id, result.head),
        "charts": charts,
        "charted": {chart["table"] for chart in charts},
        "grids": read_grids(kind, result, path, args),
        "further_sheets": [(sheet.name, sheet.title) for sheet in kind.sheets(result)[1:]],
    }
