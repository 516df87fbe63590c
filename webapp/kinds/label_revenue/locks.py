"""Which months are locked, which month pays what changed in them, and which months pay anything."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.label_revenue.books import months_with_streams
from webapp.kinds.label_revenue.models import MonthMark
from webapp.lib.months import next_month


def locked_months(company_id: str) -> list[MonthMark]:
    """Return the marks of locked months, oldest first."""
    query = select(MonthMark).where(
        MonthMark.company_id == company_id, MonthMark.locked_at.is_not(None)
    )
    return list(db.session.scalars(query.order_by(MonthMark.month)))


def first_open(month: date, locked: Collection[MonthMark]) -> date:
    """Return the first open month after a locked one: there its adjustments fall due."""
    closed = {mark.month for mark in locked}
    after = next_month(month)
    while after in closed:
        after = next_month(after)
    return after


def months_due(company_id: str) -> list[date]:
    """Return the months that may pay anything, oldest first.

    They have streams, or are locked, or owe adjustments of a locked one that changed, also where
    nothing was streamed in them.
    """
    locked = locked_months(company_id)
    adjusted = {first_open(mark.month, locked) for mark in locked if mark.changed}
    return sorted({*months_with_streams(company_id), *(mark.month for mark in locked), *adjusted})
