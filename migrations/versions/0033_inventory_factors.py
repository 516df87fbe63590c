"""inventory: emission factors of a company's own"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    uuid = sa.Uuid(as_uuid=False)
    op.create_table(
        "inventory_factor",
        sa.Column("id", uuid, nullable=False),
        sa.Column("company_id", uuid, sa.ForeignKey("company.id"), nullable=False),
        sa.Column("keyword", sa.String(200), nullable=False),
        sa.Column("attribute", sa.String(200), nullable=False),
        sa.Column("unit", sa.String(50), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("value", sa.Numeric(30, 12).with_variant(sa.String(40), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("company_id", "keyword", "attribute", "unit"),
    )


def downgrade() -> None:
    op.drop_table("inventory_factor")
