"""label revenue: a company's own numbers for its streams, each shelf with its own indexes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "UPDATE label_revenue_book SET next_id = "
            "(SELECT last_value + 1 FROM label_revenue_stream_id_seq)"
        )
        op.execute("DROP SEQUENCE label_revenue_stream_id_seq")
        op.execute("ALTER TABLE label_revenue_stream DROP CONSTRAINT pk_label_revenue_stream")
        for shelf in shelves():
            op.execute(f"CREATE INDEX {shelf}_id ON {shelf} (id)")
            op.execute(f"CREATE INDEX {shelf}_date ON {shelf} (date, id)")


def shelves() -> list[str]:
    """Return the tables that hold the streams."""
    query = "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = :whole ::regclass"
    found = op.get_bind().execute(sa.text(query), {"whole": "label_revenue_stream"})
    return [str(name) for name in found.scalars()]


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for shelf in shelves():
            op.execute(f"DROP INDEX IF EXISTS {shelf}_id, {shelf}_date")
        op.execute(
            "ALTER TABLE label_revenue_stream "
            "ADD CONSTRAINT pk_label_revenue_stream PRIMARY KEY (shelf_id, id)"
        )
        op.execute("CREATE SEQUENCE label_revenue_stream_id_seq CACHE 1000")
        op.execute(
            "SELECT setval('label_revenue_stream_id_seq', "
            "(SELECT coalesce(max(next_id), 1) FROM label_revenue_book))"
        )
