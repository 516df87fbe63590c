"""accounts: a second factor, and sign-in by a provider"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (("company", "second_factor"), ("login_session", "by_provider")):
        off = sa.Column(column, sa.Boolean(), nullable=False, server_default=sa.false())
        op.add_column(table, off)
    op.add_column("app_user", sa.Column("provider_subject", sa.String(64)))
    name = "ix_app_user_provider_subject"
    op.create_index(name, "app_user", ["provider_subject"], unique=True)
    op.create_table(
        "second_factor",
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_second_factor"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["app_user.id"], name="fk_second_factor_user_id_app_user"
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name="fk_second_factor_company_id_company"
        ),
    )
    op.create_table(
        "recovery_code",
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name="pk_recovery_code"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["app_user.id"], name="fk_recovery_code_user_id_app_user"
        ),
    )


def downgrade() -> None:
    op.drop_table("recovery_code")
    op.drop_table("second_factor")
    op.drop_index("ix_app_user_provider_subject", "app_user")
    op.drop_column("app_user", "provider_subject")
    op.drop_column("login_session", "by_provider")
    op.drop_column("company", "second_factor")
