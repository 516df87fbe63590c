"""project storage: roles of people who left the company end, as they do from now on."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        DELETE FROM project_storage_permission WHERE NOT EXISTS (
            SELECT 1 FROM membership
            WHERE membership.user_id = project_storage_permission.user_id
              AND membership.company_id = project_storage_permission.company_id)
        """
    )


def downgrade() -> None:
    """Nothing: a role of somebody who is no member opened nothing."""
