"""Accounting periods: which months pay anything, what holds in them, what falls due where."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import first_month_not_in, months_with_streams
from webapp.kinds.label_revenue.models import AccountingPeriod, MonthSettings, PeriodEvent

DEFAULT_SHARES = {"web": "0.90", "app_store": "0.70"}
DEFAULT_CURRENCY = "EUR"


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


# Shares and the currency, kept by first month


@dataclass(frozen=True)
class Settings:
    """What holds in a month: the share of each origin, and the currency."""

    shares: Mapping[str, Decimal]
    currency: str


def settings_for(company_id: str, month: date) -> Settings:
    """Return the settings that hold in a month: the newest that began by then, else defaults."""
    kept = db.session.scalar(
        select(MonthSettings)
        .where(MonthSettings.company_id == company_id, MonthSettings.from_month <= month)
        .order_by(MonthSettings.from_month.desc(), MonthSettings.no.desc())
        .limit(1)
    )
    shares = kept.shares if kept else DEFAULT_SHARES
    currency = kept.currency if kept else DEFAULT_CURRENCY
    return Settings({origin: Decimal(share) for origin, share in shares.items()}, currency)


def all_settings(company_id: str) -> list[MonthSettings]:
    """Return the company's settings, newest first; those that others replaced, too."""
    query = select(MonthSettings).where(MonthSettings.company_id == company_id)
    return list(
        db.session.scalars(query.order_by(MonthSettings.from_month.desc(), MonthSettings.no.desc()))
    )


def origins(company_id: str) -> frozenset[str]:
    """Return the origins a users file may name: those that have a share in some month."""
    return frozenset(DEFAULT_SHARES).union(*(one.shares for one in all_settings(company_id)))
