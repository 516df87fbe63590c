"""Companies: the zone in which their schedules tell the time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("company", sa.Column("timezone", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("company", "timezone")
