"""`/reports/<id>/links`: links to a result for people without an account, and `/shared/<token>`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import (
    Blueprint,
    Response,
    current_app,
    make_response,
    render_template,
    request,
    url_for,
)
from itsdangerous import BadData, URLSafeTimedSerializer

from webapp.accounts import current_scope
from webapp.accounts.limits import count_try, count_wrong, forget_tries
from webapp.accounts.passwords import password_matches
from webapp.engine import registry, service, shares
from webapp.engine.charts import chart_data
from webapp.engine.models import Report
from webapp.engine.results import ReadResult
from webapp.engine.shares import NewShare, ShareLink
from webapp.errors import InvalidParams, NotFound, TooMany
from webapp.extensions import db
from webapp.htmx import is_htmx, redirect_to, vary
from webapp.lib.bodies import read_value
from webapp.reports.blueprint import bp
from webapp.reports.grids import Grid, grid_file, read_grids
from webapp.reports.view import emails_of
from webapp.security import signing_keys

# Readers have no account; the token says what they may see.
shared = Blueprint("shared", __name__)

COOKIE = "shared"
READS_FOR_S = 12 * 3600
DAYS = (("1", "a day"), ("7", "a week"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))


@bp.get("/reports/<uuid:report_id>/links")
def index_links(report_id: UUID) -> Response:
    """List the links of a report, with a form for a new one."""
    return _links_page(service.find_report(current_scope(), str(report_id)))


@bp.post("/reports/<uuid:report_id>/links")
def create_link(report_id: UUID) -> Response:
    """Make a link and show it, this once."""
    scope, form = current_scope(), request.form
    report = service.find_report(scope, str(report_id))
    try:
        body = {name: form[name] for name in ("days", "note", "password") if form.get(name)}
        wanted = read_value(NewShare, body)
        _, token = shares.make_share(scope, report, **wanted.model_dump())
    except InvalidParams as error:
        return _links_page(report, errors=error.errors, status=422)
    return _links_page(report, token=token, status=201)


@bp.post("/reports/<uuid:report_id>/links/<uuid:share_id>/revoke")
def revoke_link(report_id: UUID, share_id: UUID) -> Response:
    """End a link."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    shares.revoke_share(scope, report, str(share_id))
    return redirect_to(url_for("reports.index_links", report_id=report.id))


def _links_page(
    report: Report, *, token: str = "", errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    shares.check_may_share(current_scope(), report)
    links = shares.shares_of(report)
    page = render_template(
        "reports/index_links.html",
        report=report,
        kind=registry.kinds()[report.kind],
        links=links,
        made=shares.address_of(token) if token else "",
        days=DAYS,
        makers=emails_of(link.user_id for link in links),
        errors=errors or {},
        typed=request.form,
    )
    return make_response(page, status)


@shared.get("/shared/<token>")
def show_shared(token: str) -> Response:
    """Show the result behind a link, or ask for its password."""
    link, report = shares.find_share(token)
    if not _may_read(link):
        return _password_page(token)
    table = request.args.get("grid", "") if is_htmx() else ""
    grids, view = _view(report, only=table)
    if table:
        if not grids:
            raise NotFound("This result has no such table.")
        response = make_response(render_template("reports/_grid.html", grid=grids[0]))
        response.headers["HX-Push-Url"] = grids[0].link()
        return vary(response)
    shares.count_opening(link, report)
    db.session.refresh(report)
    page = render_template("reports/shared.html", report=report, link=link, grids=grids, **view)
    return _unlisted(make_response(page))


def _view(report: Report, only: str = "") -> tuple[list[Grid], dict[str, Any]]:
    kind, result = registry.kinds()[report.kind], ReadResult(report)
    tables = shares.shared_tables(kind, result.head)
    grids = read_grids(kind, result, request.path, request.args, only=only, shown=tables)
    if only:
        return grids, {}
    charts = chart_data(kind, result)
    return grids, {
        "kind": kind,
        "answer": kind.answer(result),
        "charts": charts,
        "charted": {chart["table"] for chart in charts},
        "downloads": (),
        "further_sheets": (),
        "may_retry": False,
        "is_shared": True,
    }


@shared.post("/shared/<token>")
def open_shared(token: str) -> Response:
    """Take the password of a link; tries are counted."""
    link, _ = shares.find_share(token)
    account = f"share link {link.id}"
    try:
        count_try(account)
    except TooMany as error:
        return _password_page(token, error.message, 429)
    if not password_matches(link.password_hash, request.form.get("password", "")):
        count_wrong(account)
        return _password_page(token, "This is not the password of this link.", 403)
    forget_tries(account)
    response = redirect_to(url_for("shared.show_shared", token=token))
    response.set_cookie(
        COOKIE,
        _signer().dumps(link.id),
        max_age=READS_FOR_S,
        path=url_for("shared.show_shared", token=token),
        httponly=True,
        samesite="Lax",
        secure=bool(current_app.config.get("COOKIE_SECURE")),
    )
    return response


@shared.get("/shared/<token>/grid/<table>.csv")
def download_shared(token: str, table: str) -> Response:
    """Give a grid's rows as they are shown there."""
    link, report = shares.find_share(token)
    if not _may_read(link):
        return _password_page(token)
    grids, _ = _view(report, only=table)
    if not grids:
        raise NotFound("This result has no such table.")
    kind, result = registry.kinds()[report.kind], ReadResult(report)
    shares.count_opening(link, report)
    db.session.refresh(report)
    return _unlisted(grid_file(report, kind, result, grids[0]))


def _may_read(link: ShareLink) -> bool:
    if link.password_hash is None:
        return True
    try:
        opened = _signer().loads(request.cookies.get(COOKIE, ""), max_age=READS_FOR_S)
    except (BadData, ValueError):
        return False
    return bool(opened == link.id)


def _password_page(token: str, problem: str = "", status: int = 403) -> Response:
    page = render_template("reports/shared_password.html", token=token, problem=problem)
    return _unlisted(make_response(page, status))


def _unlisted(response: Response) -> Response:
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(signing_keys("shared"))
