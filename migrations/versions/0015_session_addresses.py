"""session activity: the address of a session is any text of up to 64 characters"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def _resize(before: int, after: int) -> None:
    with op.batch_alter_table("session_activity_session") as batch_op:
        batch_op.alter_column(
            "ip_addr",
            existing_type=sa.String(before),
            type_=sa.String(after),
            existing_nullable=False,
        )


def upgrade() -> None:
    _resize(45, 64)


def downgrade() -> None:
    op.execute("UPDATE session_activity_session SET ip_addr = substr(ip_addr, 1, 45)")
    _resize(64, 45)
