"""Accounts whose address is not confirmed belong to one company; an address may have several.

Accounts that an invitation made, and that joined no other company since, are such ones.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

CONFIRMED = sa.text("confined_to IS NULL")
MADE_BY_INVITATION = """
UPDATE app_user SET confined_to = home_company_id
WHERE NOT is_operator
  AND EXISTS (SELECT 1 FROM invite WHERE invite.email = app_user.email
              AND invite.company_id = app_user.home_company_id AND invite.used_at IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM membership WHERE membership.user_id = app_user.id
                  AND membership.company_id <> app_user.home_company_id)
"""


def upgrade() -> None:
    """Let the uniqueness of an email depend on whether it was confirmed."""
    with op.batch_alter_table("invite") as batch_op:
        batch_op.add_column(
            sa.Column("by_mail", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("app_user") as batch_op:
        batch_op.add_column(sa.Column("confined_to", sa.Uuid(as_uuid=False), nullable=True))
        batch_op.create_foreign_key(
            op.f("fk_app_user_confined_to_company"), "company", ["confined_to"], ["id"]
        )
        batch_op.drop_constraint(op.f("uq_app_user_email"), type_="unique")
    op.create_index("uq_app_user_email_confined", "app_user", ["email", "confined_to"], unique=True)
    op.create_index(
        "uq_app_user_email_confirmed",
        "app_user",
        ["email"],
        unique=True,
        sqlite_where=CONFIRMED,
        postgresql_where=CONFIRMED,
    )
    op.execute(MADE_BY_INVITATION)


def downgrade() -> None:
    """Give each email to one account again; of several, the others get an address of no host."""
    op.execute(
        """
        UPDATE app_user SET email = substr(email, 1, 200) || '.' || substr(CAST(id AS TEXT), 1, 32)
        WHERE confined_to IS NOT NULL
          AND EXISTS (SELECT 1 FROM app_user AS other
                      WHERE other.email = app_user.email AND other.id <> app_user.id)
        """
    )
    op.drop_index("uq_app_user_email_confirmed", table_name="app_user")
    op.drop_index("uq_app_user_email_confined", table_name="app_user")
    with op.batch_alter_table("app_user") as batch_op:
        batch_op.drop_constraint(op.f("fk_app_user_confined_to_company"), type_="foreignkey")
        batch_op.drop_column("confined_to")
        batch_op.create_unique_constraint(op.f("uq_app_user_email"), ["email"])
    with op.batch_alter_table("invite") as batch_op:
        batch_op.drop_column("by_mail")
