"""Label revenue: numbers of the statements that were given out, with the hash of what they say."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    company, person = sa.ForeignKey("company.id"), sa.ForeignKey("app_user.id")
    op.create_table(
        "label_revenue_statement",
        sa.Column("company_id", sa.Uuid(as_uuid=False), company, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("label", sa.String(300), nullable=False),
        sa.Column("method", sa.String(10), nullable=False),
        sa.Column("first_month", sa.Date(), nullable=False),
        sa.Column("last_month", sa.Date(), nullable=False),
        sa.Column("source_hash", sa.String(64), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_by", sa.Uuid(as_uuid=False), person, nullable=True),
        sa.PrimaryKeyConstraint("company_id", "number"),
    )
    op.create_index(
        "ix_label_revenue_statement_label", "label_revenue_statement", ["company_id", "label"]
    )


def downgrade() -> None:
    op.drop_table("label_revenue_statement")
