"""`/`: the company's reports, newest first, and a way to start each kind."""

from __future__ import annotations

from flask import Response, request

from webapp.accounts import current_scope
from webapp.engine import registry
from webapp.engine.listing import list_reports
from webapp.engine.models import STATUSES
from webapp.htmx import render
from webapp.reports.blueprint import bp
from webapp.reports.view import emails_of


@bp.get("/")
def index_reports() -> Response:
    """List reports, filtered by kind and status; the rows alone for HTMX."""
    scope = current_scope()
    # A choice no list offers counts as none: an old link still shows a list.
    kind, status = request.args.get("kind"), request.args.get("status")
    kind = kind if kind in registry.kinds() else None
    status = status if status in STATUSES else None
    cursor = request.args.get("cursor") or None
    page = list_reports(scope, kind=kind, status=status, cursor=cursor)
    return render(
        "reports/index_reports.html",
        "reports/_reports.html",
        listing=page,
        emails=emails_of(report.requested_by for report in page.reports),
        kinds=registry.kinds(),
        may_run={slug for slug, kind in registry.kinds().items() if scope.may(kind.run_role)},
        statuses=STATUSES,
        chosen={"kind": kind, "status": status, "cursor": cursor},
        is_new_here=not (page.reports or kind or status or cursor),
    )
