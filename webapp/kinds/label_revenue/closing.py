"""Closing months: a locked month stays as it is paid, by every method."""

from __future__ import annotations

from datetime import date
from typing import Any

from webapp.errors import Conflict
from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import accounting_period, unit_of_work
from webapp.kinds.label_revenue.models import AccountingPeriod
from webapp.kinds.label_revenue.periods import locked_periods, months_due
from webapp.kinds.label_revenue.report.compute import METHODS
from webapp.kinds.label_revenue.report.payouts import Payer, packed
from webapp.kinds.label_revenue.sums import process_pending
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_text


def lock_month(company_id: str, month: date, user_id: str) -> None:
    """Lock a closed month as it is paid now, by every method.

    Raises: Conflict for a month that is not over, or locked already, or without streams
    """
    if month >= current_month():
        raise Conflict(f"{month_text(month)} is not over yet; only closed months can be locked.")
    process_pending(company_id)
    with unit_of_work(company_id):
        period = accounting_period(company_id, month)
        if period is None:
            if month not in months_due(company_id):
                raise Conflict(f"There are no streams in {month_text(month)}.")
            period = AccountingPeriod(company_id=company_id, month=month, revision=0)
            db.session.add(period)
        if period.locked is not None:
            raise Conflict(f"{month_text(month)} is locked already.")
        paid: dict[str, Any] = {
            method: packed(Payer(company_id, method).month(month)) for method in METHODS
        }
        period.locked, period.locked_at, period.locked_by = paid, utcnow(), user_id
        period.changed = False


def unlock_month(company_id: str, month: date) -> None:
    """Open the newest locked month again: it was locked by mistake.

    Raises: Conflict for a month that is not locked, or where a later one is: that one may have paid
            adjustments of it
    """
    with unit_of_work(company_id) as work:
        period = accounting_period(company_id, month)
        if period is None or period.locked is None:
            raise Conflict(f"{month_text(month)} is not locked.")
        newest = locked_periods(company_id)[-1].month
        if newest > month:
            raise Conflict(f"{month_text(newest)} is locked, too; unlock that one first.")
        period.locked, period.locked_at, period.locked_by = None, None, None
        work.mark_changed([month])
