"""turns: how large a job is, and when RQ was handed it; null while it waits for its turn"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import webapp.extensions

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In place: SQLite would make the table anew, and take along all that refers to it.
    op.add_column("job", sa.Column("size", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("job", sa.Column("handed_at", webapp.extensions.UtcDateTime(), nullable=True))
    op.execute("UPDATE job SET handed_at = queued_at WHERE status = 'queued'")
    op.create_index("ix_job_company_handed", "job", ["company_id", "handed_at"])


def downgrade() -> None:
    op.drop_index("ix_job_company_handed", "job")
    op.execute("ALTER TABLE job DROP COLUMN handed_at")
    op.execute("ALTER TABLE job DROP COLUMN size")
