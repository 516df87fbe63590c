"""Saved reports: definitions, their runs, deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from webapp.extensions import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "definition",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("schedule", sa.JSON(), nullable=True),
        sa.Column("deliver", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("hold_incomplete", sa.Boolean(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("next_run_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name="fk_definition_company_id_company"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["app_user.id"], name="fk_definition_user_id_app_user"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_definition"),
    )
    op.create_index(
        "ix_definition_company_created", "definition", ["company_id", "created_at", "id"]
    )
    op.create_index("ix_definition_next_run", "definition", ["next_run_at"])
    op.create_table(
        "definition_run",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("definition_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("period", sa.String(40), nullable=True),
        sa.Column("due_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("report_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["definition_id"],
            ["definition.id"],
            name="fk_definition_run_definition_id_definition",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_definition_run"),
        sa.UniqueConstraint("definition_id", "period", name="uq_definition_run_definition_id"),
    )
    op.create_index(
        "ix_definition_run_definition", "definition_run", ["definition_id", "created_at"]
    )
    op.create_index("ix_definition_run_status", "definition_run", ["status"])
    op.create_index("ix_definition_run_report", "definition_run", ["report_id"])
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("definition_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("place", sa.String(300), nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("tries", sa.JSON(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_try_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("sent_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["definition_id"],
            ["definition.id"],
            name="fk_delivery_definition_id_definition",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["definition_run.id"],
            name="fk_delivery_run_id_definition_run",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name="fk_delivery_company_id_company"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_delivery"),
        sa.UniqueConstraint("run_id", "place", name="uq_delivery_run_id"),
    )
    op.create_index("ix_delivery_definition", "delivery", ["definition_id", "created_at", "id"])
    op.create_index("ix_delivery_next_try", "delivery", ["next_try_at"])


def downgrade() -> None:
    op.drop_table("delivery")
    op.drop_table("definition_run")
    op.drop_table("definition")
