"""The export flow as its clients speak it: camelCase, bare arrays, 200 for a report that starts.

All of a report needs expert access to the company the token works in. A signed address of a file
is fetched without signing in; whether it is good is looked at when the transfer starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import select
from sqlalchemy.orm import defer

from webapp.accounts import Scope, User, audit, current_scope, require, restrict, scope_of
from webapp.engine import jobs
from webapp.engine.models import ACTIVE, DONE, Report
from webapp.error_pages import Problem, envelope
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound, RunEnded, Unreadable
from webapp.extensions import db
from webapp.json_wire import json_body
from webapp.kinds.inventory import files
from webapp.kinds.inventory.files import MADE, MIME_TYPES
from webapp.kinds.inventory.models import File, Period, Unit
from webapp.kinds.inventory.params import TYPES
from webapp.kinds.inventory.places import find_period, find_unit, list_periods, read_tree
from webapp.kinds.inventory.signing import presigned_url, problem_with
from webapp.lib.texts import storable

SLUG = "inventory"
JSON_VERSION = 1
REPORTS = "/api/reports/v1/reports"
# Clients know these too; asking for one starts all that are made.
REPORT_TYPES = (*TYPES, "CARBON_ALT_DELETE")
PROCESSING, FINISHED, FAILED = "PROCESSING", "DONE", "FAILED"

bp = Blueprint("inventory_flow", __name__)
files_bp = Blueprint("inventory_files", __name__)
restrict(bp)


@bp.get("/api/reporting-periods/v1/reporting-periods", endpoint="list_periods")
@bp.get("/api/v1.0/reporting-periods", endpoint="list_periods_alias")
def list_reporting_periods() -> Response:
    """Give the company's reporting periods, the newest first."""
    return jsonify([period_json(one) for one in list_periods(current_scope().company_id)])


@bp.get("/api/reporting-periods/v1/reporting-periods/<period_id>")
def show_period(period_id: str) -> Response:
    """Give one reporting period."""
    return jsonify(period_json(find_period(current_scope().company_id, period_id)))


@bp.get("/api/organizational-units/v1/organizational-units")
def list_units() -> Response:
    """Give the company's units, parents before children; the first is the root."""
    tree = read_tree(current_scope().company_id)
    ids = {unit.key: unit.id for unit in tree.by_key.values()}
    return jsonify([unit_json(unit, ids.get(unit.parent_key or 0)) for unit, _ in tree.walk()])


@bp.get("/api/organizational-units/v1/organizational-units/<unit_id>")
def show_unit(unit_id: str) -> Response:
    """Give one unit."""
    unit = find_unit(current_scope().company_id, unit_id)
    parent = db.session.get(Unit, unit.parent_key) if unit.parent_key else None
    return jsonify(unit_json(unit, parent.id if parent else None))


def period_json(period: Period) -> dict[str, Any]:
    """Return a period as clients read it."""
    return {
        "id": period.id,
        "shortName": period.short_name,
        "description": period.description,
        "startDate": period.start_date.isoformat(),
        "endDate": period.end_date.isoformat(),
        "isLocked": period.is_locked,
    }


def unit_json(unit: Unit, parent_id: str | None) -> dict[str, Any]:
    """Return a unit as clients read it."""
    return {"id": unit.id, "name": unit.name, "position": unit.position, "parentId": parent_id}


@bp.post(REPORTS)
@require("expert")
def create_report() -> Response:
    """Start one report that makes every file."""
    scope, body = current_scope(), _body()
    problems = {}
    name = body.get("name")
    if name is not None and (not isinstance(name, str) or len(name) > 200 or not storable(name)):
        problems["name"] = "Write a text of at most 200 characters."
    wanted = body.get("reportType")
    if wanted is not None and wanted not in REPORT_TYPES:
        problems["reportType"] = f"Choose one of {', '.join(REPORT_TYPES)}."
    if body.get("reportingPeriodId") in (None, ""):
        problems["reportingPeriodId"] = "This is missing."
    if body.get("organizationUnitId") in (None, ""):
        problems["organizationUnitId"] = "This is missing."
    if problems:
        raise InvalidParams(problems)
    params = {
        "period": find_period(scope.company_id, body["reportingPeriodId"]).id,
        "unit": find_unit(scope.company_id, body["organizationUnitId"]).id,
    }
    if body.get("baseReportingPeriodId"):
        params["base_period"] = find_period(scope.company_id, body["baseReportingPeriodId"]).id
    if isinstance(name, str) and name.strip():
        params["name"] = name
    started = jobs.start_report(
        scope, SLUG, params, idempotency_key=request.headers.get("Idempotency-Key") or None
    )
    if started.is_new:
        audit(scope, "ran", f"{SLUG} {started.report.id}")
        db.session.commit()
    return jsonify(report_json(started.report, _ready(started.report)))


def _body() -> dict[str, Any]:
    body = json_body()
    if not isinstance(body, dict):
        raise Unreadable("Send the body as a JSON object.")
    return body


@bp.get(REPORTS)
@require("expert")
def list_reports() -> Response:
    """Give the company's inventory reports, the newest first."""
    query = (
        select(Report)
        .options(defer(Report.head), defer(Report.sealed))
        .where(Report.company_id == current_scope().company_id, Report.kind == SLUG)
        .order_by(Report.created_at.desc(), Report.id)
    )
    reports = list(db.session.scalars(query))
    ready = files.ready_counts(report.id for report in reports)
    return jsonify(
        [report_json(report, ready.get((report.id, report.attempt), 0)) for report in reports]
    )


@bp.get(f"{REPORTS}/<report_id>")
@require("expert")
def show_report(report_id: str) -> Response:
    """Give one report: how many of its files are ready."""
    report = find_report(current_scope(), report_id)
    return jsonify(report_json(report, _ready(report)))


@bp.delete(f"{REPORTS}/<report_id>")
@require("expert")
def delete_report(report_id: str) -> Response:
    """Delete a report and its files; one that still runs is cancelled first."""
    scope = current_scope()
    report = find_report(scope, report_id)
    report_id = report.id
    if report.is_active:
        try:
            jobs.cancel_report(scope, report_id)
        except (Conflict, RunEnded):
            # It ended by itself in this very moment, which is as good.
            db.session.rollback()
    jobs.delete_report(scope, report_id)
    audit(scope, "deleted", f"{SLUG} {report_id}")
    db.session.commit()
    return jsonify(id=report_id, msg="The report and its files are deleted.")


def find_report(scope: Scope, report_id: str) -> Report:
    """Return an inventory report of the caller's company; all others are unknown."""
    try:
        report = jobs.find_report(scope, str(UUID(report_id)))
    except ValueError:
        raise NotFound("There is no such report.") from None
    if report.kind != SLUG:
        raise NotFound("There is no such report.")
    return report


def _ready(report: Report) -> int:
    return len(files.files_of(report.id, report.attempt))


def file_status(report: Report, ready: int) -> str:
    """Return where a report's files stand; those that are gone count as failed. Never null."""
    if report.status in ACTIVE:
        return PROCESSING
    return FINISHED if report.status == DONE and ready >= _count(report) else FAILED


def _count(report: Report) -> int:
    return len(report.params.get("types") or TYPES)


def report_json(report: Report, ready: int) -> dict[str, Any]:
    """Return a report as clients read it."""
    status = file_status(report, ready)
    return {
        "id": report.id,
        "name": report.params.get("name", ""),
        "jsonVersion": JSON_VERSION,
        "createdOn": f"{report.created_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "reportStatus": status,
        "reportFileStatus": status,
        "doneReportFiles": min(ready, _count(report)),
        "countReportFiles": _count(report),
    }


@bp.get(f"{REPORTS}/<report_id>/presigned-url")
@require("expert")
def show_presigned_url(report_id: str) -> Response:
    """Give an address of one file, good for five minutes without signing in."""
    scope = current_scope()
    report = find_report(scope, report_id)
    report_type = _pair()
    if report_type not in (report.params.get("types") or TYPES):
        made = ", ".join(report.params["types"])
        raise InvalidParams({"reportType": f"This report was made with {made} only."})
    found = files.files_of(report.id, report.attempt)
    status = file_status(report, len(found))
    if status != FINISHED:
        raise Conflict(
            "The files are still being made."
            if status == PROCESSING
            else "The report has no files: it failed, was cancelled, or they have expired."
        )
    response = jsonify(url=presigned_url(found[report_type].id, scope.user_id))
    response.headers["Cache-Control"] = "no-store"
    return response


def _pair() -> str:
    """Return the report type asked for; raises InvalidParams with the pairs that are made."""
    report_type = request.args.get("reportType", "")
    if MADE.get(report_type) != request.args.get("fileType"):
        pairs = ", ".join(f"{kind} as {format}" for kind, format in MADE.items())
        sentence = f"Choose one of these pairs of reportType and fileType: {pairs}."
        name = "fileType" if report_type in MADE else "reportType"
        raise InvalidParams({name: sentence})
    return report_type


def as_text(problem: Problem) -> Response:
    """Return a problem as a short text: who fetches a file reads no envelope."""
    return Response(f"{problem.detail}\n", problem.status, mimetype="text/plain")


envelope(files_bp.name, as_text)


@files_bp.get("/inventory/files/<uuid:file_id>")
def fetch_file(file_id: UUID) -> Response:
    """Give a file to whoever holds a good address of it."""
    wanted = str(file_id)
    problem = problem_with(wanted, request.args)
    if problem:
        raise NotAllowed(problem)
    file = db.session.get(File, wanted)
    if file is None or file.ready_at is None:
        raise NotFound("The file is gone. Make the report again.")
    user = db.session.get(User, request.args["user"])
    scope = scope_of(user, file.company_id) if user and user.is_active else None
    if scope is None or not scope.may("expert"):
        raise NotAllowed("The access this address was made with was withdrawn.")
    return send_file(file, scope)


def send_file(file: File, scope: Scope) -> Response:
    """Return a file as a download, a chunk at a time, and note who took it."""
    file_id, size_bytes, name, sha256 = file.id, file.size_bytes, file.name, file.sha256
    mime_type = MIME_TYPES[file.format]
    chunks: Iterable[bytes] = ()
    if request.method == "GET":
        what = f"{SLUG} {file.report_id} {file.kind}"
        chunks = files.read_chunks(file_id, db.engine)
        audit(scope, "downloaded", what)
        db.session.commit()
    response = Response(chunks, mimetype=mime_type)
    response.headers["Content-Length"] = str(size_bytes)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    response.headers["Cache-Control"] = "private, no-store"
    response.set_etag(sha256)
    return response
