"""The tables of this kind: periods, a tree of units, entries, and the files that reports made.

Periods, units and entries are known to programs by (company, id); keys of our own join them. Files
lie in chunks, or in an object store, so that every web process and worker reaches them and none
holds a whole one.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from webapp.extensions import Model, UtcDateTime
from webapp.lib.moments import utcnow

WHOLE_DIGITS, PLACES = 18, 12
# SQLite counts by itself only in a column it calls INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")


class Exact(TypeDecorator[Decimal]):
    """A decimal number as it was given; SQLite, which would make it a float, keeps it as text."""

    impl = Numeric(WHOLE_DIGITS + PLACES, PLACES)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        number = Numeric(WHOLE_DIGITS + PLACES, PLACES)
        return dialect.type_descriptor(String(40) if dialect.name == "sqlite" else number)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return format(value, "f") if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


def _company() -> Mapped[str]:
    return mapped_column(Uuid(as_uuid=False), ForeignKey("company.id"))


class Period(Model):
    """A reporting period; once it is locked its entries stay as they are."""

    __tablename__ = "inventory_period"
    __table_args__ = (UniqueConstraint("company_id", "id"),)

    key: Mapped[int] = mapped_column(Key, primary_key=True)
    company_id: Mapped[str] = _company()
    id: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    short_name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(Text)
    start_date: Mapped[date] = mapped_column(Date)
    end_date: Mapped[date] = mapped_column(Date)
    is_locked: Mapped[bool] = mapped_column(Boolean, default=False)


class Unit(Model):
    """A unit of the organisation. Exactly one of a company has no parent; the index holds that."""

    __tablename__ = "inventory_unit"
    __table_args__ = (
        UniqueConstraint("company_id", "id"),
        Index(
            "ix_inventory_unit_root",
            "company_id",
            unique=True,
            sqlite_where=text("parent_key IS NULL"),
            postgresql_where=text("parent_key IS NULL"),
        ),
        Index("ix_inventory_unit_parent", "parent_key"),
    )

    key: Mapped[int] = mapped_column(Key, primary_key=True)
    company_id: Mapped[str] = _company()
    id: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    name: Mapped[str] = mapped_column(String(200))
    position: Mapped[int] = mapped_column(Integer, default=0)
    parent_key: Mapped[int | None] = mapped_column(Key, ForeignKey("inventory_unit.key"))


class Entry(Model):
    """One line of the inventory. Emissions are quantity times factor, in kg CO2e, never stored.

    id: the sender's own, text; the same id again is the same entry
    """

    __tablename__ = "inventory_entry"
    __table_args__ = (
        Index("ix_inventory_entry_period", "period_key", "unit_key"),
        Index("ix_inventory_entry_unit", "unit_key"),
    )

    company_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("company.id"), primary_key=True
    )
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    period_key: Mapped[int] = mapped_column(Key, ForeignKey("inventory_period.key"))
    unit_key: Mapped[int] = mapped_column(Key, ForeignKey("inventory_unit.key"))
    scope: Mapped[int] = mapped_column(Integer)
    category: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    quantity: Mapped[Decimal] = mapped_column(Exact)
    unit_of_measure: Mapped[str] = mapped_column(String(50))
    factor: Mapped[Decimal] = mapped_column(Exact)
    factor_source: Mapped[str] = mapped_column(String(500))
    start_date: Mapped[date] = mapped_column(Date)
    end_date: Mapped[date] = mapped_column(Date)


class File(Model):
    """A file: of a report's attempt, or an upload that waits for its loading.

    kind:     a report type, or UPLOAD
    ready_at: set when the last chunk is stored; nobody reads a file before
    """

    __tablename__ = "inventory_file"
    __table_args__ = (
        Index("ix_inventory_file_report", "report_id"),
        Index("ix_inventory_file_created", "created_at"),
    )

    id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), primary_key=True, default=lambda: str(uuid4())
    )
    company_id: Mapped[str] = _company()
    report_id: Mapped[str | None] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("report.id", ondelete="CASCADE")
    )
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    kind: Mapped[str] = mapped_column(String(40))
    format: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(255))
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    ready_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FileChunk(Model):
    """One piece of a file, in its order."""

    __tablename__ = "inventory_file_chunk"

    file_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("inventory_file.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class FileObject(Model):
    """Where a file's bytes are when they are not in chunks. It outlives the file.

    Nothing refers to anything here: a database that deletes a report takes its files along, and
    what is left says which objects are still to be removed.
    """

    __tablename__ = "inventory_file_object"
    __table_args__ = (Index("ix_inventory_file_object_report", "report_id"),)

    file_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    report_id: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    url: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(String(200))
