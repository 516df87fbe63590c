"""Everything that is kept sealed, brought under the newest SECRET_KEY; so the one before may go.

Tables say themselves which of their columns hold sealed texts (`webapp.security.SEALED`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table, and_, select, update

from webapp.accounts import Company
from webapp.extensions import db, rows_changed
from webapp.security import SEALED, SealBroken, reseal


@dataclass
class Resealed:
    """What was done: how many were sealed anew, how many were already, what cannot be opened."""

    renewed: int = 0
    unchanged: int = 0
    broken: list[str] = field(default_factory=list)


def reseal_everything() -> Resealed:
    """Seal whatever is stored sealed under the newest key; done twice, nothing new. Commits."""
    done = Resealed()
    columns = [column for table in db.metadata.sorted_tables for column in table.columns]
    for column in columns:
        if SEALED not in column.info:
            continue
        keys = list(column.table.primary_key.columns)
        for key in db.session.execute(select(*keys).where(column.is_not(None))).all():
            is_row = and_(*(name == value for name, value in zip(keys, key, strict=True)))
            _reseal_row(column.table, column, is_row, done)
    return done


def _reseal_row(table: Table, column: Column[Any], is_row: Any, done: Resealed) -> None:
    row = db.session.execute(table.select().where(is_row, column.is_not(None))).mappings().first()
    if row is None:
        return
    before = row[column.name]
    try:
        after = reseal(before)
    except SealBroken:
        company = db.session.get_one(Company, row["company_id"])
        done.broken.append(f"{column.info[SEALED].format_map(row)} of {company.name}")
        return
    if after == before:
        done.unchanged += 1
        return
    # A report that ended meanwhile has erased its secret, which must not come back.
    done.renewed += rows_changed(
        update(table).where(is_row, column == before).values({column: after})
    )
    db.session.commit()
