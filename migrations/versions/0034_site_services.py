"""Partner use: which services of a site are on, remembered with how it is set up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("partner_use_site_setup", sa.Column("services", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("partner_use_site_setup", "services")
