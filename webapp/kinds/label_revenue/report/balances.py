"""What each label is paid, and what is carried forward to the next month.

A label below its minimum is not paid: what it is owed is its opening balance of the next month.
Balances are by currency, exact in minor units, and follow from the months before. A locked month
keeps the balances it was locked with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.label_revenue.models import MinimumPayout
from webapp.kinds.label_revenue.periods import amount_text, digits, locked_periods, months_due
from webapp.kinds.label_revenue.report.payouts import MonthPayout, Payer

Minimum = Callable[[str, str], int]


class Balance(NamedTuple):
    """One label's month in one currency, minor units: what it began, earned and ended with."""

    label: str
    currency: str
    opening: int
    earned: int
    adjustments: int
    paid: int
    closing: int


def balances_of(payer: Payer, month: date) -> list[Balance]:
    """Return the balances of a month, by label and currency; empty where nothing is owed."""
    locked = {period.month: period for period in locked_periods(payer.company_id)}
    minimum = minimum_of(payer.company_id)
    found: list[Balance] = []
    last = month
    for due in [one for one in months_due(payer.company_id) if one <= month]:
        kept = (locked[due].locked or {}).get(payer.method, {}) if due in locked else {}
        if "balances" in kept:
            found = [Balance(*one) for one in kept["balances"]]
        else:
            found = next_balances(found, payer.month(due), minimum)
        last = due
    if found and last < month:
        owed = (one for one in found if one.closing)
        found = [one._replace(opening=one.closing, earned=0, adjustments=0, paid=0) for one in owed]
    return found


def next_balances(before: Iterable[Balance], month: MonthPayout, minimum: Minimum) -> list[Balance]:
    """Return the balances of a month that follows others.

    A label is paid all it is owed where that reaches its minimum; otherwise nothing.
    """
    opening = {(one.label, one.currency): one.closing for one in before if one.closing}
    earned: dict[tuple[str, str], int] = {}
    adjusted: dict[tuple[str, str], int] = {}
    for line in month.payout.lines:
        if line.key.owned:
            earned[line.key.name, month.currency] = line.minor
    for due in (*month.adjustments, *month.foreign):
        if due.key.owned:
            key = due.key.name, due.currency
            adjusted[key] = adjusted.get(key, 0) + due.minor
    found = []
    for label, currency in sorted(opening.keys() | earned.keys() | adjusted.keys()):
        key = label, currency
        parts = opening.get(key, 0), earned.get(key, 0), adjusted.get(key, 0)
        owed = sum(parts)
        paid = owed if owed > 0 and owed >= minimum(label, currency) else 0
        found.append(Balance(label, currency, *parts, paid, owed - paid))
    return found


def balance_row(one: Balance) -> dict[str, str]:
    """Return a balance as text, each amount with its currency's digits."""
    names = ("opening", "earned", "adjustments", "paid", "closing")
    amounts = {name: amount_text(getattr(one, name), one.currency) for name in names}
    return {"label": one.label, "currency": one.currency, **amounts}


def totals_of(found: Iterable[Balance]) -> dict[str, Balance]:
    """Return the sums over all labels, by currency."""
    sums: dict[str, Balance] = {}
    for one in found:
        before = sums.get(one.currency, Balance("Total", one.currency, 0, 0, 0, 0, 0))
        figures = (a + b for a, b in zip(before[2:], one[2:], strict=True))
        sums[one.currency] = Balance("Total", one.currency, *figures)
    return sums


# Minimum payouts


def minimums(company_id: str) -> Mapping[str, str]:
    """Return the minimum payouts that hold now, by label; the company's under an empty name."""
    query = select(MinimumPayout).where(MinimumPayout.company_id == company_id)
    rows = db.session.scalars(query.order_by(MinimumPayout.no))
    return {row.label: row.amount for row in rows}


def minimum_of(company_id: str) -> Minimum:
    """Return what says from which amount (minor units) on a label is paid in a currency."""
    amounts = minimums(company_id)

    def minimum(label: str, currency: str) -> int:
        amount = Decimal(amounts.get(label) or amounts.get("") or 0)
        return int((amount * 10 ** digits(currency)).to_integral_value())

    return minimum
