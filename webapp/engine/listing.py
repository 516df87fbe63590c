"""The list of a company's reports, newest first, in pages that stay put while new reports arrive.

A page ends at a place, not at a number: the cursor names the last report shown, so a report made in
between neither repeats nor hides one.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import defer

from webapp.accounts import Scope
from webapp.engine.models import STATUSES, Report
from webapp.engine.registry import kinds, personal_kinds
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.keyset import cut, one_page

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
    _check(kind, status, limit)
    # The head of a result may be large and no list shows it.
    query = select(Report).where(Report.company_id == scope.company_id).options(defer(Report.head))
    if hidden := personal_kinds():
        query = query.where(or_(Report.kind.not_in(hidden), Report.requested_by == scope.user_id))
    if kind:
        query = query.where(Report.kind == kind)
    if status:
        query = query.where(Report.status == status)
    after = _place(cursor) if cursor else None
    query = one_page(query, (Report.created_at, Report.id), after, limit, newest_first=True)
    reports, more = cut(db.session.scalars(query).all(), limit)
    return Page(reports, cursor_after(reports[-1]) if more else None)


def _check(kind: str | None, status: str | None, limit: int) -> None:
    errors = {}
    if kind and kind not in kinds():
        errors["kind"] = f"Choose one of {', '.join(kinds())}."
    if status and status not in STATUSES:
        errors["status"] = f"Choose one of {', '.join(STATUSES)}."
    if not 1 <= limit <= MAX_LIMIT:
        errors["limit"] = f"Write a number from 1 to {MAX_LIMIT}."
    if errors:
        raise InvalidParams(errors)


def cursor_after(report: Report) -> str:
    """Return the opaque text that names the place right after a report."""
    place = f"{report.created_at.astimezone(UTC).isoformat()} {report.id}"
    return base64.urlsafe_b64encode(place.encode("ascii")).decode("ascii").rstrip("=")


def _place(cursor: str) -> tuple[datetime, str]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        moment, _, report_id = base64.urlsafe_b64decode(padded).decode("ascii").partition(" ")
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError("a time without a zone")
        return at.astimezone(UTC), str(UUID(report_id))
    except (ValueError, binascii.Error, OverflowError):
        raise InvalidParams(
            {"cursor": "This is not a place in the list; take the cursor from a page of it."}
        ) from None
