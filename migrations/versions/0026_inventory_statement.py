"""inventory: gases, the basis of scope 2 and biogenic entries; what statements say of a company"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In place: SQLite would make the table anew.
    decimal = sa.Numeric(30, 12).with_variant(sa.String(40), "sqlite")
    entry = "inventory_entry"
    op.add_column(entry, sa.Column("gas", sa.String(40), nullable=False, server_default=""))
    op.add_column(entry, sa.Column("warming_potential", decimal, nullable=True))
    op.add_column(entry, sa.Column("basis", sa.String(10), nullable=False, server_default=""))
    op.add_column(
        entry, sa.Column("is_biogenic", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        "inventory_settings",
        sa.Column(
            "company_id", sa.Uuid(as_uuid=False), sa.ForeignKey("company.id"), nullable=False
        ),
        sa.Column("responsible", sa.String(200), nullable=False),
        sa.Column("boundaries", sa.Text(), nullable=False),
        sa.Column("methods", sa.Text(), nullable=False),
        sa.Column("factor_sources", sa.Text(), nullable=False),
        sa.Column("paper", sa.String(10), nullable=False),
        sa.PrimaryKeyConstraint("company_id"),
    )


def downgrade() -> None:
    op.drop_table("inventory_settings")
    for name in ("is_biogenic", "basis", "warming_potential", "gas"):
        op.execute(f"ALTER TABLE inventory_entry DROP COLUMN {name}")
