"""The grids of a result page: what the address asks of each, and the addresses of their links.

The main table's query stands plainly in the address (`sort`, `dir`, `q`, `page` and switches), that
of a further table behind its name (`sites.sort`), so that all grids of a page keep theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from webapp.engine.grids import Filter, GridPage, GridQuery, count_rows, folded_rows, grid_page
from webapp.engine.kind import Column, ReportKind, Row, Table
from webapp.engine.results import ReadResult

# Switches are on where they are in the address: rows with problems alone, folded rows among the
# others, all columns.
SWITCHES = ("problems", "unfold", "all")
GRID_QUERY = ("sort", "dir", "q", "page", *SWITCHES)
LONGEST_SEARCH = 200


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

    @property
    def table(self) -> Table:
        return self.page.table

    @property
    def columns(self) -> list[Column]:
        """Return the columns shown: the one that names a row first, details if asked for."""
        shown = [
            column
            for column in self.table.columns
            if column.name != self.table.remark and (not column.is_detail or self.has("all"))
        ]
        return sorted(shown, key=lambda column: column.name != self.table.head_column)

    @property
    def has_details(self) -> bool:
        return any(column.is_detail for column in self.table.columns)

    @property
    def dom_id(self) -> str:
        return f"grid-{self.table.name}"

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

    def kept(self) -> list[tuple[str, str]]:
        """Return what the filter form must send along: all but its own text and the page."""
        own = {self.name("q"), self.name("page")}
        return [(name, value) for name, value in self.query.items() if name not in own]


def read_grids(
    kind: ReportKind, result: ReadResult, path: str, args: Mapping[str, str], only: str = ""
) -> list[Grid]:
    """Return the grids of a result, the main one first, or the one of a table's name.

    What nobody can grant falls back: an unknown column, a page beyond the end.
    """
    tables = kind.tables(result.head)
    known = {
        _prefix(number, table) + name for number, table in enumerate(tables) for name in GRID_QUERY
    }
    query = {
        name: value[:LONGEST_SEARCH] for name, value in args.items() if name in known and value
    }
    return [
        _grid(kind, result, path, query, _prefix(number, table), table)
        for number, table in enumerate(tables)
        if not only or table.name == only
    ]


def _prefix(number: int, table: Table) -> str:
    return f"{table.name}." if number else ""


def _grid(
    kind: ReportKind,
    result: ReadResult,
    path: str,
    query: dict[str, str],
    prefix: str,
    table: Table,
) -> Grid:
    page = query.get(prefix + "page", "1")
    sort = query.get(prefix + "sort", "")
    search = query.get(prefix + "q", "").strip()
    with_problem, child = Filter(table.remark, "has", ""), Filter(table.folded, "is", "true")
    filters = []
    if table.problem and prefix + "problems" in query:
        filters.append(with_problem)
    elif table.folded and prefix + "unfold" not in query and not search:
        filters.append(Filter(table.folded, "is_not", "true"))
    asked = GridQuery(
        sort=sort or table.sort,
        descending=query.get(prefix + "dir") == "desc" if sort else table.descending,
        search=search,
        filters=filters,
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
    )
    shown = grid_page(kind, result, table, asked)
    return Grid(
        path,
        prefix,
        query,
        shown,
        problems=count_rows(result, table, with_problem) if table.problem else 0,
        folded=count_rows(result, table, child) if table.folded else 0,
        children=folded_rows(result, table, shown.rows) if table.folded else {},
        total=kind.total_row(table.name, result),
    )
