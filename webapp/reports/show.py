"""`/reports/<id>`: the loader while a report is made, then its result; cancel, delete, retry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from flask import (
    Response,
    flash,
    make_response,
    render_template,
    request,
    url_for,
)
from werkzeug.datastructures import MultiDict

from webapp.accounts import audit, current_scope
from webapp.engine import registry, service
from webapp.engine.charts import chart_data, opened, row_chart
from webapp.engine.export import file_name, result_response
from webapp.engine.kind import ReportKind
from webapp.engine.models import FAILED, INCOMPLETE, Report
from webapp.engine.results import ReadResult, find_row
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.htmx import is_htmx, redirect_to, render, vary
from webapp.reports import filters
from webapp.reports.blueprint import bp
from webapp.reports.grids import Grid, grid_file, read_grids
from webapp.reports.view import report_view, result_view


@bp.get("/reports/<uuid:report_id>")
def show_report(report_id: UUID) -> Response:
    """Show the loader or the result; for HTMX the same without the page, or one grid alone."""
    table = request.args.get("grid", "")
    if not (is_htmx() and table):
        return _report_page(str(report_id))
    _, kind, result = _result_of(report_id)
    is_main = kind.tables(result.head)[0].name == table
    grid = _grid_of(kind, result, _with_other_grids(table, is_main), request.path, table)
    response = make_response(render_template("reports/_grid.html", grid=grid))
    response.headers["HX-Push-Url"] = grid.link()
    return vary(response)


def _report_page(
    report_id: str,
    *,
    errors: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
    status: int = 200,
    **more: Any,
) -> Response:
    scope = current_scope()
    report = service.find_report(scope, report_id)
    view = report_view(report, scope, all_lines="lines" in request.args, is_refused=bool(errors))
    if report.has_result:
        view |= result_view(report, request.path, request.args)
    return render(
        "reports/show_report.html",
        "reports/_loader.html",
        status=status,
        errors=errors or {},
        typed=typed or {},
        **view | more,
    )


def _result_of(report_id: object) -> tuple[Report, ReportKind, ReadResult]:
    report = service.find_report(current_scope(), str(report_id))
    return report, registry.kinds()[report.kind], ReadResult(report)


def _grid_of(
    kind: ReportKind, result: ReadResult, args: MultiDict[str, str], path: str, table: str
) -> Grid:
    grids = read_grids(kind, result, path, args, only=table)
    if not grids:
        raise NotFound("This result has no such table.")
    return grids[0]


def _with_other_grids(table: str, is_main: bool) -> MultiDict[str, str]:
    """Return the query, with what the page's address says of its other grids by now.

    A link of a grid was written when the page was; the others may have changed since.
    """
    present = urlsplit(request.headers.get("HX-Current-URL", ""))
    if present.path != request.path:
        return request.args

    def is_own(name: str) -> bool:
        return "." not in name if is_main else name.startswith(f"{table}.")

    own = [(name, value) for name, value in request.args.items(multi=True) if is_own(name)]
    others = [(name, value) for name, value in parse_qsl(present.query) if not is_own(name)]
    return MultiDict([*own, *others])


@bp.get("/reports/<uuid:report_id>/grid/<table>.csv")
def download_grid(report_id: UUID, table: str) -> Response:
    """Give a grid's rows as they are shown: filtered, sorted, the same columns, all pages."""
    report, kind, result = _result_of(report_id)
    here = url_for("reports.show_report", report_id=report.id)
    grid = _grid_of(kind, result, request.args, here, table)
    audit(current_scope(), "downloaded", f"{service.audited(report)} csv of {table}")
    db.session.commit()
    db.session.refresh(report)
    return grid_file(report, kind, result, grid)


@bp.get("/reports/<uuid:report_id>/charts/<table>.svg")
def download_chart(report_id: UUID, table: str) -> Response:
    """Give a chart as a picture; `?view=`: which of its views, counted from 0."""
    report, kind, result = _result_of(report_id)
    charts = {chart["table"]: chart for chart in chart_data(kind, result)}
    number = request.args.get("view", "0")
    view = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else 0
    if table not in charts or view >= len(charts[table]["views"]):
        raise NotFound("This result has no such chart.")
    picture = filters.picture(charts[table], view, alone=True)
    response = Response(picture, content_type="image/svg+xml; charset=utf-8")
    name = file_name(report, "svg", table)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


@bp.get("/reports/<uuid:report_id>/rows/<table>/<int:position>")
def show_row(report_id: UUID, table: str, position: int) -> Response:
    """Show what a row of a result opens to, such as a site's own months."""
    report, kind, result = _result_of(report_id)
    row = find_row(result, table, position) if position < 2**31 else None
    if row is None:
        raise NotFound("This result has no such row.")
    detail = kind.row_detail(table, row, result.head) or opened(kind, table, row, result)
    if detail is None:
        raise NotFound("This result has no such row.")
    page = render_template(
        "reports/show_row.html",
        report=report,
        kind=kind,
        detail=detail,
        problem=row.get("problem"),
        chart=row_chart(detail) if detail.chart else None,
    )
    return make_response(page)


@bp.get("/reports/<uuid:report_id>.<any(csv, json, xlsx, pdf):fmt>")
def download_report(report_id: UUID, fmt: str) -> Response:
    """Give the result as a file. `?by=`: a further sheet; `?bom=1`: for Excel; `?raw=1`: as is."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    by, asked = request.args.get("by") or None, request.args
    bom, raw = asked.get("bom") == "1", asked.get("raw") == "1"
    layout, value = asked.get("layout", ""), asked.get("value", "")
    response = result_response(report, fmt, by=by, layout=layout, value=value, bom=bom, raw=raw)
    if response.status_code == 200 and request.method == "GET":
        audit(scope, "downloaded", f"{service.audited(report)} {fmt}")
        db.session.commit()
        # The commit made the report stale, and the file is written after this request's session.
        db.session.refresh(report)
    return response


@bp.get("/reports/<uuid:report_id>/explain")
def explain_value(report_id: UUID) -> Response:
    """Say where a value of the result comes from; for HTMX without the page."""
    report, kind, result = _result_of(report_id)
    return render(
        "reports/explain_value.html",
        "reports/_explanation.html",
        explanation=kind.explain(result, request.args),
        report=report,
        kind=kind,
    )


@bp.post("/reports/<uuid:report_id>/cancel")
def cancel_report(report_id: UUID) -> Response:
    """Cancel a queued or running report."""
    scope = current_scope()
    report = service.cancel_report(scope, str(report_id))
    audit(scope, "cancelled", service.audited(report))
    db.session.commit()
    return redirect_to(url_for("reports.show_report", report_id=report.id))


@bp.post("/reports/<uuid:report_id>/delete")
def delete_report(report_id: UUID) -> Response:
    """Delete a finished report for good."""
    scope = current_scope()
    audit(scope, "deleted", service.delete_report(scope, str(report_id)))
    db.session.commit()
    flash("The report and its result are deleted.")
    return redirect_to(url_for("reports.index_reports"))


@bp.post("/reports/<uuid:report_id>/name")
def name_report(report_id: UUID) -> Response:
    """Give a report a name and tags, or take them away."""
    scope, form = current_scope(), request.form
    tags = [tag for tag in map(str.strip, form.get("tags", "").split(",")) if tag]
    try:
        service.name_report(scope, str(report_id), form.get("name", "").strip(), tags)
    except InvalidParams as error:
        return _report_page(str(report_id), status=422, naming=form, naming_errors=error.errors)
    db.session.commit()
    return redirect_to(url_for("reports.show_report", report_id=report_id))


@bp.post("/reports/<uuid:report_id>/retry")
def retry_report(report_id: UUID) -> Response:
    """Try again what failed; a way in goes along, because secrets were erased at the end."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    kind = registry.kinds()[report.kind]
    raw = {name: request.form[name] for name in kind.retry_params if request.form.get(name)}
    try:
        service.retry_report(scope, report.id, raw)
    except InvalidParams as error:
        if report.status not in {FAILED, INCOMPLETE}:
            raise
        typed = {name: value for name, value in raw.items() if name not in kind.secret_params}
        return _report_page(report.id, errors=error.errors, typed=typed, status=422)
    audit(scope, "retried", service.audited(report))
    db.session.commit()
    return redirect_to(url_for("reports.show_report", report_id=report.id))
