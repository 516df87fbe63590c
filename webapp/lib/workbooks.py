"""Workbooks written in constant memory, with typed cells.

No text becomes a formula, a link or a number. IDs are text, because Excel keeps 15 digits only;
times lose their zone, which Excel does not have, so the header names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any, Literal

import xlsxwriter

SHEET_ROWS = 1_048_576
CUT = "… cut here: Excel has no more rows; take the CSV."
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# As workbooks number them.
PAPERS = {"a4": 9, "us-letter": 1}
ColumnType = Literal["text", "id", "integer", "decimal", "date", "datetime", "month", "boolean"]
OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "default_date_format": "yyyy-mm-dd",
}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    name:   key in rows, in JSON and in the CSV header
    label:  what a reader sees above it
    type:   decides alignment, sorting, the XLSX cell type; `id` is text made of digits
    unit:   shown beside the label, e.g. "hours"
    places: digits after the point that a workbook shows of a decimal, 0 to 6
    is_detail: left out of the grid until all columns are asked for
    is_internal: left out where people without an account look, such as a site's API key
    help:   what it means, in a sentence; shown on its header
    """

    name: str
    label: str
    type: ColumnType = "text"
    unit: str = ""
    places: int = 2
    is_detail: bool = False
    is_internal: bool = False
    help: str = ""

    @property
    def is_number(self) -> bool:
        return self.type in {"integer", "decimal"}


@contextmanager
def new_workbook(file: IO[bytes]) -> Iterator[Any]:
    """Yield a workbook that is written to a binary file; at the end the file stands at its start.

    In constant memory: rows go to disk as they are written, from the first to the last.
    """
    with xlsxwriter.Workbook(file, OPTIONS) as workbook:
        yield workbook
    file.seek(0)


def number_format(places: int) -> dict[str, str]:
    """Return the format of numbers with so many digits after the point."""
    return {"num_format": f"#,##0.{'0' * places}".rstrip(".")}


class SheetWriter:
    """Writes tables and facts into a workbook, each on a sheet of its own that prints well.

    footer:   stands below each printed page, with its number
    decimals: the format of all decimals, in place of the places of their columns
    paper:    one of PAPERS
    """

    def __init__(
        self, workbook: Any, footer: str = "", decimals: str = "", paper: str = "a4"
    ) -> None:
        self._workbook = workbook
        self._paper = PAPERS[paper]
        # An ampersand begins a code in a footer.
        self._footer = f"&L{footer[:100].replace('&', '&&')}&C&A&RPage &P of &N"
        self._header = workbook.add_format(
            {"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"}
        )
        formats = {
            "text": {"num_format": "@"},
            "integer": number_format(0),
            **{f"decimal{n}": number_format(n) for n in range(7)},
            "date": {"num_format": "yyyy-mm-dd"},
            "month": {"num_format": "yyyy-mm"},
            "datetime": {"num_format": "yyyy-mm-dd hh:mm:ss"},
        }
        if decimals:
            formats |= {f"decimal{n}": {"num_format": decimals} for n in range(7)}
        self._formats = {name: workbook.add_format(one) for name, one in formats.items()}
        self._bold = {
            name: workbook.add_format(one | {"bold": True, "top": 1})
            for name, one in formats.items()
        }

    def table(
        self,
        title: str,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        most_rows: int = SHEET_ROWS,
        *,
        total: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a table under a frozen header; past the last row a sheet has, it says so.

        total: a last row in bold, outside of what the filter filters and sorts
        """
        page = self._sheet(re.sub(r"[\[\]:*?/\\]", " ", title)[:31])
        page.freeze_panes(1, 0)
        for index, column in enumerate(columns):
            page.set_column(index, index, _width(column, rows, total))
            page.write_string(0, index, heading(column), self._header)
        last = 0
        for last, row in enumerate(rows, start=1):
            if last >= most_rows:
                last = most_rows - 1
                page.write_string(last, 0, CUT)
                break
            for index, column in enumerate(columns):
                self._write_cell(page, last, index, row.get(column.name), column, self._formats)
        page.autofilter(0, 0, max(last, 1), max(len(columns) - 1, 0))
        for index, column in enumerate(columns if total else ()):
            self._write_cell(page, last + 1, index, (total or {})[column.name], column, self._bold)

    def facts(self, title: str, facts: Iterable[tuple[str, str | int]]) -> None:
        """Write names and values, a line each."""
        page = self._sheet(title)
        page.set_column(0, 0, 28)
        page.set_column(1, 1, 70)
        for line, (name, value) in enumerate(facts):
            page.write_string(line, 0, name, self._header)
            if isinstance(value, int):
                page.write_number(line, 1, value, self._formats["integer"])
            else:
                page.write_string(line, 1, value)

    def _sheet(self, title: str) -> Any:
        """Return a new sheet, set up for paper: as wide as a page, its header again on each."""
        page = self._workbook.add_worksheet(title)
        page.set_landscape()
        page.set_paper(self._paper)
        page.fit_to_pages(1, 0)
        page.repeat_rows(0)
        page.set_footer(self._footer)
        return page

    def _write_cell(
        self, page: Any, line: int, index: int, value: Any, column: Column, formats: Any
    ) -> None:
        if value is None or value == "":
            return
        if isinstance(value, bool):
            page.write_boolean(line, index, value)
        elif isinstance(value, int) and abs(value) >= 2**53:
            page.write_string(line, index, str(value))  # beyond what a workbook's numbers hold
        elif is_number(value, column):
            places = column.places if column.type == "decimal" else ""
            page.write_number(line, index, float(value), formats[f"{column.type}{places}"])
        elif (moment := _cell_moment(value, column)) is not None:
            page.write_datetime(line, index, moment, formats[column.type])
        else:
            bold = formats["text"] if formats is self._bold else None
            page.write_string(line, index, str(value)[:32_767], bold)


def _width(column: Column, rows: Any, total: Mapping[str, Any] | None) -> int:
    """Return a width at which a column's cells and the words of its heading can be read.

    Rows that come one at a time are not looked at before they are written.
    """
    if not isinstance(rows, list):
        return {"id": 38, "text": 28, "datetime": 22, "decimal": 18}.get(column.type, 14)
    cells = [row.get(column.name) for row in (*rows, total or {})]
    words = [len(word) for word in heading(column).split()]
    longest = [
        len(f"{one:,.2f}") + 4 if isinstance(one, Decimal) else len(str(one))
        for one in cells
        if one is not None
    ]
    return min(max(8, *words, *longest) + 3, 60)


def heading(column: Column) -> str:
    """Return what stands above a column: its label and its unit."""
    unit = "UTC" if column.type == "datetime" else column.unit
    return f"{column.label} ({unit})" if unit else column.label


def is_number(value: Any, column: Column) -> bool:
    """Say whether a cell holds a number; exact decimals are stored as text, and are numbers too."""
    return column.is_number and (
        isinstance(value, int | float | Decimal)
        or (isinstance(value, str) and NUMBER.fullmatch(value) is not None)
    )


def _cell_moment(value: Any, column: Column) -> datetime | date | None:
    """Return a date or time cell's value without zone, or None where the text is none."""
    try:
        if column.type == "month":
            return datetime.fromisoformat(f"{value}-01")
        if column.type == "date":
            return date.fromisoformat(str(value))
        if column.type == "datetime":
            return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    except ValueError:
        return None
    return None
