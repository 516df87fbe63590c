"""Saved reports: figures of runs, alerts, hours of quiet, what a delivery is about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("definition") as batch_op:
        batch_op.add_column(sa.Column("alerts", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(
            sa.Column("alert_states", sa.JSON(), nullable=False, server_default="{}")
        )
        batch_op.add_column(sa.Column("quiet", sa.JSON(), nullable=True))
    with op.batch_alter_table("definition") as batch_op:
        batch_op.alter_column("alerts", server_default=None)
        batch_op.alter_column("alert_states", server_default=None)
    op.add_column("definition_run", sa.Column("figures", sa.JSON(), nullable=True))
    with op.batch_alter_table("delivery") as batch_op:
        batch_op.add_column(sa.Column("about", sa.JSON(), nullable=True))
        batch_op.alter_column("place", type_=sa.String(500), existing_type=sa.String(300))


def downgrade() -> None:
    with op.batch_alter_table("delivery") as batch_op:
        batch_op.drop_column("about")
        batch_op.alter_column("place", type_=sa.String(300), existing_type=sa.String(500))
    with op.batch_alter_table("definition_run") as batch_op:
        batch_op.drop_column("figures")
    with op.batch_alter_table("definition") as batch_op:
        for name in ("quiet", "alert_states", "alerts"):
            batch_op.drop_column(name)
