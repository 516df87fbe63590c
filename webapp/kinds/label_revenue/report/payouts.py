"""What a month pays out: computed live, taken from the store, or as it was locked.

A locked month stays as it was paid. What changes in it later becomes adjustment lines of the first
open month after it, label by label, so that both months together still add up to the cent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from flask import current_app

from webapp.engine.months import MonthStore
from webapp.errors import InvalidParams, ReportError
from webapp.extensions import db
from webapp.kinds.label_revenue.facts import MonthFacts
from webapp.kinds.label_revenue.ledger import SLUG, accounting_period
from webapp.kinds.label_revenue.models import AccountingPeriod
from webapp.kinds.label_revenue.periods import (
    DEFAULT_CURRENCY,
    amount_text,
    causes_of,
    first_open,
    locked_periods,
    settings_for,
)
from webapp.kinds.label_revenue.report.compute import (
    Key,
    Line,
    Method,
    Payout,
    in_order,
    listener_payout,
    pool_payout,
)
from webapp.kinds.label_revenue.sums import process_pending
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text, parse_month

LOOKS = 3
MOST_CAUSES = 3


@dataclass(frozen=True)
class Adjustment:
    """What a locked month would pay more (or less) to a line than it did, in its own currency.

    reason: what changed the month since it was locked
    """

    about: date
    key: Key
    minor: int
    currency: str
    reason: str = ""

    @property
    def amount(self) -> str:
        """Return the amount as text with its currency, such as `-0.35 EUR`."""
        return f"{amount_text(self.minor, self.currency)} {self.currency}"


@dataclass(frozen=True)
class MonthPayout:
    """A month as it is paid: its lines, the pool, adjustments of earlier months, and its state.

    foreign: adjustments of months in another currency; they stand beside the sums, never in them
    source:  the hash of what the lines were computed from
    """

    month: date
    method: Method
    currency: str
    payout: Payout
    adjustments: tuple[Adjustment, ...] = ()
    foreign: tuple[Adjustment, ...] = ()
    locked: bool = False
    from_store: bool = False
    source: str = ""

    @property
    def pays(self) -> bool:
        """Say whether there is any line; a month without streams has none."""
        return bool(self.payout.lines or self.adjustments)

    @property
    def origin(self) -> str:
        """Return the hash of all that is paid in it: the source, and adjustments with it."""
        due = [
            [month_text(one.about), *one.key, one.amount]
            for one in (*self.adjustments, *self.foreign)
        ]
        return digest([self.source, due]) if due else self.source

    def with_due(self, due: Iterable[Adjustment]) -> MonthPayout:
        """Return the month with adjustments, those in its own currency apart from others."""
        sides: tuple[list[Adjustment], list[Adjustment]] = ([], [])
        for one in due:
            sides[one.currency != self.currency].append(one)
        return replace(self, adjustments=tuple(sides[0]), foreign=tuple(sides[1]))

    def owed(self) -> Iterator[tuple[Key, int]]:
        """Yield who is owed how much (minor units of the currency): lines, then adjustments."""
        for line in self.payout.lines:
            yield line.key, line.minor
        for due in self.adjustments:
            yield due.key, due.minor


def foreign(found: Iterable[MonthPayout]) -> list[tuple[date, Adjustment]]:
    """Return the adjustments in another currency than their month's, with the month."""
    return [(one.month, due) for one in found for due in one.foreign]


def one_currency(found: Collection[MonthPayout]) -> str:
    """Return the currency of the months that pay anything; without any, of the last one asked for.

    Raises: InvalidParams where they differ, because amounts of different money do not add up
    """
    by_currency = {one.currency: one.month for one in found if one.pays}
    if len(by_currency) > 1:
        named = ", ".join(f"{name} ({month_text(m)})" for name, m in sorted(by_currency.items()))
        raise InvalidParams({"from": f"These months are in different currencies: {named}."})
    return next(reversed(by_currency or [one.currency for one in found]), DEFAULT_CURRENCY)


def totals(found: Iterable[MonthPayout]) -> tuple[dict[str, int], dict[str, int]]:
    """Return what months pay in all, adjustments with it: to labels, and to nobody by reason."""
    sides: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for one in found:
        for key, minor in one.owed():
            side = sides[0 if key.owned else 1]
            side[key.name] = side.get(key.name, 0) + minor
    return sides


def packed(found: MonthPayout) -> dict[str, Any]:
    """Return a month as JSON, for the store and for locks."""
    return {
        "currency": found.currency,
        "source": found.source,
        "pool": found.payout.pool_minor,
        "lines": [[*line.key, line.seconds, line.minor] for line in found.payout.lines],
        "adjustments": [
            [month_text(one.about), *one.key, one.minor, one.currency, one.reason]
            for one in (*found.adjustments, *found.foreign)
        ],
    }


def unpacked(month: date, method: Method, value: dict[str, Any]) -> MonthPayout:
    """Return a month from its JSON."""
    lines = tuple(Line(Key(*line[:2]), line[2], line[3]) for line in value["lines"])
    currency = value["currency"]
    due = tuple(
        # What was locked before adjustments had a currency is in the month's own.
        Adjustment(parse_month(about), Key(owned, name), minor, *(rest or [currency]))
        for about, owned, name, minor, *rest in value.get("adjustments", ())
    )
    payout = Payout(lines, value["pool"])
    # What was locked before sources were kept is its own; a month without streams has none.
    source = value["source"] if "source" in value else digest(value)
    return MonthPayout(month, method, currency, payout, source=source).with_due(due)


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
        period = accounting_period(self.company_id, month)
        if period is not None and period.locked is not None:
            found = unpacked(month, self.method, period.locked[self.method])
            return replace(found, locked=True)
        live, locked = self.live(month), locked_periods(self.company_id)
        # Of the locked months before it whose first open month this is.
        due = [
            one
            for period in locked
            if period.changed and first_open(period.month, locked) == month
            for one in self._adjustments(period, locked)
        ]
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
        )

    def _stored(self, month: date) -> MonthPayout | None:
        if self.store is None or self.refresh:
            return None
        kept = self.store.fresh(self.method, ["payout"], month, month).get(("payout", month))
        value = kept.value if kept else {}
        if "source" not in value or value["revision"] != _revision(self.company_id, month):
            return None
        return replace(unpacked(month, self.method, value), from_store=True)

    def _adjustments(
        self, period: AccountingPeriod, locked: list[AccountingPeriod]
    ) -> Iterable[Adjustment]:
        now, causes = self.live(period.month), causes_of(self.company_id, period.month)
        told = list(dict.fromkeys(one.reason for one in causes if one.reason))
        more = f" and {len(told) - MOST_CAUSES} more" if len(told) > MOST_CAUSES else ""
        reason = "; ".join(told[:MOST_CAUSES]) + more
        paid = _paid(period, locked, self.method)
        owed = {line.key: line.minor for line in now.payout.lines}
        for key in sorted(owed.keys() | paid.keys(), key=in_order):
            if minor := owed.get(key, 0) - paid.get(key, 0):
                yield Adjustment(period.month, key, minor, now.currency, reason)


def _paid(
    period: AccountingPeriod, locked: list[AccountingPeriod], method: Method
) -> dict[Key, int]:
    """Return what was paid for a locked month: in it, and as adjustments in later locked ones."""
    paid: dict[Key, int] = {}
    for other in locked:
        found = unpacked(other.month, method, (other.locked or {})[method])
        for line in found.payout.lines if other.month == period.month else ():
            paid[line.key] = paid.get(line.key, 0) + line.minor
        for one in (*found.adjustments, *found.foreign):
            if one.about == period.month:
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
        groups = facts.groups if db.engine.dialect.name == "postgresql" else None
        payout = listener_payout(total, idle, facts.pairs, facts.unknown_seconds(), groups=groups)
    shares = {origin: str(Decimal(share)) for origin, share in settings.shares.items()}
    lines = [[*line.key, line.seconds, line.minor] for line in payout.lines]
    told = [month_text(month), method, settings.currency, shares, facts.fees, lines]
    return MonthPayout(month, method, settings.currency, payout, source=digest(told))


def digest(value: Any) -> str:
    """Return the SHA-256 of a value that JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def payer(
    company_id: str, method: Method, store: MonthStore | None = None, *, refresh: bool = False
) -> Payer:
    """Return who answers for a company, after its waiting batches have been added up."""
    process_pending(company_id)
    if store is None:
        kept_days = current_app.config["MONTHS_KEPT_DAYS"]
        store = MonthStore(db.engine, company_id, SLUG, kept_days)
    return Payer(company_id, method, store, refresh)


def _revision(company_id: str, month: date) -> int:
    period = accounting_period(company_id, month)
    return period.revision if period else 0
