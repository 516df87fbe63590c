"""label revenue: batches, streams by shelf, monthly sums, locks"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import webapp.extensions

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "label_revenue_stream",
        sa.Column("shelf_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_no", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("region", sa.String(length=100), nullable=False),
        sa.Column("track_id", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("shelf_id", "id", name=op.f("pk_label_revenue_stream")),
        postgresql_partition_by="LIST (shelf_id)",
    )
    op.create_table(
        "label_revenue_book",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("date_order", sa.String(length=3), nullable=True),
        sa.Column("loose_shelf", sa.Integer(), nullable=True),
        sa.Column("next_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_book_company_id_company")
        ),
        sa.PrimaryKeyConstraint("company_id", name=op.f("pk_label_revenue_book")),
    )
    op.create_table(
        "label_revenue_heard",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("label_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("streams", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_heard_company_id_company")
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "month", "user_id", "label_id", name=op.f("pk_label_revenue_heard")
        ),
    )
    with op.batch_alter_table("label_revenue_heard", schema=None) as batch_op:
        batch_op.create_index(
            "ix_label_revenue_heard_user", ["company_id", "user_id"], unique=False
        )
    op.create_table(
        "label_revenue_label",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_label_company_id_company")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_revenue_label")),
    )
    with op.batch_alter_table("label_revenue_label", schema=None) as batch_op:
        batch_op.create_index("uq_label_revenue_label_name", ["company_id", "name"], unique=True)
    op.create_table(
        "label_revenue_label_month",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("label_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("streams", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
            name=op.f("fk_label_revenue_label_month_company_id_company"),
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "month", "label_id", name=op.f("pk_label_revenue_label_month")
        ),
    )
    op.create_table(
        "label_revenue_listener_month",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("streams", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
            name=op.f("fk_label_revenue_listener_month_company_id_company"),
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "month", "user_id", name=op.f("pk_label_revenue_listener_month")
        ),
    )
    op.create_table(
        "label_revenue_period",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("from_month", sa.Date(), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_period_company_id_company")
        ),
        sa.PrimaryKeyConstraint("company_id", "from_month", name=op.f("pk_label_revenue_period")),
    )
    op.create_table(
        "label_revenue_shelf",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_shelf_company_id_company")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_revenue_shelf")),
    )
    with op.batch_alter_table("label_revenue_shelf", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_label_revenue_shelf_company_id"), ["company_id"], unique=False
        )
    op.create_table(
        "label_revenue_terms",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("from_month", sa.Date(), nullable=False),
        sa.Column("batch_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("product_type", sa.String(length=100), nullable=False),
        sa.Column("fee", sa.String(length=40), nullable=False),
        sa.Column("origin", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_terms_company_id_company")
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "user_id", "from_month", "batch_no", name=op.f("pk_label_revenue_terms")
        ),
    )
    op.create_table(
        "label_revenue_track",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("track_id", sa.String(length=100), nullable=False),
        sa.Column("batch_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_track_company_id_company")
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "track_id", "batch_no", name=op.f("pk_label_revenue_track")
        ),
    )
    op.create_table(
        "label_revenue_batch",
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_by", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("created_at", webapp.extensions.UtcDateTime(timezone=True), nullable=False),
        sa.Column("undone_at", webapp.extensions.UtcDateTime(timezone=True), nullable=True),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("streams_hash", sa.String(length=64), nullable=True),
        sa.Column("shelf_id", sa.Integer(), nullable=True),
        sa.Column("own_shelf", sa.Boolean(), nullable=False),
        sa.Column("summed", sa.Boolean(), nullable=False),
        sa.Column("streams", sa.BigInteger(), nullable=False),
        sa.Column("listeners", sa.Integer(), nullable=False),
        sa.Column("tracks", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("first_month", sa.Date(), nullable=True),
        sa.Column("last_month", sa.Date(), nullable=True),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_batch_company_id_company")
        ),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_label_revenue_batch_created_by_app_user")
        ),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_label_revenue_batch")),
        sa.UniqueConstraint("id", name=op.f("uq_label_revenue_batch_id")),
    )
    with op.batch_alter_table("label_revenue_batch", schema=None) as batch_op:
        batch_op.create_index("ix_label_revenue_batch_company", ["company_id", "no"], unique=False)
    op.create_table(
        "label_revenue_month",
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("locked", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("locked_at", webapp.extensions.UtcDateTime(timezone=True), nullable=True),
        sa.Column("locked_by", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_month_company_id_company")
        ),
        sa.ForeignKeyConstraint(
            ["locked_by"], ["app_user.id"], name=op.f("fk_label_revenue_month_locked_by_app_user")
        ),
        sa.PrimaryKeyConstraint("company_id", "month", name=op.f("pk_label_revenue_month")),
    )
    op.create_table(
        "label_revenue_upload",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("company_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_by", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", webapp.extensions.UtcDateTime(timezone=True), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("batch_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id"], ["company.id"], name=op.f("fk_label_revenue_upload_company_id_company")
        ),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["app_user.id"],
            name=op.f("fk_label_revenue_upload_created_by_app_user"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_revenue_upload")),
    )
    with op.batch_alter_table("label_revenue_upload", schema=None) as batch_op:
        batch_op.create_index(
            "ix_label_revenue_upload_company", ["company_id", "created_at"], unique=False
        )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE label_revenue_stream_id_seq CACHE 1000")


def downgrade() -> None:
    with op.batch_alter_table("label_revenue_upload", schema=None) as batch_op:
        batch_op.drop_index("ix_label_revenue_upload_company")
    op.drop_table("label_revenue_upload")
    op.drop_table("label_revenue_month")
    with op.batch_alter_table("label_revenue_batch", schema=None) as batch_op:
        batch_op.drop_index("ix_label_revenue_batch_company")
    op.drop_table("label_revenue_batch")
    op.drop_table("label_revenue_track")
    op.drop_table("label_revenue_terms")
    with op.batch_alter_table("label_revenue_shelf", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_label_revenue_shelf_company_id"))
    op.drop_table("label_revenue_shelf")
    op.drop_table("label_revenue_period")
    op.drop_table("label_revenue_listener_month")
    op.drop_table("label_revenue_label_month")
    with op.batch_alter_table("label_revenue_label", schema=None) as batch_op:
        batch_op.drop_index("uq_label_revenue_label_name")
    op.drop_table("label_revenue_label")
    with op.batch_alter_table("label_revenue_heard", schema=None) as batch_op:
        batch_op.drop_index("ix_label_revenue_heard_user")
    op.drop_table("label_revenue_heard")
    op.drop_table("label_revenue_book")
    op.drop_table("label_revenue_stream")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE label_revenue_stream_id_seq")
