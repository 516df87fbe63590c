"""Session activity: who sees whose hours, whose a login is, how long names are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from webapp.extensions import UtcDateTime

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

LOGIN, SETTINGS = "session_activity_login", "session_activity_settings"


def upgrade() -> None:
    op.add_column(LOGIN, sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=True))
    op.create_index("ix_session_activity_login_user_id", LOGIN, ["user_id"])
    op.add_column(LOGIN, sa.Column("nameless_month", sa.Date(), nullable=True))
    op.add_column(
        SETTINGS,
        sa.Column("hours_seen_by", sa.String(10), nullable=False, server_default="everybody"),
    )
    op.add_column(
        SETTINGS, sa.Column("mail_domain", sa.String(253), nullable=False, server_default="")
    )
    op.add_column(SETTINGS, sa.Column("names_kept_months", sa.Integer(), nullable=True))
    op.add_column(SETTINGS, sa.Column("nameless_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    for name in ("nameless_at", "names_kept_months", "mail_domain", "hours_seen_by"):
        op.drop_column(SETTINGS, name)
    op.drop_index("ix_session_activity_login_user_id", LOGIN)
    op.drop_column(LOGIN, "nameless_month")
    op.drop_column(LOGIN, "user_id")
