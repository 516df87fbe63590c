"""The two workbooks, in constant memory: rows go to disk as they are written.

Numbers are numbers, dates dates, IDs text; no text becomes a formula or a link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import IO, Any

from webapp.engine.kind import Column
from webapp.kinds.inventory.compute import SCOPES, Line
from webapp.kinds.inventory.snapshot import Snapshot
from webapp.kinds.inventory.tabular import (
    CATEGORY_COLUMNS,
    ENTRY_COLUMNS,
    SCOPE_COLUMNS,
    UNIT_COLUMNS,
    about,
    compared,
)
from webapp.lib.workbooks import heading, new_workbook

# Excel has 1,048,576 rows; the rest goes on a further sheet.
ROWS_PER_SHEET = 1_000_000
ROWS_PER_TICK = 2000
Tick = Callable[[int], None]
_WIDTHS = {"id": 38, "text": 28, "date": 12, "integer": 10, "decimal": 18}


def write_inventory(snapshot: Snapshot, file: IO[bytes], tick: Tick) -> None:
    """Write the inventory: every entry, the sums, and what the report is about."""
    with new_workbook(file) as workbook:
        book = ReportWorkbook(workbook, snapshot)
        book.write("Inventory", ENTRY_COLUMNS, snapshot.entries(), tick)
        scopes, categories, units = compared(snapshot)
        book.write("Totals by scope", SCOPE_COLUMNS, scopes[:-1], total=scopes[-1])
        total = {**scopes[-1], "scope": None, "rows": snapshot.now.rows}
        book.write("Totals by category", CATEGORY_COLUMNS, categories, total=total)
        book.write("Totals by unit", UNIT_COLUMNS, units)
        book.write_about()


def write_ghg_protocol(snapshot: Snapshot, file: IO[bytes], _tick: Tick) -> None:
    """Write scopes 1, 2 and 3 against the base period, each with its categories."""
    with new_workbook(file) as workbook:
        book = ReportWorkbook(workbook, snapshot)
        scopes, categories, units = compared(snapshot)
        book.write("Summary", SCOPE_COLUMNS, scopes[:-1], total=scopes[-1])
        for scope, of_scope in zip(SCOPES, scopes[:-1], strict=True):
            lines = [line for line in categories if line["scope"] == scope]
            rows = sum(line["rows"] for line in lines)
            total = {**of_scope, "scope": scope, "name": "Total", "rows": rows}
            book.write(f"Scope {scope}", CATEGORY_COLUMNS, lines, total=total)
        book.write("Units", UNIT_COLUMNS, units)
        book.write_about()


class ReportWorkbook:
    """A workbook being written, with its formats."""

    def __init__(self, workbook: Any, snapshot: Snapshot) -> None:
        self._workbook, self._snapshot = workbook, snapshot
        facts = snapshot.facts
        workbook.set_properties(
            {
                "title": f"{facts.name}: {facts.company}, {facts.period.name}",
                "author": facts.made_by,
                "created": facts.made_at.replace(tzinfo=None),
            }
        )
        self._header = workbook.add_format(
            {"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"}
        )
        numbers = {"integer": "#,##0", "decimal": "#,##0.00####", "date": "yyyy-mm-dd"}
        self._formats = {
            name: workbook.add_format({"num_format": text}) for name, text in numbers.items()
        }
        bold = {"bold": True, "top": 1}
        self._bold = {
            name: workbook.add_format({"num_format": text} | bold)
            for name, text in {**numbers, "text": "@", "id": "@"}.items()
        }

    def write(
        self,
        title: str,
        columns: tuple[Column, ...],
        lines: Iterable[Line],
        tick: Tick = lambda _: None,
        *,
        total: Line | None = None,
    ) -> None:
        """Write a sheet, and as many further ones as its lines need.

        total: a last line in bold, outside of what the filter filters and sorts
        """
        if isinstance(lines, list):
            widths = [_width(column, [*lines, *([total] if total else [])]) for column in columns]
        else:
            widths = [_WIDTHS[column.type] for column in columns]
        page, row, sheets = self._sheet(title, columns, widths), 0, 1
        for count, line in enumerate(lines, start=1):
            if row == ROWS_PER_SHEET:
                page.autofilter(0, 0, row, len(columns) - 1)
                sheets += 1
                page, row = self._sheet(f"{title} {sheets}", columns, widths), 0
            row += 1
            for index, column in enumerate(columns):
                self._cell(page, row, index, line[column.name], column.type)
            if count % ROWS_PER_TICK == 0:
                tick(count)
        page.autofilter(0, 0, max(row, 1), len(columns) - 1)
        if total is not None:
            for index, column in enumerate(columns):
                self._cell(page, row + 1, index, total[column.name], column.type, self._bold)

    def _sheet(self, title: str, columns: tuple[Column, ...], widths: Sequence[int]) -> Any:
        page = self._workbook.add_worksheet(title)
        page.freeze_panes(1, 0)
        self._print_well(page)
        for index, width in enumerate(widths):
            page.set_column(index, index, width)
        for index, column in enumerate(columns):
            page.write_string(0, index, heading(column), self._header)
        return page

    def _print_well(self, page: Any) -> None:
        """Set a sheet up for paper: as wide as a page, its header again on each, numbered."""
        facts = self._snapshot.facts
        page.set_landscape()
        page.set_paper(9)
        page.fit_to_pages(1, 0)
        page.repeat_rows(0)
        # An ampersand begins a code in a footer.
        name = f"{facts.company}, {facts.period.name}".replace("&", "&&")[:120]
        page.set_footer(f"&L{name}&C&A&RPage &P of &N")

    def _cell(
        self, page: Any, row: int, index: int, value: Any, type: str, formats: Any = None
    ) -> None:
        if value is None or value == "":
            return
        formats = formats or self._formats
        if type in {"integer", "decimal"}:
            assert isinstance(value, int | Decimal)
            page.write_number(row, index, float(value), formats[type])
        elif type == "date":
            page.write_datetime(row, index, date.fromisoformat(value), formats[type])
        else:
            page.write_string(row, index, str(value)[:32_767], formats.get(type))

    def write_about(self) -> None:
        """Write the sheet that says what the report is about."""
        page = self._workbook.add_worksheet("About")
        self._print_well(page)
        page.set_column(0, 0, 28)
        page.set_column(1, 1, 70)
        for row, (label, text) in enumerate(about(self._snapshot)):
            page.write_string(row, 0, label, self._header)
            if label.startswith("Rows") and text.isdigit():
                page.write_number(row, 1, int(text), self._formats["integer"])
            else:
                page.write_string(row, 1, text)


def _width(column: Column, lines: Sequence[Line]) -> int:
    """Return a width at which a column's cells and the words of its heading can be read."""
    words = max(map(len, heading(column).split()))
    cells = (line[column.name] for line in lines)
    longest = max((_shown_length(cell) for cell in cells if cell is not None), default=0)
    return min(max(words, longest, 8) + 3, 60)


def _shown_length(value: Any) -> int:
    return len(f"{value:,.2f}") + 4 if isinstance(value, Decimal) else len(str(value))
