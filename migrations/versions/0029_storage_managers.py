"""project storage: shares by provider and uploader, quotas, retiring, events without a place

What was counted is counted anew from the events, by the workers: months by provider and uploader
cannot be told from the sums that were kept.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from webapp.extensions import UtcDateTime
from webapp.kinds.project_storage.models import WholeNumber

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

PROJECT, PROVIDER = "project_storage_project", "project_storage_provider"
EVENT, MONTH = "project_storage_event", "project_storage_month"
UNPLACED, QUOTA = "project_storage_unplaced", "project_storage_quota"


def upgrade() -> None:
    # In place: SQLite would make the tables anew, and take along all that refers to them.
    op.add_column(PROJECT, sa.Column("description", sa.Text(), nullable=False, server_default=""))
    op.add_column(PROJECT, sa.Column("quota_bytes", sa.BigInteger(), nullable=True))
    op.add_column(PROJECT, sa.Column("retired_at", UtcDateTime(), nullable=True))
    op.add_column(
        PROVIDER, sa.Column("in_place", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(PROVIDER, sa.Column("retired_at", UtcDateTime(), nullable=True))
    op.add_column(EVENT, sa.Column("uploader", sa.String(255), nullable=False, server_default=""))
    op.create_table(
        UNPLACED,
        sa.Column("project_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        _of_project(UNPLACED),
        sa.PrimaryKeyConstraint("project_key", "seq", name=op.f(f"pk_{UNPLACED}")),
    )
    op.create_table(
        QUOTA,
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("quota_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f(f"fk_{QUOTA}_company_id_company")
        ),
        sa.PrimaryKeyConstraint("company_id", name=op.f(f"pk_{QUOTA}")),
    )
    _make_months("provider_key", "uploader")


def _of_project(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_project_key_{PROJECT}")
    return sa.ForeignKeyConstraint(["project_key"], [f"{PROJECT}.key"], name=name)


def _make_months(*shared_by: str) -> None:
    """Make the table of months anew, and let everything be counted into it."""
    columns = [
        sa.Column("project_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
    ]
    more: list[sa.SchemaItem] = [_of_project(MONTH)]
    names = ["active_file_versions", "active_bytes", "trash_file_versions", "trash_bytes"]
    names += ["active_area", "trash_area"]
    if shared_by:
        columns += [
            sa.Column("provider_key", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("uploader", sa.String(255), nullable=False),
        ]
        name = op.f(f"fk_{MONTH}_provider_key_{PROVIDER}")
        more.append(sa.ForeignKeyConstraint(["provider_key"], [f"{PROVIDER}.key"], name=name))
        names += ["lying_file_versions", "lying_bytes"]
    columns += [
        sa.Column(name, sa.BigInteger() if "versions" in name else WholeNumber(), nullable=False)
        for name in names
    ]
    key = sa.PrimaryKeyConstraint("project_key", "month", *shared_by, name=op.f(f"pk_{MONTH}"))
    op.drop_table(MONTH)
    op.create_table(MONTH, *columns, *more, key)
    for counted in ("project_storage_counter", "project_storage_ahead"):
        op.execute(sa.delete(sa.table(counted)))
    project = sa.table(
        PROJECT,
        sa.column("last_seq", sa.BigInteger()),
        sa.column("counted_seq", sa.BigInteger()),
        sa.column("waiting_since", UtcDateTime()),
        sa.column("received_at", UtcDateTime()),
        sa.column("due_at", UtcDateTime()),
        sa.column("deleted_at", UtcDateTime()),
    )
    anew = {"counted_seq": 0, "waiting_since": project.c.received_at, "due_at": None}
    has_events = (project.c.last_seq > 0) & project.c.deleted_at.is_(None)
    op.execute(sa.update(project).where(has_events).values(anew))


def downgrade() -> None:
    _make_months()
    op.drop_table(QUOTA)
    op.drop_table(UNPLACED)
    op.execute(f"ALTER TABLE {EVENT} DROP COLUMN uploader")
    for column in ("retired_at", "in_place"):
        op.execute(f"ALTER TABLE {PROVIDER} DROP COLUMN {column}")
    for column in ("retired_at", "quota_bytes", "description"):
        op.execute(f"ALTER TABLE {PROJECT} DROP COLUMN {column}")
