"""A finished report's result, read back: its head, its rows in order, or a page of a table as a
grid shows it: searched, filtered, sorted, cut by the database.

What a grid shows of a row is stored beside it where the kind shows something else than it stores
(`ReportKind.grid_row`), so that a click reads no more rows than it shows. Rows that are not stored
yet wait in a temporary file (`SpooledRows`): as a dict each takes about a kilobyte.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Numeric,
    case,
    cast,
    collate,
    func,
    or_,
    select,
    type_coerce,
)

from webapp.engine.kind import Column, ReportKind, Row, Table
from webapp.engine.models import Report, ResultRow
from webapp.errors import Conflict
from webapp.extensions import db

ROWS_PER_READ = 500
MOST_CHOICES = 24
IN_MEMORY_BYTES = BYTES_PER_READ = 1 << 20
NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"


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


def replayable(rows: Iterable[Row]) -> Iterable[Row]:
    """Return rows that may be read more than once: a generator's are spooled, others as they are.

    A write that is tried again after the database was away would else find a generator at its end.
    """
    if not isinstance(rows, Iterator):
        return rows
    spooled = SpooledRows()
    spooled.extend(rows)
    return spooled


class SpooledRows:
    """Rows of JSON values in their order; they may be read more than once, as a table must be.

    A few rows stay in memory. The file goes with the object.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows at the end."""
        self._file.seek(0, os.SEEK_END)
        for row in rows:
            self._file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")

    def __iter__(self) -> Iterator[Row]:
        at = 0
        while True:
            # Each reader keeps its own place.
            self._file.seek(at)
            lines = self._file.readlines(BYTES_PER_READ)
            if not lines:
                return
            at = self._file.tell()
            yield from map(json.loads, lines)


@dataclass(frozen=True)
class Filter:
    """What is asked of one column; both bounds belong to what is asked for.

    operator: is, is_not, below, above, has or has_not
    """

    column: str
    operator: str
    value: str


@dataclass(frozen=True)
class GridQuery:
    """What a grid is asked for. Unknown columns and pages fall back, they are no errors.

    search: kept are the rows in which some shown value contains the text, in any case
    sort:   numbers by value, text in any case; a hole is always last
    """

    sort: str = ""
    descending: bool = False
    search: str = ""
    filters: Sequence[Filter] = ()
    page: int = 1
    per_page: int = 50


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
    positions: tuple[int, ...] = ()


def grid_page(kind: ReportKind, result: ReadResult, table: Table, query: GridQuery) -> GridPage:
    """Return the page of a table that the query asks for."""
    of_table = _of_table(result, table.name)
    columns = {column.name: column for column in table.columns}
    if table.total:
        named = columns[table.head_column]
        of_table &= _filter_condition(named, Filter(named.name, "is_not", table.total))
    wanted = of_table
    if query.search:
        wanted &= or_(*(_contains(column, query.search) for column in table.columns))
    for one in query.filters:
        if one.column in columns:
            wanted &= _filter_condition(columns[one.column], one)
    total = _count_rows(of_table)
    matching = total if wanted is of_table else _count_rows(wanted)
    pages = max(-(-matching // query.per_page), 1)
    page = min(max(query.page, 1), pages)
    sort = columns.get(query.sort)
    rows = db.session.execute(
        select(ResultRow.position, ResultRow.data)
        .where(wanted)
        .order_by(*(_row_order(sort, query.descending) if sort else ()), ResultRow.position)
        .limit(query.per_page)
        .offset((page - 1) * query.per_page)
    ).all()
    return GridPage(
        table,
        [kind.grid_row(table.name, row, result.head) for _, row in rows],
        page,
        pages,
        matching,
        total,
        sort.name if sort else "",
        query.descending,
        query.search,
        tuple(position for position, _ in rows),
    )


def count_rows(result: ReadResult, table: Table, only: Filter) -> int:
    """Return how many rows of a table a filter keeps."""
    column = next(one for one in table.columns if one.name == only.column)
    return _count_rows(_of_table(result, table.name) & _filter_condition(column, only))


def choices_of(result: ReadResult, table: Table) -> dict[str, list[str]]:
    """Return the values of each column that has so few of them that one is picked, in order."""
    found = {}
    for column in table.columns:
        if column.type not in {"text", "boolean"}:
            continue
        own = select(_column_text(column)).where(_of_table(result, table.name)).distinct()
        values = db.session.scalars(own.limit(MOST_CHOICES + 1)).all()
        known = sorted(value for value in values if value)
        if 1 < len(known) <= MOST_CHOICES:
            found[column.name] = known
    return found


def folded_rows(result: ReadResult, table: Table, parents: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows folded away below some rows, by what those are called as parents."""
    key_of_child, key_of_parent = table.parent
    found: dict[str, list[Row]] = {
        str(row[key_of_parent]): [] for row in parents if row.get(key_of_parent)
    }
    rows = db.session.scalars(
        select(ResultRow.data)
        .where(
            _of_table(result, table.name),
            ResultRow.data[key_of_child].as_string().in_(found),
        )
        .order_by(ResultRow.position)
    )
    for row in rows:
        found[str(row[key_of_child])].append(row)
    return {key: children for key, children in found.items() if children}


def find_row(result: ReadResult, table: str, position: int) -> Row | None:
    """Return the stored row at a position of a table, None where there is none."""
    row: Row | None = db.session.scalar(
        select(ResultRow.data).where(_of_table(result, table), ResultRow.position == position)
    )
    return row


def _of_table(result: ReadResult, table: str) -> ColumnElement[bool]:
    return (ResultRow.report_id == result.report_id) & (ResultRow.table_name == table)


def _count_rows(condition: ColumnElement[bool]) -> int:
    return db.session.scalar(select(func.count()).select_from(ResultRow).where(condition)) or 0


def _shown_row() -> Any:
    return type_coerce(func.coalesce(ResultRow.shown, ResultRow.data), JSON)


def _column_text(column: Column) -> Any:
    """Return a column's value as text, null for a hole."""
    text = _shown_row()[column.name].as_string()
    if column.type == "boolean" and _is_sqlite():
        return case((text.is_(None), None), (cast(text, Numeric) == 1, "true"), else_="false")
    return text


def _column_number(column: Column) -> Any:
    """Return a column's value as a number, null where it is none."""
    text = _shown_row()[column.name].as_string()
    if _is_sqlite():
        return cast(text, Numeric)
    # Postgres would end the query over a text among the numbers.
    return case((text.regexp_match(NUMBER), cast(text, Numeric)))


def _folded(text: Any) -> Any:
    # SQLite's own lower() knows ASCII alone.
    return func.casefold(text) if _is_sqlite() else func.lower(text)


def _is_sqlite() -> bool:
    return db.engine.dialect.name == "sqlite"


def _contains(column: Column, text: str) -> Any:
    return _folded(_column_text(column)).contains(text.casefold(), autoescape=True)


def _row_order(column: Column, descending: bool) -> list[Any]:
    text = _column_text(column)
    keys = [_column_number(column)] if column.is_number else [_binary(_folded(text))]
    if column.type == "id":
        # As numbers go, however many digits they have; before them what is none.
        digits = text.regexp_match("^[0-9]+$")
        keys.insert(0, case((digits, func.length(text)), else_=0))
    return [text.is_(None), *(key.desc() if descending else key for key in keys)]


def _binary(text: Any) -> Any:
    return text if _is_sqlite() else collate(text, "C")


def _filter_condition(column: Column, asked: Filter) -> Any:
    """Return the condition of a filter; a value that is none of the column's keeps no row."""
    if asked.operator in {"has", "has_not"}:
        found = _contains(column, asked.value)
        return found if asked.operator == "has" else func.coalesce(~found, True)
    own: Any
    value: Any
    if column.is_number:
        try:
            own, value = _column_number(column), Decimal(asked.value)
        except InvalidOperation:
            return False
        if not value.is_finite():
            return False
    else:
        own, value = _binary(_folded(_column_text(column))), asked.value.casefold()
    return {
        "is": own == value,
        "is_not": func.coalesce(own != value, True),
        "below": own <= value,
        "above": own >= value,
    }[asked.operator]
