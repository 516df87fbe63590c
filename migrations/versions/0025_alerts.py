"""Saved reports: figures of runs, alerts, hours of quiet, what a delivery is about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In place: SQLite would make a table anew, and take along all that refers to it.
    op.add_column("definition", sa.Column("alerts", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column(
        "definition", sa.Column("alert_states", sa.JSON(), nullable=False, server_default="{}")
    )
    op.add_column("definition", sa.Column("quiet", sa.JSON(), nullable=True))
    op.add_column("definition_run", sa.Column("figures", sa.JSON(), nullable=True))
    with op.batch_alter_table("delivery") as batch_op:
        batch_op.add_column(sa.Column("about", sa.JSON(), nullable=True))
        batch_op.alter_column("place", type_=sa.String(500), existing_type=sa.String(300))


def downgrade() -> None:
    with op.batch_alter_table("delivery") as batch_op:
        batch_op.drop_column("about")
        batch_op.alter_column("place", type_=sa.String(300), existing_type=sa.String(500))
    op.drop_column("definition_run", "figures")
    for name in ("quiet", "alert_states", "alerts"):
        op.drop_column("definition", name)
