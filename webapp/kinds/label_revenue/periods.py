"""Accounting periods: which months pay anything, which are locked, and what falls due where."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import first_month_not_in, months_with_streams
from webapp.kinds.label_revenue.models import AccountingPeriod, PeriodEvent


def locked_periods(company_id: str) -> list[AccountingPeriod]:
    """Return the locked accounting periods, oldest first."""
    query = select(AccountingPeriod).where(
        AccountingPeriod.company_id == company_id, AccountingPeriod.locked_at.is_not(None)
    )
    return list(db.session.scalars(query.order_by(AccountingPeriod.month)))


def first_open(month: date, locked: Collection[AccountingPeriod]) -> date:
    """Return the first open month after a locked one: there its adjustments fall due."""
    return first_month_not_in({period.month for period in locked}, month)


def events_of(company_id: str, month: date) -> list[PeriodEvent]:
    """Return what happened to a month, oldest first."""
    query = select(PeriodEvent).where(
        PeriodEvent.company_id == company_id, PeriodEvent.month == month
    )
    return list(db.session.scalars(query.order_by(PeriodEvent.id)))


def causes_of(company_id: str, month: date) -> list[PeriodEvent]:
    """Return why a locked month changed since it was locked, oldest first."""
    found: list[PeriodEvent] = []
    for event in events_of(company_id, month):
        if event.state == "locked":
            found = []
        elif event.state == "changed":
            found.append(event)
    return found


def months_due(company_id: str) -> list[date]:
    """Return the months that may pay anything, oldest first.

    They have streams, or are locked, or owe adjustments of a locked one that changed, also where
    nothing was streamed in them.
    """
    locked = locked_periods(company_id)
    adjusted = {first_open(period.month, locked) for period in locked if period.changed}
    due = {*months_with_streams(company_id), *(period.month for period in locked), *adjusted}
    return sorted(due)


def states_of(company_id: str) -> dict[date, str]:
    """Return the state of each month that ever had one."""
    query = select(AccountingPeriod.month, AccountingPeriod.state)
    rows = db.session.execute(query.where(AccountingPeriod.company_id == company_id))
    return {row.month: row.state for row in rows}
