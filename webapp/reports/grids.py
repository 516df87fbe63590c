"""The grids of a result page: what the address asks of each, and the addresses of their links.

The main table's query stands plainly in the address (`sort`, `dir`, `q`, `page`, `where`, `columns`
and switches), that of a further table behind its name (`sites.sort`), so that all grids of a page
keep theirs. `where` holds filters as `column:operator:value`, with `;` between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlencode

from flask import Response
from werkzeug.datastructures import MultiDict

from webapp.engine.export import csv_attachment, file_name
from webapp.engine.kind import Column, ReportKind, Row, Sheet, Table
from webapp.engine.models import Report
from webapp.engine.results import (
    Filter,
    GridPage,
    GridQuery,
    ReadResult,
    choices_of,
    count_rows,
    folded_rows,
    grid_page,
)
from webapp.lib.texts import made_storable

# Switches are on where they are in the address: rows with problems alone, folded rows among the
# others, all columns.
# The form of filters is open, too, by a switch: what can be picked is read only then.
SWITCHES = ("problems", "unfold", "all", "filter")
GRID_QUERY = ("sort", "dir", "q", "page", "where", "columns", *SWITCHES)
# What the filter form sends: one more filter, which joins `where`.
NEW_FILTER = ("filter_column", "filter_operator", "filter_value")
LONGEST_SEARCH = 200
LONGEST_WHERE = 2000
ROWS_PER_READ = 500
OPERATORS = {
    "has": "contains",
    "has_not": "does not contain",
    "is": "is",
    "is_not": "is not",
    "above": "at least, or since",
    "below": "at most, or until",
}


@dataclass(frozen=True)
class Grid:
    """One grid: its page of rows, and links that change one parameter and keep the others."""

    path: str
    prefix: str
    query: dict[str, str]
    page: GridPage
    problems: int = 0
    folded: int = 0
    children: Mapping[str, list[Row]] = field(default_factory=dict)
    total: Row | None = None
    filters: tuple[Filter, ...] = ()
    choices: Mapping[str, list[str]] = field(default_factory=dict)
    operators: ClassVar[Mapping[str, str]] = OPERATORS

    @property
    def table(self) -> Table:
        return self.page.table

    @property
    def labels(self) -> dict[str, str]:
        return {column.name: column.label for column in self.table.columns}

    @property
    def columns(self) -> list[Column]:
        """Return the columns shown: the one that names a row first, details if asked for."""
        chosen = self.query.get(self.name("columns"), "").split(",")
        return [
            column
            for column in self.possible_columns
            if column.name == self.table.head_column
            or self.has("all")
            or (column.name in chosen if self.has("columns") else not column.is_detail)
        ]

    @property
    def possible_columns(self) -> list[Column]:
        """Return the columns that can be shown, the one that names a row first."""
        shown = [one for one in self.table.columns if one.name != self.table.remark]
        return sorted(shown, key=lambda column: column.name != self.table.head_column)

    def filter_text(self, one: Filter) -> str:
        """Return a filter as people read it."""
        return f"{self.labels[one.column]} {OPERATORS[one.operator]} {one.value}"

    def picked(self, column: str) -> str:
        """Return the value that a column is filtered by, empty where there is none."""
        return next((f.value for f in self.filters if (f.column, f.operator) == (column, "is")), "")

    def without_filter(self, one: Filter) -> str:
        """Return the link that takes a filter away."""
        rest = [other for other in self.filters if other != one]
        return self.link(where=where_text(rest), page=None)

    def summary(self) -> str:
        """Return what the grid shows, for who hears it change."""
        page = self.page
        said = f"{self.table.title}: {page.matching:,} of {page.total:,} rows"
        if page.sort:
            said += f", by {self.labels[page.sort]} {'down' if page.descending else 'up'}"
        return f"{said}, page {page.page} of {page.pages}."

    def has(self, switch: str) -> bool:
        """Return whether one of SWITCHES is on."""
        return self.name(switch) in self.query

    def switch_link(self, switch: str) -> str:
        """Return the link that turns one of SWITCHES."""
        return self.link(**{switch: None if self.has(switch) else "1", "page": None})

    def children_of(self, row: Row) -> list[Row]:
        """Return the rows folded away below a row."""
        return self.children.get(str(row.get(self.table.parent[1])), [])

    def name(self, parameter: str) -> str:
        """Return the query parameter of one of GRID_QUERY."""
        return self.prefix + parameter

    def link(self, **changes: Any) -> str:
        """Return this page's address with some of this grid's query changed; None drops one."""
        query = dict(self.query)
        for parameter, value in changes.items():
            query.pop(self.name(parameter), None)
            if value not in (None, ""):
                query[self.name(parameter)] = str(value)
        return f"{self.path}?{urlencode(query)}" if query else self.path

    def explain_link(self, row: Row, column: Column) -> str:
        """Return where it is said where a value of a row comes from."""
        parameter, member = self.table.row_key
        query = {parameter: row.get(member, ""), "column": column.name}
        return f"{self.path}/explain?{urlencode(query)}"

    def partial(self, link: str) -> str:
        """Return a link of this grid as HTMX asks it: for the grid alone."""
        return f"{link}{'&' if '?' in link else '?'}grid={self.table.name}"

    def sort_link(self, column: Column) -> str:
        """Return the link of a column's header: down then up for numbers, up then down for text."""
        first_down = column.is_number or column.type in {"datetime", "date", "month"}
        down = not self.page.descending if self.page.sort == column.name else first_down
        return self.link(sort=column.name, dir="desc" if down else "asc", page=None)

    def sorted_as(self, column: Column) -> str:
        """Return a column's aria-sort."""
        if self.page.sort != column.name:
            return "none"
        return "descending" if self.page.descending else "ascending"

    def kept_without(self, *own: str) -> list[tuple[str, str]]:
        """Return what a form sends along that asks for some of GRID_QUERY itself."""
        names = {self.name(one) for one in (*own, "page")}
        return [(name, value) for name, value in self.query.items() if name not in names]

    def download(self) -> str:
        """Return the address of the rows as they are shown, all pages of them, as CSV."""
        query = self.link(page=None).partition("?")[2]
        return f"{self.path}/grid/{self.table.name}.csv{f'?{query}' if query else ''}"


def read_grids(
    kind: ReportKind,
    result: ReadResult,
    path: str,
    args: MultiDict[str, str],
    *,
    only: str = "",
    shown: Sequence[Table] | None = None,
) -> list[Grid]:
    """Return the grids of a result, the main one first, or the one of a table's name.

    shown: the tables of the kind, or what a reader may see of them
    What nobody can grant falls back: an unknown column, a page beyond the end.
    """
    main, *further = shown or kind.tables(result.head)
    tables = {"": main} | {f"{table.name}.": table for table in further}
    query: dict[str, str] = {}
    for prefix, table in tables.items():
        query |= _read_query(args, prefix, table)
    return [
        _make_grid(kind, result, path, query, prefix, table)
        for prefix, table in tables.items()
        if only in ("", table.name)
    ]


def _read_query(args: MultiDict[str, str], prefix: str, table: Table) -> dict[str, str]:
    """Return a grid's part of the address: filters joined, columns in one text."""
    query = {
        prefix + name: args[prefix + name][: LONGEST_WHERE if name == "where" else LONGEST_SEARCH]
        for name in GRID_QUERY
        if args.get(prefix + name)
    }
    if columns := args.getlist(f"{prefix}columns"):
        query[f"{prefix}columns"] = ",".join(columns)[:LONGEST_WHERE]
        query.pop(f"{prefix}all", None)
    column, operator, value = (args.get(prefix + name, "").strip() for name in NEW_FILTER)
    if column and operator and value:
        added = where_text([Filter(column, operator, value[:LONGEST_SEARCH])])
        query[f"{prefix}where"] = ";".join(filter(None, [query.get(f"{prefix}where"), added]))
    filters = read_where(query.pop(f"{prefix}where", ""), table)
    for one in table.columns:
        if (picked := args.get(f"{prefix}is-{one.name}")) is not None:
            filters = [own for own in filters if (own.column, own.operator) != (one.name, "is")]
            filters += [Filter(one.name, "is", picked[:LONGEST_SEARCH])] if picked else []
    if where := where_text(filters):
        query[f"{prefix}where"] = where
    return query


def where_text(filters: list[Filter]) -> str:
    """Return filters as the address holds them."""
    return ";".join(
        ":".join(quote(part, safe="") for part in (one.column, one.operator, one.value))
        for one in filters
    )


def read_where(text: str, table: Table) -> list[Filter]:
    """Return the filters an address holds; those of no column, or of no operator, are left out."""
    names = {column.name for column in table.columns}
    found: dict[Filter, None] = {}
    for piece in text.split(";"):
        parts = (made_storable(unquote(part)) for part in piece.split(":"))
        column, operator, value = (*parts, "", "", "")[:3]
        if column in names and operator in OPERATORS and value:
            found[Filter(column, operator, value)] = None
    return list(found)


def all_rows(kind: ReportKind, result: ReadResult, grid: Grid) -> Iterator[Row]:
    """Yield the rows of all pages of a grid, as it shows them."""
    number, pages = 1, 1
    while number <= pages:
        asked = _query_of(grid.query, grid.prefix, grid.table, page=number, per_page=ROWS_PER_READ)
        shown = grid_page(kind, result, grid.table, asked)
        yield from shown.rows
        number, pages = number + 1, shown.pages


def grid_file(report: Report, kind: ReportKind, result: ReadResult, grid: Grid) -> Response:
    """Return a grid as a CSV file: the columns it shows, of all pages, and remarks of a row."""
    table = grid.table
    remark = tuple(one for one in table.columns if one.name == table.remark)
    rows = all_rows(kind, result, grid)
    sheet = Sheet(table.name, table.title, (*grid.columns, *remark), rows)
    return csv_attachment(sheet, file_name(report, "csv", table.name))


def _make_grid(
    kind: ReportKind,
    result: ReadResult,
    path: str,
    query: dict[str, str],
    prefix: str,
    table: Table,
) -> Grid:
    page = query.get(prefix + "page", "1")
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 9 else 1
    shown = grid_page(kind, result, table, _query_of(query, prefix, table, page=number))
    with_problem, child = Filter(table.remark, "has", ""), Filter(table.folded, "is", "true")
    return Grid(
        path,
        prefix,
        query,
        shown,
        problems=count_rows(result, table, with_problem) if table.problem else 0,
        folded=count_rows(result, table, child) if table.folded else 0,
        children=folded_rows(result, table, shown.rows) if table.folded else {},
        total=kind.total_row(table.name, result),
        filters=tuple(read_where(query.get(prefix + "where", ""), table)),
        choices=choices_of(result, table) if prefix + "filter" in query else {},
    )


def _query_of(
    query: Mapping[str, str], prefix: str, table: Table, *, page: int, per_page: int = 50
) -> GridQuery:
    """Return the address' query as the engine takes it; the table's own order where none is asked.

    Folded rows are left out until they are asked for, by their switch or by any filter.
    """
    sort = query.get(prefix + "sort", "")
    search = made_storable(query.get(prefix + "q", "")).strip()
    yes_no = {column.name for column in table.columns if column.type == "boolean"}
    filters = [
        # Yes and no as the database has them.
        replace(one, value={"yes": "true", "no": "false"}.get(one.value.casefold(), one.value))
        if one.column in yes_no
        else one
        for one in read_where(query.get(prefix + "where", ""), table)
    ]
    is_filtered = bool(filters or search)
    if table.problem and prefix + "problems" in query:
        filters.append(Filter(table.remark, "has", ""))
    elif table.folded and prefix + "unfold" not in query and not is_filtered:
        filters.append(Filter(table.folded, "is_not", "true"))
    return GridQuery(
        sort=sort or table.sort,
        descending=query.get(prefix + "dir") == "desc" if sort else table.descending,
        search=search,
        filters=filters,
        page=page,
        per_page=per_page,
    )
