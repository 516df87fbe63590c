"""inventory: periods, units, entries, files in chunks or elsewhere"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import webapp.extensions

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# As in the models: SQLite counts by itself only in INTEGER, and keeps decimals as text.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
EXACT = sa.Numeric(30, 12).with_variant(sa.String(length=40), "sqlite")


def _id(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _reference(
    table: str, column: str, target: str, key: str, ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{target}.{key}"],
        name=op.f(f"fk_{table}_{column}_{target}"),
        ondelete=ondelete,
    )


def upgrade() -> None:
    period = "inventory_period"
    op.create_table(
        period,
        sa.Column("key", KEY, nullable=False),
        _id("company_id"),
        _id("id"),
        sa.Column("short_name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("start_date", sa.Date(), nullable=False),
        sa.Column("end_date", sa.Date(), nullable=False),
        sa.Column("is_locked", sa.Boolean(), nullable=False),
        _reference(period, "company_id", "company", "id"),
        sa.PrimaryKeyConstraint("key", name=op.f(f"pk_{period}")),
        sa.UniqueConstraint("company_id", "id", name=op.f(f"uq_{period}_company_id")),
    )
    unit = "inventory_unit"
    op.create_table(
        unit,
        sa.Column("key", KEY, nullable=False),
        _id("company_id"),
        _id("id"),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parent_key", KEY, nullable=True),
        _reference(unit, "company_id", "company", "id"),
        _reference(unit, "parent_key", unit, "key"),
        sa.PrimaryKeyConstraint("key", name=op.f(f"pk_{unit}")),
        sa.UniqueConstraint("company_id", "id", name=op.f(f"uq_{unit}_company_id")),
    )
    root = sa.text("parent_key IS NULL")
    op.create_index(
        f"ix_{unit}_root",
        unit,
        ["company_id"],
        unique=True,
        sqlite_where=root,
        postgresql_where=root,
    )
    op.create_index(f"ix_{unit}_parent", unit, ["parent_key"])
    entry = "inventory_entry"
    op.create_table(
        entry,
        _id("company_id"),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("period_key", KEY, nullable=False),
        sa.Column("unit_key", KEY, nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("category", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("quantity", EXACT, nullable=False),
        sa.Column("unit_of_measure", sa.String(length=50), nullable=False),
        sa.Column("factor", EXACT, nullable=False),
        sa.Column("factor_source", sa.String(length=500), nullable=False),
        sa.Column("start_date", sa.Date(), nullable=False),
        sa.Column("end_date", sa.Date(), nullable=False),
        _reference(entry, "company_id", "company", "id"),
        _reference(entry, "period_key", period, "key"),
        _reference(entry, "unit_key", unit, "key"),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f(f"pk_{entry}")),
    )
    op.create_index(f"ix_{entry}_period", entry, ["period_key", "unit_key"])
    op.create_index(f"ix_{entry}_unit", entry, ["unit_key"])
    file = "inventory_file"
    op.create_table(
        file,
        _id("id"),
        _id("company_id"),
        _id("report_id", nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("format", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("ready_at", webapp.extensions.UtcDateTime(), nullable=True),
        _reference(file, "company_id", "company", "id"),
        _reference(file, "report_id", "report", "id", "CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{file}")),
    )
    op.create_index(f"ix_{file}_report", file, ["report_id"])
    op.create_index(f"ix_{file}_created", file, ["created_at"])
    chunk = "inventory_file_chunk"
    op.create_table(
        chunk,
        _id("file_id"),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        _reference(chunk, "file_id", file, "id", "CASCADE"),
        sa.PrimaryKeyConstraint("file_id", "position", name=op.f(f"pk_{chunk}")),
    )
    place = "inventory_file_object"
    op.create_table(
        place,
        _id("file_id"),
        _id("report_id"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("file_id", name=op.f(f"pk_{place}")),
    )
    op.create_index(f"ix_{place}_report", place, ["report_id"])


def downgrade() -> None:
    for table in ("file_object", "file_chunk", "file", "entry", "unit", "period"):
        op.drop_table(f"inventory_{table}")
