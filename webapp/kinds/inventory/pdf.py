"""The statement as PDF: title, facts, sums by scope, category and unit, page x of y.

Fonts are embedded. They hold Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic letters
and more, but no Chinese, Japanese or Korean: such a character is shown as the mark U+FFFD.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from webapp.engine.kind import Column
from webapp.kinds.inventory.compute import Line
from webapp.kinds.inventory.snapshot import Snapshot
from webapp.kinds.inventory.tabular import (
    CATEGORY_COLUMNS,
    SCOPE_COLUMNS,
    UNIT_COLUMNS,
    about,
    compared,
)
from webapp.kinds.inventory.workbooks import Tick

FONTS = Path(__file__).parent / "fonts"
FONT = "DejaVu"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
# Subsetting a font is told in dozens of lines.
logging.getLogger("fontTools").setLevel(logging.WARNING)
LINE_MM, MARGIN_MM = 4.6, 15
_WIDE = {"text": 3.0, "integer": 0.8, "decimal": 1.7}


def write_iso14064(snapshot: Snapshot, file: IO[bytes], _tick: Tick) -> None:
    """Write the statement of the organisation's emissions."""
    pdf = Statement(snapshot)
    scopes, categories, units = compared(snapshot)
    pdf.facts(about(snapshot))
    pdf.section("Emissions by scope", SCOPE_COLUMNS, scopes, last_is_total=True)
    pdf.section("Emissions by category", CATEGORY_COLUMNS, categories)
    shown = tuple(one for one in UNIT_COLUMNS if one.name not in {"id", "depth"})
    named = ({**line, "name": "    " * line["depth"] + line["name"]} for line in units)
    pdf.section("Emissions by organizational unit", shown, named)
    pdf.paragraph(
        "All emissions in kg CO2 equivalent: quantity times emission factor of each entry, added "
        "without rounding. A dash stands where there is nothing to compare with. The workbook and "
        "the data file of the same report hold the same totals."
    )
    pdf.output(file)  # type: ignore[call-overload]


class Statement(FPDF):
    """A document with our fonts, a footer with the page's number, and tables that wrap."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(orientation="landscape", format="A4")
        facts = snapshot.facts
        self.set_margins(MARGIN_MM, MARGIN_MM, MARGIN_MM)
        self.set_auto_page_break(True, margin=MARGIN_MM + 5)
        self.add_font(FONT, "", FONTS / "DejaVuSansCondensed.ttf")
        self.add_font(FONT, "B", FONTS / "DejaVuSansCondensed-Bold.ttf")
        self._known = set(self.fonts[FONT.lower()].cmap)  # type: ignore[union-attr]
        self.heading = self.shown(f"{facts.name}: {facts.company}, {facts.period.name}")
        self.set_title(self.heading)
        self.set_author(facts.made_by)
        self.set_subject("Greenhouse gas inventory after ISO 14064-1")
        self.set_creation_date(facts.made_at)
        self.set_lang("en")
        self.add_page()
        self.set_font(FONT, "B", 16)
        self.multi_cell(0, 8, self.heading, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(FONT, "", 10)
        self.paragraph("Greenhouse gas inventory, organised after ISO 14064-1.")

    def footer(self) -> None:
        """Write the page's number below it."""
        self.set_y(-MARGIN_MM)
        self.set_font(FONT, "", 8)
        self.cell(0, 5, f"Page {self.page_no()} of {{nb}}", align="R")

    def shown(self, text: str) -> str:
        """Return a text in characters the fonts have."""
        kept = (one if one == "\n" or ord(one) in self._known else UNKNOWN for one in text)
        return "".join(kept)

    def paragraph(self, text: str) -> None:
        """Write a paragraph and a gap below it."""
        self.set_font(FONT, "", 9)
        self.multi_cell(0, 5, self.shown(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(3)

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write labels with their texts."""
        for label, text in pairs:
            self.set_font(FONT, "B", 9)
            self.cell(50, 5, label)
            self.set_font(FONT, "", 9)
            self.multi_cell(0, 5, self.shown(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(3)

    def section(
        self,
        title: str,
        columns: tuple[Column, ...],
        lines: Iterable[Line],
        *,
        last_is_total: bool = False,
    ) -> None:
        """Write a table under its title; the header comes again on each page."""
        weights = [_WIDE[column.type] for column in columns]
        widths = [self.epw * weight / sum(weights) for weight in weights]
        self.set_font(FONT, "B", 11)
        if self.will_page_break(30):
            self.add_page()
        self.cell(0, 8, title, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self._header(columns, widths)
        rows = list(lines)
        for number, line in enumerate(rows, start=1):
            bold = last_is_total and number == len(rows)
            cells = [_written(line[column.name]) for column in columns]
            self._row(columns, widths, cells, bold=bold)
        self.ln(5)

    def _header(self, columns: tuple[Column, ...], widths: list[float]) -> None:
        names = [f"{one.label} ({one.unit})" if one.unit else one.label for one in columns]
        self._row(columns, widths, names, bold=True, again=False)
        self.line(self.l_margin, self.get_y(), self.l_margin + self.epw, self.get_y())

    def _row(
        self,
        columns: tuple[Column, ...],
        widths: list[float],
        cells: list[str],
        *,
        bold: bool,
        again: bool = True,
    ) -> None:
        style = "B" if bold else ""
        self.set_font(FONT, style, 8)
        wrapped: list[Any] = [
            self.multi_cell(width, LINE_MM, self.shown(cell), dry_run=True, output="LINES")
            for width, cell in zip(widths, cells, strict=True)
        ]
        height = LINE_MM * max(len(lines) for lines in wrapped)
        if again and self.will_page_break(height):
            self.add_page()
            self._header(columns, widths)
            self.set_font(FONT, style, 8)
        top, left = self.get_y(), self.l_margin
        for column, width, lines in zip(columns, widths, wrapped, strict=True):
            for number, text in enumerate(lines):
                self.set_xy(left, top + number * LINE_MM)
                self.cell(width, LINE_MM, text, align="R" if column.is_number else "L")
            left += width
        self.set_xy(self.l_margin, top + height)


def _written(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Decimal):
        whole, _, places = f"{value:,.6f}".partition(".")
        return f"{whole}.{places.rstrip('0').ljust(2, '0')}"
    return f"{value:,}" if isinstance(value, int) else str(value)
