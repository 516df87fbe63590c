"""The tables of this kind: periods, a tree of units, entries.

They are known to programs by (company, id); keys of our own join them.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator, TypeEngine

from webapp.extensions import CompanyId, Model, NewId, UuidText, kept

WHOLE_DIGITS, PLACES = 18, 12
# SQLite counts by itself only in a column it calls INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")


class DecimalColumn(TypeDecorator[Decimal]):
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


class Period(Model):
    """A reporting period; once it is locked its entries stay as they are."""

    __tablename__ = "inventory_period"
    __table_args__ = (
        UniqueConstraint("company_id", "id"),
        kept("end_date", "INVENTORY_KEPT_MONTHS"),
    )

    key: Mapped[int] = mapped_column(Key, primary_key=True)
    company_id: Mapped[CompanyId]
    id: Mapped[UuidText]
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
    company_id: Mapped[CompanyId]
    id: Mapped[UuidText]
    name: Mapped[str] = mapped_column(String(200))
    position: Mapped[int] = mapped_column(Integer, default=0)
    parent_key: Mapped[int | None] = mapped_column(Key, ForeignKey("inventory_unit.key"))
    parent: Mapped[Unit | None] = relationship(remote_side=key)

    @property
    def parent_id(self) -> str | None:
        """The id of the unit above; the root alone has none."""
        return self.parent.id if self.parent else None


class Entry(Model):
    """One line of the inventory. Its emissions (`emissions_of`), in kg CO2e, are never stored.

    id:  the sender's own, text; the same id again is the same entry
    gas: what the factor counts; with `warming_potential` in kg of that gas, without in kg CO2e
    basis: of scope 2, `location` or `market`; empty where the entry counts for both
    is_biogenic: told apart, in no total
    """

    __tablename__ = "inventory_entry"
    __table_args__ = (
        Index("ix_inventory_entry_period", "period_key", "unit_key"),
        Index("ix_inventory_entry_unit", "unit_key"),
        kept("end_date", "INVENTORY_KEPT_MONTHS"),
    )

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    period_key: Mapped[int] = mapped_column(Key, ForeignKey("inventory_period.key"))
    unit_key: Mapped[int] = mapped_column(Key, ForeignKey("inventory_unit.key"))
    scope: Mapped[int] = mapped_column(Integer)
    category: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    quantity: Mapped[Decimal] = mapped_column(DecimalColumn)
    unit_of_measure: Mapped[str] = mapped_column(String(50))
    factor: Mapped[Decimal] = mapped_column(DecimalColumn)
    factor_source: Mapped[str] = mapped_column(String(500))
    gas: Mapped[str] = mapped_column(String(40), default="")
    warming_potential: Mapped[Decimal | None] = mapped_column(DecimalColumn)
    basis: Mapped[str] = mapped_column(String(10), default="")
    is_biogenic: Mapped[bool] = mapped_column(Boolean, default=False)
    start_date: Mapped[date] = mapped_column(Date)
    end_date: Mapped[date] = mapped_column(Date)


class Settings(Model):
    """What a company's statements say beside its figures; an empty text is not said."""

    __tablename__ = "inventory_settings"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    responsible: Mapped[str] = mapped_column(String(200), default="")
    boundaries: Mapped[str] = mapped_column(Text, default="")
    methods: Mapped[str] = mapped_column(Text, default="")
    factor_sources: Mapped[str] = mapped_column(Text, default="")
    paper: Mapped[str] = mapped_column(String(10), default="a4")


class Factor(Model):
    """An emission factor of a company's own, in kg CO2e per unit; entries name it by its words."""

    __tablename__ = "inventory_factor"
    __table_args__ = (UniqueConstraint("company_id", "keyword", "attribute", "unit"),)

    id: Mapped[NewId]
    company_id: Mapped[CompanyId]
    keyword: Mapped[str] = mapped_column(String(200))
    attribute: Mapped[str] = mapped_column(String(200), default="")
    unit: Mapped[str] = mapped_column(String(50))
    description: Mapped[str] = mapped_column(Text, default="")
    value: Mapped[Decimal | None] = mapped_column(DecimalColumn)
