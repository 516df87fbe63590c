"""project storage: projects, roles, providers, file events, counters, months"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import webapp.extensions

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Bytes times microseconds pass 64 bits; SQLite keeps such numbers as text.
WHOLE = sa.Numeric(40, 0).with_variant(sa.String(41), "sqlite")


def upgrade() -> None:
    op.create_table(
        "project_storage_project",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("received_at", webapp.extensions.UtcDateTime(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("counted_seq", sa.BigInteger(), nullable=False),
        sa.Column("waiting_since", webapp.extensions.UtcDateTime(), nullable=True),
        sa.Column("deleted_at", webapp.extensions.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
            name=op.f("fk_project_storage_project_company_id_company"),
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_project_storage_project")),
        sa.UniqueConstraint("company_id", "id", name=op.f("uq_project_storage_project_company_id")),
    )
    op.create_index(
        "ix_project_storage_project_deleted",
        "project_storage_project",
        ["deleted_at"],
        unique=False,
    )
    op.create_index(
        "ix_project_storage_project_waiting",
        "project_storage_project",
        ["waiting_since"],
        unique=False,
    )
    op.create_table(
        "project_storage_provider",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
            name=op.f("fk_project_storage_provider_company_id_company"),
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_project_storage_provider")),
        sa.UniqueConstraint(
            "company_id", "id", name=op.f("uq_project_storage_provider_company_id")
        ),
    )
    op.create_table(
        "project_storage_counter",
        sa.Column("project_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("provider_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("active_file_versions", sa.BigInteger(), nullable=False),
        sa.Column("active_bytes", sa.BigInteger(), nullable=False),
        sa.Column("trash_file_versions", sa.BigInteger(), nullable=False),
        sa.Column("trash_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_key"], ["project_storage_project.key"]),
        sa.ForeignKeyConstraint(["provider_key"], ["project_storage_provider.key"]),
        sa.PrimaryKeyConstraint(
            "project_key", "provider_key", name=op.f("pk_project_storage_counter")
        ),
    )
    op.create_table(
        "project_storage_event",
        sa.Column("project_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=8), nullable=False),
        sa.Column("version_id", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("provider_key", sa.Integer(), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("received_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["project_key"], ["project_storage_project.key"]),
        sa.ForeignKeyConstraint(["provider_key"], ["project_storage_provider.key"]),
        sa.PrimaryKeyConstraint("project_key", "seq", name=op.f("pk_project_storage_event")),
        sa.UniqueConstraint(
            "project_key", "event_id", name=op.f("uq_project_storage_event_project_key")
        ),
    )
    op.create_index(
        "ix_project_storage_event_version",
        "project_storage_event",
        ["project_key", "version_id"],
        unique=False,
    )
    op.create_table(
        "project_storage_month",
        sa.Column("project_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("active_file_versions", sa.BigInteger(), nullable=False),
        sa.Column("active_bytes", WHOLE, nullable=False),
        sa.Column("trash_file_versions", sa.BigInteger(), nullable=False),
        sa.Column("trash_bytes", WHOLE, nullable=False),
        sa.Column("active_area", WHOLE, nullable=False),
        sa.Column("trash_area", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["project_key"], ["project_storage_project.key"]),
        sa.PrimaryKeyConstraint("project_key", "month", name=op.f("pk_project_storage_month")),
    )
    op.create_table(
        "project_storage_permission",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("project_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("auth_role", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
            name=op.f("fk_project_storage_permission_company_id_company"),
        ),
        sa.ForeignKeyConstraint(["project_key"], ["project_storage_project.key"]),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["app_user.id"],
            name=op.f("fk_project_storage_permission_user_id_app_user"),
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "user_id", "project_key", name=op.f("pk_project_storage_permission")
        ),
    )
    op.create_index(
        op.f("ix_project_storage_permission_project_key"),
        "project_storage_permission",
        ["project_key"],
        unique=False,
    )


def downgrade() -> None:

    op.drop_index(
        op.f("ix_project_storage_permission_project_key"), table_name="project_storage_permission"
    )
    op.drop_table("project_storage_permission")
    op.drop_table("project_storage_month")
    op.drop_index("ix_project_storage_event_version", table_name="project_storage_event")
    op.drop_table("project_storage_event")
    op.drop_table("project_storage_counter")
    op.drop_table("project_storage_provider")
    op.drop_index("ix_project_storage_project_waiting", table_name="project_storage_project")
    op.drop_index("ix_project_storage_project_deleted", table_name="project_storage_project")
    op.drop_table("project_storage_project")
