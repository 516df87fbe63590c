"""A made-up company's inventory: two periods, a tree of units, entries; the same at every call.

`flask inventory demo` stores it.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import click
from flask.cli import AppGroup

from webapp.accounts import find_or_make_company
from webapp.commands import handle_cli_errors, with_database
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.kinds.inventory import entries, places
from webapp.kinds.inventory.bodies import PeriodIn, UnitIn
from webapp.lib.texts import counted

YEARS = (2024, 2025)
# Name, name of the parent: None for the root.
UNITS = (
    ("Europe", None),
    ("Antwerp plant", "Europe"),
    ("Lyon office", "Europe"),
    ("Americas", None),
    ("Toronto office", "Americas"),
    ("Head office", None),
)
SITES = ("Antwerp plant", "Lyon office", "Toronto office", "Head office")
# Scope, category, description, unit of measure, factor, source, quantity a month.
ACTIVITIES = (
    (1, "Stationary combustion", "Natural gas", "kWh", "0.182", "DEFRA 2024", 42_000),
    (1, "Mobile combustion", "Diesel of company cars", "litre", "2.66", "DEFRA 2024", 900),
    (2, "Purchased electricity", "Grid electricity", "kWh", "0.167", "AIB 2023", 61_000),
    (3, "Business travel", "Flights, economy", "passenger km", "0.151", "DEFRA 2024", 18_000),
    (3, "Waste", "Mixed waste to incineration", "kg", "0.0213", "DEFRA 2024", 2_400),
    (3, "Purchased goods", "Office paper", "kg", "0.919", "ADEME 23.2", 310),
)


def make_demo(company_id: str) -> dict[str, int]:
    """Store the demo data of a company and return how many entries were created and changed.

    A period that somebody has locked stays as it is, with its entries.
    """
    root = places.ensure_root(company_id)
    periods = places.put_periods(company_id, [_year(company_id, year) for year in YEARS])
    is_locked = {year: period.is_locked for year, period in zip(YEARS, periods, strict=True)}
    units = {name: _id(company_id, f"unit {name}") for name, _ in UNITS}
    places.put_units(
        company_id,
        [
            UnitIn(
                id=units[name],
                name=name,
                position=position,
                parent_id=units[parent] if parent else UUID(root.id),
            )
            for position, (name, parent) in enumerate(UNITS)
        ],
    )
    bodies = [
        _entry(company_id, year, month, site, place)
        for year in YEARS
        if not is_locked[year]
        for month in range(1, 13)
        for site in range(len(SITES))
        for place in range(len(ACTIVITIES))
    ]
    stored = entries.store(company_id, entries.check_all(company_id, bodies))
    db.session.commit()
    return stored


def _id(company_id: str, what: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"inventory demo {company_id} {what}")


def _year(company_id: str, year: int) -> PeriodIn:
    return PeriodIn(
        id=_id(company_id, f"period {year}"),
        short_name=str(year),
        description=f"Calendar year {year}",
        start_date=date(year, 1, 1),
        end_date=date(year, 12, 31),
    )


def _entry(company_id: str, year: int, month: int, site: int, place: int) -> dict[str, Any]:
    scope, category, description, measure, factor, source, amount = ACTIVITIES[place]
    # Winters burn more, sites differ, and the later year does a little better.
    season = Decimal(100 + 30 * (month in (1, 2, 11, 12)) * (scope < 3)) / 100
    size = Decimal(4 - site) / 2
    better = Decimal("0.94") if year == YEARS[-1] else Decimal(1)
    quantity = (amount * season * size * better + 7 * month).quantize(Decimal("0.01"))
    return {
        "id": f"demo-{year}-{month:02}-{site + 1}-{place + 1}",
        "period_id": str(_id(company_id, f"period {year}")),
        "unit_id": str(_id(company_id, f"unit {SITES[site]}")),
        "scope": scope,
        "category": category,
        "description": description,
        "quantity": quantity,
        "unit_of_measure": measure,
        "emission_factor": factor,
        "factor_source": source,
        "start_date": date(year, month, 1).isoformat(),
        "end_date": date(year, month, 28).isoformat(),
    }


group = AppGroup("inventory", help="Greenhouse gas inventories.")


@group.command("demo")
@click.option("--company", required=True, help="Created if it does not exist.")
@handle_cli_errors
@with_database
def demo(company: str) -> None:
    """Make two periods, a tree of units and entries; a second time adds nothing."""
    if not company.strip() or len(company) > 200:
        raise InvalidParams({"company": "Write a company name of 1 to 200 characters."})
    found = find_or_make_company(company)
    db.session.commit()
    stored = make_demo(found.id)
    click.echo(
        f"{found.name}: {counted(stored['created'], 'entry')} made, {stored['updated']} changed, "
        f"{stored['unchanged']} there already."
    )
