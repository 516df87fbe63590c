"""label revenue: states of months and what happened to them, settings that are never overwritten

A locked month stays locked; every other is open. The audit log may name no person: commands on the
machine itself are written into it, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import webapp.extensions

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

PERSON = sa.Uuid(as_uuid=False)
MOMENT = webapp.extensions.UtcDateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("audit_entry") as batch:
        batch.alter_column("user_id", existing_type=PERSON, nullable=True)
    with op.batch_alter_table("label_revenue_month") as batch:
        batch.add_column(
            sa.Column("state", sa.String(length=12), nullable=False, server_default="open")
        )
    op.execute("UPDATE label_revenue_month SET state = 'locked' WHERE locked_at IS NOT NULL")
    with op.batch_alter_table("label_revenue_month") as batch:
        batch.alter_column("state", server_default=None)
    _create_table(
        "label_revenue_period_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        ("user_id",),
        ["company_id", "month"],
        "ix_label_revenue_period_event_month",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("user_id", PERSON, nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("link", sa.String(length=200), nullable=False),
    )
    _create_table(
        "label_revenue_minimum_payout",
        sa.Column("no", sa.Integer(), nullable=False),
        ("created_by",),
        ["company_id", "label"],
        "ix_label_revenue_minimum_payout_company",
        sa.Column("label", sa.String(length=300), nullable=False),
        sa.Column("amount", sa.String(length=40), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", PERSON, nullable=True),
    )
    op.rename_table("label_revenue_period", "label_revenue_period_before")
    _create_settings("label_revenue_period")
    op.execute(
        "INSERT INTO label_revenue_period (company_id, from_month, shares, currency) "
        "SELECT company_id, from_month, shares, currency FROM label_revenue_period_before "
        "ORDER BY company_id, from_month"
    )
    op.drop_table("label_revenue_period_before")


def _create_settings(name: str) -> None:
    _create_table(
        name,
        sa.Column("no", sa.Integer(), nullable=False),
        ("created_by",),
        ["company_id", "from_month"],
        "ix_label_revenue_period_month",
        sa.Column("from_month", sa.Date(), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("created_by", PERSON, nullable=True),
    )


def _create_table(
    name: str,
    key: sa.Column[int],
    people: tuple[str, ...],
    indexed: list[str],
    index: str,
    *columns: sa.Column[object],
) -> None:
    # What a table of that name leaves behind keeps its constraints' names on Postgres.
    marked = f"{name}_no" if name == "label_revenue_period" else name
    op.create_table(
        name,
        key,
        sa.Column("company_id", PERSON, nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f(f"fk_{marked}_company_id_company")
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], ["app_user.id"], name=op.f(f"fk_{marked}_{column}_app_user")
            )
            for column in people
        ),
        sa.PrimaryKeyConstraint(key.name, name=op.f(f"pk_{marked}")),
    )
    op.create_index(index, name, indexed)


def downgrade() -> None:
    op.drop_index("ix_label_revenue_period_month", "label_revenue_period")
    op.rename_table("label_revenue_period", "label_revenue_period_after")
    op.create_table(
        "label_revenue_period",
        sa.Column("company_id", PERSON, nullable=False),
        sa.Column("from_month", sa.Date(), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_period_company_id_company")
        ),
        sa.PrimaryKeyConstraint("company_id", "from_month", name=op.f("pk_label_revenue_period")),
    )
    op.execute(
        "INSERT INTO label_revenue_period (company_id, from_month, shares, currency) "
        "SELECT company_id, from_month, shares, currency FROM label_revenue_period_after a "
        "WHERE no = (SELECT max(b.no) FROM label_revenue_period_after b "
        "WHERE b.company_id = a.company_id AND b.from_month = a.from_month)"
    )
    op.drop_table("label_revenue_period_after")
    op.drop_table("label_revenue_minimum_payout")
    op.drop_table("label_revenue_period_event")
    with op.batch_alter_table("label_revenue_month") as batch:
        batch.drop_column("state")
    op.execute("DELETE FROM audit_entry WHERE user_id IS NULL")
    with op.batch_alter_table("audit_entry") as batch:
        batch.alter_column("user_id", existing_type=PERSON, nullable=False)
