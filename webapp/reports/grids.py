"""The grids of a result page: what the address asks of each, and the addresses of their links.

The main table's query stand plainly in the query (`sort`, `dir`, `q`, `page`), those of a further
table behind its name (`sites.sort`), so that all grids of a page keep theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from webapp.engine.grids import GridPage, GridQuery, grid_page
from webapp.engine.kind import Column, ReportKind, Table
from webapp.engine.results import ReadResult

GRID_QUERY = ("sort", "dir", "q", "page")
LONGEST_SEARCH = 200


@dataclass(frozen=True)
class Grid:
    """One grid: its page of rows, and links that change one parameter and keep the others."""

    path: str
    prefix: str
    query: dict[str, str]
    page: GridPage

    @property
    def table(self) -> Table:
        return self.page.table

    @property
    def dom_id(self) -> str:
        return f"grid-{self.table.name}"

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
        first_down = column.is_number or column.type in {"datetime", "date"}
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

    What nobody can grant fall back: an unknown column, a page beyond the end.
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
    asked = GridQuery(
        sort=query.get(prefix + "sort", ""),
        descending=query.get(prefix + "dir") == "desc",
        search=query.get(prefix + "q", "").strip(),
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
    )
    shown = grid_page(kind, result, table, asked)
    return Grid(path, prefix, query, shown)
