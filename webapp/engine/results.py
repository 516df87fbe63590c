"""A finished report's result, read back: its head, its rows in order, a page of a grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from webapp.engine.kind import Column, ReportKind, Row, Table
from webapp.engine.models import Report, ResultRow
from webapp.errors import Conflict
from webapp.extensions import db

ROWS_PER_READ = 500


class ReadResult:
    """The `StoredResult` of engine/kind.py over the database; rows stream."""

    def __init__(self, report: Report) -> None:
        if not report.has_result or report.head is None:
            raise Conflict(_why_not(report))
        self.report_id = report.id
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


def _why_not(report: Report) -> str:
    if report.is_active:
        return f"The report is {report.status}; its result comes when it is finished."
    if report.status == "cancelled":
        return "The report was cancelled, so it has no result."
    return f"The report failed, so it has no result: {report.error}"


@dataclass(frozen=True)
class GridPage:
    """One page of a grid: rows as the grid shows them, and where the page stands."""

    table: Table
    rows: list[Row]
    page: int
    pages: int
    matching: int
    total: int
    sort: str
    descending: bool
    search: str


def grid_page(
    kind: ReportKind,
    result: ReadResult,
    table: Table,
    *,
    sort: str = "",
    descending: bool = False,
    search: str = "",
    page: int = 1,
    per_page: int = 50,
) -> GridPage:
    """Return a sorted and filtered page of a table; unknown columns and pages fall back.

    search: kept are the rows in which some shown value contains the text, in any case
    sort:   numbers by value, text in any case; a hole (None) is always last
    """
    rows = [kind.grid_row(table.name, row, result.head) for row in result.rows(table.name)]
    total = len(rows)
    if search:
        rows = [row for row in rows if _matches(row, table.columns, search.casefold())]
    column = next((column for column in table.columns if column.name == sort), None)
    if column is not None:
        known = [row for row in rows if row.get(sort) is not None]
        holes = [row for row in rows if row.get(sort) is None]
        known.sort(key=lambda row: _sort_key(row[sort], column), reverse=descending)
        rows = known + holes
    pages = max(-(-len(rows) // per_page), 1)
    page = min(max(page, 1), pages)
    shown = rows[(page - 1) * per_page : page * per_page]
    return GridPage(
        table,
        shown,
        page,
        pages,
        len(rows),
        total,
        column.name if column else "",
        descending,
        search,
    )


def _matches(row: Row, columns: tuple[Column, ...], wanted: str) -> bool:
    shown = (row.get(column.name) for column in columns)
    return any(wanted in str(value).casefold() for value in shown if value is not None)


def _sort_key(value: Any, column: Column) -> Any:
    if column.is_number or column.type == "boolean":
        return float(value)
    text = str(value)
    return (len(text), text) if column.type == "id" and text.isdigit() else (0, text.casefold())
