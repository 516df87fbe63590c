"""jobs: how many there are of each kind and status is counted in an index, in its order"""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    columns = ["company_id", "type", "task", "status", "user_id"]
    op.create_index("ix_job_company_counted", "job", columns)


def downgrade() -> None:
    op.drop_index("ix_job_company_counted", "job")
