"""jobs apart from reports: what a report has in common with other work becomes its job's row"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from alembic import op

import webapp.extensions

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# As they were called in a report's row, and as a job's row calls them.
MOVED = {
    "id": "id",
    "kind": "task",
    "company_id": "company_id",
    "requested_by": "user_id",
    "sealed": "sealed",
    "status": "status",
    "attempt": "attempt",
    "lost": "lost",
    "lease_until": "lease_until",
    "done": "done",
    "total": "total",
    "last_seq": "last_seq",
    "error": "error",
    "created_at": "created_at",
    "queued_at": "queued_at",
    "started_at": "started_at",
    "finished_at": "finished_at",
    "idempotency_key": "idempotency_key",
    "body_fingerprint": "body_fingerprint",
}
GONE = [name for name in MOVED if name != "id"]
CHILDREN = {"status_line": "job_id", "checkpoint": "job_id", "result_row": "report_id"}


def columns(job: bool) -> Sequence[sa.Column]:
    """Return the columns that moved, as a job's row has them or as a report's row had them."""
    user, task = ("user_id", "task") if job else ("requested_by", "kind")
    moment = webapp.extensions.UtcDateTime
    return (
        sa.Column(task, sa.String(length=40), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=job),
        sa.Column(user, sa.Uuid(as_uuid=False), nullable=job),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("lease_until", moment(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("queued_at", moment(), nullable=False),
        sa.Column("started_at", moment(), nullable=True),
        sa.Column("finished_at", moment(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("body_fingerprint", sa.String(length=64), nullable=True),
    )


def light(table: str, names: Iterable[str]) -> sa.TableClause:
    """Return a table by the names of some of its columns."""
    return sa.table(table, *(sa.column(name) for name in names))


def rename(table: str, old: str, new: str) -> None:
    """Rename a column in place; by the batch SQLite would lose the keys made in the same one."""
    if old != new:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=True),
        sa.Column("payload", sa.JSON(), nullable=False),
        *columns(job=True),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_job_company_id_company")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"], name=op.f("fk_job_user_id_app_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint(
            "user_id", "company_id", "idempotency_key", name=op.f("uq_job_user_id")
        ),
    )
    waits = sa.text("status = 'queued'")
    op.create_index("ix_job_company_created", "job", ["company_id", "created_at", "id"])
    op.create_index("ix_job_status_lease", "job", ["status", "lease_until"])
    op.create_index(
        "ix_job_waiting",
        "job",
        ["task", "key"],
        unique=True,
        sqlite_where=waits,
        postgresql_where=waits,
    )
    report, job = light("report", MOVED), light("job", ["type", "payload", *MOVED.values()])
    values = [sa.literal_column("'report'"), sa.literal_column("'{}'"), *report.c]
    op.execute(job.insert().from_select(list(job.c), sa.select(*values)))
    # The children first: SQLite makes a table anew to change it, and would take along all that
    # refers to the old one.
    for child, name in CHILDREN.items():
        rename(child, "report_id", name)
        with op.batch_alter_table(child) as batch_op:
            batch_op.drop_constraint(f"fk_{child}_report_id_report", type_="foreignkey")
            batch_op.create_foreign_key(
                op.f(f"fk_{child}_{name}_job"), "job", [name], ["id"], ondelete="CASCADE"
            )
    with op.batch_alter_table("report") as batch_op:
        batch_op.drop_index("ix_report_status_lease")
        batch_op.drop_index("ix_report_company_created")
        batch_op.drop_constraint("uq_report_requested_by", type_="unique")
        batch_op.drop_constraint("fk_report_company_id_company", type_="foreignkey")
        batch_op.drop_constraint("fk_report_requested_by_app_user", type_="foreignkey")
        for name in GONE:
            batch_op.drop_column(name)
        batch_op.create_foreign_key(
            op.f("fk_report_id_job"), "job", ["id"], ["id"], ondelete="CASCADE"
        )


def downgrade() -> None:
    op.execute("DELETE FROM job WHERE type <> 'report'")
    with op.batch_alter_table("report") as batch_op:
        batch_op.drop_constraint("fk_report_id_job", type_="foreignkey")
        for column in columns(job=False):
            column.nullable = True
            batch_op.add_column(column)
    report, job = light("report", MOVED), light("job", MOVED.values())
    same = job.c.id == report.c.id
    values = {old: sa.select(job.c[MOVED[old]]).where(same).scalar_subquery() for old in GONE}
    op.execute(report.update().values(values))
    with op.batch_alter_table("report") as batch_op:
        for column in columns(job=False):
            if not column.nullable:
                batch_op.alter_column(column.name, existing_type=column.type, nullable=False)
        batch_op.create_foreign_key(
            op.f("fk_report_company_id_company"), "company", ["company_id"], ["id"]
        )
        batch_op.create_foreign_key(
            op.f("fk_report_requested_by_app_user"), "app_user", ["requested_by"], ["id"]
        )
        batch_op.create_unique_constraint(
            op.f("uq_report_requested_by"), ["requested_by", "company_id", "idempotency_key"]
        )
        batch_op.create_index("ix_report_company_created", ["company_id", "created_at", "id"])
        batch_op.create_index("ix_report_status_lease", ["status", "lease_until"])
    for child, name in CHILDREN.items():
        rename(child, name, "report_id")
        with op.batch_alter_table(child) as batch_op:
            batch_op.drop_constraint(f"fk_{child}_{name}_job", type_="foreignkey")
            batch_op.create_foreign_key(
                op.f(f"fk_{child}_report_id_report"),
                "report",
                ["report_id"],
                ["id"],
                ondelete="CASCADE",
            )
    op.drop_table("job")
