"""The life of a month: open, calculated, approved, locked, paid; each step with who and when.

A locked month stays as it is paid, by every method. What changes before that opens it again; what
changes later is paid as an adjustment of the first month that is not locked.
"""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Any

from sqlalchemy import func, select

from webapp.accounts import Membership, Scope
from webapp.errors import Conflict, InvalidParams
from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import (
    UnitOfWork,
    accounting_period,
    add_event,
    unit_of_work,
)
from webapp.kinds.label_revenue.models import AccountingPeriod
from webapp.kinds.label_revenue.periods import events_of, locked_periods, months_due
from webapp.kinds.label_revenue.report.balances import balances_of
from webapp.kinds.label_revenue.report.compute import METHODS
from webapp.kinds.label_revenue.report.payouts import Payer, packed
from webapp.kinds.label_revenue.sums import process_pending
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_text

STATES = ("open", "calculated", "approved", "locked", "paid")


def state_after(state: str) -> str | None:
    """Return the state that follows, None after the last."""
    return dict(pairwise(STATES)).get(state)


def advance(company_id: str, month: date, state: str, by: Scope) -> None:
    """Take a month one step on, into a state.

    Raises: Conflict for a month that is not over, has nothing to pay, or is in another state, and
            where somebody else has to approve
    """
    if month >= current_month():
        raise Conflict(f"{month_text(month)} is not over yet; only closed months are accounted.")
    process_pending(company_id)
    with unit_of_work(company_id, by) as work:
        period = _period(company_id, month)
        if state_after(period.state) != state:
            ready = STATES.index(period.state) >= STATES.index(state)
            sentence = f"is {period.state} already" if ready else f"is {period.state} still"
            raise Conflict(f"{month_text(month)} {sentence}; it cannot become {state} now.")
        if state == "approved":
            _check_second_person(company_id, month, by.user_id)
        if state == "locked":
            _keep_figures(period, by.user_id)
        period.state = state
        _write_down(work, month, state, f"{state} month", "")


def step_back(company_id: str, month: date, reason: str, by: Scope) -> str:
    """Take a month one step back and return the state it is in now.

    Raises: InvalidParams without a reason, Conflict for an open month, and for a locked one where
            a later month is locked: that one may have paid adjustments of it
    """
    if not reason.strip():
        raise InvalidParams({"reason": "Say why; it is written down."})
    with unit_of_work(company_id, by) as work:
        period = accounting_period(company_id, month)
        if period is None or period.state == "open":
            raise Conflict(f"{month_text(month)} is open already.")
        if period.state == "locked":
            newest = locked_periods(company_id)[-1].month
            if newest > month:
                raise Conflict(f"{month_text(newest)} is locked, too; unlock that one first.")
            period.locked, period.locked_at, period.locked_by = None, None, None
        before, period.state = period.state, STATES[STATES.index(period.state) - 1]
        if before == "locked" and period.changed:
            # What was approved is not what would be paid now.
            period.state = "open"
        _write_down(work, month, period.state, f"took {before} month back", reason.strip())
        return period.state


def _period(company_id: str, month: date) -> AccountingPeriod:
    found = accounting_period(company_id, month)
    if found is None:
        if month not in months_due(company_id):
            raise Conflict(f"There are no streams in {month_text(month)}.")
        found = AccountingPeriod(company_id=company_id, month=month, revision=0, state="open")
        db.session.add(found)
    return found


def _check_second_person(company_id: str, month: date, user_id: str) -> None:
    """Refuse who calculated the month, where the company has another admin to approve it."""
    admins = db.session.scalar(
        select(func.count()).where(Membership.company_id == company_id, Membership.role == "admin")
    )
    calculated = [one for one in events_of(company_id, month) if one.state == "calculated"]
    if (admins or 0) > 1 and calculated and calculated[-1].user_id == user_id:
        raise Conflict("Another admin than who calculated the month has to approve it.")


def _keep_figures(period: AccountingPeriod, user_id: str) -> None:
    paid: dict[str, Any] = {}
    for method in METHODS:
        payer = Payer(period.company_id, method)
        kept = [list(one) for one in balances_of(payer, period.month)]
        paid[method] = packed(payer.month(period.month)) | {"balances": kept}
    period.locked, period.locked_at, period.locked_by = paid, utcnow(), user_id
    period.changed = False


def _write_down(work: UnitOfWork, month: date, state: str, action: str, reason: str) -> None:
    add_event(work, month, state, reason)
    subject = f"label-revenue {month_text(month)}"
    work.record(action, f"{subject}: {reason}" if reason else subject)
