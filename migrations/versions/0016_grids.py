"""grids: what a grid shows of a row lies beside it, where that is not what is stored"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ROW = sa.table(
    "result_row",
    sa.column("report_id", sa.Uuid(as_uuid=False)),
    sa.column("table_name", sa.String()),
    sa.column("position", sa.Integer()),
    sa.column("data", sa.JSON()),
    sa.column("shown", sa.JSON()),
)
JOB = sa.table("job", sa.column("id", sa.Uuid(as_uuid=False)), sa.column("task", sa.String()))


def upgrade() -> None:
    op.add_column("result_row", sa.Column("shown", sa.JSON(), nullable=True))
    # The one kind so far whose grid is sorted by what its rows do not have.
    sites = (ROW.c.table_name == "sites") & ROW.c.report_id.in_(
        sa.select(JOB.c.id).where(JOB.c.task == "partner-use")
    )
    keys = (ROW.c.report_id, ROW.c.table_name, ROW.c.position)
    connection = op.get_bind()
    for row in connection.execute(sa.select(*keys, ROW.c.data).where(sites)).all():
        if "totals" in row.data:
            same = sa.and_(*(key == row._mapping[key.name] for key in keys))
            connection.execute(ROW.update().where(same).values(shown=shown(row.data)))


def shown(data: dict[str, Any]) -> dict[str, Any]:
    """Return what the grid shows of a site month by month: users before and after, and growth."""
    totals = data["totals"] or [None]
    before, after = totals[0], totals[-1]
    growth = None if before is None or after is None else after - before
    plain = {name: value for name, value in data.items() if not isinstance(value, list)}
    return plain | {"before": before, "after": after, "growth": growth}


def downgrade() -> None:
    with op.batch_alter_table("result_row") as batch_op:
        batch_op.drop_column("shown")
