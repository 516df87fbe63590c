"""files: a room of their own, for reports and uploads of every kind"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = {
    "inventory_file": "stored_file",
    "inventory_file_chunk": "stored_file_chunk",
    "inventory_file_object": "stored_file_object",
}
INDEXES = (
    ("ix_inventory_file_report", "ix_stored_file_report", "stored_file", "report_id"),
    ("ix_inventory_file_created", "ix_stored_file_created", "stored_file", "created_at"),
    (
        "ix_inventory_file_object_report",
        "ix_stored_file_object_report",
        "stored_file_object",
        "report_id",
    ),
)


def upgrade() -> None:
    for before, now in TABLES.items():
        op.rename_table(before, now)
    for before, now, table, column in INDEXES:
        op.drop_index(before, table_name=table)
        op.create_index(now, table, [column])
    with op.batch_alter_table("stored_file_object") as batch:
        batch.alter_column("report_id", existing_type=sa.Uuid(as_uuid=False), nullable=True)


def downgrade() -> None:
    # Objects of uploads have no place in what was before; their bytes are removed by hand.
    op.execute("DELETE FROM stored_file_object WHERE report_id IS NULL")
    with op.batch_alter_table("stored_file_object") as batch:
        batch.alter_column("report_id", existing_type=sa.Uuid(as_uuid=False), nullable=False)
    for before, now, table, column in INDEXES:
        op.drop_index(now, table_name=table)
        op.create_index(before, table, [column])
    for before, now in TABLES.items():
        op.rename_table(now, before)
