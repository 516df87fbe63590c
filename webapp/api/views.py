"""`/api/v1/reports`, `/api/v1/months` and `/api/v1/kinds`: thin views over the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, current_app, jsonify, request, url_for

from webapp.accounts import audit, current_scope, restrict
from webapp.api.requests import (
    last_event_id,
    month_argument,
    report_body,
    result_format,
    retry_body,
    wants_events,
    whole_number,
)
from webapp.engine import jobs, months, progress
from webapp.engine.download import result_response
from webapp.engine.listing import list_reports
from webapp.engine.models import STATUSES, Report
from webapp.engine.params import json_schema
from webapp.errors import InvalidParams, NotAllowed, Unavailable
from webapp.extensions import db

bp = Blueprint("api", __name__, url_prefix="/api/v1")
restrict(bp)


def report_json(report: Report) -> dict[str, Any]:
    """Return a report as the contract shows it; params never hold a secret."""
    here = url_for("api.show_report", report_id=report.id)
    return {
        "id": report.id,
        "kind": report.kind,
        "status": report.status,
        "params": report.params,
        "progress": {"done": report.done, "total": report.total},
        "company": report.company_id,
        "requested_by": report.requested_by,
        "created_at": instant(report.created_at),
        "started_at": instant(report.started_at),
        "finished_at": instant(report.finished_at),
        "error": report.error,
        "links": {
            "self": here,
            "events": url_for("api.report_events", report_id=report.id),
            "result": url_for("api.report_result", report_id=report.id),
        },
    }


def instant(moment: Any) -> str | None:
    """Return a moment as RFC 3339 UTC with milliseconds and Z."""
    if moment is None:
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


@bp.post("/reports")
def create_report() -> Response:
    """Make a report; with Accept: text/event-stream follow it to its end."""
    scope = current_scope()
    slug, params = report_body()
    key = request.headers.get("Idempotency-Key")
    if key is not None and not key.strip():
        raise InvalidParams({"Idempotency-Key": "The key is empty; send a new random text."})
    started = jobs.start_report(scope, slug, params, idempotency_key=key)
    report = started.report
    if started.is_new:
        audit(scope, "ran", f"{report.kind} {report.id}")
        db.session.commit()
    response = _followed(report) if wants_events() else None
    if response is None:
        response = jsonify(report_json(report))
        response.status_code = 202
        response.headers["Retry-After"] = "1"
    response.headers["Location"] = url_for("api.show_report", report_id=report.id)
    return response


def _followed(report: Report) -> Response | None:
    """Return the stream of a report just made; None where no more streams fit."""
    try:
        return event_stream(report.id, 0)
    except Unavailable:
        return None


@bp.get("/reports")
def index_reports() -> Response:
    """List the company's reports, newest first."""
    scope = current_scope()
    kind, status = request.args.get("kind") or None, request.args.get("status") or None
    if kind is not None:
        jobs.kind_named(kind)
    if status is not None and status not in STATUSES:
        raise InvalidParams({"status": f"Choose one of {', '.join(STATUSES)}."})
    limit = whole_number("limit", 20, 1, 100)
    cursor = request.args.get("cursor") or None
    page = list_reports(scope, kind=kind, status=status, limit=limit, cursor=cursor)
    response = jsonify([report_json(report) for report in page.reports])
    if page.next_cursor:
        following: dict[str, Any] = {"kind": kind, "status": status, "limit": limit}
        following["cursor"] = page.next_cursor
        given = {name: value for name, value in following.items() if value is not None}
        response.headers["Link"] = f'<{url_for("api.index_reports", **given)}>; rel="next"'
    return _tagged(response)


def _tagged(response: Response) -> Response:
    """Return an answer with an ETag of what it holds; 304 for whoever has it already."""
    response.add_etag()
    response.make_conditional(request)
    return response


@bp.get("/reports/<uuid:report_id>")
def show_report(report_id: UUID) -> Response:
    """Return one report."""
    scope = current_scope()
    return _tagged(jsonify(report_json(jobs.find_report(scope, str(report_id)))))


@bp.get("/reports/<uuid:report_id>/events")
def report_events(report_id: UUID) -> Response:
    """Stream every line from the first, or after the last one heard, then live ones, then the end.

    204 for a reader that has heard the end: browsers come back until they are told so.
    """
    report = jobs.find_report(current_scope(), str(report_id))
    after, has_heard_end = last_event_id()
    if has_heard_end and not report.is_active:
        return Response(status=204)
    return event_stream(report.id, after)


def event_stream(report_id: str, after: int) -> Response:
    """Return the stream of a report's events; it holds no database connection while it waits."""
    events = progress.listen(report_id, after, gone=progress.reader_gone(request.environ))
    db.session.remove()

    def body() -> Iterator[str]:
        for event in events:
            yield ": still here\n\n" if event is None else str(event)

    response = Response(body(), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(events.close)
    return response


@bp.get("/reports/<uuid:report_id>/result")
def report_result(report_id: UUID) -> Response:
    """Return the result as JSON, CSV or XLSX; 409 while there is none."""
    scope = current_scope()
    fmt = result_format()
    report = jobs.find_report(scope, str(report_id))
    raw = request.args.get("raw") == "1"
    response = result_response(
        report, fmt, by=request.args.get("by"), raw=raw, attach=fmt != "json"
    )
    if response.status_code == 200 and request.method == "GET":
        audit(scope, "downloaded", f"{report.kind} {report.id} {fmt}")
        db.session.commit()
        # The commit made the report stale, and the file is written after this request's session.
        db.session.refresh(report)
    response.vary.add("Accept")
    return response


@bp.delete("/reports/<uuid:report_id>")
def delete_report(report_id: UUID) -> Response:
    """Cancel a queued or running report (202), delete a finished one (204)."""
    scope = current_scope()
    report = jobs.find_report(scope, str(report_id))
    if report.is_active:
        report = jobs.cancel_report(scope, report.id)
        audit(scope, "cancelled", f"{report.kind} {report.id}")
        db.session.commit()
        response = jsonify(report_json(report))
        response.status_code = 202
        return response
    jobs.delete_report(scope, report.id)
    audit(scope, "deleted", f"report {report_id}")
    db.session.commit()
    return Response(status=204)


@bp.post("/reports/<uuid:report_id>/retry")
def retry_report(report_id: UUID) -> Response:
    """Try again only what failed; the body may carry a way in: secrets were erased at the end."""
    scope = current_scope()
    slug, params = retry_body()
    report = jobs.find_report(scope, str(report_id))
    if slug is not None and slug != report.kind:
        raise InvalidParams({"kind": f"This report is of the kind {report.kind}."})
    report = jobs.retry_report(scope, report.id, params)
    audit(scope, "retried", f"{report.kind} {report.id}")
    db.session.commit()
    response = jsonify(report_json(report))
    response.status_code = 202
    response.headers["Location"] = url_for("api.show_report", report_id=report.id)
    return response


@bp.post("/reports/estimate")
def estimate_report() -> Response:
    """Say what a report would cost, without making it."""
    slug, params = report_body()
    estimate = jobs.estimate_report(current_scope(), slug, params)
    return jsonify(
        {
            "calls": estimate.calls,
            "saved": estimate.saved,
            "seconds": round(estimate.seconds, 1),
        }
    )


@bp.get("/kinds")
def index_kinds() -> Response:
    """List the kinds with their parameters as JSON Schema."""
    current_scope()
    return jsonify(
        [
            {
                "kind": kind.slug,
                "title": kind.title,
                "description": kind.description,
                "params": json_schema(kind),
            }
            for kind in current_app.extensions["report_kinds"].values()
        ]
    )


@bp.delete("/months")
def expire_months() -> Response:
    """Force stored months of the caller's company to expire."""
    scope = current_scope()
    if not scope.may("expert"):
        raise NotAllowed("Expiring stored months needs the role expert in this company.")
    known = {"kind", "subject", "from", "to"}
    if unknown := sorted(set(request.args) - known):
        raise InvalidParams(dict.fromkeys(unknown, "Use kind, subject, from and to only."))
    kind = request.args.get("kind") or None
    if kind is not None:
        jobs.kind_named(kind)
    start, end = month_argument("from"), month_argument("to")
    if start and end and end < start:
        raise InvalidParams({"to": "The last month is before the first one."})
    expired = months.expire(
        company_id=scope.company_id,
        kind=kind,
        subject=request.args.get("subject") or None,
        start=start,
        end=end,
    )
    audit(scope, "expired months", f"{expired}")
    db.session.commit()
    return jsonify({"expired": expired})
