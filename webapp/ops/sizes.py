"""How large each table is and how fast it grows, measured at night; `/ops/sizes` shows it.

Counting a large table takes a while, so the page reads what the last night found. Of each month one
measurement is kept, which growth is told by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import BigInteger, Date, String, Table, func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import KEPT, Model, UtcDateTime, db
from webapp.lib.moments import utcnow
from webapp.lib.upserts import upsert

A_MONTH = timedelta(days=365.25 / 12)
LEAST = timedelta(days=1)
COUNTED_UP_TO = 100_000
# A partition counts as a part of its table.
_POSTGRES = text("""
    SELECT coalesce(parent.relname, child.relname), sum(greatest(child.reltuples, 0))::bigint,
           sum(pg_total_relation_size(child.oid))::bigint
    FROM pg_class child LEFT JOIN pg_inherits ON inhrelid = child.oid
    LEFT JOIN pg_class parent ON parent.oid = inhparent
    WHERE child.relkind = 'r' AND child.relnamespace = current_schema()::regnamespace
    GROUP BY 1
""")
_SQLITE = text("""
    SELECT tbl_name, sum(pgsize) FROM dbstat('main', 1) JOIN sqlite_master USING (name) GROUP BY 1
""")


class TableSize(Model):
    """One measurement of a table, the last of its month; bytes with indexes, None: not known."""

    __tablename__ = "table_size"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    measured_at: Mapped[datetime] = mapped_column(UtcDateTime)
    rows: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    oldest: Mapped[datetime | None] = mapped_column(UtcDateTime)


@dataclass(frozen=True)
class Size:
    """What is known of a table: its newest measurement, growth a month, what governs it."""

    now: TableSize
    rows_a_month: float | None
    bytes_a_month: float | None
    setting: str
    kept: Any


def measure() -> None:
    """Measure every table. Commits."""
    found = dict(_postgres() if db.engine.dialect.name == "postgresql" else _sqlite())
    now = utcnow()
    for table in Model.metadata.sorted_tables:
        if table.name not in found:
            continue
        rows, size = found[table.name]
        row = {"measured_at": now, "rows": rows, "bytes": size, "oldest": _oldest_row(table)}
        new = upsert(db.session, TableSize).values(
            name=table.name, month=now.date().replace(day=1), **row
        )
        db.session.execute(new.on_conflict_do_update(index_elements=["name", "month"], set_=row))
        db.session.commit()


def sizes() -> list[Size]:
    """Return the size of each table as it was measured last, the largest first."""
    measured: dict[str, list[TableSize]] = {}
    for one in db.session.scalars(select(TableSize).order_by(TableSize.measured_at)):
        measured.setdefault(one.name, []).append(one)
    tables = Model.metadata.tables
    found = [
        _size_of(tables[name], history) for name, history in measured.items() if name in tables
    ]
    return sorted(found, key=lambda one: (one.now.bytes or 0, one.now.rows), reverse=True)


def _size_of(table: Table, history: list[TableSize]) -> Size:
    """Return what the last measurement says beside one of a month before, or beside its oldest."""
    now, before = history[-1], history[-2] if len(history) > 1 else None
    rows = size = None
    if before and now.measured_at - before.measured_at >= LEAST:
        months = (now.measured_at - before.measured_at) / A_MONTH
        rows = (now.rows - before.rows) / months
        size = ((now.bytes or 0) - (before.bytes or 0)) / months
    elif now.oldest:
        months = max((now.measured_at - now.oldest) / A_MONTH, 1)
        rows, size = now.rows / months, (now.bytes or 0) / months
    setting = _governed_by(table)[1]
    return Size(now, rows, size, setting, current_app.config[setting] if setting else None)


def _governed_by(table: Table) -> tuple[str, str]:
    """Return what dates a table's rows and which setting governs it, its own or its owner's."""
    if KEPT in table.info:
        dated_by, setting = table.info[KEPT]
        return dated_by, setting
    owners = (key.column.table for column in table.primary_key for key in column.foreign_keys)
    inherited = (_governed_by(owner)[1] for owner in owners if owner is not table)
    return "", next(filter(None, inherited), "")


def _oldest_row(table: Table) -> datetime | None:
    dated_by = _governed_by(table)[0]
    oldest = db.session.scalar(select(func.min(table.c[dated_by]))) if dated_by else None
    if isinstance(oldest, date) and not isinstance(oldest, datetime):
        return datetime.combine(oldest, time(), UTC)
    return oldest


def _postgres() -> Iterator[tuple[str, tuple[int, int | None]]]:
    for name, rows, size in db.session.execute(_POSTGRES).all():
        table = Model.metadata.tables.get(name)
        # What the planner holds for large tables is near enough, and there at once.
        if table is not None and rows < COUNTED_UP_TO:
            rows = db.session.scalar(select(func.count()).select_from(table))
        yield name, (rows, size)


def _sqlite() -> Iterator[tuple[str, tuple[int, int | None]]]:
    try:
        bytes_of: dict[str, int] = dict(db.session.execute(_SQLITE).all())
    except OperationalError:
        # Not every SQLite is built with it.
        bytes_of = {}
    for table in Model.metadata.sorted_tables:
        rows = db.session.scalar(select(func.count()).select_from(table)) or 0
        yield table.name, (rows, bytes_of.get(table.name))
