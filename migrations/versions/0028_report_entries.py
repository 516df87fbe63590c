"""reports are found by words and marked; lists show a figure and its course"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

LISTED = ["company_id", "created_at", "id", "status", "task", "type", "user_id"]


def upgrade() -> None:
    op.create_table(
        "report_entry",
        sa.Column("report_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("figure", sa.JSON(), nullable=True),
        sa.Column("course", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["report_id"],
            ["job.id"],
            name=op.f("fk_report_entry_report_id_job"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_report_entry")),
    )
    op.create_table(
        "favourite",
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("report_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["app_user.id"],
            name=op.f("fk_favourite_user_id_app_user"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["report_id"], ["job.id"], name=op.f("fk_favourite_report_id_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "report_id", name=op.f("pk_favourite")),
    )
    op.execute(
        "INSERT INTO report_entry (report_id, name, tags, words) "
        "SELECT report.id, '', '[]', lower(replace(task, '-', ' ') || ' ' || label) "
        "FROM report JOIN job ON job.id = report.id"
    )
    op.create_index("ix_job_company_listed", "job", LISTED)
    op.drop_index("ix_job_company_created", "job")


def downgrade() -> None:
    op.create_index("ix_job_company_created", "job", ["company_id", "created_at", "id"])
    op.drop_index("ix_job_company_listed", "job")
    op.drop_table("favourite")
    op.drop_table("report_entry")
