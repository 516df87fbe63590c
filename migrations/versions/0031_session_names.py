"""session activity: names by key, merged and switched off; rooms, settings, corrections"""

from __future__ import annotations

from datetime import UTC, datetime
from unicodedata import normalize

import sqlalchemy as sa
from alembic import op

from webapp.extensions import UtcDateTime

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LOGIN, COMPUTER = "session_activity_login", "session_activity_computer"
SESSION, SEGMENT = "session_activity_session", "session_activity_segment"
SETTINGS, CORRECTION = "session_activity_settings", "session_activity_correction"


def upgrade() -> None:
    for table in (LOGIN, COMPUTER):
        op.add_column(table, sa.Column("key", sa.String(500), nullable=True))
        op.add_column(table, sa.Column("same_as_id", NUMBER, nullable=True))
        _add(table, sa.Column("is_off", sa.Boolean(), nullable=False, server_default=sa.false()))
        _fill_keys(table)
        with op.batch_alter_table(table) as batch_op:
            batch_op.alter_column("key", existing_type=sa.String(500), nullable=False)
            batch_op.drop_constraint(f"uq_{table}_company_id", type_="unique")
            batch_op.create_unique_constraint(f"uq_{table}_company_id", ["company_id", "key"])
            batch_op.create_foreign_key(
                op.f(f"fk_{table}_same_as_id_{table}"), table, ["same_as_id"], ["id"]
            )
    _add(COMPUTER, sa.Column("room", sa.String(50), nullable=False, server_default=""))
    op.create_index(f"ix_{SESSION}_computer", SESSION, ["computer_id", "ends_day"])
    op.create_table(
        SETTINGS,
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("strips_domain", sa.Boolean(), nullable=False),
        sa.Column("opening_hours", sa.String(500), nullable=False),
        sa.Column("rooms", sa.String(10_000), nullable=False),
        _reference(SETTINGS, "company_id", "company"),
        sa.PrimaryKeyConstraint("company_id", name=op.f(f"pk_{SETTINGS}")),
    )
    op.create_table(
        CORRECTION,
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("login_id", NUMBER, nullable=False),
        sa.Column("computer_id", NUMBER, nullable=False),
        sa.Column("start_at", UtcDateTime(), nullable=False),
        sa.Column("end_at", UtcDateTime(), nullable=False),
        sa.Column("new_start_at", UtcDateTime(), nullable=True),
        sa.Column("new_end_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("made_by", sa.String(254), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("taken_back_by", sa.String(254), nullable=True),
        sa.Column("taken_back_at", UtcDateTime(), nullable=True),
        _reference(CORRECTION, "login_id", LOGIN),
        _reference(CORRECTION, "computer_id", COMPUTER),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{CORRECTION}")),
    )
    op.create_index(f"ix_{CORRECTION}_login", CORRECTION, ["login_id", "start_at"])


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}_{target}")
    )


def _add(table: str, column: sa.Column) -> None:
    """Add a column whose rows have its default, which new rows are given by the program."""
    op.add_column(table, column)
    with op.batch_alter_table(table) as batch_op:
        batch_op.alter_column(column.name, server_default=None)


def _fill_keys(table: str) -> None:
    """Give each name its key; names that differ by case alone were one person all along."""
    bind, column = op.get_bind(), "login_id" if table == LOGIN else "computer_id"
    names = sa.table(
        table,
        *map(sa.column, ("id", "company_id", "name", "key", "longest_days")),
        sa.column("late_at", UtcDateTime()),
    )
    used = [sa.table(one, sa.column(column)) for one in (SESSION, SEGMENT)[: 2 - (table != LOGIN)]]
    known: dict[tuple[str, str], sa.Row] = {}
    columns = [names.c.id, names.c.company_id, names.c.name]
    columns += [names.c.longest_days] if table == LOGIN else []
    for row in bind.execute(sa.select(*columns).order_by(names.c.id)).all():
        key = normalize("NFC", normalize("NFC", row.name).casefold())
        first = known.setdefault((str(row.company_id), key), row)
        if first is row:
            bind.execute(sa.update(names).where(names.c.id == row.id).values(key=key))
            continue
        for one in used:
            moved = sa.update(one).where(one.c[column] == row.id).values({column: first.id})
            bind.execute(moved)
        if table == LOGIN:
            longest = sa.case(
                (names.c.longest_days < row.longest_days, row.longest_days),
                else_=names.c.longest_days,
            )
            late = sa.update(names).where(names.c.id == first.id)
            bind.execute(late.values(late_at=datetime.now(UTC), longest_days=longest))
        bind.execute(sa.delete(names).where(names.c.id == row.id))


def downgrade() -> None:
    op.drop_table(CORRECTION)
    op.drop_table(SETTINGS)
    op.drop_index(f"ix_{SESSION}_computer", SESSION)
    for table in (LOGIN, COMPUTER):
        names = sa.table(table, sa.column("same_as_id"))
        op.execute(sa.delete(names).where(names.c.same_as_id.is_not(None)))
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_constraint(op.f(f"fk_{table}_same_as_id_{table}"), type_="foreignkey")
            batch_op.drop_constraint(f"uq_{table}_company_id", type_="unique")
            batch_op.create_unique_constraint(f"uq_{table}_company_id", ["company_id", "name"])
            for name in ("key", "same_as_id", "is_off", *(["room"] if table == COMPUTER else [])):
                batch_op.drop_column(name)
