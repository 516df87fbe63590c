"""session activity: clocks behind, by lag and by what senders tell of their clocks"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from webapp.extensions import UtcDateTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SESSION, COMPUTER = "session_activity_session", "session_activity_computer"
OFFSET = "session_activity_clock_offset"


def upgrade() -> None:
    for name in ("lag_s", "lag_low_s", "lag_high_s"):
        op.add_column(SESSION, sa.Column(name, sa.Integer(), nullable=True))
    _add(SESSION, sa.Column("lag_pings", sa.Integer(), nullable=False, server_default="0"))
    _add(
        COMPUTER,
        sa.Column("corrects_clock", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_table(
        OFFSET,
        sa.Column("session_number", NUMBER, nullable=False),
        sa.Column("event", sa.String(50), nullable=False),
        sa.Column("said_at", UtcDateTime(), nullable=False),
        sa.Column("corrected_at", UtcDateTime(), nullable=False),
        sa.Column("arrived_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_number"],
            [f"{SESSION}.number"],
            name=op.f(f"fk_{OFFSET}_session_number_{SESSION}"),
        ),
        sa.PrimaryKeyConstraint("session_number", "event", "said_at", name=op.f(f"pk_{OFFSET}")),
    )


def _add(table: str, column: sa.Column) -> None:
    """Add a column whose rows have its default, which new rows are given by the program."""
    op.add_column(table, column)
    with op.batch_alter_table(table) as batch_op:
        batch_op.alter_column(column.name, server_default=None)


def downgrade() -> None:
    op.drop_table(OFFSET)
    with op.batch_alter_table(COMPUTER) as batch_op:
        batch_op.drop_column("corrects_clock")
    with op.batch_alter_table(SESSION) as batch_op:
        for name in ("lag_s", "lag_low_s", "lag_high_s", "lag_pings"):
            batch_op.drop_column(name)
