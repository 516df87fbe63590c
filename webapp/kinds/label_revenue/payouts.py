"""What a month pays out: computed live, taken from the store, or as it was locked.

A locked month stays as it was paid. What changes in it later becomes adjustment lines of the first
open month after it, label by label, so that both months together still add up to the cent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from flask import current_app

from webapp.engine.kind import MonthStore
from webapp.engine.months import CompanyMonths
from webapp.errors import Conflict, ReportError
from webapp.extensions import db
from webapp.kinds.label_revenue import locks, sums
from webapp.kinds.label_revenue.books import (
    SLUG,
    month_mark,
    settings_for,
    writing,
)
from webapp.kinds.label_revenue.compute import (
    METHODS,
    Key,
    Method,
    Payout,
    listener_payout,
    pool_payout,
)
from webapp.kinds.label_revenue.facts import MonthFacts
from webapp.kinds.label_revenue.models import MonthMark
from webapp.kinds.label_revenue.month_payout import Adjustment, MonthPayout, packed, unpacked
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_text

LOOKS = 3


@dataclass
class Payer:
    """Answers what months pay, for one company and method; reads each month once."""

    company_id: str
    method: Method
    store: MonthStore | None = None
    refresh: bool = False
    _live: dict[date, MonthPayout] = field(default_factory=dict)

    def month(self, month: date) -> MonthPayout:
        """Return a month as it is paid: locked, or live with the adjustments that fall due."""
        mark = month_mark(self.company_id, month)
        if mark is not None and mark.locked is not None:
            return unpacked(month, self.method, mark.locked[self.method], locked=True)
        live = self.live(month)
        due = tuple(self._due(month))
        # A month that pays nothing of its own has no currency of its own either.
        currency = due[0].currency if due and not live.payout.lines else live.currency
        return replace(live, currency=currency).with_due(due)

    def live(self, month: date) -> MonthPayout:
        """Return what the streams of a month say now, locked or not."""
        if month not in self._live:
            self._live[month] = self._stored(month) or self._computed(month)
        return self._live[month]

    def _computed(self, month: date) -> MonthPayout:
        """Compute a month; if it changed meanwhile, look again."""
        for _ in range(LOOKS):
            revision, counted_at = _revision(self.company_id, month), utcnow()
            found = compute_month(self.company_id, month, self.method)
            if _revision(self.company_id, month) == revision:
                if self.store is not None:
                    value = packed(found) | {"revision": revision}
                    self.store.save(self.method, [("payout", month, value, counted_at)])
                return found
        raise ReportError(
            f"The streams of {month_text(month)} keep changing; try again in a moment.",
            permanent=False,
        )

    def _stored(self, month: date) -> MonthPayout | None:
        if self.store is None or self.refresh:
            return None
        kept = self.store.fresh(self.method, ["payout"], month, month).get(("payout", month))
        if kept is None or kept.value.get("revision") != _revision(self.company_id, month):
            return None
        return unpacked(month, self.method, kept.value, from_store=True)

    def _due(self, month: date) -> Iterable[Adjustment]:
        """Yield the adjustments that fall due in an open month: of the locked ones before it."""
        locked = locks.locked_months(self.company_id)
        for mark in locked:
            if mark.changed and locks.first_open(mark.month, locked) == month:
                yield from self._adjustments(mark, locked)

    def _adjustments(self, mark: MonthMark, locked: list[MonthMark]) -> Iterable[Adjustment]:
        now = self.live(mark.month)
        paid = _paid(mark, locked, self.method)
        owed = {line.key: line.minor for line in now.payout.lines}
        for key in sorted(owed.keys() | paid.keys(), key=lambda key: (not key.owned, key.name)):
            if minor := owed.get(key, 0) - paid.get(key, 0):
                yield Adjustment(mark.month, key, minor, now.currency)


def _paid(mark: MonthMark, locked: list[MonthMark], method: Method) -> dict[Key, int]:
    """Return what was paid for a locked month: in it, and as adjustments in later locked ones."""
    paid: dict[Key, int] = {}
    first = unpacked(mark.month, method, (mark.locked or {})[method])
    for line in first.payout.lines:
        paid[line.key] = paid.get(line.key, 0) + line.minor
    for other in locked:
        later = unpacked(other.month, method, (other.locked or {})[method])
        for one in (*later.adjustments, *later.foreign):
            if one.about == mark.month:
                paid[one.key] = paid.get(one.key, 0) + one.minor
    return paid


def compute_month(company_id: str, month: date, method: Method) -> MonthPayout:
    """Return what a month pays, from sums and terms alone: no stream is read.

    A month without any stream is not accounted: nobody pays in it.
    """
    settings = settings_for(company_id, month)
    facts = MonthFacts(company_id, month, settings)
    if not facts.any_streams():
        return MonthPayout(month, method, settings.currency, Payout((), 0))
    total, idle = facts.net_totals()
    if method == "pool":
        payout = pool_payout(total, facts.seconds())
    else:
        payout = listener_payout(total, idle, facts.pairs, facts.unknown_seconds())
    return MonthPayout(month, method, settings.currency, payout)


def payer(
    company_id: str, method: Method, store: MonthStore | None = None, *, refresh: bool = False
) -> Payer:
    """Return who answers for a company, after its waiting batches have been added up."""
    sums.settle(company_id)
    return Payer(company_id, method, store or company_store(company_id), refresh)


def company_store(company_id: str) -> CompanyMonths:
    """Return the stored months of this kind, outside of a report's run."""
    kept_days = current_app.config["MONTHS_KEPT_DAYS"]
    return CompanyMonths(db.engine, company_id, SLUG, kept_days)


# Locking


def lock_month(company_id: str, month: date, user_id: str) -> None:
    """Lock a closed month as it is paid now, by every method.

    Raises: Conflict for a month that is not over, or locked already, or without streams
    """
    if month >= current_month():
        raise Conflict(f"{month_text(month)} is not over yet; only closed months can be locked.")
    sums.settle(company_id)
    with writing(company_id):
        mark = month_mark(company_id, month)
        if mark is None:
            if month not in locks.months_due(company_id):
                raise Conflict(f"There are no streams in {month_text(month)}.")
            mark = MonthMark(company_id=company_id, month=month, revision=0)
            db.session.add(mark)
        if mark.locked is not None:
            raise Conflict(f"{month_text(month)} is locked already.")
        paid: dict[str, Any] = {
            method: packed(Payer(company_id, method).month(month)) for method in METHODS
        }
        mark.locked, mark.locked_at, mark.locked_by = paid, utcnow(), user_id
        mark.changed = False


def unlock_month(company_id: str, month: date) -> None:
    """Open the newest locked month again: it was locked by mistake.

    Raises: Conflict for a month that is not locked, or where a later one is: that one may have paid
            adjustments of it
    """
    with writing(company_id) as writer:
        mark = month_mark(company_id, month)
        if mark is None or mark.locked is None:
            raise Conflict(f"{month_text(month)} is not locked.")
        newest = locks.locked_months(company_id)[-1].month
        if newest > month:
            raise Conflict(f"{month_text(newest)} is locked, too; unlock that one first.")
        mark.locked, mark.locked_at, mark.locked_by = None, None, None
        writer.touch([month])


def _revision(company_id: str, month: date) -> int:
    mark = month_mark(company_id, month)
    return mark.revision if mark else 0
