"""What holds in a month: the share of each origin, and the currency; kept by first month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.label_revenue.models import MonthSettings

DEFAULT_SHARES = {"web": "0.90", "app_store": "0.70"}
DEFAULT_CURRENCY = "EUR"


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
