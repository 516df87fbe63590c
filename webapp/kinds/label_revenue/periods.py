"""Accounting periods: which months pay anything, which are locked, and what falls due where."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import months_with_streams
from webapp.kinds.label_revenue.models import AccountingPeriod
from webapp.lib.months import next_month


def locked_periods(company_id: str) -> list[AccountingPeriod]:
    """Return the locked accounting periods, oldest first."""
    query = select(AccountingPeriod).where(
        AccountingPeriod.company_id == company_id, AccountingPeriod.locked_at.is_not(None)
    )
    return list(db.session.scalars(query.order_by(AccountingPeriod.month)))


def first_open(month: date, locked: Collection[AccountingPeriod]) -> date:
    """Return the first open month after a locked one: there its adjustments fall due."""
    closed = {period.month for period in locked}
    after = next_month(month)
    while after in closed:
        after = next_month(after)
    return after


def months_due(company_id: str) -> list[date]:
    """Return the months that may pay anything, oldest first.

    They have streams, or are locked, or owe adjustments of a locked one that changed, also where
    nothing was streamed in them.
    """
    locked = locked_periods(company_id)
    adjusted = {first_open(period.month, locked) for period in locked if period.changed}
    due = {*months_with_streams(company_id), *(period.month for period in locked), *adjusted}
    return sorted(due)
