"""progress: a bar that never turns back, and the stage of the work"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In place: SQLite would make the table anew, and take along all that refers to it.
    op.add_column("job", sa.Column("permille", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("job", sa.Column("stage", sa.String(200), nullable=False, server_default=""))


def downgrade() -> None:
    op.execute("ALTER TABLE job DROP COLUMN stage")
    op.execute("ALTER TABLE job DROP COLUMN permille")
