"""uploads: those of both kinds in one table, their bytes among the stored files"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import webapp.extensions

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

GONE = "Uploads are kept elsewhere now; send the files again."
LOST = "The program was changed while this was at work; send the files again."


def upgrade() -> None:
    table = op.create_table(
        "intake_upload",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_by", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.ForeignKeyConstraint(["company_id"], ["company.id"]),
        sa.ForeignKeyConstraint(["created_by"], ["app_user.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_intake_upload_company", "intake_upload", ["company_id", "created_at"])
    before = sa.table(
        "label_revenue_upload",
        *(sa.column(name, sa.Uuid(as_uuid=False)) for name in ("id", "company_id", "created_by")),
        sa.column("created_at", webapp.extensions.UtcDateTime()),
        *(sa.column(name, sa.JSON()) for name in ("files", "options", "problems")),
        *(sa.column(name, sa.Text()) for name in ("status", "sentence")),
        sa.column("batch_id", sa.Uuid(as_uuid=False)),
    )
    bind = op.get_bind()
    for row in bind.execute(sa.select(before)).mappings().all():
        values = dict(row)
        values["result"] = {"batch_id": values.pop("batch_id")}
        if values["status"] != "loaded":
            # Their bytes lie in a folder of one machine, where nobody looks any more.
            sentence = LOST if values["status"] in {"queued", "loading"} else GONE
            values |= {"status": "failed", "sentence": sentence}
        bind.execute(table.insert().values(kind="label-revenue", **values))
    op.drop_index("ix_label_revenue_upload_company", table_name="label_revenue_upload")
    op.drop_table("label_revenue_upload")
    # An inventory's upload waited for a day at most, and was looked at again in each request.
    gone = "SELECT id FROM stored_file WHERE kind = 'UPLOAD'"
    op.execute(f"DELETE FROM stored_file_chunk WHERE file_id IN ({gone})")  # noqa: S608
    op.execute("DELETE FROM stored_file WHERE kind = 'UPLOAD'")


def downgrade() -> None:
    op.create_table(
        "label_revenue_upload",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_by", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("batch_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.ForeignKeyConstraint(["company_id"], ["company.id"]),
        sa.ForeignKeyConstraint(["created_by"], ["app_user.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_label_revenue_upload_company", "label_revenue_upload", ["company_id", "created_at"]
    )
    op.drop_index("ix_intake_upload_company", table_name="intake_upload")
    op.drop_table("intake_upload")
