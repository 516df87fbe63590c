"""The data of one report, read once: every file is made from this, so that all of them agree.

Periods, units and the entries of both periods are read as they were at one moment; the entries go
to a temporary file as JSON, one a line, and into the sums. So the database may change meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

from sqlalchemy import Connection, Select, select
from sqlalchemy.orm import Session

from webapp.accounts import Company, User
from webapp.errors import ReportError
from webapp.extensions import db
from webapp.kinds.inventory.bodies import SettingsBody
from webapp.kinds.inventory.compute import Totals, emissions_of
from webapp.kinds.inventory.models import Entry, Period, Unit
from webapp.kinds.inventory.params import InventoryParams
from webapp.kinds.inventory.places import Tree, settings_of
from webapp.lib.moments import utcnow
from webapp.lib.texts import plain

ROWS_PER_READ = 1000


@dataclass(frozen=True)
class PeriodFacts:
    """A period as it was when the report was made."""

    key: int
    id: str
    name: str
    start_date: date
    end_date: date

    def told(self, name: str) -> dict[str, str]:
        """Return it as JSON, its short name under `name`."""
        start, end = self.start_date.isoformat(), self.end_date.isoformat()
        return {"id": self.id, name: self.name, "start_date": start, "end_date": end}


@dataclass(frozen=True)
class Facts:
    """What a report is about. units: key, id, name, depth, key of the parent; parents first."""

    report_id: str
    name: str
    company: str
    made_by: str
    made_at: datetime
    period: PeriodFacts
    base_period: PeriodFacts | None
    unit_id: str
    unit: str
    settings: SettingsBody
    units: list[tuple[int, str, str, int, int | None]]

    @property
    def not_said(self) -> list[str]:
        """What standards ask of a company and this one does not say."""
        said = {
            "a base period": self.base_period,
            "who is responsible": self.settings.responsible,
            "boundaries": self.settings.boundaries,
            "methods": self.settings.methods,
            "sources of factors": self.settings.factor_sources,
        }
        return [name for name, value in said.items() if not value]


@dataclass
class Snapshot:
    """Facts, exact sums, and the entries of the period as lines of a file.

    sha256: of those lines, each ended by a line feed; REPORT_DATA holds them unchanged
    """

    facts: Facts
    now: Totals
    base: Totals | None
    sha256: str
    file: IO[bytes]

    def lines(self) -> Iterator[bytes]:
        """Yield the entries, one JSON object a line, from the first."""
        self.file.seek(0)
        return iter(self.file)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries; numbers are Decimal, dates text."""
        for line in self.lines():
            yield json.loads(line, parse_float=Decimal, parse_int=Decimal)


@contextmanager
def snapshot_transaction() -> Iterator[Connection]:
    """Open a connection whose statements all see the data as it was at the first of them."""
    with db.engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            if is_sqlite:
                # Of itself Python's driver begins no transaction for reading.
                connection.exec_driver_sql("BEGIN")
            yield connection


def read_facts(
    connection: Connection, params: InventoryParams, company_id: str, user_id: str, report_id: str
) -> Facts:
    """Return what the report is about; raises ReportError where a part of it is gone.

    The company must have its root unit.
    """
    with Session(connection) as session:
        period = _period(session, company_id, params.period)
        base = _period(session, company_id, params.base_period) if params.base_period else None
        tree = Tree(session.scalars(select(Unit).where(Unit.company_id == company_id)))
        units = (unit for unit, _ in tree.walk())
        top = next((one for one in units if params.unit in {None, UUID(one.id)}), None)
        if top is None:
            raise ReportError("The organizational unit of this report is gone.")
        company, user = session.get_one(Company, company_id), session.get_one(User, user_id)
        return Facts(
            report_id=report_id,
            name=params.name,
            company=company.name,
            made_by=f"{user.name} ({user.email})" if user.name != user.email else user.email,
            made_at=utcnow(),
            period=period,
            base_period=base,
            unit_id=top.id,
            unit=top.name,
            settings=settings_of(session, company_id),
            units=[
                (unit.key, unit.id, unit.name, depth, unit.parent_key)
                for unit, depth in tree.below(top)
            ],
        )


def _period(session: Session, company_id: str, period_id: Any) -> PeriodFacts:
    query = select(Period).where(Period.company_id == company_id, Period.id == str(period_id))
    found = session.scalar(query)
    if found is None:
        raise ReportError("A reporting period of this report is gone.")
    return PeriodFacts(found.key, found.id, found.short_name, found.start_date, found.end_date)


def take(
    connection: Connection,
    facts: Facts,
    company_id: str,
    file: IO[bytes],
    tick: Callable[[int], None],
) -> Snapshot:
    """Read the entries into an empty file and the sums; `tick` hears of rows now and then."""
    now, base = Totals(), Totals() if facts.base_period else None
    digest = hashlib.sha256()
    for count, row in enumerate(_rows(connection, facts, company_id), start=1):
        emissions = emissions_of(row.quantity, row.factor, row.warming_potential)
        potential = plain(row.warming_potential) if row.warming_potential is not None else ""
        more: dict[str, Any] = {
            "gas": (row.gas, potential),
            "source": row.factor_source,
            "basis": row.basis,
            "is_biogenic": row.is_biogenic,
        }
        if base is not None and row.period_key == facts.base_period.key:  # type: ignore[union-attr]
            base.add(row.unit_key, row.scope, row.category, emissions, **more)
        if row.period_key == facts.period.key:
            now.add(row.unit_key, row.scope, row.category, emissions, **more)
            line = _line(row, facts.period, emissions)
            digest.update(line)
            file.write(line)
        if count % ROWS_PER_READ == 0:
            tick(count)
    return Snapshot(facts, now, base, digest.hexdigest(), file)


def _rows(connection: Connection, facts: Facts, company_id: str) -> Any:
    periods = {facts.period.key} | ({facts.base_period.key} if facts.base_period else set())
    below = _below(company_id, facts.unit_id)
    query = (
        select(
            Entry.id,
            Entry.period_key,
            Entry.unit_key,
            Unit.id.label("unit_id"),
            Unit.name.label("unit"),
            Entry.scope,
            Entry.category,
            Entry.description,
            Entry.quantity,
            Entry.unit_of_measure,
            Entry.factor,
            Entry.factor_source,
            Entry.gas,
            Entry.warming_potential,
            Entry.basis,
            Entry.is_biogenic,
            Entry.start_date,
            Entry.end_date,
        )
        .join(Unit, Unit.key == Entry.unit_key)
        .where(
            Entry.company_id == company_id,
            Entry.period_key.in_(periods),
            Entry.unit_key.in_(below),
        )
        .order_by(Entry.scope, Entry.category, Entry.start_date, Entry.id)
    )
    return connection.execution_options(yield_per=ROWS_PER_READ).execute(query)


def _below(company_id: str, unit_id: str) -> Select[Any]:
    """Return the keys of a unit and everything below it."""
    top = select(Unit.key).where(Unit.company_id == company_id, Unit.id == unit_id)
    below = top.cte("below", recursive=True)
    return select(
        below.union_all(select(Unit.key).join(below, Unit.parent_key == below.c.key)).c.key
    )


def _line(row: Any, period: PeriodFacts, emissions: Decimal) -> bytes:
    """Return an entry as one line of JSON; numbers are written digit by digit, never as floats."""
    words = {
        "id": row.id,
        "periodId": period.id,
        "period": period.name,
        "unitId": row.unit_id,
        "unit": row.unit,
        "scope": row.scope,
        "category": row.category,
        "description": row.description,
        "unitOfMeasure": row.unit_of_measure,
        "factorSource": row.factor_source,
        "gas": row.gas,
        "basis": row.basis,
        "isBiogenic": row.is_biogenic,
        "startDate": row.start_date.isoformat(),
        "endDate": row.end_date.isoformat(),
    }
    potential = "null" if row.warming_potential is None else plain(row.warming_potential)
    numbers = (
        f'"quantity": {plain(row.quantity)}, "emissionFactor": {plain(row.factor)}, '
        f'"warmingPotential": {potential}, "emissions": {plain(emissions)}'
    )
    return f"{json.dumps(words, ensure_ascii=False)[:-1]}, {numbers}}}\n".encode()
