"""The export flow as its clients speak it: camelCase, bare arrays, 200 for a report that starts.

All of a report needs expert access to the company the token works in. A signed address of a file
is fetched without signing in; whether it is good is looked at when the transfer starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from flask import Blueprint, Response, request
from sqlalchemy import select
from sqlalchemy.orm import defer

from webapp.accounts import Scope, User, audit, current_scope, require, restrict, scope_of
from webapp.engine import service
from webapp.engine.models import ACTIVE, DONE, Report
from webapp.error_pages import envelope
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound, RunEnded
from webapp.extensions import db
from webapp.files import StoredFile, read_chunks
from webapp.kinds.inventory import files
from webapp.kinds.inventory.bodies import (
    Deleted,
    FileQuery,
    FlowPeriod,
    FlowReport,
    FlowUnit,
    NewFlowReport,
    State,
)
from webapp.kinds.inventory.files import MIME_TYPES
from webapp.kinds.inventory.params import MADE, TYPES
from webapp.kinds.inventory.places import find_period, find_unit, list_periods, read_tree
from webapp.kinds.inventory.signing import check_address, presigned_url
from webapp.lib.bodies import answer_json, read_json
from webapp.lib.model import LazyModel
from webapp.lib.openapi import Describer

SLUG = "inventory"
REPORTS = "/api/reports/v1/reports"

bp = Blueprint("inventory_flow", __name__)
files_bp = Blueprint("inventory_files", __name__)
restrict(bp)
describe = Describer("Inventory")


@bp.get("/api/reporting-periods/v1/reporting-periods", endpoint="list_periods")
@bp.get("/api/v1.0/reporting-periods", endpoint="list_periods_alias")
@describe("Reporting periods, newest first", answer=list[FlowPeriod])
def list_reporting_periods() -> Response:
    """Give the company's reporting periods, the newest first."""
    periods = list_periods(current_scope().company_id)
    return answer_json([FlowPeriod.model_validate(one) for one in periods])


@bp.get("/api/reporting-periods/v1/reporting-periods/<period_id>")
@describe("One reporting period", answer=FlowPeriod, errors=(404,))
def show_period(period_id: str) -> Response:
    """Give one reporting period."""
    period = find_period(current_scope().company_id, period_id)
    return answer_json(FlowPeriod.model_validate(period))


@bp.get("/api/organizational-units/v1/organizational-units")
@describe("Units, parents before children", answer=list[FlowUnit])
def list_units() -> Response:
    """Give the company's units, parents before children; the first is the root."""
    tree = read_tree(current_scope().company_id)
    return answer_json([FlowUnit.model_validate(unit) for unit, _ in tree.walk()])


@bp.get("/api/organizational-units/v1/organizational-units/<unit_id>")
@describe("One unit", answer=FlowUnit, errors=(404,))
def show_unit(unit_id: str) -> Response:
    """Give one unit."""
    return answer_json(FlowUnit.model_validate(find_unit(current_scope().company_id, unit_id)))


@bp.post(REPORTS)
@describe(
    "Start one report that makes every file",
    body=NewFlowReport,
    answer=FlowReport,
    errors=(404, 422),
)
@require("expert")
def create_report() -> Response:
    """Start one report that makes every file."""
    scope, body = current_scope(), read_json(NewFlowReport, strict=True)
    params = {
        "period": find_period(scope.company_id, body.reporting_period_id).id,
        "unit": find_unit(scope.company_id, body.organization_unit_id).id,
    }
    if body.base_reporting_period_id:
        params["base_period"] = find_period(scope.company_id, body.base_reporting_period_id).id
    if body.name and body.name.strip():
        params["name"] = body.name
    started = service.start_report(
        scope, SLUG, params, idempotency_key=request.headers.get("Idempotency-Key") or None
    )
    if started.is_new:
        audit(scope, "ran", service.audited(started.report))
        db.session.commit()
    return answer_json(_report_answer(started.report))


@bp.get(REPORTS)
@describe("Inventory reports, newest first", answer=list[FlowReport], errors=(403,))
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
    return answer_json(
        [_report_answer(one, ready.get((one.id, one.attempt), 0)) for one in reports]
    )


@bp.get(f"{REPORTS}/<report_id>")
@describe("One report, and how many of its files are ready", answer=FlowReport, errors=(403, 404))
@require("expert")
def show_report(report_id: str) -> Response:
    """Give one report: how many of its files are ready."""
    report = find_report(current_scope(), report_id)
    return answer_json(_report_answer(report))


@bp.delete(f"{REPORTS}/<report_id>")
@describe("Delete a report and its files", answer=Deleted, errors=(403, 404, 409))
@require("expert")
def delete_report(report_id: str) -> Response:
    """Delete a report and its files; one that still runs is cancelled first."""
    scope = current_scope()
    report = find_report(scope, report_id)
    report_id = report.id
    if report.is_active:
        try:
            service.cancel_report(scope, report_id)
        except (Conflict, RunEnded):
            # It ended by itself in this very moment, which is as good.
            db.session.rollback()
    audit(scope, "deleted", service.delete_report(scope, report_id))
    db.session.commit()
    return answer_json(Deleted(id=report_id, msg="The report and its files are deleted."))


def find_report(scope: Scope, report_id: str) -> Report:
    """Return an inventory report of the caller's company; all others are unknown."""
    try:
        report = service.find_report(scope, str(UUID(report_id)))
    except ValueError:
        raise NotFound("There is no such report.") from None
    if report.kind != SLUG:
        raise NotFound("There is no such report.")
    return report


def file_status(report: Report, ready: int) -> State:
    """Return where a report's files stand; those that are gone count as failed. Never null."""
    if report.status in ACTIVE:
        return "PROCESSING"
    return "DONE" if report.status == DONE and ready >= len(_types(report)) else "FAILED"


def _types(report: Report) -> Sequence[str]:
    return report.params.get("types") or TYPES


def _report_answer(report: Report, ready: int | None = None) -> FlowReport:
    if ready is None:
        ready = len(files.files_of(report.id, report.attempt))
    status = file_status(report, ready)
    return FlowReport(
        id=report.id,
        name=report.params.get("name", ""),
        created_on=f"{report.created_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        report_status=status,
        report_file_status=status,
        done_report_files=min(ready, len(_types(report))),
        count_report_files=len(_types(report)),
    )


class SignedUrl(LazyModel):
    """An address good for five minutes."""

    url: str


@bp.get(f"{REPORTS}/<report_id>/presigned-url")
@describe(
    "An address of one file, good for five minutes",
    query=FileQuery,
    answer=SignedUrl,
    errors=(403, 404, 409, 422),
)
@require("expert")
def show_presigned_url(report_id: str) -> Response:
    """Give an address of one file, good for five minutes without signing in."""
    scope = current_scope()
    report = find_report(scope, report_id)
    report_type = request.args.get("reportType", "")
    if MADE.get(report_type) != request.args.get("fileType"):
        pairs = ", ".join(f"{kind} as {format}" for kind, format in MADE.items())
        name = "fileType" if report_type in MADE else "reportType"
        raise InvalidParams(
            {name: f"Choose one of these pairs of reportType and fileType: {pairs}."}
        )
    if report_type not in _types(report):
        made = ", ".join(_types(report))
        raise InvalidParams({"reportType": f"This report was made with {made} only."})
    found = files.files_of(report.id, report.attempt)
    status = file_status(report, len(found))
    if status != "DONE":
        raise Conflict(
            "The files are still being made."
            if status == "PROCESSING"
            else "The report has no files: it failed, was cancelled, or they have expired."
        )
    response = answer_json(SignedUrl(url=presigned_url(found[report_type].id, scope.user_id)))
    response.headers["Cache-Control"] = "no-store"
    return response


# Who fetches a file reads no envelope.
envelope(
    files_bp.name,
    lambda problem: Response(f"{problem.detail}\n", problem.status, mimetype="text/plain"),
)


@files_bp.get("/inventory/files/<uuid:file_id>")
def fetch_file(file_id: UUID) -> Response:
    """Give a file to whoever holds a good address of it."""
    wanted = str(file_id)
    user_id = check_address(wanted, request.args.get("token", ""))
    file = db.session.get(StoredFile, wanted)
    if file is None or file.ready_at is None:
        raise NotFound("The file is gone. Make the report again.")
    user = db.session.get(User, user_id)
    scope = scope_of(user, file.company_id) if user and user.is_active else None
    if scope is None or not scope.may("expert"):
        raise NotAllowed("The access this address was made with was withdrawn.")
    return send_file(file, scope)


def send_file(file: StoredFile, scope: Scope) -> Response:
    """Return a file as a download, a chunk at a time, and note who took it."""
    file_id, size_bytes, name, sha256 = file.id, file.size_bytes, file.name, file.sha256
    mime_type = MIME_TYPES[file.format]
    chunks: Iterable[bytes] = ()
    if request.method == "GET":
        what = f"{SLUG} {file.report_id} {file.kind}"
        chunks = read_chunks(file_id, db.engine)
        audit(scope, "downloaded", what)
        db.session.commit()
    response = Response(chunks, mimetype=mime_type)
    response.headers["Content-Length"] = str(size_bytes)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    response.headers["Cache-Control"] = "private, no-store"
    response.set_etag(sha256)
    return response
