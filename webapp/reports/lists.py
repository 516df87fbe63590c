"""`/`: what runs, what ended lately, what needs a hand, and all reports, found by words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from flask import Response, flash, make_response, render_template, request, url_for
from sqlalchemy import select

from webapp.accounts import Membership, Scope, User, audit, current_scope
from webapp.engine import registry, service
from webapp.engine.listing import (
    Wanted,
    count_by_kind_and_status,
    count_reports,
    entries_of,
    favourites_of,
    list_reports,
)
from webapp.engine.models import DONE, FAILED, INCOMPLETE, QUEUED, RUNNING, STATUSES, Report
from webapp.errors import Conflict, NotAllowed, NotFound
from webapp.extensions import db
from webapp.htmx import redirect_to, render, vary
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_id, made_storable
from webapp.reports.blueprint import bp
from webapp.reports.view import emails_of

LATELY = timedelta(days=14)
LONGEST_SEARCH = 200


@dataclass(frozen=True)
class ListSearch:
    """What the address asks of the list; a choice no list offers counts as none."""

    wanted: Wanted
    oldest_first: bool
    cursor: str | None

    @classmethod
    def read(cls) -> ListSearch:
        """Return the search of this request's address."""
        args = request.args
        wanted: Wanted = {
            "kind": _one_of("kind", registry.kinds()),
            "status": _one_of("status", STATUSES),
            "words": made_storable(args.get("q", ""))[:LONGEST_SEARCH].strip(),
            "person": as_id(args.get("person")),
            "tag": made_storable(args.get("tag", ""))[:LONGEST_SEARCH] or None,
            "since": day_asked("since"),
            "until": day_asked("until"),
            "favourites": "favourites" in args,
        }
        return cls(wanted, args.get("order") == "oldest", args.get("cursor") or None)

    @property
    def is_plain(self) -> bool:
        return not (any(self.wanted.values()) or self.oldest_first or self.cursor)

    def link(self, **changes: Any) -> str:
        """Return the address of the same list with some of it changed, from its first page on."""
        query = {**request.args.to_dict(), "cursor": None, **changes}
        return url_for(
            "reports.index_reports", **{name: value for name, value in query.items() if value}
        )


def _one_of(name: str, known: Iterable[str]) -> str | None:
    given = request.args.get(name)
    return given if given in set(known) else None


def day_asked(name: str) -> date | None:
    """Return a day of the address, None where it says none."""
    try:
        return date.fromisoformat(request.args.get(name, ""))
    except ValueError:
        return None


@bp.get("/")
def index_reports() -> Response:
    """Show where things stand and list reports; for HTMX only where things stand."""
    scope, search = current_scope(), ListSearch.read()
    listing = list_reports(
        scope, cursor=search.cursor, oldest_first=search.oldest_first, **search.wanted
    )
    now = _now(scope) if search.is_plain else {}
    shown = [*listing.reports, *(report for group in now.values() for report in group)]
    by_kind, by_status = count_by_kind_and_status(scope)
    people = db.session.scalars(
        select(User).join(Membership).where(Membership.company_id == scope.company_id)
    )
    return render(
        "reports/index_reports.html",
        "reports/_now.html",
        now=now,
        search=search,
        wanted=search.wanted,
        listing=listing,
        matching=None if search.is_plain else count_reports(scope, **search.wanted),
        by_kind=by_kind,
        by_status=by_status,
        people=sorted((user.shown_email, user.id) for user in people),
        statuses=STATUSES,
        is_new_here=not by_status.total(),
        **rows_view(scope, shown),
    )


def _now(scope: Scope) -> dict[str, list[Report]]:
    """Return what runs or waits, what needs a hand, and what is done, of the last days."""
    since = utcnow().date() - LATELY
    ended = list_reports(scope, status=DONE, since=since, limit=6).reports
    return {
        "active": list_reports(scope, status=(QUEUED, RUNNING), since=since, limit=12).reports,
        "open": list_reports(scope, status=(FAILED, INCOMPLETE), since=since, limit=6).reports,
        "done": sorted(ended, key=lambda report: report.finished_at or report.created_at)[::-1],
    }


def rows_view(scope: Scope, reports: list[Report]) -> dict[str, Any]:
    """Return what rows of a list show beside the reports themselves."""
    return {
        "kinds": registry.kinds(),
        "may_run": {slug for slug, kind in registry.kinds().items() if scope.may(kind.run_role)},
        "emails": emails_of(report.requested_by for report in reports),
        "entries": entries_of(reports),
        "favourites": favourites_of(scope, reports),
    }


@bp.get("/reports/<uuid:report_id>/row")
def show_report_row(report_id: UUID) -> Response:
    """Show a report's row of the list, which follows it while it is made."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    row = render_template("reports/_row.html", report=report, **rows_view(scope, [report]))
    return vary(make_response(row))


@bp.post("/reports/delete")
def delete_reports() -> Response:
    """Delete the chosen reports for good; those that are still made, or not one's own, stay."""
    scope, gone, kept = current_scope(), 0, 0
    for report_id in filter(None, map(as_id, request.form.getlist("report")[:100])):
        try:
            called = service.delete_report(scope, report_id)
        except (Conflict, NotAllowed, NotFound):
            kept += 1
            continue
        gone += 1
        audit(scope, "deleted", called)
    db.session.commit()
    words = f"{gone:,} report{' is' if gone == 1 else 's are'} deleted."
    flash(words + (f" {kept:,} could not be: still running, or not yours." if kept else ""))
    return redirect_to(url_for("reports.index_reports"))


@bp.post("/reports/<uuid:report_id>/favourite")
def mark_report(report_id: UUID) -> Response:
    """Mark a report as a favourite of one's own, or take the mark away."""
    is_marked = service.mark_report(current_scope(), str(report_id))
    db.session.commit()
    flash("Marked as a favourite." if is_marked else "No favourite any more.")
    return redirect_to(url_for("reports.show_report", report_id=report_id))


@bp.get("/kinds/<slug>")
def show_kind(slug: str) -> Response:
    """Show the place of a kind: what it is for, its pages, and its latest reports."""
    scope, kind = current_scope(), registry.kinds().get(slug)
    if kind is None:
        raise NotFound("There is no such kind of report.")
    listing = list_reports(scope, kind=slug, limit=10)
    body = render_template(
        "reports/show_kind.html",
        kind=kind,
        listing=listing,
        **rows_view(scope, listing.reports),
    )
    return make_response(body)
