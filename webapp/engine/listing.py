"""The list of a company's reports, newest first, in pages that stay put while new reports arrive.

A page ends at a place, not at a number: the cursor names the last report shown, so a report made in
between neither repeats nor hides one.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import defer

from webapp.accounts import Scope
from webapp.engine.models import STATUSES, Report
from webapp.engine.registry import kinds, personal_kinds
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.keyset import cut, one_page, place, read_place

MAX_LIMIT = 100


@dataclass(frozen=True)
class Page:
    """Reports, newest first, and the cursor of the page after it, None at the end."""

    reports: list[Report]
    next_cursor: str | None


def list_reports(
    scope: Scope,
    *,
    kind: str | None = None,
    status: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page:
    """Return a page of the caller's company's reports, of personal kinds the caller's own.

    limit:  1 to 100
    Raises: InvalidParams for an unknown kind or status, a limit out of bounds, a broken cursor
    """
    errors = {}
    if kind and kind not in kinds():
        errors["kind"] = f"Choose one of {', '.join(kinds())}."
    if status and status not in STATUSES:
        errors["status"] = f"Choose one of {', '.join(STATUSES)}."
    if not 1 <= limit <= MAX_LIMIT:
        errors["limit"] = f"Write a number from 1 to {MAX_LIMIT}."
    if errors:
        raise InvalidParams(errors)
    # The head of a result may be large and no list shows it.
    query = select(Report).where(Report.company_id == scope.company_id).options(defer(Report.head))
    if hidden := personal_kinds():
        query = query.where(or_(Report.kind.not_in(hidden), Report.requested_by == scope.user_id))
    if kind:
        query = query.where(Report.kind == kind)
    if status:
        query = query.where(Report.status == status)
    after = read_place(cursor) if cursor else None
    query = one_page(query, (Report.created_at, Report.id), after, limit, newest_first=True)
    reports, more = cut(db.session.scalars(query).all(), limit)
    last = reports[-1] if more else None
    return Page(reports, place(last.created_at, last.id) if last else None)
