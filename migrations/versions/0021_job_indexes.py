"""jobs: what metrics, tidying and turns look for has an index"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_job_task_status", "job", ["task", "status"])
    op.create_index("ix_job_finished", "job", ["finished_at"])


def downgrade() -> None:
    op.drop_index("ix_job_finished", "job")
    op.drop_index("ix_job_task_status", "job")
