"""Accounting periods: which months pay anything, what holds in them, what falls due where."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from decimal import Decimal, InvalidOperation

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import first_month_not_in, months_with_streams
from webapp.kinds.label_revenue.models import AccountingPeriod, MonthSettings, PeriodEvent

DEFAULT_SHARES = {"web": "0.90", "app_store": "0.70"}
DEFAULT_CURRENCY = "EUR"
# So many months a report, a comparison or a statement may be of.
MOST_MONTHS = 240


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


def settings_for(company_id: str, month: date) -> MonthSettings:
    """Return the settings that hold in a month: the newest that began by then, else defaults."""
    kept = db.session.scalar(
        select(MonthSettings)
        .where(MonthSettings.company_id == company_id, MonthSettings.from_month <= month)
        .order_by(MonthSettings.from_month.desc(), MonthSettings.no.desc())
        .limit(1)
    )
    return kept or MonthSettings(shares=DEFAULT_SHARES, currency=DEFAULT_CURRENCY)


def all_settings(company_id: str) -> list[MonthSettings]:
    """Return the company's settings, newest first; those that others replaced, too."""
    query = select(MonthSettings).where(MonthSettings.company_id == company_id)
    return list(
        db.session.scalars(query.order_by(MonthSettings.from_month.desc(), MonthSettings.no.desc()))
    )


def origins(company_id: str) -> frozenset[str]:
    """Return the origins a users file may name: those that have a share in some month."""
    return frozenset(DEFAULT_SHARES).union(*(one.shares for one in all_settings(company_id)))


# Codes whose minor unit is not a hundredth; every other code of ISO 4217 has two digits.
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
_DIGITS = (
    dict.fromkeys(_NONE.split(), 0)
    | dict.fromkeys(_THREE.split(), 3)
    | dict.fromkeys(_FOUR.split(), 4)
)
_TWO = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN "
    "BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
    "GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP "
    "LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR "
    "NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN "
    "SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR "
    "ZMW ZWG"
)
CURRENCIES = frozenset(_TWO.split()) | frozenset(_DIGITS)


def digits(currency: str) -> int:
    """Return the digits after the point of a currency's amounts: EUR 2, JPY 0, KWD 3."""
    return _DIGITS.get(currency, 2)


def read_amount(text: str, *, most: int, longest: int) -> Decimal | None:
    """Return an amount from 0 to another as a person types it; None for anything else."""
    try:
        amount = Decimal(text.strip().replace(",", "."))
    except InvalidOperation:
        return None
    fits = amount.is_finite() and 0 <= amount <= most and len(text) <= longest
    return amount if fits else None


def amount(minor: int, currency: str) -> Decimal:
    """Return an amount of minor units (cents) as a decimal with the currency's digits."""
    return Decimal(minor).scaleb(-digits(currency))


def amount_text(minor: int, currency: str) -> str:
    """Return an amount as text with exactly the currency's digits, such as `45.60`."""
    return f"{amount(minor, currency):f}"
