"""A finished report's result, read back: its head, and its rows in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select

from webapp.engine.kind import Row
from webapp.engine.models import Report, ResultRow
from webapp.errors import Conflict
from webapp.extensions import db

ROWS_PER_READ = 500


class ReadResult:
    """The `StoredResult` of engine/kind.py over the database; rows stream."""

    def __init__(self, report: Report) -> None:
        if not report.has_result or report.head is None:
            why = f"The report failed, so it has no result: {report.error}"
            if report.is_active:
                why = f"The report is {report.status}; its result comes when it is finished."
            elif report.status == "cancelled":
                why = "The report was cancelled, so it has no result."
            raise Conflict(why)
        self.report_id, self.company_id = report.id, report.company_id
        self.head: dict[str, Any] = report.head

    def rows(self, table: str) -> Iterator[Row]:
        """Yield the rows of a table in their order, a few hundred in memory at a time."""
        after = -1
        while True:
            batch = db.session.execute(
                select(ResultRow.position, ResultRow.data)
                .where(
                    ResultRow.report_id == self.report_id,
                    ResultRow.table_name == table,
                    ResultRow.position > after,
                )
                .order_by(ResultRow.position)
                .limit(ROWS_PER_READ)
            ).all()
            for _, data in batch:
                yield data
            if len(batch) < ROWS_PER_READ:
                return
            after = batch[-1][0]
