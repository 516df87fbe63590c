"""project storage: events dated ahead count when their time has come"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

from webapp.extensions import UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

PROJECT = "project_storage_project"
COUNTED = ("project_storage_counter", "project_storage_month")


def upgrade() -> None:
    op.create_table(
        "project_storage_ahead",
        sa.Column("project_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_key"],
            [f"{PROJECT}.key"],
            name=op.f("fk_project_storage_ahead_project_key_project_storage_project"),
        ),
        sa.PrimaryKeyConstraint("project_key", "seq", name=op.f("pk_project_storage_ahead")),
    )
    op.add_column(PROJECT, sa.Column("due_at", UtcDateTime(), nullable=True))
    op.create_index("ix_project_storage_project_due", PROJECT, ["due_at"])
    _count_again()


def _count_again() -> None:
    """Let projects be counted anew whose counters hold events that are still ahead."""
    now = datetime.now(UTC)
    project = sa.table(
        PROJECT,
        sa.column("key", sa.Integer()),
        sa.column("counted_seq", sa.BigInteger()),
        sa.column("waiting_since", UtcDateTime()),
        sa.column("received_at", UtcDateTime()),
        sa.column("deleted_at", UtcDateTime()),
    )
    event = sa.table(
        "project_storage_event",
        sa.column("project_key", sa.Integer()),
        sa.column("at_us", sa.BigInteger()),
    )
    # No event was taken that was more than a day ahead.
    lately = sa.select(project.c.key).where(
        project.c.received_at > now - timedelta(days=2), project.c.deleted_at.is_(None)
    )
    ahead = (
        sa.select(event.c.project_key)
        .distinct()
        .where(event.c.project_key.in_(lately), event.c.at_us > int(now.timestamp() * 1_000_000))
    )
    for key in [row[0] for row in op.get_bind().execute(ahead)]:
        for name in COUNTED:
            table = sa.table(name, sa.column("project_key", sa.Integer()))
            op.execute(sa.delete(table).where(table.c.project_key == key))
        values = {"counted_seq": 0, "waiting_since": now}
        op.execute(sa.update(project).where(project.c.key == key).values(values))


def downgrade() -> None:
    op.drop_index("ix_project_storage_project_due", PROJECT)
    with op.batch_alter_table(PROJECT) as batch_op:
        batch_op.drop_column("due_at")
    op.drop_table("project_storage_ahead")
