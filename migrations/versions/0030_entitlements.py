"""Partner use: accounts bought for partners."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from webapp.extensions import UtcDateTime

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "partner_use_entitlement",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("partner_id", sa.String(20), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("accounts", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
            name="fk_partner_use_entitlement_company_id_company",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_partner_use_entitlement"),
        sa.UniqueConstraint(
            "company_id",
            "partner_id",
            "since",
            name="uq_partner_use_entitlement_company_id",
        ),
    )


def downgrade() -> None:
    op.drop_table("partner_use_entitlement")
