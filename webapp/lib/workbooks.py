"""Workbooks written in constant memory, with typed cells.

No text becomes a formula, a link or a number. IDs are text, because Excel keeps 15 digits only;
times lose their zone, which Excel does not have, so the header names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any, Protocol

import xlsxwriter

SHEET_ROWS = 1_048_576
CUT = "… cut here: Excel has no more rows; take the CSV."
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "default_date_format": "yyyy-mm-dd",
}


class AnyColumn(Protocol):
    """What is asked of a column; see `webapp.engine.shapes.Column`."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def places(self) -> int: ...
    @property
    def is_number(self) -> bool: ...


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
    """Writes tables and facts into a workbook, each on a sheet of its own."""

    def __init__(self, workbook: Any) -> None:
        self._workbook = workbook
        self._header = workbook.add_format({"bold": True, "bottom": 1, "text_wrap": True})
        self._formats = {
            "integer": workbook.add_format(number_format(0)),
            **{f"decimal{n}": workbook.add_format(number_format(n)) for n in range(7)},
            "date": workbook.add_format({"num_format": "yyyy-mm-dd"}),
            "month": workbook.add_format({"num_format": "yyyy-mm"}),
            "datetime": workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        }

    def table(
        self,
        title: str,
        columns: Sequence[AnyColumn],
        rows: Iterable[Mapping[str, Any]],
        most_rows: int = SHEET_ROWS,
    ) -> None:
        """Write a table under a frozen header; past the last row a sheet has, it says so."""
        page = self._workbook.add_worksheet(re.sub(r"[\[\]:*?/\\]", " ", title)[:31])
        page.freeze_panes(1, 0)
        for index, column in enumerate(columns):
            page.set_column(index, index, 22 if column.type in {"text", "id", "datetime"} else 14)
            page.write_string(0, index, heading(column), self._header)
        last = 0
        for last, row in enumerate(rows, start=1):
            if last >= most_rows:
                last = most_rows - 1
                page.write_string(last, 0, CUT)
                break
            for index, column in enumerate(columns):
                self._cell(page, last, index, row.get(column.name), column)
        page.autofilter(0, 0, max(last, 1), max(len(columns) - 1, 0))

    def facts(self, title: str, facts: Iterable[tuple[str, str]]) -> None:
        """Write names and values, a line each."""
        page = self._workbook.add_worksheet(title)
        page.set_column(0, 0, 22)
        page.set_column(1, 1, 60)
        for line, (name, value) in enumerate(facts):
            page.write_string(line, 0, name, self._header)
            page.write_string(line, 1, value)

    def _cell(self, page: Any, line: int, index: int, value: Any, column: AnyColumn) -> None:
        if value is None or value == "":
            return
        if isinstance(value, bool):
            page.write_boolean(line, index, value)
        elif isinstance(value, int) and abs(value) >= 2**53:
            page.write_string(line, index, str(value))  # beyond what a workbook's numbers hold
        elif is_number(value, column):
            places = column.places if column.type == "decimal" else ""
            page.write_number(line, index, float(value), self._formats[f"{column.type}{places}"])
        elif (moment := _moment(value, column)) is not None:
            page.write_datetime(line, index, moment, self._formats[column.type])
        else:
            page.write_string(line, index, str(value)[:32_767])


def heading(column: AnyColumn) -> str:
    """Return what stands above a column: its label and its unit."""
    unit = "UTC" if column.type == "datetime" else column.unit
    return f"{column.label} ({unit})" if unit else column.label


def is_number(value: Any, column: AnyColumn) -> bool:
    """Say whether a cell holds a number; exact decimals are stored as text, and are numbers too."""
    return column.is_number and (
        isinstance(value, int | float | Decimal)
        or (isinstance(value, str) and NUMBER.fullmatch(value) is not None)
    )


def _moment(value: Any, column: AnyColumn) -> datetime | date | None:
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
