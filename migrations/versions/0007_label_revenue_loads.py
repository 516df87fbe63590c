"""label revenue: loads keep all they said, what holds is worked out, repeated streams stand aside

What loads kept so far stays as their rows. A load's own month becomes the month its terms began in,
and what is in force is worked out from it. The monthly sums are added up anew by the next reader,
because a track's label now holds by month.
"""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = (
    ("label_revenue_stream", "shelf_id", "partition_id"),
    ("label_revenue_batch", "shelf_id", "partition_id"),
    ("label_revenue_batch", "own_shelf", "own_partition"),
    ("label_revenue_book", "loose_shelf", "shared_partition"),
)
ADDED = (
    ("month", sa.Date()),
    ("said_month", sa.Date()),
    ("known_month", sa.Date()),
)
SUMS = ("label_revenue_heard", "label_revenue_listener_month", "label_revenue_label_month")
COMPANY = sa.Uuid(as_uuid=False)
BEGINNING = date(1970, 1, 1)
# Of several standing loads with one month the newest says what a listener pays from it on.
TERMS_IN_FORCE = """
WITH said AS (
    SELECT t.*, b.month, row_number() OVER (
        PARTITION BY t.company_id, t.user_id, b.month ORDER BY t.batch_no DESC) AS place
    FROM label_revenue_terms t JOIN label_revenue_batch b ON b.no = t.batch_no
    WHERE b.month IS NOT NULL
), spans AS (
    SELECT said.*, lead(month) OVER steps AS later, lag(month) OVER steps AS sooner
    FROM said WHERE place = 1
    WINDOW steps AS (PARTITION BY company_id, user_id ORDER BY month)
)
INSERT INTO label_revenue_terms_in_force
    (company_id, user_id, from_month, until_month, early, batch_no, product_type, fee, origin)
SELECT company_id, user_id, month, coalesce(later, :end_), :no,
    batch_no, product_type, fee, origin FROM spans
UNION ALL
SELECT company_id, user_id, :beginning, month, :yes, batch_no, product_type, fee, origin
FROM spans WHERE sooner IS NULL AND month > :beginning
"""
LABELS_IN_FORCE = """
WITH said AS (
    SELECT t.*, b.month, row_number() OVER (
        PARTITION BY t.company_id, t.track_id, b.month ORDER BY t.batch_no DESC) AS place
    FROM label_revenue_track t JOIN label_revenue_batch b ON b.no = t.batch_no
    WHERE b.month IS NOT NULL
), steps AS (
    SELECT said.*, lag(label_id) OVER (
        PARTITION BY company_id, track_id ORDER BY month) AS sooner
    FROM said WHERE place = 1
), changes AS (SELECT * FROM steps WHERE sooner IS NULL OR sooner <> label_id)
INSERT INTO label_revenue_label_in_force
    (company_id, track_id, from_month, until_month, label_id)
SELECT company_id, track_id, CASE WHEN sooner IS NULL THEN :beginning ELSE month END,
    coalesce(lead(month) OVER (PARTITION BY company_id, track_id ORDER BY month), :end_), label_id
FROM changes
"""


def upgrade() -> None:
    for table, old, new in COLUMNS:
        op.alter_column(table, old, new_column_name=new)
    for name, kind in ADDED:
        op.add_column("label_revenue_batch", sa.Column(name, kind, nullable=True))
    op.add_column(
        "label_revenue_batch",
        sa.Column("repeated", sa.BigInteger(), nullable=False, server_default="0"),
    )
    with op.batch_alter_table("label_revenue_batch") as batch:
        batch.alter_column("repeated", server_default=None)
    _create_tables()
    _give_loads_their_months()
    _key_by_load("label_revenue_terms", ("company_id", "batch_no", "user_id"), "from_month")
    _key_by_load("label_revenue_track", ("company_id", "batch_no", "track_id"))
    dates = {"beginning": BEGINNING, "end_": date(9999, 12, 1)}
    binds = [sa.bindparam(name, type_=sa.Date()) for name in dates]
    flags = [sa.bindparam("yes", type_=sa.Boolean()), sa.bindparam("no", type_=sa.Boolean())]
    bind = op.get_bind()
    terms = sa.text(TERMS_IN_FORCE).bindparams(*binds, *flags)
    bind.execute(terms, dates | {"yes": True, "no": False})
    bind.execute(sa.text(LABELS_IN_FORCE).bindparams(*binds), dates)
    _add_up_again()


def _create_tables() -> None:
    for table, key, extra in (
        (
            "label_revenue_terms_in_force",
            sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
            (
                sa.Column("early", sa.Boolean(), nullable=False),
                sa.Column("batch_no", sa.Integer(), nullable=False),
                sa.Column("product_type", sa.String(length=100), nullable=False),
                sa.Column("fee", sa.String(length=40), nullable=False),
                sa.Column("origin", sa.String(length=40), nullable=False),
            ),
        ),
        (
            "label_revenue_label_in_force",
            sa.Column("track_id", sa.String(length=100), nullable=False),
            (sa.Column("label_id", sa.Integer(), nullable=False),),
        ),
    ):
        op.create_table(
            table,
            sa.Column("company_id", COMPANY, nullable=False),
            key,
            sa.Column("from_month", sa.Date(), nullable=False),
            sa.Column("until_month", sa.Date(), nullable=False),
            *extra,
            sa.ForeignKeyConstraint(
                ["company_id"], ["company.id"], name=op.f(f"fk_{table}_company_id_company")
            ),
            sa.PrimaryKeyConstraint("company_id", key.name, "from_month", name=op.f(f"pk_{table}")),
        )
    op.create_table(
        "label_revenue_repeated_stream",
        sa.Column("company_id", COMPANY, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_no", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("region", sa.String(length=100), nullable=False),
        sa.Column("track_id", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
            name=op.f("fk_label_revenue_repeated_stream_company_id_company"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_label_revenue_repeated_stream")),
    )
    op.create_index(
        "ix_label_revenue_repeated_stream_batch",
        "label_revenue_repeated_stream",
        ["company_id", "batch_no"],
    )


def _give_loads_their_months() -> None:
    """The month a load's terms began in is its own; where that was not its first, it was said."""
    bind = op.get_bind()
    batch = sa.table(
        "label_revenue_batch",
        sa.column("no", sa.Integer()),
        sa.column("company_id", COMPANY),
        sa.column("undone_at"),
        sa.column("files", sa.JSON()),
        *(sa.column(name, sa.Date()) for name in ("first_month", "last_month")),
        *(sa.column(name, kind) for name, kind in ADDED),
    )
    terms = sa.table(
        "label_revenue_terms", sa.column("batch_no"), sa.column("from_month", sa.Date())
    )
    begun = sa.select(sa.func.min(terms.c.from_month)).where(terms.c.batch_no == batch.c.no)
    query = sa.select(batch, begun.scalar_subquery().label("begun"))
    newest: dict[str, date] = {}
    for load in bind.execute(query.where(batch.c.undone_at.is_(None)).order_by(batch.c.no)).all():
        if "api" in load.files:
            continue
        known = newest.get(load.company_id)
        said = None if load.begun in (None, load.first_month, BEGINNING) else load.begun
        month = said or load.first_month or (_next(known) if known else BEGINNING)
        bind.execute(
            sa.update(batch).where(batch.c.no == load.no).values(said_month=said, month=month)
        )
        if load.last_month and (known is None or load.last_month > known):
            newest[load.company_id] = load.last_month


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _key_by_load(table: str, key: tuple[str, ...], dropped: str | None = None) -> None:
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(f"pk_{table}", type_="primary")
        if dropped:
            batch.drop_column(dropped)
        batch.create_primary_key(f"pk_{table}", list(key))


def _add_up_again() -> None:
    for table in SUMS:
        op.execute(sa.delete(sa.table(table)))
    op.execute(
        "UPDATE label_revenue_batch SET summed = false "
        "WHERE undone_at IS NULL AND partition_id IS NOT NULL AND streams > 0"
    )


def downgrade() -> None:
    with op.batch_alter_table("label_revenue_terms") as batch:
        batch.add_column(sa.Column("from_month", sa.Date(), nullable=True))
    op.execute(
        "UPDATE label_revenue_terms SET from_month = coalesce((SELECT b.month FROM "
        "label_revenue_batch b WHERE b.no = batch_no), '1970-01-01')"
    )
    with op.batch_alter_table("label_revenue_terms") as batch:
        batch.alter_column("from_month", existing_type=sa.Date(), nullable=False)
    _key_by_load("label_revenue_terms", ("company_id", "user_id", "from_month", "batch_no"))
    _key_by_load("label_revenue_track", ("company_id", "track_id", "batch_no"))
    op.drop_index("ix_label_revenue_repeated_stream_batch", "label_revenue_repeated_stream")
    for table in ("repeated_stream", "label_in_force", "terms_in_force"):
        op.drop_table(f"label_revenue_{table}")
    with op.batch_alter_table("label_revenue_batch") as batch:
        for name in ("repeated", *(name for name, _ in ADDED)):
            batch.drop_column(name)
    for table, old, new in COLUMNS:
        op.alter_column(table, new, new_column_name=old)
