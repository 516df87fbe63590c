"""Sizes of tables, measured at night; sums of storage events that were rolled up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "table_size",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("month", sa.Date(), primary_key=True),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("oldest", sa.DateTime(timezone=True), nullable=True),
    )
    whole = sa.Numeric(40, 0).with_variant(sa.String(41), "sqlite")
    op.create_table(
        "project_storage_rolled_up",
        sa.Column(
            "project_key",
            sa.Integer(),
            sa.ForeignKey("project_storage_project.key"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("month", sa.Date(), primary_key=True),
        sa.Column(
            "provider_key",
            sa.Integer(),
            sa.ForeignKey("project_storage_provider.key"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("uploader", sa.String(255), primary_key=True),
        sa.Column("active_file_versions", sa.BigInteger(), nullable=False),
        sa.Column("active_bytes", whole, nullable=False),
        sa.Column("trash_file_versions", sa.BigInteger(), nullable=False),
        sa.Column("trash_bytes", whole, nullable=False),
        sa.Column("active_area", whole, nullable=False),
        sa.Column("trash_area", whole, nullable=False),
        sa.Column("lying_file_versions", sa.BigInteger(), nullable=False),
        sa.Column("lying_bytes", whole, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("project_storage_rolled_up")
    op.drop_table("table_size")
