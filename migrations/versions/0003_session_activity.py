"""session activity: logins, computers, sessions, segments, clocks ahead"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import webapp.extensions

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# As in the models: SQLite numbers rows by itself only where the key is exactly INTEGER.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _named(table: str, length: int, *columns: sa.Column) -> None:
    op.create_table(
        table,
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(length=length), nullable=False),
        *columns,
        sa.Column("created_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f(f"fk_{table}_company_id_company")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("company_id", "name", name=op.f(f"uq_{table}_company_id")),
    )


def _reference(table: str, column: str, target: str, key: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{target}.{key}"], name=op.f(f"fk_{table}_{column}_{target}")
    )


def upgrade() -> None:
    _named(
        "session_activity_login",
        50,
        sa.Column("longest_days", sa.Integer(), nullable=False),
        sa.Column("late_at", webapp.extensions.UtcDateTime(), nullable=True),
    )
    _named("session_activity_computer", 30)
    session = "session_activity_session"
    op.create_table(
        session,
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("login_id", NUMBER, nullable=False),
        sa.Column("computer_id", NUMBER, nullable=False),
        sa.Column("ip_addr", sa.String(length=45), nullable=False),
        sa.Column("next_ping_sec", sa.Integer(), nullable=False),
        sa.Column("started_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("last_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("ends_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("ends_day", sa.Integer(), nullable=False),
        _reference(session, "company_id", "company", "id"),
        _reference(session, "login_id", "session_activity_login", "id"),
        _reference(session, "computer_id", "session_activity_computer", "id"),
        sa.PrimaryKeyConstraint("number", name=op.f(f"pk_{session}")),
        sa.UniqueConstraint("company_id", "id", name=op.f(f"uq_{session}_company_id")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index(f"ix_{session}_online", session, ["company_id", "ends_day"])
    op.create_index(f"ix_{session}_login", session, ["login_id", "ends_day"])
    segment = "session_activity_segment"
    op.create_table(
        segment,
        sa.Column("session_number", NUMBER, nullable=False),
        sa.Column("event", sa.String(length=50), nullable=False),
        sa.Column("start_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("end_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("login_id", NUMBER, nullable=False),
        _reference(segment, "session_number", session, "number"),
        _reference(segment, "login_id", "session_activity_login", "id"),
        sa.PrimaryKeyConstraint("session_number", "event", "start_at", name=op.f(f"pk_{segment}")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index(f"ix_{segment}_login", segment, ["login_id", "event", "start_at"])
    ahead = "session_activity_clock_ahead"
    op.create_table(
        ahead,
        sa.Column("session_number", NUMBER, nullable=False),
        sa.Column("event", sa.String(length=50), nullable=False),
        sa.Column("at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("arrived_at", webapp.extensions.UtcDateTime(), nullable=False),
        sa.Column("next_ping_sec", sa.Integer(), nullable=False),
        _reference(ahead, "session_number", session, "number"),
        sa.PrimaryKeyConstraint(
            "session_number", "event", "at", "arrived_at", name=op.f(f"pk_{ahead}")
        ),
    )


def downgrade() -> None:
    for table in ("clock_ahead", "segment", "session", "computer", "login"):
        op.drop_table(f"session_activity_{table}")
